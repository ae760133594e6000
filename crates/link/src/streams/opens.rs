//! The streams that this side opens: how many, and which of them wait for the peer's limit.

use std::collections::VecDeque;

use weir_base::ProtocolId;
use weir_base::stream::OpenError;

use super::{After, SendEnd};

/// Opens, in order. Streams of one side are numbered without gaps.
#[derive(Debug)]
pub(crate) struct Opens {
    count: u64,                           // those that wait included
    waiting: VecDeque<(u64, ProtocolId)>, // <= max_waiting
    max_waiting: usize,
}

impl Opens {
    pub(crate) fn new(max_waiting: usize) -> Self {
        Self { count: 0, waiting: VecDeque::new(), max_waiting }
    }

    /// How many were opened, those that wait included: the index of the next one.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// How many the peer may know of.
    pub(crate) fn begun(&self) -> u64 {
        self.count - self.waiting.len() as u64
    }

    /// Whether one waits: then no other may overtake it.
    pub(crate) fn any_waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// One more, under this name. Where the peer's limit leaves no place `free`, it waits.
    pub(crate) fn open(
        &mut self,
        stream: u64,
        protocol: ProtocolId,
        free: bool,
    ) -> Result<SendEnd, OpenError> {
        if free {
            self.count += 1;
            return Ok(SendEnd::Open);
        }
        if self.waiting.len() >= self.max_waiting {
            return Err(OpenError::Limit);
        }
        self.count += 1;
        self.waiting.push_back((stream, protocol));
        Ok(SendEnd::Waiting(After::Write))
    }

    /// The one that waits longest and may be opened now.
    pub(crate) fn next(&mut self) -> Option<(u64, ProtocolId)> {
        self.waiting.pop_front()
    }
}
