//! What a stranger, or a peer, may do to a connection.

use super::*;
use crate::multistream::{BAD_TOKEN, OTHER_HEADER};

/// What a listener makes of these bytes.
fn heard(bytes: &[u8]) -> End {
    let mut end = End::new(listener(setup(2)));
    end.connection.received(Instant::ZERO, BytesMut::from(bytes));
    end.settle(Instant::ZERO);
    end
}

#[test]
fn strangers_that_speak_something_else_are_turned_away() {
    assert_eq!(heard(b"\x10GET / HTTP/1.1\r\n\r\n").fault(), Some(OTHER_HEADER));
    assert_eq!(heard(&[0xff; 64]).fault(), Some(BAD_TOKEN));
    assert_eq!(heard(b"\x13/multistream/1.0.0\n").fault(), None);
    // A dialler without noise may go on proposing, and gives up by itself.
    let tls = heard(b"\x13/multistream/1.0.0\n\x0b/tls/1.0.0\n");
    assert_eq!((tls.fault(), &tls.wire[..]), (None, &b"\x13/multistream/1.0.0\n\x03na\n"[..]));
}

#[test]
fn a_dialler_that_is_refused_is_incompatible_and_nobody_misbehaved() {
    let mut end = End::new(dialer(setup(1), None));
    end.connection.received(Instant::ZERO, BytesMut::from(&b"\x13/multistream/1.0.0\n\x03na\n"[..]));
    end.settle(Instant::ZERO);
    assert_eq!(end.fault(), Some(NO_SECURITY));
}

#[test]
fn another_key_of_a_private_network_is_noise() {
    let with = |seed, key| Setup { private: Some(SharedKey::new([key; 32])), ..setup(seed) };
    let mut pair = Pair::new(dialer(with(1, 8), None), listener(with(2, 9)));
    pair.run();
    assert!(pair.a.peer().is_none() && pair.b.peer().is_none());
    assert!(pair.b.fault().is_some());
    // A member's dial to a node that is not private, and the other way round.
    let mut pair = Pair::new(dialer(with(1, 8), None), listener(setup(2)));
    pair.run();
    assert!(pair.b.fault().is_some() && pair.b.peer().is_none());
}

#[test]
fn a_peer_that_stops_anywhere_in_the_set_up_is_late_and_costs_little() {
    let mut whole = Pair::usual();
    whole.a.settle(Instant::ZERO);
    let first = whole.a.wire.clone();
    for len in 0..first.len() {
        let mut end = heard(&first[..len]);
        assert!(end.peer().is_none() && end.fault().is_none());
        assert!(end.connection.input.len() <= first.len());
        let (due, reason) = end.connection.poll_timeout().unwrap();
        assert_eq!((due, reason), (Instant::ZERO + DEADLINE, "connection set-up"));
        end.connection.handle_timeout(due - Duration::from_nanos(1));
        end.settle(due);
        assert_eq!(end.fault(), None);
        end.connection.handle_timeout(due);
        end.settle(due);
        assert_eq!((end.fault(), end.connection.poll_timeout()), (Some(LATE), None));
    }
}

#[test]
fn a_set_up_trickled_byte_by_byte_ends_at_its_deadline_all_the_same() {
    let mut pair = Pair::usual();
    pair.a.settle(Instant::ZERO);
    let mut end = End::new(listener(setup(2)));
    for (at, byte) in pair.a.wire.iter().enumerate() {
        let now = Instant::from_millis(at as u64 * 500);
        end.connection.received(now, BytesMut::from(&[*byte][..]));
        end.connection.handle_timeout(now);
        end.settle(now);
    }
    assert_eq!((end.fault(), end.peer()), (Some(LATE), None));
}

#[test]
fn after_the_handshake_a_changed_record_ends_the_connection() {
    let mut pair = Pair::usual();
    pair.run();
    let id = pair.a.muxer().open(pair.now).unwrap();
    pair.a.muxer().write(id, &mut Bytes::from_static(b"hello"));
    pair.a.settle(pair.now);
    let last = pair.a.wire.len() - 1;
    pair.a.wire[last] ^= 1;
    pair.run();
    assert_eq!((pair.b.fault(), pair.b.opened()), (Some(noise::BAD_RECORD), vec![]));
    assert_eq!(noise::BAD_RECORD.blame, weir_base::Blame::Unreliable, "a path can have done it");
    assert!(pair.b.connection.muxer().is_none());
}

/// A security of which each byte is a record without text.
struct Hollow;

impl Session for Hollow {
    fn handshake(&mut self, _: &mut BytesMut) -> Result<Option<Proven>, Fault> {
        Ok(None)
    }

    fn put(&mut self, _: &mut BytesMut) {}

    fn open(&mut self, input: &mut BytesMut) -> Result<Option<BytesMut>, Fault> {
        Ok((!input.is_empty()).then(|| input.split_to(1).split_off(1)))
    }

    fn seal(&mut self, _: &mut BytesMut, _: &mut dyn FnMut(&mut BytesMut, usize)) {}
}

#[test]
fn records_without_a_byte_are_a_fault_beyond_their_rate() {
    let mut pair = Pair::usual();
    pair.run();
    let Stage::Secured(secured) = &mut pair.b.connection.stage else { panic!() };
    secured.session = Box::new(Hollow);
    for (count, fault) in [(1_000, None), (1, Some(EMPTY))] {
        pair.b.connection.received(pair.now, BytesMut::from(&vec![0; count][..]));
        pair.b.settle(pair.now);
        assert_eq!(pair.b.fault(), fault);
    }
}

#[test]
fn a_fault_of_the_muxer_is_told_with_its_reason_as_the_last_bytes() {
    let mut pair = Pair::usual();
    pair.run();
    // A peer whose streams have the numbers of this side.
    let mut wrong = Yamux::new(yamux::Config::default(), yamux::Side::Listener, 0, Instant::ZERO);
    wrong.open(Instant::ZERO).unwrap();
    let Stage::Secured(secured) = &mut pair.a.connection.stage else { panic!() };
    secured.muxer = Muxer::Yamux(Box::new(wrong));
    pair.run();
    assert_eq!(pair.b.fault(), Some(yamux::WRONG_STREAM));
    let heard = pair.a.told.contains(&Event::Muxer(yamux::Event::Away(yamux::away::PROTOCOL)));
    assert!(heard, "{:?}", pair.a.told);
}

#[test]
fn no_stream_can_be_used_before_the_peer_is_known() {
    let mut a = dialer(setup(1), None);
    assert!(a.muxer().is_none() && !a.is_up());
    let mut out = BytesMut::new();
    a.poll_transmit(Instant::ZERO, &mut out);
    assert!(a.muxer().is_none());
}

/// Teku: a length field alone made a node allocate.
#[test]
fn cl_2020_07_a_length_that_is_only_announced_costs_its_own_bytes() {
    // A token of 1,024 bytes, and a handshake message of 4,096.
    assert_eq!(heard(&[0x80, 0x08]).connection.room(), INPUT_MAX, "multistream holds the two bytes");
    let first = b"\x13/multistream/1.0.0\n\x07/noise\n\x10\x00";
    assert_eq!(heard(first).connection.room(), INPUT_MAX - 2);
    // A record of 65,535 bytes.
    let mut pair = Pair::usual();
    pair.run();
    pair.b.connection.received(pair.now, BytesMut::from(&[0xff, 0xff][..]));
    assert_eq!((pair.b.connection.room(), pair.b.muxer().unread()), (INPUT_MAX - 2, 0));
    assert!(pair.b.connection.input.capacity() < 1_024);
}
