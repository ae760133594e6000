//! What went wrong in a run is among its problems: links that did not come up, messages that cannot be read, more held than granted, a node
//! whose turns never end. A flood is not well where there are any, though all agree.

use crate::common;
use crate::pair::{A, B, both, insert, pair};

use weir_base::Instant;
use weir_sim::flood::{Flood, TXS, pool_of};
use weir_sim::misbehave::Overdrawn;
use weir_sim::{Dials, NodeId, Outcome, Path, Tamper, Transport};
use weir_stack::{Frame, WireId};

/// Three nodes in a ring, of which two do not hear each other.
fn ring_with_a_gap(transport: Transport) -> Flood {
    let mut setup = common::setup(3, 2, 7);
    (setup.transport, setup.dials) = (transport, Dials::OneEnd);
    let mut flood = Flood::new(setup, common::load(20, 1, 1)).unwrap();
    let (one, other) = flood.net.edges[0];
    flood.net.host.set_path(one, other, Path::Silent);
    flood.net.host.set_path(other, one, Path::Silent);
    flood
}

#[test]
fn a_link_that_does_not_come_up_is_a_problem_though_all_agree() {
    for transport in [Transport::Frames, Transport::Quic] {
        for in_windows in [false, true] {
            let mut flood = ring_with_a_gap(transport);
            if in_windows {
                flood.run_in_windows();
            } else {
                flood.run();
            }
            assert!(flood.spread().converged.is_some());
            assert_eq!(flood.problems(), ["some links did not come up"], "{transport:?}, {in_windows}");
        }
    }
    let mut net = pair(|_| {});
    both(&mut net, Path::Silent);
    assert!(!net.name_edges());
    assert_eq!(net.problems(), ["some links did not come up"]);
}

#[test]
#[should_panic(expected = "some links did not come up")]
fn a_flood_with_a_problem_is_not_well() {
    let mut flood = ring_with_a_gap(Transport::Frames);
    flood.run();
    common::assert_well(&mut flood);
}

/// Damages the first message of a kind, or acts at a time that has always come.
enum Broken {
    /// Says something on its first stream of a pool's offers that is no message.
    Gibberish(bool),
    /// Wants to act all the time, and does nothing.
    Restless,
}

impl Tamper for Broken {
    fn outgoing(&mut self, _now: Instant, _wire: WireId, frame: Frame, out: &mut Outcome) {
        let opened = match frame {
            Frame::Open { stream, protocol } if protocol == TXS.protocol(0) => Some(stream),
            _ => None,
        };
        out.send.push(frame);
        if let (Self::Gibberish(said @ false), Some(stream)) = (self, opened) {
            *said = true;
            out.send.push(Frame::Data { stream, bytes: vec![0xff; 12].into() });
        }
    }

    fn incoming(&mut self, _now: Instant, _wire: WireId, frame: Frame, out: &mut Outcome) {
        out.receive.push(frame);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        matches!(self, Self::Restless).then_some(Instant::ZERO)
    }
}

#[test]
fn a_message_that_cannot_be_read_is_a_problem() {
    let mut net = pair(|_| {});
    net.host.computer(A).tamper(Box::new(Broken::Gibberish(false)));
    net.dial(A, B);
    net.run(std::time::Duration::from_secs(5), |_, _, _| {});
    assert_eq!(net.problems(), ["1 messages could not be read, nor what follows them"]);
}

#[test]
fn a_node_whose_turns_never_end_is_named_among_the_problems() {
    let mut net = pair(|_| {});
    assert!(net.link_up());
    net.host.computer(B).tamper(Box::new(Broken::Restless));
    insert(&mut net, A, 0..1);
    net.run(std::time::Duration::from_secs(5), |_, _, _| {});
    assert_eq!(net.problems(), ["node 1 never came to an end of its turns"]);
}

#[test]
fn more_held_than_granted_is_a_problem() {
    let mut flood = Flood::new(common::setup(4, 3, 7), common::load(20, 1, 1)).unwrap();
    flood.hostile.insert(NodeId(0));
    flood.net.host.computer(NodeId(0)).tamper(Box::new(Overdrawn::new(TXS)));
    flood.run();
    let problems = flood.problems();
    assert_eq!(problems, ["a node held 1 bytes more than it had granted, or than its tables may take"]);
}

#[test]
fn what_a_pool_refuses_counts_as_not_submitted() {
    let mut setup = common::setup(3, 2, 7);
    pool_of(&mut setup.config).unwrap().max_item = 300;
    let mut flood = Flood::new(setup, common::load(100, 2, 2)).unwrap();
    flood.run();
    let submitted = flood.spread().submitted;
    assert!((20..180).contains(&submitted), "longer ones than 300 bytes are refused: {submitted} of 200");
    assert!(flood.problems().is_empty(), "{:?}", flood.problems());
}
