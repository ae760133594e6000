//! What a stranger may send instead of a handshake.

use proptest::prelude::*;
use weir_base::Rng;
use weir_base::codec::Malformed;
use weir_base::codec::proto::{put_bytes_field, put_varint_field};

use super::super::payload::Payload;
use super::*;

/// A dialler whose identity is what it should not be.
fn wrong_dialer(identity: Identity) -> Handshake {
    Handshake::dialer(Arc::new(identity), None, None, Rng::from_number(1), Instant::ZERO).unwrap()
}

/// What a listener blames such a dialler for.
fn blamed(identity: Identity) -> Option<Fault> {
    let (mut d, mut l) = (wrong_dialer(identity), listener(&[]));
    shake(&mut d, &mut l);
    match l.poll_event() {
        Some(Event::Faulted(fault)) => Some(fault),
        Some(Event::Done(_)) => None,
        None => panic!("nothing came of it"),
    }
}

/// The payload of host key 1 over static secret 3, with one part replaced.
fn payload_with(key: &[u8], signature: &[u8]) -> Option<Fault> {
    blamed(Identity::with_payload([3; 32], key.to_vec(), signature.to_vec()))
}

fn good() -> (Vec<u8>, Vec<u8>) {
    let identity = identity(1);
    (identity.key().to_vec(), identity.signature().to_vec())
}

#[test]
fn a_cut_handshake_is_no_handshake_at_any_byte() {
    for name in ["early-1", "early-2", "early-3"] {
        let whole = vector(name);
        for len in 0..whole.len() {
            let (mut d, mut l) = (dialer(DIALER_MUXERS), listener(LISTENER_MUXERS));
            sent(&mut d);
            let (target, before) = match name {
                "early-1" => (&mut l, None),
                "early-2" => (&mut d, None),
                _ => (&mut l, Some(vector("early-1"))),
            };
            before.into_iter().for_each(|mut message| target.received(&mut message));
            sent(target);
            let mut cut = BytesMut::from(&whole[..len]);
            target.received(&mut cut);
            assert!(target.poll_event().is_none() && sent(target).is_empty(), "{name} cut to {len}");
            assert_eq!(cut.len(), len, "what is not whole stays");
            target.handle_timeout(Instant::ZERO + DEADLINE);
            assert_eq!((fault(target), target.poll_timeout()), (Some(LATE), None));
        }
    }
}

#[test]
fn a_changed_byte_anywhere_ends_the_handshake() {
    for at in 2..vector("early-2").len() {
        let mut changed = vector("early-2");
        changed[at] ^= 0x40;
        let mut d = dialer(DIALER_MUXERS);
        d.received(&mut changed);
        assert_eq!(fault(&mut d), Some(FORGED), "second message, byte {at}");
    }
    for at in 2..vector("early-3").len() {
        let mut changed = vector("early-3");
        changed[at] ^= 0x40;
        let mut l = listener(LISTENER_MUXERS);
        l.received(&mut vector("early-1"));
        l.received(&mut changed);
        assert_eq!(fault(&mut l), Some(FORGED), "third message, byte {at}");
    }
}

#[test]
fn a_recorded_handshake_cannot_be_replayed() {
    // To another listener of the same identity: its ephemeral key is another.
    let mut l = Handshake::listener(identity(2), None, Rng::from_number(99), Instant::ZERO).unwrap();
    l.received(&mut vector("plain-1"));
    l.received(&mut vector("plain-3"));
    assert_eq!(fault(&mut l), Some(FORGED));
    // And to another dialler.
    let expected = Some(keypair(2).peer_id());
    let mut d = Handshake::dialer(identity(1), expected, None, Rng::from_number(99), Instant::ZERO).unwrap();
    d.received(&mut vector("plain-2"));
    assert_eq!(fault(&mut d), Some(FORGED));
    // A message sent back to its sender.
    let mut d = dialer(&[]);
    let mut own = sent(&mut d);
    d.received(&mut own);
    assert_eq!(fault(&mut d), Some(BAD_LENGTH));
}

#[test]
fn a_dialler_that_expects_another_peer_ends_before_it_shows_itself() {
    let expected = Some(keypair(3).peer_id());
    let mut d = Handshake::dialer(identity(1), expected, None, Rng::from_number(1), Instant::ZERO).unwrap();
    let mut l = listener(&[]);
    l.received(&mut sent(&mut d));
    d.received(&mut sent(&mut l));
    assert_eq!(fault(&mut d), Some(WRONG_PEER));
    assert!(sent(&mut d).is_empty());
}

#[test]
fn a_signature_that_is_not_the_host_keys_is_refused() {
    let (key, signature) = good();
    assert_eq!(payload_with(&key, &signature), None);
    let other_message = keypair(1).sign(b"noise-libp2p-static-key:another key");
    let other_key = keypair(9).sign(&super::super::identity::signed_bytes(&[0; 32]));
    let without_prefix = {
        let secret = x25519_dalek::StaticSecret::from([3; 32]);
        keypair(1).sign(x25519_dalek::PublicKey::from(&secret).as_bytes())
    };
    for bad in [&other_message, &other_key, &without_prefix, &vec![], &signature[1..].to_vec()] {
        assert_eq!(payload_with(&key, bad), Some(BAD_SIGNATURE));
    }
    // The payload of another peer: its signature is over another static key.
    let stolen = identity(2);
    assert_eq!(payload_with(stolen.key(), stolen.signature()), Some(BAD_SIGNATURE));
}

