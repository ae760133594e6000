//! What paths, lines and the devices before nodes do to what two bare nodes send each other.

use crate::pair::{A, B, accepted, insert, linked_after, millis, pair};

use std::time::Duration;

use bytes::Bytes;
use weir_sim::flood::{TXS, pool_of};
use weir_sim::{DeviceTraffic, Line, Network, Place, Region, Setup, Transport};

/// A line that carries 1 Mbit/s up.
const SLOW: Line = Line { down: 1_000_000_000, up: 1_000_000 };

/// One that carries so little down.
const SLOW_DOWN: Line = Line { down: 1_000_000, up: 1_000_000_000 };

/// Pools offer at once, so that latencies are those of paths.
fn at_once(setup: &mut Setup) {
    pool_of(&mut setup.config).unwrap().offer_delay = Duration::ZERO;
}

/// B is 225 ms away.
fn far(setup: &mut Setup) {
    setup.place = |number, _| {
        if number == 1 { Place { region: Region::Asia, ..Place::NEAR } } else { Place::NEAR }
    };
}

/// How long items take from A to B, one after the other.
fn latencies(net: &mut Network, count: u32) -> Vec<Duration> {
    let latency = |number| {
        let began = net.host.now();
        insert(net, A, number..number + 1);
        accepted(net, 5_000, B)[0].since(began)
    };
    (0..count).map(latency).collect()
}

/// A has 40 items of 20 kB, from `number` on.
fn insert_bulk(net: &mut Network, number: u32) {
    for number in number..number + 40 {
        let mut bytes = u64::from(number).to_le_bytes().to_vec();
        bytes.resize(20_000, 1);
        let taken = net.host.with(A, |actor, now| actor.insert(now, TXS, Bytes::from(bytes)));
        assert_eq!(taken, Some(true));
    }
}

/// How long 40 items of 20 kB take from A to B, from `number` on.
fn bulk(net: &mut Network, number: u32) -> Duration {
    let began = net.host.now();
    insert_bulk(net, number);
    let mut last = Vec::new();
    while last.len() < 40 {
        assert!(net.host.now() < began + Duration::from_secs(120), "{} of 40 came", last.len());
        last.extend(accepted(net, 100, B));
    }
    last[39].since(began)
}

#[test]
fn heavy_loss_delays_what_is_sent_and_loses_nothing() {
    for transport in [Transport::Frames, Transport::Quic, Transport::Tcp] {
        let last = |loss_per_million| {
            let mut net = pair(|setup| {
                setup.transport = transport;
                setup.model.loss_per_million = loss_per_million;
            });
            assert!(net.link_up(), "{transport:?}");
            net.run(millis(1_000), |_, _, _| {});
            insert(&mut net, A, 0..200);
            let began = net.host.now();
            let times = accepted(&mut net, 120_000, B);
            assert_eq!(times.len(), 200, "{transport:?}");
            assert!(net.faults.is_empty() && net.linked(A, B), "{transport:?}: {:?}", net.faults);
            times[199].since(began)
        };
        let (usual, lossy) = (last(0), last(200_000));
        assert!(lossy > usual + millis(150), "{transport:?}: {lossy:?}, and {usual:?} without loss");
    }
}

#[test]
fn what_is_lost_twice_comes_after_a_timeout() {
    let late = |loss_per_million, burst| {
        let mut net = pair(|setup| {
            at_once(setup);
            (setup.model.loss_per_million, setup.model.burst) = (loss_per_million, burst);
        });
        assert!(net.link_up());
        let latencies = latencies(&mut net, 100);
        // three messages of 10 ms, each lost once: 20 ms more; lost again: 200 ms more
        [35, 100, 200].map(|least| latencies.iter().filter(|latency| **latency > millis(least)).count())
    };
    assert_eq!(late(0, 1), [0; 3]);
    let [lost, longer, twice] = late(20_000, 1);
    assert!(lost > 0 && (longer, twice) == (0, 0), "{lost} {longer} {twice}: single losses");
    let [_, _, twice] = late(200_000, 20);
    assert!(twice > 5, "{twice}");
}

#[test]
fn losses_in_bursts_cost_a_sender_less_than_as_many_single_ones() {
    let took = |loss_per_million, burst| {
        let took = (0..6).map(|seed| {
            let mut net = pair(|setup| {
                far(setup);
                setup.seed = seed;
                (setup.model.loss_per_million, setup.model.burst) = (loss_per_million, burst);
            });
            assert!(net.link_up());
            bulk(&mut net, 0)
        });
        took.sum::<Duration>()
    };
    let (none, single, bursts) = (took(0, 1), took(20_000, 1), took(20_000, 30));
    assert!(single > none + none / 2, "{single:?}, and {none:?} without loss");
    assert!(bursts + bursts / 5 < single, "{bursts:?} and {single:?}: a burst halves a window once");
}

