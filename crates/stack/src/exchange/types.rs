//! What the user says and hears of requests by name.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use weir_base::identity::PeerId;
use weir_base::stream::Class;
use weir_base::{Instant, ProtocolId, StreamKey};
use weir_pull::Ticket;
use weir_pull::framing::code;

use super::framing::{BadFrame, Framing, READ_AHEAD};

/// A protocol of requests and responses.
#[derive(Clone, Debug)]
pub struct Config {
    /// How messages lie in a stream.
    pub framing: Arc<dyn Framing>,
    /// What it may take.
    pub limits: Limits,
}

impl Config {
    /// The largest message in its frame, either way, with what is read ahead: what a node's memory for requests must hold at least.
    pub(crate) fn largest(&self) -> u64 {
        let frame = |max: u32| self.framing.most(max as usize).saturating_add(READ_AHEAD);
        frame(self.limits.max_request).max(frame(self.limits.max_response)) as u64
    }
}

/// Limits of a protocol of requests and responses. All above 0.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The largest request in bytes, either way. Default: 64 KiB.
    pub max_request: u32,
    /// The largest response in bytes, either way. Default: 1 MiB.
    pub max_response: u32,
    /// For a request of this side's: until the response is whole. For one of a peer's, each: until it is whole, until it is answered,
    /// until the response is out. Default: 10 s.
    pub deadline: Duration,
    /// Exchanges with one peer at once, in each direction. Default: 8.
    pub per_peer: u32,
    /// Exchanges at once, in each direction. Default: 64.
    pub total: u32,
    /// How what this side writes ranks. Default: [`Class::Pool`].
    pub class: Class,
}

impl Limits {
    /// The defaults.
    pub const DEFAULT: Self = Self {
        max_request: 64 << 10,
        max_response: 1 << 20,
        deadline: Duration::from_secs(10),
        per_peer: 8,
        total: 64,
        class: Class::Pool,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What the user wants.
#[derive(Clone, Debug)]
pub enum Command {
    /// Asks a peer; [`Event::Answered`] with the ticket follows.
    Request {
        /// Whom.
        peer: PeerId,
        /// The first number of the protocol.
        protocol: ProtocolId,
        /// The request, not framed.
        request: Bytes,
        /// At most the protocol's; `None`: that.
        deadline: Option<Duration>,
    },
    /// Gives a request up. No event follows.
    Cancel(Ticket),
    /// Answers a request of a peer's.
    Respond(StreamKey, Bytes),
    /// Refuses a request of a peer's with a code of the application's.
    Refuse(StreamKey, u32),
}

/// What the user should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A request of this side's is over.
    Answered {
        /// The command.
        ticket: Ticket,
        /// The response, and the number of the name that was agreed on; or why there is none.
        result: Result<(ProtocolId, Bytes), Failure>,
    },
    /// A peer asks.
    Requested {
        /// Names the request.
        key: StreamKey,
        /// The number of the name that was agreed on.
        protocol: ProtocolId,
        /// Who.
        peer: PeerId,
        /// The request.
        request: Bytes,
        /// An answer that comes later is not sent.
        deadline: Instant,
    },
    /// A request that was told needs no answer any more.
    Cancelled(StreamKey),
    /// A peer sent no request that could be told, went on after its message, or did not take its response in time.
    Failed {
        /// Who.
        peer: PeerId,
        /// The number of the name that was agreed on.
        protocol: ProtocolId,
        /// Why.
        reason: Failure,
    },
}

/// Why a request has no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Failure {
    /// The link went down.
    #[error("the link is gone")]
    Gone,
    /// The peer takes no more streams now.
    #[error("the peer takes no more streams now")]
    Busy,
    /// The peer does not speak the protocol.
    #[error("the peer does not speak this protocol")]
    Unsupported,
    /// The deadline has passed.
    #[error("not finished within the deadline")]
    Late,
    /// The peer's message is larger than this side takes.
    #[error("the peer's message is larger than this side takes")]
    TooLarge,
    /// The peer's message is not framed as the protocol says.
    #[error("the peer's message is malformed")]
    Malformed,
    /// The peer ended its direction within the message.
    #[error("the peer ended its message early")]
    Unfinished,
    /// The peer went on after the end of its message.
    #[error("the peer went on after the end of its message")]
    Excess,
    /// The peer broke the stream off with this code.
    #[error("the peer broke the exchange off with code {0}")]
    Reset(u32),
    /// Its place, or its memory, was given to a peer that has less.
    #[error("its place was given to a peer that has less")]
    Displaced,
}

impl From<BadFrame> for Failure {
    fn from(bad: BadFrame) -> Self {
        match bad {
            BadFrame::TooLarge => Self::TooLarge,
            BadFrame::Malformed => Self::Malformed,
        }
    }
}

impl Failure {
    /// What the peer's stream is broken off with.
    pub(super) const fn code(self) -> u32 {
        match self {
            Self::Late => code::TIMEOUT,
            Self::TooLarge => code::TOO_LARGE,
            Self::Displaced => code::LIMIT,
            Self::Malformed | Self::Unfinished | Self::Excess => code::FAULT,
            Self::Gone | Self::Busy | Self::Unsupported | Self::Reset(_) => code::CANCELLED,
        }
    }
}
