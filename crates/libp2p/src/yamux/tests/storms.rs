//! Frames that cost work and move nothing.

use super::*;

fn storm(mut make: impl FnMut(u32) -> Vec<u8>, frames: u32) -> (Yamux, Option<Fault>) {
    let mut yamux = listener(Config::default());
    for n in 0..frames {
        yamux.received(at(0), Bytes::from(make(n)));
        for event in events(&mut yamux) {
            if let Event::Faulted(fault) = event {
                return (yamux, Some(fault));
            }
        }
    }
    (yamux, None)
}

#[test]
fn a_flood_of_pings_that_nobody_reads_answers_to_is_a_fault() {
    let ping = |n| frame(Kind::Ping, flag::SYN, 0, n);
    assert_eq!(storm(ping, 16).1, None);
    assert_eq!(storm(ping, 17).1, Some(STORM));
}

#[test]
fn a_flood_of_pings_is_a_fault_though_answers_are_read() {
    let mut yamux = listener(Config::default());
    let mut answered = 0;
    for n in 0..2_000 {
        yamux.received(at(0), Bytes::from(frame(Kind::Ping, flag::SYN, 0, n)));
        sent(&mut yamux, at(0));
        if events(&mut yamux).contains(&Event::Faulted(STORM)) {
            break;
        }
        answered += 1;
    }
    assert_eq!(answered, 1_000);
    // At the rate that is allowed it may go on for ever.
    let mut yamux = listener(Config::default());
    for n in 0..5_000 {
        yamux.received(at(u64::from(n) * 10), Bytes::from(frame(Kind::Ping, flag::SYN, 0, n)));
        sent(&mut yamux, at(u64::from(n) * 10));
    }
    assert_eq!(events(&mut yamux), []);
}

#[test]
fn a_flood_of_openings_beyond_the_limit_is_a_fault_and_keeps_little() {
    let (yamux, fault) = storm(|n| frame(Kind::Window, flag::SYN, 2 * n + 1, 0), 10_000);
    assert_eq!((fault, yamux.open_streams()), (Some(STORM), 0));
    let (yamux, fault) = storm(|n| frame(Kind::Window, flag::SYN, 2 * n + 1, 0), 512);
    assert_eq!((fault, yamux.open_streams()), (None, ACK_BACKLOG), "256 wait, 256 refusals too");
}

#[test]
fn openings_and_resets_in_turn_are_a_fault_beyond_their_rate() {
    let turn = |n: u32| {
        let id = 2 * n + 1;
        [frame(Kind::Window, flag::SYN, id, 0), frame(Kind::Window, flag::RST, id, 0)].concat()
    };
    assert_eq!(storm(turn, 1_000).1, None);
    let (yamux, fault) = storm(turn, 1_001);
    assert_eq!((fault, yamux.open_streams()), (Some(STORM), 0));
}

#[test]
fn short_streams_that_are_served_are_no_storm() {
    let mut pair = Pair::new(&Config::default(), 0);
    pair.delay = Duration::ZERO;
    for _ in 0..20_000 {
        let id = pair.dialler.open(pair.now).unwrap();
        pair.dialler.write(id, &mut Bytes::from_static(b"q"));
        pair.dialler.finish(id);
        pair.cross();
        assert_eq!(read_all(&mut pair.listener, id), (b"q".to_vec(), true));
        pair.listener.write(id, &mut Bytes::from_static(b"a"));
        pair.listener.finish(id);
        pair.cross();
        assert_eq!(read_all(&mut pair.dialler, id), (b"a".to_vec(), true));
        assert!(!events(&mut pair.listener).iter().any(|event| matches!(event, Event::Faulted(_))));
    }
    assert_eq!((pair.dialler.open_streams(), pair.listener.open_streams()), (0, 0));
}

#[test]
fn a_peer_that_opens_streams_and_does_not_read_their_resets_is_a_fault() {
    let mut yamux = listener(Config::default());
    for n in 0..2_000 {
        yamux.received(at(0), Bytes::from(frame(Kind::Window, flag::SYN, 2 * n + 1, 0)));
        if events(&mut yamux).contains(&Event::Faulted(STORM)) {
            assert_eq!(n, 1_024);
            return;
        }
        yamux.reset(2 * n + 1, 0);
    }
    panic!("{} resets wait", yamux.output.resets.len());
}

#[test]
fn a_peer_that_never_reads_makes_nothing_grow() {
    // Accepted and reset again and again at an allowed rate, while nothing is sent.
    let mut yamux = listener(Config::default());
    for n in 0..3_000_u32 {
        let now = at(u64::from(n) * 10);
        yamux.received(now, Bytes::from(data(flag::SYN, 2 * n + 1, b"x")));
        yamux.accept(2 * n + 1);
        yamux.received(now, Bytes::from(frame(Kind::Window, flag::RST, 2 * n + 1, 0)));
        events(&mut yamux);
    }
    assert_eq!((yamux.open_streams(), yamux.unread()), (0, 0));
    assert_eq!((yamux.output.control.len(), yamux.output.data.len(), yamux.output.resets.len()), (0, 0, 0));
}
