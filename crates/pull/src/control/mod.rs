//! Control: hello, keep-alive, services, short-id keys, goodbye (`docs/spec/control.md`).

//!
//! Message flow of one link:
//! - up: the dialler opens the stream; both write Hello, without waiting;
//! - hello heard: the parent is told what is shared, the first ping goes out;
//! - then a ping 15 s after each pong, services and short-id keys as they change;
//! - Goodbye, for whatever reason, is the last message; then the link is closed.
//!
//! Threat: a peer that floods (two token buckets), never says hello, never answers, or opens a second stream.
//! Each ends the link or is a fault; per link at most one message and four pongs are held.

mod agreement;
pub mod codec;
mod config;
mod hello;
mod line;
#[cfg(test)]
mod tests;
mod user;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::channel::ChannelId;
use litemap::LiteMap;
use weir_base::stream::{Ask, Goodbye};
use weir_base::{Deadlines, Fault, Instant, LinkId, ProtocolId, Rng};

pub use config::{BYTE_RATE, Config, MESSAGE_RATE};
pub use hello::{
    MAX_AGENT, MAX_CHANNELS, MAX_NAME, MAX_SERVICE_PAYLOAD, MAX_SERVICES, PeerHello, Service, is_name,
    services_hold,
};

use crate::framing::{MALFORMED, Message, STALLED, UNKNOWN_TYPE, code};
use crate::keys::{Keys, NumberedKey};
use crate::machine::{Counters, Refused, Ticket};
use codec::{Hello, HelloError, Preamble};
use line::{Line, Ping, Stage};

/// The version of the protocol this is.
pub const VERSION: u16 = 1;
/// How long a goodbye may take to be written, or its sender to close the link, before this side closes it. Also how long a link
/// may live on after its control stream ended without goodbye.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(5);

/// A peer opened a control stream where there was one already, or though it did not dial.
const SECOND_STREAM: Fault = Fault::misbehaved("opened a control stream that is not its to open");
/// The control stream ended before goodbye, and the link did not end with it.
const ENDED: Fault = Fault::misbehaved("ended its control stream without goodbye");
/// Too many messages or bytes.
const FLOOD: Fault = Fault::misbehaved("more control messages than 64 or 16 kB per second");
/// A pong nobody waits for.
const STRAY_PONG: Fault = Fault::misbehaved("a pong that answers no ping");
/// A short-id key whose number does not grow.
const STALE_KEY: Fault = Fault::misbehaved("a short-id key whose number is not above the one before");
/// It talks, and leaves pings unanswered.
const NO_PONG: Fault = Fault::unreliable("no pong in time");
/// No hello in time, and nothing else either.
pub const NO_HELLO: Fault = Fault::unreliable("no hello in time");
/// Another network.
const NETWORK: Fault = Fault::incompatible("belongs to another network");
/// No common version.
const NO_VERSION: Fault = Fault::incompatible("speaks no version in common");

/// What the user wants of control.
#[derive(Clone, Debug)]
pub enum Command {
    /// This node's services from now on; told to all peers.
    Services(Vec<Service>),
    /// Says goodbye and closes the link.
    Goodbye {
        /// Which.
        link: LinkId,
        /// Why.
        reason: Goodbye,
    },
}

/// What control tells its parent.
#[derive(Clone, Debug)]
pub(crate) enum Notice {
    Ready { link: LinkId, hello: Arc<PeerHello> },
    NoHello { link: LinkId },
    Rtt { link: LinkId, rtt: Duration },
    Services { link: LinkId, services: Vec<Service> },
    PeerKey { link: LinkId, key: NumberedKey },
    OwnKeys(Keys),
    Closing { link: LinkId, heard: Option<Goodbye> },
}

/// Control of all links.
#[derive(Debug)]
pub(crate) struct Control {
    config: Config,
    mine: Hello, // with the services and key of now
    lines: LiteMap<LinkId, Box<Line>>,
    keys: Keys,
    next_key: Option<Instant>, // set when the first link comes up
    asks: VecDeque<Ask>,
    notices: VecDeque<Notice>,
    deadlines: Deadlines<LinkId>,
    counters: Counters,
    rng: Rng,
}

/// What became of a message.
type Handled = Result<(), Leave>;

/// The link is to end: why, and whose fault it is.
struct Leave {
    fault: Option<Fault>,
    reason: Goodbye,
}

impl From<Fault> for Leave {
    fn from(fault: Fault) -> Self {
        let reason = if fault == UNKNOWN_TYPE { Goodbye::WrongVersion } else { Goodbye::Fault };
        Self { fault: Some(fault), reason }
    }
}

impl Control {
    /// `mine` is what this node says first to everybody, its key included.
    pub(crate) fn new(config: Config, mine: Hello, rng: Rng) -> Self {
        let current = mine.key;
        Self {
            config,
            mine,
            lines: LiteMap::new(),
            keys: Keys { current, previous: None },
            next_key: None,
            asks: VecDeque::new(),
            notices: VecDeque::new(),
            deadlines: Deadlines::default(),
            counters: Counters::default(),
            rng,
        }
    }

