//! The memory of requests and answers: one budget for all call channels of a node (`docs/spec/call.md`, "Memory").
//!
//! - a request begins to come → [`reserve`](Memory::reserve) what its stream may bring, and more once its length is known;
//! - it is handed to the application → `reserve` the request and the largest answer;
//! - the answer is there → [`keep`](Memory::keep) what it really holds, until it is written or its stream ends.
//!
//! A quarter is for requests on their way, the rest for what the application handles and for answers; of each part a channel is
//! guaranteed what its largest needs. Where nothing is free, room comes from the link that holds most of that part for its share
//! (sides, groups, links: `docs/spec/fairness.md`), if that is more than who asks has: of requests the newest, of answers the one
//! that is read most slowly. So a link that asks for little is refused nothing, whatever the others hoard.
//!
//! What is handled has the largest answer reserved, but it weighs what its link's answers took of late. An answer gives way at once
//! to a link that would weigh half as much or less, and only when it has not moved for a while to one that would hold as much.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use weir_base::stream::{Group, Side};
use weir_base::{Dealer, Instant, LinkId, Numbered, StreamKey};

use super::part::Part;

/// The part of the budget that is for requests on their way: one in so many bytes.
const FOR_REQUESTS: u64 = 4;
/// An answer may be dropped for others when nothing of it has moved for so long: longer than most round trips.
const STALLED_AFTER: Duration = Duration::from_millis(200);
/// Nanoseconds for which an answer is not dropped, for each byte of it that has moved: a reader slower than 500 kB/s gives way
/// to links that hold less. Else a byte every 200 ms would keep its memory.
const NANOS_PER_BYTE: u64 = 2_000;
/// An answer is dropped at once for a link that would hold so many times less: else links that hold about the same would drop
/// each other's answers before they can be read.
const AT_ONCE: u64 = 2;

/// What a stream holds memory for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// A request that is coming, or waits for its turn. It may still be refused.
    Request,
    /// The application has the request; the largest answer is reserved. It counts as so many bytes where links are compared.
    Handling { weighs: u64 },
    /// An answer. It counts as moving until then, see [`moving_until`].
    Answer(Instant),
}

/// Until when an answer counts as moving of which `bytes` have moved by `now`, and nothing before `since`.
pub(crate) fn moving_until(now: Instant, since: Instant, bytes: u64) -> Instant {
    now.min(since + Duration::from_nanos(bytes.saturating_mul(NANOS_PER_BYTE)))
}

/// Why there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoRoom {
    /// What may be dropped to make some: a stream of this machine. `None`: whoever asks holds the most for its share.
    pub(crate) victim: Option<(u16, StreamKey)>,
}

/// The budget. Bytes are those of messages; what streams hold is at most its total.
#[derive(Debug)]
pub(crate) struct Memory {
    total: u64,
    requests: Part,           // on their way
    answers: Part,            // and what is handled
    freed: bool,              // of `answers`
    richest: Option<Richest>, // `None` once anything has changed
    shares: Dealer<LinkId>,
    links: BTreeMap<LinkId, Account>,
    streams: Numbered<StreamKey, Holding>,
}

/// How much links hold of `answers` for their share: an answer is dropped only for a link that would hold less. While nothing changes all who
/// wait are told so by two comparisons, however many links there are.
#[derive(Clone, Copy, Debug)]
struct Richest {
    at: Instant,
    with_stalled: u64, // the most of a link that has an answer which has stalled
    with_any: u64,     // the most of a link that has an answer
}

#[derive(Debug)]
struct Holding {
    machine: u16,
    bytes: u64,
    hold: Hold,
}

impl Holding {
    /// The bytes it counts as where links are compared.
    const fn weighs(&self) -> u64 {
        if let Hold::Handling { weighs } = self.hold { weighs } else { self.bytes }
    }
}

#[derive(Debug, Default)]
struct Account {
    share: u64,         // of the total, in bytes, at least 1
    request_bytes: u64, // of `requests`
    answer_bytes: u64,  // of `answers`, and what is handled by what it weighs
    requests: BTreeSet<StreamKey>,
    answers: BTreeSet<(Instant, StreamKey)>,
}

impl Account {
    /// How much of that part it holds for its share, in thousandths, if it held so many bytes more.
    fn load(&self, hold: Hold, more: u64) -> u64 {
        let bytes = if let Hold::Request = hold { self.request_bytes } else { self.answer_bytes };
        bytes.saturating_add(more).saturating_mul(1000) / self.share.max(1)
    }

