//! Streams between two connections.

use super::*;

/// Both ends; what each has to say arrives at once.
fn cross(a: &mut Mplex, b: &mut Mplex) {
    loop {
        let (there, back) = (sent(a), sent(b));
        if there.is_empty() && back.is_empty() {
            return;
        }
        b.received(at(0), there);
        a.received(at(0), back);
    }
}

#[test]
fn a_streams_life_is_sent_as_in_the_vectors() {
    let (mut a, mut b) = (mplex(), mplex());
    let id = a.open().unwrap();
    a.write(id, &mut Bytes::from_static(b"hi"));
    a.finish(id);
    assert_eq!(sent(&mut a), vector("open-data-and-close"));
    b.received(at(0), vector("open-data-and-close"));
    assert_eq!(events(&mut b), [Event::Opened(theirs(0)), Event::Readable(theirs(0))]);
    assert_eq!(read_all(&mut b, theirs(0)), (b"hi".to_vec(), true));
    b.write(theirs(0), &mut Bytes::from_static(b"yes"));
    b.finish(theirs(0));
    assert_eq!(sent(&mut b), vector("answer-and-close"));
    a.received(at(0), vector("answer-and-close"));
    assert_eq!(read_all(&mut a, id), (b"yes".to_vec(), true));
    assert_eq!((a.open_streams(), b.open_streams()), (0, 0));
    let id = a.open().unwrap();
    assert_eq!(sent(&mut a), vector("open"));
    a.reset(at(0), id);
    assert_eq!(sent(&mut a), vector("reset-by-opener"));
    b.received(at(0), vector("open"));
    b.reset(at(0), theirs(1));
    assert_eq!(sent(&mut b), vector("reset-by-other"));
    a.received(at(0), vector("open-with-name"));
    assert_eq!(events(&mut a).last(), Some(&Event::Opened(theirs(300))));
}

#[test]
fn the_same_number_of_both_sides_is_two_streams() {
    let (mut a, mut b) = (mplex(), mplex());
    let (one, other) = (a.open().unwrap(), b.open().unwrap());
    assert_eq!((one, other), (ours(0), ours(0)));
    a.write(one, &mut Bytes::from_static(b"from a"));
    b.write(other, &mut Bytes::from_static(b"from b"));
    cross(&mut a, &mut b);
    assert_eq!(read_all(&mut b, theirs(0)).0, b"from a");
    assert_eq!(read_all(&mut a, theirs(0)).0, b"from b");
}

