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
fn bytes_that_nobody_wants_are_dropped_and_the_stream_ends_with_this_sides_direction() {
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
    // In the other order the peer is told.
    let id = pair.a.muxer().open(pair.now).unwrap();
    pair.a.muxer().write(id, &mut Bytes::from_static(b"x"));
    pair.run();
    pair.b.muxer().finish(id);
    pair.run();
    pair.b.muxer().stop(id, 0);
    pair.run();
    assert!(pair.a.told.contains(&Event::Muxer(yamux::Event::Reset(id, yamux::code::NONE))));
}

#[test]
fn a_reader_that_stops_stalls_the_connection_within_its_memory_until_its_patience_ends() {
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
