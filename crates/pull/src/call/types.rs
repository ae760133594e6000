//! A method, what the user wants of it and is told, and what peers are blamed for.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use weir_base::codec::VARINT_MAX;
use weir_base::identity::PeerId;
use weir_base::stream::{Ask, Class};
use weir_base::{Fault, Instant, LimitError, LinkId, StreamKey};

use super::memory::Memory;
use crate::framing::code;
use crate::machine::Ticket;

/// Bytes that a message is larger than the request or response in it, at most.
pub const OVERHEAD: usize = 16;
/// The usual budget of [`call_memory`](crate::Config::call_memory): 32 MiB.
pub const DEFAULT_MEMORY: u64 = 32 * 1024 * 1024;
/// When to come back where as many calls as allowed are under way: about a quick call's time.
pub(super) const BUSY_RETRY: Duration = Duration::from_millis(100);
/// Messages of unknown types before a request or an answer, at most.
pub(super) const MAX_SKIPPED: u8 = 4;

/// Bytes after the request or the answer.
pub(super) const TRAILING: Fault = Fault::misbehaved("bytes after the only message of a call's direction");
/// A direction ended before its message.
pub(super) const CUT_SHORT: Fault =
    Fault::misbehaved("ended a call's direction before its message was complete");
/// More messages to skip than anybody needs.
pub(super) const TOO_MANY_SKIPPED: Fault =
    Fault::misbehaved("too many messages before the only one of a call's direction");

/// A method and its limits.
#[derive(Clone, Debug)]
pub struct Config {
    /// The largest request, in bytes. Default: 64 KiB.
    pub max_request: u32,
    /// The largest response, in bytes. Default: 1 MiB.
    pub max_response: u32,
    /// Calls under way at once per link and direction. Default: 64.
    pub concurrency: u32,
    /// Requests per link that are served: so many a second in the long run, and so many at once above that; each at least 1.
    /// Default: no limit.
    pub rate: Option<(u32, u32)>,
    /// How long a call may take at most. Default: 10 s.
    pub deadline: Duration,
    /// How requests and responses rank where bytes compete. Default: [`Class::Pool`].
    pub class: Class,
    /// Whether running a request twice does no harm: only then it may be sent before the link is confirmed (0-RTT).
    /// Default: false.
    pub replay_safe: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_request: 64 * 1024,
            max_response: 1024 * 1024,
            concurrency: 64,
            rate: None,
            deadline: Duration::from_secs(10),
            class: Class::Pool,
            replay_safe: false,
        }
    }
}

impl Config {
    /// The least memory for calls with which this method can be served.
    pub(crate) fn least_memory(&self) -> u64 {
        Memory::least(u64::from(self.max_request) + OVERHEAD as u64, u64::from(self.max_response))
    }

    /// Bytes of the largest request message, its length included, and of the largest response.
    pub(crate) fn largest(&self) -> (u64, u64) {
        (u64::from(self.max_request) + (OVERHEAD + VARINT_MAX) as u64, u64::from(self.max_response))
    }

    /// Checks every field; names the first that does not hold, and the remedy.
    pub(crate) fn validate(&self) -> Result<(), LimitError> {
        if self.concurrency == 0 {
            return Err(LimitError::new("concurrency", "must be at least 1; 64 is usual"));
        }
        if self.deadline.is_zero() {
            return Err(LimitError::new("deadline", "must be above zero; 10 s is usual"));
        }
        if let Some((0, _) | (_, 0)) = self.rate {
            return Err(LimitError::new("rate", "must be at least 1 and 1; without it there is no limit"));
        }
        Ok(())
    }
}

/// The server's answer where it does not serve a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("refused; retry after {retry_after:?}")]
pub struct Refusal {
    /// When to try again, counted from the answer; at most an hour on the wire.
    pub retry_after: Duration,
}

