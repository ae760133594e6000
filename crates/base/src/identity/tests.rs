//! The vectors of libp2p's `peer-ids.md`, then what a stranger may try.

use proptest::prelude::*;

use super::*;

const ECDSA_PRIVATE: &str = "08031279307702010104203E5B1FE9712E6C314942A750BD67485DE3C1EFE85B1BFB520AE8F9AE3DFA4A4CA00A06082A8648CE3D030107A14403420004DE3D300FA36AE0E8F5D530899D83ABAB44ABF3161F162A4BC901D8E6ECDA020E8B6D5F8DA30525E71D6851510C098E5C47C646A597FB4DCEC034E9F77C409E62";
const ECDSA_PUBLIC: &str = "0803125b3059301306072a8648ce3d020106082a8648ce3d03010703420004de3d300fa36ae0e8f5d530899d83abab44abf3161f162a4bc901d8e6ecda020e8b6d5f8da30525e71d6851510c098e5c47c646a597fb4dcec034e9f77c409e62";
const ED25519_PRIVATE: &str = "080112407e0830617c4a7de83925dfb2694556b12936c477a0e1feb2e148ec9da60fee7d1ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e";
const ED25519_PUBLIC: &str = "080112201ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e";
const SECP256K1_PRIVATE: &str = "0802122053DADF1D5A164D6B4ACDB15E24AA4C5B1D3461BDBD42ABEDB0A4404D56CED8FB";
const SECP256K1_PUBLIC: &str = "08021221037777e994e452c21604f91de093ce415f5432f701dd8cd1a7a6fea0e630bfca99";
/// The first bytes of the RSA vector: enough to see the type.
const RSA_PUBLIC_HEAD: &str = "080012a60430820222300d06092a864886f70d01010105000382020f00";
const RSA_PRIVATE_HEAD: &str = "080012ae123082092a0201000282020100e1beab071d08200b";

/// secp256k1's group order n, big-endian (SEC 2 §2.4.1).
const SECP256K1_ORDER: &str = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn public(text: &str) -> PublicKey {
    PublicKey::from_protobuf(&hex(text)).unwrap()
}

fn secp256k1() -> Keypair {
    Keypair::from_protobuf(&hex(SECP256K1_PRIVATE)).unwrap()
}

#[test]
fn the_specifications_key_pairs_encode_and_decode() {
    for (private, public_text, kind) in [
        (ED25519_PRIVATE, ED25519_PUBLIC, KeyKind::Ed25519),
        (SECP256K1_PRIVATE, SECP256K1_PUBLIC, KeyKind::Secp256k1),
    ] {
        let keypair = Keypair::from_protobuf(&hex(private)).unwrap();
        assert_eq!(keypair.to_protobuf().to_vec(), hex(private));
        assert_eq!(keypair.public().to_protobuf(), hex(public_text));
        assert_eq!(keypair.public(), public(public_text));
        assert_eq!(keypair.kind(), kind);
        assert_eq!(keypair.public().kind(), kind);
    }
    let key = public(ECDSA_PUBLIC);
    assert_eq!(key.to_protobuf(), hex(ECDSA_PUBLIC));
    assert_eq!(key.to_protobuf().len(), 95);
    assert_eq!(key.kind(), KeyKind::EcdsaP256);
}

#[test]
fn unsupported_kinds_are_refused_by_name() {
    let refused = |text: &str| Keypair::from_protobuf(&hex(text)).unwrap_err();
    assert_eq!(refused(ECDSA_PRIVATE), PrivateKeyError::Unsupported(3));
    assert_eq!(refused(RSA_PRIVATE_HEAD), PrivateKeyError::Unsupported(0));
    let refused = |text: &str| PublicKey::from_protobuf(&hex(text)).unwrap_err();
    assert_eq!(refused(RSA_PUBLIC_HEAD), PublicKeyError::RsaEncoding);
    assert_eq!(refused("08041200"), PublicKeyError::UnknownType(4));
}

