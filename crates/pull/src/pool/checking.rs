//! Hand-over to the application and its verdicts. Checking time is dealt among deliverers.
//!
//! A candidate is handed over, then taken by the application, then decided. From *taken* to the verdict it is being checked; the
//! time that passes meanwhile is shared by all that are ([`Meter`]), and charged to each one's deliverer at its verdict.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use weir_base::stream::{Group, Side};
use weir_base::time::nanos;
use weir_base::{Dealer, Instant};

use super::candidates::{Body, CandId, Candidate, Deliverer, State};
use super::link::Slot;
use super::log::Item;
use super::meter::{Begun, Meter};
use super::places::Place;
use super::{Event, Pool, REJECTED, Verdict};
use crate::machine::{Refused, Ticket};

/// Nanoseconds of one turn.
const QUANTUM: u64 = 1_000_000;
/// Nanoseconds that a link may be behind.
const DEBT: u64 = 10_000_000_000;

/// Candidates on their way to the application, or there.
#[derive(Debug)]
pub(super) struct Checking {
    dealer: Dealer<Slot>,
    open: BTreeMap<Ticket, Open>, // <= Config::checking
    meter: Meter,
    orphans: VecDeque<CandId>, // held ones whose deliverer is gone, and released ones
    taken: VecDeque<(Instant, Ticket)>, // when silence means *defer*; ascending
    verdict_time: u64,         // nanoseconds from hand-over, moving mean
}

/// A candidate that the application has.
#[derive(Debug)]
struct Open {
    candidate: CandId,
    /// Since it was taken out of the mailbox.
    begun: Option<Begun>,
}

impl Checking {
    pub(super) fn new() -> Self {
        Self {
            dealer: Dealer::new(QUANTUM, DEBT),
            open: BTreeMap::new(),
            meter: Meter::default(),
            orphans: VecDeque::new(),
            taken: VecDeque::new(),
            verdict_time: 0,
        }
    }

    pub(super) fn add(&mut self, slot: Slot, side: Side, group: Group) {
        self.dealer.add(slot, side, group);
    }

    pub(super) fn set_share(&mut self, slot: Slot, quarters: u8) {
        self.dealer.set_share(slot, quarters);
    }

    pub(super) fn remove(&mut self, slot: Slot) {
        self.dealer.remove(slot);
    }

    /// These are handed over without a deliverer's turn.
    pub(super) fn orphan(&mut self, held: impl IntoIterator<Item = CandId>) {
        self.orphans.extend(held);
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
    /// A body that matches its offer waits to be handed over.
    pub(super) fn hold(&mut self, id: CandId, slot: Slot) {
        if let Some(link) = self.links.get_mut(slot) {
            link.held.push_back(id);
            self.checking.dealer.set_waiting(slot, true);
        }
    }

    /// Hands over what the application may have, by the dealer.
    pub(super) fn hand_over(&mut self, now: Instant) {
        while self.checking.open.len() < self.config.checking as usize {
            if let Some(id) = self.checking.orphans.pop_front() {
                self.hand(now, id);
                continue;
            }
            let Some(slot) = self.checking.dealer.whose_turn() else { return };
            let next = self.links.get_mut(slot).and_then(|link| link.held.pop_front());
            let more = self.links.get(slot).is_some_and(|link| !link.held.is_empty());
            if let Some(id) = next {
                self.checking.dealer.charge(slot, 1); // takes turns; the cost itself is known at the verdict
                self.hand(now, id);
            }
            if !more {
                self.checking.dealer.set_waiting(slot, false);
            }
        }
    }

    fn hand(&mut self, now: Instant, id: CandId) {
        let Some(candidate) = self.candidates.get_mut(id) else { return };
        let State::Held(body) = &candidate.state else { return };
        let ticket = self.tickets.next();
        let event = Event::Candidate {
            ticket,
            link: body.from.link,
            peer: body.from.peer,
            id: body.id,
            bytes: body.bytes.clone(),
        };
        candidate.state = State::Checking { body: body.clone(), ticket, since: now };
        self.checking.open.insert(ticket, Open { candidate: id, begun: None });
        self.stats.candidates += 1;
        self.events.push_back(event);
    }

    /// The application has taken a candidate out of its mailbox. Where several threads took some at the same time and are
    /// heard of in another order, the earlier one waits with the later.
    pub(super) fn taken(&mut self, ticket: Ticket, at: Instant) -> Result<(), Refused> {
        let Checking { open, meter, taken, .. } = &mut self.checking;
        let open = open.get_mut(&ticket).ok_or(Refused::UnknownTicket)?;
        if open.begun.is_some() {
            return Ok(());
        }
        open.begun = Some(meter.begin(at));
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
        let Some(State::Checking { body, since, .. }) = self.candidates.get(id).map(|c| c.state.clone())
        else {
            return Err(Refused::UnknownTicket);
        };
        let mean = &mut self.checking.verdict_time;
        *mean = *mean / 8 * 7 + nanos(now.since(since)) / 8;
        let Some(candidate) = self.close(now, id) else { return Err(Refused::UnknownTicket) };
        match verdict {
            Verdict::Accept => self.accept(now, &candidate, body),
            Verdict::Reject => {
                if self.is_up(&body.from) {
                    self.blame(body.from.slot, REJECTED);
                }
                self.remember(&body.id);
            }
            Verdict::Ignore => self.remember(&body.id),
            Verdict::Defer(pause) => self.defer(now, candidate, body, pause),
        }
        Ok(())
    }

    fn accept(&mut self, now: Instant, candidate: &Candidate, body: Body) {
        self.judge_gone(candidate);
        let Body { id, bytes, .. } = body;
        if let Some(Place::Seen(_)) = self.place_of(&id) {
            return; // removed while it was being checked
        }
        let item = Item { id, bytes, priority: candidate.priority, summary: candidate.claim.summary };
        if !self.append(now, item, &candidate.heard) {
            self.events.push_back(Event::Evicted { id });
        }
    }

    /// The application is done with a candidate: its deliverer is charged for the time since it was taken.
    fn charge_time(&mut self, now: Instant, ticket: Ticket, from: &Deliverer) {
        let Checking { open, meter, .. } = &mut self.checking;
        let Some(begun) = open.remove(&ticket).and_then(|open| open.begun) else { return };
        let cost = meter.end(now, begun);
        if self.is_up(from) {
            self.checking.dealer.charge(from.slot, cost);
        }
    }

    fn is_up(&self, from: &Deliverer) -> bool {
        self.links.get(from.slot).is_some_and(|link| link.id == from.link)
    }

    /// A candidate is decided or given up: credit and reservations return.
    pub(super) fn close(&mut self, now: Instant, id: CandId) -> Option<Candidate> {
        self.cancel_sources(id);
        let candidate = self.candidates.remove(id)?;
        if candidate.crowded {
            self.forget_aside(id, &candidate.heard);
        }
        if let State::Checking { ticket, body, .. } = &candidate.state {
            self.charge_time(now, *ticket, &body.from);
        }
        if let Some(body) = candidate.body() {
            self.fetch.decided(body.bytes.len() as u64);
        }
        if let Some(slot) = candidate.charged {
            self.give_back(now, slot);
        }
        Some(candidate)
    }
}
