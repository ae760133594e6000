//! Who is asked for a candidate: one source at a time, another where it makes no progress, two at most.
//!
//! A candidate of whom nobody may be asked waits in the queue of each who announced it. A link's queue has a turn when the
//! dealer says so, and stalls while the link may not be asked: until it answers, or until newcomers may be asked again.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use weir_base::stream::{Group, Side};
use weir_base::{Dealer, Instant};

use super::candidates::{Announcer, CandId, Candidate, Candidates};
use super::gets::{Get, PURGE_AT, Patience};
use super::record::Record;
use crate::pool::codec::MAX_GETS;
use crate::pool::links::{Link, Links, Opening, Slot};
use crate::pool::types::Config;

/// Bytes of one turn where fetch slots are dealt: none, so that a link that offers less than its share is asked next.
const QUANTUM: u64 = 0;
/// Bytes that a link may be behind.
const DEBT: u64 = 32 * 1024 * 1024;
/// Gets that one link without a record may have under way while others have one.
const NEWCOMER_GETS: usize = 4;
/// All such links together: this many that are within their time, or an eighth of all gets.
const NEWCOMERS: u32 = 8;
/// The part of all bytes in flight that such links together may hold, answered or not.
const NEWCOMER_BYTES: u64 = 4;

/// How often the patience with an announcer doubles, as it is asked for the same candidate again.
pub(crate) const MAX_DOUBLED: u8 = 3;

/// What is being fetched, over all links.
#[derive(Debug)]
pub(crate) struct Fetch {
    pub(crate) late: BinaryHeap<Reverse<Late>>,
    limits: Limits,
    dealer: Dealer<Slot>,
    flight: u64, // bytes asked for and not answered
    held: u64,   // bytes delivered and not decided
    gets: u32,
    newcomers: u32,       // gets of links without a record, within their time
    newcomer_bytes: u64,  // of all gets of such links
    proven: u32,          // links with a record
    line: VecDeque<Slot>, // newcomers that wait for a part of their share
    freed: bool,          // a part of that share, since the line was last let try
    serial: u32,
}

/// Bytes of bodies asked for or held, of one link and of all.
#[derive(Clone, Copy, Debug)]
struct Limits {
    link: u64,
    all: u64,
}

/// When a get is over its time: the link, the index, and the number of the get.
pub(crate) type Late = (Instant, Slot, u64, u32);

/// What the next source should be best in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// The first one: expected delivery.
    Delivery,
    /// A further one: delivery record.
    Record,
}

/// Why a link may not be asked for a candidate now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// It never may again.
    Never,
    /// Its answer to an earlier get of the same index is still to come.
    Answer,
    /// It has as much to answer as it may, or its stream is opened again later.
    Load,
    /// The newcomers together have as much to answer as they may.
    Share,
}

