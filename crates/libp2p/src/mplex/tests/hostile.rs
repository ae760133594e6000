//! What a peer may send.

use proptest::prelude::*;

use super::*;

#[test]
fn malformed_messages_of_the_vectors_are_refused() {
    let refused: Vec<&str> = FILE.lines().filter(|line| line.starts_with("refused-")).collect();
    assert!(refused.len() >= 6);
    for line in refused {
        let name = line.split(' ').next().unwrap();
        assert!(fault_of(&[vector(name).to_vec()]).is_some(), "{name}");
    }
}

#[test]
fn every_field_has_its_fault() {
    assert_eq!(fault_of(&[message(1, 7, b"")]), Some(FLAG));
    assert_eq!(fault_of(&[vec![0xff; 10]]), Some(BAD_HEADER));
    assert_eq!(fault_of(&[vec![0x80, 0x00]]), Some(BAD_HEADER));
    assert_eq!(fault_of(&[vec![0x00, 0x81, 0x80, 0x40]]), Some(TOO_LONG), "before a byte of it comes");
    assert_eq!(fault_of(&[message(1, 0, b""), message(1, 0, b"")]), Some(OPENED_TWICE));
    for flag in [1, 3, 5] {
        assert_eq!(fault_of(&[message(0, flag, b"")]), Some(UNKNOWN_STREAM), "{flag}");
    }
    let ended = [message(1, 0, b""), message(1, 4, b"")];
    assert_eq!(fault_of(&[&ended[..], &[message(1, 2, b"x")]].concat()), Some(AFTER_END));
    assert_eq!(fault_of(&[&ended[..], &[message(1, 2, b"")]].concat()), None);
    assert_eq!(fault_of(&[message(9, 2, b"late"), message(9, 6, b""), message(9, 4, b"")]), None);
}

#[test]
fn a_message_for_a_stream_that_was_not_yet_announced_is_a_fault() {
    let mut a = mplex();
    a.open().unwrap();
    a.received(at(0), Bytes::from(message(0, 1, b"x")));
    assert_eq!(events(&mut a), [Event::Faulted(UNKNOWN_STREAM)]);
    assert_eq!((sent(&mut a).len(), a.open(), a.poll_timeout()), (0, Err(OpenError::Closed), None));
}

#[test]
fn streams_beyond_the_limit_are_reset_and_their_bytes_dropped() {
    let mut a = Mplex::new(Config { max_inbound: 1, ..Config::default() }, at(0));
    let messages =
        [message(1, 0, b""), message(2, 0, b"name"), message(2, 2, b"data"), message(1, 2, b"mine")];
    a.received(at(0), Bytes::from(messages.concat()));
    assert_eq!(events(&mut a), [Event::Opened(theirs(1)), Event::Readable(theirs(1))]);
    assert_eq!(sent(&mut a), message(2, 5, b""));
    assert_eq!((read_all(&mut a, theirs(1)).0, a.unread()), (b"mine".to_vec(), 0));
}

#[test]
fn floods_of_openings_and_resets_are_faults_beyond_their_rate() {
    let mut opened = mplex();
    let mut told = Vec::new();
    for n in 0..2_000 {
        opened.received(at(0), Bytes::from(message(n, 0, b"")));
        told.extend(events(&mut opened));
    }
    assert!(told.contains(&Event::Faulted(STORM)) && told.len() == 257, "{}", told.len());
    let turn = |n| [message(n, 0, b""), message(n, 6, b"")].concat();
    let turns = |count: u64| fault_of(&(0..count).map(turn).collect::<Vec<_>>());
    assert_eq!((turns(1_000), turns(1_001)), (None, Some(STORM)));
    // Streams that this side resets, to a peer that does not read.
    let mut unread = mplex();
    for n in 0..2_000 {
        unread.received(at(0), Bytes::from(message(n, 0, b"")));
        unread.reset(at(0), theirs(n));
        assert!(unread.output.resets.len() <= 512);
    }
    assert!(events(&mut unread).contains(&Event::Faulted(STORM)));
}

/// How many of these messages a peer may send at once behind the ones before.
fn taken(a: &mut Mplex, before: &[Vec<u8>], useless: &[u8]) -> usize {
    a.received(at(0), Bytes::from(before.concat()));
    let taken = |a: &mut Mplex| {
        a.received(at(0), Bytes::copy_from_slice(useless));
        !events(a).contains(&Event::Faulted(STORM))
    };
    (0..).take(5_000).take_while(|_| taken(a)).count()
}

