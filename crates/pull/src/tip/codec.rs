//! The bytes of a tip's messages (`docs/spec/tip.md`).

use bytes::Bytes;
use weir_base::codec::{Malformed, Reader, VARINT_MAX, put_varint};

use crate::framing::Message;

/// Type of [`FromClient::Want`].
pub const WANT: u64 = 0;
/// Type of [`FromServer::Tip`].
pub const TIP: u64 = 2;
/// Type of [`FromServer::Evidence`].
pub const EVIDENCE: u64 = 4;
/// Type of [`FromServer::Withdrawn`].
pub const WITHDRAWN: u64 = 6;
/// The largest message of a client, in bytes; also room for what is skipped.
pub const MAX_WANT: usize = 64;
/// Bytes that a server's message is larger than its value, at most.
pub const OVERHEAD: usize = 1;

/// What the side that wants tips sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FromClient {
    /// One message may be sent.
    Want {
        /// How many of the server's messages were processed.
        processed: u64,
    },
    /// A type that need not be understood.
    Skipped,
    /// A type that must be understood, and is not known.
    Unknown,
}

/// What the other side sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromServer {
    /// Its tip.
    Tip(Bytes),
    /// A second value of a slot.
    Evidence(Bytes),
    /// The last tip is taken back.
    Withdrawn,
    /// A type that need not be understood.
    Skipped,
    /// A type that must be understood, and is not known.
    Unknown,
}

impl FromClient {
    /// Reads a client's message.
    pub fn decode(message: &Message) -> Result<Self, Malformed> {
        match message.kind {
            WANT => {
                let mut reader = Reader::new(&message.body);
                let processed = reader.varint(u64::MAX)?;
                reader.finish()?;
                Ok(Self::Want { processed })
            }
            kind if Message::skippable(kind) => Ok(Self::Skipped),
            _ => Ok(Self::Unknown),
        }
    }
}

impl FromServer {
    /// Reads a server's message. The value shares its buffer.
    pub fn decode(message: Message) -> Result<Self, Malformed> {
        match message.kind {
            TIP | EVIDENCE if message.body.is_empty() => Err(Malformed::Truncated),
            TIP => Ok(Self::Tip(message.body)),
            EVIDENCE => Ok(Self::Evidence(message.body)),
            WITHDRAWN if message.body.is_empty() => Ok(Self::Withdrawn),
            WITHDRAWN => Err(Malformed::Trailing),
            kind if Message::skippable(kind) => Ok(Self::Skipped),
            _ => Ok(Self::Unknown),
        }
    }
}

/// The fields of a `Want`: the array, and how many bytes of it count.
pub fn want(processed: u64) -> ([u8; VARINT_MAX], usize) {
    let mut bytes = [0; VARINT_MAX];
    let mut rest = &mut bytes[..];
    put_varint(&mut rest, processed);
    let len = VARINT_MAX - rest.len();
    (bytes, len)
}
