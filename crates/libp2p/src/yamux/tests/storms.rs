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

/// How many of these frames a peer may send at once behind the ones before, on a fresh connection.
fn taken(before: &[Vec<u8>], useless: &[u8]) -> usize {
    let mut yamux = listener(Config::default());
    yamux.received(at(0), Bytes::from(before.concat()));
    (0..).take(5_000).take_while(|_| no_fault(&mut yamux, useless)).count()
}

fn no_fault(yamux: &mut Yamux, bytes: &[u8]) -> bool {
    yamux.received(at(0), Bytes::copy_from_slice(bytes));
    let fault = events(yamux).into_iter().find(|event| matches!(event, Event::Faulted(_)));
    assert!(fault.is_none_or(|fault| fault == Event::Faulted(STORM)), "{fault:?}");
    fault.is_none()
}

#[test]
fn frames_that_change_nothing_are_a_fault_beyond_their_rate() {
    let open = data(flag::SYN, 1, b"");
    let useless = [
        ("data without bytes", data(0, 1, b""), 1_000),
        ("credit of nothing", frame(Kind::Window, 0, 1, 0), 1_000),
        ("credit for what was not sent", frame(Kind::Window, 0, 1, 1), 1_000),
        ("an acknowledgement of its own stream", frame(Kind::Window, flag::ACK, 1, 0), 1_000),
        ("an end again", frame(Kind::Window, flag::FIN, 1, 0), 1_001),
        ("an end again, on data", data(flag::FIN, 1, b""), 1_001),
        ("answers to no ping", frame(Kind::Ping, flag::ACK, 0, 77), 1_000),
        ("go-away again", frame(Kind::Away, 0, 0, 0), 1_001),
    ];
    for (what, frame, most) in useless {
        assert_eq!(taken(std::slice::from_ref(&open), &frame), most, "{what}");
    }
}

#[test]
fn frames_for_a_stream_that_is_gone_are_a_fault_beyond_its_last_words() {
    for (what, frame) in [
        ("credit", frame(Kind::Window, 0, 1, 1_000)),
        ("an end", frame(Kind::Window, flag::FIN, 1, 0)),
        ("data without bytes", data(0, 1, b"")),
    ] {
        let mut yamux = listener(Config::default());
        yamux.received(at(0), Bytes::from(data(flag::SYN, 1, b"")));
        yamux.reset(1, 7);
        let count = (0..).take(5_000).take_while(|_| no_fault(&mut yamux, &frame)).count();
        assert_eq!(count, 3 + 1_000, "{what}");
    }
    // Resets of this side's own streams, too.
    let mut yamux = listener(Config::default());
    let id = yamux.open(at(0)).unwrap();
    sent(&mut yamux, at(0));
    let reset = frame(Kind::Window, flag::RST, id, 0);
    assert_eq!((0..).take(5_000).take_while(|_| no_fault(&mut yamux, &reset)).count(), 1 + 3 + 1_000);
}

#[test]
fn data_that_crosses_a_reset_is_dropped_up_to_the_window_its_stream_had() {
    let rest = WINDOW_MIN as usize - 3;
    for (len, fault) in [(rest, None), (rest + 1, Some(Event::Faulted(OVERRUN)))] {
        let mut yamux = listener(Config::default());
        yamux.received(at(0), Bytes::from(data(flag::SYN, 1, b"old")));
        yamux.reset(1, 7);
        events(&mut yamux);
        for piece in vec![9; len].chunks(100) {
            yamux.received(at(0), Bytes::from(data(0, 1, piece)));
        }
        assert_eq!((events(&mut yamux).pop(), yamux.unread()), (fault, 0), "{len}");
    }
    let gone = [data(flag::SYN, 1, b""), data(flag::RST, 1, b"")];
    assert_eq!(fault_of(&[&gone[..], &[frame(Kind::Data, 0, 1, u32::MAX)]].concat()), Some(OVERRUN));
    // Behind its own end a peer has nothing more to send.
    let mut yamux = listener(Config::default());
    yamux.received(at(0), Bytes::from(data(flag::SYN | flag::FIN, 1, b"")));
    yamux.reset(1, 7);
    events(&mut yamux);
    yamux.received(at(0), Bytes::from(data(0, 1, b"x")));
    assert_eq!(events(&mut yamux), [Event::Faulted(OVERRUN)]);
}

