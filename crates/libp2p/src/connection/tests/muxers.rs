//! mplex beside yamux: when it is taken, and what a connection over it does.

use super::*;

fn with_mplex(seed: u8) -> Setup {
    Setup { mplex: Some(mplex::Config::default()), ..setup(seed) }
}

/// A node that has nothing but mplex: its yamux has a name that nobody else has.
fn only_mplex(seed: u8) -> Setup {
    Setup { muxers: Names::new(["/nobody/1.0.0"]).unwrap(), ..with_mplex(seed) }
}

fn is_mplex(end: &mut End) -> bool {
    matches!(end.muxer(), Muxer::Mplex(_))
}

fn over_mplex() -> Pair {
    let mut pair = Pair::new(dialer(with_mplex(1), None), listener(only_mplex(2)));
    pair.run();
    assert!(is_mplex(&mut pair.a) && is_mplex(&mut pair.b));
    pair
}

#[test]
fn yamux_is_taken_wherever_both_have_it() {
    for early_muxer in [true, false] {
        let late = |seed| Setup { early_muxer, ..with_mplex(seed) };
        let mut pair = Pair::new(dialer(late(1), None), listener(late(2)));
        pair.run();
        assert!(pair.a.connection.is_up() && !is_mplex(&mut pair.a) && !is_mplex(&mut pair.b));
    }
}

#[test]
fn mplex_is_taken_where_it_is_configured_and_nothing_else_is_in_common() {
    for early_muxer in [true, false] {
        let late = |setup: Setup| Setup { early_muxer, ..setup };
        for (a, b) in [(with_mplex(1), only_mplex(2)), (only_mplex(1), with_mplex(2))] {
            let mut pair = Pair::new(dialer(late(a), None), listener(late(b)));
            pair.run();
            assert!(is_mplex(&mut pair.a) && is_mplex(&mut pair.b), "early: {early_muxer}");
            assert_eq!((pair.a.fault(), pair.b.fault()), (None, None));
        }
        let mut pair = Pair::new(dialer(late(setup(1)), None), listener(late(only_mplex(2))));
        pair.run();
        assert_eq!(pair.a.fault(), Some(crate::noise::NO_MUXER), "it is off unless configured");
    }
}

#[test]
fn streams_of_both_sides_have_the_numbers_of_yamux_and_end_one_direction_at_a_time() {
    let mut pair = over_mplex();
    let (one, two) = (pair.a.muxer().open(pair.now).unwrap(), pair.b.muxer().open(pair.now).unwrap());
    assert_eq!((one, two), (1, 2));
    pair.a.muxer().write(one, &mut Bytes::from_static(b"from the dialler"));
    pair.a.muxer().finish(one);
    pair.b.muxer().write(two, &mut Bytes::from_static(b"from the listener"));
    pair.run();
    assert_eq!((pair.a.opened(), pair.b.opened()), (vec![two], vec![one]));
    assert_eq!(read_all(&mut pair.b, one), (b"from the dialler".to_vec(), true));
    assert_eq!(read_all(&mut pair.a, two), (b"from the listener".to_vec(), false));
    pair.b.muxer().write(one, &mut Bytes::from_static(b"and back"));
    pair.b.muxer().finish(one);
    pair.b.muxer().reset(two, 7);
    pair.run();
    assert_eq!(read_all(&mut pair.a, one), (b"and back".to_vec(), true));
    assert!(pair.a.told.contains(&Event::Muxer(yamux::Event::Reset(two, yamux::code::NONE))));
    assert_eq!((pair.a.muxer().open_streams(), pair.b.muxer().open_streams()), (0, 0));
}