    /// The bytes of that part.
    const fn part(&mut self, hold: Hold) -> &mut u64 {
        if let Hold::Request = hold { &mut self.request_bytes } else { &mut self.answer_bytes }
    }

    /// What may be dropped of that part, the first first.
    fn victims(&self, now: Instant, hold: Hold) -> impl Iterator<Item = StreamKey> + '_ {
        let (requests, answers) =
            if hold == Hold::Request { (Some(&self.requests), None) } else { (None, Some(&self.answers)) };
        let requests = requests.into_iter().flatten().rev().copied();
        let stalled = move |answer: &&(Instant, StreamKey)| answer.0 + STALLED_AFTER <= now;
        requests.chain(answers.into_iter().flatten().take_while(stalled).map(|(_, key)| *key))
    }
}

impl Memory {
    /// A budget of `total` bytes.
    pub(crate) fn new(total: u64) -> Self {
        let requests = total / FOR_REQUESTS;
        Self {
            total,
            requests: Part::new(requests),
            answers: Part::new(total - requests),
            freed: false,
            richest: None,
            shares: Dealer::new(1, 0),
            links: BTreeMap::new(),
            streams: Numbered::default(),
        }
    }

    /// The least total with which requests and answers of so many bytes can be handled.
    pub(crate) fn least(request: u64, answer: u64) -> u64 {
        let both = request.saturating_add(answer);
        both.saturating_add(both.div_ceil(FOR_REQUESTS - 1)).max(request.saturating_mul(FOR_REQUESTS))
    }

    /// A channel, by the number of its machine, with requests and answers of at most so many bytes: room for one of each is kept
    /// for it, where all channels' fit.
    pub(crate) fn guarantee(&mut self, machine: u16, request: u64, answer: u64) {
        self.requests.guarantee(machine, request);
        self.answers.guarantee(machine, request.saturating_add(answer));
    }

    /// A link joins, or its side is known better.
    pub(crate) fn add(&mut self, link: LinkId, side: Side, group: Group) {
        self.shares.add(link, side, group);
        self.links.entry(link).or_default();
        self.share_out();
    }

    /// Its peer's standing gives it so many quarters of its share.
    pub(crate) fn set_share(&mut self, link: LinkId, quarters: u8) {
        self.shares.set_share(link, quarters);
        self.share_out();
    }

    /// A link is gone, and all its streams hold.
    pub(crate) fn remove(&mut self, link: LinkId) {
        for key in self.streams.of_link(link) {
            self.free(key);
        }
        self.shares.remove(link);
        self.links.remove(&link);
        self.share_out();
    }

    fn share_out(&mut self) {
        self.richest = None;
        for (link, account) in &mut self.links {
            account.share = self.shares.part(*link, self.total).max(1);
        }
    }

    /// Lets a stream of `machine` hold `bytes` in all, if there is room.
    pub(crate) fn reserve(
        &mut self,
        now: Instant,
        machine: u16,
        key: StreamKey,
        (bytes, hold): (u64, Hold),
    ) -> Result<(), NoRoom> {
        let has =
            self.streams.get(key).filter(|held| (held.hold == Hold::Request) == (hold == Hold::Request));
        let more = bytes.saturating_sub(has.map_or(0, |held| held.bytes));
        if self.part(hold).has_room(machine, more) {
            self.keep(machine, key, bytes, hold);
            return Ok(());
        }
        Err(NoRoom { victim: self.victim(now, machine, key.link, (bytes, hold)) })
    }

