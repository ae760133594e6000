//! Who gets a link, and which of two stays.

use std::sync::Arc;
use std::time::Duration;

use weir_base::multiaddr::Multiaddr;
use weir_base::stream::{Class, Goodbye, Side};

use super::harness::{Net, Over, config, keypair, start};
use crate::{Config, Dial, DialError, DialFailure, DownReason, Links};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn of_two_simultaneous_dials_both_sides_keep_the_one_of_the_larger_id() {
    for (first, over) in [0, 1].into_iter().flat_map(|first| Over::ALL.map(|over| (first, over))) {
        let mut net = Net::pair();
        net.hello = true;
        net.dial(over, first, 1 - first);
        net.dial(over, 1 - first, first);
        net.run(SECOND * 7);
        let larger = usize::from(net.peer(1) > net.peer(0));
        for node in 0..2 {
            let up: Vec<_> = net.nodes[node].up.iter().map(|(link, info)| (*link, info.dialler)).collect();
            let left: Vec<_> = up
                .iter()
                .filter(|(link, _)| net.nodes[node].down.iter().all(|(down, _)| down != link))
                .collect();
            assert_eq!(left.len(), 1, "one link stays");
            assert_eq!(left[0].1, node == larger, "the one that the larger id dialled");
        }
    }
}

#[test]
fn a_later_link_replaces_the_older_one() {
    for over in Over::ALL {
        let mut net = Net::pair();
        net.hello = true;
        let (old, _) = net.join(over, 0, 1);
        net.run(SECOND * 11);
        net.dial(over, 0, 1);
        net.run(SECOND);
        assert_eq!(net.nodes[0].up.len(), 2);
        assert_eq!(net.nodes[0].down[0].0, old);
        assert_eq!(net.nodes[0].links.stats().links, 1);
        assert_eq!(net.nodes[1].links.stats().links, 1);
    }
}

#[test]
fn a_full_node_refuses_with_its_reason_and_keeps_slots_for_its_own_dials() {
    let mut small = config();
    small.admission.max_links = 3;
    small.admission.max_inbound = 1;
    small.admission.dial_target = 4;
    Over::ALL.into_iter().for_each(|over| full_node(&small, over));
}

fn full_node(small: &Config, over: Over) {
    let mut net = Net::new(vec![small.clone(), config(), config(), config()]);
    net.join(over, 1, 0);
    let dial = net.dial(over, 2, 0);
    net.run(SECOND);
    assert!(net.nodes[2].up.len() <= 1);
    let refused = net.nodes[2].failed == vec![(dial, DialFailure::Refused(Goodbye::Full))]
        || net.nodes[2].down.iter().any(|(_, reason)| *reason == DownReason::ByPeer(Goodbye::Full));
    assert!(refused, "{:?} {:?}", net.nodes[2].failed, net.nodes[2].down);
    net.join(over, 0, 3);
    assert_eq!(net.nodes[0].links.stats().links, 2);
    assert_eq!(net.nodes[0].links.stats().refused, 1);
}

#[test]
fn nobody_there_the_wrong_peer_and_oneself_are_told_apart() {
    let mut net = Net::pair();
    let nobody = net.dial_wire_to(0, 9, Some(1));
    let wrong = net.dial_wire_to(0, 1, Some(5));
    net.run(SECOND);
    assert!(net.nodes[0].failed.contains(&(nobody, DialFailure::Unreachable)));
    assert!(net.nodes[0].failed.contains(&(wrong, DialFailure::OtherPeer)));
    for over in [Over::Quic, Over::Tcp] {
        let dial = net.dial_expecting(over, (0, 1), Some(keypair(5).peer_id()));
        net.run(SECOND);
        assert!(net.nodes[0].failed.contains(&(dial, DialFailure::OtherPeer)), "over {over:?}");
    }
    assert!(net.nodes[0].up.is_empty());
    let myself = Dial { peer: Some(net.peer(0)), addresses: vec![Multiaddr::from_memory(1)], pinned: false };
    let now = net.now;
    assert_eq!(net.nodes[0].links.dial(now, myself), Err(DialError::Myself));
    let none = Dial { peer: None, addresses: vec![], pinned: false };
    assert_eq!(net.nodes[0].links.dial(now, none), Err(DialError::NoAddress));
}

