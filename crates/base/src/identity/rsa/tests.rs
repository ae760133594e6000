//! The vectors, then what a stranger may call an RSA key.

use super::super::{BadSignature, KeyKind, PUBLIC_KEY_MAX, PeerId, PublicKey, PublicKeyError, SIGNATURE_MAX};

const FILE: &str = include_str!("../../../../../vectors/keys.txt");

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// The fields of a line of the vectors after its name.
fn vector(name: &str) -> Vec<&'static str> {
    let line = FILE.lines().find(|line| line.split(' ').next() == Some(name)).unwrap();
    line.split(' ').skip(1).collect()
}

fn key_message(name: &str) -> Vec<u8> {
    unhex(vector(name)[0])
}

/// A key message around `spki`.
fn message(spki: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    super::super::message::put_rsa(&mut out, spki);
    out
}

fn element(tag: u8, value: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match value.len() {
        len @ 0..=0x7f => out.push(u8::try_from(len).unwrap()),
        len @ 0x80..=0xff => out.extend([0x81, u8::try_from(len).unwrap()]),
        len => {
            out.push(0x82);
            out.extend(u16::try_from(len).unwrap().to_be_bytes());
        }
    }
    out.extend_from_slice(value);
    out
}

/// The `SubjectPublicKeyInfo` of these two DER integers' contents.
fn spki(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let numbers = [element(0x02, modulus), element(0x02, exponent)].concat();
    let bits = [&[0][..], &element(0x30, &numbers)].concat();
    element(0x30, &[&super::ALGORITHM[..], &element(0x03, &bits)].concat())
}

/// A modulus of `bits` bits, odd.
fn modulus(bits: usize) -> Vec<u8> {
    let mut bytes = vec![0xff; bits.div_ceil(8)];
    bytes[0] = if bits.is_multiple_of(8) { 0xff } else { 0xff >> (8 - bits % 8) };
    if bytes[0] >= 0x80 {
        bytes.insert(0, 0);
    }
    bytes
}

fn refused(spki: &[u8]) -> PublicKeyError {
    PublicKey::from_protobuf(&message(spki)).unwrap_err()
}

#[test]
fn every_vector_has_its_encoding_and_both_texts_of_its_peer_id() {
    for line in FILE.lines().filter(|line| !line.starts_with('#') && !line.starts_with("signature")) {
        let [name, hex, base58, cid] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        if name.starts_with("refused") {
            continue;
        }
        let key = PublicKey::from_protobuf(&unhex(hex)).unwrap();
        assert_eq!(key.to_protobuf(), unhex(hex), "{name}");
        assert!(key.to_protobuf().len() <= PUBLIC_KEY_MAX);
        assert_eq!((key.peer_id().to_string(), key.peer_id().to_cid()), (base58.into(), cid.into()));
        assert_eq!(base58.parse(), Ok(key.peer_id()));
        assert_eq!(cid.parse::<PeerId>(), Ok(key.peer_id()));
        assert_eq!(cid.to_uppercase().parse::<PeerId>(), Ok(key.peer_id()));
        assert_eq!(key.kind() == KeyKind::Rsa, name.starts_with("rsa"));
    }
}

#[test]
fn a_signature_verifies_for_its_message_and_key_only() {
    for name in ["rsa-2048", "rsa-3072", "rsa-8192"] {
        let key = PublicKey::from_protobuf(&key_message(name)).unwrap();
        let signature = key_message(&format!("signature-{name}"));
        assert!(signature.len() <= SIGNATURE_MAX);
        assert_eq!(key.verify(b"message", &signature), Ok(()));
        assert_eq!(key.verify(b"massage", &signature), Err(BadSignature));
        for at in (0..signature.len()).step_by(31) {
            let mut bad = signature.clone();
            bad[at] ^= 1;
            assert_eq!(key.verify(b"message", &bad), Err(BadSignature), "{name}, byte {at}");
        }
        let longer = [&[0], &signature[..]].concat();
        for bad in [&signature[1..], &longer, &[], &[0xff; SIGNATURE_MAX]] {
            assert_eq!(key.verify(b"message", bad), Err(BadSignature));
        }
    }
    let other = PublicKey::from_protobuf(&key_message("rsa-4096-of-the-specification")).unwrap();
    assert_eq!(other.verify(b"message", &key_message("signature-rsa-2048")), Err(BadSignature));
}

