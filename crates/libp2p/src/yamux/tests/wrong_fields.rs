//! Each field of a header with values that it cannot have.

use super::*;

#[test]
fn another_version_is_incompatible() {
    for version in [1, 2, 0x80, 0xff] {
        let mut bytes = data(flag::SYN, 1, b"");
        bytes[0] = version;
        assert_eq!(fault_of(&[bytes]), Some(VERSION));
    }
}

#[test]
fn an_unknown_type_is_a_fault() {
    for kind in [4, 5, 0x40, 0xff] {
        let mut bytes = data(flag::SYN, 1, b"");
        bytes[1] = kind;
        assert_eq!(fault_of(&[bytes]), Some(TYPE));
    }
}

#[test]
fn unknown_flags_are_ignored() {
    let mut yamux = listener(Config::default());
    yamux.received(at(0), Bytes::from(data(0xfff0 | flag::SYN, 1, b"hi")));
    assert_eq!(events(&mut yamux), [Event::Opened(1), Event::Readable(1)]);
    assert_eq!(read_all(&mut yamux, 1), (b"hi".to_vec(), false));
}

#[test]
fn a_stream_where_the_connection_belongs_and_the_other_way_round() {
    assert_eq!(fault_of(&[data(0, 0, b"x")]), Some(WRONG_STREAM));
    assert_eq!(fault_of(&[data(flag::SYN, 0, b"")]), Some(WRONG_STREAM));
    assert_eq!(fault_of(&[frame(Kind::Window, 0, 0, 1)]), Some(WRONG_STREAM));
    assert_eq!(fault_of(&[frame(Kind::Ping, flag::SYN, 1, 1)]), Some(WRONG_STREAM));
    assert_eq!(fault_of(&[frame(Kind::Away, 0, 1, 0)]), Some(WRONG_STREAM));
}

#[test]
fn a_stream_of_the_wrong_side_cannot_be_opened() {
    assert_eq!(fault_of(&[data(flag::SYN, 2, b"")]), Some(WRONG_STREAM));
    let mut dialler = Yamux::new(Config::default(), Side::Dialler, 0, at(0));
    dialler.received(at(0), Bytes::from(frame(Kind::Window, flag::SYN, 1, 0)));
    assert_eq!(events(&mut dialler), [Event::Faulted(WRONG_STREAM)]);
}

#[test]
fn a_frame_for_a_stream_that_nobody_opened_is_a_fault() {
    for id in [1, 2, 3, u32::MAX] {
        assert_eq!(fault_of(&[data(0, id, b"x")]), Some(UNKNOWN_STREAM), "{id}");
        assert_eq!(fault_of(&[frame(Kind::Window, flag::ACK, id, 0)]), Some(UNKNOWN_STREAM), "{id}");
        assert_eq!(fault_of(&[frame(Kind::Window, flag::RST, id, 0)]), Some(UNKNOWN_STREAM), "{id}");
    }
    // A stream whose opening was not yet sent: the peer cannot know it.
    for (kind, flags) in
        [(Kind::Data, 0), (Kind::Window, 0), (Kind::Window, flag::ACK), (Kind::Window, flag::RST)]
    {
        let mut yamux = listener(Config::default());
        let id = yamux.open(at(0)).unwrap();
        yamux.received(at(0), Bytes::from(frame(kind, flags, id, 0)));
        assert_eq!(events(&mut yamux), [Event::Faulted(UNKNOWN_STREAM)], "{kind:?} {flags}");
    }
}

#[test]
fn a_stream_is_opened_once() {
    let open = data(flag::SYN, 1, b"");
    assert_eq!(fault_of(&[open.clone(), open]), Some(OPENED_TWICE));
}

#[test]
fn the_number_of_a_stream_that_its_peer_has_not_ended_is_not_free() {
    for (end, again) in [(Some(flag::FIN), true), (Some(flag::RST), true), (None, false)] {
        let mut yamux = listener(Config::default());
        yamux.received(at(0), Bytes::from(data(flag::SYN, 1, b"")));
        yamux.finish(1);
        yamux.stop(1, 7);
        let mut out = BytesMut::new();
        while yamux.poll_transmit(at(0), &mut out, 65_536) {}
        if let Some(end) = end {
            yamux.received(at(0), Bytes::from(data(end, 1, b"")));
        }
        events(&mut yamux);
        yamux.received(at(0), Bytes::from(data(flag::SYN, 1, b"")));
        let told = if again { Event::Opened(1) } else { Event::Faulted(OPENED_TWICE) };
        assert!(events(&mut yamux).contains(&told), "{end:?}");
    }
}

#[test]
fn frames_for_a_stream_that_is_gone_are_dropped_with_their_bytes() {
    let mut yamux = listener(Config::default());
    yamux.received(at(0), Bytes::from(data(flag::SYN, 1, b"old")));
    yamux.reset(1, 7);
    let late =
        [data(0, 1, &[9; 1000]), frame(Kind::Window, 0, 1, u32::MAX), data(flag::FIN, 1, b"")].concat();
    yamux.received(at(0), Bytes::from([late, data(flag::SYN, 3, b"new")].concat()));
    assert!(events(&mut yamux).contains(&Event::Opened(3)));
    assert_eq!((read_all(&mut yamux, 3).0, yamux.unread()), (b"new".to_vec(), 0));
}

#[test]
fn data_after_the_end_is_a_fault() {
    let ended = data(flag::SYN | flag::FIN, 1, b"all");
    assert_eq!(fault_of(&[ended.clone(), data(0, 1, b"more")]), Some(AFTER_END));
    assert_eq!(fault_of(&[ended.clone(), data(flag::FIN, 1, b"")]), None, "an empty second end says nothing");
    assert_eq!(fault_of(&[ended, frame(Kind::Window, 0, 1, 5)]), None, "credit for the other direction");
}

#[test]
fn after_a_fault_nothing_is_taken_and_the_reason_is_the_last_frame() {
    let mut yamux = listener(Config::default());
    sent(&mut yamux, at(0));
    let bad = [data(flag::SYN, 1, b"hi"), data(0, 0, b"x"), data(flag::SYN, 3, b"")].concat();
    yamux.received(at(0), Bytes::from(bad));
    yamux.received(at(0), Bytes::from(data(flag::SYN, 5, b"")));
    let told = events(&mut yamux);
    assert_eq!(told, [Event::Opened(1), Event::Readable(1), Event::Faulted(WRONG_STREAM)]);
    assert_eq!(sent(&mut yamux, at(0)), frame(Kind::Away, 0, 0, away::PROTOCOL));
    assert_eq!((sent(&mut yamux, at(0)).len(), yamux.open_streams(), yamux.poll_timeout()), (0, 0, None));
    assert_eq!(yamux.open(at(0)), Err(OpenError::Closed));
}
