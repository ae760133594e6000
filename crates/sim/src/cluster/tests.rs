//! The cluster itself: determinism, time, waiting, crashes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::*;
use weir_node::{CallError, Stopped, WithinError};
use weir_node::{
    ConnectError, DownReason, Event, Events, Goodbye, Keypair, Method, NetworkId, PeerId, Requests,
};

const ECHO: Method<Vec<u8>, Vec<u8>> = Method::new(1, "echo");
const NETWORK: NetworkId = NetworkId([7; 32]);

fn key(number: u8) -> Keypair {
    Keypair::ed25519_from_seed([number; 32])
}

fn builder(number: u8) -> Builder<Requests<Vec<u8>, Vec<u8>>> {
    Network::builder(key(number), NETWORK).channels(ECHO.serve())
}

/// A ring of nodes that answer and ask; the hash of the run, and how many calls went well.
fn run(seed: u64, carrier: Carrier) -> (String, u64) {
    let cluster = Cluster::over(carrier, seed);
    let done = Arc::new(AtomicU64::new(0));
    let nodes: Vec<_> = (1..=5).map(|number| cluster.add(builder(number)).unwrap()).collect();
    let addresses: Vec<_> = nodes.iter().map(|(net, ..)| net.addresses()[0].clone()).collect();
    for (place, (net, node, requests)) in nodes.into_iter().enumerate() {
        let next = addresses[(place + 1) % addresses.len()].clone();
        let done = Arc::clone(&done);
        let echo = requests.caller();
        cluster.spawn(async move {
            while let Some(request) = requests.next().await {
                request.answer(request.query().clone());
            }
            drop(node);
        });
        cluster.spawn(async move {
            let peer = net.connect(next).await.unwrap();
            for size in 0..20_usize {
                let answer = echo.call(peer, vec![1; size * 100]).await.unwrap();
                assert_eq!(answer.len(), size * 100);
                done.fetch_add(1, Ordering::Relaxed);
                net.sleep(Duration::from_millis(50)).await?;
            }
            Ok::<_, Stopped>(())
        });
    }
    cluster.run_for(Duration::from_secs(20));
    (cluster.trace_hash(), done.load(Ordering::Relaxed))
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let (hash, done) = run(3, Carrier::Frames);
    assert_eq!(done, 100);
    assert_eq!(run(3, Carrier::Frames), (hash.clone(), 100));
    assert_ne!(run(4, Carrier::Frames).0, hash);
}

#[test]
fn quic_carries_the_same_calls() {
    assert_eq!(run(3, Carrier::Quic).1, 100);
}

#[test]
fn time_passes_only_when_driven() {
    let cluster = Cluster::new(1);
    let (net, _node, _) = cluster.add(builder(1)).unwrap();
    assert_eq!(net.now(), Instant::ZERO);
    let slept = net.clone();
    cluster.run_until(async move { slept.sleep(Duration::from_secs(90)).await }).unwrap();
    assert_eq!(net.now(), Instant::ZERO + Duration::from_secs(90));
    net.block_on(net.sleep(Duration::from_secs(1))).unwrap();
    assert_eq!(cluster.now(), Instant::ZERO + Duration::from_secs(91));
    let elapsed = cluster.run_until(net.within(Duration::from_millis(5), std::future::pending::<()>()));
    assert_eq!(elapsed, Err(WithinError::Elapsed(Duration::from_millis(5))));
    let forever = net.clone();
    let waiting = cluster.spawn(async move { forever.within(PATIENCE, std::future::pending::<()>()).await });
    cluster.run_for(Duration::from_millis(1));
    assert!(cluster.crash(net.peer_id()));
    assert_eq!(cluster.run_until(waiting), Err(WithinError::Stopped));
}

#[test]
fn blocking_drives_the_simulation_even_inside_a_task() {
    let cluster = Cluster::new(2);
    let (server, _node, requests) = cluster.add(builder(1)).unwrap();
    let (client, _client_node, echo) = cluster.add(builder(2)).unwrap();
    let (peer, echo) = (server.peer_id(), echo.caller());
    client.block_on(client.connect(&server.addresses()[0])).unwrap();
    let server = cluster.spawn(async move {
        for _ in 0..3 {
            let request = requests.next_blocking().unwrap();
            request.answer(request.query().clone());
        }
    });
    let asker = cluster.spawn(async move {
        for _ in 0..3 {
            assert_eq!(echo.call(peer, vec![5; 5]).await.unwrap(), vec![5; 5]);
        }
    });
    cluster.run_until(server);
    cluster.run_until(asker);
}

#[test]
#[should_panic(expected = "ever wake this wait")]
fn a_wait_that_nothing_could_wake_fails() {
    let cluster = Cluster::new(2);
    let (_net, _node, requests) = cluster.add(builder(1)).unwrap();
    requests.next_blocking();
}

async fn next_up(events: &Events) -> PeerId {
    while let Some(event) = events.next().await {
        if let Event::PeerUp { peer, .. } = event {
            return peer;
        }
    }
    panic!("the node has stopped");
}

#[test]
fn a_node_that_crashes_ends_its_handles_and_comes_back_in_its_place() {
    let cluster = Cluster::new(5);
    let (net, _node, requests) = cluster.add(builder(1)).unwrap();
    let (other, _other_node, _) = cluster.add(builder(2).peer(net.addresses()[0].clone())).unwrap();
    let events = other.events();
    let (peer_id, address) = (net.peer_id(), net.addresses().to_vec());
    assert_eq!(cluster.run_until(next_up(&events)), peer_id);
    let error = cluster.add(builder(1)).unwrap_err();
    assert!(matches!(error, StartError::DuplicateKey { peer } if peer == peer_id), "{error}");
    assert!(cluster.crash(peer_id));
    assert!(requests.next_blocking().is_none());
    assert_eq!(cluster.run_until(net.sleep(Duration::from_secs(1))), Err(Stopped));
    let (net, _node, _) = cluster.add(builder(1)).unwrap();
    assert_eq!(net.addresses(), address);
    assert_eq!(cluster.run_until(next_up(&events)), peer_id, "its persistent peer dials again");
}

