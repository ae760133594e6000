//! How streams end.

use super::*;

#[test]
fn each_direction_ends_by_itself() {
    let mut pair = Pair::new(&Config::default(), 0);
    let id = pair.stream();
    pair.dialler.finish(id);
    pair.cross();
    assert_eq!(events(&mut pair.listener), [Event::Readable(id)]);
    assert!(matches!(pair.listener.read(id, 1), Read::End));
    for _ in 0..3 {
        pair.listener.write(id, &mut Bytes::from_static(b"more"));
        pair.cross();
        assert_eq!(read_all(&mut pair.dialler, id), (b"more".to_vec(), false));
    }
    pair.listener.finish(id);
    pair.cross();
    assert_eq!(read_all(&mut pair.dialler, id), (vec![], true));
    assert_eq!((pair.dialler.open_streams(), pair.listener.open_streams()), (0, 0));
}

#[test]
fn what_was_written_before_the_end_arrives_before_it() {
    let mut pair = Pair::new(&Config::default(), 0);
    let id = pair.stream();
    let body = Bytes::from((0..50_000_u32).map(|n| n.to_le_bytes()[0]).collect::<Vec<_>>());
    let mut rest = body.clone();
    pair.dialler.write(id, &mut rest);
    assert!(rest.is_empty());
    pair.dialler.finish(id);
    pair.dialler.write(id, &mut Bytes::from_static(b"after the end"));
    pair.cross();
    assert_eq!(read_all(&mut pair.listener, id), (body.to_vec(), true));
}

#[test]
fn a_reset_ends_both_directions_and_carries_its_code() {
    let mut pair = Pair::new(&Config::default(), 0);
    let id = pair.stream();
    pair.listener.write(id, &mut Bytes::from_static(b"unread"));
    pair.cross();
    pair.listener.reset(id, 0xfeed_beef);
    events(&mut pair.dialler);
    pair.cross();
    assert_eq!(events(&mut pair.dialler), [Event::Reset(id, 0xfeed_beef)]);
    assert_eq!((pair.dialler.unread(), pair.dialler.open_streams(), pair.listener.open_streams()), (0, 0, 0));
    assert!(matches!(pair.dialler.read(id, 10), Read::Gone), "what was broken off has no end");
}

#[test]
fn a_reset_after_the_end_leaves_what_came_before_it() {
    let mut yamux = listener(Config::default());
    let frames = [data(flag::SYN | flag::FIN, 1, b"whole"), frame(Kind::Window, flag::RST, 1, 5)];
    yamux.received(at(0), Bytes::from(frames.concat()));
    assert!(events(&mut yamux).contains(&Event::Reset(1, 5)));
    assert_eq!(read_all(&mut yamux, 1), (b"whole".to_vec(), true));
    assert_eq!(yamux.open_streams(), 0);
}

#[test]
fn a_reset_on_data_has_no_code_and_its_bytes_are_dropped() {
    let mut yamux = listener(Config::default());
    let frames = [data(flag::SYN, 1, b""), data(flag::RST, 1, b"bytes"), data(flag::SYN, 3, b"next")];
    yamux.received(at(0), Bytes::from(frames.concat()));
    assert!(events(&mut yamux).contains(&Event::Reset(1, code::NONE)));
    assert_eq!(read_all(&mut yamux, 3).0, b"next");
}

#[test]
fn a_stop_drops_bytes_without_credit_and_resets_after_the_own_end() {
    let mut pair = Pair::new(&Config::default(), 0);
    let id = pair.stream();
    pair.listener.stop(id, 42);
    for _ in 0..10 {
        while pair.dialler.write_room(id) > 0 {
            pair.dialler.write(id, &mut Bytes::from(vec![0; 64 * 1024]));
            pair.cross();
        }
    }
    assert_eq!(pair.dialler.write_room(id), 0, "no credit came back");
    pair.listener.write(id, &mut Bytes::from_static(b"answer"));
    pair.listener.finish(id);
    events(&mut pair.dialler);
    pair.cross();
    let told = events(&mut pair.dialler);
    assert_eq!(told, [Event::Readable(id), Event::Reset(id, 42)]);
    assert_eq!(read_all(&mut pair.dialler, id), (b"answer".to_vec(), true));
}

