//! Tip — one current value, the newest wins (`docs/spec/tip.md`).
//!
//! Message flow, for each direction of a link a stream of its own: the side that wants the peer's tips opens it and writes
//! Want; the other holds that permit until it has something new and writes Tip, Evidence or Withdrawn. The next Want goes
//! out when the application has decided.
//!
//! Threat: a flood of values (one permit at a time, a token bucket), many values of one slot (two are relayed), a value
//! again and again. Per link at most one undecided value, the last values of both directions and one message are held.

pub mod codec;
mod peer;
mod relay;
#[cfg(test)]
mod tests;
mod user;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use weir_base::identity::PeerId;
use weir_base::stream::{Ask, Class};
use weir_base::{Deadlines, Fault, Instant, LinkId, ProtocolId, UnixTime};

use crate::machine::{Counters, MachineSetup, Refused, Ticket, Tickets};
use peer::{Peer, Wanting};
use relay::Relay;

/// Values of links that are gone which may still be decided on; of more the oldest are forgotten.
const MAX_ORPHANS: usize = 64;

/// The application found it wrong by itself.
const REJECTED: Fault = Fault::invalid("a tip that is wrong by itself");

/// The largest value the protocol carries, in bytes.
pub const MAX_VALUE: u32 = 1024;

/// The limits of a tip channel.
#[derive(Clone, Debug)]
pub struct Config {
    /// The largest value, in bytes: 1 to [`MAX_VALUE`]. Default: 1,024.
    pub max_value: u32,
    /// Values per second on one link, in the long run; the profile's, the same on all nodes. Default: 10.
    pub rate: u32,
    /// Values that may come at once above the rate. Default: 20.
    pub burst: u32,
    /// Slot keys remembered, the oldest dropped first. Default: 4,096.
    pub max_slots: u32,
    /// A value is relayed only with at most so many ancestors whose bodies are not validated. Default: 2.
    pub max_unvalidated: u32,
    /// How far before its slot by wall clock a value is relayed. Default: 500 ms.
    pub early: Duration,
    /// How it ranks where bytes compete. Default: [`Class::Tip`].
    pub class: Class,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_value: MAX_VALUE,
            rate: 10,
            burst: 20,
            max_slots: 4096,
            max_unvalidated: 2,
            early: Duration::from_millis(500),
            class: Class::Tip,
        }
    }
}

impl Config {
    /// Checks every field; names the field and the remedy.
    pub(crate) fn validate(&self) -> Result<(), (&'static str, &'static str)> {
        if self.max_value == 0 || self.max_value > MAX_VALUE {
            return Err(("max_value", "must be between 1 and 1024"));
        }
        if self.rate == 0 || self.burst == 0 {
            return Err(("rate", "and `burst` must be at least 1"));
        }
        if self.max_slots == 0 {
            return Err(("max_slots", "must be at least 1; 4096 is usual"));
        }
        Ok(())
    }
}

/// What a value competes for: the application's name for signer and height or slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotKey(pub [u8; 32]);

impl SlotKey {
    /// The key itself, for applications that have one of 32 bytes.
    pub const fn new(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// The key of what `parts` name together, say a signer and a height: the SHA-256 of each part behind its length (8 bytes,
    /// the most significant first), so that parts never run into each other.
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }
}

/// What decides whether a value may be relayed now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grounds {
    /// At most two values of one slot key are relayed, the second as evidence.
    pub slot: SlotKey,
    /// Ancestors whose bodies are not validated yet.
    pub unvalidated: u32,
    /// When the slot begins by wall clock; `None` where values have none.
    pub begins: Option<UnixTime>,
}

/// What the application decided on a received value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Better than the current value: it becomes the tip here and is relayed, unless its slot has two values already, or
    /// too many ancestors are not validated; publish it once they are.
    Adopt(Grounds),
    /// Not better, but relayed where it is the second value of its slot key: evidence.
    Evidence(Grounds),
    /// Nobody's fault; not relayed.
    Ignore,
    /// Wrong on stateless grounds: the peer's fault.
    Reject,
}

