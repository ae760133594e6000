//! This node as it shows itself in handshakes.

use std::fmt;

use weir_base::{Keypair, PeerId, Rng};
use x25519_dalek::{PublicKey, StaticSecret};

use super::SIGNED_PREFIX;

/// A static key of this process, and the host key's signature over it. Made once: a handshake signs nothing.
pub struct Identity {
    secret: StaticSecret, // overwritten when dropped
    key: Vec<u8>,         // the host key's message
    signature: Vec<u8>,
    peer: PeerId,
}

impl Identity {
    /// Draws 32 bytes of `rng`, which must be secret.
    pub fn new(keypair: &Keypair, rng: &mut Rng) -> Self {
        Self::with_secret(keypair, rng.bytes())
    }

    pub(super) fn with_secret(keypair: &Keypair, secret: [u8; 32]) -> Self {
        let secret = StaticSecret::from(secret);
        let public = PublicKey::from(&secret).to_bytes();
        Self {
            secret,
            key: keypair.public().to_protobuf(),
            signature: keypair.sign(&signed_bytes(&public)),
            peer: keypair.peer_id(),
        }
    }

    /// One that shows whatever a test wants.
    #[cfg(test)]
    pub(super) fn with_payload(secret: [u8; 32], key: Vec<u8>, signature: Vec<u8>) -> Self {
        let peer = Keypair::ed25519_from_seed([1; 32]).peer_id();
        Self { secret: StaticSecret::from(secret), key, signature, peer }
    }

    /// The id that peers will see.
    pub fn peer_id(&self) -> PeerId {
        self.peer
    }

    pub(super) fn secret(&self) -> &[u8; 32] {
        self.secret.as_bytes()
    }

    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }

    pub(super) fn signature(&self) -> &[u8] {
        &self.signature
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("peer", &self.peer).finish_non_exhaustive()
    }
}

/// What a host key signs about a static key.
pub(super) fn signed_bytes(public: &[u8]) -> Vec<u8> {
    [SIGNED_PREFIX, public].concat()
}
