//! Hand-over to the application and its verdicts. Checking time is dealt among deliverers.
//!
//! A body waits in the queue of its deliverer's account, which outlives the link. It is handed over, then taken by the
//! application, then decided. From *taken* to the verdict it is being checked; the time that passes meanwhile is shared by all
//! that are ([`Meter`]), and charged to each one's deliverer at its verdict.
//!
//! Threat: what has been handed over stands in one queue, first come, first served. So only a few milliseconds of checking, by
//! what the items of each deliverer took before, are handed over ahead of what was taken, and few items.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use weir_base::stream::{Ask, Group, Side};
use weir_base::time::nanos;
use weir_base::{Dealer, Instant};

use super::asking::Asking;
use super::candidates::{Body, CandId, Candidate, State};
use super::link::Slot;
use super::places::Place;
use super::types::Item;
use super::{Event, MOSTLY_GONE, Pool, REJECTED, Verdict};
use crate::machine::{Refused, Ticket};
use crate::meter::{Begun, Meter};

/// Nanoseconds of one turn; also what an item of a deliverer of whom none was checked yet is expected to take at least.
const QUANTUM: u64 = 1_000_000;
/// Nanoseconds that a link may be behind.
const DEBT: u64 = 10_000_000_000;

/// Candidates on their way to the application, or there.
#[derive(Debug)]
pub(super) struct Checking {
    dealer: Dealer<Slot>,
    deliverers: BTreeMap<Slot, Queue>,
    open: BTreeMap<Ticket, Open>, // <= Config::checking
    ahead: Ahead,
    meter: Meter,
    taken: VecDeque<(Instant, Ticket)>, // when silence means *defer*; ascending
    verdict_time: u64,                  // nanoseconds from hand-over, moving mean
    cost: u64,                          // nanoseconds of an item of anybody, moving mean
}

/// What was handed over and is not taken.
#[derive(Debug, Default)]
struct Ahead {
    items: u32,
    expected: u64, // nanoseconds
}

/// The bodies of one deliverer.
#[derive(Debug, Default)]
struct Queue {
    held: VecDeque<(CandId, u32)>, // to be handed over, with their sizes; some may be decided
    bytes: u64,                    // of these
    open: u32,                     // that the application has
    cost: Option<u64>,             // nanoseconds of one, moving mean that rises fast and falls slowly
}

/// A candidate that the application has.
#[derive(Debug)]
struct Open {
    candidate: CandId,
    deliverer: Slot,
    /// Nanoseconds that it was expected to take.
    expected: u64,
    /// Since it was taken out of the mailbox.
    begun: Option<Begun>,
}

impl Checking {
    pub(super) fn new() -> Self {
        Self {
            dealer: Dealer::new(QUANTUM, DEBT),
            deliverers: BTreeMap::new(),
            open: BTreeMap::new(),
            ahead: Ahead::default(),
            meter: Meter::default(),
            taken: VecDeque::new(),
            verdict_time: 0,
            cost: 0,
        }
    }

    pub(super) fn add(&mut self, slot: Slot, side: Side, group: Group) {
        self.dealer.add(slot, side, group);
        self.deliverers.insert(slot, Queue::default());
    }

    pub(super) fn set_share(&mut self, slot: Slot, quarters: u8) {
        self.dealer.set_share(slot, quarters);
    }

    pub(super) fn remove(&mut self, slot: Slot) {
        self.dealer.remove(slot);
        self.deliverers.remove(&slot);
    }

    /// Bodies of this deliverer that wait to be handed over, some of which may be decided, and their bytes.
    pub(super) fn waiting(&self, slot: Slot) -> (usize, u64) {
        self.deliverers.get(&slot).map_or((0, 0), |queue| (queue.held.len(), queue.bytes))
    }

    /// Whether any of this deliverer's bodies wait, or are at the application.
    pub(super) fn has_work(&self, slot: Slot) -> bool {
        self.deliverers.get(&slot).is_some_and(|queue| queue.open > 0 || !queue.held.is_empty())
    }

    /// A body waits to be handed over, in the queue of this deliverer.
    pub(super) fn hold(&mut self, slot: Slot, id: CandId, size: u32) {
        let Some(queue) = self.deliverers.get_mut(&slot) else { return };
        queue.held.push_back((id, size));
        queue.bytes += u64::from(size);
        self.dealer.set_waiting(slot, true);
    }

