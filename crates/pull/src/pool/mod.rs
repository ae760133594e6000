//! Pool — a set that all nodes should come to share (`docs/spec/pool.md`).
//!
//! Message flow, one side as client and the other as server:
//! - client opens lane 0 and sends a permit ([`codec::Want`]): how many entries, from where on, above which priority;
//! - server offers what its log has from there on ([`codec::Entry`]: index, short id, size, summary);
//! - client asks for what it lacks on lane 1, from one announcer at a time, and gets an item or *gone* for each index;
//! - what it got is checked against what was offered, handed to the application, and enters the log on *accept*;
//! - each decision gives credit back; the next permit goes out when half the window can be given.
//!
//! Files, one per concern:
//! - what this node has, and who else has it: `inventory` over `log`, `places`, `known` and `deferred`; `store` changes it;
//! - as client: `intake` and `permits` (offers in), `asking` over `candidates`, `reserve`, `fetch`, `gone` and `record` (who is asked
//!   for what), `gets`, `overdue` and `delivery` (what comes of it);
//! - as server: `outlet` (offers out), `serving` (answers out);
//! - verdicts: `checking`, `meter`;
//! - who is there: `link`, `links`, `departed` (who was), `resume`, `time`.
//!
//! Threats and answers: too many offers → the permit; false summaries, sizes, bodies → checked against the deliverer's own
//! offer, before shared memory is touched; withholding → another source after a quarter second, and records; leaving before
//! the verdict → the account stays; items nobody
//! asked for → a fault; slow verdicts → credit counts undecided candidates only; many links of one owner → the dealer.

mod asking;
mod candidates;
mod checking;
pub mod codec;
mod deferred;
mod delivery;
mod departed;
mod fetch;
mod gets;
mod gone;
mod intake;
mod inventory;
mod known;
mod link;
mod links;
mod log;
mod outlet;
mod overdue;
mod permits;
mod places;
mod record;
mod reserve;
mod resume;
mod serving;
mod store;
mod time;
mod types;

pub use types::{Command, Config, Event, Item, MAX_BATCH, MAX_SUMMARY, Rules, Stats, Summary, Verdict};

use std::collections::VecDeque;

use crate::channel::ChannelId;
use bytes::BytesMut;
use weir_base::stream::{Ask, Class, Incoming, LinkInfo, OpenError, Side};
use weir_base::{Deadlines, Dealer, Fault, Instant, LinkId, Rng, Rope, StreamKey};

use self::asking::Asking;
use self::checking::Checking;
use self::inventory::Inventory;
use self::link::{Account, Links, Role, Slot};
use self::outlet::Clock;
use self::resume::Resume;
use self::serving::Uploads;
use self::time::Timer;
use crate::framing::{Message, UNKNOWN_TYPE, code};
use crate::keys::{Keys, NumberedKey};
use crate::machine::{Counters, Machine, Negotiated, Opened, Refused, Seat, Ticket, Tickets};

/// More was offered than was granted.
pub const BEYOND_PERMIT: Fault = Fault::misbehaved("an offer beyond its permit");
/// Offers do not follow one another, or a first one does not begin where it was asked to.
pub const OUT_OF_PLACE: Fault = Fault::misbehaved("an offer that does not begin where it should");
/// An item larger than both sides' limits was offered.
pub const OVERSIZED: Fault = Fault::misbehaved("an offer of an item beyond the size limit");
/// An answer came that was not asked for.
pub const UNASKED: Fault = Fault::misbehaved("an item or gone that was not asked for");
/// An index was asked for while its answer was outstanding, or too many were.
pub const GREEDY: Fault = Fault::misbehaved("a get of what is on its way, or too many gets");
/// The cursor was moved too often.
pub const RESTLESS: Fault = Fault::misbehaved("the cursor was moved too often");
/// Messages of types that are skipped came too often, or were too large together.
pub const CHATTY: Fault = Fault::misbehaved("too many messages of types that are skipped");
/// An item is not what its deliverer had offered.
pub const FALSE_ITEM: Fault = Fault::invalid("an item that is not what was offered");
/// The application rejected an item.
pub const REJECTED: Fault = Fault::invalid("an item that the application rejected");
/// An item was announced and not delivered.
pub const WITHHELD: Fault = Fault::unreliable("an item announced and neither delivered nor gone in time");
/// Most items announced were gone, and others had them.
pub const MOSTLY_GONE: Fault = Fault::unreliable("most items announced were gone, though others had them");

