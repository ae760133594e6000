//! Two links of one peer: one stays, the same at both ends, and nobody holds more places by coming again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use weir_base::LinkId;
use weir_base::multiaddr::Multiaddr;
use weir_base::stream::Class;

use super::harness::{Net, Over, config, keypair, start};
use crate::{Dial, HostChange, Links, SocketId};

const SECOND: Duration = Duration::from_secs(1);

/// Links of a node that are up, with who dialled them.
fn left(net: &Net, node: usize) -> Vec<(LinkId, bool)> {
    let node = &net.nodes[node];
    let is_down = |link: LinkId| node.down.iter().any(|(down, _)| *down == link);
    let up = node.up.iter().filter(|(link, _)| !is_down(*link));
    up.map(|(link, info)| (*link, info.dialler)).collect()
}

#[test]
fn simultaneous_dials_keep_one_link() {
    for apart in [0, 1, 19, 20, 21, 40, 60, 80, 200] {
        for (first, over) in [0, 1].into_iter().flat_map(|first| Over::ALL.map(|over| (first, over))) {
            let mut net = Net::pair();
            net.hello = true;
            net.dial(over, first, 1 - first);
            net.run(Duration::from_millis(apart));
            net.dial(over, 1 - first, first);
            net.run(SECOND * 10);
            let kept = [left(&net, 0), left(&net, 1)];
            let larger = usize::from(net.peer(1) > net.peer(0));
            for (node, kept) in kept.iter().enumerate() {
                assert_eq!(kept.len(), 1, "{apart} ms apart, node {node}");
                assert_eq!(kept[0].1, node == larger, "the one that the larger id dialled");
                assert!(net.nodes[node].blamed.is_empty());
            }
        }
    }
}

#[test]
fn around_the_set_up_deadline_both_sides_keep_the_same_link() {
    for apart in (9_900..10_100).step_by(7) {
        for first in [0, 1] {
            let mut net = Net::pair();
            net.hello = true;
            net.dial_quic(first, 1 - first);
            net.run(Duration::from_millis(apart));
            net.dial_quic(1 - first, first);
            net.run(SECOND * 10);
            let kept = [left(&net, 0), left(&net, 1)];
            assert_eq!((kept[0].len(), kept[1].len()), (1, 1), "{apart} ms apart: {kept:?}");
            assert_ne!(kept[0][0].1, kept[1][0].1, "{apart} ms apart: one of them dialled it");
        }
    }
}

#[test]
fn no_link_ends_before_the_other_one_is_known_to_be_used_by_both_sides() {
    let mut net = Net::pair(); // nobody says anything
    net.dial_quic(0, 1);
    net.dial_quic(1, 0);
    net.run(SECOND * 8);
    assert_eq!((left(&net, 0).len(), left(&net, 1).len()), (2, 2));
    let in_use = |net: &Net, node: usize| {
        left(net, node).iter().any(|link| net.nodes[node].links.is_in_use_by_peer(link.0))
    };
    assert!(!in_use(&net, 0) && !in_use(&net, 1), "nothing was heard");
    for node in 0..2 {
        for link in left(&net, node) {
            let key = net.open(node, link.0, 9, Class::Control);
            net.write(node, key, &Bytes::from_static(b"hello"));
        }
    }
    net.run(SECOND / 5);
    let waiting =
        (0..2).find(|node| left(&net, *node).len() == 2).expect("one side waits for the other to decide");
    assert!(!in_use(&net, waiting), "one of its two links ends, and nothing is expected of the peer there");
    net.run(SECOND * 7);
    assert_eq!((left(&net, 0).len(), left(&net, 1).len()), (1, 1));
    assert_ne!(left(&net, 0)[0].1, left(&net, 1)[0].1);
    assert!(in_use(&net, 0) && in_use(&net, 1));
}

