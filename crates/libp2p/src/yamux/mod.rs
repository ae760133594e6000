//! yamux: many byte streams over one, each with a window of its own.
//!
//! - a frame is a header of 12 bytes (version, type, flags, stream, length) and, for data, so many bytes;
//! - the dialler's streams are odd, the listener's even; the first frame of a stream has SYN, the first answer ACK;
//! - each stream starts with 256 KiB of window each way; what a reader takes is advertised again, and a window doubles while its
//!   reader empties it within four round trips and the budget that the caller gives has room;
//! - FIN ends one direction, RST both; a reset carries a 32-bit code where its length field would say a window;
//! - pings measure the round trip and find out whether the peer is there; go-away announces the end.
//!
//! What is read and written moves by [`Yamux::read`] and [`Yamux::write`]; nothing is encoded before
//! [`Yamux::poll_transmit`] asks.
//!
//! Threat: every field of a header can be wrong, streams can be opened without end, never be read, reset in storms, and
//! windows be overrun or overflow. Streams and unacknowledged ones are counted, bytes beyond a window and credit beyond 32 bits
//! are faults, frames that move nothing have a rate, bytes for a stream that is gone stay within the window it had, and [`Yamux::room`] says when what is unread has reached the limit
//! of the whole connection, so that the transport stops reading.
//!
//! Source: libp2p specs `yamux/README.md` r0; reset codes as go-libp2p sends them; `docs/spec/yamux.md`.

mod frame;
mod idle;
mod input;
mod output;
mod ping;
mod session;
mod stream;

pub use session::{OpenError, Read, Yamux};

use std::time::Duration;

use serde::{Deserialize, Serialize};
use weir_base::{Fault, KIB, MIB, units};

/// The protocol's usual name. Some networks use another one (Mina: `/coda/yamux/1.0.0`); the caller that negotiates chooses it.
pub const NAME: &str = "/yamux/1.0.0";
/// The window that every stream has at birth, in bytes. Fixed by the specification.
pub const WINDOW_MIN: u32 = 256 * 1024;
/// Streams of one side that the other has not acknowledged. Fixed by the specification.
pub const ACK_BACKLOG: usize = 256;
/// Bytes of data in a frame of ours: what a TLS record holds, and small enough that no stream waits long for another.
pub const FRAME_MAX: usize = 16 * KIB;
/// With less room than this, in bytes, a transport may stop reading: the largest record of the security below. An answer to a ping
/// may lie behind it then, and is not missed.
pub const LOW: usize = 65_535;
/// Bytes of one stream that wait to be sent.
pub const QUEUE_MAX: usize = 64 * KIB;

/// Another version than 0.
pub const VERSION: Fault = Fault::incompatible("another version of yamux");
/// A type that yamux does not define.
pub const TYPE: Fault = Fault::misbehaved("unknown type of a yamux frame");
/// A stream where the connection belongs, or the other way round.
pub const WRONG_STREAM: Fault = Fault::misbehaved("yamux frame for a stream that cannot be");
/// A frame for a stream that was never opened.
pub const UNKNOWN_STREAM: Fault = Fault::misbehaved("yamux frame for a stream that was never opened");
/// A stream opened twice.
pub const OPENED_TWICE: Fault = Fault::misbehaved("yamux stream opened twice");
/// More bytes than the window allowed.
pub const OVERRUN: Fault = Fault::misbehaved("yamux data beyond the window");
/// Credit above 32 bits.
pub const CREDIT: Fault = Fault::misbehaved("yamux window update beyond 32 bits");
/// Data after the end of its direction.
pub const AFTER_END: Fault = Fault::misbehaved("yamux data after its end");
/// Refusals pile up that the peer does not read, or frames that move nothing come without end.
pub const STORM: Fault = Fault::misbehaved("storm of yamux frames that move nothing");
/// No answer to a ping.
pub const SILENT: Fault = Fault::unreliable("no answer to a yamux ping");

/// Codes of resets that this machine sends by itself, as go-libp2p numbers them.
pub mod code {
    /// Nothing in particular.
    pub const NONE: u32 = 0;
    /// The limit of streams is reached.
    pub const LIMIT: u32 = 0x1002;
    /// The connection is closing.
    pub const CLOSING: u32 = 0x1007;
}

/// Codes of go-away.
pub mod away {
    /// The end, without any reason.
    pub const NORMAL: u32 = 0;
    /// The peer broke the protocol.
    pub const PROTOCOL: u32 = 1;
    /// This side failed.
    pub const INTERNAL: u32 = 2;
}

/// Limits of one connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Streams that the peer may have open at once; further ones are reset with [`code::LIMIT`]. Default: 512.
    pub max_inbound: u32,
    /// Streams that this side may have open at once; further opens are refused. Default: 1,024.
    pub max_outbound: u32,
    /// The largest window of one stream, in bytes. Default: 16 MiB.
    pub window_max: u32,
    /// Unread bytes of all streams together, beyond which the transport stops reading. Default: 1 MiB.
    pub unread_max: usize,
    /// Pause between two pings, which go out on full seconds. Default: 30 s.
    #[serde(with = "units::duration")]
    pub interval: Duration,
    /// How long an answer to a ping may take. Default: 10 s.
    #[serde(with = "units::duration")]
    pub timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_inbound: 512,
            max_outbound: 1_024,
            window_max: 16 * 1024 * 1024,
            unread_max: MIB,
            interval: Duration::from_secs(30),
            timeout: Duration::from_secs(10),
        }
    }
}

impl Config {
    /// Checks every field.
    ///
    /// # Errors
    /// The field, and what would hold.
    pub fn validate(&self) -> Result<(), (&'static str, &'static str)> {
        if self.max_inbound == 0 || self.max_outbound == 0 {
            return Err(("yamux.max_inbound, yamux.max_outbound", "must be at least 1"));
        }
        if self.window_max < WINDOW_MIN {
            return Err(("yamux.window_max", "must be at least 256 KiB, which every stream has at birth"));
        }
        if self.unread_max < WINDOW_MIN as usize + LOW {
            return Err((
                "yamux.unread_max",
                "must be at least 320 KiB: the window of one stream and a record",
            ));
        }
        if self.interval.is_zero() || self.timeout.is_zero() {
            return Err(("yamux.interval, yamux.timeout", "must be above zero; 30 s and 10 s are usual"));
        }
        Ok(())
    }
}

/// Which side of the connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Its streams are odd.
    Dialler,
    /// Its streams are even.
    Listener,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The peer opened a stream. [`Yamux::accept`] or [`Yamux::reset`] answers.
    Opened(u32),
    /// There is something to read, or an end, after a read that found nothing.
    Readable(u32),
    /// There is room to write, after there was none.
    Writable(u32),
    /// The peer broke a stream off, both ways, with this code. What was unread is gone, but for a direction that had ended.
    Reset(u32, u32),
    /// A stream can be opened, after [`OpenError::Limit`].
    Openable,
    /// A round trip.
    Rtt(Duration),
    /// The peer will end the connection, with this code; it takes no new streams.
    Away(u32),
    /// The peer did something wrong. The machine takes nothing more; what is left to send is the reason.
    Faulted(Fault),
}

#[cfg(test)]
mod tests;