#[test]
fn the_older_form_of_ed25519_secrets_is_read_and_its_two_public_keys_compared() {
    let mut old = hex(ED25519_PRIVATE);
    old[3] = 96;
    let public = old[36..].to_vec();
    old.extend_from_slice(&public);
    let keypair = Keypair::from_protobuf(&old).unwrap();
    assert_eq!(keypair.to_protobuf().to_vec(), hex(ED25519_PRIVATE));
    for damaged in [40, 80] {
        let mut bytes = old.clone();
        bytes[damaged] ^= 1;
        let error = Keypair::from_protobuf(&bytes).unwrap_err();
        assert_eq!(error, PrivateKeyError::Mismatch);
    }
}

#[test]
fn a_secp256k1_secret_is_above_zero_and_below_the_order() {
    let order: [u8; 32] = hex(SECP256K1_ORDER).try_into().unwrap();
    let mut largest = order;
    largest[31] -= 1;
    assert!(Keypair::secp256k1_from_bytes(largest).is_ok());
    for bad in [[0; 32], order, [0xff; 32]] {
        let error = Keypair::secp256k1_from_bytes(bad).unwrap_err();
        assert_eq!(error, PrivateKeyError::OutOfRange);
    }
}

#[test]
fn a_second_encoding_of_a_key_is_refused() {
    let good = hex(ED25519_PUBLIC);
    let mut trailing = good.clone();
    trailing.push(0);
    let mut long_type = vec![0x08, 0x81, 0x00];
    long_type.extend_from_slice(&good[2..]);
    let mut long_length = vec![0x08, 0x01, 0x12, 0xa0, 0x00];
    long_length.extend_from_slice(&good[4..]);
    let mut swapped = good[2..].to_vec();
    swapped.extend_from_slice(&good[..2]);
    let mut extra = good.clone();
    extra.extend_from_slice(&[0x18, 0x00]);
    for bytes in [trailing, long_type, long_length, swapped, extra] {
        let error = PublicKey::from_protobuf(&bytes).unwrap_err();
        assert_eq!(error, PublicKeyError::Encoding);
    }
    for len in 0..good.len() {
        let error = PublicKey::from_protobuf(&good[..len]).unwrap_err();
        assert_eq!(error, PublicKeyError::Encoding);
    }
}

#[test]
fn points_off_the_curve_and_of_small_order_are_refused() {
    let mut off_curve = hex(ECDSA_PUBLIC);
    off_curve[40] ^= 1;
    let error = PublicKey::from_protobuf(&off_curve).unwrap_err();
    assert_eq!(error, PublicKeyError::Point(KeyKind::EcdsaP256));
    let mut other_curve = hex(ECDSA_PUBLIC);
    other_curve[27] = 0x08; // another named curve
    let error = PublicKey::from_protobuf(&other_curve).unwrap_err();
    assert_eq!(error, PublicKeyError::Curve);
    let mut identity = vec![0x08, 0x01, 0x12, 0x20, 0x01];
    identity.resize(36, 0);
    let error = PublicKey::from_protobuf(&identity).unwrap_err();
    assert_eq!(error, PublicKeyError::Point(KeyKind::Ed25519));
    let mut tag = hex(SECP256K1_PUBLIC);
    tag[4] = 0x05;
    let error = PublicKey::from_protobuf(&tag).unwrap_err();
    assert_eq!(error, PublicKeyError::Point(KeyKind::Secp256k1));
}

/// libp2p-core took any bytes of the right length for a signature of Ed25519.
#[test]
fn rustsec_2019_0004_a_signature_verifies_for_its_message_and_key_only() {
    let ed25519 = Keypair::ed25519_from_seed([7; 32]);
    for (keypair, other) in [(ed25519.clone(), secp256k1()), (secp256k1(), ed25519)] {
        let signature = keypair.sign(b"message");
        assert!(signature.len() <= 72);
        assert_eq!(signature, keypair.sign(b"message"), "deterministic");
        let key = keypair.public();
        assert_eq!(key.verify(b"message", &signature), Ok(()));
        assert_eq!(key.verify(b"massage", &signature), Err(BadSignature));
        assert_eq!(other.public().verify(b"message", &signature), Err(BadSignature));
        for at in 0..signature.len() {
            let mut bad = signature.clone();
            bad[at] ^= 1;
            assert_eq!(key.verify(b"message", &bad), Err(BadSignature), "byte {at}");
        }
        assert_eq!(key.verify(b"message", &[]), Err(BadSignature));
    }
}