#[test]
fn messages_that_change_nothing_are_a_fault_beyond_their_rate() {
    let open = message(1, 0, b"");
    for (what, useless, most) in [
        ("data without bytes", message(1, 2, b""), 1_000),
        ("an end again", message(1, 4, b""), 1_001),
        ("an end of no stream", message(9, 4, b""), 1_000),
        ("data without bytes for no stream", message(9, 2, b""), 1_000),
    ] {
        assert_eq!(taken(&mut mplex(), std::slice::from_ref(&open), &useless), most, "{what}");
    }
    // A stream of this side that the peer resets again and again: once it counts, and two messages may cross.
    let mut a = mplex();
    a.open().unwrap();
    sent(&mut a);
    assert_eq!(taken(&mut a, &[], &message(0, 5, b"")), 1 + 2 + 1_000);
}

#[test]
fn bytes_for_nobody_are_a_fault_beyond_their_rate() {
    let long = vec![0; 1 << 20];
    let open = message(1, 0, b"");
    for (what, before, useless) in [
        ("data of a stream that is gone", vec![], message(9, 2, &long)),
        (
            "data of a stream that the peer has reset",
            vec![open.clone(), message(1, 6, b"")],
            message(1, 2, &long),
        ),
    ] {
        assert_eq!(taken(&mut mplex(), &before, &useless), 64, "64 MiB at once: {what}");
    }
    let mut a = mplex();
    let names: Vec<Bytes> = (0..65).map(|number| Bytes::from(message(number, 0, &long))).collect();
    names.into_iter().for_each(|name| a.received(at(0), name));
    assert!(events(&mut a).contains(&Event::Faulted(STORM)), "names of streams");
    let mut slow = mplex();
    for second in 0..100 {
        let megabytes = [message(9, 2, &long), message(9, 2, &long), message(9, 2, &long)].concat();
        slow.received(at(second * 1_000), Bytes::from(megabytes));
    }
    assert_eq!(events(&mut slow), [], "3 MiB a second");
}

#[test]
fn streams_of_no_use_to_the_user_are_a_fault_beyond_their_rate() {
    let mut a = mplex();
    (0..1_000).for_each(|_| a.count_useless(at(0)));
    assert_eq!(events(&mut a), []);
    a.count_useless(at(0));
    a.count_useless(at(0));
    assert_eq!(events(&mut a), [Event::Faulted(STORM)]);
}

#[test]
fn a_reader_that_stops_stalls_the_transport_and_loses_its_stream() {
    let config = Config::default();
    let mut a = mplex();
    let open = [message(1, 0, b""), message(2, 0, b""), message(2, 2, b"small")].concat();
    a.received(at(0), Bytes::from(open));
    let mut wire = Bytes::from([message(1, 2, &vec![0; 1 << 20]), message(1, 2, &vec![0; 1 << 20])].concat());
    while a.room() > 0 {
        let room = a.room().min(wire.len());
        a.received(at(7), wire.split_to(room));
        assert!(a.unread() <= config.unread_max);
    }
    assert!(!wire.is_empty());
    let (due, reason) = a.poll_timeout().unwrap();
    assert_eq!((due, reason), (at(7) + config.patience, "a reader stalls the connection"));
    events(&mut a);
    a.handle_timeout(due - std::time::Duration::from_nanos(1));
    assert_eq!(events(&mut a), []);
    a.handle_timeout(due);
    assert_eq!(events(&mut a), [Event::Reset(theirs(1))], "the fullest, not the other");
    assert_eq!((sent(&mut a), a.poll_timeout(), a.unread()), (Bytes::from(message(1, 5, b"")), None, 5));
    a.received(due, wire);
    assert_eq!(a.unread(), 5, "the rest of its message is dropped");
    assert_eq!(read_all(&mut a, theirs(2)).0, b"small");
}

#[test]
fn a_reader_that_goes_on_in_time_loses_nothing() {
    let mut a = mplex();
    a.received(at(0), Bytes::from([message(1, 0, b""), message(1, 2, &vec![0; 1 << 20])].concat()));
    assert!(a.room() == 0 && a.poll_timeout().is_some());
    assert!(matches!(a.read(at(4_000), theirs(1), 10), Read::Data(_)));
    assert!(a.room() < LOW && a.poll_timeout().is_some(), "a record may not fit, so the transport waits");
    assert!(matches!(a.read(at(4_000), theirs(1), LOW - 10), Read::Data(_)));
    assert_eq!(a.poll_timeout(), None);
}

