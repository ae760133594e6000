//! Certificates that a hostile peer may show, made by editing good ones or by signing bad ones.

use proptest::prelude::*;
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair as RcgenKey, PublicKeyData as _};
use rustls::pki_types::PrivatePkcs8KeyDer;
use weir_base::identity::PublicKeyError;

use super::vectors::certificates;
use super::*;

/// PKCS#8 of an Ed25519 key.
pub(super) fn certificate_key(seed: u8) -> RcgenKey {
    let mut pkcs8 = unhex("302e020100300506032b657004220420");
    pkcs8.extend_from_slice(&[seed; 32]);
    let pkcs8 = PrivatePkcs8KeyDer::from(pkcs8);
    RcgenKey::from_pkcs8_der_and_sign_algo(&pkcs8, &rcgen::PKCS_ED25519).unwrap()
}

fn good_extension(key: &RcgenKey) -> CustomExtension {
    let signature = ed25519(1).sign(&signed_bytes(&key.subject_public_key_info()));
    extension(&ed25519(1).public().to_protobuf(), &signature)
}

fn extension(key: &[u8], signature: &[u8]) -> CustomExtension {
    CustomExtension::from_oid_content(&EXTENSION_OID, der::put_signed_key(key, signature))
}

fn certificate(extensions: Vec<CustomExtension>, edit: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.serial_number = Some(vec![1].into());
    params.custom_extensions = extensions;
    edit(&mut params);
    params.self_signed(&certificate_key(9)).unwrap().der().to_vec()
}

fn refused(certificate: &[u8]) -> TlsFault {
    verify_certificate(certificate, NOW).unwrap_err()
}

#[test]
fn the_certificate_that_the_others_differ_from_verifies() {
    let good = certificate(vec![good_extension(&certificate_key(9))], |_| {});
    assert_eq!(verify_certificate(&good, NOW).unwrap().peer, ed25519(1).peer_id());
}

#[test]
fn a_certificate_outside_its_dates_is_refused_without_blame() {
    let dated = |from: i32, to: i32| {
        certificate(vec![good_extension(&certificate_key(9))], |params| {
            params.not_before = rcgen::date_time_ymd(from, 1, 1);
            params.not_after = rcgen::date_time_ymd(to, 1, 1);
        })
    };
    assert_eq!(refused(&dated(2000, 2020)), TlsFault::Expired);
    assert_eq!(refused(&dated(2100, 2200)), TlsFault::NotYetValid);
    let blame = TlsFault::Expired.fault().blame;
    assert_eq!(blame, weir_base::Blame::Incompatible);
}

#[test]
fn a_missing_doubled_or_foreign_critical_extension_is_refused() {
    let key = certificate_key(9);
    assert_eq!(refused(&certificate(vec![], |_| {})), TlsFault::NoExtension);
    let two = vec![good_extension(&key), good_extension(&key)];
    assert_eq!(refused(&certificate(two, |_| {})), TlsFault::TwoExtensions);
    let mut foreign = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 53594, 1, 2], vec![5, 0]);
    let accepted = certificate(vec![good_extension(&key), foreign.clone()], |_| {});
    assert!(verify_certificate(&accepted, NOW).is_ok(), "an unknown extension that is not critical");
    foreign.set_criticality(true);
    let critical = certificate(vec![good_extension(&key), foreign], |_| {});
    assert_eq!(refused(&critical), TlsFault::CriticalExtension);
    let mut own = good_extension(&key);
    own.set_criticality(true);
    assert!(verify_certificate(&certificate(vec![own], |_| {}), NOW).is_ok(), "libp2p's may be critical");
}

