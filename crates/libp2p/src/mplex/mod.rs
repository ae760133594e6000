//! mplex: streams over one connection without windows. Deprecated; for peers that have nothing better.
//!
//! - a message is a varint header (the stream's number and three bits of flag), a varint length, and so many bytes;
//! - whoever opens a stream gives it a number of its own; the flag says whose number it is;
//! - close ends one direction, reset both. There is no code, no acknowledgement, no ping, and no credit.
//!
//! Threat: a peer may send on any stream as much as it likes. What is unread is bounded for the whole connection:
//! [`Mplex::room`] says when the transport must stop reading, which stalls all streams. Where that lasts and next to nothing is read,
//! the fullest stream is reset. Streams are counted, messages are never allocated for, and what moves nothing has a rate, in messages
//! and in bytes.
//!
//! Source: libp2p specs `mplex/README.md`; `docs/spec/mplex.md`.

mod codec;
mod input;
mod output;
mod session;

pub use session::{Mplex, OpenError, Read, StreamId};

use std::time::Duration;

use serde::{Deserialize, Serialize};
use weir_base::{Fault, KIB, MIB, units};

/// The protocol's usual name.
pub const NAME: &str = "/mplex/6.7.0";
/// Bytes of a message, fixed by the specification.
pub const MESSAGE_MAX: u64 = 1 << 20;
/// The largest number of a stream that is taken: so many as yamux has. Other implementations count from 0, as this one does.
pub const NUMBER_MAX: u64 = (1 << 31) - 2;
/// With less room than this, in bytes, a transport may stop reading: the largest record of the security below. A
/// reader has stalled the connection then.
pub const LOW: usize = crate::yamux::LOW;
/// Bytes of data in a message of ours.
pub const DATA_MAX: usize = 16 * KIB;
/// Bytes of one stream that wait to be sent.
pub const QUEUE_MAX: usize = 64 * KIB;

/// A header or length that is no varint, or a number above 60 bits.
pub const BAD_HEADER: Fault = Fault::misbehaved("malformed header of an mplex message");
/// The flag that mplex does not define.
pub const FLAG: Fault = Fault::misbehaved("unknown flag of an mplex message");
/// A message above [`MESSAGE_MAX`].
pub const TOO_LONG: Fault = Fault::misbehaved("mplex message above 1 MiB");
/// A stream opened twice.
pub const OPENED_TWICE: Fault = Fault::misbehaved("mplex stream opened twice");
/// A message for a stream of this side that it never opened.
pub const UNKNOWN_STREAM: Fault = Fault::misbehaved("mplex message for a stream that was never opened");
/// Data after the close of its direction.
pub const AFTER_END: Fault = Fault::misbehaved("mplex data after its end");
/// Openings, resets, empty messages or bytes for nobody without end, or refusals that the peer does not read.
pub const STORM: Fault = Fault::misbehaved("storm of mplex messages that move nothing");

/// Limits of one connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Streams that the peer may have open at once; further ones are reset. Default: 256.
    pub max_inbound: u32,
    /// Streams that this side may have open at once; further opens are refused. Default: 256.
    pub max_outbound: u32,
    /// Unread bytes of all streams together, beyond which the transport stops reading. Default: 1 MiB.
    pub unread_max: usize,
    /// How long readers may stall the connection, taking less than [`LOW`] bytes, before the fullest stream is reset. Default: 5 s, as
    /// other implementations.
    #[serde(with = "units::duration")]
    pub patience: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self { max_inbound: 256, max_outbound: 256, unread_max: MIB, patience: Duration::from_secs(5) }
    }
}

impl Config {
    /// Checks every field.
    ///
    /// # Errors
    /// The field, and what would hold.
    pub fn validate(&self) -> Result<(), (&'static str, &'static str)> {
        if self.max_inbound == 0 || self.max_outbound == 0 {
            return Err(("mplex.max_inbound, mplex.max_outbound", "must be at least 1"));
        }
        if self.unread_max < 2 * LOW {
            return Err(("mplex.unread_max", "must be at least 128 KiB: two of the largest records"));
        }
        if self.patience.is_zero() {
            return Err(("mplex.patience", "must be above zero; 5 s is usual"));
        }
        Ok(())
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The peer opened a stream.
    Opened(StreamId),
    /// There is something to read, or an end, after a read that found nothing.
    Readable(StreamId),
    /// There is room to write, after there was none.
    Writable(StreamId),
    /// The stream is broken off, both ways: by the peer, or because its reader stalled the connection.
    Reset(StreamId),
    /// The peer did something wrong. The machine takes and sends nothing more.
    Faulted(Fault),
}

#[cfg(test)]
mod tests;
