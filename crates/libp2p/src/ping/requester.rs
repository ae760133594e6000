//! The side that pings, on one link.

use weir_base::{Fault, Instant, Rng, StreamKey};

use super::{Config, PAYLOAD, SILENT, UNASKED, WRONG_ECHO};

/// What a step came to; the parent carries it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Nothing,
    /// A stream is needed.
    Open,
    /// There is a ping to write.
    Write(StreamKey),
    /// An echo came for a ping sent then; its stream has done what it was opened for.
    Measured(Instant, StreamKey),
    /// The stream is not needed any more; with this code.
    Close(StreamKey, u32),
    /// The peer did something wrong; the stream is not needed any more.
    Faulted(StreamKey, Fault),
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// The peer does not speak ping, broke its rules, or this node does not ping.
    Off,
    Idle {
        next: Instant,
    },
    /// A stream was asked for then.
    Opening {
        since: Instant,
    },
    /// `written < PAYLOAD`. The clock of the round trip starts with the first byte.
    Sending {
        since: Instant,
        written: usize,
    },
    /// `matched < PAYLOAD`.
    Waiting {
        sent: Instant,
        matched: usize,
    },
}

/// See the module. One ping is in flight at a time, each on a stream of its own.
#[derive(Debug)]
pub(super) struct Requester {
    state: State,
    payload: [u8; PAYLOAD],
    stream: Option<StreamKey>,
    answered: bool, // the peer has echoed once: it speaks ping
}

impl Requester {
    /// The first ping is due at once.
    pub(super) fn new(now: Instant, config: &Config) -> Self {
        let state = if config.interval.is_zero() { State::Off } else { State::Idle { next: now } };
        Self { state, payload: [0; PAYLOAD], stream: None, answered: false }
    }

    /// Its stream, while it has one.
    pub(super) fn stream(&self) -> Option<StreamKey> {
        self.stream
    }

    pub(super) fn due(&self, config: &Config) -> Option<Instant> {
        match self.state {
            State::Off => None,
            State::Idle { next } => Some(next),
            State::Opening { since } | State::Sending { since, .. } => Some(since + config.timeout),
            State::Waiting { sent, .. } => Some(sent + config.timeout),
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, config: &Config, rng: &mut Rng) -> Outcome {
        if self.due(config).is_none_or(|due| due > now) {
            return Outcome::Nothing;
        }
        match self.state {
            State::Off => Outcome::Nothing,
            State::Idle { .. } => {
                self.payload = rng.bytes();
                self.state = State::Opening { since: now };
                self.stream.map_or(Outcome::Open, |key| self.send(now, key))
            }
            // The peer allows no further stream, or takes no bytes: nothing was measured, and nothing is wrong.
            State::Opening { .. } | State::Sending { written: 0, .. } => {
                self.state = idle(now, config);
                Outcome::Nothing
            }
            State::Sending { .. } | State::Waiting { .. } => {
                self.state = idle(now, config);
                self.stream.take().map_or(Outcome::Nothing, |key| Outcome::Faulted(key, SILENT))
            }
        }
    }

    pub(super) fn handle_opened(&mut self, now: Instant, key: StreamKey) -> Outcome {
        if self.stream.is_some() || matches!(self.state, State::Off) {
            return Outcome::Close(key, super::DONE);
        }
        self.stream = Some(key);
        match self.state {
            State::Opening { .. } => self.send(now, key),
            _ => Outcome::Nothing, // it came late: it is there for the next ping
        }
    }

    pub(super) fn handle_refused(&mut self, now: Instant, config: &Config) -> Outcome {
        if let State::Opening { .. } = self.state {
            self.state = idle(now, config);
        }
        Outcome::Nothing
    }

    /// The next bytes of the ping, at most `room`.
    pub(super) fn write(&mut self, now: Instant, room: usize) -> &[u8] {
        let State::Sending { since, written } = self.state else { return &[] };
        let end = written.saturating_add(room).min(PAYLOAD);
        let since = if written == 0 { now } else { since };
        self.state = match end {
            PAYLOAD => State::Waiting { sent: since, matched: 0 },
            _ => State::Sending { since, written: end },
        };
        self.payload.get(written..end).unwrap_or_default()
    }

    /// Bytes of the echo, split anywhere.
    pub(super) fn handle_echo(&mut self, now: Instant, config: &Config, bytes: &[u8]) -> Outcome {
        let State::Waiting { sent, matched } = self.state else { return self.fail(UNASKED) };
        let wanted = self.payload.get(matched..).unwrap_or_default();
        if bytes.len() > wanted.len() {
            return self.fail(UNASKED);
        }
        if !wanted.starts_with(bytes) {
            return self.fail(WRONG_ECHO);
        }
        let matched = matched + bytes.len();
        if matched < PAYLOAD {
            self.state = State::Waiting { sent, matched };
            return Outcome::Nothing;
        }
        self.answered = true;
        self.state = idle(now, config);
        self.stream.take().map_or(Outcome::Nothing, |key| Outcome::Measured(sent, key))
    }

    /// The peer ended a direction of the stream. One that never answered does not speak ping.
    pub(super) fn handle_end(&mut self, now: Instant, config: &Config) -> Outcome {
        self.state = if self.answered { idle(now, config) } else { State::Off };
        self.stream.take().map_or(Outcome::Nothing, |key| Outcome::Close(key, super::DONE))
    }

    fn send(&mut self, now: Instant, key: StreamKey) -> Outcome {
        self.state = State::Sending { since: now, written: 0 };
        Outcome::Write(key)
    }

    fn fail(&mut self, fault: Fault) -> Outcome {
        self.state = State::Off;
        self.stream.take().map_or(Outcome::Nothing, |key| Outcome::Faulted(key, fault))
    }
}

fn idle(now: Instant, config: &Config) -> State {
    State::Idle { next: now + config.interval }
}
