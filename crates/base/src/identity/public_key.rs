//! Public keys: decode, encode, verify.

use std::fmt;

use k256::ecdsa::signature::Verifier as _;

use super::rsa::{self, RSA_BITS_MAX, RSA_BITS_MIN, RsaKey};
use super::{KeyKind, PeerId, message};

/// The longest encoded public key that Weir takes, in bytes: RSA of 8,192 bits, with three bytes and a length before it.
pub const PUBLIC_KEY_MAX: usize = rsa::SPKI_MAX + 5;
/// The longest signature that Weir takes, in bytes: RSA of 8,192 bits. Its own have at most 72.
pub const SIGNATURE_MAX: usize = RSA_BITS_MAX / 8;

/// Length of the DER `SubjectPublicKeyInfo` of an uncompressed P-256 point.
const P256_SPKI: u8 = 91;

/// What stands before the 65-byte point in that structure: `SEQUENCE { SEQUENCE { id-ecPublicKey, prime256v1 }, BIT STRING }`
/// (RFC 5480 §2). DER leaves no choice, so a comparison is a full parse.
const P256_SPKI_HEAD: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// A public key of a peer. Equal keys have equal encodings. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(pub(super) Inner);

#[derive(Clone, PartialEq, Eq)]
pub(super) enum Inner {
    Ed25519(ed25519_dalek::VerifyingKey),
    Secp256k1(k256::ecdsa::VerifyingKey),
    EcdsaP256(p256::ecdsa::VerifyingKey),
    Rsa(RsaKey),
}

/// Why bytes are no public key that Weir takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublicKeyError {
    /// Not the one encoding that libp2p demands: both fields, in order, minimal, nothing else.
    #[error("not a deterministic libp2p key message")]
    Encoding,
    /// An RSA key whose modulus has fewer bits than [`RSA_BITS_MIN`] or more than [`RSA_BITS_MAX`].
    #[error("RSA key of {0} bits; {RSA_BITS_MIN} to {RSA_BITS_MAX} are taken")]
    RsaBits(usize),
    /// The data of an RSA key is not DER in its one form, or too long.
    #[error("RSA key data is not a DER SubjectPublicKeyInfo")]
    RsaEncoding,
    /// An RSA key with an even modulus, or with an exponent that is even, 1 or above 33 bits.
    #[error("RSA key with a modulus or an exponent that cannot be")]
    RsaNumbers,
    /// A type that libp2p does not define.
    #[error("unknown key type {0}")]
    UnknownType(u8),
    /// The data has another length than keys of this kind have.
    #[error("{kind:?} key data of {len} bytes")]
    Length {
        /// The kind that the message names.
        kind: KeyKind,
        /// Bytes of data in the message.
        len: usize,
    },
    /// The data is no point of the curve, or not in the one form that libp2p uses.
    #[error("{0:?} key data is not a valid point")]
    Point(KeyKind),
    /// An ECDSA key over another curve than P-256, or one in compressed form.
    #[error("ECDSA keys other than uncompressed P-256 are not supported")]
    Curve,
}

/// A signature does not fit message and key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("signature does not verify")]
pub struct BadSignature;

impl PublicKey {
    /// Decodes the protobuf `PublicKey` message of libp2p.
    ///
    /// # Errors
    /// [`PublicKeyError`] for any input but the one encoding of a supported key.
    pub fn from_protobuf(bytes: &[u8]) -> Result<Self, PublicKeyError> {
        let key = message::decode(bytes).ok_or(PublicKeyError::Encoding)?;
        match key.kind {
            message::RSA => Self::rsa(key.data),
            message::ED25519 => Self::ed25519(key.data),
            message::SECP256K1 => Self::secp256k1(key.data),
            message::ECDSA => Self::ecdsa_p256(key.data),
            other => Err(PublicKeyError::UnknownType(other)),
        }
    }

    fn ed25519(data: &[u8]) -> Result<Self, PublicKeyError> {
        let kind = KeyKind::Ed25519;
        let bytes = <[u8; 32]>::try_from(data).map_err(|_| wrong_length(kind, data))?;
        let key = ed25519_dalek::VerifyingKey::from_bytes(&bytes).map_err(|_| PublicKeyError::Point(kind))?;
        // A point of small order would verify signatures that nobody made.
        if key.is_weak() {
            return Err(PublicKeyError::Point(kind));
        }
        Ok(Self(Inner::Ed25519(key)))
    }

    fn secp256k1(data: &[u8]) -> Result<Self, PublicKeyError> {
        let kind = KeyKind::Secp256k1;
        let bytes = <[u8; 33]>::try_from(data).map_err(|_| wrong_length(kind, data))?;
        // SEC 1 also knows a "compact" form of this length, a second encoding of the same key.
        if !matches!(bytes, [0x02 | 0x03, ..]) {
            return Err(PublicKeyError::Point(kind));
        }
        let key =
            k256::ecdsa::VerifyingKey::from_sec1_bytes(&bytes).map_err(|_| PublicKeyError::Point(kind))?;
        Ok(Self(Inner::Secp256k1(key)))
    }