#[test]
fn a_slow_reader_keeps_its_stream_and_one_that_trickles_does_not() {
    for (piece, stays) in [(16 * 1024, true), (10, false)] {
        let mut a = mplex();
        a.received(at(0), Bytes::from([message(1, 0, b""), message(1, 2, &vec![0; 1 << 20])].concat()));
        events(&mut a);
        let mut lost = None;
        for second in 1..=20 {
            assert!(a.room() < LOW, "it never has room for a record");
            assert!(lost.is_some() || matches!(a.read(at(second * 1_000), theirs(1), piece), Read::Data(_)));
            a.received(at(second * 1_000), Bytes::from(message(1, 2, &vec![0; a.room().saturating_sub(5)])));
            a.handle_timeout(at(second * 1_000));
            if events(&mut a).contains(&Event::Reset(theirs(1))) {
                lost = Some(second);
                break;
            }
        }
        assert_eq!(lost, if stays { None } else { Some(5) });
    }
}

#[test]
fn a_number_beyond_those_of_yamux_is_refused_as_a_stream_too_many() {
    let mut a = mplex();
    a.received(at(0), Bytes::from([message(NUMBER_MAX, 0, b""), message(NUMBER_MAX + 1, 0, b"")].concat()));
    assert_eq!(events(&mut a), [Event::Opened(theirs(NUMBER_MAX))]);
    assert_eq!(sent(&mut a), message(NUMBER_MAX + 1, 5, b""));
}

#[test]
fn what_comes_for_a_stream_that_nobody_reads_is_dropped_until_the_peer_ends_it() {
    let mut a = mplex();
    a.received(at(0), Bytes::from([message(1, 0, b""), message(1, 2, b"unread")].concat()));
    a.stop(at(0), theirs(1));
    assert_eq!(a.unread(), 0);
    a.received(at(0), Bytes::from([message(1, 2, b"more"), message(1, 4, b"")].concat()));
    assert_eq!((a.unread(), a.open_streams()), (0, 1));
    a.received(at(0), Bytes::from(message(1, 2, b"behind its end")));
    assert!(events(&mut a).contains(&Event::Faulted(AFTER_END)));
}

#[test]
fn limits_that_cannot_hold_are_named() {
    assert_eq!(Config::default().validate(), Ok(()));
    let refused = |config: Config| config.validate().unwrap_err().0;
    assert_eq!(
        refused(Config { max_outbound: 0, ..Config::default() }),
        "mplex.max_inbound, mplex.max_outbound"
    );
    assert_eq!(refused(Config { unread_max: 2 * LOW - 1, ..Config::default() }), "mplex.unread_max");
    let patience = std::time::Duration::ZERO;
    assert_eq!(refused(Config { patience, ..Config::default() }), "mplex.patience");
}

#[test]
fn what_stays_unread_pins_at_most_twice_its_length() {
    let mut a = mplex();
    a.received(at(0), Bytes::from(message(1, 0, b"")));
    let padding: Vec<u8> = (0..1_000).flat_map(|_| message(77, 2, b"")).collect();
    let mut pins = Vec::new();
    for n in 0..50 {
        let buffer = Bytes::from([message(1, 2, b"x"), padding.clone()].concat());
        pins.push(buffer.clone());
        a.received(at(n * 10_000), buffer); // so many messages that move nothing are allowed in that time
    }
    a.received(at(0), Bytes::new());
    assert!(a.unread() == 50 && pins.iter().all(Bytes::is_unique));
}

fn any_message() -> impl Strategy<Value = Vec<u8>> {
    (0..4_u64, 0..8_u64, proptest::collection::vec(any::<u8>(), 0..20))
        .prop_map(|(number, flag, bytes)| message(number, flag, &bytes))
}

proptest! {
    #[test]
    fn any_messages_in_any_pieces_come_to_the_same(
        messages in proptest::collection::vec(any_message(), 0..30),
        piece in 1_usize..50,
    ) {
        let bytes = Bytes::from(messages.concat());
        let run = |piece: usize| {
            let mut a = mplex();
            let id = a.open().unwrap();
            a.write(id, &mut Bytes::from_static(b"hello"));
            let mut wire = sent(&mut a).to_vec();
            for start in (0..bytes.len()).step_by(piece) {
                a.received(at(0), bytes.slice(start..bytes.len().min(start + piece)));
            }
            wire.extend_from_slice(&sent(&mut a));
            (events(&mut a), wire, a.open_streams(), a.unread())
        };
        prop_assert_eq!(run(piece), run(bytes.len().max(1)));
    }
}
