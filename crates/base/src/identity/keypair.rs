//! Key pairs: the secret half of an identity.

use std::fmt;
use std::ops::Deref;

use k256::ecdsa::signature::Signer as _;
use k256::elliptic_curve::zeroize::Zeroize as _;

use super::{KeyKind, PeerId, PublicKey, message, public_key};

/// A key pair that signs for this node. The secret is overwritten in memory when the last clone is dropped, and `Debug` shows
/// the public half only.
///
/// ```
/// # use weir_base as weir;
/// use weir::Keypair;
///
/// let keypair = Keypair::ed25519_from_seed([1; 32]); // for tests; a node keeps its own in a file
/// let signature = keypair.sign(b"a head");
/// assert_eq!(keypair.public().verify(b"a head", &signature), Ok(()));
/// assert!(keypair.public().verify(b"another", &signature).is_err());
/// ```
#[derive(Clone)]
pub struct Keypair(Inner);

#[derive(Clone)]
enum Inner {
    Ed25519(Box<ed25519_dalek::SigningKey>),
    Secp256k1(Box<k256::ecdsa::SigningKey>),
}

/// Why bytes are no private key that Weir can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrivateKeyError {
    /// Not the one encoding that libp2p demands: both fields, in order, minimal, nothing else.
    #[error("not a libp2p private key message")]
    Encoding,
    /// A kind of key that Weir does not sign with (RSA, ECDSA, or one that libp2p does not define).
    #[error("private keys of type {0} are not supported; create an Ed25519 (1) or secp256k1 (2) key")]
    Unsupported(u8),
    /// The data has another length than keys of this kind have.
    #[error("{kind:?} private key data of {len} bytes")]
    Length {
        /// The kind that the message names.
        kind: KeyKind,
        /// Bytes of data in the message.
        len: usize,
    },
    /// The public key stored with the secret is not the secret's.
    #[error("the stored public key does not belong to the stored secret; the file is damaged")]
    Mismatch,
    /// Zero, or not below the order of the curve.
    #[error("not a valid secp256k1 secret")]
    OutOfRange,
}

impl Keypair {
    /// The Ed25519 key pair of an RFC 8032 seed. Every seed is valid; the same seed gives the same identity.
    pub fn ed25519_from_seed(mut seed: [u8; 32]) -> Self {
        let key = Box::new(ed25519_dalek::SigningKey::from_bytes(&seed));
        seed.zeroize();
        Self(Inner::Ed25519(key))
    }

    /// The secp256k1 key pair of a secret scalar, big-endian.
    ///
    /// # Errors
    /// [`PrivateKeyError::OutOfRange`] for zero and for values that are not below the order of the curve.
    pub fn secp256k1_from_bytes(mut secret: [u8; 32]) -> Result<Self, PrivateKeyError> {
        let key = k256::ecdsa::SigningKey::from_slice(&secret);
        secret.zeroize();
        key.map(|key| Self(Inner::Secp256k1(Box::new(key)))).map_err(|_| PrivateKeyError::OutOfRange)
    }

    /// Decodes the protobuf `PrivateKey` message in which libp2p implementations store keys.
    ///
    /// # Errors
    /// [`PrivateKeyError`], which says what is wrong without showing any secret byte.
    pub fn from_protobuf(bytes: &[u8]) -> Result<Self, PrivateKeyError> {
        let key = message::decode(bytes).ok_or(PrivateKeyError::Encoding)?;
        match key.kind {
            message::ED25519 => Self::ed25519_from_message(key.data),
            message::SECP256K1 => <[u8; 32]>::try_from(key.data)
                .map_err(|_| wrong_length(KeyKind::Secp256k1, key.data))
                .and_then(Self::secp256k1_from_bytes),
            other => Err(PrivateKeyError::Unsupported(other)),
        }
    }

    /// `secret || public`, or the older `secret || public || public`.
    fn ed25519_from_message(data: &[u8]) -> Result<Self, PrivateKeyError> {
        let length = || wrong_length(KeyKind::Ed25519, data);
        let (seed, publics) = data.split_first_chunk::<32>().ok_or_else(length)?;
        if !matches!(publics.len(), 32 | 64) {
            return Err(length());
        }
        let key = ed25519_dalek::SigningKey::from_bytes(seed);
        let own = key.verifying_key();
        if publics.chunks(32).any(|stored| stored != own.as_bytes()) {
            return Err(PrivateKeyError::Mismatch);
        }
        Ok(Self(Inner::Ed25519(Box::new(key))))
    }

    /// The protobuf `PrivateKey` message of libp2p, in the preferred 64-byte form for Ed25519.
    pub fn to_protobuf(&self) -> SecretBytes {
        // The exact capacity: a vector that grows would leave a copy of the secret behind.
        let mut out = Vec::with_capacity(message::HEADER + 64);
        match &self.0 {
            Inner::Ed25519(key) => {
                out.extend_from_slice(&message::header(message::ED25519, 64));
                out.extend_from_slice(key.as_bytes());
                out.extend_from_slice(key.verifying_key().as_bytes());
            }
            Inner::Secp256k1(key) => {
                let mut secret = key.to_bytes();
                out.extend_from_slice(&message::header(message::SECP256K1, 32));
                out.extend_from_slice(&secret);
                secret.as_mut_slice().zeroize();
            }
        }
        SecretBytes(out)
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(match &self.0 {
            Inner::Ed25519(key) => public_key::Inner::Ed25519(key.verifying_key()),
            Inner::Secp256k1(key) => public_key::Inner::Secp256k1(*key.verifying_key()),
        })
    }

    /// The id under which peers know the holder of this key.
    pub fn peer_id(&self) -> PeerId {
        self.public().peer_id()
    }

    /// Which kind of key this is.
    pub fn kind(&self) -> KeyKind {
        match self.0 {
            Inner::Ed25519(_) => KeyKind::Ed25519,
            Inner::Secp256k1(_) => KeyKind::Secp256k1,
        }
    }

    /// Signs `message`: 64 bytes for Ed25519, DER of at most 72 bytes for secp256k1. Deterministic for both kinds
    /// (RFC 8032, RFC 6979), so that it needs no randomness.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        match &self.0 {
            Inner::Ed25519(key) => key.sign(message).to_vec(),
            Inner::Secp256k1(key) => {
                let signature: k256::ecdsa::Signature = key.sign(message);
                signature.normalize_s().to_der().as_bytes().to_vec()
            }
        }
    }
}

impl fmt::Debug for Keypair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keypair({:?}, {})", self.kind(), self.peer_id())
    }
}

/// Bytes that are overwritten when dropped and that `Debug` does not show.
pub struct SecretBytes(Vec<u8>);

impl Deref for SecretBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for SecretBytes {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretBytes({} bytes)", self.0.len())
    }
}

fn wrong_length(kind: KeyKind, data: &[u8]) -> PrivateKeyError {
    PrivateKeyError::Length { kind, len: data.len() }
}
