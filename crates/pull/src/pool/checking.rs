//! Hand-over to the application and its verdicts. Checking time is dealt among deliverers (`turns`).
//!
//! A body waits in the queue of its deliverer's account, which outlives the link. It is handed over, then taken by the
//! application, then decided. From *taken* to the verdict it is being checked; the time that passes meanwhile is shared by all
//! that are ([`Meter`]), and charged to each one's deliverer at its verdict.
//!
//! Threat: what has been handed over stands in one queue, first come, first served. So only a few milliseconds of checking, by
//! what the items of each deliverer took before, are handed over ahead of what was taken, and few items.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use weir_base::Instant;
use weir_base::stream::{Group, Side};
use weir_base::time::nanos;

use super::client::{CandId, Candidates, State};
use super::common::Common;
use super::links::Slot;
use super::turns::{Presence, Turns};
use super::types::Event;
use crate::machine::{Refused, Ticket};
use crate::meter::{Begun, Meter};

/// Nanoseconds that an item of a deliverer of whom none was checked yet is expected to take at least.
const FIRST_COST: u64 = 1_000_000;

/// Candidates on their way to the application, or there.
#[derive(Debug)]
pub(crate) struct Checking {
    turns: Turns,
    deliverers: BTreeMap<Slot, Queue>,
    open: BTreeMap<Ticket, Open>, // <= Config::checking
    ahead: Ahead,
    meter: Meter,
    taken: VecDeque<(Instant, Ticket)>, // when silence means *defer*; ascending
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

impl Queue {
    /// Nanoseconds that its next item is expected to take, where anybody's take so many.
    fn expected(&self, usual: u64) -> u64 {
        self.cost.unwrap_or(usual.max(FIRST_COST))
    }

    /// Takes the body that waits first.
    fn next(&mut self) -> Option<CandId> {
        let (id, size) = self.held.pop_front()?;
        self.bytes -= u64::from(size);
        if self.held.capacity() > 4 * self.held.len().max(16) {
            self.held.shrink_to(2 * self.held.len());
        }
        Some(id)
    }
}

/// Hands a candidate over, unless it was decided meanwhile.
fn hand(common: &mut Common, candidates: &mut Candidates, now: Instant, id: CandId) -> Option<Ticket> {
    let candidate = candidates.get_mut(id)?;
    let body = candidate.take_held()?;
    let ticket = common.tickets.next();
    let event = Event::Candidate {
        ticket,
        link: body.from.link,
        peer: body.from.account.peer(),
        id: body.item.0.id,
        bytes: body.item.0.bytes.clone(),
    };
    candidate.state = State::Checking { body, ticket, since: now };
    common.stats.candidates += 1;
    common.events.push_back(event);
    Some(ticket)
}

impl Checking {
    pub(crate) fn new() -> Self {
        Self {
            turns: Turns::new(),
            deliverers: BTreeMap::new(),
            open: BTreeMap::new(),
            ahead: Ahead::default(),
            meter: Meter::default(),
            taken: VecDeque::new(),
            cost: 0,
        }
    }

    pub(crate) fn add(&mut self, slot: Slot, of: (Side, Group), presence: Presence) {
        self.turns.add(slot, of, presence);
        self.deliverers.insert(slot, Queue::default());
    }

    /// A deliverer's link has ended: what waits of it waits with that of others whose links have.
    pub(crate) fn depart(&mut self, slot: Slot) {
        self.turns.depart(slot);
    }

    /// A deliverer has a link again: what waits of it has its own turns.
    pub(crate) fn come_back(&mut self, slot: Slot) {
        self.turns.come_back(slot);
    }

    pub(crate) fn set_share(&mut self, slot: Slot, quarters: u8) {
        self.turns.set_share(slot, quarters);
    }

    pub(crate) fn remove(&mut self, slot: Slot) {
        self.turns.remove(slot);
        self.deliverers.remove(&slot);
    }

    /// Bytes of memory of its queues, without bodies.
    pub(crate) fn table_bytes(&self) -> usize {
        let held = self.deliverers.values().map(|queue| queue.held.capacity());
        held.sum::<usize>() * size_of::<(CandId, u32)>() + self.open.len() * size_of::<(Ticket, Open)>()
    }

