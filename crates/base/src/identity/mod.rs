//! Who a node is: key pairs, public keys and peer ids in libp2p's format.
//!
//! - [`Keypair`] signs. It is Ed25519 (the default everywhere) or secp256k1 (Ethereum's consensus clients).
//! - [`PublicKey`] verifies. Besides these two it may be ECDSA over P-256 or RSA, which some peers hold but Weir never creates.
//! - [`PeerId`] names. It is a multihash of the encoded public key, `Copy`, and ordered by its bytes.
//!
//! Threat: keys and ids arrive from strangers. Every decoder is strict (one encoding per key, no trailing bytes) and bounded
//! by the format itself, so that two different byte strings never stand for the same identity.
//!
//! Source: libp2p specs, `peer-ids/peer-ids.md`; `docs/spec/identity.md`.

mod keypair;
mod message;
mod peer_id;
mod public_key;
mod rsa;
#[cfg(test)]
mod tests;

pub use keypair::{Keypair, PrivateKeyError, SecretBytes};
pub use peer_id::{PEER_ID_MAX, ParsePeerIdError, PeerId, PeerIdError};
pub use public_key::{BadSignature, PUBLIC_KEY_MAX, PublicKey, PublicKeyError, SIGNATURE_MAX};
pub use rsa::{RSA_BITS_MAX, RSA_BITS_MIN};

/// The kinds of key that libp2p defines and Weir can verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyKind {
    /// Ed25519 (RFC 8032). Signatures are 64 bytes.
    Ed25519,
    /// ECDSA over secp256k1 with SHA-256. Signatures are DER with a low S (BIP-62), at most 72 bytes.
    Secp256k1,
    /// ECDSA over P-256 with SHA-256. Signatures are DER, at most 72 bytes. Verified only, never held.
    EcdsaP256,
    /// RSA of 2,048 to 8,192 bits, PKCS #1 v1.5 with SHA-256. Signatures are as long as the modulus. Verified only, never held.
    Rsa,
}
