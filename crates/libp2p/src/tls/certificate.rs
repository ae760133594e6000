//! Making this node's certificate.

use std::fmt;
use std::sync::Arc;

use p256::ecdsa::signature::Signer as _;
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, PublicKeyData, SerialNumber};
use ring::signature::KeyPair as _;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use weir_base::{Keypair, PeerId, Rng};

use super::{EXTENSION_OID, der, signed_bytes};

/// First year of the certificate, and the one after its last: those of the specification's vectors. Fixed, so that no clock is
/// needed here and no peer with a wrong one is turned away.
const YEARS: (i32, i32) = (1975, 4096);

/// Bytes of the serial number. RFC 5280 §4.1.2.2 allows 20.
const SERIAL: usize = 8;

/// What stands before the 32-byte secret in an Ed25519 `OneAsymmetricKey` (RFC 8410 §7).
const ED25519_PKCS8_HEAD: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// What stands before the 32-byte secret in a P-256 `OneAsymmetricKey` (RFC 5958, RFC 5915) with public key.
const P256_PKCS8_HEAD: [u8; 36] = [
    0x30, 0x81, 0x87, 0x02, 0x01, 0x00, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01,
    0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x04, 0x6d, 0x30, 0x6b, 0x02, 0x01, 0x01,
    0x04, 0x20,
];

/// What stands between that secret and the 65-byte point.
const P256_PKCS8_MIDDLE: [u8; 5] = [0xa1, 0x44, 0x03, 0x42, 0x00];

/// The kind of the certificate's own key, which is not the host's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum CertificateKind {
    /// ECDSA over P-256: every libp2p implementation verifies it. The handshake's signatures differ in length from run to run.
    #[default]
    P256,
    /// Ed25519: handshake signatures depend on nothing but the transcript and have one length, which simulations need.
    Ed25519,
}

/// This node towards TLS: its certificate and the certificate's key. Clones share both.
#[derive(Clone)]
pub struct TlsIdentity {
    certified: Arc<CertifiedKey>,
    peer: PeerId,
}

/// Why no certificate could be made. None of these is due to a peer.
#[derive(Debug, thiserror::Error)]
pub enum TlsIdentityError {
    /// No key could be derived from the seed. One seed in 2^256 does this; take another.
    #[error("the seed gives no certificate key; use another seed")]
    Seed,
    /// The certificate could not be built.
    #[error("certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// rustls does not take the key.
    #[error("certificate key: {0}")]
    Key(#[from] rustls::Error),
}

impl TlsIdentity {
    /// Makes a certificate for the holder of `keypair`, with a key of its own derived from `seed`. The same arguments give the
    /// same certificate. `seed` must be secret, and not the one that `keypair` was made of.
    ///
    /// # Errors
    /// [`TlsIdentityError`], for a failure of the libraries below.
    pub fn new(keypair: &Keypair, kind: CertificateKind, seed: [u8; 32]) -> Result<Self, TlsIdentityError> {
        let mut rng = Rng::new(seed).child("libp2p tls certificate");
        let key = CertificateKey::derive(kind, &mut rng).ok_or(TlsIdentityError::Seed)?;
        let signature = keypair.sign(&signed_bytes(&key.subject_public_key_info()));
        let content = der::put_signed_key(&keypair.public().to_protobuf(), &signature);
        let mut serial = rng.bytes::<SERIAL>();
        serial[0] = serial[0] & 0x7f | 0x40; // positive, and of full length

        let mut params = CertificateParams::default();
        params.not_before = rcgen::date_time_ymd(YEARS.0, 1, 1);
        params.not_after = rcgen::date_time_ymd(YEARS.1, 1, 1);
        params.serial_number = Some(SerialNumber::from(serial.to_vec()));
        params.distinguished_name = DistinguishedName::new();
        params.custom_extensions = vec![CustomExtension::from_oid_content(&EXTENSION_OID, content)];
        let certificate = params.self_signed(&key)?.der().clone();

        let secret = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.to_pkcs8()));
        let certified = Arc::new(CertifiedKey::new(vec![certificate], any_supported_type(&secret)?));
        Ok(Self { certified, peer: keypair.peer_id() })
    }

    /// The certificate.
    pub fn certificate(&self) -> Option<&CertificateDer<'static>> {
        self.certified.cert.first()
    }

    /// The id that peers will read from it.
    pub fn peer_id(&self) -> PeerId {
        self.peer
    }

    pub(super) fn certified(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.certified)
    }
}

impl fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsIdentity").field("peer", &self.peer).finish_non_exhaustive()
    }
}

/// The certificate's own key. Both kinds sign without randomness (RFC 6979, RFC 8032).
enum CertificateKey {
    P256 { key: Box<p256::ecdsa::SigningKey>, point: [u8; 65] },
    Ed25519 { key: Box<ring::signature::Ed25519KeyPair>, secret: [u8; 32] },
}

impl CertificateKey {
    fn derive(kind: CertificateKind, rng: &mut Rng) -> Option<Self> {
        match kind {
            CertificateKind::P256 => {
                // One draw in 2^32 is not below the order of the curve.
                let key =
                    (0..8).find_map(|_| p256::ecdsa::SigningKey::from_slice(&rng.bytes::<32>()).ok())?;
                let point = key.verifying_key().to_sec1_point(false).as_bytes().try_into().ok()?;
                Some(Self::P256 { key: Box::new(key), point })
            }
            CertificateKind::Ed25519 => {
                let secret = rng.bytes::<32>();
                let key = ring::signature::Ed25519KeyPair::from_seed_unchecked(&secret).ok()?;
                Some(Self::Ed25519 { key: Box::new(key), secret })
            }
        }
    }

    fn to_pkcs8(&self) -> Vec<u8> {
        match self {
            Self::P256 { key, point } => {
                [&P256_PKCS8_HEAD, &*key.to_bytes(), &P256_PKCS8_MIDDLE, &point[..]].concat()
            }
            Self::Ed25519 { secret, .. } => [&ED25519_PKCS8_HEAD[..], secret].concat(),
        }
    }
}

impl PublicKeyData for CertificateKey {
    fn der_bytes(&self) -> &[u8] {
        match self {
            Self::P256 { point, .. } => point,
            Self::Ed25519 { key, .. } => key.public_key().as_ref(),
        }
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        match self {
            Self::P256 { .. } => &rcgen::PKCS_ECDSA_P256_SHA256,
            Self::Ed25519 { .. } => &rcgen::PKCS_ED25519,
        }
    }
}

impl rcgen::SigningKey for CertificateKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(match self {
            Self::P256 { key, .. } => {
                let signature: p256::ecdsa::Signature = key.sign(message);
                signature.to_der().as_bytes().to_vec()
            }
            Self::Ed25519 { key, .. } => key.sign(message).as_ref().to_vec(),
        })
    }
}