    pub(crate) fn keys(&self) -> Keys {
        self.keys
    }

    pub(crate) fn command(&mut self, now: Instant, command: Command) -> Result<Ticket, Refused> {
        match command {
            Command::Services(mut services) => {
                if !services_hold(&services) {
                    return Err(Refused::Invalid);
                }
                services.sort_unstable();
                self.mine.services = services;
                for (_, line) in self.lines.iter_mut() {
                    if line.outgoing.services_changed() {
                        self.asks.extend(line.stream.map(Ask::Write));
                    }
                }
            }
            Command::Goodbye { link, reason } => {
                if !self.lines.contains_key(&link) {
                    return Err(Refused::NoLink);
                }
                self.leave(now, link, &Leave { fault: None, reason });
                self.retime(link);
            }
        }
        Ok(Ticket(0))
    }

    pub(crate) fn poll_notice(&mut self) -> Option<Notice> {
        self.notices.pop_front()
    }

    /// A link's handshake is not complete yet: of the peer nothing but its hello is read, which may take its time.
    pub(crate) fn wait_for_proof(&mut self, link: LinkId) {
        if let Some(line) = self.lines.get_mut(&link) {
            line.up = None;
        }
        self.retime(link);
    }

    /// It is complete.
    pub(crate) fn proven(&mut self, now: Instant, link: LinkId) {
        let Some(line) = self.lines.get_mut(&link) else { return };
        (line.up, line.heard) = (Some(now), now);
        self.asks.extend(line.stream.map(Ask::Resume));
        self.read(now, link);
        self.retime(link);
    }

    /// Ends a link: goodbye with the reason, then close. The first reason stands.
    fn leave(&mut self, now: Instant, link: LinkId, leave: &Leave) {
        let Some(line) = self.lines.get_mut(&link) else { return };
        if !matches!(line.stage, Stage::Hello | Stage::Open { .. } | Stage::Ended { .. }) {
            return;
        }
        if let Stage::Ended { .. } = line.stage {
            line.writable = false; // the peer is leaving, and reads no goodbye
        }
        self.asks.extend(leave.fault.map(|fault| Ask::Blame(link, fault)));
        self.notices.push_back(Notice::Closing { link, heard: None });
        if let Some(key) = line.stream.filter(|_| line.writable) {
            line.stage =
                Stage::Leaving { reason: leave.reason, until: now + GOODBYE_TIMEOUT, encoded: false };
            self.asks.push_back(Ask::Write(key));
        } else {
            line.stage = Stage::Closed;
            self.asks.push_back(Ask::Close(link, leave.reason));
        }
    }

    /// The peer does not speak the pull protocol, or not in time: control has no part in the link any more.
    fn give_up(&mut self, link: LinkId, code: u32) {
        let Some(line) = self.lines.remove(&link) else { return };
        let stream = line.stream.into_iter();
        self.asks.extend(stream.flat_map(|key| [Ask::Reset(key, code), Ask::Stop(key, code)]));
        self.notices.push_back(Notice::NoHello { link });
    }

    /// The stream ended without goodbye. The peer's link may be closing for a reason that its end will tell; until then
    /// nothing is sent, and nobody is blamed.
    fn ended(&mut self, now: Instant, link: LinkId) {
        let Some(line) = self.lines.get_mut(&link) else { return };
        if matches!(line.stage, Stage::Hello | Stage::Open { .. }) {
            line.stage = Stage::Ended { until: now + GOODBYE_TIMEOUT };
            self.notices.push_back(Notice::Closing { link, heard: None });
        }
    }

    /// One message of a peer.
    fn message(&mut self, now: Instant, link: LinkId, message: &Message) -> Handled {
        let Some(line) = self.lines.get_mut(&link) else { return Ok(()) };
        self.counters.messages_in += 1;
        line.heard = now;
        let bytes = message.body.len() as u64 + 2;
        if !line.rate.take(now, bytes) {
            return Err(FLOOD.into());
        }
        let Stage::Open { peer_key } = &mut line.stage else { return self.hello(now, link, message) };
        match codec::Control::decode(message.kind, &message.body).map_err(|_| MALFORMED)? {
            codec::Control::Ping(nonce) => {
                line.outgoing.pong(nonce);
                if line.ping.is_soon(now, self.config.interval / 2) {
                    line.ping = Ping::Due; // with the pong: one datagram, one wake-up less on both sides
                }
                self.asks.extend(line.stream.map(Ask::Write));
            }
            codec::Control::Pong(nonce) => {
                let Ping::Waiting { nonce: expected, sent } = line.ping else {
                    return Err(STRAY_PONG.into());
                };
                if nonce != expected {
                    return Err(STRAY_PONG.into());
                }
                line.ping = Ping::after(now, self.config.interval);
                self.notices.push_back(Notice::Rtt { link, rtt: now.since(sent) });
            }
            codec::Control::Services(services) => self.notices.push_back(Notice::Services { link, services }),
            codec::Control::ShortKey(key) => {
                if key.number <= *peer_key {
                    return Err(STALE_KEY.into());
                }
                *peer_key = key.number;
                self.notices.push_back(Notice::PeerKey { link, key });
            }
            codec::Control::Goodbye(reason) => {
                line.stage = Stage::Heard { reason, until: now + GOODBYE_TIMEOUT };
                self.notices.push_back(Notice::Closing { link, heard: Some(reason) });
            }
            codec::Control::Skipped => {}
            codec::Control::Unknown => return Err(UNKNOWN_TYPE.into()),
        }
        Ok(())
    }