#[test]
fn an_open_above_the_limit_is_told_when_it_is_possible() {
    let few =
        Setup { mplex: Some(mplex::Config { max_outbound: 1, ..mplex::Config::default() }), ..setup(1) };
    let mut pair = Pair::new(dialer(few, None), listener(only_mplex(2)));
    pair.run();
    let id = pair.a.muxer().open(pair.now).unwrap();
    assert_eq!(pair.a.muxer().open(pair.now), Err(yamux::OpenError::Limit));
    pair.a.settle(pair.now);
    let openable = Event::Muxer(yamux::Event::Openable);
    assert!(!pair.a.told.contains(&openable));
    pair.a.muxer().reset(id, 0);
    pair.a.settle(pair.now);
    assert!(pair.a.told.contains(&openable));
    pair.a.muxer().close(yamux::away::NORMAL);
    assert_eq!(pair.a.muxer().open(pair.now), Err(yamux::OpenError::Closed), "it has announced its end");
}

#[test]
fn unwanted_bytes_are_dropped_and_the_stream_ends_with_this_sides_direction() {
    let mut pair = over_mplex();
    let id = pair.a.muxer().open(pair.now).unwrap();
    pair.a.muxer().write(id, &mut Bytes::from(vec![7; 40_000]));
    pair.run();
    assert_eq!(pair.b.muxer().unread(), 40_000);
    pair.b.muxer().stop(id, 0);
    assert_eq!(pair.b.muxer().unread(), 0);
    pair.a.muxer().write(id, &mut Bytes::from(vec![7; 40_000]));
    pair.run();
    assert_eq!((pair.b.muxer().unread(), pair.b.muxer().open_streams()), (0, 1));
    pair.b.muxer().finish(id);
    pair.run();
    assert_eq!(pair.b.muxer().open_streams(), 0);
    assert!(pair.a.told.contains(&Event::Muxer(yamux::Event::Reset(id, yamux::code::NONE))), "it went on");
    // In the other order too, and not before the peer goes on writing.
    let id = pair.a.muxer().open(pair.now).unwrap();
    let reset = Event::Muxer(yamux::Event::Reset(id, yamux::code::NONE));
    pair.a.muxer().write(id, &mut Bytes::from_static(b"x"));
    pair.run();
    pair.b.muxer().finish(id);
    pair.run();
    pair.b.muxer().stop(id, 0);
    pair.run();
    assert_eq!((pair.b.muxer().open_streams(), pair.a.told.contains(&reset)), (0, false));
    pair.a.muxer().write(id, &mut Bytes::from_static(b"y"));
    pair.run();
    assert!(pair.a.told.contains(&reset));
}

#[test]
fn a_stopped_reader_stalls_the_connection_within_its_memory_until_patience_ends() {
    let mut pair = over_mplex();
    let id = pair.a.muxer().open(pair.now).unwrap();
    let most = mplex::Config::default().unread_max;
    for _ in 0..100 {
        pair.a.muxer().write_room(id);
        pair.a.muxer().write(id, &mut Bytes::from(vec![7; 60_000]));
        pair.a.settle(pair.now);
        let room = pair.b.connection.room().min(pair.a.wire.len());
        let bytes = pair.a.wire.split_to(room);
        pair.b.connection.received(pair.now, bytes);
        pair.b.settle(pair.now);
        assert!(pair.b.muxer().unread() <= most);
    }
    assert_eq!(pair.b.connection.room(), 0, "it is not read any more");
    let (due, _) = pair.b.connection.poll_timeout().unwrap();
    pair.b.connection.handle_timeout(due);
    pair.b.settle(due);
    assert!(pair.b.told.contains(&Event::Muxer(yamux::Event::Reset(id, yamux::code::NONE))));
    pair.b.connection.resume(due);
    assert!(pair.b.connection.room() > 0, "the rest goes on");
}

/// The interval of signs of life, and their timeout.
fn pace() -> (Duration, Duration) {
    let yamux = setup(1).yamux;
    (yamux.interval, yamux.timeout)
}

/// Both sides' timers fire.
fn wait(pair: &mut Pair, time: Duration) {
    pair.now = pair.now + time;
    pair.a.connection.handle_timeout(pair.now);
    pair.b.connection.handle_timeout(pair.now);
}

