//! The control stream of one link: what is to be written, what was heard, and what is due.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::BufMut;
use weir_base::codec::{put_prefixed, put_varint};
use weir_base::stream::{Goodbye, LinkInfo};
use weir_base::{Instant, Rng, Rope, StreamKey};

use super::codec::{self, Hello};
use super::config::{BYTE_RATE, Config, MAX_PONGS, MESSAGE_RATE, SERVICES_PAUSE};
use crate::bucket::Bucket;
use crate::framing::{self, Inbox};

/// One in so many pings is preceded by a message that no version defines.
const GREASE_PINGS: u64 = 8;
/// One in so many hellos ends in an extension that no version defines.
const GREASE_HELLOS: u64 = 4;
/// Bytes in such a message, at most.
const GREASE_BYTES: u64 = 32;

#[derive(Debug)]
pub(super) struct Line {
    pub(super) dialler: bool,
    pub(super) stream: Option<StreamKey>,
    pub(super) writable: bool, // our direction has not ended
    pub(super) stage: Stage,
    pub(super) inbox: Inbox,
    pub(super) rate: Rate,
    pub(super) up: Option<Instant>, // none while the handshake is not complete
    pub(super) heard: Instant,
    pub(super) ping: Ping,
    pub(super) outgoing: Outgoing,
}

/// How much a peer may still say.
#[derive(Debug)]
pub(super) struct Rate {
    messages: Bucket,
    bytes: Bucket,
}

impl Rate {
    const fn new() -> Self {
        Self { messages: Bucket::new(), bytes: Bucket::new() }
    }

    /// A message of so many bytes has come. Whether that is within what a peer may say.
    pub(super) fn take(&mut self, now: Instant, bytes: u64) -> bool {
        self.messages.take(now, 1, MESSAGE_RATE, MESSAGE_RATE).is_ok()
            && self.bytes.take(now, bytes, BYTE_RATE, BYTE_RATE).is_ok()
    }
}

/// What should be told when there is room; only the newest of each, and pongs.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) hello_written: bool,
    key: bool,
    services: bool,
    services_from: Instant,   // not before
    pongs: VecDeque<[u8; 8]>, // at most MAX_PONGS
    pub(super) pending: Rope, // the rest of one message
}

impl Outgoing {
    fn new() -> Self {
        Self {
            hello_written: false,
            key: false,
            services: false,
            services_from: Instant::ZERO,
            pongs: VecDeque::new(),
            pending: Rope::new(),
        }
    }

    /// A ping was heard. Of pongs that wait too long the oldest is dropped.
    pub(super) fn pong(&mut self, nonce: [u8; 8]) {
        if self.pongs.len() >= MAX_PONGS {
            self.pongs.pop_front();
        }
        self.pongs.push_back(nonce);
    }

    /// This node's short-id key changed. Hello tells the newest itself; whether more has to be said.
    pub(super) const fn key_changed(&mut self) -> bool {
        self.key |= self.hello_written;
        self.hello_written
    }

    /// As for [`key_changed`](Self::key_changed).
    pub(super) const fn services_changed(&mut self) -> bool {
        self.services |= self.hello_written;
        self.hello_written
    }

    /// When services are told that wait for that.
    fn services_due(&self) -> Option<Instant> {
        (self.services && self.services_from > Instant::ZERO).then_some(self.services_from)
    }

    /// They need not wait any more.
    pub(super) const fn services_may_go(&mut self) {
        self.services_from = Instant::ZERO;
    }

    /// The next message that does not depend on the link's stage.
    fn next(&mut self, now: Instant, mine: &Hello) -> Option<codec::Control> {
        if let Some(nonce) = self.pongs.pop_front() {
            return Some(codec::Control::Pong(nonce));
        }
        if std::mem::take(&mut self.key) {
            return Some(codec::Control::ShortKey(mine.key));
        }
        if self.services && self.services_from <= now {
            self.services = false;
            self.services_from = now + SERVICES_PAUSE;
            return Some(codec::Control::Services(mine.services.clone()));
        }
        None
    }
}

#[derive(Debug)]
pub(super) enum Stage {
    /// The peer's hello has not come.
    Hello,
    /// It has; `peer_key` is the number of the peer's short-id key.
    Open { peer_key: u32 },
    /// Goodbye is to be written, or is being (`encoded`).
    Leaving { reason: Goodbye, until: Instant, encoded: bool },
    /// Goodbye was heard. The peer closes the link once all that it wrote is delivered; this side does at `until`.
    Heard { reason: Goodbye, until: Instant },
    /// The peer ended the stream without goodbye. That is no fault where its link ends in time, with the reason.
    Ended { until: Instant },
    /// Goodbye is said; the link is closing.
    Closed,
}

#[derive(Debug)]
pub(super) enum Ping {
    Idle { next: Instant },
    Due,
    Waiting { nonce: [u8; 8], sent: Instant },
}

impl Ping {
    /// The next one goes out `interval` from `now`, on a tick.
    pub(super) fn after(now: Instant, interval: Duration) -> Self {
        Self::Idle { next: (now + interval).on_tick() }
    }

    /// Whether the next one is due within `ahead` of `now`.
    pub(super) fn is_soon(&self, now: Instant, ahead: Duration) -> bool {
        matches!(self, Self::Idle { next } if *next <= now + ahead)
    }
}

/// Why a line wants to be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    Hello,
    Message,
    Idle,
    Ping,
    Pong,
    Services,
    Goodbye,
    End,
}

