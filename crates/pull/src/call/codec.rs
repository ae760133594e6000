//! The bytes of a call's messages (`docs/spec/call.md`).

use std::time::Duration;

use bytes::Bytes;
use weir_base::Instant;
use weir_base::codec::{Malformed, Reader, VARINT_MAX, put_varint};

pub use super::types::OVERHEAD;
use super::types::Refusal;
use crate::framing::Message;

/// Type of a request, from the caller.
pub const REQUEST: u64 = 0;
/// Type of a response, from the server.
pub const RESPONSE: u64 = 0;
/// Type of a refusal, from the server.
pub const REFUSAL: u64 = 2;
/// The longest time on the wire, in milliseconds.
const MAX_MILLIS: u64 = 3_600_000;

/// What a caller sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// The request.
    Request {
        /// How long the caller waits.
        patience: Duration,
        /// The request.
        request: Bytes,
    },
    /// A type that need not be understood.
    Skipped,
    /// A type that must be understood, and is not known.
    Unknown,
}

/// What a server sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The response.
    Response(Bytes),
    /// Not now.
    Refusal(Refusal),
    /// A type that need not be understood.
    Skipped,
    /// A type that must be understood, and is not known.
    Unknown,
}

impl Ask {
    /// Reads a caller's message.
    pub fn decode(mut message: Message) -> Result<Self, Malformed> {
        match message.kind {
            REQUEST => {
                let mut reader = Reader::new(&message.body);
                let millis = reader.varint(MAX_MILLIS)?;
                if millis == 0 {
                    return Err(Malformed::Value);
                }
                let head = message.body.len() - reader.rest().len();
                let request = message.body.split_off(head);
                Ok(Self::Request { patience: Duration::from_millis(millis), request })
            }
            kind if Message::skippable(kind) => Ok(Self::Skipped),
            _ => Ok(Self::Unknown),
        }
    }
}

impl Answer {
    /// Reads a server's message.
    pub fn decode(message: Message) -> Result<Self, Malformed> {
        match message.kind {
            RESPONSE => Ok(Self::Response(message.body)),
            REFUSAL => {
                let mut reader = Reader::new(&message.body);
                let retry_after = Duration::from_millis(reader.varint(MAX_MILLIS)?);
                reader.finish()?;
                Ok(Self::Refusal(Refusal { retry_after }))
            }
            kind if Message::skippable(kind) => Ok(Self::Skipped),
            _ => Ok(Self::Unknown),
        }
    }
}

/// A varint of milliseconds, without an allocation.
#[derive(Clone, Copy, Debug)]
pub struct Millis {
    bytes: [u8; VARINT_MAX],
    len: usize,
}

impl Millis {
    /// What a request says: the time left until `deadline`, at least a millisecond.
    pub fn patience(now: Instant, deadline: Instant) -> Self {
        Self::new(deadline.since(now).max(Duration::from_millis(1)))
    }

    /// `pause` in whole milliseconds, at most an hour.
    pub fn new(pause: Duration) -> Self {
        let millis = u64::try_from(pause.as_millis()).unwrap_or(MAX_MILLIS).min(MAX_MILLIS);
        let mut bytes = [0; VARINT_MAX];
        let mut rest = &mut bytes[..];
        put_varint(&mut rest, millis);
        let len = VARINT_MAX - rest.len();
        Self { bytes, len }
    }

    /// The encoded bytes.
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}