#[test]
fn a_peer_that_is_silent_over_mplex_is_asked_for_a_sign_of_life_and_then_given_up() {
    let (interval, timeout) = pace();
    let moment = Duration::from_millis(1);
    let mut pair = over_mplex();
    assert_eq!(pair.a.connection.poll_timeout().map(|(_, reason)| reason), Some("a sign of life over mplex"));
    wait(&mut pair, interval.saturating_sub(Duration::from_secs(1)));
    pair.a.settle(pair.now);
    assert!(pair.a.wire.is_empty(), "it was heard less than an interval ago");
    wait(&mut pair, Duration::from_secs(1));
    pair.a.settle(pair.now);
    assert!(!std::mem::take(&mut pair.a.wire).is_empty(), "asked, and lost on its way");
    wait(&mut pair, timeout.saturating_sub(moment));
    pair.a.settle(pair.now);
    assert_eq!((pair.a.fault(), pair.a.wire.len()), (None, 0), "it is asked once");
    wait(&mut pair, moment);
    pair.a.settle(pair.now);
    assert_eq!((pair.a.fault(), pair.a.connection.poll_timeout()), (Some(SILENT), None));
}

#[test]
fn any_input_over_mplex_is_a_sign_of_life_and_what_asks_for_it_is_no_stream() {
    let (interval, timeout) = pace();
    let mut pair = over_mplex();
    for round in 0..20 {
        wait(&mut pair, interval);
        pair.run();
        // The other side opens one likewise; each of them answers as it likes, or not at all and says something else.
        let (now, asked) = (pair.now, pair.b.opened()[round]);
        match round % 4 {
            0 => pair.b.muxer().reset(asked, 0),
            1 => pair.b.muxer().write(asked, &mut Bytes::from_static(b"anything")),
            2 => pair.b.muxer().finish(asked),
            _ => drop(pair.b.muxer().open(now)),
        }
        let asked = pair.a.opened().into_iter().rfind(|id| id % 2 == 0).unwrap();
        pair.a.muxer().reset(asked, 0);
        pair.run();
        wait(&mut pair, timeout);
        pair.run();
        assert_eq!((pair.a.fault(), pair.b.fault()), (None, None), "{round}");
    }
    // The other side's questions are streams like any other here: even numbers.
    let of_question = |event: &Event| match event {
        Event::Muxer(yamux::Event::Readable(id) | yamux::Event::Reset(id, _)) => id % 2 == 1,
        _ => false,
    };
    assert!(!pair.a.told.iter().any(of_question), "{:?}", pair.a.told);
    assert!(pair.a.muxer().open_streams() <= 6, "one question, and the 5 streams that the peer opened");
}

#[test]
fn a_side_that_does_not_read_gives_nobody_up_for_silence() {
    let (interval, timeout) = pace();
    let mut pair = over_mplex();
    wait(&mut pair, interval);
    pair.a.settle(pair.now);
    pair.a.muxer().limit_unread(mplex::LOW - 1);
    for _ in 0..5 {
        wait(&mut pair, timeout);
        pair.a.settle(pair.now);
        assert_eq!(pair.a.fault(), None);
    }
    pair.a.muxer().limit_unread(mplex::LOW);
    wait(&mut pair, timeout);
    pair.a.settle(pair.now);
    assert_eq!(pair.a.fault(), Some(SILENT));
}

#[test]
fn a_side_that_is_closing_asks_nobody() {
    let mut pair = over_mplex();
    pair.a.muxer().close(yamux::away::NORMAL);
    assert_eq!(pair.a.connection.poll_timeout(), None);
    wait(&mut pair, Duration::from_secs(600));
    pair.a.settle(pair.now);
    assert_eq!((pair.a.fault(), pair.a.wire.len()), (None, 0));
}

#[test]
fn a_sign_of_life_is_asked_for_though_all_streams_are_in_use() {
    let few =
        Setup { mplex: Some(mplex::Config { max_outbound: 1, ..mplex::Config::default() }), ..setup(1) };
    let mut pair = Pair::new(dialer(few, None), listener(only_mplex(2)));
    pair.run();
    pair.a.muxer().open(pair.now).unwrap();
    wait(&mut pair, pace().0);
    pair.run();
    assert_eq!(pair.b.opened().len(), 2);
}
