//! Who is asked for a candidate: one source at a time, another where it makes no progress, two at most.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use weir_base::stream::{Group, Side};
use weir_base::{Dealer, Instant};

use super::candidates::{Announcer, Body, CandId, Candidate, Deliverer, MAX_SOURCES, State};
use super::gets::{Get, MAX_GETS, Patience};
use super::link::{Link, Opening, Role, Slot};
use super::places::Place;
use super::record::{More, PATIENCE, Record};
use super::{FALSE_ITEM, MOSTLY_GONE, Pool, WITHHELD};
use crate::framing::allowed;

/// Bytes of one turn where fetch slots are dealt, and what a link may be behind.
const QUANTUM: u64 = 16 * 1024;
const DEBT: u64 = 32 * 1024 * 1024;
/// Gets that one link without a record may have under way while others have one.
const NEWCOMER_GETS: usize = 4;
/// All such links together: this many, or an eighth of all gets.
const NEWCOMERS: u32 = 8;
/// How often the patience with a link that makes progress on other items is prolonged.
const MAX_PROLONGED: u8 = 4;

/// What is being fetched, over all links.
#[derive(Debug)]
pub(super) struct Fetch {
    dealer: Dealer<Slot>,
    flight: u64, // bytes asked for and not answered
    held: u64,   // bytes delivered and not decided
    gets: u32,
    newcomers: u32,
    proven: u32, // links with a record
    late: BinaryHeap<Reverse<(Instant, Slot, u64, u32)>>,
    retries: VecDeque<Instant>, // ascending; one for each stalled link
    stalled: VecDeque<Slot>,
    serial: u32,
}

/// What the next source should be best in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    /// The first one: expected delivery.
    Delivery,
    /// A further one: delivery record.
    Record,
}

