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
mod types;
mod user;

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use weir_base::stream::Ask;
use weir_base::{Deadlines, Fault, Instant, LinkId, ProtocolId};

use crate::machine::{Counters, MachineSetup, Refused, Ticket, Tickets};
use peer::{Peer, Wanting};
use relay::Relay;

pub use types::{Command, Config, Event, Grounds, MAX_VALUE, SlotKey, Verdict};

/// Values of links that are gone which may still be decided on; of more the oldest are forgotten.
const MAX_ORPHANS: usize = 64;

/// The application found it wrong by itself.
const REJECTED: Fault = Fault::invalid("a tip that is wrong by itself");

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