#[test]
fn a_window_grows_while_it_is_used_and_is_lost_to_idleness() {
    let mut net = pair(far);
    assert!(net.link_up());
    let first = bulk(&mut net, 0);
    let second = bulk(&mut net, 100);
    net.run(millis(30_000), |_, _, _| {});
    let third = bulk(&mut net, 200);
    let trip = millis(225);
    assert!(second + trip * 2 < first, "{first:?}, then {second:?}: the window is large by now");
    assert!(second + trip * 2 < third, "{third:?} after half a minute, {second:?} before");
}

#[test]
fn a_line_up_is_finite_and_round_trips_contain_the_queue_before_it() {
    let took = |line: fn(u32, &mut weir_sim::Rng) -> Place| {
        let mut net = pair(|setup| {
            at_once(setup);
            (setup.place, setup.model.queue) = (line, Duration::from_secs(20));
        });
        assert!(net.link_up());
        let whole = bulk(&mut net, 0);
        // A asks for B's item while its line is full of what B asked for
        let began = net.host.now();
        insert_bulk(&mut net, 100);
        net.run(millis(500), |_, _, _| {});
        insert(&mut net, B, 500..501);
        let got = accepted(&mut net, 20_000, A);
        (whole, got[0].since(began))
    };
    let (usual, asked) = took(|_, _| Place::NEAR);
    let (slow, waited) =
        took(|number, _| if number == 0 { Place { line: SLOW, ..Place::NEAR } } else { Place::NEAR });
    assert!(usual < millis(1_000) && asked < millis(600), "{usual:?} {asked:?}");
    assert!(slow > millis(6_400), "800 kB at 1 Mbit/s: {slow:?}");
    assert!(waited > asked + millis(100), "{waited:?}, and {asked:?} without a queue");
}

#[test]
fn headers_are_counted_and_take_their_time_on_a_line() {
    let sent = |transport, packet, narrow: Line| {
        let mut net = pair(|setup| {
            (setup.transport, setup.model.packet) = (transport, packet);
            setup.model.queue = Duration::from_secs(20);
            setup.place = if narrow == SLOW {
                |number, _| if number == 0 { Place { line: SLOW, ..Place::NEAR } } else { Place::NEAR }
            } else {
                |number, _| if number == 1 { Place { line: SLOW_DOWN, ..Place::NEAR } } else { Place::NEAR }
            };
        });
        assert!(net.link_up());
        (bulk(&mut net, 0), net.host.traffic(A), net.host.traffic(B))
    };
    let (usual, by_a, by_b) = sent(Transport::Frames, 1_400, SLOW);
    assert!(by_a.headers_out >= by_a.bytes_out / 1_400 * 52, "{by_a:?}");
    assert!(by_b.headers_out >= by_a.bytes_out / 2_800 * 52, "acknowledgements: {by_b:?}");
    let (small, ..) = sent(Transport::Frames, 100, SLOW);
    assert!(small > usual + usual / 3, "{small:?} in packets of 100 bytes, {usual:?} in ones of 1,400");
    let [usual, small] = [1_400, 100].map(|packet| sent(Transport::Frames, packet, SLOW_DOWN).0);
    assert!(small > usual + usual / 3, "{small:?} down, in packets of 100 bytes, {usual:?} in ones of 1,400");
    let (_, by_a, by_b) = sent(Transport::Quic, 1_400, SLOW);
    assert_eq!(by_a.headers_out, by_a.packets_out * 28);
    assert_eq!(by_b.headers_out, by_b.packets_out * 28);
}

#[test]
fn headers_that_leave_one_node_come_in_at_the_other() {
    for transport in [Transport::Frames, Transport::Quic, Transport::Tcp] {
        let mut net = pair(|setup| setup.transport = transport);
        assert!(net.link_up(), "{transport:?}");
        bulk(&mut net, 0);
        net.run(millis(1_000), |_, _, _| {});
        let (by_a, by_b) = (net.host.traffic(A), net.host.traffic(B));
        assert_eq!((by_a.wire_out(), by_b.wire_out()), (by_b.wire_in(), by_a.wire_in()), "{transport:?}");
        assert_eq!((by_a.headers_out, by_b.headers_out), (by_b.headers_in, by_a.headers_in), "{transport:?}");
        // of 40 items of 20 kB, in packets of 1,400 bytes or datagrams of 1,200 and more
        let each = if transport == Transport::Quic { 28 } else { 52 };
        let packets = by_a.headers_out / each;
        assert!((571..1_100).contains(&packets), "{transport:?}: {packets}");
    }
}

