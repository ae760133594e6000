//! Whole connections over TLS, and the choice between TLS and Noise.

use bytes::{Bytes, BytesMut};
use weir_base::{Blame, Instant, PeerId, Rng};

use super::*;
use crate::Cipher;
use crate::connection::tests::setup::half_trips;
use crate::connection::tests::{End, Pair, dialer, keypair, listener, read_all, setup};
use crate::connection::{CannotBegin, Connection, Event, INPUT_MAX, Muxer, NO_SECURITY, Setup};
use crate::multistream::Names;
use crate::{mplex, noise, yamux};

/// A node with these protocols, the preferred first.
fn with(seed: u8, names: &[&str], change: impl FnOnce(&mut Setup)) -> Setup {
    let mut setup = setup(seed);
    change(&mut setup);
    let identity = TlsIdentity::new(&keypair(seed), CertificateKind::P256, [seed; 32]).unwrap();
    let muxers = setup.early_muxer.then(|| setup.muxer_names());
    let tls = Tls::new(&identity, &WallClock::new(NOW), muxers.as_ref(), Cipher::default()).unwrap();
    let noise = setup.security.remove(0);
    for name in names {
        setup.security.push(if *name == NAME { Arc::new(tls.clone()) } else { Arc::clone(&noise) });
    }
    setup
}

fn tls(seed: u8) -> Setup {
    with(seed, &[NAME], |_| {})
}

fn up(a: Setup, b: Setup, piece: usize) -> Pair {
    let mut pair = Pair::new(dialer(a, Some(keypair(2).peer_id())), listener(b));
    pair.piece = piece;
    pair.run();
    assert_eq!((pair.a.fault(), pair.b.fault()), (None, None), "pieces of {piece}");
    assert!(pair.a.connection.is_up() && pair.b.connection.is_up());
    let peers: (Option<PeerId>, Option<PeerId>) = (pair.a.peer(), pair.b.peer());
    assert_eq!(peers, (Some(keypair(2).peer_id()), Some(keypair(1).peer_id())));
    pair
}

/// One byte there, one back, over a new stream.
fn is_usable(pair: &mut Pair) {
    let id = pair.a.muxer().open(pair.now).unwrap();
    pair.a.muxer().write(id, &mut Bytes::from_static(b"?"));
    pair.run();
    assert_eq!(read_all(&mut pair.b, id).0, b"?");
    pair.b.muxer().write(id, &mut Bytes::from_static(b"!"));
    pair.run();
    assert_eq!(read_all(&mut pair.a, id).0, b"!");
}

#[test]
fn both_ends_know_each_other_in_pieces_of_any_length() {
    for piece in [1, 7, 1_000, usize::MAX] {
        for early_muxer in [true, false] {
            let late = |seed| with(seed, &[NAME], |setup| setup.early_muxer = early_muxer);
            is_usable(&mut up(late(1), late(2), piece));
        }
    }
}

#[test]
fn the_first_answer_comes_two_round_trips_after_the_byte_stream_is_there() {
    assert_eq!(half_trips(tls(1), tls(2)), (4, 3));
}

#[test]
fn what_the_dialler_prefers_is_taken_and_a_second_proposal_costs_a_round_trip() {
    let both = |seed| with(seed, &[NAME, noise::NAME], |_| {});
    let other = |seed| with(seed, &[noise::NAME, NAME], |_| {});
    for (a, b, first) in [(both(1), other(2), "\x0b/tls/1.0.0\n"), (other(1), both(2), "\x07/noise\n")] {
        let mut pair = Pair::new(dialer(a, None), listener(b));
        pair.b.settle(pair.now);
        pair.cross();
        let told = &pair.b.wire;
        assert!(told.ends_with(first.as_bytes()), "{told:?}");
        pair.run();
        is_usable(&mut pair);
    }
    assert_eq!(half_trips(both(1), both(2)), (6, 5));
    assert_eq!(half_trips(both(1), setup(2)), (8, 7), "the first is refused");
    assert_eq!(half_trips(both(1), tls(2)), (6, 5));
    assert_eq!(half_trips(tls(1), both(2)), (4, 3));
}

