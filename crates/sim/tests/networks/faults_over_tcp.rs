//! What a network does to byte streams: crashes, silence and resets, on a path without chance; and a flood over them.

use crate::common;
use crate::pair::{A, B, both, linked_after, millis};

use weir_base::Instant;
use weir_sim::flood::{Flood, TXS, transaction};
use weir_sim::{Network, NodeId, Note, Outcome, Path, Tamper, Transport, tamper};
use weir_stack::{Event, Frame, WireId};

fn pair() -> Network {
    crate::pair::pair(|setup| setup.transport = Transport::Tcp)
}

#[test]
fn a_peer_is_known_after_three_round_trips() {
    let mut net = pair();
    net.dial(A, B);
    // one for the byte stream, one for Noise, one for hello, which goes along with its end: 20 ms each
    assert!(!linked_after(&mut net, 59));
    assert!(linked_after(&mut net, 3));
}

#[test]
fn of_a_crash_the_peer_hears_and_a_loss_of_power_it_finds_out() {
    let mut crashed = pair();
    crashed.link_up();
    crashed.host.computer(B).crash();
    crashed.run(millis(50), |_, _, _| {});
    assert!(!crashed.linked(A, B));

    let mut dark = pair();
    dark.link_up();
    dark.host.computer(B).power_off();
    dark.run(millis(5_000), |_, _, _| {});
    assert!(dark.linked(A, B));
    dark.run(millis(40_000), |_, _, _| {});
    assert!(!dark.linked(A, B), "pings are not answered");
}

#[test]
fn a_dial_to_a_crashed_node_is_refused_and_one_to_a_dark_node_is_not_answered() {
    let failed = |net: &mut Network| {
        net.dial(A, B);
        let mut failed = false;
        net.run(millis(100), |_, _, note| failed |= matches!(note, Note::Told(Event::DialFailed { .. })));
        failed
    };
    let mut net = pair();
    net.host.computer(B).crash();
    assert!(failed(&mut net));
    let mut net = pair();
    net.host.computer(B).power_off();
    assert!(!failed(&mut net));
}

#[test]
fn a_partition_delays_what_was_sent_and_loses_nothing() {
    let mut net = pair();
    net.link_up();
    net.run(millis(1_000), |_, _, _| {});
    net.host.block(A, B);
    for number in 0..50 {
        let taken = net.host.with(A, |actor, now| actor.insert(now, TXS, transaction(number, 1)));
        assert_eq!(taken, Some(true));
    }
    let mut accepted = 0;
    let mut count = |net: &mut Network, pause: u64| {
        net.run(millis(pause), |_, id, note| {
            accepted += usize::from(id == B && matches!(note, Note::Accepted { .. }));
        });
        accepted
    };
    assert_eq!(count(&mut net, 3_000), 0);
    net.host.heal(A, B);
    assert_eq!(count(&mut net, 10_000), 50);
    assert!(net.linked(A, B) && net.faults.is_empty());
}

#[test]
fn a_resetting_path_ends_links_and_refuses_dials() {
    let mut net = pair();
    net.link_up();
    both(&mut net, Path::Resetting);
    net.run(millis(10), |_, _, _| {});
    assert!(!net.linked(A, B) && !net.linked(B, A));
    net.dial(A, B);
    assert!(!linked_after(&mut net, 1_000));
    both(&mut net, Path::Open);
    net.dial(A, B);
    assert!(linked_after(&mut net, 100));
}

#[test]
fn twenty_nodes_agree_and_copy_hardly_anything() {
    let mut setup = common::setup(20, 8, 5);
    setup.transport = Transport::Tcp;
    let mut flood = Flood::new(setup, common::load(100, 3, 60)).unwrap();
    flood.run();
    common::assert_well(&mut flood);
    let bodies = flood.spread().bodies_per_node.unwrap();
    assert!(bodies <= 1.05, "{bodies}");
}

/// Stands inside Noise and yamux, and changes nothing.
struct Passing;

impl Tamper for Passing {
    fn outgoing(&mut self, _: Instant, _: WireId, frame: Frame, out: &mut Outcome) {
        out.send.push(frame);
    }

    fn incoming(&mut self, _: Instant, _: WireId, frame: Frame, out: &mut Outcome) {
        out.receive.push(frame);
    }
}

#[test]
fn a_bridge_that_changes_nothing_is_not_noticed_and_every_run_is_the_same() {
    let run = || {
        let mut setup = common::setup(12, 5, 5);
        setup.transport = Transport::Tcp;
        let mut flood = Flood::new(setup, common::load(50, 2, 20)).unwrap();
        (0..4).for_each(|id| tamper(&mut flood.net, NodeId(id), Box::new(Passing)));
        flood.run();
        common::assert_well(&mut flood);
        assert!(flood.net.faults.is_empty());
        flood.net.host.trace_hash()
    };
    assert_eq!(run(), run());
}