/// The pool of one channel, on all links.
#[derive(Debug)]
pub(crate) struct Pool {
    config: Config,
    channel: ChannelId,
    tickets: Tickets,
    rng: Rng,
    links: Links,
    resume: Resume,
    inventory: Inventory,
    asking: Asking,
    checking: Checking,
    uploads: Uploads,
    clock: Clock,
    want: Demand,
    timers: Deadlines<Timer>,
    asks: VecDeque<Ask>, // a few per input; streams ask once until they are served
    events: VecDeque<Event>,
    scratch: BytesMut,
    stats: Stats,
    counters: Counters,
}

/// What this node wants at all.
#[derive(Debug)]
struct Demand {
    /// Grants nothing while true.
    paused: bool,
    /// The application's floor.
    floor: u64,
    /// The lowest priority that finds a place, while the pool is full.
    full: u64,
    lent: Lent,
    /// Whose part of all grants is how large.
    parts: Dealer<Slot>,
}

impl Demand {
    fn new() -> Self {
        Self { paused: false, floor: 0, full: 0, lent: Lent::default(), parts: Dealer::new(1, 1) }
    }

    /// The part of `total` grants that a link may have: less what those of its group that left still have undecided.
    fn part(&self, links: &Links, slot: Slot, total: u64) -> u64 {
        let departed = links.get(slot).map_or(0, |link| links.departed_charges(&Account::of(&link.info)));
        self.parts.part(slot, total).saturating_sub(departed)
    }
}

/// Entries granted that have not returned, to links of this node's own choice and to inbound ones. Each side has half of
/// what may be granted at all, also while the other has no links: grants can not be taken back.
#[derive(Clone, Copy, Debug, Default)]
struct Lent {
    own: u64,
    inbound: u64,
}

impl Lent {
    const fn of(&self, side: Side) -> u64 {
        match side {
            Side::Inbound => self.inbound,
            Side::Dialled | Side::Pinned => self.own,
        }
    }

    const fn place(&mut self, side: Side) -> &mut u64 {
        match side {
            Side::Inbound => &mut self.inbound,
            Side::Dialled | Side::Pinned => &mut self.own,
        }
    }

    const fn add(&mut self, side: Side, entries: u64) {
        *self.place(side) += entries;
    }

    const fn take(&mut self, side: Side, entries: u64) {
        let place = self.place(side);
        *place = place.saturating_sub(entries);
    }
}

impl Pool {
    pub(crate) fn new(config: Config, mut seat: Seat) -> Self {
        let rng = &mut seat.rng;
        Self {
            channel: seat.channel,
            tickets: seat.tickets,
            links: Links::default(),
            resume: Resume::new(rng.bytes()),
            inventory: Inventory::new(&seat.keys, &config, rng.child("places")),
            asking: Asking::new(seat.channel, &config, rng),
            checking: Checking::new(),
            uploads: Uploads::new(),
            clock: Clock::default(),
            want: Demand::new(),
            timers: Deadlines::default(),
            asks: VecDeque::new(),
            events: VecDeque::new(),
            scratch: BytesMut::new(),
            stats: Stats::default(),
            counters: Counters::default(),
            config,
            rng: seat.rng,
        }
    }

    /// Carries out what the application wants. The ticket returned is named again by [`Event::BatchDone`] alone.
    pub(crate) fn command(&mut self, now: Instant, command: Command) -> Result<Ticket, Refused> {
        let ticket = self.tickets.next();
        match command {
            Command::Insert { bytes } => self.insert(now, bytes)?,
            Command::Publish { item } => self.publish(now, item)?,
            Command::Verdict { ticket, verdict } => self.verdict(now, ticket, verdict)?,
            Command::Taken { ticket, at } => self.taken(ticket, at.min(now))?,
            Command::Remove { id } => self.remove(now, &id),
            Command::Batch { remove, insert } => self.batch(now, ticket, &remove, insert)?,
            Command::Pause(paused) => self.pause(now, paused),
            Command::Reconsider => self.reconsider(now),
            Command::Floor(floor) => self.set_floor(now, floor),
            Command::Resync => self.resync(now),
        }
        self.settle(now);
        Ok(ticket)
    }