impl Fetch {
    pub(super) fn new() -> Self {
        Self {
            dealer: Dealer::new(QUANTUM, DEBT),
            flight: 0,
            held: 0,
            gets: 0,
            newcomers: 0,
            proven: 0,
            late: BinaryHeap::new(),
            retries: VecDeque::new(),
            stalled: VecDeque::new(),
            serial: 0,
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

    /// The part of `total` grants that this link may have.
    pub(super) fn part(&self, slot: Slot, total: u64) -> u64 {
        self.dealer.part(slot, total)
    }

    /// Bytes asked for and not answered.
    pub(super) const fn in_flight(&self) -> u64 {
        self.flight
    }

    /// A delivered body of `size` bytes was decided.
    pub(super) fn decided(&mut self, size: u64) {
        self.held = self.held.saturating_sub(size);
    }

    /// A body of `size` bytes is held until it is decided.
    pub(super) const fn hold(&mut self, size: u64) {
        self.held += size;
    }

    const fn has_room(&self, size: u64, limit: u64) -> bool {
        self.flight + self.held == 0 || self.flight + self.held + size <= limit
    }

    /// When the next get is late, or a candidate nobody could be asked for is tried again.
    pub(super) fn next_timeout(&self) -> Option<(Instant, &'static str)> {
        let late = self.late.peek().map(|Reverse((due, ..))| (*due, "a get is late"));
        let retry = self.retries.front().map(|due| (*due, "a candidate waits for a source"));
        [late, retry].into_iter().flatten().min()
    }
}

impl Pool {
    /// A candidate should be asked for: it is new, has a new announcer, or lost its source.
    pub(super) fn wanted(&mut self, now: Instant, id: CandId) {
        if self.try_ask(now, id) {
            return;
        }
        let Some(candidate) = self.candidates.get_mut(id) else { return };
        if candidate.is_asked() || std::mem::replace(&mut candidate.queued, true) {
            return;
        }
        let payer = candidate.charged.or(candidate.announcers().first().map(|announcer| announcer.slot));
        let Some(slot) = payer else { return };
        if let Some(link) = self.links.get_mut(slot) {
            link.gets.waiting.push_back(id);
            self.fetch.dealer.set_waiting(slot, true);
        }
    }

    /// Gives free fetch slots to links whose candidates wait, by the dealer.
    pub(super) fn start_fetches(&mut self, now: Instant) {
        while self.fetch.has_room(1, self.config.in_flight) {
            let Some(slot) = self.fetch.dealer.whose_turn() else { return };
            let first = self.links.get(slot).and_then(|link| link.gets.waiting.front().copied());
            let Some(id) = first else {
                self.fetch.dealer.set_waiting(slot, false);
                continue;
            };
            let waits =
                self.candidates.get(id).is_some_and(|c| matches!(c.state, State::Wanted) && !c.is_asked());
            if waits && !self.try_ask(now, id) {
                let size = self.candidates.get(id).map_or(0, |candidate| u64::from(candidate.claim.size));
                if !self.fetch.has_room(size, self.config.in_flight) {
                    return; // an answer or a verdict makes room
                }
                self.stall(now, slot);
                continue;
            }
            if let Some(link) = self.links.get_mut(slot) {
                link.gets.waiting.pop_front();
            }
            if let Some(candidate) = self.candidates.get_mut(id) {
                candidate.queued = false;
            }
        }
    }

    /// Nobody who announced its first candidate may be asked now: the link waits for an answer, another announcer, or a moment.
    fn stall(&mut self, now: Instant, slot: Slot) {
        self.fetch.dealer.set_waiting(slot, false);
        let Some(link) = self.links.get_mut(slot) else { return };
        if !std::mem::replace(&mut link.gets.stalled, true) {
            self.fetch.stalled.push_back(slot);
            self.fetch.retries.push_back(now + PATIENCE);
        }
    }

    fn unstall(&mut self, slot: Slot) {
        let Some(link) = self.links.get_mut(slot) else { return };
        link.gets.stalled = false;
        if !link.gets.waiting.is_empty() {
            self.fetch.dealer.set_waiting(slot, true);
        }
    }

    /// Links that stalled a moment ago try again.
    pub(super) fn retry_fetches(&mut self, now: Instant) {
        let before = self.fetch.retries.len();
        while self.fetch.retries.front().is_some_and(|due| *due <= now) {
            self.fetch.retries.pop_front();
        }
        if self.fetch.retries.len() == before {
            return;
        }
        for slot in std::mem::take(&mut self.fetch.stalled) {
            self.unstall(slot);
        }
    }

    /// Asks the best announcer who may be asked. Whether there was one.
    fn try_ask(&mut self, now: Instant, id: CandId) -> bool {
        let Some(candidate) = self.candidates.get(id) else { return false };
        let State::Wanted = candidate.state else { return false };
        let size = u64::from(candidate.claim.size);
        let choice = if candidate.is_asked() { Choice::Record } else { Choice::Delivery };
        let full = candidate.sources.iter().all(Option::is_some);
        if full
            || (choice == Choice::Record && !candidate.overdue)
            || !self.fetch.has_room(size, self.config.in_flight)
        {
            return false;
        }
        let rank = |announcer: &Announcer| {
            let link = self.links.get(announcer.slot)?;
            let may = !candidate.asks(announcer.slot) && self.may_ask(link, announcer, size, choice);
            let record = &link.gets.record;
            let expected = record.expected(link.rtt(), size, link.gets.bytes);
            let score = if choice == Choice::Record { record.score() } else { 0 };
            may.then_some((Reverse(score), expected, announcer.slot, announcer.index))
        };
        let Some((_, _, slot, index)) = candidate.announcers().iter().filter_map(rank).min() else {
            return false;
        };
        self.ask(now, id, Announcer { slot, index });
        true
    }

    fn may_ask(&self, link: &Link, announcer: &Announcer, size: u64, choice: Choice) -> bool {
        let gets = &link.gets;
        if link.ready.is_none() || gets.lane.opening == Opening::Never || gets.flight.len() >= MAX_GETS {
            return false;
        }
        if gets.bytes + size > self.config.link_in_flight && gets.bytes > 0 {
            return false;
        }
        if gets.flight.contains_key(&announcer.index) {
            return false; // a cancelled get that was not answered yet
        }
        let newcomer = self.fetch.proven > 0 && !gets.record.proven();
        let share = self.fetch.newcomers < NEWCOMERS.max(self.fetch.gets / 8) || choice == Choice::Record;
        !newcomer || (gets.flight.len() < NEWCOMER_GETS && share)
    }

    fn ask(&mut self, now: Instant, id: CandId, source: Announcer) {
        let (Some(link), Some(candidate)) = (self.links.get_mut(source.slot), self.candidates.get_mut(id))
        else {
            return;
        };
        let Some(place) = candidate.sources.iter_mut().find(|place| place.is_none()) else { return };
        *place = Some(source);
        candidate.overdue = false;
        let (size, rtt) = (candidate.claim.size, link.rtt());
        let gets = &mut link.gets;
        let newcomer = !gets.record.proven();
        self.fetch.serial = self.fetch.serial.wrapping_add(1);
        let due = now + gets.record.patience(rtt, u64::from(size), gets.bytes);
        let serial = self.fetch.serial;
        let patience = Patience::Fresh(0);
        gets.flight
            .insert(source.index, Get { candidate: Some(id), size, since: now, serial, patience, newcomer });
        gets.out.insert(source.index);
        gets.bytes += u64::from(size);
        self.fetch.flight += u64::from(size);
        self.fetch.gets += 1;
        self.fetch.newcomers += u32::from(newcomer);
        self.fetch.late.push(Reverse((due, source.slot, source.index, serial)));
        self.fetch.dealer.charge(source.slot, u64::from(size));
        if gets.lane.opening == Opening::No {
            self.open_lane(source.slot, Role::Gets);
        } else {
            gets.lane.ask_write(link.id, &mut self.asks);
        }
    }

    /// A get was answered: its reservation ends.
    fn finish(&mut self, slot: Slot, index: u64) -> Option<Get> {
        let link = self.links.get_mut(slot)?;
        let get = link.gets.flight.remove(&index)?;
        link.gets.out.remove(&index);
        link.gets.cancels.remove(&index);
        let waits = !link.gets.waiting.is_empty();
        link.gets.bytes -= u64::from(get.size);
        self.fetch.flight -= u64::from(get.size);
        self.fetch.gets -= 1;
        self.fetch.newcomers -= u32::from(get.newcomer);
        if waits {
            self.unstall(slot);
        }
        if get.newcomer
            && let Some(next) = self.fetch.stalled.pop_front()
        {
            self.unstall(next);
        }
        Some(get)
    }

    /// Changes a link's record, and counts the links that have one.
    pub(super) fn recorded(&mut self, slot: Slot, change: impl FnOnce(&mut Record)) {
        let Some(link) = self.links.get_mut(slot) else { return };
        let record = &mut link.gets.record;
        let before = u32::from(record.proven());
        change(record);
        self.fetch.proven = self.fetch.proven + u32::from(record.proven()) - before;
    }

    /// An item came, of the size that was offered.
    pub(super) fn item(&mut self, now: Instant, slot: Slot, index: u64, bytes: Bytes) {
        self.counters.messages_in += 1;
        self.stats.bodies += 1;
        self.stats.body_bytes += bytes.len() as u64;
        let Some(get) = self.finish(slot, index) else { return };
        let more = self.links.get(slot).is_some_and(|link| !link.gets.flight.is_empty());
        let more = if more { More::Expected } else { More::Idle };
        let size = bytes.len() as u64;
        let waiting = get.candidate.and_then(|id| Some((id, self.candidates.get(id)?)));
        let Some((id, candidate)) = waiting.filter(|(_, candidate)| matches!(candidate.state, State::Wanted))
        else {
            self.stats.duplicates += 1;
            return self.recorded(slot, |record| record.item(now, size, more));
        };
        let claim = candidate.claim;
        let summary = (self.config.rules.summarize)(&bytes);
        let full: [u8; 32] = Sha256::digest(&bytes).into();
        let short = self.places.key(claim.key).map(|key| key.short(&full));
        if summary != Ok(claim.summary) || short.is_some_and(|short| short != claim.short) {
            self.recorded(slot, Record::false_item);
            self.blame(slot, FALSE_ITEM);
            return self.unable(now, id, slot);
        }
        self.recorded(slot, |record| record.item(now, size, more));
        let Some(link) = self.links.get(slot) else { return };
        let from = Deliverer { slot, link: link.id, peer: link.peer() };
        self.cancel_sources(id);
        self.fetch.hold(size);
        let known = self.place_of(&full);
        if let Some(candidate) = self.candidates.get_mut(id) {
            candidate.state = State::Held(Body { id: full, bytes, from });
        }
        if claim.key != self.places.number() {
            self.candidates.alias(id, self.places.number(), self.places.short(&full));
        }
        if let Some(place) = known {
            self.stats.duplicates += 1;
            return self.known_already(now, id, place);
        }
        self.hold(id, slot);
    }

    /// What a candidate turned out to be is here already, under another key.
    fn known_already(&mut self, now: Instant, id: CandId, place: Place) {
        let Some(candidate) = self.close(now, id) else { return };
        if let Place::Live(index) = place {
            for slot in self.links.slots() {
                if candidate.heard.contains(slot) {
                    self.known.insert(index, slot);
                }
            }
        }
    }

    /// An index is gone at the peer.
    pub(super) fn gone(&mut self, now: Instant, slot: Slot, index: u64) {
        self.stats.gone += 1;
        let Some(get) = self.finish(slot, index) else { return };
        let Some(id) = get.candidate else { return };
        if let Some(candidate) = self.candidates.get_mut(id) {
            candidate.gone.insert(slot);
        }
        self.unable(now, id, slot);
    }

    /// An item was accepted from another than those links that had called it gone.
    pub(super) fn judge_gone(&mut self, candidate: &Candidate) {
        if candidate.gone.is_empty() {
            return;
        }
        for slot in self.links.slots() {
            if candidate.gone.contains(slot)
                && self.links.get_mut(slot).is_some_and(|link| link.gets.record.bad_gone())
            {
                self.blame(slot, MOSTLY_GONE);
            }
        }
    }

    /// `slot` can not deliver a candidate: the best other announcer pays for it, and is asked.
    pub(super) fn unable(&mut self, now: Instant, id: CandId, slot: Slot) {
        let Some(candidate) = self.candidates.get_mut(id) else { return };
        candidate.drop_source(slot);
        candidate.drop_announcer(slot);
        if candidate.charged == Some(slot) {
            let score = |a: &Announcer| {
                self.links.get(a.slot).map(|link| (link.gets.record.score(), Reverse(a.slot)))
            };
            let best = candidate.announcers().iter().filter_map(score).max();
            candidate.charged = best.map(|(_, Reverse(best))| best);
            if let Some(payer) = candidate.charged
                && let Some(link) = self.links.get_mut(payer)
            {
                link.intake.grant.charge();
                self.want.lent.add(link.info.side, 1);
            }
            self.give_back(now, slot);
        }
        let Some(candidate) = self.candidates.get(id) else { return };
        if !matches!(candidate.state, State::Wanted) || candidate.is_asked() {
            return;
        }
        if candidate.announcers().is_empty() {
            self.close(now, id); // given up
        } else {
            self.wanted(now, id);
        }
    }

    /// Takes back what is asked of others for a candidate.
    pub(super) fn cancel_sources(&mut self, id: CandId) {
        let Some(candidate) = self.candidates.get_mut(id) else { return };
        let sources = std::mem::replace(&mut candidate.sources, [None; MAX_SOURCES]);
        for source in sources.into_iter().flatten() {
            self.cancel(source, id);
        }
    }

    fn cancel(&mut self, source: Announcer, id: CandId) {
        let Some(link) = self.links.get_mut(source.slot) else { return };
        let gets = &mut link.gets;
        let Some(get) = gets.flight.get_mut(&source.index).filter(|get| get.candidate == Some(id)) else {
            return;
        };
        get.candidate = None;
        if gets.out.contains(&source.index) {
            self.finish(source.slot, source.index);
        } else {
            gets.cancels.insert(source.index);
            gets.lane.ask_write(link.id, &mut self.asks);
        }
    }

    /// Looks at gets that are over their time.
    pub(super) fn late_gets(&mut self, now: Instant) {
        while let Some(Reverse((due, slot, index, serial))) = self.fetch.late.peek().copied() {
            if due > now {
                return;
            }
            self.fetch.late.pop();
            self.late_get(now, slot, index, serial);
        }
    }

    fn late_get(&mut self, now: Instant, slot: Slot, index: u64, serial: u32) {
        let Some(link) = self.links.get_mut(slot) else { return };
        let heard = link.heard;
        let gets = &mut link.gets;
        let moves = gets.progress + PATIENCE > now && (gets.reads(index) || gets.flight.len() > 1);
        let Some(get) = gets.flight.get_mut(&index).filter(|get| get.serial == serial) else { return };
        let again = |wait: Duration| Reverse((now + wait, slot, index, serial));
        match get.patience {
            Patience::Fresh(prolonged) if moves && prolonged < MAX_PROLONGED && get.candidate.is_some() => {
                get.patience = Patience::Fresh(prolonged + 1);
                self.fetch.late.push(again(PATIENCE));
            }
            Patience::Fresh(_) => {
                get.patience = Patience::Overdue;
                let left = allowed(get.size.into()).saturating_sub(now.since(get.since));
                self.fetch.late.push(again(left));
                let Some(id) = get.candidate else { return };
                self.stats.late += 1;
                self.recorded(slot, Record::late);
                self.ask_another(now, id);
            }
            Patience::Overdue => {
                get.patience = Patience::Blamed;
                let candidate = get.candidate.take();
                if heard > get.since {
                    self.blame(slot, WITHHELD);
                }
                if let Some(id) = candidate {
                    self.unable(now, id, slot);
                }
            }
            Patience::Blamed => {}
        }
    }

    /// A source is over its time: asks another besides, and takes the earlier get back where two are asked already.
    fn ask_another(&mut self, now: Instant, id: CandId) {
        let Some(candidate) = self.candidates.get_mut(id) else { return };
        candidate.overdue = true;
        let others = candidate.announcers().iter().any(|announcer| !candidate.asks(announcer.slot));
        if let [Some(first), Some(_)] = candidate.sources
            && others
        {
            self.cancel(first, id);
            self.unable(now, id, first.slot);
        }
        self.try_ask(now, id);
    }

    /// The stream of a link's items is no more: nothing asked there will come.
    pub(super) fn lose_gets(&mut self, now: Instant, slot: Slot) {
        let Some(link) = self.links.get(slot) else { return };
        let lost: Vec<u64> = link.gets.flight.keys().copied().collect(); // at most MAX_GETS
        for index in lost {
            if let Some(id) = self.finish(slot, index).and_then(|get| get.candidate) {
                self.unable(now, id, slot);
            }
        }
    }

    /// Timers of gets that were answered are dropped, the next ones at once, the rest when they are many.
    pub(super) fn forget_stale(&mut self) {
        let links = &self.links;
        let lives = |(_, slot, index, serial): &(Instant, Slot, u64, u32)| {
            let get = links.get(*slot).and_then(|link| link.gets.flight.get(index));
            get.is_some_and(|get| get.serial == *serial && get.patience != Patience::Blamed)
        };
        let late = &mut self.fetch.late;
        while late.peek().is_some_and(|Reverse(timer)| !lives(timer)) {
            late.pop();
        }
        if late.len() > 64 + 4 * self.fetch.gets as usize {
            late.retain(|Reverse(timer)| lives(timer));
        }
    }
}