#[test]
fn a_stop_behind_the_own_end_resets_once_the_peer_writes_on() {
    for finish_first in [true, false] {
        let mut pair = Pair::new(&Config::default(), 0);
        let id = pair.stream();
        pair.listener.write(id, &mut Bytes::from_static(b"answer"));
        if finish_first {
            pair.listener.finish(id);
            pair.cross();
        }
        pair.listener.stop(id, 42);
        pair.listener.finish(id);
        pair.cross();
        assert!(
            !events(&mut pair.dialler).contains(&Event::Reset(id, 42)),
            "what it has is still to be read"
        );
        assert_eq!(read_all(&mut pair.dialler, id), (b"answer".to_vec(), true));
        assert_eq!(pair.listener.open_streams(), 0);
        for _ in 0..3 {
            pair.dialler.write(id, &mut Bytes::from_static(b"more"));
            pair.cross();
        }
        let resets = events(&mut pair.dialler).iter().filter(|event| **event == Event::Reset(id, 42)).count();
        assert_eq!(resets, 1);
        assert_eq!(pair.dialler.open_streams(), 0);
    }
}

#[test]
fn a_peer_that_ends_after_a_stop_is_told_nothing() {
    let mut pair = Pair::new(&Config::default(), 0);
    let id = pair.stream();
    pair.listener.finish(id);
    pair.listener.stop(id, 42);
    pair.cross();
    pair.dialler.finish(id);
    pair.cross();
    assert!(!events(&mut pair.dialler).iter().any(|event| matches!(event, Event::Reset(..))));
    assert_eq!(read_all(&mut pair.dialler, id), (Vec::new(), true));
    assert_eq!((pair.dialler.open_streams(), pair.listener.open_streams()), (0, 0));
}

#[test]
fn a_stop_of_a_peer_that_has_no_credit_left_resets_at_once() {
    let mut pair = Pair::new(&Config::default(), 0);
    let id = pair.stream();
    while pair.dialler.write_room(id) > 0 {
        pair.dialler.write(id, &mut Bytes::from(vec![0; 64 * 1024]));
        pair.cross();
    }
    pair.listener.finish(id);
    pair.listener.stop(id, 42);
    pair.cross();
    assert!(events(&mut pair.dialler).contains(&Event::Reset(id, 42)));
}

#[test]
fn where_both_sides_break_a_stream_off_at_once_its_number_may_be_used_again() {
    let mut yamux = listener(Config::default());
    sent(&mut yamux, at(0)); // a ping
    yamux.received(at(0), Bytes::from(frame(Kind::Window, flag::SYN, 1, 0)));
    yamux.reset(1, 42);
    let again = [frame(Kind::Window, flag::RST, 1, 0), frame(Kind::Window, flag::SYN, 1, 0)].concat();
    yamux.received(at(0), Bytes::from(again));
    assert_eq!(
        sent(&mut yamux, at(0)),
        Bytes::new(),
        "no reset that the peer would take for one of the new stream"
    );
    assert_eq!((yamux.open_streams(), events(&mut yamux).last()), (1, Some(&Event::Opened(1))));
    // Before the peer has ended the one before, or can know that this side did, it is in use.
    yamux.reset(1, 42);
    yamux.received(at(0), Bytes::from(frame(Kind::Window, flag::SYN, 1, 0)));
    assert_eq!(events(&mut yamux), [Event::Faulted(OPENED_TWICE)]);
}

