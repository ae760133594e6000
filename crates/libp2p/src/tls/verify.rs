//! Checking a peer's certificate.

use ring::signature::{ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ED25519};
use ring::signature::{UnparsedPublicKey, VerificationAlgorithm};
use rustls::pki_types::CertificateDer;
use weir_base::{PeerId, PublicKey, UnixTime};
use x509_parser::certificate::X509Certificate;
use x509_parser::der_parser::oid::Oid;
use x509_parser::oid_registry::{OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_SIG_ED25519};
use x509_parser::prelude::FromDer as _;

use super::{EXTENSION_OID, TlsFault, der, signed_bytes};

/// The longest certificate that is looked at, in bytes. The longest vector of the specification has 507; what a peer shows is
/// kept with its sessions, so this bounds them too.
pub const CERTIFICATE_MAX: usize = 4096;

/// Content of the `AlgorithmIdentifier` of Ed25519 (RFC 8410 §3).
const ED25519_IDENTIFIER: &[u8] = &[0x06, 0x03, 0x2b, 0x65, 0x70];
/// Of `ecdsa-with-SHA256` (RFC 5758 §3.2).
const ECDSA_SHA256_IDENTIFIER: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
/// Of `ecdsa-with-SHA384`.
const ECDSA_SHA384_IDENTIFIER: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03];

/// What a certificate that verifies says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertificate {
    /// The host key of the peer that made the certificate.
    pub key: PublicKey,
    /// The id that this key derives.
    pub peer: PeerId,
}

/// Checks one DER certificate as libp2p demands: validity at `now`, self-signature, no unknown critical extension, the libp2p
/// extension, and the host key's signature in it.
///
/// Who talks over the connection has the certificate's key only if the TLS handshake says so too.
///
/// # Errors
/// [`TlsFault`], the first defect found.
pub fn verify_certificate(certificate: &[u8], now: UnixTime) -> Result<PeerCertificate, TlsFault> {
    let parsed = Parsed::new(certificate)?;
    parsed.check_dates(now)?;
    parsed.check_self_signature()?;
    let signed = signed_bytes(parsed.x509.tbs_certificate.subject_pki.raw);
    parsed.key.verify(&signed, parsed.signature).map_err(|_| TlsFault::HostSignature)?;
    let peer = parsed.key.peer_id();
    Ok(PeerCertificate { key: parsed.key, peer })
}

/// [`verify_certificate`] for what a handshake shows: exactly one certificate.
///
/// # Errors
/// [`TlsFault`].
pub fn verify_chain(chain: &[CertificateDer<'_>], now: UnixTime) -> Result<PeerCertificate, TlsFault> {
    verify_certificate(only(chain)?, now)
}

/// Who the other side of a finished handshake is. For certificates that a configuration of this module has already verified:
/// the signatures are not checked again.
///
/// # Errors
/// [`TlsFault`], which means that something else has verified the chain, or nothing.
pub fn peer_id_of(chain: &[CertificateDer<'_>]) -> Result<PeerId, TlsFault> {
    Ok(peer_of(chain)?.peer)
}

/// [`peer_id_of`] with its key.
pub(super) fn peer_of(chain: &[CertificateDer<'_>]) -> Result<PeerCertificate, TlsFault> {
    let key = Parsed::new(only(chain)?)?.key;
    let peer = key.peer_id();
    Ok(PeerCertificate { key, peer })
}

/// The DER `SubjectPublicKeyInfo` of a certificate.
pub(super) fn certificate_key(certificate: &[u8]) -> Result<Vec<u8>, TlsFault> {
    Ok(parse(certificate)?.tbs_certificate.subject_pki.raw.to_vec())
}

fn only<'a>(chain: &'a [CertificateDer<'_>]) -> Result<&'a [u8], TlsFault> {
    match chain {
        [certificate] => Ok(certificate),
        _ => Err(TlsFault::NotOne(chain.len())),
    }
}

fn parse(certificate: &[u8]) -> Result<X509Certificate<'_>, TlsFault> {
    if certificate.len() > CERTIFICATE_MAX {
        return Err(TlsFault::TooLong(certificate.len()));
    }
    match X509Certificate::from_der(certificate) {
        Ok(([], x509)) => Ok(x509),
        _ => Err(TlsFault::Encoding),
    }
}

/// A certificate whose form is right; nothing is verified yet.
struct Parsed<'a> {
    certificate: &'a [u8],
    x509: X509Certificate<'a>,
    key: PublicKey,
    signature: &'a [u8],
}

impl<'a> Parsed<'a> {
    fn new(certificate: &'a [u8]) -> Result<Self, TlsFault> {
        let x509 = parse(certificate)?;
        if x509.tbs_certificate.issuer_uid.is_some() || x509.tbs_certificate.subject_uid.is_some() {
            return Err(TlsFault::UniqueId);
        }
        let own = Oid::from(&EXTENSION_OID).map_err(|_| TlsFault::NoExtension)?;
        let mut found: Option<&'a [u8]> = None;
        for extension in x509.tbs_certificate.extensions() {
            if extension.oid == own {
                if found.replace(extension.value).is_some() {
                    return Err(TlsFault::TwoExtensions);
                }
            } else if extension.critical {
                return Err(TlsFault::CriticalExtension);
            }
        }
        let content = found.ok_or(TlsFault::NoExtension)?;
        let (key, signature) = der::take_signed_key(content).ok_or(TlsFault::ExtensionEncoding)?;
        let key = PublicKey::from_protobuf(key)?;
        Ok(Self { certificate, x509, key, signature })
    }

    fn check_dates(&self, now: UnixTime) -> Result<(), TlsFault> {
        let validity = &self.x509.tbs_certificate.validity;
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        if now < validity.not_before.timestamp() {
            return Err(TlsFault::NotYetValid);
        }
        if now > validity.not_after.timestamp() {
            return Err(TlsFault::Expired);
        }
        Ok(())
    }

    /// The part of a certificate that its own signature does not cover is read strictly: x509-parser lets bits of its tags pass.
    fn check_self_signature(&self) -> Result<(), TlsFault> {
        let tbs = &self.x509.tbs_certificate;
        let (identifier, signature) =
            der::take_outer(self.certificate, tbs.as_ref()).ok_or(TlsFault::Encoding)?;
        if self.x509.signature_algorithm != tbs.signature {
            return Err(TlsFault::SelfSignature);
        }
        let algorithm = self.algorithm(identifier).ok_or(TlsFault::Algorithm)?;
        UnparsedPublicKey::new(algorithm, &tbs.subject_pki.subject_public_key.data)
            .verify(tbs.as_ref(), signature)
            .map_err(|_| TlsFault::SelfSignature)
    }

    /// How the certificate is signed, where key and signature algorithm belong together.
    fn algorithm(&self, identifier: &[u8]) -> Option<&'static dyn VerificationAlgorithm> {
        let key = &self.x509.tbs_certificate.subject_pki.algorithm;
        if identifier == ED25519_IDENTIFIER {
            return (key.algorithm == OID_SIG_ED25519).then_some(&ED25519);
        }
        if key.algorithm != OID_KEY_TYPE_EC_PUBLIC_KEY {
            return None;
        }
        let curve = key.parameters.as_ref()?.as_oid().ok()?;
        if curve == OID_EC_P256 && identifier == ECDSA_SHA256_IDENTIFIER {
            Some(&ECDSA_P256_SHA256_ASN1)
        } else if curve == OID_NIST_EC_P384 && identifier == ECDSA_SHA384_IDENTIFIER {
            Some(&ECDSA_P384_SHA384_ASN1)
        } else {
            None
        }
    }
}
