//! Golden vectors, then what a third party may do to an envelope.

use proptest::prelude::*;
use weir_base::codec::Malformed;
use weir_base::codec::proto::{put_bytes_field, put_varint_field};
use weir_base::identity::{PeerIdError, PublicKeyError};
use weir_base::{Keypair, Multiaddr};

use super::*;

const FILE: &str = include_str!("../../../../vectors/records.txt");

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// The fields of a line of the vectors after its name.
fn vector(name: &str) -> Vec<&'static str> {
    let line = FILE.lines().find(|line| line.split(' ').next() == Some(name)).unwrap();
    line.split(' ').skip(1).collect()
}

fn ed25519() -> Keypair {
    Keypair::ed25519_from_seed([1; 32])
}

fn secp256k1() -> Keypair {
    Keypair::secp256k1_from_bytes([1; 32]).unwrap()
}

fn addresses() -> Vec<Multiaddr> {
    ["/ip4/192.0.2.1/udp/4001/quic-v1", "/ip4/192.0.2.1/tcp/4001"].map(|text| text.parse().unwrap()).to_vec()
}

/// A record's payload with the given fields, in an envelope that is right.
fn record(fields: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut payload = Vec::new();
    fields(&mut payload);
    seal(&ed25519(), "libp2p-peer-record", &[3, 1], &payload).unwrap()
}

fn put_id(payload: &mut Vec<u8>) {
    put_bytes_field(payload, 1, ed25519().peer_id().as_bytes());
}

#[test]
fn the_vectors_are_made_and_read() {
    for (name, keypair) in [("record-ed25519", ed25519()), ("record-secp256k1", secp256k1())] {
        let fields = vector(name);
        let [peer, seq, first, second, envelope] = fields[..] else { panic!("{name}") };
        let made = PeerRecord::seal(&keypair, seq.parse().unwrap(), &addresses()).unwrap();
        assert_eq!(made, unhex(envelope), "{name}");
        let read = PeerRecord::open(&made).unwrap();
        assert_eq!(read.peer.to_string(), peer);
        assert_eq!(read.seq.to_string(), seq);
        assert_eq!(read.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(), [first, second]);
    }
    let fields = vector("envelope-ed25519");
    let [domain, kind, payload, envelope] = fields[..] else { panic!() };
    let (kind, payload, envelope) = (unhex(kind), unhex(payload), unhex(envelope));
    assert_eq!(seal(&ed25519(), domain, &kind, &payload).unwrap(), envelope);
    let opened = open(&envelope, domain, &kind).unwrap();
    assert_eq!((opened.key, opened.payload), (ed25519().public(), &payload[..]));
}

#[test]
fn records_in_the_rfcs_own_domain_are_read_too() {
    let fields = vector("record-of-the-rfc");
    let [peer, seq, envelope] = fields[..] else { panic!() };
    let read = PeerRecord::open(&unhex(envelope)).unwrap();
    assert_eq!((read.peer.to_string(), read.seq.to_string()), (peer.into(), seq.into()));
    assert_eq!(read.addresses, addresses());
}

#[test]
fn another_domain_type_payload_or_key_does_not_verify() {
    let envelope = seal(&ed25519(), "domain", b"type", b"payload").unwrap();
    assert_eq!(open(&envelope, "domain", b"type").unwrap().payload, b"payload");
    let refused = open(&envelope, "other", b"type").unwrap_err();
    assert!(matches!(refused, EnvelopeError::Signature(_)));
    assert_eq!(open(&envelope, "domain", b"other"), Err(EnvelopeError::Type));
    assert_eq!(open(&envelope, "domain", b""), Err(EnvelopeError::Type));
    // What is signed has lengths: moving a byte from one field to the next changes it.
    let shifted = seal(&ed25519(), "domaint", b"ype", b"payload").unwrap();
    let mut forged = Vec::new();
    put_bytes_field(&mut forged, 1, &ed25519().public().to_protobuf());
    put_bytes_field(&mut forged, 2, b"type");
    put_bytes_field(&mut forged, 3, b"payload");
    put_bytes_field(&mut forged, 5, &shifted[shifted.len() - 64..]);
    assert!(matches!(open(&forged, "domain", b"type"), Err(EnvelopeError::Signature(_))));
    let mut stolen = envelope.clone();
    let key = secp256k1().public().to_protobuf();
    stolen.splice(..38, [&[0x0a, 37], &key[..]].concat());
    assert!(matches!(open(&stolen, "domain", b"type"), Err(EnvelopeError::Signature(_))));
}

#[test]
fn every_changed_bit_of_an_envelope_is_noticed() {
    let good = PeerRecord::seal(&ed25519(), 7, &addresses()).unwrap();
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            assert!(PeerRecord::open(&bad).is_err(), "bit {bit} of byte {at}");
        }
    }
    for len in 0..good.len() {
        let refused = PeerRecord::open(&good[..len]).unwrap_err();
        let cut = matches!(
            refused,
            RecordError::Envelope(
                EnvelopeError::Malformed(Malformed::Truncated)
                    | EnvelopeError::NoKey
                    | EnvelopeError::Type
                    | EnvelopeError::Signature(_)
            )
        );
        assert!(cut, "cut to {len}: {refused}");
    }
}

