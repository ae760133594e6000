//! Records after the handshake.

use super::super::nonce;
use super::*;
use crate::aead::Key;

/// The other back end, whatever this target's is.
#[path = "../../aead/portable.rs"]
mod portable;

#[test]
fn records_of_every_length_class_arrive_in_place() {
    let (mut d, mut l) = connected();
    for len in [1, 2, 100, 16 * 1024, PLAINTEXT_MAX] {
        let text = vec![7; len];
        let mut wire = sealed(&mut d.sealer, &text);
        assert_eq!(wire.len(), 2 + len + 16);
        let buffer = wire.as_ptr();
        let opened = l.opener.next(&mut wire).unwrap().unwrap();
        assert_eq!(opened, text);
        assert_eq!(opened.as_ptr().addr(), buffer.addr() + 2, "not copied");
        let mut back = sealed(&mut l.sealer, &text);
        assert_eq!(d.opener.next(&mut back).unwrap().unwrap(), text);
    }
}

#[test]
fn several_records_in_one_buffer_and_one_in_several() {
    let (mut d, mut l) = connected();
    let mut wire = BytesMut::new();
    for n in 0..20_u8 {
        wire.unsplit(sealed(&mut d.sealer, &[n; 100]));
    }
    let mut input = BytesMut::new();
    let mut next = 0;
    for byte in wire {
        input.extend_from_slice(&[byte]);
        while let Some(text) = l.opener.next(&mut input).unwrap() {
            assert_eq!(text, [next; 100][..]);
            next += 1;
        }
    }
    assert_eq!((next, input.len()), (20, 0));
}

#[test]
fn no_record_is_made_of_nothing_or_of_too_much() {
    let (mut d, _) = connected();
    let mut out = BytesMut::from(&b"before"[..]);
    let record = d.sealer.begin(&mut out);
    assert!(d.sealer.seal(&mut out, &record));
    assert_eq!(out, b"before"[..]);
    let record = d.sealer.begin(&mut out);
    out.extend_from_slice(&vec![0; PLAINTEXT_MAX + 1]);
    assert!(!d.sealer.seal(&mut out, &record));
    assert_eq!(out, b"before"[..]);
}

#[test]
fn a_record_that_is_changed_repeated_dropped_or_swapped_is_refused() {
    let records = || {
        let (mut d, l) = connected();
        ((0..3_u8).map(|n| sealed(&mut d.sealer, &[n; 10])).collect::<Vec<_>>(), l)
    };
    let (first, mut l) = records();
    for at in 2..first[0].len() {
        let mut changed = first[0].clone();
        changed[at] ^= 1;
        assert_eq!(l.opener.next(&mut changed), Err(BAD_RECORD), "byte {at}");
    }
    for order in [[0, 0], [1, 0], [2, 1]] {
        let (records, mut l) = records();
        let results = order.map(|index| l.opener.next(&mut records[index].clone()).is_ok());
        assert_ne!(results, [true, true], "{order:?}");
    }
    // What one side sent does not come back to it as the other's.
    let (mut d, _) = connected();
    assert_eq!(d.opener.next(&mut first[0].clone()), Err(BAD_RECORD));
}

#[test]
fn a_record_shorter_than_its_tag_is_refused_by_its_length() {
    let (_, mut l) = connected();
    for len in [0, 1, 15] {
        assert_eq!(l.opener.next(&mut BytesMut::from(&[0, len][..])), Err(BAD_RECORD));
    }
    assert_eq!(l.opener.next(&mut BytesMut::from(&[0, 16][..])), Ok(None));
    assert_eq!(l.opener.next(&mut BytesMut::from(&[0][..])), Ok(None));
}

#[test]
fn an_empty_record_of_a_peer_is_taken() {
    let key = Key::new(&[5; 32]).unwrap();
    let tag = key.seal(nonce(0), &[], &mut []).unwrap();
    let mut opener = Opener::new(&[5; 32]).unwrap();
    let mut wire = BytesMut::from(&[&[0, 16], &tag[..]].concat()[..]);
    assert_eq!(opener.next(&mut wire).unwrap().unwrap(), b""[..]);
}

#[test]
fn both_back_ends_of_the_cipher_make_and_take_the_same() {
    let (native, portable) = (Key::new(&[9; 32]).unwrap(), portable::Key::new(&[9; 32]).unwrap());
    for (counter, len) in [(0, 0), (1, 1), (u64::MAX, 1_000), (7, 65_519)] {
        let text: Vec<u8> = (0..len).map(|n: u32| n.to_le_bytes()[0]).collect();
        let (mut one, mut other) = (text.clone(), text.clone());
        let tags =
            (native.seal(nonce(counter), b"ad", &mut one), portable.seal(nonce(counter), b"ad", &mut other));
        assert_eq!((&one, tags.0), (&other, tags.1));
        one.extend_from_slice(&tags.0.unwrap());
        other.clone_from(&one);
        let mut forged = one.clone();
        assert_eq!(native.open(nonce(counter), b"ad", &mut one), Some(text.len()));
        assert_eq!(portable.open(nonce(counter), b"ad", &mut other), Some(text.len()));
        assert_eq!((&one[..text.len()], &other[..text.len()]), (&text[..], &text[..]));
        *forged.last_mut().unwrap() ^= 1;
        assert_eq!(native.open(nonce(counter), b"ad", &mut forged.clone()), None);
        assert_eq!(portable.open(nonce(counter), b"ad", &mut forged), None);
    }
}