#[test]
fn without_a_common_security_nobody_misbehaved() {
    let mut pair = Pair::new(dialer(tls(1), None), listener(setup(2)));
    pair.run();
    assert_eq!((pair.a.fault(), pair.b.peer()), (Some(NO_SECURITY), None));
    let none = Setup { security: Vec::new(), ..setup(1) };
    let refused = Connection::dial(Arc::new(none), None, Rng::from_number(1), Instant::ZERO).err();
    assert_eq!(refused, Some(CannotBegin));
}

#[test]
fn another_peer_than_expected_ends_the_set_up_on_both_sides() {
    let mut pair = Pair::new(dialer(tls(1), Some(keypair(3).peer_id())), listener(tls(2)));
    pair.run();
    assert_eq!((pair.a.fault(), pair.a.peer()), (Some(noise::WRONG_PEER), None));
    assert_eq!(
        (pair.b.fault(), pair.b.peer()),
        (Some(REFUSED), None),
        "by an alert, before it knows who dials"
    );
}

#[test]
fn without_a_common_muxer_both_end_however_it_is_negotiated() {
    let coda = |setup: &mut Setup| setup.muxers = Names::new(["/coda/yamux/1.0.0"]).unwrap();
    for early_muxer in [true, false] {
        let mut pair = Pair::new(
            dialer(tls(1), None),
            listener(with(2, &[NAME], |setup| {
                coda(setup);
                setup.early_muxer = early_muxer;
            })),
        );
        pair.run();
        // Both have `libp2p` in common, which leaves it to be negotiated.
        assert_eq!(pair.a.fault(), Some(noise::NO_MUXER), "early: {early_muxer}");
        assert!(pair.b.fault().is_none_or(|fault| fault.blame != Blame::Misbehaved));
    }
    is_usable(&mut up(with(1, &[NAME], coda), with(2, &[NAME], coda), usize::MAX));
}

#[test]
fn mplex_over_tls_where_nothing_else_is_in_common() {
    let mplex = |setup: &mut Setup| setup.mplex = Some(mplex::Config::default());
    let only = |setup: &mut Setup| {
        mplex(setup);
        setup.muxers = Names::new(["/nobody/1.0.0"]).unwrap();
    };
    let mut pair = up(with(1, &[NAME], mplex), with(2, &[NAME], only), usize::MAX);
    assert!(matches!(pair.a.muxer(), Muxer::Mplex(_)));
    is_usable(&mut pair);
}

#[test]
fn a_mebibyte_crosses_whole_and_costs_no_more_than_its_limits() {
    const LEN: usize = 1024 * 1024;
    let mut pair = up(tls(1), tls(2), 3_000);
    let id = pair.a.muxer().open(pair.now).unwrap();
    let (mut written, mut got) = (0, Vec::new());
    while got.len() < LEN {
        let room = pair.a.muxer().write_room(id).min(LEN - written);
        pair.a.muxer().write(id, &mut (written..written + room).map(|at| at.to_le_bytes()[1]).collect());
        written += room;
        pair.cross();
        assert!(pair.b.connection.room() <= INPUT_MAX);
        if !pair.b.opened().is_empty() {
            got.extend(read_all(&mut pair.b, id).0);
        }
    }
    assert!(got.iter().enumerate().all(|(at, byte)| *byte == at.to_le_bytes()[1]));
}