#[test]
fn the_ed25519_vector_of_rfc_8032_is_reproduced() {
    let seed = hex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
    let keypair = Keypair::ed25519_from_seed(seed.try_into().unwrap());
    let expected = hex(
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    );
    assert_eq!(keypair.sign(&[0x72]), expected);
}

#[test]
fn secp256k1_takes_the_low_s_only_and_p256_either() {
    use k256::ecdsa::signature::Signer as _;
    let key = secp256k1().public();
    let low = k256::ecdsa::Signature::from_der(&secp256k1().sign(b"m")).unwrap();
    let (r, s) = low.split_scalars();
    let high = k256::ecdsa::Signature::from_scalars(r, -s).unwrap();
    assert!(key.verify(b"m", low.to_der().as_bytes()).is_ok());
    let refused = key.verify(b"m", high.to_der().as_bytes());
    assert_eq!(refused, Err(BadSignature));

    let secret = &hex(ECDSA_PRIVATE)[11..43];
    let signer = p256::ecdsa::SigningKey::from_slice(secret).unwrap();
    let one: p256::ecdsa::Signature = signer.sign(b"m");
    let (r, s) = one.split_scalars();
    let two = p256::ecdsa::Signature::from_scalars(r, -s).unwrap();
    let key = public(ECDSA_PUBLIC);
    assert_eq!(key.verify(b"m", one.to_der().as_bytes()), Ok(()));
    assert_eq!(key.verify(b"m", two.to_der().as_bytes()), Ok(()));
    assert_eq!(key.verify(b"n", one.to_der().as_bytes()), Err(BadSignature));
}

#[test]
fn ids_of_short_keys_carry_the_key_and_ids_of_long_keys_their_hash() {
    for text in [ED25519_PUBLIC, SECP256K1_PUBLIC] {
        let key = public(text);
        let id = key.peer_id();
        assert_eq!(id.as_bytes()[0], 0);
        assert_eq!(id.as_bytes()[2..], hex(text));
        assert_eq!(id.public_key().as_ref(), Some(&key));
        assert!(id.is_of(&key));
    }
    let id = public(ECDSA_PUBLIC).peer_id();
    assert_eq!(id.as_bytes()[..2], [0x12, 0x20]);
    assert_eq!(id.as_bytes().len(), 34);
    assert_eq!(id.public_key(), None);
    assert!(id.to_string().starts_with("Qm"));
    assert!(secp256k1().peer_id().to_string().starts_with("16Uiu2HA"));
}

#[test]
fn the_specifications_ids_parse_in_both_forms() {
    for text in [
        "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N",
        "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA",
        "16Uiu2HAkutTMoTzDw1tCvSRtu6YoixJwS46S1ZFxW8hSx9fWHiPs",
    ] {
        let id: PeerId = text.parse().unwrap();
        assert_eq!(id.to_string(), text);
        assert_eq!(PeerId::from_bytes(id.as_bytes()), Ok(id));
    }
    let cid: PeerId = "bafzbeie5745rpv2m6tjyuugywy4d5ewrqgqqhfnf445he3omzpjbx5xqxe".parse().unwrap();
    let base58: PeerId = "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N".parse().unwrap();
    assert_eq!(cid, base58, "the specification's two examples are one id");
}