#[test]
fn a_missing_doubled_or_unsupported_part_is_refused_by_name() {
    let refused = |bytes: &[u8]| open(bytes, "domain", b"type").unwrap_err();
    let part = |number: u32, bytes: &[u8]| {
        let mut out = Vec::new();
        put_bytes_field(&mut out, number, bytes);
        out
    };
    let good = seal(&ed25519(), "domain", b"type", b"payload").unwrap();
    assert_eq!(refused(&[]), EnvelopeError::Type);
    assert_eq!(refused(&part(2, b"type")), EnvelopeError::NoKey);
    let rsa = [part(1, &[8, 0, 18, 0]), part(2, b"type")].concat();
    assert_eq!(refused(&rsa), EnvelopeError::Key(PublicKeyError::RsaEncoding));
    for doubled in [(1, &b"key"[..]), (2, b"type"), (3, b"payload"), (5, b"signature")] {
        let bytes = [good.clone(), part(doubled.0, doubled.1)].concat();
        assert_eq!(refused(&bytes), EnvelopeError::Malformed(Malformed::Value));
    }
    let unknown = [part(9, b"new"), good.clone(), part(100, b"newer")].concat();
    assert!(open(&unknown, "domain", b"type").is_ok());
    let long = [good, part(9, &[0; ENVELOPE_MAX])].concat();
    assert_eq!(refused(&long), EnvelopeError::TooLong(long.len()));
    let sealed = seal(&ed25519(), "domain", b"type", &[0; ENVELOPE_MAX]);
    assert!(matches!(sealed, Err(SealError::TooLong(len)) if len > ENVELOPE_MAX));
}

/// libp2p-core took a record whose envelope another key had signed.
#[test]
fn rustsec_2022_0009_a_record_of_somebody_else_is_refused() {
    let other = secp256k1().peer_id();
    let bytes = record(|payload| put_bytes_field(payload, 1, other.as_bytes()));
    assert_eq!(PeerRecord::open(&bytes), Err(RecordError::WrongPeer(other)));
    let nobody = record(|payload| put_varint_field(payload, 2, 7));
    assert_eq!(PeerRecord::open(&nobody), Err(RecordError::PeerId(PeerIdError::Length)));
}

#[test]
fn foreign_addresses_are_left_out_and_damaged_ones_refused() {
    let with = |address: &[u8]| {
        record(|payload| {
            put_id(payload);
            let mut info = Vec::new();
            put_bytes_field(&mut info, 1, address);
            put_bytes_field(&mut info, 2, b"metadata of the future");
            put_bytes_field(payload, 3, &info);
        })
    };
    let own: Multiaddr = "/ip4/192.0.2.1/tcp/1".parse().unwrap();
    assert_eq!(PeerRecord::open(&with(&own.to_bytes())).unwrap().addresses, std::slice::from_ref(&own));
    let named = own.clone().with_p2p(ed25519().peer_id()).unwrap();
    assert_eq!(PeerRecord::open(&with(&named.to_bytes())).unwrap().addresses, [named]);
    let elsewhere = own.with_p2p(secp256k1().peer_id()).unwrap();
    assert!(PeerRecord::open(&with(&elsewhere.to_bytes())).unwrap().addresses.is_empty());
    for foreign in ["047f000001060050dd03", "047f000001910204d2cc03", "07"] {
        assert!(PeerRecord::open(&with(&unhex(foreign))).unwrap().addresses.is_empty(), "{foreign}");
    }
    for damaged in ["", "047f00", "3501ff"] {
        let refused = PeerRecord::open(&with(&unhex(damaged)));
        assert!(matches!(refused, Err(RecordError::Address(_))), "{damaged}");
    }
}

#[test]
fn the_number_of_addresses_is_bounded_both_ways() {
    let many = vec![addresses()[0].clone(); ADDRESSES_MAX + 5];
    let bytes = PeerRecord::seal(&ed25519(), 1, &many).unwrap();
    assert_eq!(PeerRecord::open(&bytes).unwrap().addresses.len(), ADDRESSES_MAX);
    let foreign = record(|payload| {
        put_id(payload);
        for _ in 0..=ADDRESSES_MAX {
            put_bytes_field(payload, 3, &[0x0a, 1, 7]);
        }
    });
    assert_eq!(PeerRecord::open(&foreign), Err(RecordError::TooMany));
    let doubled = record(|payload| {
        put_id(payload);
        put_varint_field(payload, 2, 1);
        put_varint_field(payload, 2, 2);
    });
    assert_eq!(PeerRecord::open(&doubled), Err(RecordError::Malformed(Malformed::Value)));
}

proptest! {
    #[test]
    fn any_payload_survives(domain in "[a-z/-]{0,40}", kind in proptest::collection::vec(any::<u8>(), 0..200), payload in proptest::collection::vec(any::<u8>(), 0..2000)) {
        for keypair in [ed25519(), secp256k1()] {
            let envelope = seal(&keypair, &domain, &kind, &payload).unwrap();
            let opened = open(&envelope, &domain, &kind).unwrap();
            prop_assert_eq!(opened, Opened { key: keypair.public(), payload: &payload });
        }
    }

    #[test]
    fn any_bytes_are_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), signed in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(PeerRecord::open(&bytes).is_err());
        let _ = PeerRecord::open(&record(|payload| payload.extend_from_slice(&signed)));
    }
}
