//! A pool of Weir on 16 nodes in this process.

use std::time::Duration;

use tokio::sync::mpsc;
use weir::{Bytes, Malformed, Message, Network, Node, Pool, PoolHandle, PoolItem};

use super::weir::{address, builder, config};
use crate::job::Over;
use crate::job::Spread;
use crate::workload::pools::{ITEM, NODES, Progress, edges, index_of, item};

const ITEMS: Pool<Item> = Pool::new(3, "items").max_item(ITEM as u32).offer_delay(Duration::ZERO);

/// An item is its bytes.
struct Item(Bytes);

impl Message for Item {
    fn encode(&self) -> Bytes {
        self.0.clone()
    }

    fn decode(bytes: Bytes) -> Result<Self, Malformed> {
        if bytes.len() == ITEM { Ok(Self(bytes)) } else { Err(Malformed::new("an item has 1,024 bytes")) }
    }
}

impl PoolItem for Item {}

/// Spreads `items` items.
pub async fn run(items: usize) -> Spread {
    let nodes = network().await;
    let (deliveries, mut delivered) = mpsc::channel(65_536);
    let mut pools: Vec<PoolHandle<Item>> = Vec::new();
    for (_, _, pool) in &nodes {
        let (candidates, deliveries) = (pool.clone(), deliveries.clone());
        tokio::spawn(async move {
            while let Some(candidate) = candidates.next().await {
                let index = index_of(&candidate.item().0);
                candidate.accept();
                if let Some(index) = index {
                    let _ = deliveries.send(index).await;
                }
            }
        });
        pools.push(pool.clone());
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    let before = bodies(&nodes).await;
    let mut progress = Progress::new(items);
    while !progress.done() {
        while let Some((index, node)) = progress.publish() {
            pools[node].publish_wait(&Item(item(index).into())).await.expect("published");
        }
        if let Ok(Some(index)) = tokio::time::timeout(Duration::from_secs(30), delivered.recv()).await {
            progress.delivered(index);
        } else {
            panic!("weir lost an item");
        }
    }
    let measured = progress.pause();
    let received = bodies(&nodes).await - before;
    measured.finish(received)
}

/// The graph, every link with its hello done.
async fn network() -> Vec<(Network, Node, PoolHandle<Item>)> {
    let nodes: Vec<_> = (0..NODES)
        .map(|_| weir::start(builder(config(Over::Quic), Over::Quic).channels(ITEMS)).expect("a node"))
        .collect();
    for (from, to) in edges() {
        nodes[from].0.connect(address(&nodes[to].0)).await.expect("connected");
    }
    nodes
}

/// Complete bodies that all nodes have received.
async fn bodies(nodes: &[(Network, Node, PoolHandle<Item>)]) -> u64 {
    let mut sum = 0;
    for (net, ..) in nodes {
        let stats = net.stats().await.expect("running");
        sum += stats.stack.pools.iter().map(|(_, pool)| pool.bodies).sum::<u64>();
    }
    sum
}