impl Fetch {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            late: BinaryHeap::new(),
            limits: Limits { link: config.link_in_flight, all: config.in_flight },
            dealer: Dealer::new(QUANTUM, DEBT),
            flight: 0,
            held: 0,
            gets: 0,
            newcomers: 0,
            newcomer_bytes: 0,
            proven: 0,
            line: VecDeque::new(),
            freed: false,
            serial: 0,
        }
    }

    pub(crate) fn add(&mut self, slot: Slot, side: Side, group: Group) {
        self.dealer.add(slot, side, group);
    }

    pub(crate) fn set_share(&mut self, slot: Slot, quarters: u8) {
        self.dealer.set_share(slot, quarters);
    }

    /// The link is gone: nothing is fetched there. What it owes the others stays.
    pub(crate) fn depart(&mut self, slot: Slot) {
        self.dealer.set_waiting(slot, false);
        self.line.retain(|other| *other != slot);
    }

    pub(crate) fn remove(&mut self, slot: Slot) {
        self.dealer.remove(slot);
    }

    /// How many newcomers may try again: those in line, where a part of their share came back since last asked.
    pub(crate) fn take_wakes(&mut self) -> usize {
        if std::mem::take(&mut self.freed) { self.line.len() } else { 0 }
    }

    /// The link whose turn it is; `None` where nothing waits at any that may be asked.
    pub(crate) fn whose_turn(&mut self) -> Option<Slot> {
        self.dealer.whose_turn()
    }

    /// Nothing waits at a link.
    pub(crate) fn is_idle(&mut self, slot: Slot) {
        self.dealer.set_waiting(slot, false);
    }

    /// A get of so many bytes goes out, which is late at `due`. Its number.
    pub(crate) fn begin(
        &mut self,
        due: Instant,
        slot: Slot,
        index: u64,
        (size, newcomer): (u32, bool),
    ) -> u32 {
        self.serial = self.serial.wrapping_add(1);
        self.flight += u64::from(size);
        self.gets += 1;
        if newcomer {
            self.newcomers += 1;
            self.newcomer_bytes += u64::from(size);
        }
        self.late.push(Reverse((due, slot, index, self.serial)));
        self.dealer.charge(slot, u64::from(size));
        self.serial
    }

    /// Bytes asked for and not answered.
    pub(crate) const fn in_flight(&self) -> u64 {
        self.flight
    }

    /// Gets under way.
    pub(crate) const fn gets(&self) -> u32 {
        self.gets
    }

    /// A delivered body of `size` bytes was decided.
    pub(crate) fn decided(&mut self, size: u64) {
        self.held = self.held.saturating_sub(size);
    }

    /// A body of `size` bytes is held until it is decided.
    pub(crate) const fn hold(&mut self, size: u64) {
        self.held += size;
    }

    /// A get is answered, or over its time: where it was a newcomer's, others of its kind may be asked in its place.
    pub(crate) fn leave_share(&mut self, newcomer: bool) {
        self.newcomers -= u32::from(newcomer);
        self.freed |= newcomer;
    }

    pub(crate) const fn has_room(&self, size: u64) -> bool {
        let limit = self.limits.all;
        self.flight + self.held == 0 || self.flight + self.held + size <= limit
    }

    /// Whether newcomers may be asked first for one more candidate.
    pub(crate) fn has_share(&self) -> bool {
        self.proven == 0 || self.newcomers < NEWCOMERS.max(self.gets / 8)
    }

    const fn has_newcomer_bytes(&self, size: u64, limit: u64) -> bool {
        self.newcomer_bytes == 0 || self.newcomer_bytes + size <= limit / NEWCOMER_BYTES
    }

    /// A candidate waits in the queue of a link that announced it. Those that were decided meanwhile leave it, where they have
    /// become many.
    pub(crate) fn wait_at(&mut self, links: &mut Links, candidates: &Candidates, slot: Slot, id: CandId) {
        let Some(link) = links.get_mut(slot) else { return };
        let gets = &mut link.gets;
        gets.waiting.push_back(id);
        if gets.waiting.len() > gets.purge_at {
            gets.waiting.retain(|other| candidates.get(*other).is_some());
            gets.purge_at = PURGE_AT.max(2 * gets.waiting.len());
        }
        self.dealer.set_waiting(slot, !gets.stalled);
    }

    /// Nothing that waits at this link is asked of it, until it answers or its kind has a share again.
    pub(crate) fn stall(&mut self, links: &mut Links, slot: Slot) {
        self.dealer.set_waiting(slot, false);
        if let Some(link) = links.get_mut(slot) {
            link.gets.stalled = true;
        }
    }

    pub(crate) fn unstall(&mut self, links: &mut Links, slot: Slot) {
        let Some(link) = links.get_mut(slot) else { return };
        link.gets.stalled = false;
        if !link.gets.waiting.is_empty() {
            self.dealer.set_waiting(slot, true);
        }
    }

    pub(crate) fn wait_in_line(&mut self, links: &mut Links, slot: Slot) {
        let Some(link) = links.get_mut(slot) else { return };
        if !std::mem::replace(&mut link.gets.in_line, true) {
            self.line.push_back(slot);
        }
    }

    /// Lets the newcomer that has waited longest for its kind's share try again.
    pub(crate) fn wake_newcomer(&mut self, links: &mut Links) {
        let Some(slot) = self.line.pop_front() else { return };
        if let Some(link) = links.get_mut(slot) {
            link.gets.in_line = false;
        }
        self.unstall(links, slot);
    }

    /// Whether nothing hinders that `announcer` is asked for a candidate now.
    pub(crate) fn may_ask(&self, links: &Links, candidate: &Candidate, announcer: &Announcer) -> bool {
        let choice = if candidate.is_asked() { Choice::Record } else { Choice::Delivery };
        let size = u64::from(candidate.claim.size);
        let link = links.get(announcer.slot);
        link.is_some_and(|link| self.obstacle(link, announcer, size, choice).is_none())
    }

    pub(crate) fn obstacle(
        &self,
        link: &Link,
        announcer: &Announcer,
        size: u64,
        choice: Choice,
    ) -> Option<Obstacle> {
        let gets = &link.gets;
        if link.ready.is_none() || gets.lane.opening == Opening::Never {
            return Some(Obstacle::Never);
        }
        if gets.lane.opening == Opening::Paused {
            return Some(Obstacle::Load);
        }
        if gets.flight.contains_key(&announcer.index) {
            return Some(Obstacle::Answer);
        }
        let most = gets.record.most_asked(self.limits.link);
        let much = gets.bytes + size > most && gets.bytes > 0;
        if gets.flight.len() >= MAX_GETS || much {
            return Some(Obstacle::Load);
        }
        if self.proven == 0 || gets.record.proven() {
            return None;
        }
        if gets.flight.len() >= NEWCOMER_GETS || (gets.overdue > 0 && choice == Choice::Delivery) {
            return Some(Obstacle::Load);
        }
        let share = choice == Choice::Record || self.has_share();
        let bytes = self.has_newcomer_bytes(size, self.limits.all);
        (!share || !bytes).then_some(Obstacle::Share)
    }

    /// A get was answered: its reservation ends.
    pub(crate) fn finish(&mut self, links: &mut Links, slot: Slot, index: u64) -> Option<Get> {
        let link = links.get_mut(slot)?;
        let get = link.gets.flight.remove(&index)?;
        let size = u64::from(get.size);
        link.gets.out.remove(&index);
        link.gets.cancels.remove(&index);
        link.gets.bytes -= size;
        self.flight -= size;
        self.gets -= 1;
        if get.newcomer {
            self.newcomer_bytes -= size;
            self.freed = true;
        }
        match get.patience {
            Patience::Fresh(_) => self.leave_share(get.newcomer),
            Patience::Overdue | Patience::Expired { .. } => link.gets.overdue -= 1,
        }
        self.unstall(links, slot);
        Some(get)
    }

    /// Changes a link's record, and counts the links that have one.
    pub(crate) fn recorded(&mut self, links: &mut Links, slot: Slot, change: impl FnOnce(&mut Record)) {
        let Some(link) = links.get_mut(slot) else { return };
        let record = &mut link.gets.record;
        let (before, all) = (u32::from(record.proven()), self.proven);
        change(record);
        self.proven = all + u32::from(record.proven()) - before;
        if all > 0 && self.proven == 0 {
            self.freed = true; // nobody is a newcomer now
            links.slots().into_iter().for_each(|slot| self.unstall(links, slot));
        }
    }

    /// When the next get is late.
    pub(crate) fn next_timeout(&self) -> Option<(Instant, &'static str)> {
        self.late.peek().map(|Reverse((due, ..))| (*due, "a get is late"))
    }

    /// Timers of gets that were answered are dropped, the next ones at once, the rest when they are many.
    pub(crate) fn forget_stale(&mut self, links: &Links) {
        let lives = |(_, slot, index, serial): &Late| {
            let get = links.get(*slot).and_then(|link| link.gets.flight.get(index));
            get.is_some_and(|get| get.serial == *serial)
        };
        let most = 64 + 4 * self.gets() as usize;
        let late = &mut self.late;
        while late.peek().is_some_and(|Reverse(timer)| !lives(timer)) {
            late.pop();
        }
        if late.len() > most {
            late.retain(|Reverse(timer)| lives(timer));
        }
    }
}