    /// What may be dropped so that `link` can have `bytes`.
    fn victim(
        &mut self,
        now: Instant,
        machine: u16,
        link: LinkId,
        (bytes, hold): (u64, Hold),
    ) -> Option<(u16, StreamKey)> {
        if let Hold::Handling { weighs } = hold {
            let Richest { with_stalled, with_any, .. } = self.richest(now, hold);
            let account = self.links.get(&link)?;
            let at_once = account.load(hold, weighs).saturating_mul(AT_ONCE);
            if with_stalled <= account.load(hold, 0) && with_any < at_once {
                return None;
            }
        }
        let load_with = |more| self.links.get(&link).map_or(u64::MAX, |account| account.load(hold, more));
        let part = self.part(hold);
        let of = |key: StreamKey| self.streams.get(key).map(|held| (held.machine, key));
        let helps = |(of, _): &(u16, StreamKey)| *of == machine || part.can_lend(*of);
        let richer = |than: u64| self.links.values().filter(move |account| account.load(hold, 0) > than);
        // A request must not cost others more than it brings; an answer is as large as it may become for everybody.
        let asks = load_with(if hold == Hold::Request { bytes } else { 0 });
        let stalled = richer(asks).filter_map(|account| {
            let (_, key) = account.victims(now, hold).filter_map(of).find(helps)?;
            Some((account.load(hold, 0), key))
        });
        if let Some((_, key)) = stalled.max() {
            return of(key);
        }
        let Hold::Handling { weighs } = hold else { return None };
        let at_once =
            richer(load_with(weighs).saturating_mul(AT_ONCE).saturating_sub(1)).filter_map(|account| {
                let (last_progress, key) =
                    account.answers.iter().find(|(_, key)| of(*key).is_some_and(|victim| helps(&victim)))?;
                Some((account.load(hold, 0), Reverse(*last_progress), *key))
            });
        at_once.max().and_then(|(_, _, key)| of(key))
    }

    fn richest(&mut self, now: Instant, hold: Hold) -> Richest {
        if let Some(known) = self.richest.filter(|known| known.at == now) {
            return known;
        }
        let mut richest = Richest { at: now, with_stalled: 0, with_any: 0 };
        for account in self.links.values().filter(|account| !account.answers.is_empty()) {
            let load = account.load(hold, 0);
            richest.with_any = richest.with_any.max(load);
            if account.victims(now, hold).next().is_some() {
                richest.with_stalled = richest.with_stalled.max(load);
            }
        }
        self.richest = Some(richest);
        richest
    }

    /// A stream holds `bytes` in all, which is no more than it has reserved.
    pub(crate) fn keep(&mut self, machine: u16, key: StreamKey, bytes: u64, hold: Hold) {
        let had = self.take_off(key);
        let frees = |had: Holding| had.hold != Hold::Request && (had.bytes > bytes || hold == Hold::Request);
        self.freed |= had.is_some_and(frees);
        let Some(account) = self.links.get_mut(&key.link) else { return };
        match hold {
            Hold::Request => _ = account.requests.insert(key),
            Hold::Handling { .. } => {}
            Hold::Answer(last_progress) => _ = account.answers.insert((last_progress, key)),
        }
        let holding = Holding { machine, bytes, hold };
        *account.part(hold) += holding.weighs();
        self.part_mut(hold).take(machine, bytes);
        self.streams.insert(key, holding);
    }

    /// A stream holds nothing any more.
    pub(crate) fn free(&mut self, key: StreamKey) {
        self.freed |= self.take_off(key).is_some_and(|had| had.hold != Hold::Request);
    }

    fn take_off(&mut self, key: StreamKey) -> Option<Holding> {
        self.richest = None;
        let held = self.streams.remove(key)?;
        self.part_mut(held.hold).give_back(held.machine, held.bytes);
        let Some(account) = self.links.get_mut(&key.link) else { return Some(held) };
        *account.part(held.hold) -= held.weighs();
        match held.hold {
            Hold::Request => _ = account.requests.remove(&key),
            Hold::Handling { .. } => {}
            Hold::Answer(last_progress) => _ = account.answers.remove(&(last_progress, key)),
        }
        Some(held)
    }

    const fn part(&self, hold: Hold) -> &Part {
        if let Hold::Request = hold { &self.requests } else { &self.answers }
    }

    const fn part_mut(&mut self, hold: Hold) -> &mut Part {
        if let Hold::Request = hold { &mut self.requests } else { &mut self.answers }
    }

    /// When another answer may be dropped at the latest, if it does not move.
    pub(crate) fn next_stalled(&self, now: Instant) -> Instant {
        let oldest = self.links.values().filter_map(|account| account.answers.first());
        let stalls = oldest.map(|(last_progress, _)| *last_progress + STALLED_AFTER).filter(|at| *at > now);
        stalls.min().unwrap_or(now + STALLED_AFTER)
    }

    /// Whether room for answers was given back since last asked. Nobody waits for room for requests.
    pub(crate) fn take_freed(&mut self) -> bool {
        std::mem::take(&mut self.freed)
    }

    /// Bytes that streams hold, at most [`total`](Self::total).
    pub(crate) const fn used(&self) -> u64 {
        self.requests.used() + self.answers.used()
    }