/// What the application wants of a tip channel.
#[derive(Clone, Debug)]
pub enum Command {
    /// This node's tip from now on.
    Publish {
        /// Its bytes.
        value: Bytes,
        /// What decides whether it is sent now.
        grounds: Grounds,
    },
    /// The current tip, or the one that waits for its slot, proved invalid or unobtainable: there is none until the next
    /// is published or adopted, and the peers that have it are told.
    Withdraw,
    /// Decides on a received value; only then the peer may send the next.
    Verdict {
        /// Names it.
        ticket: Ticket,
        /// The decision.
        verdict: Verdict,
    },
}

/// What a tip channel tells the application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A peer's tip, or evidence. Waits for a verdict.
    Received {
        /// Names it in the verdict.
        ticket: Ticket,
        /// The link.
        link: LinkId,
        /// Who sent it.
        peer: PeerId,
        /// The value.
        value: Bytes,
    },
    /// A peer took back the tip it sent last.
    Withdrawn {
        /// The link.
        link: LinkId,
        /// Who.
        peer: PeerId,
        /// The value taken back.
        value: Bytes,
    },
}

/// One tip channel on all links.
#[derive(Debug)]
pub(crate) struct Tip {
    config: Config,
    protocol: ProtocolId,
    tickets: Tickets,
    relay: Relay,
    links: BTreeMap<LinkId, Peer>,
    undecided: BTreeMap<Ticket, Undecided>, // one per link, and MAX_ORPHANS
    orphans: VecDeque<Ticket>,
    events: VecDeque<Event>, // one per permit
    asks: VecDeque<Ask>,
    deadlines: Deadlines<LinkId>,
    counters: Counters,
}

/// A value the application has not decided on.
#[derive(Debug)]
struct Undecided {
    link: LinkId,
    value: Bytes,
}

impl Tip {
    pub(crate) fn new(config: Config, setup: MachineSetup) -> Self {
        Self {
            protocol: setup.channel.protocol(0),
            tickets: setup.tickets,
            relay: Relay::new(&config),
            config,
            links: BTreeMap::new(),
            undecided: BTreeMap::new(),
            orphans: VecDeque::new(),
            events: VecDeque::new(),
            asks: VecDeque::new(),
            deadlines: Deadlines::default(),
            counters: Counters::default(),
        }
    }

    pub(crate) fn command(&mut self, now: Instant, command: Command) -> Result<Ticket, Refused> {
        let ticket = match command {
            Command::Publish { value, grounds } => {
                if value.is_empty() {
                    return Err(Refused::Invalid);
                }
                if value.len() > self.config.max_value as usize {
                    return Err(Refused::TooLarge);
                }
                self.relay.adopt(now, value, &grounds)?;
                self.tickets.next()
            }
            Command::Withdraw => {
                self.relay.withdraw();
                self.tickets.next()
            }
            Command::Verdict { ticket, verdict } => {
                self.decide(now, ticket, verdict)?;
                ticket
            }
        };
        self.spread(now);
        Ok(ticket)
    }

    fn decide(&mut self, now: Instant, ticket: Ticket, verdict: Verdict) -> Result<(), Refused> {
        let Undecided { link, value } = self.undecided.remove(&ticket).ok_or(Refused::UnknownTicket)?;
        self.orphans.retain(|orphan| *orphan != ticket);
        match verdict {
            Verdict::Adopt(grounds) => drop(self.relay.adopt(now, value, &grounds)), // not relayed is no error here
            Verdict::Evidence(grounds) => self.relay.evidence(now, value, &grounds),
            Verdict::Ignore => {}
            Verdict::Reject => {
                self.asks.push_back(Ask::Blame(link, REJECTED)); // who has left pays, too
            }
        }
        if let Some(peer) = self.links.get_mut(&link)
            && peer.client.wanting == Wanting::Undecided(ticket)
        {
            peer.client.wanting = Wanting::Due;
            self.asks.extend(peer.client.stream.map(Ask::Write));
        }
        Ok(())
    }

    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Wakes the links whose peer waits for what is new.
    fn spread(&mut self, now: Instant) {
        self.relay.release(now);
        for peer in self.links.values_mut() {
            if peer.server.permit && peer.server.next(&self.relay, &peer.crossed).is_some() {
                self.asks.extend(peer.server.stream.map(Ask::Write));
            }
        }
    }

    fn retime(&mut self, link: LinkId) {
        let due = self.links.get(&link).and_then(Peer::due);
        self.deadlines.set(link, due.map(|(due, _)| due));
    }
}