#[test]
fn one_peer_that_comes_again_and_again_holds_two_places_at_most() {
    let mut in_haste = config();
    in_haste.admission.handshake_interval = Duration::ZERO;
    let mut net = Net::new(vec![config(), in_haste, config()]);
    net.delay = Duration::from_millis(5);
    let address = net.nodes[0].address;
    let mut most = (0, 0);
    for round in 0..140_u16 {
        // The same identity and IP address from another port; the connection before answers nothing any more.
        let seed = [u8::try_from(round + 3).unwrap(); 32];
        let mut links = Links::new(config(), Arc::new(keypair(0)), seed, start()).unwrap();
        let local = SocketAddr::new(address.ip(), 10_000 + round);
        let bound = HostChange::Bound { socket: SocketId(0), local, may_fragment: false };
        links.handle_host(net.now, bound);
        net.nodes[0].links = links;
        net.nodes[0].address = local;
        let before = net.nodes[0].up.len();
        net.dial_quic(0, 1);
        for _ in 0..20 {
            net.run(Duration::from_millis(5));
            if net.nodes[0].up.len() > before {
                break;
            }
        }
        assert!(net.nodes[0].up.len() > before, "round {round}: a peer that comes again is taken up");
        let link = net.nodes[0].up.last().unwrap().0;
        let key = net.open(0, link, 9, Class::Pool);
        net.write(0, key, &Bytes::from_static(b"x"));
        net.run(Duration::from_millis(12));
        let stats = net.nodes[1].links.stats();
        most = (stats.links.max(most.0), stats.inbound.max(most.1));
    }
    assert!(most.0 <= 2 && most.1 <= 2, "{most:?}");
    let now = net.now;
    let addresses = vec![Multiaddr::from_quic(net.nodes[2].address)];
    let dial = Dial { peer: None, addresses, pinned: false };
    assert!(net.nodes[1].links.dial(now, dial).is_ok(), "places for own dials are free");
    net.join_quic(2, 1);
    assert!(net.nodes[1].links.stats().links <= 3);
}

#[test]
fn a_replaced_link_passes_the_limits_of_the_new_ones_address() {
    let mut net = Net::new(vec![config(), config(), config()]);
    let mut tight = config();
    tight.admission.inbound_per_ip = 1;
    net.nodes[1].links = Links::new(tight, Arc::new(keypair(1)), [1; 32], start()).unwrap();
    let bound = HostChange::Bound { socket: SocketId(0), local: net.nodes[1].address, may_fragment: false };
    net.nodes[1].links.handle_host(net.now, bound);
    net.join_quic(0, 1);
    net.join_quic(2, 1);
    // The peer of the first link comes again, from the address of the second.
    let seed = [99; 32];
    let local = SocketAddr::new(net.nodes[2].address.ip(), 9);
    let mut links = Links::new(config(), Arc::new(keypair(0)), seed, start()).unwrap();
    let bound = HostChange::Bound { socket: SocketId(0), local, may_fragment: false };
    links.handle_host(net.now, bound);
    net.nodes[0].links = links;
    net.nodes[0].address = local;
    net.dial_quic(0, 1);
    net.run(SECOND);
    assert_eq!(net.nodes[1].links.stats().refused, 1, "that place is taken");
}

#[test]
fn a_key_in_two_processes_is_told_to_their_operators_and_blames_nobody() {
    let mut net = Net::new(vec![config(), config(), config()]);
    net.hello = true;
    let links = Links::new(config(), Arc::new(keypair(0)), [77; 32], start()).unwrap();
    net.nodes[2].links = links;
    let bound = HostChange::Bound { socket: SocketId(0), local: net.nodes[2].address, may_fragment: false };
    net.nodes[2].links.handle_host(net.now, bound);
    for _ in 0..3 {
        for process in [0, 2] {
            net.dial_quic(process, 1);
            net.run(SECOND * 2);
        }
    }
    let peer = net.peer(1);
    assert_eq!((&net.nodes[0].key_used_twice, &net.nodes[2].key_used_twice), (&vec![peer], &vec![peer]));
    assert!(net.nodes[1].key_used_twice.is_empty());
    assert!(net.nodes.iter().all(|node| node.blamed.is_empty()));
}