    /// The budget.
    pub(crate) const fn total(&self) -> u64 {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant::from_millis(1_000);
    /// Of a link whose answers are as large as they may be.
    const LARGE: Hold = Hold::Handling { weighs: 6_000 };

    fn key(link: u64, stream: u64) -> StreamKey {
        StreamKey { link: LinkId(link), stream }
    }

    fn with_links(groups: &[u8]) -> Memory {
        let mut memory = Memory::new(8_000);
        for (link, group) in (0..).zip(groups) {
            memory.add(LinkId(link), Side::Inbound, Group::V4([*group, 0]));
        }
        memory
    }

    #[test]
    fn room_for_a_request_comes_from_the_link_that_holds_most_its_newest_first() {
        let mut memory = with_links(&[1, 2, 3]);
        for stream in 0..3 {
            assert_eq!(memory.reserve(NOW, 4, key(0, stream), (200, Hold::Request)), Ok(()));
        }
        assert_eq!(memory.reserve(NOW, 4, key(1, 0), (1_300, Hold::Request)), Ok(()));
        let no_room = memory.reserve(NOW, 4, key(2, 0), (200, Hold::Request));
        assert_eq!(no_room, Err(NoRoom { victim: Some((4, key(1, 0))) }));
        memory.free(key(1, 0));
        assert!(!memory.take_freed(), "nobody waits for room for requests");
        assert_eq!(memory.reserve(NOW, 5, key(2, 0), (1_300, Hold::Request)), Ok(()));
        let no_room = memory.reserve(NOW, 4, key(0, 3), (800, Hold::Request));
        assert_eq!(no_room, Err(NoRoom { victim: None }), "it would hold more than anybody");
        assert_eq!(memory.used(), 1_900);
    }

    #[test]
    fn a_link_of_a_crowded_group_gives_way_to_one_of_another() {
        let mut memory = with_links(&[1, 1, 1, 1, 2]);
        for link in 0..4 {
            assert_eq!(memory.reserve(NOW, 0, key(link, 0), (375, Hold::Request)), Ok(()));
        }
        assert_eq!(memory.reserve(NOW, 0, key(4, 0), (400, Hold::Request)), Ok(()));
        let no_room = memory.reserve(NOW, 0, key(4, 1), (150, Hold::Request));
        assert!(
            matches!(no_room, Err(NoRoom { victim: Some((0, key)) }) if key.link != LinkId(4)),
            "{no_room:?}"
        );
    }

    #[test]
    fn an_answer_gives_way_to_a_link_with_less_once_nothing_of_it_has_moved_for_a_while() {
        let mut memory = with_links(&[1, 2]);
        assert_eq!(memory.reserve(NOW, 0, key(0, 0), (6_000, LARGE)), Ok(()));
        let asks = |memory: &mut Memory, now, link| memory.reserve(now, 0, key(link, 1), (1_200, LARGE));
        let later = NOW + STALLED_AFTER;
        assert_eq!(asks(&mut memory, later, 1), Err(NoRoom { victim: None }), "the application has it");
        memory.keep(0, key(0, 0), 6_000, Hold::Answer(NOW));
        assert_eq!(asks(&mut memory, later - Duration::from_millis(1), 1), Err(NoRoom { victim: None }));
        assert_eq!(asks(&mut memory, later, 0), Err(NoRoom { victim: None }), "it has as much");
        assert_eq!(asks(&mut memory, later, 1), Err(NoRoom { victim: Some((0, key(0, 0))) }));
    }

    #[test]
    fn an_answer_gives_way_at_once_to_a_link_whose_answers_are_small() {
        let mut memory = with_links(&[1, 2, 3]);
        memory.keep(0, key(0, 0), 2_000, Hold::Answer(NOW));
        memory.keep(0, key(1, 0), 1_000, Hold::Answer(NOW + Duration::from_millis(2)));
        memory.keep(0, key(1, 1), 3_000, Hold::Answer(NOW + Duration::from_millis(1)));
        let mut asks = |weighs| memory.reserve(NOW, 0, key(2, 0), (6_000, Hold::Handling { weighs }));
        assert_eq!(asks(2_010), Err(NoRoom { victim: None }), "it may hold more than half as much");
        assert_eq!(
            asks(2_000),
            Err(NoRoom { victim: Some((0, key(1, 1))) }),
            "of two the one read more slowly"
        );
        memory.free(key(1, 1));
        let asks = memory.reserve(NOW, 0, key(2, 0), (6_000, Hold::Handling { weighs: 1_000 }));
        assert_eq!(asks, Err(NoRoom { victim: Some((0, key(0, 0))) }));
        memory.free(key(0, 0));
        memory.free(key(1, 0));
        for stream in 1..4 {
            let hold = Hold::Handling { weighs: 300 };
            assert_eq!(memory.reserve(NOW, 0, key(2, stream), (1_500, hold)), Ok(()));
        }
        memory.keep(0, key(0, 0), 1_500, Hold::Answer(NOW));
        let mut asks = |link| memory.reserve(NOW, 0, key(link, 9), (1_500, Hold::Handling { weighs: 10 }));
        assert_eq!(
            asks(2),
            Err(NoRoom { victim: None }),
            "three that weigh 300 each are more than half of the answer"
        );
        assert_eq!(asks(1), Err(NoRoom { victim: Some((0, key(0, 0))) }));
    }

    #[test]
    fn of_links_that_hold_as_much_the_one_that_reads_more_slowly_gives_way_at_once() {
        let mut memory = with_links(&[1, 2, 3]);
        memory.keep(0, key(0, 0), 3_000, Hold::Answer(NOW));
        memory.keep(0, key(1, 0), 3_000, Hold::Answer(NOW + Duration::from_millis(1)));
        let asks = memory.reserve(NOW, 0, key(2, 0), (1_000, Hold::Handling { weighs: 10 }));
        assert_eq!(asks, Err(NoRoom { victim: Some((0, key(0, 0))) }));
    }

    #[test]
    fn an_answer_that_stalls_gives_way_before_larger_ones_that_move() {
        let mut memory = with_links(&[1, 2, 3]);
        memory.keep(0, key(0, 0), 1_000, Hold::Answer(NOW));
        memory.keep(0, key(1, 0), 5_000, Hold::Answer(NOW + STALLED_AFTER));
        let asks = memory.reserve(NOW + STALLED_AFTER, 0, key(2, 0), (1_000, Hold::Handling { weighs: 10 }));
        assert_eq!(asks, Err(NoRoom { victim: Some((0, key(0, 0))) }));
    }

    #[test]
    fn an_answer_that_trickles_gives_way_too() {
        let mut memory = with_links(&[1, 2]);
        assert_eq!(memory.reserve(NOW, 0, key(0, 0), (6_000, LARGE)), Ok(()));
        let later = NOW + Duration::from_secs(10);
        memory.keep(0, key(0, 0), 6_000, Hold::Answer(moving_until(later, NOW, 5_000)));
        let asks = memory.reserve(later, 0, key(1, 1), (1_200, LARGE));
        assert_eq!(asks, Err(NoRoom { victim: Some((0, key(0, 0))) }), "5 kB in 10 s");
        memory.keep(0, key(0, 0), 6_000, Hold::Answer(moving_until(later, NOW, 5_000_000)));
        let asks = memory.reserve(later, 0, key(1, 1), (1_200, LARGE));
        assert_eq!(asks, Err(NoRoom { victim: None }), "5 MB in 10 s");
    }

    #[test]
    fn a_method_that_never_answers_leaves_room_for_the_largest_of_another() {
        let mut memory = with_links(&[1]); // one link: nobody holds more than it
        memory.guarantee(0, 100, 900);
        memory.guarantee(1, 100, 1_900);
        let handling = |memory: &mut Memory, machine, stream| {
            memory.reserve(NOW, machine, key(0, stream), (if machine == 0 { 1_000 } else { 2_000 }, LARGE))
        };
        let held = (0..9).filter(|stream| handling(&mut memory, 0, *stream).is_ok()).count();
        assert_eq!(held, 4, "6,000 bytes less 2,000");
        assert_eq!(handling(&mut memory, 1, 10), Ok(()));
        let coming =
            (20..99).filter(|stream| memory.reserve(NOW, 0, key(0, *stream), (100, Hold::Request)).is_ok());
        assert_eq!(coming.count(), 19, "2,000 bytes less 100");
        assert_eq!(memory.reserve(NOW, 1, key(0, 100), (100, Hold::Request)), Ok(()));
    }

    #[test]
    fn what_would_be_kept_for_its_own_channel_is_not_dropped_for_another() {
        let mut memory = with_links(&[1, 2, 3]);
        memory.guarantee(0, 0, 3_000);
        memory.guarantee(1, 0, 1_000);
        memory.keep(0, key(0, 0), 3_000, Hold::Answer(NOW));
        memory.keep(1, key(1, 0), 2_500, Hold::Answer(NOW));
        let later = NOW + Duration::from_secs(1);
        let asks = memory.reserve(later, 1, key(2, 0), (1_000, LARGE));
        assert_eq!(asks, Err(NoRoom { victim: Some((1, key(1, 0))) }));
        let at_once = memory.reserve(NOW, 1, key(2, 0), (1_000, Hold::Handling { weighs: 10 }));
        assert_eq!(at_once, Err(NoRoom { victim: Some((1, key(1, 0))) }));
        memory.keep(1, key(1, 0), 1_000, Hold::Answer(NOW));
        memory.keep(2, key(1, 1), 2_000, Hold::Answer(NOW));
        let asks = memory.reserve(later, 1, key(2, 0), (1_000, LARGE));
        assert_eq!(
            asks,
            Err(NoRoom { victim: Some((1, key(1, 0))) }),
            "its own channel's guarantee is for it"
        );
    }

    #[test]
    fn a_quarter_is_for_requests_and_the_rest_for_answers() {
        let mut memory = with_links(&[1]);
        let refused = Err(NoRoom { victim: None });
        assert_eq!(memory.reserve(NOW, 0, key(0, 0), (6_001, LARGE)), refused);
        assert_eq!(memory.reserve(NOW, 0, key(0, 0), (6_000, LARGE)), Ok(()));
        assert_eq!(memory.reserve(NOW, 0, key(0, 1), (2_001, Hold::Request)), refused);
        assert_eq!(memory.reserve(NOW, 0, key(0, 1), (2_000, Hold::Request)), Ok(()));
        assert_eq!((Memory::least(0, 6_000), Memory::least(2_000, 4_000)), (8_000, 8_000));
        assert_eq!((Memory::least(3_000, 0), memory.used(), memory.total()), (12_000, 8_000, 8_000));
        memory.remove(LinkId(0));
        assert_eq!(memory.used(), 0);
    }

    #[test]
    fn the_next_answer_may_be_dropped_when_the_oldest_has_not_moved_for_200_ms() {
        let mut memory = with_links(&[1, 2]);
        assert_eq!(memory.next_stalled(NOW), NOW + STALLED_AFTER, "there is none");
        let at = |millis: u64| NOW + Duration::from_millis(millis);
        memory.keep(0, key(0, 0), 100, Hold::Answer(at(50)));
        memory.keep(0, key(1, 0), 100, Hold::Answer(at(20)));
        memory.keep(0, key(1, 1), 100, Hold::Answer(at(90)));
        assert_eq!(memory.next_stalled(at(100)), at(220));
        assert_eq!(memory.next_stalled(at(220)), at(250), "that one may be dropped already");
        assert_eq!(memory.next_stalled(at(260)), at(460), "all may");
    }

    #[test]
    fn room_for_answers_is_freed_where_a_stream_holds_less_of_it_or_a_request_again() {
        let mut memory = with_links(&[1]);
        let mut kept = |bytes, hold| {
            memory.keep(0, key(0, 0), bytes, hold);
            memory.take_freed()
        };
        assert!(!kept(100, Hold::Request) && !kept(200, Hold::Request) && !kept(200, Hold::Request));
        assert!(!kept(199, Hold::Request) && !kept(500, LARGE), "nobody waits for room for requests");
        assert!(!kept(500, Hold::Answer(NOW)) && kept(400, Hold::Answer(NOW)));
        assert!(kept(400, Hold::Request), "it left the answers");
        memory.free(key(0, 0));
        assert!(!memory.take_freed());
        memory.keep(0, key(0, 0), 100, Hold::Answer(NOW));
        memory.free(key(0, 0));
        assert!(memory.take_freed() && !memory.take_freed());
    }

    #[test]
    fn a_link_that_would_hold_as_much_as_another_takes_nothing_from_it() {
        let mut memory = with_links(&[1, 2, 3]);
        assert_eq!(memory.reserve(NOW, 0, key(0, 0), (1_000, Hold::Request)), Ok(()));
        assert_eq!(memory.reserve(NOW, 0, key(1, 0), (900, Hold::Request)), Ok(()));
        let asks = |memory: &mut Memory, bytes| memory.reserve(NOW, 0, key(2, 0), (bytes, Hold::Request));
        assert_eq!(asks(&mut memory, 1_000), Err(NoRoom { victim: None }));
        assert_eq!(asks(&mut memory, 990), Err(NoRoom { victim: Some((0, key(0, 0))) }));
    }

    #[test]
    fn what_a_stream_has_freed_counts_for_its_link_no_more() {
        let mut memory = with_links(&[1, 2, 3]);
        memory.keep(0, key(0, 0), 3_000, Hold::Answer(NOW));
        memory.keep(0, key(0, 1), 2_000, Hold::Answer(NOW));
        memory.keep(0, key(1, 0), 1_500, Hold::Answer(NOW));
        memory.free(key(0, 0));
        let asks = memory.reserve(NOW + STALLED_AFTER, 0, key(2, 0), (3_000, LARGE));
        assert_eq!(asks, Err(NoRoom { victim: Some((0, key(0, 1))) }), "2,000 are left, more than 1,500");
    }

    #[test]
    fn what_can_be_dropped_is_looked_up_again_once_something_or_the_time_has_changed() {
        let mut memory = with_links(&[1, 2]);
        let small = Hold::Handling { weighs: 100 };
        memory.keep(0, key(0, 0), 3_000, small);
        memory.keep(0, key(0, 1), 3_000, small);
        let asked = |memory: &mut Memory, now, hold| {
            memory.reserve(now, 0, key(1, 0), (3_000, hold)).map_err(|none| none.victim)
        };
        assert_eq!(asked(&mut memory, NOW, small), Err(None), "what is handled stays");
        memory.keep(0, key(0, 0), 3_000, Hold::Answer(NOW));
        assert_eq!(asked(&mut memory, NOW, small), Err(Some((0, key(0, 0)))));
        assert_eq!(
            asked(&mut memory, NOW, LARGE),
            Err(None),
            "it would hold as much, and the answer has just moved"
        );
        assert_eq!(asked(&mut memory, NOW + STALLED_AFTER, LARGE), Err(Some((0, key(0, 0)))));
        memory.keep(0, key(0, 0), 3_000, small);
        assert_eq!(asked(&mut memory, NOW + STALLED_AFTER, LARGE), Err(None));
        memory.remove(LinkId(0));
        assert_eq!(asked(&mut memory, NOW + STALLED_AFTER, LARGE), Ok(()));
    }

    #[test]
    fn what_a_stream_holds_already_counts_only_in_its_own_part() {
        let mut memory = with_links(&[1]);
        assert_eq!(memory.reserve(NOW, 0, key(0, 0), (1_500, Hold::Request)), Ok(()));
        assert_eq!(memory.reserve(NOW, 0, key(0, 0), (2_000, Hold::Request)), Ok(()), "500 more");
        let refused = Err(NoRoom { victim: None });
        assert_eq!(memory.reserve(NOW, 0, key(0, 0), (2_001, Hold::Request)), refused);
        assert_eq!(memory.reserve(NOW, 0, key(0, 1), (5_000, LARGE)), Ok(()));
        let larger = memory.reserve(NOW, 0, key(0, 0), (1_001, LARGE));
        assert_eq!(larger, refused, "the request's bytes are no answer's");
        assert_eq!(memory.reserve(NOW, 0, key(0, 1), (6_000, LARGE)), Ok(()), "1,000 more");
        assert_eq!(memory.reserve(NOW, 0, key(0, 1), (6_000, Hold::Answer(NOW))), Ok(()));
    }

    #[test]
    fn a_smaller_share_makes_a_link_give_way() {
        let mut memory = with_links(&[1, 2, 3]);
        for link in 0..2 {
            assert_eq!(memory.reserve(NOW, 0, key(link, 0), (900, Hold::Request)), Ok(()));
        }
        memory.set_share(LinkId(0), 1);
        let no_room = memory.reserve(NOW, 0, key(2, 0), (300, Hold::Request));
        assert_eq!(no_room, Err(NoRoom { victim: Some((0, key(0, 0))) }));
        memory.set_share(LinkId(0), 4);
        memory.set_share(LinkId(1), 1);
        let no_room = memory.reserve(NOW, 0, key(2, 0), (300, Hold::Request));
        assert_eq!(no_room, Err(NoRoom { victim: Some((0, key(1, 0))) }));
    }
}