#[cfg(test)]
impl Fetch {
    /// Accounts among which fetches are dealt.
    pub(crate) fn members(&self) -> usize {
        self.dealer.members()
    }
}

#[cfg(test)]
mod tests {
    use crate::ShortId;
    use weir_base::Rng;

    use super::super::candidates::Claim;
    use super::super::record::More;
    use super::*;
    use crate::pool::{Rules, Summary};

    fn fetch() -> Fetch {
        let rules = Rules { summarize: |_| Ok(Summary::EMPTY), judge: |_| Some(1) };
        Fetch::new(&Config { in_flight: 1_000, ..Config::new(rules) })
    }

    #[test]
    fn what_is_asked_for_and_what_is_held_have_one_bound() {
        let mut fetch = fetch();
        assert!(fetch.has_room(5_000), "one item finds room whatever its size");
        fetch.begin(Instant::ZERO, Slot(1), 0, (600, false));
        assert_eq!((fetch.in_flight(), fetch.gets()), (600, 1));
        assert!(fetch.has_room(400) && !fetch.has_room(401));
        fetch.hold(100);
        fetch.hold(50);
        assert!(fetch.has_room(250) && !fetch.has_room(251));
        fetch.decided(100);
        assert!(fetch.has_room(350) && !fetch.has_room(351));
    }