#[test]
fn of_a_stream_that_ends_before_it_was_announced_nothing_is_ever_said() {
    let mut yamux = listener(Config::default());
    sent(&mut yamux, at(0)); // a ping
    let id = yamux.open(at(0)).unwrap();
    yamux.stop(id, 2);
    yamux.reset(id, 42);
    assert_eq!((sent(&mut yamux, at(0)), yamux.open_streams()), (Bytes::new(), 0));
    yamux.received(at(0), Bytes::from(data(0, id, b"unasked")));
    assert_eq!(events(&mut yamux), [Event::Faulted(OVERRUN)], "its peer cannot know it");
}

#[test]
fn a_stream_is_broken_off_once_however_often_the_peer_says_so() {
    let mut yamux = listener(Config::default());
    let whole = [data(flag::SYN, 1, b"whole"), data(flag::FIN, 1, b"")].concat();
    yamux.received(at(0), Bytes::from([whole, frame(Kind::Window, flag::RST, 1, 42).repeat(3)].concat()));
    let told = events(&mut yamux).into_iter().filter(|event| *event == Event::Reset(1, 42));
    assert_eq!(told.count(), 1);
    assert_eq!(read_all(&mut yamux, 1), (b"whole".to_vec(), true));
}

#[test]
fn a_peer_that_answers_no_ping_is_unreliable() {
    let config = Config::default();
    let mut pair = Pair::new(&config, 0);
    sent(&mut pair.dialler, at(0)); // the first ping is lost
    let (due, reason) = pair.dialler.poll_timeout().unwrap();
    assert_eq!((due, reason), (Instant::ZERO + config.timeout, "yamux ping"));
    pair.dialler.handle_timeout(due - Duration::from_nanos(1));
    assert_eq!(events(&mut pair.dialler), []);
    pair.dialler.handle_timeout(due);
    assert_eq!(events(&mut pair.dialler), [Event::Faulted(SILENT)]);
    assert_eq!(sent(&mut pair.dialler, due), frame(Kind::Away, 0, 0, away::NORMAL));
}

#[test]
fn a_peer_whose_answer_may_wait_behind_unread_bytes_is_not_blamed() {
    let config = Config { unread_max: WINDOW_MIN as usize + LOW, ..Config::default() };
    let mut yamux = listener(config.clone());
    sent(&mut yamux, at(0));
    yamux.received(at(0), Bytes::from(data(flag::SYN, 1, &vec![0; WINDOW_MIN as usize])));
    yamux.received(at(0), Bytes::from(data(flag::SYN, 3, b"x")));
    assert!(yamux.room() < LOW);
    let (due, _) = yamux.poll_timeout().unwrap();
    yamux.handle_timeout(due);
    assert!(!events(&mut yamux).iter().any(|event| matches!(event, Event::Faulted(_))));
    let (next, _) = yamux.poll_timeout().unwrap();
    assert_eq!(next, (due + config.interval).on_tick(), "it is asked again later");
    read_all(&mut yamux, 1);
    yamux.handle_timeout(next);
    sent(&mut yamux, next);
    yamux.handle_timeout(next + config.timeout);
    assert_eq!(events(&mut yamux), [Event::Faulted(SILENT)], "once it is read, silence counts");
}

#[test]
fn pings_measure_the_round_trip_and_go_on() {
    let config = Config::default();
    let mut pair = Pair::new(&config, 0);
    pair.cross();
    pair.cross();
    assert!(events(&mut pair.dialler).contains(&Event::Rtt(Duration::from_millis(100))));
    assert_eq!(pair.dialler.rtt(), Some(Duration::from_millis(100)));
    let (due, _) = pair.dialler.poll_timeout().unwrap();
    assert_eq!(due, (pair.now + config.interval).on_tick());
    assert!(sent(&mut pair.dialler, pair.now).is_empty());
    pair.dialler.handle_timeout(due);
    assert_eq!(sent(&mut pair.dialler, due), frame(Kind::Ping, flag::SYN, 0, 2));
    // An answer to another ping says nothing.
    pair.dialler.received(due, Bytes::from(frame(Kind::Ping, flag::ACK, 0, 1)));
    assert_eq!(events(&mut pair.dialler), []);
}