    /// Takes the body that waits first in a deliverer's queue.
    fn next(&mut self, slot: Slot) -> Option<CandId> {
        let queue = self.deliverers.get_mut(&slot)?;
        let (id, size) = queue.held.pop_front()?;
        queue.bytes -= u64::from(size);
        if queue.held.capacity() > 4 * queue.held.len().max(16) {
            queue.held.shrink_to(2 * queue.held.len());
        }
        Some(id)
    }

    /// Takes the body that waits last in a deliverer's queue.
    pub(super) fn last(&mut self, slot: Slot) -> Option<CandId> {
        let queue = self.deliverers.get_mut(&slot)?;
        let (id, size) = queue.held.pop_back()?;
        queue.bytes -= u64::from(size);
        Some(id)
    }

    /// All of one deliverer's bodies are another's from now on.
    pub(super) fn give_to(&mut self, from: Slot, to: Slot) {
        let Some(queue) = self.deliverers.get_mut(&from).map(std::mem::take) else { return };
        for (id, size) in queue.held {
            self.hold(to, id, size);
        }
        for open in self.open.values_mut().filter(|open| open.deliverer == from) {
            open.deliverer = to;
        }
        if let Some(heir) = self.deliverers.get_mut(&to) {
            heir.open += queue.open;
        }
    }

    /// What waits of this deliverer.
    pub(super) fn held_of(&self, slot: Slot) -> impl Iterator<Item = CandId> {
        self.deliverers.get(&slot).into_iter().flat_map(|queue| &queue.held).map(|(id, _)| *id)
    }

    /// What the application has of this deliverer.
    pub(super) fn open_of(&self, slot: Slot) -> Vec<CandId> {
        self.open.values().filter(|open| open.deliverer == slot).map(|open| open.candidate).collect()
    }

    /// Nanoseconds that the next item of this deliverer is expected to take.
    fn expected(&self, slot: Slot) -> u64 {
        let cost = self.deliverers.get(&slot).and_then(|queue| queue.cost);
        cost.unwrap_or(self.cost.max(QUANTUM))
    }

    /// The application has taken this, or needs it no more.
    fn not_ahead(ahead: &mut Ahead, open: &Open) {
        ahead.items = ahead.items.saturating_sub(1);
        ahead.expected = ahead.expected.saturating_sub(open.expected);
    }

    /// The application is done with a candidate. What it took is charged to its deliverer.
    fn end(&mut self, now: Instant, ticket: Ticket) {
        let Some(open) = self.open.remove(&ticket) else { return };
        let queue = self.deliverers.get_mut(&open.deliverer);
        let Some(begun) = open.begun else {
            Self::not_ahead(&mut self.ahead, &open);
            queue.into_iter().for_each(|queue| queue.open = queue.open.saturating_sub(1));
            return;
        };
        let cost = self.meter.end(now, begun);
        self.cost = self.cost - self.cost / 16 + cost / 16;
        if let Some(queue) = queue {
            queue.open = queue.open.saturating_sub(1);
            let mean = queue.cost.unwrap_or(cost);
            queue.cost = Some(if cost > mean { mean + (cost - mean) / 2 } else { mean - (mean - cost) / 16 });
        }
        self.dealer.charge(open.deliverer, cost);
    }

    /// How long the application takes, on average.
    pub(super) const fn verdict_time(&self) -> Duration {
        Duration::from_nanos(self.verdict_time)
    }

    pub(super) fn next_timeout(&self) -> Option<(Instant, &'static str)> {
        self.taken.front().map(|(due, _)| (*due, "a verdict is overdue"))
    }
}

impl Pool {
    /// Hands over what the application may have, by the dealer: few ahead of what it has taken, at least one.
    pub(super) fn hand_over(&mut self, now: Instant) {
        let most = nanos(self.config.ahead_time);
        while self.checking.open.len() < self.config.checking as usize {
            let Some(slot) = self.checking.dealer.whose_turn() else { return };
            let (expected, ahead) = (self.checking.expected(slot), &self.checking.ahead);
            let full = ahead.items >= self.config.ahead || ahead.expected.saturating_add(expected) > most;
            if full && ahead.items > 0 {
                return;
            }
            if let Some(id) = self.checking.next(slot) {
                self.hand(now, id, slot, expected);
            }
            if self.checking.waiting(slot).0 == 0 {
                self.checking.dealer.set_waiting(slot, false);
            }
        }
    }

