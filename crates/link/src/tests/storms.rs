//! Handshakes at full rate: from one address they are refused before any cryptography, from many they keep nobody else out.

use std::time::Duration;

use weir_base::Instant;

use super::harness::{Net, config};
use super::tcp_hostile::{Peer, Victim};
use crate::gate::Refusal;
use crate::{Config, Event};

const SECOND: Duration = Duration::from_secs(1);

/// Peers of one address connect over TCP at full rate under ever new identities, and leave. How many handshakes were completed in the first
/// instant, and how many in the ten seconds after it.
fn storm_over_tcp(config: Config, address: [u8; 4]) -> (usize, usize) {
    let mut victim = Victim::new(config);
    let attempts = |victim: &mut Victim, count: u8| {
        let mut done = 0;
        for number in 0..count {
            let pipe = victim.accept(address);
            if victim.closed(pipe) {
                continue; // before a byte was read
            }
            let mut peer = Peer::new(victim, number + 1, pipe);
            peer.talk(victim);
            done += usize::from(peer.conn.is_up());
        }
        done
    };
    let first = attempts(&mut victim, 60);
    let mut then = 0;
    for _ in 0..100 {
        victim.pass(SECOND / 10);
        then += attempts(&mut victim, 2);
    }
    let told = victim
        .events
        .iter()
        .filter(|event| matches!(event, Event::Refused { peer: None, refusal: Refusal::TooFast { .. }, .. }));
    assert_eq!(told.count() > 0, first < 60, "it is told with its reason");
    (first, then)
}

#[test]
fn whole_handshakes_from_one_address_come_at_a_pace() {
    // Four have links, and from then on each counts twice.
    assert_eq!(storm_over_tcp(config(), [192, 0, 2, 1]), (10, 2));
    assert_eq!(storm_over_tcp(config(), [127, 0, 0, 1]), (60, 200), "loopback is exempt");
    let mut unlimited = config();
    unlimited.admission.handshake_interval = Duration::ZERO;
    assert_eq!(storm_over_tcp(unlimited, [192, 0, 2, 1]), (60, 200));
}

#[test]
fn whole_handshakes_over_quic_come_at_a_pace_too() {
    let mut net = Net::pair();
    for _ in 0..60 {
        net.dial_quic(0, 1);
        net.run(SECOND / 10);
    }
    let (up, stats) = (net.nodes[1].up.len(), net.nodes[1].links.stats());
    assert!((16..=19).contains(&up), "{up} in 6 s");
    assert!(stats.retries > 0, "who comes fast has to prove its address");
    assert!(matches!(net.nodes[1].refused[0].2, Refusal::TooFast { .. }));
}

#[test]
fn eight_nodes_of_one_address_that_start_again_at_once_are_taken_up_to_its_limit() {
    let mut victim = Victim::new(config());
    for number in 1..=8 {
        let pipe = victim.accept([192, 0, 2, 1]);
        assert!(!victim.closed(pipe), "node {number}");
        let mut peer = Peer::new(&victim, number, pipe);
        peer.talk(&mut victim);
    }
    assert_eq!(victim.links.stats().inbound, 4);
}

#[test]
fn a_slow_handshake_is_completed_though_fifty_addresses_come_fast() {
    let mut victim = Victim::new(config());
    let mut slow = None;
    for tenth in 0..60_u32 {
        victim.pass(SECOND / 10);
        if tenth == 20 {
            let pipe = victim.accept([198, 51, 100, 7]);
            slow = Some(Peer::new(&victim, 200, pipe));
        }
        for host in 1..=50 {
            victim.accept([host, 1, 1, 1]);
        }
    }
    let mut slow = slow.unwrap();
    slow.talk(&mut victim);
    assert!(slow.conn.is_up(), "after 4 s");
    assert!(victim.links.stats().half_open_replaced > 300);
    assert!(victim.now > Instant::ZERO);
}