/// go-libp2p verified signatures of RSA keys of any size, which took a peer no time and the node much.
#[test]
fn cve_2023_39533_a_modulus_has_2048_to_8192_bits() {
    let exponent = [1, 0, 1];
    for bits in [2048, 2049, 2055, 8191, 8192] {
        let key = PublicKey::from_protobuf(&message(&spki(&modulus(bits), &exponent))).unwrap();
        assert_eq!(key.kind(), KeyKind::Rsa);
    }
    for bits in [8, 1024, 2047, 8193, 8200] {
        assert_eq!(refused(&spki(&modulus(bits), &exponent)), PublicKeyError::RsaBits(bits));
    }
    let small = PublicKey::from_protobuf(&key_message("refused-rsa-1024")).unwrap_err();
    assert_eq!(small, PublicKeyError::RsaBits(1024));
    // Beyond what any length field of a key within the limits can say.
    assert_eq!(refused(&spki(&modulus(16_384), &exponent)), PublicKeyError::RsaEncoding);
}

#[test]
fn numbers_that_no_key_has_are_refused() {
    let good = modulus(2048);
    let mut even = good.clone();
    *even.last_mut().unwrap() = 0xfe;
    assert_eq!(refused(&spki(&even, &[1, 0, 1])), PublicKeyError::RsaNumbers);
    for exponent in [&[1][..], &[4], &[2, 0, 0, 0, 1]] {
        assert_eq!(refused(&spki(&good, exponent)), PublicKeyError::RsaNumbers, "{exponent:?}");
    }
    assert!(PublicKey::from_protobuf(&message(&spki(&good, &[3]))).is_ok());
}

#[test]
fn a_second_encoding_of_a_key_is_refused() {
    let good = modulus(2048);
    let [_, magnitude @ ..] = &good[..] else { panic!() };
    for (modulus, exponent) in [
        (&[&[0], &good[..]].concat()[..], &[1, 0, 1][..]), // a zero too many
        (magnitude, &[1, 0, 1]),                           // a zero too few: negative
        (&good, &[0, 1, 0, 1]),
        (&good, &[]),
        (&[], &[1, 0, 1]),
        (&good, &[1, 0, 0, 0, 0, 1]), // longer than any that is taken
    ] {
        assert_eq!(refused(&spki(modulus, exponent)), PublicKeyError::RsaEncoding);
    }
    let whole = spki(&good, &[1, 0, 1]);
    for len in 0..whole.len() {
        assert_eq!(refused(&whole[..len]), PublicKeyError::RsaEncoding, "cut to {len}");
    }
    assert_eq!(refused(&[&whole[..], &[0]].concat()), PublicKeyError::RsaEncoding);
    // Lengths in three bytes, and in two where the value is short.
    let long = [&[0x30, 0x83, 0, 1, 0x22], &whole[4..]].concat();
    assert_eq!(refused(&long), PublicKeyError::RsaEncoding);
    let mut parameters = whole.clone();
    parameters[17] = 0x04; // not NULL
    assert_eq!(refused(&parameters), PublicKeyError::RsaEncoding);
    let mut bits = whole.clone();
    bits[23] = 1; // a bit of the string is unused
    assert_eq!(refused(&bits), PublicKeyError::RsaEncoding);
}

#[test]
fn the_length_of_the_message_is_exact_and_bounded() {
    let good = key_message("rsa-2048");
    let with_length = |length: &[u8]| [&good[..3], length, &good[5..]].concat();
    assert!(PublicKey::from_protobuf(&with_length(&good[3..5])).is_ok());
    for length in [&[0xa5, 0x02][..], &[0xa7, 0x02], &[0xa6, 0x82, 0x00], &[0xff, 0xff, 0xff, 0xff, 0x0f]] {
        let error = PublicKey::from_protobuf(&with_length(length)).unwrap_err();
        assert_eq!(error, PublicKeyError::RsaEncoding);
    }
    let trailing = [&good[..], &[0x18, 0x00]].concat();
    assert_eq!(PublicKey::from_protobuf(&trailing).unwrap_err(), PublicKeyError::RsaEncoding);
}