#[test]
fn a_ban_outlives_a_restart_where_the_application_keeps_the_standing() {
    let cluster = Cluster::new(13);
    let (net, _node, _) = cluster.add(builder(1)).unwrap();
    let (other, _other_node, _) = cluster.add(builder(2)).unwrap();
    let (events, peer) = (net.events(), other.peer_id());
    let kept = cluster.run_until(async {
        net.peers().ban(peer, Duration::from_secs(3_600)).await.unwrap();
        loop {
            match events.next().await {
                Some(Event::Standing { record: Some(record), .. }) => break record,
                event => assert!(event.is_some(), "the node has stopped"),
            }
        }
    });
    assert!(cluster.crash(net.peer_id()));
    let (net, _node, _) = cluster.add(builder(1)).unwrap();
    cluster.run_until(net.peers().restore(kept)).unwrap();
    let refused = cluster.run_until(net.connect(&other.addresses()[0])).unwrap_err();
    assert_eq!(refused, ConnectError::Banned);
    cluster.run_until(net.peers().unban(peer)).unwrap();
    assert_eq!(cluster.run_until(net.connect(&other.addresses()[0])), Ok(peer));
}

#[test]
fn an_aborted_node_says_no_goodbye() {
    let cluster = Cluster::new(11);
    let (net, node, _) = cluster.add(builder(1)).unwrap();
    let (other, _other_node, _) = cluster.add(builder(2)).unwrap();
    let events = other.events();
    cluster.run_until(other.connect(&net.addresses()[0])).unwrap();
    node.abort();
    let down = async {
        loop {
            if let Some(Event::PeerDown { reason, .. }) = events.next().await {
                return reason;
            }
        }
    };
    assert_eq!(cluster.run_until(down), DownReason::Lost);
    assert!(cluster.add(builder(1)).is_ok(), "its place is free");
}

#[test]
fn a_shutdown_says_goodbye_and_reports() {
    let cluster = Cluster::new(6);
    let (net, node, _) = cluster.add(builder(1)).unwrap();
    let (other, _other_node, _) = cluster.add(builder(2)).unwrap();
    let events = other.events();
    let address = net.addresses()[0].clone();
    cluster.run_until(other.connect(address)).unwrap();
    let report = cluster.run_until(node.shutdown(Duration::from_secs(5)));
    assert_eq!((report.closed, report.unfinished), (1, 0));
    assert_eq!(cluster.run_until(net.peers().list()).unwrap_err(), Stopped);
    let down = async {
        loop {
            if let Some(Event::PeerDown { reason, .. }) = events.next().await {
                return reason;
            }
        }
    };
    assert_eq!(cluster.run_until(down), DownReason::ByPeer(Goodbye::Shutdown));
}

#[test]
fn the_last_handle_dropped_says_goodbye() {
    let cluster = Cluster::new(8);
    let (net, node, _) = cluster.add(builder(1)).unwrap();
    let (other, _other_node, _) = cluster.add(builder(2)).unwrap();
    cluster.run_until(other.connect(&net.addresses()[0])).unwrap();
    drop(node);
    drop(net);
    cluster.run_for(Duration::from_secs(2));
    assert!(cluster.run_until(other.peers().list()).unwrap().is_empty());
}

#[test]
fn a_cut_path_heals() {
    let cluster = Cluster::new(9);
    let (net, _node, requests) = cluster.add(builder(1)).unwrap();
    let (other, _other_node, echo) = cluster.add(builder(2)).unwrap();
    cluster.spawn(async move {
        while let Some(request) = requests.next().await {
            request.answer(vec![]);
        }
    });
    let peer = cluster.run_until(other.connect(&net.addresses()[0])).unwrap();
    cluster.cut(net.peer_id(), other.peer_id());
    let short = Duration::from_secs(2);
    let failed = cluster.run_until(echo.caller().call_within(peer, vec![], short));
    assert_eq!(failed.unwrap_err(), CallError::Deadline);
    cluster.heal(net.peer_id(), other.peer_id());
    assert!(cluster.run_until(echo.caller().call(peer, vec![])).is_ok());
}

/// Wants a turn all the time, and does nothing in it.
struct Restless;

impl crate::Tamper for Restless {
    fn outgoing(
        &mut self,
        _: Instant,
        _: weir_stack::WireId,
        frame: weir_stack::Frame,
        out: &mut crate::Outcome,
    ) {
        out.send.push(frame);
    }

    fn incoming(
        &mut self,
        _: Instant,
        _: weir_stack::WireId,
        frame: weir_stack::Frame,
        out: &mut crate::Outcome,
    ) {
        out.receive.push(frame);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        Some(Instant::ZERO)
    }
}

#[test]
#[should_panic(expected = "never came to an end of its turns")]
fn a_wait_beside_a_node_whose_turns_never_end_panics_and_names_it() {
    let cluster = Cluster::new(1);
    let (net, _node, _requests) = cluster.add(builder(1)).unwrap();
    {
        let mut world = lock(&cluster.inner.world);
        let id = world.id(net.peer_id()).unwrap();
        world.host.computer(id).tamper(Box::new(Restless));
    }
    cluster.run_until(net.sleep(Duration::from_secs(60))).unwrap();
}