#[test]
fn a_wrong_payload_in_the_extension_is_refused() {
    let raw = |content: Vec<u8>| {
        certificate(vec![CustomExtension::from_oid_content(&EXTENSION_OID, content)], |_| {})
    };
    let key = ed25519(1).public().to_protobuf();
    let good = der::put_signed_key(&key, &[0; 64]);
    for content in [
        vec![],
        vec![0x30, 0x00],
        good[..good.len() - 1].to_vec(),
        [&good[..], &[0]].concat(),
        [&[0x31], &good[1..]].concat(),
        // A length in two bytes where one does.
        [&[0x30, 0x81, 0x6a], &good[2..]].concat(),
        // Three octet strings.
        vec![0x30, 0x06, 0x04, 0x00, 0x04, 0x00, 0x04, 0x00],
    ] {
        assert_eq!(refused(&raw(content.clone())), TlsFault::ExtensionEncoding, "{}", hex(&content));
    }
    assert_eq!(refused(&raw(good)), TlsFault::HostSignature);
    let rsa = refused(&raw(der::put_signed_key(&[8, 0, 18, 0], &[])));
    assert_eq!(rsa, TlsFault::HostKey(PublicKeyError::RsaEncoding));
    let garbage = refused(&raw(der::put_signed_key(b"key", &[])));
    assert_eq!(garbage, TlsFault::HostKey(PublicKeyError::Encoding));
}

#[test]
fn a_signature_over_another_certificates_key_is_refused() {
    let stolen = good_extension(&certificate_key(8));
    assert_eq!(refused(&certificate(vec![stolen], |_| {})), TlsFault::HostSignature);
    let without_prefix = ed25519(1).sign(&certificate_key(9).subject_public_key_info());
    let unprefixed = extension(&ed25519(1).public().to_protobuf(), &without_prefix);
    assert_eq!(refused(&certificate(vec![unprefixed], |_| {})), TlsFault::HostSignature);
}

#[test]
fn anything_but_one_certificate_is_refused() {
    let good = identity(1).certificate().unwrap().clone();
    assert!(verify_chain(std::slice::from_ref(&good), NOW).is_ok());
    assert_eq!(verify_chain(&[], NOW), Err(TlsFault::NotOne(0)));
    assert_eq!(verify_chain(&[good.clone(), good.clone()], NOW), Err(TlsFault::NotOne(2)));
    assert_eq!(peer_id_of(&[good.clone(), good]), Err(TlsFault::NotOne(2)));
    assert_eq!(peer_id_of(&[]), Err(TlsFault::NotOne(0)));
}

#[test]
fn a_cut_lengthened_or_oversized_certificate_is_refused() {
    for (_, _, good) in certificates() {
        for len in 0..good.len() {
            assert_eq!(refused(&good[..len]), TlsFault::Encoding, "cut to {len}");
        }
        assert_eq!(refused(&[&good[..], &[0]].concat()), TlsFault::Encoding);
    }
    let long = certificate(vec![good_extension(&certificate_key(9))], |params| {
        params
            .custom_extensions
            .push(CustomExtension::from_oid_content(&[1, 2, 3], vec![0; CERTIFICATE_MAX]));
    });
    assert_eq!(refused(&long), TlsFault::TooLong(long.len()));
}

#[test]
fn every_changed_bit_is_noticed() {
    let good = identity(1).certificate().unwrap().to_vec();
    for at in 0..good.len() {
        let mut bad = good.clone();
        for bit in 0..8 {
            bad[at] ^= 1 << bit;
            assert!(verify_certificate(&bad, NOW).is_err(), "bit {bit} of byte {at}: {}", hex(&bad));
            bad[at] ^= 1 << bit;
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_refused_without_a_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..600),
        which in 0..4_usize,
        at in any::<prop::sample::Index>(),
        patch in proptest::collection::vec(any::<u8>(), 1..8),
    ) {
        prop_assert!(verify_certificate(&bytes, NOW).is_err());
        let (_, _, mut mutated) = certificates().swap_remove(which);
        let at = at.index(mutated.len());
        for (slot, byte) in mutated[at..].iter_mut().zip(patch) {
            *slot = byte;
        }
        let _ = verify_certificate(&mutated, NOW);
        let _ = peer_id_of(&[mutated.into()]);
    }
}