#[test]
fn a_host_key_that_is_none_or_of_another_kind_is_refused() {
    let (key, signature) = good();
    assert_eq!(payload_with(&[], &signature), Some(BAD_KEY));
    assert_eq!(payload_with(&key[1..], &signature), Some(BAD_KEY));
    assert_eq!(payload_with(&[8, 9, 18, 0], &signature), Some(OTHER_KEY));
}

#[test]
fn a_key_of_low_order_is_refused() {
    // Points whose multiples are known to everybody (RFC 7748 §6.1): zero, one, and p - 1.
    let mut p_minus_1 = [0xff; 32];
    (p_minus_1[0], p_minus_1[31]) = (0xec, 0x7f);
    let mut one = [0; 32];
    one[0] = 1;
    for point in [[0; 32], one, p_minus_1] {
        let mut l = listener(&[]);
        l.received(&mut BytesMut::from(&[&[0, 32], &point[..]].concat()[..]));
        assert_eq!(fault(&mut l), Some(FORGED));
        assert!(sent(&mut l).is_empty());
    }
}

#[test]
fn lengths_that_cannot_be_are_refused_before_the_message_comes() {
    for (len, expected) in [(0, true), (31, true), (4_097, true), (65_535, true), (32, false), (4_096, false)]
    {
        let mut l = listener(&[]);
        l.received(&mut BytesMut::from(&u16::to_be_bytes(len)[..]));
        assert_eq!(fault(&mut l), expected.then_some(BAD_LENGTH), "{len}");
    }
    for (len, expected) in [(95, true), (96, false)] {
        let mut d = dialer(&[]);
        d.received(&mut BytesMut::from(&u16::to_be_bytes(len)[..]));
        assert_eq!(fault(&mut d), expected.then_some(BAD_LENGTH), "{len}");
    }
}

#[test]
fn a_payload_before_anything_is_encrypted_is_refused() {
    let mut l = listener(&[]);
    let mut message = vector("plain-1");
    message[1] += 3;
    message.extend_from_slice(b"now");
    l.received(&mut message);
    assert_eq!(fault(&mut l), Some(BAD_PAYLOAD));
}

#[test]
fn payloads_are_bounded_and_their_entries_counted() {
    let list = |number: u32, entries: usize, len: usize| {
        let mut extensions = Vec::new();
        (0..entries).for_each(|_| put_bytes_field(&mut extensions, number, &vec![b'x'; len]));
        let mut out = Vec::new();
        put_bytes_field(&mut out, 4, &extensions);
        out
    };
    assert_eq!(Payload::decode(&list(2, 16, 10)).unwrap().muxers.len(), 16);
    for bad in [list(2, 17, 10), list(1, 17, 10), list(2, 1, 129), list(9, 1, 3_000)] {
        assert_eq!(Payload::decode(&bad), Err(Malformed::TooLarge));
    }
    for number in [1, 2, 4] {
        let mut twice = Vec::new();
        put_bytes_field(&mut twice, number, b"");
        put_bytes_field(&mut twice, number, b"");
        assert_eq!(Payload::decode(&twice), Err(Malformed::Value), "field {number} twice");
        let mut wrong_type = Vec::new();
        put_varint_field(&mut wrong_type, number, 1);
        assert_eq!(Payload::decode(&wrong_type), Err(Malformed::Value), "field {number} is no number");
    }
    let mut unknown = Vec::new();
    put_bytes_field(&mut unknown, 3, b"data of earlier versions");
    assert_eq!(Payload::decode(&unknown), Ok(Payload::default()));
}

#[test]
fn a_peer_that_goes_on_after_a_fault_is_not_heard() {
    let mut l = listener(&[]);
    l.received(&mut BytesMut::from(&[0, 0][..]));
    assert_eq!(fault(&mut l), Some(BAD_LENGTH));
    l.received(&mut vector("plain-1"));
    l.handle_timeout(Instant::ZERO + DEADLINE);
    assert!(sent(&mut l).is_empty() && l.poll_event().is_none());
}

proptest! {
    #[test]
    fn any_bytes_are_taken_or_refused(mut bytes in proptest::collection::vec(any::<u8>(), 0..300), short in any::<bool>()) {
        if short && bytes.len() > 1 {
            (bytes[0], bytes[1]) = (0, bytes[1].max(96));
        }
        for mut handshake in [dialer(DIALER_MUXERS), listener(LISTENER_MUXERS)] {
            handshake.received(&mut BytesMut::from(&bytes[..]));
            prop_assert!(!matches!(handshake.poll_event(), Some(Event::Done(_))));
        }
        prop_assert!(Payload::decode(&bytes).is_err() || bytes.len() < 4_096);
    }
}