    /// The next thing to tell the application.
    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The counters, with what is so now.
    pub(crate) fn stats(&self) -> Stats {
        let mut stats = self.stats;
        for (_, link) in self.links.iter() {
            let (granted, held, bytes_granted, bytes_held) = link.intake.grant.totals();
            stats.entries_granted += granted;
            stats.entries_held += held;
            stats.bytes_granted += bytes_granted;
            stats.bytes_held += bytes_held;
        }
        stats.control_bytes -= stats.body_bytes;
        stats.in_flight = self.asking.fetch.in_flight();
        stats.items = self.inventory.log.len();
        stats.item_bytes = self.inventory.log.bytes();
        stats
    }

    /// What every input may have made possible: fetches, hand-overs, uploads.
    fn settle(&mut self, now: Instant) {
        self.asking.start_fetches(&mut self.links, &mut self.asks, now);
        self.hand_over(now);
        self.give_turns(now);
        self.asking.fetch.forget_stale(&self.links);
    }

    /// The peer is to blame; what it did stays without effect here.
    fn blame(&mut self, slot: Slot, fault: Fault) {
        if let Some(link) = self.links.get(slot) {
            self.stats.faults += 1;
            self.asks.push_back(Ask::Blame(link.id, fault));
        }
    }

    /// A message of another type than this version knows: skipped, where that may be and is not too much.
    fn skip(&mut self, now: Instant, slot: Slot, message: &Message) -> Result<(), Fault> {
        if !Message::skippable(message.kind) {
            return Err(UNKNOWN_TYPE);
        }
        let Some(link) = self.links.get_mut(slot) else { return Ok(()) };
        link.skipped.take(now, message.body.len() as u64)
    }

    /// The peer is to blame for what came on a stream, which can not be read any further.
    fn break_off(&mut self, slot: Slot, role: Role, fault: Fault) {
        self.blame(slot, fault);
        self.close_lane(slot, role, code::FAULT);
    }
}

impl Machine for Pool {
    fn link_up(&mut self, now: Instant, link: LinkId, info: &LinkInfo) {
        self.add_link(now, link, info);
    }

    fn link_ready(&mut self, now: Instant, link: LinkId, negotiated: &Negotiated) {
        self.ready_link(link, negotiated);
        self.settle(now);
    }

    fn link_down(&mut self, now: Instant, link: LinkId) {
        self.drop_link(now, link);
        self.settle(now);
    }

    fn link_rtt(&mut self, now: Instant, link: LinkId, rtt: std::time::Duration) {
        if let Some(link) = self.links.slot(link).and_then(|slot| self.links.get_mut(slot)) {
            link.set_rtt(rtt);
            link.heard.pong(now, rtt);
        }
    }

    fn link_share(&mut self, link: LinkId, quarters: u8) {
        if let Some(slot) = self.links.slot(link) {
            self.asking.fetch.set_share(slot, quarters);
            self.checking.set_share(slot, quarters);
            self.uploads.set_share(slot, quarters);
            self.want.parts.set_share(slot, quarters);
        }
    }

    fn link_key(&mut self, _now: Instant, link: LinkId, key: NumberedKey) {
        let link = self.links.slot(link).and_then(|slot| self.links.get_mut(slot));
        if let Some(ready) = link.and_then(|link| link.ready.as_mut()) {
            ready.key = key;
        }
    }

    fn own_keys(&mut self, _now: Instant, keys: &Keys) {
        self.rotate(keys);
    }

    fn handle_opened(&mut self, now: Instant, key: StreamKey, opened: Opened) {
        self.opened(now, key, opened);
    }

    fn handle_refused(&mut self, now: Instant, tag: u64, why: OpenError) {
        self.refused(now, tag, why);
    }

    fn class(&self, _lane: u8) -> Class {
        self.config.class
    }

    fn room(&self, key: StreamKey) -> usize {
        self.room_of(key)
    }

    fn handle_incoming(&mut self, now: Instant, key: StreamKey, input: Incoming) {
        self.incoming(now, key, input);
        self.settle(now);
    }

    fn poll_write(&mut self, now: Instant, key: StreamKey, room: usize, out: &mut Rope) {
        self.write(now, key, room, out);
    }

    fn poll_ask(&mut self) -> Option<Ask> {
        self.asks.pop_front()
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.advance(now);
        self.settle(now);
    }

    fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        self.next_timeout()
    }

    fn counters(&self) -> Counters {
        self.counters
    }
}

#[cfg(test)]
mod tests;
