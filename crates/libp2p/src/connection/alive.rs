//! Whether the peer of a connection over mplex is there. mplex has no ping.
//!
//! - where nothing was heard for [`Pace::interval`], this side opens a stream, proposes ping by name, and ends its direction;
//! - whatever comes within [`Pace::timeout`], on any stream, says that the peer is there: an answer, a refusal, or a reset;
//! - otherwise the peer is silent ([`SILENT`]).
//!
//! Threat: a peer that never answers, or sends without end on such a stream. One is open at a time, and what comes on it is dropped.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use weir_base::{Fault, Instant};

use crate::mplex::StreamId;
use crate::multistream::{Dialer, Names};
use crate::ping;

/// Nothing was heard, though this side asked.
pub const SILENT: Fault = Fault::unreliable("no sign of life over mplex");

/// When to ask, and how long to wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) interval: Duration,
    pub(super) timeout: Duration,
}

/// What is known of one connection's peer.
#[derive(Debug)]
pub(super) struct Alive {
    pace: Pace,
    heard: Instant,
    asked: Option<Instant>,   // since when a sign of life is wanted
    stream: Option<StreamId>, // of the last question
}

impl Alive {
    pub(super) fn new(pace: Pace, now: Instant) -> Self {
        Self { pace, heard: now, asked: None, stream: None }
    }

    /// When to ask, or to give up.
    pub(super) fn due(&self) -> Instant {
        match self.asked {
            Some(asked) => asked + self.pace.timeout,
            None => self.heard + self.pace.interval,
        }
    }

    /// Something has come.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = now;
        self.asked = None;
    }

    /// Whether a question waits for a sign of life.
    pub(super) fn waits(&self) -> bool {
        self.asked.is_some()
    }

    /// A sign of life is wanted from now on. Returns the stream of the question before, which is not needed any more.
    pub(super) fn ask(&mut self, now: Instant, stream: Option<StreamId>) -> Option<StreamId> {
        self.asked = Some(now);
        std::mem::replace(&mut self.stream, stream)
    }

    /// This side does not read: the answer may have come.
    pub(super) fn excuse(&mut self, now: Instant) {
        self.asked = Some(now);
    }

    /// Whether this is the stream of the last question.
    pub(super) fn owns(&self, id: StreamId) -> bool {
        self.stream == Some(id)
    }

    /// That stream is gone.
    pub(super) fn forget(&mut self) {
        self.stream = None;
    }
}

/// What is written on such a stream.
pub(super) fn question(now: Instant) -> Bytes {
    let mut out = BytesMut::new();
    // The name is a constant and valid.
    if let Ok(names) = Names::new([ping::NAME]) {
        Dialer::new(names, now).poll_transmit(&mut out);
    }
    out.freeze()
}