    fn ecdsa_p256(data: &[u8]) -> Result<Self, PublicKeyError> {
        let point = data.strip_prefix(&P256_SPKI_HEAD).ok_or(PublicKeyError::Curve)?;
        let kind = KeyKind::EcdsaP256;
        let bytes = <[u8; 65]>::try_from(point).map_err(|_| wrong_length(kind, data))?;
        // Uncompressed only: SEC 1's other tags of this length would be second encodings of the same key.
        if !matches!(bytes, [0x04, ..]) {
            return Err(PublicKeyError::Point(kind));
        }
        let key =
            p256::ecdsa::VerifyingKey::from_sec1_bytes(&bytes).map_err(|_| PublicKeyError::Point(kind))?;
        Ok(Self(Inner::EcdsaP256(key)))
    }

    fn rsa(data: &[u8]) -> Result<Self, PublicKeyError> {
        let spki = message::rsa_data(data, rsa::SPKI_MAX).map_err(|_| PublicKeyError::RsaEncoding)?;
        match RsaKey::from_spki(spki) {
            Ok(key) => Ok(Self(Inner::Rsa(key))),
            Err(rsa::Refused::Encoding) => Err(PublicKeyError::RsaEncoding),
            Err(rsa::Refused::Bits(bits)) => Err(PublicKeyError::RsaBits(bits)),
            Err(rsa::Refused::Numbers) => Err(PublicKeyError::RsaNumbers),
        }
    }

    /// The protobuf `PublicKey` message of libp2p: 36 bytes (Ed25519), 37 (secp256k1), 95 (P-256), at most
    /// [`PUBLIC_KEY_MAX`] (RSA).
    pub fn to_protobuf(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match &self.0 {
            Inner::Ed25519(key) => {
                out.extend_from_slice(&message::header(message::ED25519, 32));
                out.extend_from_slice(key.as_bytes());
            }
            Inner::Secp256k1(key) => {
                out.extend_from_slice(&message::header(message::SECP256K1, 33));
                out.extend_from_slice(key.to_sec1_point(true).as_bytes());
            }
            Inner::EcdsaP256(key) => {
                out.extend_from_slice(&message::header(message::ECDSA, P256_SPKI));
                out.extend_from_slice(&P256_SPKI_HEAD);
                out.extend_from_slice(key.to_sec1_point(false).as_bytes());
            }
            Inner::Rsa(key) => message::put_rsa(&mut out, key.spki()),
        }
        out
    }

    /// Which kind of key this is.
    pub fn kind(&self) -> KeyKind {
        match self.0 {
            Inner::Ed25519(_) => KeyKind::Ed25519,
            Inner::Secp256k1(_) => KeyKind::Secp256k1,
            Inner::EcdsaP256(_) => KeyKind::EcdsaP256,
            Inner::Rsa(_) => KeyKind::Rsa,
        }
    }

    /// The id of the peer that holds this key.
    pub fn peer_id(&self) -> PeerId {
        PeerId::from_public_key(self)
    }

    /// Checks that the holder of this key signed `message`.
    ///
    /// Ed25519 is verified strictly (no small-order commitment), secp256k1 only with a low S, as BIP-62 has it, so that a
    /// third party cannot turn one valid signature into another; P-256 takes either S, as the libp2p specification does. RSA is
    /// PKCS #1 v1.5 with SHA-256.
    ///
    /// # Errors
    /// [`BadSignature`] where the signature is malformed or does not fit.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        match &self.0 {
            Inner::Ed25519(key) => {
                let signature = ed25519_dalek::Signature::from_slice(signature).map_err(|_| BadSignature)?;
                key.verify_strict(message, &signature).map_err(|_| BadSignature)
            }
            Inner::Secp256k1(key) => {
                let signature = k256::ecdsa::Signature::from_der(signature).map_err(|_| BadSignature)?;
                if signature.normalize_s() != signature {
                    return Err(BadSignature);
                }
                key.verify(message, &signature).map_err(|_| BadSignature)
            }
            Inner::EcdsaP256(key) => {
                let signature = p256::ecdsa::Signature::from_der(signature).map_err(|_| BadSignature)?;
                key.verify(message, &signature).map_err(|_| BadSignature)
            }
            Inner::Rsa(key) => key.verifies(message, signature).then_some(()).ok_or(BadSignature),
        }
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({:?}, {})", self.kind(), self.peer_id())
    }
}

fn wrong_length(kind: KeyKind, data: &[u8]) -> PublicKeyError {
    PublicKeyError::Length { kind, len: data.len() }
}
