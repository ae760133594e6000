//! Pings: the round trip, and whether the peer is there.

use std::collections::VecDeque;
use std::time::Duration;

use weir_base::Instant;

use super::Config;

/// Answers that wait to be sent. A peer has one ping in flight; 16 means that it does not read.
const PONGS_MAX: usize = 16;

#[derive(Clone, Copy, Debug)]
enum State {
    Idle { next: Instant },
    Ready,
    Waiting { value: u32, sent: Instant },
}

/// One ping in flight, and the answers owed.
#[derive(Debug)]
pub(super) struct Pings {
    state: State,
    value: u32,            // counts pings, so that a late answer is not taken for another's
    pongs: VecDeque<u32>,  // <= PONGS_MAX
    rtt: Option<Duration>, // smoothed by an eighth
}

impl Pings {
    /// The first ping is due at once: windows grow by the round trip.
    pub(super) fn new() -> Self {
        Self { state: State::Ready, value: 0, pongs: VecDeque::new(), rtt: None }
    }

    pub(super) fn rtt(&self) -> Option<Duration> {
        self.rtt
    }

    pub(super) fn due(&self, config: &Config) -> Option<Instant> {
        match self.state {
            State::Idle { next } => Some(next),
            State::Ready => None,
            State::Waiting { sent, .. } => Some(sent + config.timeout),
        }
    }

    /// `false` where an answer is overdue.
    pub(super) fn handle_timeout(&mut self, now: Instant, config: &Config) -> bool {
        if self.due(config).is_none_or(|due| due > now) {
            return true;
        }
        if matches!(self.state, State::Waiting { .. }) {
            return false;
        }
        self.state = State::Ready;
        true
    }

    /// Gives up on the answer without blame, and asks again later.
    pub(super) fn excuse(&mut self, now: Instant, config: &Config) {
        self.state = State::Idle { next: (now + config.interval).on_tick() };
    }

    /// The peer's ping; `false` where it has asked too often for what it reads.
    pub(super) fn asked(&mut self, value: u32) -> bool {
        self.pongs.push_back(value);
        self.pongs.len() <= PONGS_MAX
    }

    /// The peer's answer. One that nothing asked for says nothing.
    pub(super) fn answered(&mut self, now: Instant, config: &Config, value: u32) -> Option<Duration> {
        let State::Waiting { value: expected, sent } = self.state else { return None };
        if value != expected {
            return None;
        }
        let rtt = now.since(sent);
        self.rtt = Some(self.rtt.map_or(rtt, |before| (before * 7 + rtt) / 8));
        self.state = State::Idle { next: (now + config.interval).on_tick() };
        Some(rtt)
    }

    /// The next answer to send.
    pub(super) fn next_pong(&mut self) -> Option<u32> {
        self.pongs.pop_front()
    }

    /// The ping to send, if one is due. Its clock starts here.
    pub(super) fn send(&mut self, now: Instant) -> Option<u32> {
        let State::Ready = self.state else { return None };
        self.value = self.value.wrapping_add(1);
        self.state = State::Waiting { value: self.value, sent: now };
        Some(self.value)
    }
}