#[test]
fn a_reader_that_stops_keeps_what_is_unread_within_its_limit() {
    let mut pair = up(tls(1), tls(2), usize::MAX);
    let most = yamux::Config::default().unread_max;
    let ids: Vec<u32> = (0..16).map(|_| pair.a.muxer().open(pair.now).unwrap()).collect();
    for _ in 0..200 {
        for id in &ids {
            let room = pair.a.muxer().write_room(*id);
            pair.a.muxer().write(*id, &mut Bytes::from(vec![7; room]));
        }
        pair.a.settle(pair.now);
        let room = pair.b.connection.room().min(pair.a.wire.len());
        let bytes = pair.a.wire.split_to(room);
        pair.b.connection.received(pair.now, bytes);
        pair.b.settle(pair.now);
        assert!(pair.b.muxer().unread() <= most);
    }
    assert!(pair.b.muxer().unread() > most - yamux::LOW);
    assert_eq!((pair.b.connection.room(), pair.b.fault()), (0, None), "it is not read any more");
    for id in ids {
        pair.b.muxer().reset(id, 0);
    }
    pair.b.connection.resume(pair.now);
    assert!(pair.b.connection.room() > 0);
}

/// A listener that has agreed on TLS, and then hears these bytes.
fn heard(bytes: &[u8]) -> End {
    let mut end = End::new(listener(tls(2)));
    let proposal = b"\x13/multistream/1.0.0\n\x0b/tls/1.0.0\n";
    end.connection.received(Instant::ZERO, BytesMut::from(&[&proposal[..], bytes].concat()[..]));
    end.settle(Instant::ZERO);
    end
}

#[test]
fn what_is_not_tls_is_a_fault_and_its_reason_is_sent() {
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 64], &[22, 3, 1, 0xff, 0xff, 1, 0, 0, 0, 0]] {
        let end = heard(bytes);
        assert_eq!((end.fault(), end.peer()), (Some(BROKEN), None), "{bytes:?}");
        let alert = &end.wire[end.wire.len().saturating_sub(7)..];
        assert_eq!(alert[..2], [21, 3], "{alert:?}");
    }
    assert_eq!(heard(&[22, 3, 1, 2, 0, 1]).fault(), None, "a hello that is not whole");
}

#[test]
fn a_handshake_message_that_is_only_announced_costs_no_more_than_the_longest() {
    // A hello of 16 MiB, in records of 16 KiB: it is refused where its length is read.
    let record =
        |body: &[u8]| [&[22, 3, 1][..], &u16::try_from(body.len()).unwrap().to_be_bytes(), body].concat();
    let first = record(&[&[1, 0xff, 0xff, 0xff][..], &[0; 16_000]].concat());
    assert_eq!(heard(&first).fault(), Some(BROKEN));
}

#[test]
fn a_changed_record_ends_the_connection() {
    let mut pair = up(tls(1), tls(2), usize::MAX);
    let id = pair.a.muxer().open(pair.now).unwrap();
    pair.a.muxer().write(id, &mut Bytes::from_static(b"hello"));
    pair.a.settle(pair.now);
    let last = pair.a.wire.len() - 1;
    pair.a.wire[last] ^= 1;
    pair.run();
    assert_eq!((pair.b.fault(), pair.b.opened()), (Some(BAD_RECORD), vec![]));
    assert_eq!(BAD_RECORD.blame, Blame::Unreliable, "a path can have done it");
    assert_eq!(pair.a.fault(), Some(REFUSED), "it is told by an alert");
}

#[test]
fn a_fault_of_the_muxer_is_told_with_its_reason_as_the_last_bytes() {
    let mut pair = up(tls(1), tls(2), usize::MAX);
    // Data for a stream that nobody opened.
    let Muxer::Yamux(muxer) = pair.a.muxer() else { panic!() };
    **muxer = yamux::Yamux::new(yamux::Config::default(), yamux::Side::Listener, 0, Instant::ZERO);
    muxer.open(Instant::ZERO).unwrap();
    pair.run();
    assert_eq!(pair.b.fault(), Some(yamux::WRONG_STREAM));
    assert!(pair.a.told.contains(&Event::Muxer(yamux::Event::Away(yamux::away::PROTOCOL))));
}