#[test]
fn a_tcp_address_is_refused_clearly_and_a_name_without_an_address_too() {
    let mut net = Net::pair();
    net.nodes[0].links = Links::new(config(), Arc::new(keypair(0)), [0; 32], start()).unwrap(); // no pipes
    let tcp: Multiaddr = "/ip4/10.0.1.1/tcp/4001".parse().unwrap();
    let now = net.now;
    let dial = Dial { peer: None, addresses: vec![tcp], pinned: false };
    let dial = net.nodes[0].links.dial(now, dial).unwrap();
    net.run(SECOND);
    assert_eq!(net.nodes[0].failed, vec![(dial, DialFailure::TcpUnsupported)]);
    let name: Multiaddr = "/dns4/nobody.example/udp/4001/quic-v1".parse().unwrap();
    let dial = Dial { peer: None, addresses: vec![name], pinned: false };
    let dial = net.nodes[0].links.dial(net.now, dial).unwrap();
    net.run(SECOND);
    let (query, name) = net.nodes[0].resolves[0].clone();
    assert_eq!(name, "nobody.example");
    let now = net.now;
    net.nodes[0].links.handle_resolved(now, query, &[]);
    net.run(SECOND);
    assert_eq!(net.nodes[0].failed[1], (dial, DialFailure::Unresolved));
}

/// Node 0 dials node 1 by name over both transports, TCP named first. Their names are resolved after so long; over which the link is.
fn dial_by_name(quic_after: Duration, tcp_after: Duration) -> String {
    let mut net = Net::pair();
    let names = ["/dns/node.example/tcp/4001", "/dns/node.example/udp/4001/quic-v1"];
    let addresses = names.iter().map(|name| name.parse().unwrap()).collect();
    let (begin, peer, ip) = (net.now, net.peer(1), net.nodes[1].address.ip());
    net.nodes[0].links.dial(begin, Dial { peer: Some(peer), addresses, pinned: false }).unwrap();
    net.drain();
    let [(quic, _), (tcp, _)] = net.nodes[0].resolves[..] else { panic!("{:?}", net.nodes[0].resolves) };
    let mut answers = [(begin + quic_after, quic), (begin + tcp_after, tcp)];
    answers.sort_unstable();
    for (at, query) in answers {
        net.run_until(at);
        net.nodes[0].links.handle_resolved(at, query, &[ip]);
    }
    net.run(SECOND);
    let [(link, _)] = net.nodes[0].up[..] else { panic!("{:?}", net.nodes[0].failed) };
    net.nodes[0].links.link(link).unwrap().origin.address.as_ref().unwrap().to_string()
}

#[test]
fn of_addresses_by_name_quic_comes_first_too_unless_its_name_takes_long() {
    let millis = Duration::from_millis;
    for (quic_after, tcp_after) in [(0, 0), (1, 0), (49, 0), (0, 49), (80, 31)] {
        let address = dial_by_name(millis(quic_after), millis(tcp_after));
        assert_eq!(address, "/ip4/10.0.1.1/udp/4001/quic-v1", "{quic_after} {tcp_after}");
    }
    assert_eq!(dial_by_name(millis(300), millis(0)), "/ip4/10.0.1.1/tcp/4001");
}

#[test]
fn a_dial_ends_at_its_deadline_and_a_cancelled_one_says_nothing() {
    let mut net = Net::pair();
    let name: Multiaddr = "/dns/slow.example/udp/4001/quic-v1".parse().unwrap();
    let dial = |net: &mut Net| {
        let dial = Dial { peer: None, addresses: vec![name.clone()], pinned: false };
        let now = net.now;
        net.nodes[0].links.dial(now, dial).unwrap()
    };
    let (slow, cancelled) = (dial(&mut net), dial(&mut net));
    net.nodes[0].links.cancel(cancelled);
    net.run(SECOND * 11);
    assert_eq!(net.nodes[0].failed, vec![(slow, DialFailure::Timeout)]);
    assert_eq!(net.nodes[0].links.stats().dials, 0);
}

#[test]
fn links_know_who_dialled_and_who_is_pinned() {
    let mut net = Net::pair();
    let address = Multiaddr::from_memory(1);
    let dial = Dial { peer: Some(net.peer(1)), addresses: vec![address], pinned: true };
    let now = net.now;
    net.nodes[0].links.dial(now, dial).unwrap();
    net.run(SECOND);
    assert_eq!(net.nodes[0].up[0].1.side, Side::Pinned);
    assert_eq!(net.nodes[1].up[0].1.side, Side::Inbound);
    assert!(net.nodes[0].up[0].1.dialler && !net.nodes[1].up[0].1.dialler);
    let link = net.nodes[1].up[0].0;
    net.open(1, link, 4, Class::Tip);
}