/// Why a call brought no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The server does not serve it now. Retry later.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// No response in time. It may have run.
    #[error("no response within the deadline")]
    Timeout,
    /// No link to the peer came up. It has not run.
    #[error("the peer was not reached")]
    NoLink,
    /// The link went down. It may have run.
    #[error("the link went down")]
    LinkDown,
    /// The peer does not have the channel.
    #[error("the peer does not have this channel")]
    Unsupported,
    /// The request is larger than the peer takes.
    #[error("the request is larger than the peer takes")]
    TooLarge,
    /// The server broke it off.
    #[error("the server broke the call off")]
    Aborted,
    /// The peer's stream limit is reached; retry when another call has ended.
    #[error("the peer allows no more streams now")]
    NoStream,
    /// What came was no response.
    #[error("the response breaks the protocol")]
    Malformed,
}

/// What the user wants of a call channel.
#[derive(Clone, Debug)]
pub enum Command {
    /// Calls the peer of a link.
    Call {
        /// Which.
        link: LinkId,
        /// The request, encoded.
        request: Bytes,
        /// How long it may take; `None`, or longer than the channel's: the channel's.
        deadline: Option<Duration>,
    },
    /// Gives up a call: the stream is broken off and the server's work cancelled. No event follows.
    Cancel {
        /// Names the call.
        ticket: Ticket,
    },
    /// The application has taken a request out of its mailbox: from now on it counts as being handled. What was handed over
    /// and not taken is a few requests at most, so a host that never says so is handed few at a time.
    Taken {
        /// Names the request.
        ticket: Ticket,
        /// When it was.
        at: Instant,
    },
    /// Answers a request. Dropped where it was cancelled meanwhile.
    Answer {
        /// Names the request.
        ticket: Ticket,
        /// When the application answered: until then the request was being handled.
        at: Instant,
        /// The response, encoded once and shared, or a refusal.
        response: Result<Bytes, Refusal>,
    },
}

/// What a call channel tells the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A call has ended.
    Response {
        /// Names the call.
        ticket: Ticket,
        /// The response, or why there is none.
        result: Result<Bytes, CallError>,
    },
    /// A peer's request to answer.
    Request {
        /// Names it.
        ticket: Ticket,
        /// The link.
        link: LinkId,
        /// Who asks.
        peer: PeerId,
        /// The request.
        request: Bytes,
        /// When the caller no longer waits.
        deadline: Instant,
        /// Whether others wait behind it: that it was taken ([`Command::Taken`]) should be said at once, not when there is an
        /// occasion.
        others_wait: bool,
    },
    /// A request need not be answered any more: given up by the caller, out of time, or its link is gone.
    Cancelled {
        /// Names the request.
        ticket: Ticket,
    },
}

/// Ends both directions of a stream. The parent drops what has ended already.
pub(super) fn break_off(asks: &mut VecDeque<Ask>, key: StreamKey, code: u32) {
    asks.extend([Ask::Reset(key, code), Ask::Stop(key, code)]);
}

/// The peer broke the protocol on a stream.
pub(super) fn blame(asks: &mut VecDeque<Ask>, key: StreamKey, fault: Fault) {
    asks.push_back(Ask::Blame(key.link, fault));
    break_off(asks, key, code::FAULT);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_its_request_a_head_and_a_length() {
        let config = Config { max_request: 1_000, max_response: 5_000, ..Config::default() };
        assert_eq!(config.largest(), (1_000 + 16 + 10, 5_000));
        assert_eq!(config.least_memory(), Memory::least(1_016, 5_000));
    }

    #[test]
    fn a_method_without_room_or_time_is_refused() {
        let field = |config: Config| config.validate().err().map(|limit| limit.name());
        let config = Config::default();
        assert_eq!(field(config.clone()), None);
        assert_eq!(field(Config { concurrency: 0, ..config.clone() }), Some("concurrency"));
        assert_eq!(field(Config { deadline: Duration::ZERO, ..config.clone() }), Some("deadline"));
        assert_eq!(field(Config { rate: Some((1, 0)), ..config.clone() }), Some("rate"));
        assert_eq!(field(Config { rate: Some((0, 1)), ..config.clone() }), Some("rate"));
        assert_eq!(field(Config { rate: Some((1, 1)), ..config }), None);
    }
}