#[test]
fn every_byte_arrives_once_and_in_order_in_pieces_of_any_length() {
    for piece in [1, 2, 5, 1_000, 50_000] {
        let (mut a, mut b) = (mplex(), mplex());
        let ids = [a.open().unwrap(), a.open().unwrap(), a.open().unwrap()];
        let body: Vec<u8> = (0..60_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        for id in ids {
            a.write(id, &mut Bytes::from(body.clone()));
            a.finish(id);
        }
        let wire = sent(&mut a);
        for start in (0..wire.len()).step_by(piece) {
            b.received(at(0), wire.slice(start..wire.len().min(start + piece)));
        }
        for id in ids {
            assert_eq!(read_all(&mut b, theirs(id.number)), (body.clone(), true), "pieces of {piece}");
        }
    }
}

#[test]
fn streams_take_turns_and_a_writer_is_told_of_room() {
    let (mut a, mut b) = (mplex(), mplex());
    let (one, other) = (a.open().unwrap(), a.open().unwrap());
    for id in [one, other] {
        a.write(id, &mut Bytes::from(vec![7; 100_000]));
        assert_eq!(a.write_room(id), 0);
    }
    let mut out = BytesMut::new();
    assert!(a.poll_transmit(&mut out, 3 * DATA_MAX));
    assert!(out.len() <= 3 * DATA_MAX);
    b.received(at(0), out.freeze());
    let got = [one, other].map(|id| read_all(&mut b, theirs(id.number)).0.len());
    assert!(got.iter().all(|len| *len >= DATA_MAX), "{got:?}");
    let told = events(&mut a);
    assert!(told.contains(&Event::Writable(one)) && told.contains(&Event::Writable(other)));
}

#[test]
fn own_streams_are_counted() {
    let mut a = Mplex::new(Config { max_outbound: 2, ..Config::default() }, at(0));
    let first = a.open().unwrap();
    a.open().unwrap();
    assert_eq!(a.open(), Err(OpenError::Limit));
    a.reset(at(0), first);
    assert!(a.open().is_ok());
}

#[test]
fn what_was_broken_off_has_no_end() {
    let mut a = mplex();
    a.received(at(0), Bytes::from([message(5, 0, b""), message(5, 2, b"part"), message(5, 6, b"")].concat()));
    assert!(events(&mut a).contains(&Event::Reset(theirs(5))));
    assert!(matches!(a.read(at(0), theirs(5), 9), Read::Gone), "a part does not look like the whole");
}

#[test]
fn where_both_sides_break_a_stream_off_at_once_its_number_may_be_used_again() {
    let mut a = mplex();
    a.received(at(0), Bytes::from(message(5, 0, b"")));
    a.reset(at(0), theirs(5));
    a.received(at(0), Bytes::from([message(5, 6, b""), message(5, 0, b"")].concat()));
    assert_eq!(sent(&mut a), Bytes::new(), "no reset that the peer would take for one of the new stream");
    assert_eq!((a.open_streams(), events(&mut a).last()), (1, Some(&Event::Opened(theirs(5)))));
    // Before the peer has ended the one before, or can know that this side did, it is in use.
    a.reset(at(0), theirs(5));
    a.received(at(0), Bytes::from(message(5, 0, b"")));
    assert_eq!(events(&mut a), [Event::Faulted(OPENED_TWICE)]);
}

#[test]
fn a_reset_after_the_close_leaves_what_came_before_it() {
    let mut a = mplex();
    let messages = [message(5, 0, b""), message(5, 2, b"whole"), message(5, 4, b""), message(5, 6, b"")];
    a.received(at(0), Bytes::from(messages.concat()));
    a.received(at(0), Bytes::from(message(5, 6, b"").repeat(3)));
    let told = events(&mut a).into_iter().filter(|event| *event == Event::Reset(theirs(5)));
    assert_eq!(told.count(), 1, "a stream is broken off once, however often the peer says so");
    assert_eq!(read_all(&mut a, theirs(5)), (b"whole".to_vec(), true));
    assert_eq!(a.open_streams(), 0);
}

#[test]
fn an_end_and_a_stop_at_once_are_an_end_alone_until_the_peer_goes_on_writing() {
    let mut a = mplex();
    a.received(at(0), message(1, 0, b"").into());
    a.write(theirs(1), &mut Bytes::from_static(b"answer"));
    a.finish(theirs(1));
    a.stop(at(0), theirs(1));
    assert_eq!(sent(&mut a), [message(1, 1, b"answer"), message(1, 3, b"")].concat());
    assert_eq!(a.open_streams(), 0);
    a.received(at(0), message(1, 2, b"").into()); // no bytes
    assert_eq!(sent(&mut a), Bytes::new());
    a.received(at(0), message(1, 2, b"more").into());
    assert_eq!(sent(&mut a), message(1, 5, b""));
    a.received(at(0), message(1, 2, b"more").into());
    assert_eq!(sent(&mut a), Bytes::new(), "it is told once");
}

#[test]
fn a_peer_that_ends_what_nobody_wants_is_told_nothing_and_may_use_the_number_again() {
    for (end, again) in [(Some(4), true), (Some(6), true), (None, false)] {
        let mut a = mplex();
        a.received(at(0), message(1, 0, b"").into());
        a.finish(theirs(1));
        a.stop(at(0), theirs(1));
        assert_eq!(sent(&mut a), message(1, 3, b""));
        if let Some(end) = end {
            a.received(at(0), message(1, end, b"").into());
        }
        assert_eq!(sent(&mut a), Bytes::new());
        events(&mut a);
        a.received(at(0), message(1, 0, b"").into());
        assert_eq!(events(&mut a) == [Event::Opened(theirs(1))], again, "{end:?}");
    }
}

#[test]
fn of_streams_that_nobody_wants_the_last_1_024_are_remembered() {
    let mut a = mplex();
    for number in 0..=1_024 {
        a.received(at(number * 20), message(number, 0, b"").into());
        a.finish(theirs(number));
        a.stop(at(number * 20), theirs(number));
        sent(&mut a);
    }
    a.received(at(30_000), message(0, 2, b"more").into());
    assert_eq!(sent(&mut a), Bytes::new(), "the first is forgotten");
    a.received(at(30_000), message(1, 2, b"more").into());
    assert_eq!(sent(&mut a), message(1, 5, b""));
}