    #[test]
    fn newcomers_have_eight_gets_or_an_eighth_of_all() {
        let mut fetch = fetch();
        fetch.newcomers = 1_000;
        assert!(fetch.has_share(), "nobody has a record");
        fetch.proven = 1;
        for (gets, most) in [(0, 8), (71, 8), (72, 9), (160, 20)] {
            (fetch.gets, fetch.newcomers) = (gets, most - 1);
            assert!(fetch.has_share());
            fetch.newcomers = most;
            assert!(!fetch.has_share(), "{gets}");
        }
        assert!(fetch.has_newcomer_bytes(9_999, 1_000), "one item");
        fetch.newcomer_bytes = 100;
        assert!(fetch.has_newcomer_bytes(150, 1_000) && !fetch.has_newcomer_bytes(151, 1_000));
    }

    #[test]
    fn newcomers_in_line_are_woken_once_for_each_time_that_their_share_came_back() {
        let mut fetch = fetch();
        fetch.line.extend([Slot(1), Slot(2)]);
        assert_eq!(fetch.take_wakes(), 0);
        fetch.newcomers = 2;
        fetch.leave_share(false);
        assert_eq!((fetch.take_wakes(), fetch.newcomers), (0, 2), "one with a record has no part in it");
        fetch.leave_share(true);
        assert_eq!((fetch.take_wakes(), fetch.take_wakes(), fetch.newcomers), (2, 0, 1));
        fetch.depart(Slot(1));
        assert_eq!(fetch.line, [Slot(2)]);
    }

    /// A link that is ready or not, and a candidate that it announced under index 0.
    fn scene(ready: bool) -> (Links, Candidates, CandId) {
        let (mut links, mut candidates) = (Links::default(), Candidates::new(&mut Rng::from_number(1)));
        links.insert(Link::fresh(1, ready));
        let id = insert(&mut candidates, 0);
        (links, candidates, id)
    }

    fn insert(candidates: &mut Candidates, number: u64) -> CandId {
        let claim = Claim { key: 1, short: ShortId(number), size: 1, summary: Summary::EMPTY };
        candidates.insert(Candidate::new(claim, 0, Some(Announcer::new(Slot(0), number))))
    }