#[test]
fn texts_that_are_no_ids_say_why() {
    use ParsePeerIdError as E;
    let refused = |text: &str| text.parse::<PeerId>().unwrap_err();
    assert_eq!(refused(""), E::TextLength(0));
    assert_eq!(refused(&"1".repeat(200)), E::TextLength(200));
    assert_eq!(refused("zzz"), E::Form);
    assert_eq!(refused("Qm0OIl"), E::Alphabet("base58"));
    assert_eq!(refused("b!!!"), E::Alphabet("base32"));
    assert_eq!(refused("Qm"), E::Bytes(PeerIdError::Length));
    // A CIDv1 with the codec `raw` (0x55).
    let raw = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy";
    assert_eq!(refused(raw), E::Cid);
    // The right id, cut by one character: stray bits.
    let cut = "bafzbeie5745rpv2m6tjyuugywy4d5ewrqgqqhfnf445he3omzpjbx5xqx";
    assert_eq!(refused(cut), E::Alphabet("base32"));
}

#[test]
fn bytes_that_are_no_ids_say_why() {
    use PeerIdError as E;
    let refused = |bytes: &[u8]| PeerId::from_bytes(bytes).unwrap_err();
    assert_eq!(refused(&[]), E::Length);
    assert_eq!(refused(&[0x00, 0x00]), E::Length);
    assert_eq!(refused(&[0x12, 0x20, 1, 2]), E::Length);
    assert_eq!(refused(&[0x13, 0x01, 1]), E::Code);
    assert_eq!(refused(&[0x12, 0x01, 1]), E::Length);
    let mut long = vec![0x00, 43];
    long.resize(45, 7);
    assert_eq!(refused(&long), E::Length);
    long[1] = 42;
    long.pop();
    let id = PeerId::from_bytes(&long).unwrap();
    assert_eq!(id.as_bytes().len(), PEER_ID_MAX);
    assert_eq!(id.public_key(), None);
}

#[test]
fn debug_shows_no_secret_and_little_of_an_id() {
    let keypair = Keypair::ed25519_from_seed([0xab; 32]);
    let shown = format!("{keypair:?} {:?}", keypair.to_protobuf());
    assert!(!shown.contains("abab") && !shown.contains("171, 171"));
    assert!(shown.contains("68 bytes"));
    assert!(format!("{:?}", keypair.peer_id()).len() < 24);
}

fn mutated(good: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    (0..good.len(), any::<u8>(), 0..good.len() + 1).prop_map(move |(at, byte, len)| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes.truncate(len.max(at + 1));
        bytes
    })
}

proptest! {
    #[test]
    fn what_decodes_encodes_to_the_same_bytes(
        bytes in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..128),
            mutated(hex(ED25519_PUBLIC)),
            mutated(hex(SECP256K1_PUBLIC)),
            mutated(hex(ECDSA_PUBLIC)),
        ]
    ) {
        if let Ok(key) = PublicKey::from_protobuf(&bytes) {
            prop_assert_eq!(key.to_protobuf(), bytes.clone());
        }
        if let Ok(id) = PeerId::from_bytes(&bytes) {
            prop_assert_eq!(id.as_bytes(), &bytes[..]);
            prop_assert_eq!(id.to_string().parse::<PeerId>(), Ok(id));
        }
        let _ = Keypair::from_protobuf(&bytes);
    }

    #[test]
    fn ids_are_ordered_by_their_bytes(a in any::<[u8; 32]>(), b in any::<[u8; 32]>(), short in 1..42_u8) {
        let multihash = |code: u8, digest: &[u8]| {
            let mut bytes = vec![code, u8::try_from(digest.len()).unwrap()];
            bytes.extend_from_slice(digest);
            PeerId::from_bytes(&bytes).unwrap()
        };
        let ids = [multihash(0x12, &a), multihash(0x12, &b), multihash(0, &a), multihash(0, &vec![0; short.into()])];
        for x in &ids {
            for y in &ids {
                prop_assert_eq!(x.cmp(y), x.as_bytes().cmp(y.as_bytes()));
            }
        }
    }

    #[test]
    fn any_text_is_parsed_or_refused(text in "\\PC{0,90}", base58 in "[1Q][1-9A-HJ-NP-Za-km-z]{0,60}") {
        for text in [text, base58] {
            if let Ok(id) = text.parse::<PeerId>() {
                prop_assert_eq!(id.to_string().parse::<PeerId>(), Ok(id));
            }
        }
    }
}
