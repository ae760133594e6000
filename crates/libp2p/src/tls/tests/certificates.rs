//! The certificates that this node makes.

use weir_base::identity::KeyKind;

use super::*;

#[test]
fn own_certificates_verify_for_every_kind_of_key() {
    for keypair in [ed25519(1), secp256k1(1)] {
        for kind in [CertificateKind::P256, CertificateKind::Ed25519] {
            let identity = TlsIdentity::new(&keypair, kind, [7; 32]).unwrap();
            let certificate = identity.certificate().unwrap();
            let verified = verify_certificate(certificate, NOW).unwrap();
            assert_eq!(verified.key, keypair.public());
            assert_eq!(verified.peer, identity.peer_id());
            assert!(certificate.len() < 512, "{} bytes", certificate.len());
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_certificate_and_another_seed_another() {
    for kind in [CertificateKind::P256, CertificateKind::Ed25519] {
        let make = |seed: u8| {
            let identity = TlsIdentity::new(&ed25519(1), kind, [seed; 32]).unwrap();
            identity.certificate().unwrap().to_vec()
        };
        assert_eq!(make(1), make(1));
        assert_ne!(make(1), make(2));
    }
}

#[test]
fn the_certificate_is_stable_across_versions() {
    let identity = TlsIdentity::new(&ed25519(1), CertificateKind::Ed25519, [7; 32]).unwrap();
    let file = include_str!("../../../../../vectors/tls-own-certificate.txt");
    let expected = file.lines().find(|line| !line.starts_with('#')).unwrap();
    assert_eq!(hex(identity.certificate().unwrap()), expected);
    assert_eq!(ed25519(1).kind(), KeyKind::Ed25519);
}

#[test]
fn the_server_name_tells_peers_apart_and_is_a_dns_name() {
    let one = ed25519(1).peer_id();
    let two = ed25519(2).peer_id();
    let hash = "QmfXbAwNjJLXfesgztEHe8HwgVDCMMpZ9Eax1HYq6hn9uE".parse().unwrap();
    let names = [Some(&one), Some(&two), Some(&hash), None].map(server_name);
    for (at, name) in names.iter().enumerate() {
        assert!(rustls::pki_types::DnsName::try_from(name.as_str()).is_ok(), "{name}");
        assert!(!names[..at].contains(name));
    }
}

#[test]
fn debug_shows_no_key() {
    let shown = format!("{:?}", identity(3));
    assert!(shown.len() < 60, "{shown}");
}