#[test]
fn frames_that_leave_at_one_time_share_packets() {
    let packets = |pause| {
        let mut net = pair(at_once);
        assert!(net.link_up());
        let before = net.host.traffic(A).headers_out;
        let frames = net.host.traffic(A).packets_out;
        for number in 0..20 {
            insert(&mut net, A, number..number + 1);
            net.run(millis(pause), |_, _, _| {});
        }
        net.run(millis(500), |_, _, _| {});
        let traffic = net.host.traffic(A);
        ((traffic.headers_out - before) / 52, traffic.packets_out - frames)
    };
    let ((together, _), (apart, frames)) = (packets(0), packets(100));
    assert!(apart >= 40, "an offer, and an item, each alone: {apart} packets for {frames} frames");
    assert!(together * 2 < apart, "{together} packets, and {apart} where each item comes alone");
}

#[test]
fn jitter_delays_by_its_share_and_its_tail_by_much() {
    let longest = |jitter_percent, tail_per_million| {
        let mut net = pair(|setup| {
            at_once(setup);
            setup.model.jitter_percent = jitter_percent;
            setup.model.tail_per_million = tail_per_million;
        });
        assert!(net.link_up());
        latencies(&mut net, 60).into_iter().max().unwrap()
    };
    let usual = longest(0, 0);
    let share = longest(20, 0).checked_sub(usual).unwrap();
    assert!((millis(2)..millis(7)).contains(&share), "three messages, each up to 2 ms: {share:?}");
    let tail = longest(20, 500_000).checked_sub(usual).unwrap();
    assert!(tail > millis(20), "up to 200 ms: {tail:?}");
}

#[test]
fn a_silent_flow_is_forgotten_and_has_another_port_afterwards() {
    let late = |mapping| {
        let mut net = pair(|setup| (setup.transport, setup.model.mapping) = (Transport::Quic, mapping));
        net.dial(A, B);
        assert!(linked_after(&mut net, 1_000));
        for number in 0..5 {
            insert(&mut net, A, number..number + 1);
            assert_eq!(accepted(&mut net, 1_000, B).len(), 1);
        }
        let traffic = net.host.traffic(A);
        assert_eq!(
            (traffic.device.remapped, traffic.device.unmapped),
            (0, 0),
            "A sends more often than it is forgotten"
        );
        net.host.capture();
        insert(&mut net, A, 5..6);
        net.run(millis(5_000), |_, _, _| {});
        insert(&mut net, B, 10..30);
        let began = net.host.now();
        let times = accepted(&mut net, 30_000, A);
        assert_eq!(times.len(), 20, "what was sent to the forgotten port is sent again");
        assert!(net.faults.is_empty() && net.linked(A, B) && net.linked(B, A), "{:?}", net.faults);
        let sent = net.host.capture();
        let mut ports: Vec<u16> =
            sent.iter().filter(|sent| sent.to == B).map(|sent| sent.from.port()).collect();
        ports.dedup();
        (times[0].since(began), ports.len(), net.host.traffic(A))
    };
    let (usual, ports, traffic) = late(None);
    assert_eq!((ports, traffic.device.remapped, traffic.device.unmapped), (1, 0, 0));
    let (waited, ports, traffic) = late(Some(millis(2_000)));
    assert!(
        traffic.device.remapped > 0 && traffic.device.unmapped > 0 && ports > 1,
        "{ports} ports, {traffic:?}"
    );
    // nothing reaches A before it sends its next ping, 15 s after it was linked
    assert!(
        usual < millis(500) && waited > millis(1_500),
        "{waited:?}, and {usual:?} where none is forgotten"
    );
}

#[test]
fn who_sends_to_a_forwarded_port_needs_no_mapping() {
    let mut net = pair(|setup| {
        (setup.transport, setup.model.mapping) = (Transport::Quic, Some(millis(2_000)));
    });
    net.dial(A, B);
    assert!(linked_after(&mut net, 1_000));
    net.run(millis(5_000), |_, _, _| {});
    insert(&mut net, A, 0..20);
    assert_eq!(accepted(&mut net, 1_000, B).len(), 20, "A's flow has another port, which B hears of by it");
    assert_eq!(net.host.traffic(B).device, DeviceTraffic::default());
}
