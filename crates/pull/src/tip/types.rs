//! What a tip channel is told, and tells.

use std::time::Duration;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use weir_base::identity::PeerId;
use weir_base::stream::Class;
use weir_base::{LimitError, LinkId, UnixTime};

use crate::machine::Ticket;

/// The largest value the protocol carries, in bytes.
pub const MAX_VALUE: u32 = 1024;

/// The limits of a tip channel.
#[derive(Clone, Debug)]
pub struct Config {
    /// The largest value, in bytes: 1 to [`MAX_VALUE`]. Default: 1,024.
    pub max_value: u32,
    /// Values per second on one link, in the long run; the profile's, the same on all nodes. Default: 10.
    pub rate: u32,
    /// Values that may come at once above the rate. Default: 20.
    pub burst: u32,
    /// Slot keys remembered, the oldest dropped first. Default: 4,096.
    pub max_slots: u32,
    /// A value is relayed only with at most so many ancestors whose bodies are not validated. Default: 2.
    pub max_unvalidated: u32,
    /// How far before its slot by wall clock a value is relayed. Default: 500 ms.
    pub early: Duration,
    /// How it ranks where bytes compete. Default: [`Class::Tip`].
    pub class: Class,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_value: MAX_VALUE,
            rate: 10,
            burst: 20,
            max_slots: 4096,
            max_unvalidated: 2,
            early: Duration::from_millis(500),
            class: Class::Tip,
        }
    }
}

impl Config {
    /// Checks every field; names the first that does not hold, and the remedy.
    pub(crate) fn validate(&self) -> Result<(), LimitError> {
        if self.max_value == 0 || self.max_value > MAX_VALUE {
            return Err(LimitError::new("max_value", "must be between 1 and 1024"));
        }
        if self.rate == 0 || self.burst == 0 {
            let field = if self.rate == 0 { "rate" } else { "burst" };
            return Err(LimitError::new(field, "must be at least 1"));
        }
        if self.max_slots == 0 {
            return Err(LimitError::new("max_slots", "must be at least 1; 4096 is usual"));
        }
        Ok(())
    }
}

/// What a value competes for: the application's name for signer and height or slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotKey(pub [u8; 32]);

impl SlotKey {
    /// The key itself, for applications that have one of 32 bytes.
    pub const fn new(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// The key of what `parts` name together, say a signer and a height: the SHA-256 of each part behind its length (8 bytes,
    /// the most significant first), so that parts never run into each other.
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }
}

/// What decides whether a value may be relayed now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grounds {
    /// At most two values of one slot key are relayed, the second as evidence.
    pub slot: SlotKey,
    /// Ancestors whose bodies are not validated yet.
    pub unvalidated: u32,
    /// When the slot begins by wall clock; `None` where values have none.
    pub begins: Option<UnixTime>,
}

/// What the application decided on a received value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Better than the current value: it becomes the tip here and is relayed, unless its slot has two values already, or
    /// too many ancestors are not validated; publish it once they are.
    Adopt(Grounds),
    /// Not better, but relayed where it is the second value of its slot key: evidence.
    Evidence(Grounds),
    /// Nobody's fault; not relayed.
    Ignore,
    /// Wrong on stateless grounds: the peer's fault.
    Reject,
}

/// What the application wants of a tip channel.
#[derive(Clone, Debug)]
pub enum Command {
    /// This node's tip from now on.
    Publish {
        /// Its bytes.
        value: Bytes,
        /// What decides whether it is sent now.
        grounds: Grounds,
    },
    /// The current tip, or the one that waits for its slot, proved invalid or unobtainable: there is none until the next
    /// is published or adopted, and the peers that have it are told.
    Withdraw,
    /// Decides on a received value; only then the peer may send the next.
    Verdict {
        /// Names it.
        ticket: Ticket,
        /// The decision.
        verdict: Verdict,
    },
}

/// What a tip channel tells the application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A peer's tip, or evidence. Waits for a verdict.
    Received {
        /// Names it in the verdict.
        ticket: Ticket,
        /// The link.
        link: LinkId,
        /// Who sent it.
        peer: PeerId,
        /// The value.
        value: Bytes,
    },
    /// A peer took back the tip it sent last.
    Withdrawn {
        /// The link.
        link: LinkId,
        /// Who.
        peer: PeerId,
        /// The value taken back.
        value: Bytes,
    },
}
