//! The four certificates of the specification.

use super::*;

pub(super) const FILE: &str = include_str!("../../../../../vectors/tls-certificates.txt");

/// Name, peer id and certificate of each line.
pub(super) fn certificates() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    FILE.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let fields: Vec<&str> = line.split(' ').collect();
            (fields[0], fields[1], unhex(fields[2]))
        })
        .collect()
}

#[test]
fn the_specifications_certificates_verify_or_fail_as_stated() {
    let certificates = certificates();
    assert_eq!(certificates.len(), 4);
    for (name, peer, certificate) in certificates {
        let verified = verify_certificate(&certificate, NOW);
        if peer == "-" {
            assert_eq!(verified, Err(TlsFault::HostSignature), "{name}");
        } else {
            let verified = verified.unwrap();
            assert_eq!(verified.peer.to_string(), peer, "{name}");
            assert_eq!(verified.key.peer_id(), verified.peer);
            assert_eq!(peer_id_of(&[certificate.into()]), Ok(verified.peer));
        }
    }
}

#[test]
fn they_are_valid_from_1975_to_4096_and_not_a_second_longer() {
    let (_, _, certificate) = &certificates()[0];
    // 1975-01-01T13:00:00Z and 4096-01-01T13:00:00Z.
    let (first, last) = (157_813_200, 67_090_165_200);
    for (secs, expected) in [
        (first - 1, Some(TlsFault::NotYetValid)),
        (first, None),
        (last, None),
        (last + 1, Some(TlsFault::Expired)),
        (u64::MAX / 1000, Some(TlsFault::Expired)),
    ] {
        assert_eq!(verify_certificate(certificate, UnixTime::from_secs(secs)).err(), expected, "{secs}");
    }
}