    #[test]
    fn a_link_is_not_asked_before_its_hello_or_after_its_stream_was_broken_off() {
        let announcer = Announcer::new(Slot(0), 0);
        let obstacle = |link: &Link, size| fetch().obstacle(link, &announcer, size, Choice::Delivery);
        let mut link = Link::fresh(1, false);
        assert_eq!(obstacle(&link, 1), Some(Obstacle::Never));
        link = Link::fresh(1, true);
        assert_eq!(obstacle(&link, 1), None);
        assert_eq!(obstacle(&link, 100_000_000), None, "one item, however large");
        link.gets.bytes = 1;
        assert_eq!(obstacle(&link, 100_000_000), Some(Obstacle::Load));
        link.gets.lane.opening = Opening::Never;
        assert_eq!(obstacle(&link, 1), Some(Obstacle::Never));
    }

    #[test]
    fn a_long_queue_is_rid_of_what_is_decided_and_may_then_be_twice_as_long() {
        let (mut links, mut candidates, id) = scene(true);
        candidates.remove(id);
        let mut fetch = fetch();
        let waiting =
            |links: &Links| links.get(Slot(0)).map(|link| (link.gets.waiting.len(), link.gets.purge_at));
        (0..64).for_each(|_| fetch.wait_at(&mut links, &candidates, Slot(0), id));
        assert_eq!(waiting(&links), Some((64, 64)));
        fetch.wait_at(&mut links, &candidates, Slot(0), id);
        assert_eq!(waiting(&links), Some((0, 64)));
        for number in 1..=70 {
            let lives = insert(&mut candidates, number);
            fetch.wait_at(&mut links, &candidates, Slot(0), lives);
        }
        assert_eq!(waiting(&links), Some((70, 130)), "looked at when there were 65");
    }

    #[test]
    fn where_the_last_link_loses_its_record_all_may_be_asked_again() {
        let (mut links, ..) = scene(true);
        links.insert(Link::fresh(2, true));
        let mut fetch = fetch();
        let stalled = |links: &Links| links.get(Slot(1)).is_some_and(|link| link.gets.stalled);
        fetch.stall(&mut links, Slot(1));
        fetch.recorded(&mut links, Slot(0), Record::late);
        assert!(stalled(&links) && !fetch.freed, "nobody had a record");
        let item = |record: &mut Record| record.item(Instant::ZERO, 1, More::Idle);
        (0..16).for_each(|_| fetch.recorded(&mut links, Slot(0), item));
        fetch.recorded(&mut links, Slot(0), item);
        assert_eq!((fetch.proven, stalled(&links), fetch.freed), (1, true, false), "it has one");
        fetch.recorded(&mut links, Slot(0), Record::false_item);
        assert_eq!((fetch.proven, stalled(&links), fetch.freed), (0, false, true));
    }

    #[test]
    fn every_get_is_counted() {
        let mut fetch = fetch();
        (0..3).for_each(|index| _ = fetch.begin(Instant::ZERO, Slot(0), index, (10, false)));
        assert_eq!((fetch.gets(), fetch.in_flight()), (3, 30));
    }

    #[test]
    fn timers_that_name_no_get_are_forgotten_when_they_are_many_more_than_the_gets() {
        let (mut links, _, id) = scene(true);
        let mut fetch = fetch();
        let serial = fetch.begin(Instant::ZERO, Slot(0), 0, (1, false));
        let get = Get::new(id, 1, 0, Instant::ZERO, serial, false);
        links.get_mut(Slot(0)).unwrap().gets.flight.insert(0, get); // the first timer stays
        let begin =
            |fetch: &mut Fetch, index| _ = fetch.begin(Instant::from_millis(1), Slot(0), index, (1, false));
        (1..464).for_each(|index| begin(&mut fetch, index));
        fetch.gets = 100;
        fetch.forget_stale(&links);
        assert_eq!(fetch.late.len(), 464, "four for each get, and 64");
        begin(&mut fetch, 464);
        fetch.gets = 100;
        fetch.forget_stale(&links);
        assert_eq!(fetch.late.len(), 1);
    }
}
