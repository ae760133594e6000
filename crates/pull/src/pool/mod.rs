//! Pool — a set that all nodes should come to share (`docs/spec/pool.md`, protocol §3).

mod types;

pub use types::{Command, Config, Event, MAX_SUMMARY, Rules, Stats, Summary, Verdict};

use weir_base::Instant;
use weir_base::stream::{Ask, Class, Incoming, LinkInfo, OpenError};
use weir_base::{LinkId, Rope, StreamKey};

use crate::machine::{Counters, Machine, Negotiated, Opened, Refused, Seat, Ticket};

/// The pool of one channel, on all links.
#[derive(Debug)]
pub(crate) struct Pool {
    seat: Seat,
}

impl Pool {
    pub(crate) fn new(_config: Config, seat: Seat) -> Self {
        Self { seat }
    }
    pub(crate) fn command(&mut self, _now: Instant, _command: Command) -> Result<Ticket, Refused> {
        Ok(self.seat.tickets.next())
    }
    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        None
    }
}

impl Machine for Pool {
    fn link_up(&mut self, _: Instant, _: LinkId, _: &LinkInfo) {}
    fn link_ready(&mut self, _: Instant, _: LinkId, _: &Negotiated) {}
    fn link_down(&mut self, _: Instant, _: LinkId) {}
    fn handle_opened(&mut self, _: Instant, _: StreamKey, _: Opened) {}
    fn handle_refused(&mut self, _: Instant, _: u64, _: OpenError) {}
    fn class(&self, _: u8) -> Class {
        Class::Pool
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
