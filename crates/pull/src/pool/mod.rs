//! Pool — a set that all nodes should come to share (`docs/spec/pool.md`).
//!
//! Message flow, one side as client and the other as server:
//! - client opens lane 0 and sends a permit ([`codec::Want`]): how many entries, from where on, above which priority;
//! - server offers what its log has from there on ([`codec::Entry`]: index, short id, size, summary);
//! - client asks for what it lacks on lane 1, from one announcer at a time, and gets an item or *gone* for each index;
//! - what it got is checked against what was offered, handed to the application, and enters the log on *accept*;
//! - each decision gives credit back; the next permit goes out when half the window can be given.
//!
//! The parts, none of which knows those that stand above it:
//! - `inventory`: what this node has, and who else has it;
//! - `links`: the streams with each link, and the accounts that outlive links; `common`: these and what else every part works on;
//! - `client`: permits and offers in, who is asked for what, what comes of it;
//! - `server`: offers out, answers out;
//! - `checking` over `turns`: hand-over to the application, and whose checking time it was;
//! - `Pool` routes streams (`lanes`), carries out publications (`publish`) and verdicts (`verdicts`), and keeps all parts' accounts
//!   (`accounts`).
//!
//! Threats and answers: too many offers → the permit; false summaries, sizes, bodies → checked against the deliverer's own
//! offer, before shared memory is touched; withholding → another source after a quarter second, and records; leaving before
//! the verdict → the account stays; items nobody
//! asked for → a fault; slow verdicts → credit counts undecided candidates only; many links of one owner → the dealer.

mod accounts;
mod checking;
mod client;
pub mod codec;
mod common;
mod faults;
mod inventory;
mod lanes;
mod links;
mod publish;
mod server;
mod timer;
mod turns;
mod types;
mod verdicts;

pub use faults::{
    BEYOND_PERMIT, CHATTY, FALSE_ITEM, GREEDY, MOSTLY_GONE, OUT_OF_PLACE, OVERSIZED, REJECTED, RESTLESS,
    UNASKED, WITHHELD,
};
pub use types::{Command, Config, Event, Item, MAX_BATCH, MAX_SUMMARY, Rules, Stats, Summary, Verdict};

use weir_base::identity::PeerId;
use weir_base::stream::{Ask, Class, Incoming, LinkInfo, OpenError};
use weir_base::{Instant, LinkId, Rope, StreamKey};

use self::checking::Checking;
use self::client::{Asking, Client, move_due, regain, renew_permit};
use self::common::Common;
use self::inventory::Inventory;
use self::server::{Offers, Uploads, strike};
use self::timer::Timer;
use crate::keys::{Keys, NumberedKey};
use crate::machine::{Counters, Machine, MachineSetup, Negotiated, Opened, Refused, Ticket, earlier};

/// The pool of one channel, on all links: the parent of its machines. It routes streams and timers to them, settles what every
/// input may have made possible, and carries out what concerns several of them (verdicts, publications, accounts).
#[derive(Debug)]
pub(crate) struct Pool {
    common: Common,
    client: Client,
    offers: Offers,
    uploads: Uploads,
    checking: Checking,
}

impl Pool {
    pub(crate) fn new(config: Config, mut setup: MachineSetup) -> Self {
        let secret = setup.rng.bytes();
        let inventory = Inventory::new(&setup.keys, &config, setup.rng.child("places"));
        let asking = Asking::new(setup.channel, &config, &mut setup.rng);
        Self {
            common: Common::new(config, setup.channel, setup.tickets, inventory),
            client: Client::new(asking),
            offers: Offers::new(secret),
            uploads: Uploads::new(),
            checking: Checking::new(),
        }
    }

    /// Carries out what the application wants. The ticket returned is named again by [`Event::BatchDone`] alone.
    pub(crate) fn command(&mut self, now: Instant, command: Command) -> Result<Ticket, Refused> {
        let ticket = self.common.tickets.next();
        match command {
            Command::Insert { bytes } => self.insert(now, bytes)?,
            Command::Publish { item } => self.publish(now, item)?,
            Command::Verdict { ticket, at, verdict } => self.verdict(now, ticket, at.min(now), verdict)?,
            Command::Taken { ticket, at } => {
                self.checking.taken(ticket, at.min(now), self.common.config.verdict_time)?;
            }
            Command::Share { ticket, item } => self.share(ticket, item)?,
            Command::Remove { id } => self.remove(now, &id),
            Command::Batch { remove, insert } => self.batch(now, ticket, &remove, insert)?,
            Command::Pause(paused) => self.client.pause(&mut self.common, now, paused),
            Command::Reconsider => self.release_deferred(now, Instant::from_nanos(u64::MAX)),
            Command::Floor(floor) => self.client.set_floor(&mut self.common, now, floor),
            Command::Resync => self.client.resync(&mut self.common, now),
        }
        self.settle(now);
        Ok(ticket)
    }

