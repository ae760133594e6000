//! Call — one request, one response, on a stream of its own (`docs/spec/call.md`, protocol §5).

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use weir_base::identity::PeerId;
use weir_base::stream::{Ask, Class, Incoming, LinkInfo, OpenError};
use weir_base::{Instant, LinkId, Rope, StreamKey};

use crate::machine::{Counters, Machine, Negotiated, Opened, Refused as CommandRefused, Seat, Ticket};

/// A method and its limits.
#[derive(Clone, Debug)]
pub struct Config {
    /// The largest request, in bytes. Default: 64 KiB.
    pub max_request: u32,
    /// The largest response, in bytes. Default: 1 MiB.
    pub max_response: u32,
    /// Calls under way at once per link and direction. Default: 64.
    pub concurrency: u32,
    /// Requests per second and link that are served, in the long run; 0 for no limit. Default: 0.
    pub rate: u32,
    /// Requests that may come at once above `rate`. Default: 64.
    pub burst: u32,
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
            rate: 0,
            burst: 64,
            deadline: Duration::from_secs(10),
            class: Class::Pool,
            replay_safe: false,
        }
    }
}

impl Config {
    /// Checks every field; names the field and the remedy.
    pub(crate) fn validate(&self) -> Result<(), (&'static str, &'static str)> {
        if self.concurrency == 0 {
            return Err(("concurrency", "must be at least 1"));
        }
        if self.deadline.is_zero() {
            return Err(("deadline", "must be above zero; 10 s is usual"));
        }
        if self.rate > 0 && self.burst == 0 {
            return Err(("burst", "must be at least 1 where `rate` is set"));
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
    /// Answers a request. Dropped where it was cancelled meanwhile.
    Answer {
        /// Names the request.
        ticket: Ticket,
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
    },
    /// A request need not be answered any more: given up by the caller, out of time, or its link is gone.
    Cancelled {
        /// Names the request.
        ticket: Ticket,
    },
}

/// One call channel on all links: both the callers' side and the servers'.
#[derive(Debug)]
pub(crate) struct Call {
    config: Config,
    seat: Seat,
    events: VecDeque<Event>,
}

impl Call {
    pub(crate) fn new(config: Config, seat: Seat) -> Self {
        Self { config, seat, events: VecDeque::new() }
    }
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }
    pub(crate) fn command(&mut self, _now: Instant, _command: Command) -> Result<Ticket, CommandRefused> {
        Ok(self.seat.tickets.next())
    }
    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }
}

impl Machine for Call {
    fn link_up(&mut self, _: Instant, _: LinkId, _: &LinkInfo) {}
    fn link_ready(&mut self, _: Instant, _: LinkId, _: &Negotiated) {}
    fn link_down(&mut self, _: Instant, _: LinkId) {}
    fn handle_opened(&mut self, _: Instant, _: StreamKey, _: Opened) {}
    fn handle_refused(&mut self, _: Instant, _: u64, _: OpenError) {}
    fn class(&self, _: u8) -> Class {
        self.config.class
    }
    fn room(&self, _: StreamKey) -> usize {
        0
    }
    fn handle_incoming(&mut self, _: Instant, _: StreamKey, _: Incoming) {}
    fn poll_write(&mut self, _: Instant, _: StreamKey, _: usize, _: &mut Rope) {}
    fn poll_ask(&mut self) -> Option<Ask> {
        None
    }
    fn handle_timeout(&mut self, _: Instant) {}
    fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        None
    }
    fn counters(&self) -> Counters {
        Counters::default()
    }
}
