//! rust-libp2p's gossipsub over QUIC, unsigned, with its default mesh.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use libp2p::gossipsub;
use libp2p::swarm::SwarmEvent;
use tokio::sync::mpsc;

use super::rust_libp2p::{listen, swarm};
use crate::job::{Over, Spread};
use crate::workload::pools::{NODES, Progress, edges, index_of, item};

/// Copies seen: the id of a message is computed once per copy received, and once per publish.
static IDS: AtomicU64 = AtomicU64::new(0);

fn behaviour() -> gossipsub::Behaviour {
    let config = gossipsub::ConfigBuilder::default()
        .validation_mode(gossipsub::ValidationMode::Anonymous)
        .message_id_fn(|message| {
            IDS.fetch_add(1, Ordering::Relaxed);
            gossipsub::MessageId::from(message.data.get(..8).unwrap_or_default())
        })
        .build()
        .expect("a configuration");
    gossipsub::Behaviour::new(gossipsub::MessageAuthenticity::Anonymous, config).expect("a behaviour")
}

/// Spreads `items` items.
pub async fn run(items: usize) -> Spread {
    let topic = gossipsub::IdentTopic::new("bench");
    let mut swarms = Vec::new();
    let mut addresses = Vec::new();
    for _ in 0..NODES {
        let mut swarm = swarm(Over::Quic, |_| behaviour());
        swarm.behaviour_mut().subscribe(&topic).expect("subscribed");
        addresses.push(listen(&mut swarm, Over::Quic).await);
        swarms.push(swarm);
    }
    for (from, to) in edges() {
        swarms[from].dial(addresses[to].clone()).expect("a dial");
    }
    let (deliveries, mut delivered) = mpsc::channel(65_536);
    let mut publishers = Vec::new();
    for mut swarm in swarms {
        let (publish, mut published) = mpsc::channel::<Vec<u8>>(1024);
        publishers.push(publish);
        let (deliveries, topic) = (deliveries.clone(), topic.clone());
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    event = swarm.select_next_some() => {
                        if let SwarmEvent::Behaviour(gossipsub::Event::Message { message, .. }) = event
                            && let Some(index) = index_of(&message.data)
                        {
                            let _ = deliveries.send(index).await;
                        }
                    }
                    Some(data) = published.recv() => {
                        swarm.behaviour_mut().publish(topic.clone(), data).expect("published");
                    }
                }
            }
        });
    }
    // The mesh forms at the first heartbeats; nothing is measured before.
    let formed = Instant::now() + Duration::from_secs(5);
    tokio::time::sleep_until(formed.into()).await;
    let ids = IDS.load(Ordering::Relaxed);
    let mut progress = Progress::new(items);
    while !progress.done() {
        while let Some((index, node)) = progress.publish() {
            publishers[node].send(item(index)).await.expect("a node");
        }
        if let Ok(Some(index)) = tokio::time::timeout(Duration::from_secs(30), delivered.recv()).await {
            progress.delivered(index);
        } else {
            panic!("gossipsub lost an item");
        }
    }
    let measured = progress.pause();
    let bodies = (IDS.load(Ordering::Relaxed) - ids).saturating_sub(items as u64);
    measured.finish(bodies)
}