#[test]
fn data_on_a_stream_that_is_refused_is_dropped_up_to_its_first_window() {
    for (more, fault) in [(0, None), (1, Some(OVERRUN))] {
        let mut yamux = listener(Config { max_inbound: 1, ..Config::default() });
        let frames = [
            data(flag::SYN, 1, b""),
            data(flag::SYN, 3, &vec![0; WINDOW_MIN as usize]),
            data(0, 3, &vec![0; more]),
        ];
        yamux.received(at(0), Bytes::from(frames.concat()));
        let told = events(&mut yamux).into_iter().find(|event| matches!(event, Event::Faulted(_)));
        assert_eq!(told, fault.map(Event::Faulted));
    }
}

#[test]
fn a_reader_that_gives_credit_for_every_byte_it_was_sent_makes_no_storm() {
    let mut yamux = listener(Config::default());
    for n in 0..20_000_u32 {
        let id = 2 * n + 1;
        yamux.received(at(0), Bytes::from(data(flag::SYN | flag::FIN, id, b"question")));
        yamux.accept(id);
        assert_eq!(read_all(&mut yamux, id), (b"question".to_vec(), true));
        for part in [&b"na"[..], b"me", b"answer"] {
            yamux.write(id, &mut Bytes::copy_from_slice(part));
            sent(&mut yamux, at(0));
        }
        yamux.finish(id);
        sent(&mut yamux, at(0));
        // It reads all of that now, and its stream is gone here.
        let updates = [2, 2, 6].map(|credit| frame(Kind::Window, 0, id, credit)).concat();
        assert!(no_fault(&mut yamux, &updates), "after {n} streams");
    }
    assert_eq!(yamux.open_streams(), 0);
}

#[test]
fn window_updates_behind_a_stream_are_expected_as_its_bytes_called_for_them() {
    for len in [1, 256, 51_200] {
        let mut yamux = listener(Config::default());
        yamux.received(at(0), Bytes::from(data(flag::SYN | flag::FIN, 1, b"question")));
        yamux.accept(1);
        assert_eq!(read_all(&mut yamux, 1), (b"question".to_vec(), true));
        yamux.write(1, &mut Bytes::from(vec![7; len]));
        sent(&mut yamux, at(0));
        yamux.finish(1);
        sent(&mut yamux, at(0));
        assert_eq!(yamux.open_streams(), 0);
        let update = frame(Kind::Window, 0, 1, 1);
        let taken = (0..).take(5_000).take_while(|_| no_fault(&mut yamux, &update)).count();
        let frames = len.div_ceil(16 * 1024) + 1; // and the end
        // Four for each frame, one for each 256 bytes, the stream's last words, and a storm's worth.
        assert_eq!(taken, 4 * frames + len / 256 + 3 + 1_000, "{len}");
    }
}

#[test]
fn streams_of_no_use_to_the_user_are_a_fault_beyond_their_rate() {
    let mut yamux = listener(Config::default());
    for n in 0..1_000 {
        yamux.received(at(0), Bytes::from(data(flag::SYN, 2 * n + 1, b"?")));
        yamux.reset(2 * n + 1, 0);
        yamux.count_useless(at(0));
        sent(&mut yamux, at(0));
    }
    assert!(!events(&mut yamux).iter().any(|event| matches!(event, Event::Faulted(_))));
    yamux.count_useless(at(0));
    yamux.count_useless(at(0));
    assert_eq!(events(&mut yamux), [Event::Faulted(STORM)]);
}