    /// Bodies of this deliverer that wait to be handed over, some of which may be decided, and their bytes.
    pub(crate) fn waiting(&self, slot: Slot) -> (usize, u64) {
        self.deliverers.get(&slot).map_or((0, 0), |queue| (queue.held.len(), queue.bytes))
    }

    /// Whether any of this deliverer's bodies wait, or are at the application.
    pub(crate) fn has_work(&self, slot: Slot) -> bool {
        self.deliverers.get(&slot).is_some_and(|queue| queue.open > 0 || !queue.held.is_empty())
    }

    /// A body waits to be handed over, in the queue of this deliverer.
    pub(crate) fn hold(&mut self, slot: Slot, id: CandId, size: u32) {
        let Some(queue) = self.deliverers.get_mut(&slot) else { return };
        queue.held.push_back((id, size));
        queue.bytes += u64::from(size);
        self.turns.set_waiting(slot, true);
    }

    /// Takes the body that waits last in a deliverer's queue.
    pub(crate) fn last(&mut self, slot: Slot) -> Option<CandId> {
        let queue = self.deliverers.get_mut(&slot)?;
        let (id, size) = queue.held.pop_back()?;
        queue.bytes -= u64::from(size);
        Some(id)
    }

    /// All of one deliverer's bodies are another's from now on.
    pub(crate) fn give_to(&mut self, from: Slot, to: Slot) {
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
    pub(crate) fn held_of(&self, slot: Slot) -> impl Iterator<Item = CandId> {
        self.deliverers.get(&slot).into_iter().flat_map(|queue| &queue.held).map(|(id, _)| *id)
    }

    /// What the application has of this deliverer.
    pub(crate) fn open_of(&self, slot: Slot) -> Vec<CandId> {
        self.open.values().filter(|open| open.deliverer == slot).map(|open| open.candidate).collect()
    }

    /// The application has taken this, or needs it no more.
    fn not_ahead(ahead: &mut Ahead, open: &Open) {
        ahead.items = ahead.items.saturating_sub(1);
        ahead.expected = ahead.expected.saturating_sub(open.expected);
    }

    /// The application is done with a candidate. What it took is charged to its deliverer.
    pub(crate) fn end(&mut self, now: Instant, ticket: Ticket) {
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
        self.turns.charge(open.deliverer, cost);
    }

    pub(crate) fn next_timeout(&self) -> Option<(Instant, &'static str)> {
        self.taken.front().map(|(due, _)| (*due, "a verdict is overdue"))
    }

    /// Hands over what the application may have, in turns: few ahead of what it has taken, at least one.
    pub(crate) fn hand_over(&mut self, common: &mut Common, candidates: &mut Candidates, now: Instant) {
        let waits = self.hand_over_some(common, candidates, now);
        if waits || !self.open.is_empty() { self.meter.waits(now) } else { self.meter.rests() }
    }

    /// See [`hand_over`](Self::hand_over). Whether some are left.
    fn hand_over_some(&mut self, common: &mut Common, candidates: &mut Candidates, now: Instant) -> bool {
        let most = nanos(common.config.ahead_time);
        while self.open.len() < common.config.checking as usize {
            let Some(slot) = self.turns.whose_turn() else { return false };
            let Some(queue) = self.deliverers.get_mut(&slot) else { return false };
            let expected = queue.expected(self.cost);
            let ahead = &mut self.ahead;
            let full = ahead.items >= common.config.ahead || ahead.expected.saturating_add(expected) > most;
            if full && ahead.items > 0 {
                return true;
            }
            let handed = queue.next().and_then(|id| Some((id, hand(common, candidates, now, id)?)));
            if queue.held.is_empty() {
                self.turns.set_waiting(slot, false); // first: a charge moves only those that wait
            }
            let Some((candidate, ticket)) = handed else { continue };
            queue.open += 1;
            (ahead.items, ahead.expected) = (ahead.items + 1, ahead.expected + expected);
            self.turns.begin(slot); // the cost itself is known at the verdict
            self.open.insert(ticket, Open { candidate, deliverer: slot, expected, begun: None });
        }
        true
    }

    /// The application has taken a candidate out of its mailbox. Where several threads took some at the same time and are
    /// heard of in another order, the earlier one waits with the later.
    pub(crate) fn taken(
        &mut self,
        ticket: Ticket,
        at: Instant,
        verdict_time: Duration,
    ) -> Result<(), Refused> {
        let Checking { open, ahead, meter, taken, turns, .. } = self;
        let open = open.get_mut(&ticket).ok_or(Refused::UnknownTicket)?;
        if open.begun.is_some() {
            return Ok(());
        }
        open.begun = Some(meter.begin(at));
        if let Some(unused) = meter.take_unused() {
            turns.leave_over(unused);
        }
        Self::not_ahead(ahead, open);
        let due = at + verdict_time;
        let last = taken.back().map_or(due, |(last, _)| *last);
        taken.push_back((due.max(last), ticket));
        Ok(())
    }

    /// The candidate that the application has under this ticket.
    pub(crate) fn candidate(&self, ticket: Ticket) -> Option<CandId> {
        self.open.get(&ticket).map(|open| open.candidate)
    }

    /// A ticket that was taken long ago, and is not decided.
    pub(crate) fn pop_overdue(&mut self, now: Instant) -> Option<Ticket> {
        while let Some((due, ticket)) = self.taken.front().copied() {
            let open = self.open.contains_key(&ticket);
            if open && due > now {
                return None;
            }
            self.taken.pop_front();
            if open {
                return Some(ticket);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use crate::ShortId;
    use weir_base::Rng;

    use super::super::client::{Candidate, Claim};
    use super::super::types::Summary;
    use super::*;

    const NOW: Instant = Instant::from_millis(1_000);
    const FROM: Slot = Slot(1);

    fn checking() -> Checking {
        let mut checking = Checking::new();
        for slot in [FROM, Slot(2)] {
            checking.add(slot, (Side::Inbound, Group::Local(slot.0.into())), Presence::Linked);
        }
        checking
    }

    fn candidate(candidates: &mut Candidates, number: u64) -> CandId {
        let claim = Claim { key: 1, short: ShortId(number), size: 1, summary: Summary::EMPTY };
        candidates.insert(Candidate::new(claim, 0, None))
    }

    fn a_candidate() -> CandId {
        candidate(&mut Candidates::new(&mut Rng::from_number(1)), 1)
    }

    /// An item of this deliverer is handed over.
    fn open(checking: &mut Checking, ticket: u64, deliverer: Slot) {
        let open = Open { candidate: a_candidate(), deliverer, expected: 5, begun: None };
        checking.open.insert(Ticket(ticket), open);
        checking.deliverers.get_mut(&deliverer).unwrap().open += 1;
    }

    /// Takes the body that waits first.
    fn next(checking: &mut Checking) -> Option<CandId> {
        checking.deliverers.get_mut(&FROM)?.next()
    }

    fn expected(checking: &Checking, slot: Slot) -> u64 {
        checking.deliverers[&slot].expected(checking.cost)
    }

    /// It is taken, and decided after so long.
    fn check(checking: &mut Checking, now: Instant, nanos: u64) {
        open(checking, 9, FROM);
        checking.taken(Ticket(9), now, Duration::from_secs(10)).unwrap();
        checking.end(now + Duration::from_nanos(nanos), Ticket(9));
    }

    #[test]
    fn what_items_are_expected_to_take_rises_fast_and_falls_slowly() {
        let mut checking = checking();
        assert_eq!(expected(&checking, FROM), FIRST_COST, "none was checked");
        check(&mut checking, NOW, 16_000_000);
        assert_eq!((expected(&checking, FROM), checking.cost), (16_000_000, 1_000_000));
        check(&mut checking, NOW + Duration::from_secs(1), 20_000_000);
        assert_eq!(expected(&checking, FROM), 18_000_000, "half of what it took more");
        assert_eq!(checking.cost, 1_000_000 - 62_500 + 1_250_000);
        check(&mut checking, NOW + Duration::from_secs(2), 2_000_000);
        assert_eq!(expected(&checking, FROM), 17_000_000, "a sixteenth of what it took less");
        assert_eq!(expected(&checking, Slot(2)), checking.cost, "of others what anybody's takes");
    }

    #[test]
    fn what_waits_and_what_is_handed_over_is_work() {
        let mut checking = checking();
        assert!(!checking.has_work(FROM));
        checking.hold(FROM, a_candidate(), 100);
        checking.hold(FROM, a_candidate(), 30);
        checking.hold(FROM, a_candidate(), 7);
        assert_eq!((checking.waiting(FROM), checking.has_work(FROM)), ((3, 137), true));
        assert!(next(&mut checking).is_some());
        assert_eq!(checking.waiting(FROM), (2, 37));
        assert!(checking.last(FROM).is_some());
        assert_eq!(checking.waiting(FROM), (1, 30));
        assert!(
            next(&mut checking).is_some() && next(&mut checking).is_none() && checking.last(FROM).is_none()
        );
        assert_eq!((checking.waiting(FROM), checking.has_work(FROM)), ((0, 0), false));
        open(&mut checking, 1, FROM);
        assert!(checking.has_work(FROM), "it is being checked");
        checking.end(NOW, Ticket(1));
        assert!(!checking.has_work(FROM));
    }

    #[test]
    fn an_heir_gets_what_waits_and_what_is_handed_over_of_that_one_alone() {
        let mut checking = checking();
        checking.add(Slot(3), (Side::Inbound, Group::Local(3)), Presence::Linked);
        checking.hold(FROM, a_candidate(), 100);
        open(&mut checking, 1, FROM);
        open(&mut checking, 2, FROM);
        open(&mut checking, 3, Slot(2));
        open(&mut checking, 4, Slot(3));
        checking.give_to(FROM, Slot(2));
        assert_eq!((checking.waiting(FROM), checking.waiting(Slot(2))), ((0, 0), (1, 100)));
        let opens = [FROM, Slot(2), Slot(3)]
            .map(|slot| (checking.open_of(slot).len(), checking.deliverers[&slot].open));
        assert_eq!(opens, [(0, 0), (3, 3), (1, 1)]);
        checking.remove(Slot(2));
        assert_eq!((checking.waiting(Slot(2)), checking.has_work(Slot(2))), ((0, 0), false));
    }

    #[test]
    fn a_queue_that_was_long_gives_its_memory_back() {
        let mut checking = checking();
        (0..1_000).for_each(|_| checking.hold(FROM, a_candidate(), 1));
        (0..950).for_each(|_| _ = next(&mut checking));
        let capacity = checking.deliverers[&FROM].held.capacity();
        assert!((50..=200).contains(&capacity), "{capacity}");
        let mut few = self::checking();
        (0..60).for_each(|_| few.hold(FROM, a_candidate(), 1));
        let before = few.deliverers[&FROM].held.capacity();
        (0..55).for_each(|_| _ = next(&mut few));
        assert_eq!(few.deliverers[&FROM].held.capacity(), before, "a short one is left as it is");
    }

    #[test]
    fn a_verdict_is_overdue_after_its_time_and_only_where_there_is_none() {
        let mut checking = checking();
        for ticket in 1..=3 {
            open(&mut checking, ticket, FROM);
            checking.taken(Ticket(ticket), NOW, Duration::from_millis(100 * ticket)).unwrap();
        }
        checking.end(NOW, Ticket(1));
        let at = |millis: u64| NOW + Duration::from_millis(millis);
        assert_eq!((checking.pop_overdue(at(199)), checking.pop_overdue(at(200))), (None, Some(Ticket(2))));
        assert_eq!((checking.pop_overdue(at(200)), checking.pop_overdue(at(300))), (None, Some(Ticket(3))));
        assert_eq!(checking.next_timeout(), None);
        assert_eq!(checking.taken(Ticket(9), NOW, Duration::ZERO), Err(Refused::UnknownTicket));
    }
}
