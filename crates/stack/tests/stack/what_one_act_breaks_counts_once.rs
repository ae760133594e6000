//! What one act breaks on several streams counts once against a peer; what it delivered is judged each time.

use std::time::Duration;

use bytes::Bytes;
use weir_base::UnixTime;
use weir_base::stream::Goodbye;
use weir_stack::{Config, DownReason, Event, Record, peers, pool};

use crate::duo::Duo;
use crate::net::{CALL, Carrier, Net, POOL, config};

/// A request without its deadline, and bytes after it.
const BROKEN: &[u8] = &[2, 0, 0, 7, 7, 7];
/// The first two bytes of a request of 20.
const BEGUN: &[u8] = &[20, 0];

/// Limits under which a peer is not sent away for a few faults.
fn patient() -> Config {
    let standing = peers::standing::Config {
        disconnect: 1_000,
        ban: 1_000,
        ban_prefix: 1_000,
        ..peers::standing::Config::default()
    };
    Config { standing, ..config() }
}

/// What stands against the peer, in points: wrongs and lapses.
fn points(duo: &Duo) -> (u64, u64) {
    let record: Option<Record> = duo.node.peers().standing().record(duo.now, UnixTime::default(), &duo.id);
    record.map_or((0, 0), |record| (record.wrongs.div_ceil(1000), record.lapses.div_ceil(1000)))
}

/// The peer opens calls, and writes the same on all of them in one instant.
fn call(duo: &mut Duo, calls: usize, bytes: &[u8]) {
    let streams: Vec<u64> = (0..calls).map(|_| duo.open(CALL.protocol(0))).collect();
    streams.into_iter().for_each(|stream| duo.write(stream, bytes));
    duo.settle();
}

#[test]
fn six_streams_that_break_together_count_as_one() {
    let mut duo = Duo::new(patient());
    duo.say_hello();
    call(&mut duo, 6, BROKEN);
    assert_eq!(points(&duo), (50, 0));
    duo.run_for(Duration::from_millis(50));
    call(&mut duo, 6, BROKEN);
    assert_eq!(points(&duo), (100, 0), "that was another act");
}

#[test]
fn six_requests_that_are_late_together_count_as_one() {
    let mut duo = Duo::new(patient());
    duo.say_hello();
    call(&mut duo, 6, BEGUN);
    duo.run_for(Duration::from_secs(11));
    assert_eq!(points(&duo), (0, 1));
}

#[test]
fn who_is_sent_away_for_one_fault_is_not_banned_for_what_was_on_its_way() {
    let mut duo = Duo::linked();
    duo.say_hello();
    let streams: Vec<u64> = (0..6).map(|_| duo.open(CALL.protocol(0))).collect();
    streams.iter().for_each(|stream| duo.write(*stream, &BROKEN[..1]));
    duo.settle();
    for stream in streams {
        duo.write(stream, &BROKEN[1..]);
        while let Some((wire, frame)) = duo.peer.poll_frame(duo.now) {
            duo.node.handle(duo.now, weir_stack::Input::Frame(crate::duo::NODES, frame));
            assert_eq!(wire, crate::duo::PEERS);
        }
        while let Some(event) = duo.node.poll_event() {
            duo.events.push(event);
        }
        duo.now = duo.now + Duration::from_millis(1); // the node's goodbye is on its way all this time
    }
    assert_eq!(points(&duo).0, 50);
    assert!(duo.node.peers().standing().banned(duo.now, &duo.id).is_none());
    duo.run_for(Duration::from_secs(6));
    let away = |event: &Event| matches!(event, Event::Refused { reason, .. } | Event::PeerDown { reason, .. } if *reason == DownReason::Closed(Goodbye::Fault));
    assert!(duo.events.iter().any(away), "{:?}", duo.events);
}

#[test]
fn items_that_are_rejected_in_one_instant_count_each() {
    let mut net = Net::line(Carrier::Frames, 31, 2);
    let peer = net.nodes[1].peer;
    for number in 0..3_u8 {
        let bytes = Bytes::from(vec![number; 100]);
        net.pull(1, weir_pull::Command::Pool(POOL, pool::Command::Insert { bytes }));
    }
    let candidate = |event: &Event| match event {
        Event::Pool(POOL, pool::Event::Candidate { ticket, .. }) => Some(*ticket),
        _ => None,
    };
    let tickets: Vec<_> = (0..3).map(|_| net.wait(0, candidate)).collect();
    for ticket in tickets {
        let verdict = pool::Command::Verdict { ticket, at: net.now, verdict: pool::Verdict::Reject };
        net.pull(0, weir_pull::Command::Pool(POOL, verdict));
    }
    let record = net.nodes[0].stack.peers().records(net.now).find(|record| record.peer == peer);
    assert_eq!(record.map(|record| record.wrongs), Some(30_000));
}
