//! What does not get through on two bare nodes is counted, and so traced, where it was lost, with its reason.

use crate::pair::{A, B, both, insert, millis, pair};

use std::net::SocketAddr;
use std::time::Duration;

use weir_sim::{Line, Network, NodeId, Path, Place, Reason, Setup, Transport};

const ALL: [Reason; 10] = [
    Reason::Lost,
    Reason::Uplink,
    Reason::Downlink,
    Reason::Buffer,
    Reason::TooLong,
    Reason::Path,
    Reason::Nobody,
    Reason::Forgotten,
    Reason::Down,
    Reason::Corrupted,
];

/// A line on which little more than a handshake has room.
const NARROW: u64 = 1_000_000;

/// What did not get through at a node, by reason, where A links to B and sends it 200 items.
fn drops(
    transport: Transport,
    at: NodeId,
    change: impl FnOnce(&mut Setup),
    act: impl FnOnce(&mut Network),
) -> Vec<(Reason, u64)> {
    let mut net = pair(|setup| {
        setup.transport = transport;
        change(setup);
    });
    net.dial(A, B);
    net.run(millis(2_000), |_, _, _| {});
    act(&mut net);
    insert(&mut net, A, 0..200);
    net.run(millis(5_000), |_, _, _| {});
    let drops = net.host.drops(at);
    ALL.into_iter().map(|reason| (reason, drops.of(reason))).filter(|(_, count)| *count > 0).collect()
}

/// The only reason that there is.
fn only(drops: &[(Reason, u64)]) -> Option<Reason> {
    let [(reason, _)] = drops else { return None };
    Some(*reason)
}

const TRANSPORTS: [Transport; 3] = [Transport::Frames, Transport::Quic, Transport::Tcp];

/// The node with this number has a narrow line down, or up.
fn narrow(setup: &mut Setup, up: bool) {
    setup.model.queue = millis(5);
    setup.place = if up {
        |number, _| {
            let line = Line { up: if number == 0 { NARROW } else { Line::CENTRE.up }, ..Line::CENTRE };
            Place { line, ..Place::NEAR }
        }
    } else {
        |number, _| {
            let line = Line { down: if number == 1 { NARROW } else { Line::CENTRE.down }, ..Line::CENTRE };
            Place { line, ..Place::NEAR }
        }
    };
}

#[test]
fn on_a_calm_path_nothing_is_dropped() {
    for transport in TRANSPORTS {
        for at in [A, B] {
            assert_eq!(drops(transport, at, |_| {}, |_| {}), [], "{transport:?}, {at:?}");
        }
    }
}

#[test]
fn what_the_network_loses_is_counted_at_its_sender() {
    for transport in TRANSPORTS {
        let lossy = |setup: &mut Setup| (setup.model.loss_per_million, setup.model.burst) = (100_000, 4);
        let drops = drops(transport, A, lossy, |_| {});
        assert_eq!(only(&drops), Some(Reason::Lost), "{transport:?}: {drops:?}");
    }
}

#[test]
fn a_full_queue_is_counted_before_the_line_it_stands_at() {
    for transport in TRANSPORTS {
        let up = drops(transport, A, |setup| narrow(setup, true), |_| {});
        assert_eq!(only(&up), Some(Reason::Uplink), "{transport:?}: {up:?}");
        let down = drops(transport, B, |setup| narrow(setup, false), |_| {});
        assert_eq!(only(&down), Some(Reason::Downlink), "{transport:?}: {down:?}");
    }
}

#[test]
fn a_path_that_does_not_carry_is_counted_at_the_sender() {
    for path in [Path::Silent, Path::Resetting] {
        let quic = drops(Transport::Quic, A, |_| {}, |net| both(net, path));
        assert_eq!(only(&quic), Some(Reason::Path), "{path:?}: {quic:?}");
    }
    for transport in [Transport::Frames, Transport::Tcp] {
        let drops = drops(transport, A, |_| {}, |net| both(net, Path::Silent));
        assert_eq!(only(&drops), Some(Reason::Path), "{transport:?}: {drops:?}");
    }
}

#[test]
fn what_a_wire_says_of_itself_is_counted_on_a_silent_path() {
    let mut net = pair(|_| {});
    net.host.set_path(A, B, Path::Silent);
    net.dial(A, B);
    net.run(millis(500), |_, _, _| {});
    assert_eq!(net.host.drops(A).of(Reason::Path), 1, "the first attempt");
    net.run(millis(1_000), |_, _, _| {});
    assert_eq!(net.host.drops(A).of(Reason::Path), 2, "and the second, a second later");
}

#[test]
fn what_comes_to_a_node_without_power_is_counted_there() {
    for transport in TRANSPORTS {
        let off = |net: &mut Network| drop(net.host.computer(B).power_off());
        let drops = drops(transport, B, |_| {}, off);
        assert_eq!(only(&drops), Some(Reason::Down), "{transport:?}: {drops:?}");
    }
    let crashed = drops(Transport::Quic, B, |_| {}, |net| drop(net.host.computer(B).crash()));
    assert_eq!(only(&crashed), Some(Reason::Down), "{crashed:?}");
}

#[test]
fn datagrams_that_are_too_long_or_for_nobody_are_counted_at_their_sender() {
    let long = drops(Transport::Quic, A, |setup| setup.model.mtu = 1_250, |_| {});
    assert_eq!(only(&long), Some(Reason::TooLong), "{long:?}");
    let moved = |net: &mut Network| assert!(net.host.computer(B).relocate(Place::NEAR).is_some());
    let nobody = drops(Transport::Quic, A, |_| {}, moved);
    assert_eq!(only(&nobody), Some(Reason::Nobody), "{nobody:?}");
}

#[test]
fn datagrams_for_a_forgotten_flow_or_a_full_buffer_are_counted_at_their_receiver() {
    let forgotten = drops(
        Transport::Quic,
        A,
        |setup| setup.model.mapping = Some(Duration::from_secs(4)),
        |net| {
            net.run(millis(6_000), |_, _, _| {});
            insert(net, B, 500..501);
            net.run(millis(1_000), |_, _, _| {});
        },
    );
    assert_eq!(only(&forgotten), Some(Reason::Forgotten), "{forgotten:?}");
    let full = drops(
        Transport::Quic,
        B,
        |_| {},
        |net| {
            net.host.computer(B).hang();
            let from = SocketAddr::from(([9, 9, 9, 9], 9));
            for _ in 0..4_000 {
                net.host.inject(from, B, &[0; 1_200]);
                net.host.run(Duration::from_micros(20));
            }
        },
    );
    assert_eq!(only(&full), Some(Reason::Buffer), "{full:?}");
}

#[test]
fn what_comes_with_a_wrong_bit_is_counted_at_its_sender() {
    let quic = drops(Transport::Quic, A, |setup| setup.model.corrupted_per_million = 50_000, |_| {});
    assert_eq!(only(&quic), Some(Reason::Corrupted), "{quic:?}");
    let tcp = drops(Transport::Tcp, A, |setup| setup.model.flipped_per_million = 100_000, |_| {});
    assert_eq!(only(&tcp), Some(Reason::Corrupted), "{tcp:?}");
}
