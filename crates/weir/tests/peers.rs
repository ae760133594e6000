//! Peers on a cluster: those that cannot be reached, and waiting for some.
#![allow(clippy::unwrap_used)] // a test that fails says where

use std::time::Duration;

use weir::testing::Cluster;
use weir::{Builder, Event, Instant, Keypair, Multiaddr, Network, NetworkId, Stopped};

fn builder(number: u8) -> Builder {
    Network::builder(Keypair::ed25519_from_seed([number; 32]), NetworkId([1; 32]))
}

/// Where nobody is.
fn nowhere() -> Multiaddr {
    Multiaddr::from_memory(77).with_p2p(Keypair::ed25519_from_seed([9; 32]).peer_id()).unwrap()
}

/// When the node said that the peer cannot be reached, and when it would try again.
fn told(cluster: &Cluster, net: &Network, wish: impl AsyncFnOnce()) -> Vec<Option<Instant>> {
    let events = net.events();
    cluster.run_until(wish());
    cluster.run_for(Duration::from_secs(600));
    let mut told = Vec::new();
    while let Some(event) = events.try_next() {
        if let Event::Unreachable { peer, addresses, next, .. } = event {
            assert_eq!((peer, addresses), (nowhere().peer_id(), vec![nowhere()]));
            told.push(next);
        }
    }
    assert_eq!(events.missed(), 0);
    told
}

#[test]
fn an_unreachable_peer_is_told_of_at_most_once_a_minute() {
    let cluster = Cluster::new(1);
    let (net, _node, ()) = cluster.add(builder(1)).unwrap();
    let told = told(&cluster, &net, async || net.peers().keep(nowhere()).await.unwrap());
    assert!((4..=10).contains(&told.len()), "{} times in ten minutes", told.len());
    assert!(told.iter().all(Option::is_some), "it is kept, so it is tried again");
}

#[test]
fn a_suggested_peer_that_is_forgotten_is_told_of_a_last_time() {
    let cluster = Cluster::new(2);
    let (net, _node, ()) = cluster.add(builder(1)).unwrap();
    let told = told(&cluster, &net, async || net.peers().suggest(nowhere()).await.unwrap());
    assert_eq!(told.iter().filter(|next| next.is_none()).count(), 1);
    assert_eq!(told.last(), Some(&None), "there is no next try");
}

#[test]
fn waiting_for_peers_ends_when_there_are_enough_or_the_node_has_stopped() {
    let cluster = Cluster::new(3);
    let (net, node, ()) = cluster.add(builder(1)).unwrap();
    let waiting = net.clone();
    let two = cluster.spawn(async move { waiting.wait_for_peers(2).await });
    let others: Vec<_> =
        (2..4).map(|number| cluster.add(builder(number).peers(net.addresses())).unwrap()).collect();
    let listed = cluster.run_until(two).unwrap();
    let mut expected: Vec<_> = others.iter().map(|(other, ..)| other.peer_id()).collect();
    expected.sort();
    assert_eq!(listed.iter().map(|peer| peer.peer).collect::<Vec<_>>(), expected);
    let waiting = net.clone();
    let three = cluster.spawn(async move { waiting.wait_for_peers(3).await.map(|peers| peers.len()) });
    cluster.run_until(node.shutdown(Duration::from_secs(1)));
    assert_eq!(cluster.run_until(three), Err(Stopped));
}