    fn hand(&mut self, now: Instant, id: CandId, deliverer: Slot, expected: u64) {
        let Some(candidate) = self.asking.candidates.get_mut(id) else { return };
        let State::Held(body) = &candidate.state else { return };
        let ticket = self.tickets.next();
        let event = Event::Candidate {
            ticket,
            link: body.from.link,
            peer: body.from.account.peer(),
            id: body.id,
            bytes: body.bytes.clone(),
        };
        candidate.state = State::Checking { body: body.clone(), ticket, since: now };
        let checking = &mut self.checking;
        checking.dealer.charge(deliverer, 1); // takes turns; the cost itself is known at the verdict
        checking.open.insert(ticket, Open { candidate: id, deliverer, expected, begun: None });
        (checking.ahead.items, checking.ahead.expected) =
            (checking.ahead.items + 1, checking.ahead.expected + expected);
        checking.deliverers.entry(deliverer).or_default().open += 1;
        self.stats.candidates += 1;
        self.events.push_back(event);
    }

    /// The application has taken a candidate out of its mailbox. Where several threads took some at the same time and are
    /// heard of in another order, the earlier one waits with the later.
    pub(super) fn taken(&mut self, ticket: Ticket, at: Instant) -> Result<(), Refused> {
        let Checking { open, ahead, meter, taken, .. } = &mut self.checking;
        let open = open.get_mut(&ticket).ok_or(Refused::UnknownTicket)?;
        if open.begun.is_some() {
            return Ok(());
        }
        open.begun = Some(meter.begin(at));
        Checking::not_ahead(ahead, open);
        let due = at + self.config.verdict_time;
        let last = taken.back().map_or(due, |(last, _)| *last);
        taken.push_back((due.max(last), ticket));
        Ok(())
    }

    /// Candidates taken long ago come again later.
    pub(super) fn verdicts_due(&mut self, now: Instant) {
        while let Some((due, ticket)) = self.checking.taken.front().copied() {
            let open = self.checking.open.contains_key(&ticket);
            if open && due > now {
                return;
            }
            self.checking.taken.pop_front();
            if open {
                let pause = self.config.verdict_time;
                let _ = self.verdict(now, ticket, Verdict::Defer(pause)); // the ticket is open
            }
        }
    }

    /// The application has decided.
    pub(super) fn verdict(&mut self, now: Instant, ticket: Ticket, verdict: Verdict) -> Result<(), Refused> {
        let id = self.checking.open.get(&ticket).ok_or(Refused::UnknownTicket)?.candidate;
        let Some(State::Checking { body, since, .. }) =
            self.asking.candidates.get(id).map(|c| c.state.clone())
        else {
            return Err(Refused::UnknownTicket);
        };
        let mean = &mut self.checking.verdict_time;
        *mean = *mean / 8 * 7 + nanos(now.since(since)) / 8;
        let Some(candidate) = self.close(now, id) else { return Err(Refused::UnknownTicket) };
        match verdict {
            Verdict::Accept => self.accept(now, &candidate, body),
            Verdict::Reject => {
                self.stats.faults += 1;
                self.asks.push_back(Ask::Blame(body.from.link, REJECTED)); // the stack knows whose link it was, linked or not
                self.inventory.remember(&body.id);
            }
            Verdict::Ignore => self.inventory.remember(&body.id),
            Verdict::Defer(pause) => self.defer(now, candidate, body, pause),
        }
        Ok(())
    }

    fn accept(&mut self, now: Instant, candidate: &Candidate, body: Body) {
        let from = self.links.slot(body.from.link);
        for slot in self.asking.judge_gone(&mut self.links, candidate, from) {
            self.blame(slot, MOSTLY_GONE);
        }
        let Body { id, bytes, .. } = body;
        if let Some(Place::Seen(_)) = self.inventory.place_of(&id) {
            return; // removed while it was being checked
        }
        let item = Item { id, bytes, priority: candidate.priority, summary: candidate.claim.summary };
        if !self.append(now, item, &candidate.heard) {
            self.events.push_back(Event::Evicted { id });
        }
    }

    /// A candidate is decided or given up: credit and reservations return.
    pub(super) fn close(&mut self, now: Instant, id: CandId) -> Option<Candidate> {
        self.asking.cancel_sources(&mut self.links, &mut self.asks, id);
        let candidate = self.asking.candidates.remove(id)?;
        self.inventory.deferred.decided(id);
        if candidate.has_reserve {
            Asking::forget_reserve(&mut self.links, id, &candidate.heard);
        }
        if let State::Checking { ticket, .. } = candidate.state {
            self.checking.end(now, ticket);
        }
        if let Some(body) = candidate.body() {
            self.asking.fetch.decided(body.bytes.len() as u64);
        }
        if let Some(slot) = candidate.charged {
            self.give_back(now, slot);
        }
        Some(candidate)
    }
}