    /// The first message must be hello.
    fn hello(&mut self, now: Instant, link: LinkId, message: &Message) -> Handled {
        if message.kind != codec::HELLO {
            return Err(MALFORMED.into());
        }
        let theirs =
            Preamble::decode(&mut weir_base::codec::Reader::new(&message.body)).map_err(|_| MALFORMED)?;
        let Some(version) = self.mine.preamble.common(&theirs) else {
            return Err(Leave { fault: Some(NO_VERSION), reason: Goodbye::WrongVersion });
        };
        if theirs.network != self.mine.preamble.network {
            return Err(Leave { fault: Some(NETWORK), reason: Goodbye::WrongNetwork });
        }
        let theirs = Hello::decode(&message.body).map_err(|error| match error {
            HelloError::Malformed(_) => MALFORMED,
            HelloError::Incompatible => UNKNOWN_TYPE,
        })?;
        let Some(line) = self.lines.get_mut(&link) else { return Ok(()) };
        if !line.writable {
            self.ended(now, link); // it speaks control, and does not listen
            return Ok(());
        }
        line.stage = Stage::Open { peer_key: theirs.key.number };
        line.ping = Ping::Due;
        self.asks.extend(line.stream.map(Ask::Write));
        let hello = Arc::new(agreement::shared(&self.mine, theirs, version));
        self.notices.push_back(Notice::Ready { link, hello });
        Ok(())
    }

    /// Draws a new key, tells everybody, and lets the old one live a little longer.
    fn rotate(&mut self, now: Instant) {
        let current = self.keys.current.next(&mut self.rng);
        self.keys = Keys { current, previous: Some(self.keys.current) };
        self.mine.key = current;
        self.next_key = Some(now + self.config.key_life);
        self.notices.push_back(Notice::OwnKeys(self.keys));
        for (_, line) in self.lines.iter_mut() {
            if line.outgoing.key_changed() {
                self.asks.extend(line.stream.map(Ask::Write));
            }
        }
    }

    /// When the key before the current one stops being valid.
    fn key_expiry(&self) -> Option<Instant> {
        self.keys.previous?;
        let rotated = self.next_key? - self.config.key_life;
        Some(rotated + self.config.key_grace)
    }

    fn retime(&mut self, link: LinkId) {
        let due = self.lines.get(&link).and_then(|line| line.due(&self.config));
        self.deadlines.set(link, due.map(|(due, _)| due));
    }

    /// A line's timer fired.
    fn due(&mut self, now: Instant, link: LinkId) {
        let Some(line) = self.lines.get_mut(&link) else { return };
        match line.due(&self.config).filter(|(due, _)| *due <= now).map(|(_, timer)| timer) {
            Some(line::Timer::Hello) => self.give_up(link, code::TIMEOUT),
            Some(line::Timer::Message) => self.leave(now, link, &STALLED.into()),
            Some(line::Timer::Idle) => self.leave(now, link, &Leave { fault: None, reason: Goodbye::Idle }),
            Some(line::Timer::Pong) => {
                self.leave(now, link, &Leave { fault: Some(NO_PONG), reason: Goodbye::Idle });
            }
            Some(line::Timer::Ping) => {
                line.ping = Ping::Due;
                self.asks.extend(line.stream.map(Ask::Write));
            }
            Some(line::Timer::Services) => {
                line.outgoing.services_may_go();
                self.asks.extend(line.stream.map(Ask::Write));
            }
            Some(line::Timer::End) => self.leave(now, link, &ENDED.into()),
            Some(line::Timer::Goodbye) => {
                if let Stage::Leaving { reason, .. } | Stage::Heard { reason, .. } = line.stage {
                    line.stage = Stage::Closed;
                    self.asks.push_back(Ask::Close(link, reason));
                }
            }
            None => {}
        }
        self.retime(link);
    }
}

/// The protocol of the control stream.
const PROTOCOL: ProtocolId = ChannelId::CONTROL.protocol(0);
