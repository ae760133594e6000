//! A full node still lets in newcomers from elsewhere and pinned peers; the most crowded group gives way.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use weir_base::multiaddr::Multiaddr;
use weir_base::stream::Goodbye;

use super::harness::{Net, config, keypair, start};
use crate::gate::Refusal;
use crate::{Ban, Dial, DownReason, HostChange, Links, SocketId};

const SECOND: Duration = Duration::from_secs(1);

/// Node 0 has places for three inbound links; the others have these addresses.
fn net(addresses: &[[u8; 4]]) -> Net {
    let mut full = config();
    full.admission.max_inbound = 3;
    let mut net = Net::new(std::iter::once(full).chain(addresses.iter().map(|_| config())).collect());
    for (node, address) in (1..).zip(addresses) {
        let local = SocketAddr::from((*address, 4001));
        let seed = [u8::try_from(node).unwrap() + 100; 32];
        let mut links = Links::new(config(), Arc::new(keypair(node)), seed, start()).unwrap();
        let bound = HostChange::Bound { socket: SocketId(0), local, may_fragment: false };
        links.handle_host(net.now, bound);
        (net.nodes[node].links, net.nodes[node].address) = (links, local);
    }
    net
}

/// A node dials node 0; whether it has a link then.
fn comes_in(net: &mut Net, node: usize) -> bool {
    net.dial_quic(node, 0);
    net.run(SECOND);
    assert!(net.nodes[0].links.stats().inbound <= 3);
    has_link(net, node)
}

fn has_link(net: &Net, node: usize) -> bool {
    net.nodes[node].links.stats().links == 1
}

#[test]
fn the_youngest_link_of_the_most_crowded_group_gives_way_to_other_groups() {
    let crowd = [[10, 1, 0, 1], [10, 1, 0, 2], [10, 1, 0, 3], [10, 1, 0, 4]];
    let mut net = net(&[crowd.as_slice(), &[[172, 16, 0, 1], [192, 0, 2, 1], [198, 51, 100, 1]]].concat());
    assert!((1..=3).all(|node| comes_in(&mut net, node)));
    assert!(!comes_in(&mut net, 4), "its own group is the crowded one");
    assert!(comes_in(&mut net, 5));
    assert_eq!(net.nodes[3].down.last().map(|down| down.1), Some(DownReason::ByPeer(Goodbye::Full)));
    assert!(comes_in(&mut net, 6));
    assert_eq!([1, 2, 3].map(|node| has_link(&net, node)), [true, false, false], "the oldest stays");
    assert!(!comes_in(&mut net, 7), "every group has one link");
    assert_eq!(net.nodes[0].links.stats().gave_way, 2);
}

#[test]
fn nobody_gives_way_to_a_banned_peer() {
    let mut net = net(&[[10, 1, 0, 1], [10, 1, 0, 2], [10, 1, 0, 3], [172, 16, 0, 1]]);
    let (banned, until) = (net.peer(4), net.now + SECOND * 3600);
    net.nodes[0].links.set_ban(Ban::Peer(banned), Some(until));
    assert!((1..=3).all(|node| comes_in(&mut net, node)));
    assert!(!comes_in(&mut net, 4));
    let Some((Some(peer), _, Refusal::BannedPeer { left }, 0)) = net.nodes[0].refused.last() else {
        panic!("{:?}", net.nodes[0].refused)
    };
    assert!(*peer == banned && *left < SECOND * 3600 && *left > SECOND * 3590);
    assert_eq!(net.nodes[4].down.last().map(|down| down.1), Some(DownReason::ByPeer(Goodbye::Banned)));
    assert!((1..=3).all(|node| has_link(&net, node)));
    assert!(net.nodes[0].up.iter().all(|(_, info)| info.peer != banned));
    net.nodes[0].links.set_ban(Ban::Peer(banned), None);
    assert!(comes_in(&mut net, 4), "its ban is over");
}

#[test]
fn a_pinned_peer_that_dials_in_gets_a_place_and_keeps_it() {
    let mut net = net(&[[10, 1, 0, 1], [10, 2, 0, 1], [10, 3, 0, 1], [10, 4, 0, 1], [10, 5, 0, 1]]);
    let nowhere = Multiaddr::from_quic(SocketAddr::from(([192, 0, 2, 9], 1)));
    let dial = Dial { peer: Some(net.peer(4)), addresses: vec![nowhere], pinned: true };
    let now = net.now;
    net.nodes[0].links.dial(now, dial).unwrap();
    assert!((1..=3).all(|node| comes_in(&mut net, node)));
    assert!(comes_in(&mut net, 4), "pinned");
    assert!(!comes_in(&mut net, 5));
    assert!(has_link(&net, 4));
}

#[test]
fn a_pinned_link_does_not_give_way_though_it_is_the_youngest_of_the_crowd() {
    let mut net = net(&[[10, 1, 0, 1], [10, 1, 0, 2], [10, 1, 0, 3], [172, 16, 0, 1]]);
    let nowhere = Multiaddr::from_quic(SocketAddr::from(([192, 0, 2, 9], 1)));
    let dial = Dial { peer: Some(net.peer(3)), addresses: vec![nowhere], pinned: true };
    let now = net.now;
    net.nodes[0].links.dial(now, dial).unwrap();
    assert!((1..=3).all(|node| comes_in(&mut net, node)));
    assert!(comes_in(&mut net, 4), "the others of the crowd are two");
    assert_eq!([1, 2, 3].map(|node| has_link(&net, node)), [true, false, true]);
}

#[test]
fn a_peer_that_comes_again_has_the_place_of_its_link_before() {
    let mut net = net(&[[10, 1, 0, 1], [10, 2, 0, 1], [10, 3, 0, 1]]);
    assert!((1..=3).all(|node| comes_in(&mut net, node)));
    net.restart(3);
    net.dial_quic(3, 0);
    net.run(SECOND);
    assert!(has_link(&net, 3), "no place is free but its own");
    assert!(has_link(&net, 1) && has_link(&net, 2));
}

#[test]
fn a_dial_that_comes_up_when_all_places_are_taken_is_refused() {
    let mut few = config();
    (few.admission.max_links, few.admission.max_inbound) = (2, 1);
    (few.admission.dial_target, few.dial.max_dials) = (2, 2);
    let mut net = Net::new(vec![few, config(), config(), config()]);
    net.join_quic(0, 1);
    net.dial_quic(0, 2);
    net.dial_quic(0, 3); // one of the two comes too late
    net.run(SECOND * 10);
    assert_eq!(net.nodes[0].up.len(), 2);
    assert!(matches!(net.nodes[0].refused[..], [(_, _, Refusal::Links { count: 2, limit: 2 }, 0)]));
}

#[test]
fn a_peer_that_is_dialled_again_has_the_place_of_its_link_before() {
    let mut few = config();
    (few.admission.max_links, few.admission.max_inbound) = (2, 1);
    (few.admission.dial_target, few.dial.max_dials) = (2, 2);
    let mut net = Net::new(vec![few, config(), config()]);
    net.join_quic(0, 1);
    net.dial_quic(0, 2);
    net.run(Duration::from_millis(10)); // up before the next one
    net.dial_quic(0, 1);
    net.run(SECOND);
    assert_eq!(
        net.nodes[0].up.len(),
        3,
        "both places were taken when the last came up: {:?}",
        net.nodes[0].refused
    );
}
