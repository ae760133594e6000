//! Who a peer is and what it speaks: libp2p's `/ipfs/id/1.0.0` and `/ipfs/id/push/1.0.0`, both sides of both.
//!
//! - whoever opens an *identify* stream is told about the other side, which then ends it;
//! - whoever opens a *push* stream tells about itself, and ends it: what is absent is as before.
//!
//! What is told is one message after another ([`Info`]), each with its length before it: key, agent, protocols, addresses, the
//! address at which the reader was seen, and a signed peer record.
//!
//! Threat: a peer may send without end, lists of any length, keys and records of others, and pushes in storms. All that one
//! stream carries is bounded before it is kept, entries are counted before they are taken, a key or record that is not the
//! link's peer is a fault, and pushes have a pause between them.
//!
//! Source: libp2p specs, `identify/README.md` r1; field 8 as go-libp2p and rust-libp2p send it; `docs/spec/identify.md`.

mod message;
mod reader;
mod user;

pub use message::{
    ADDRESSES_MAX, DecodeError, Info, MESSAGE_MAX, MESSAGES_MAX, PROTOCOLS_MAX, SENT_MAX, TEXT_MAX, decode,
    encode,
};
pub use user::{Event, Identify};

use std::time::Duration;

use serde::{Deserialize, Serialize};
use weir_base::{Fault, LimitError, units};

/// The protocol's name on libp2p.
pub const NAME: &str = "/ipfs/id/1.0.0";
/// That of pushes.
pub const PUSH_NAME: &str = "/ipfs/id/push/1.0.0";

/// A message that is too long, not protobuf, or has too many entries; or too many messages.
pub const MALFORMED: Fault = Fault::misbehaved("malformed identify message");
/// A key or a record of somebody else.
pub const NOT_ITS_OWN: Fault = Fault::misbehaved("identify with a key or record of another peer");
/// Too many streams that had to be refused: more than 100 at once, or than ten a second after that.
pub const STORM: Fault = Fault::misbehaved("storm of identify streams");
/// A stream that was opened to say something, and is not at its end in time.
pub const LATE: Fault = Fault::unreliable("identify not said in time");

/// When to ask, and how much to answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How long one stream may take. Default: 10 s.
    #[serde(with = "units::duration")]
    pub timeout: Duration,
    /// Streams that one peer may have open here at once, for identify and for push each. Default: 2.
    pub max_inbound: u32,
    /// Pause between two pushes of one peer; one that comes earlier is refused. Default: 1 s.
    #[serde(with = "units::duration")]
    pub pause: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(10), max_inbound: 2, pause: Duration::from_secs(1) }
    }
}

impl Config {
    /// Checks every field.
    ///
    /// # Errors
    /// The first field that does not hold, and what would.
    pub fn validate(&self) -> Result<(), LimitError> {
        if self.timeout.is_zero() {
            return Err(LimitError::new("timeout", "must be above zero; 10 s is usual"));
        }
        if self.max_inbound == 0 {
            return Err(LimitError::new("max_inbound", "must be at least 1; 2 is usual"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