    /// The next thing to tell the application.
    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.common.events.pop_front()
    }

    /// The counters, with what is so now.
    pub(crate) fn stats(&self) -> Stats {
        let mut stats = self.common.stats;
        for (_, link) in self.common.links.iter() {
            let (granted, held, bytes_granted, bytes_held) = link.intake.grant.totals();
            stats.entries_granted += granted;
            stats.entries_held += held;
            stats.bytes_granted += bytes_granted;
            stats.bytes_held += bytes_held;
        }
        stats.control_bytes -= stats.body_bytes;
        stats.in_flight = self.client.asking.fetch.in_flight();
        stats.items = self.common.inventory.log.len();
        stats.item_bytes = self.common.inventory.log.bytes();
        stats.table_bytes = table_bytes(self) as u64;
        stats
    }

    /// What every input may have made possible: fetches, hand-overs, uploads.
    fn settle(&mut self, now: Instant) {
        let asking = &mut self.client.asking;
        asking.start_fetches(&mut self.common.links, &mut self.common.asks, now);
        self.checking.hand_over(&mut self.common, &mut asking.candidates, now);
        self.uploads.give_turns(&mut self.common, now);
        asking.fetch.forget_stale(&self.common.links);
    }

    /// Does what is due.
    fn advance(&mut self, now: Instant) {
        while let Some(timer) = self.common.timers.pop_due(now) {
            let common = &mut self.common;
            match timer {
                Timer::Permit(slot) => renew_permit(common, slot),
                Timer::Offers(slot) => strike(common, slot),
                Timer::Gone(slot) => self.client.forget_gone(common, now, slot),
                Timer::Move(slot) => move_due(common, now, slot),
                Timer::Message(slot, role) => self.stalled(now, slot, role),
                Timer::Open(slot, role) => self.client.reopen(common, slot, role),
                Timer::Lost => regain(common, now),
            }
        }
        self.client.late_gets(&mut self.common, now);
        self.verdicts_due(now);
        self.release_deferred(now, now);
        self.uploads.turns_due(now);
    }
}

/// Peers that have granted entries of which none is left.
pub(crate) fn used_up(pool: &Pool) -> impl Iterator<Item = PeerId> {
    pool.common.links.iter().filter(|(_, link)| link.outlet.is_used_up()).map(|(_, link)| link.peer())
}

/// Bytes of a pool's tables that grow with what peers offer.
fn table_bytes(pool: &Pool) -> usize {
    let links = pool.common.links.iter();
    let links = links.map(|(_, link)| link.intake.table_bytes() + link.gets.table_bytes());
    pool.client.asking.candidates.table_bytes()
        + pool.common.inventory.known.table_bytes()
        + pool.checking.table_bytes()
        + links.sum::<usize>()
}

impl Machine for Pool {
    fn link_up(&mut self, now: Instant, link: LinkId, info: &LinkInfo) {
        self.add_link(now, link, info);
    }

    fn link_ready(&mut self, now: Instant, link: LinkId, negotiated: &Negotiated) {
        self.ready_link(now, link, negotiated);
        self.settle(now);
    }

    fn link_down(&mut self, now: Instant, link: LinkId) {
        self.drop_link(now, link);
        self.settle(now);
    }

    fn link_rtt(&mut self, now: Instant, link: LinkId, rtt: std::time::Duration) {
        if let Some(link) = self.common.links.slot(link).and_then(|slot| self.common.links.get_mut(slot)) {
            link.set_rtt(rtt);
            link.heard.pong(now, rtt);
        }
    }

    fn link_share(&mut self, link: LinkId, quarters: u8) {
        if let Some(slot) = self.common.links.slot(link) {
            self.client.asking.fetch.set_share(slot, quarters);
            self.checking.set_share(slot, quarters);
            self.uploads.set_share(slot, quarters);
            self.client.demand.parts.set_share(slot, quarters);
        }
    }

    fn link_key(&mut self, _now: Instant, link: LinkId, key: NumberedKey) {
        let link = self.common.links.slot(link).and_then(|slot| self.common.links.get_mut(slot));
        if let Some(ready) = link.and_then(|link| link.ready.as_mut()) {
            ready.key = key;
        }
    }

    fn own_keys(&mut self, _now: Instant, keys: &Keys) {
        self.rotate(keys);
    }

    fn handle_opened(&mut self, _now: Instant, key: StreamKey, opened: Opened) {
        self.opened(key, opened);
    }

    fn handle_refused(&mut self, now: Instant, tag: u64, error: OpenError) {
        self.refused(now, tag, error);
    }

    fn class(&self, _lane: u8) -> Class {
        self.common.config.class
    }

    fn room(&self, key: StreamKey) -> usize {
        self.common.room(key)
    }

    fn handle_incoming(&mut self, now: Instant, key: StreamKey, input: Incoming) {
        self.incoming(now, key, input);
        self.settle(now);
    }

    fn poll_write(&mut self, now: Instant, key: StreamKey, room: usize, out: &mut Rope) {
        self.write(now, key, room, out);
    }

    fn poll_ask(&mut self) -> Option<Ask> {
        self.common.asks.pop_front()
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.advance(now);
        self.settle(now);
    }

    fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let timers = self.common.timers.next().map(|(due, timer)| (due, timer.reason()));
        let fetches = earlier(self.client.asking.fetch.next_timeout(), self.checking.next_timeout());
        let items = earlier(self.common.inventory.deferred.next_timeout(), self.uploads.next_timeout());
        earlier(earlier(fetches, items), timers)
    }

    fn counters(&self) -> Counters {
        self.common.counters
    }
}

#[cfg(test)]
mod tests;