impl Timer {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Hello => "hello overdue",
            Self::Message => "control message overdue",
            Self::Idle => "link idle",
            Self::Ping => "ping",
            Self::Pong => "pong overdue",
            Self::Services => "services",
            Self::Goodbye => "goodbye overdue",
            Self::End => "end of the link overdue",
        }
    }
}

impl Line {
    pub(super) fn new(now: Instant, info: &LinkInfo) -> Self {
        Self {
            dialler: info.dialler,
            stream: None,
            writable: false,
            stage: Stage::Hello,
            inbox: Inbox::new(codec::MAX_MESSAGE),
            rate: Rate::new(),
            up: Some(now),
            heard: now,
            ping: Ping::Idle { next: Instant::FAR },
            outgoing: Outgoing::new(),
        }
    }

    /// Whether nothing of the peer's hello has come.
    pub(super) fn is_silent(&self) -> bool {
        matches!(self.stage, Stage::Hello) && self.inbox.deadline().is_none()
    }

    /// Whether the link is confirmed and nothing of the peer's hello has come.
    pub(super) fn is_unheard(&self) -> bool {
        self.is_silent() && self.up.is_some()
    }

    /// What is due first, and when.
    pub(super) fn due(&self, config: &Config) -> Option<(Instant, Timer)> {
        let message = self.inbox.deadline().map(|due| (due, Timer::Message));
        match &self.stage {
            Stage::Hello => {
                let hello = self.up.map(|up| (up + config.hello_timeout, Timer::Hello));
                [hello, message].into_iter().flatten().min_by_key(|(due, _)| *due)
            }
            Stage::Open { .. } => {
                let ping = match self.ping {
                    Ping::Idle { next } => Some((next, Timer::Ping)),
                    Ping::Waiting { sent, .. } => Some((sent + config.idle_timeout, Timer::Pong)),
                    Ping::Due => None,
                };
                let services = self.outgoing.services_due().map(|due| (due, Timer::Services));
                let idle = (self.heard + config.idle_timeout, Timer::Idle);
                [Some(idle), message, ping, services].into_iter().flatten().min_by_key(|(due, _)| *due)
            }
            Stage::Leaving { until, .. } | Stage::Heard { until, .. } => Some((*until, Timer::Goodbye)),
            Stage::Ended { until } => Some((*until, Timer::End)),
            Stage::Closed => None,
        }
    }

    /// Encodes the next message into `pending`, if there is one to write; how many were.
    pub(super) fn encode_next(&mut self, now: Instant, mine: &Hello, rng: &mut Rng) -> u64 {
        if !self.outgoing.hello_written {
            self.outgoing.hello_written = true;
            let grease = rng.chance(1, GREASE_HELLOS);
            framing::put(&mut self.outgoing.pending, codec::HELLO, |out| {
                mine.encode(out);
                if grease {
                    put_varint(out, odd(rng));
                    put_prefixed(out, &noise(rng));
                }
            });
            return 1;
        }
        if let Some((message, greased)) = self.next_message(now, mine, rng) {
            if greased {
                let (kind, noise) = (odd(rng), noise(rng));
                framing::put(&mut self.outgoing.pending, kind, |out| out.put_slice(&noise));
            }
            if let Some((kind, fields)) = message.encode() {
                framing::put(&mut self.outgoing.pending, kind, |out| out.unsplit(fields));
            }
            return 1 + u64::from(greased);
        }
        0
    }

    fn next_message(&mut self, now: Instant, mine: &Hello, rng: &mut Rng) -> Option<(codec::Control, bool)> {
        match &mut self.stage {
            Stage::Leaving { reason, encoded, .. } => {
                let first = !std::mem::replace(encoded, true);
                return first.then_some((codec::Control::Goodbye(*reason), false));
            }
            Stage::Heard { .. } | Stage::Ended { .. } | Stage::Closed => return None,
            Stage::Hello | Stage::Open { .. } => {}
        }
        if let Some(message) = self.outgoing.next(now, mine) {
            return Some((message, false));
        }
        let Ping::Due = self.ping else { return None };
        let nonce = rng.bytes();
        self.ping = Ping::Waiting { nonce, sent: now };
        Some((codec::Control::Ping(nonce), rng.chance(1, GREASE_PINGS)))
    }
}

/// A type that no version defines and everybody skips.
fn odd(rng: &mut Rng) -> u64 {
    rng.below(1 << 20) * 2 + 1
}

fn noise(rng: &mut Rng) -> Vec<u8> {
    let mut noise = vec![0; usize::try_from(rng.below(GREASE_BYTES + 1)).unwrap_or(0)];
    rng.fill(&mut noise);
    noise
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn what_no_version_defines_differs_each_time_and_is_short() {
        let mut rng = Rng::from_number(1);
        let kinds: BTreeSet<u64> = (0..100).map(|_| odd(&mut rng)).collect();
        assert!(kinds.len() > 90 && kinds.iter().all(|kind| kind % 2 == 1 && *kind < 1 << 21), "{kinds:?}");
        let all: Vec<Vec<u8>> = (0..200).map(|_| noise(&mut rng)).collect();
        let lens: BTreeSet<usize> = all.iter().map(Vec::len).collect();
        assert!(lens.len() > 25 && lens.iter().all(|len| *len <= 32), "{lens:?}");
        assert!(all.iter().flatten().collect::<BTreeSet<_>>().len() > 200);
    }
}
