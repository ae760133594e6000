//! Noise: encrypts a connection and proves who is at the other end.
//!
//! `Noise_XX_25519_ChaChaPoly_SHA256` with an empty prologue; each message is its length in two bytes, big-endian, and so many
//! bytes:
//!
//! 1. the dialler sends an ephemeral key;
//! 2. the listener answers with its own, its static key, and its payload: host key, the host key's signature over the static key,
//!    and the muxers it speaks;
//! 3. the dialler sends its static key and its payload, and may send application data in the same write.
//!
//! [`Handshake`] carries this out and comes to [`Secured`]: the peer, the muxer that both lists agree on, and a [`Sealer`] and
//! an [`Opener`] for what follows, which encrypt and decrypt records in place.
//!
//! Threat: whoever connects has not proved anything yet. Messages are bounded before they are kept, payloads and their lists are
//! counted, low-order points are refused, one deadline covers the handshake, and a dialler that expects a peer ends before it
//! has shown its own identity. A record that does not verify ends the connection.
//!
//! Source: libp2p specs `noise/README.md` r5 and `connections/inlined-muxer-negotiation.md` r1; the Noise Protocol Framework,
//! revision 34; `docs/spec/noise.md`.

mod handshake;
mod identity;
mod payload;
mod record;
mod resolver;
mod session;

pub use handshake::{Event, Handshake, NoSuite, Secured};
pub use identity::Identity;
pub use record::{Opener, PLAINTEXT_MAX, RECORD_MAX, Record, Sealer};
pub use session::Noise;

use std::time::Duration;

use weir_base::Fault;

/// The protocol's name.
pub const NAME: &str = "/noise";
/// How long the handshake may take.
pub const DEADLINE: Duration = Duration::from_secs(10);
/// Bytes of a handshake message, without its length: the keys, and a payload with the largest host key and signature.
pub const MESSAGE_MAX: usize = 4_096;

/// A message that is longer than [`MESSAGE_MAX`], or too short for what it must carry.
pub const BAD_LENGTH: Fault = Fault::misbehaved("noise handshake message of a length that cannot be");
/// A message that does not verify, or a key that is no point.
pub const FORGED: Fault = Fault::misbehaved("noise handshake message does not verify");
/// A payload that is not protobuf, has a field twice or too many entries, or comes too early.
pub const BAD_PAYLOAD: Fault = Fault::misbehaved("malformed noise payload");
/// A host key of a kind that Weir does not take.
pub const OTHER_KEY: Fault = Fault::incompatible("host key of an unsupported kind");
/// A host key that is none.
pub const BAD_KEY: Fault = Fault::misbehaved("malformed host key in the noise payload");
/// The host key did not sign the static key.
pub const BAD_SIGNATURE: Fault = Fault::misbehaved("the host key did not sign the noise key");
/// Another peer than the one that was dialled.
pub const WRONG_PEER: Fault = Fault::incompatible("another peer at this address");
/// Both sides have muxers, and none in common.
pub const NO_MUXER: Fault = Fault::incompatible("no muxer in common");
/// The handshake took too long.
pub const LATE: Fault = Fault::unreliable("noise handshake not finished in time");
/// A record that does not verify, or is shorter than its tag. Nobody is known to have sent it: a path that turns a bit which TCP's
/// checksum misses makes it, and so does anybody on the path.
pub const BAD_RECORD: Fault = Fault::unreliable("noise record does not verify");

/// What the host key signs: this, then the static key.
const SIGNED_PREFIX: &[u8] = b"noise-libp2p-static-key:";

/// Bytes of a tag.
const TAG: usize = 16;

/// Noise's nonces: four zeroes, then the counter, little-endian.
fn nonce(counter: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    for (slot, byte) in nonce.iter_mut().skip(4).zip(counter.to_le_bytes()) {
        *slot = byte;
    }
    nonce
}

#[cfg(test)]
mod tests;
