//! The memory of requests and answers: one budget for all call channels of a node (`docs/spec/call.md`, "Memory").
//!
//! - a request begins to come → [`reserve`](Memory::reserve) what its stream may bring, and more once its length is known;
//! - it is handed to the application → `reserve` the request and the largest answer;
//! - the answer is there → [`keep`](Memory::keep) what it really holds, until it is written or its stream ends.
//!
//! A quarter is for requests on their way, the rest for what the application handles and for answers. Where nothing is free,
//! room comes from the link that holds most of that part for its share (sides, groups, links: `docs/spec/fairness.md`), if that is
//! more than who asks has: of requests the newest, of answers the one of which nothing has moved for longest. So a link that asks
//! for little is refused nothing, whatever the others hoard.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use weir_base::stream::{Group, Side};
use weir_base::{Dealer, Instant, LinkId, Numbered, StreamKey};

/// The part of the budget that is for requests on their way: one in so many bytes.
const FOR_REQUESTS: u64 = 4;
/// An answer may be dropped for others when nothing of it has moved for so long: longer than most round trips.
const STALLED_AFTER: Duration = Duration::from_millis(200);

/// What a stream holds memory for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// A request that is coming, or waits for its turn. It may still be refused.
    Request,
    /// The application has the request; the largest answer is reserved.
    Handling,
    /// An answer of which nothing has moved since then.
    Answer(Instant),
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
    requests: u64, // bytes of requests on their way
    answers: u64,  // bytes of what is handled and of answers
    freed: bool,
    shares: Dealer<LinkId>,
    links: BTreeMap<LinkId, Account>,
    streams: Numbered<StreamKey, Holding>,
}

#[derive(Debug)]
struct Holding {
    machine: u16,
    bytes: u64,
    hold: Hold,
}

#[derive(Debug, Default)]
struct Account {
    share: u64,         // of the total, in bytes, at least 1
    request_bytes: u64, // of `requests`
    answer_bytes: u64,  // of `answers`, and of what is handled
    requests: BTreeSet<StreamKey>,
    answers: BTreeSet<(Instant, StreamKey)>,
}

impl Account {
    /// How much it holds for its share, in thousandths, if it held `bytes`.
    fn load(&self, bytes: u64) -> u64 {
        bytes.saturating_mul(1000) / self.share.max(1)
    }

    /// The bytes of that part.
    const fn part(&mut self, hold: Hold) -> &mut u64 {
        if let Hold::Request = hold { &mut self.request_bytes } else { &mut self.answer_bytes }
    }

    /// What may be dropped first of that part.
    fn victim(&self, now: Instant, hold: Hold) -> Option<StreamKey> {
        if hold == Hold::Request {
            return self.requests.last().copied();
        }
        let (moved, key) = *self.answers.first()?;
        (moved + STALLED_AFTER <= now).then_some(key)
    }
}

impl Memory {
    /// A budget of `total` bytes.
    pub(crate) fn new(total: u64) -> Self {
        Self {
            total,
            requests: 0,
            answers: 0,
            freed: false,
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
        let for_requests = self.total / FOR_REQUESTS;
        let room = match hold {
            Hold::Request => {
                let has = self.streams.get(key).map_or(0, |held| held.bytes);
                self.requests - has + bytes <= for_requests
            }
            Hold::Handling | Hold::Answer(_) => self.answers + bytes <= self.total - for_requests,
        };
        if room {
            self.keep(machine, key, bytes, hold);
            return Ok(());
        }
        let load = |account: &Account| match hold {
            Hold::Request => account.load(account.request_bytes),
            Hold::Handling | Hold::Answer(_) => account.load(account.answer_bytes),
        };
        // A request must not cost others more than it brings; an answer is as large as it may become for everybody.
        let asks = self.links.get(&key.link).map_or(u64::MAX, |account| match hold {
            Hold::Request => account.load(account.request_bytes + bytes),
            Hold::Handling | Hold::Answer(_) => load(account),
        });
        let richer = self.links.values().filter(|account| load(account) > asks);
        let victim = richer
            .filter_map(|account| Some((load(account), account.victim(now, hold)?)))
            .max()
            .and_then(|(_, key)| Some((self.streams.get(key)?.machine, key)));
        Err(NoRoom { victim })
    }

    /// A stream holds `bytes` in all, which is no more than it has reserved.
    pub(crate) fn keep(&mut self, machine: u16, key: StreamKey, bytes: u64, hold: Hold) {
        self.free(key);
        let Some(account) = self.links.get_mut(&key.link) else { return };
        match hold {
            Hold::Request => _ = account.requests.insert(key),
            Hold::Handling => {}
            Hold::Answer(moved) => _ = account.answers.insert((moved, key)),
        }
        *account.part(hold) += bytes;
        *self.part(hold) += bytes;
        self.streams.insert(key, Holding { machine, bytes, hold });
    }

    /// A stream holds nothing any more.
    pub(crate) fn free(&mut self, key: StreamKey) {
        let Some(Holding { bytes, hold, .. }) = self.streams.remove(key) else { return };
        *self.part(hold) -= bytes;
        self.freed = true;
        let Some(account) = self.links.get_mut(&key.link) else { return };
        *account.part(hold) -= bytes;
        match hold {
            Hold::Request => _ = account.requests.remove(&key),
            Hold::Handling => {}
            Hold::Answer(moved) => _ = account.answers.remove(&(moved, key)),
        }
    }

    const fn part(&mut self, hold: Hold) -> &mut u64 {
        if let Hold::Request = hold { &mut self.requests } else { &mut self.answers }
    }

    /// When another answer may be dropped at the latest, if it does not move.
    pub(crate) fn next_stalled(&self, now: Instant) -> Instant {
        let oldest = self.links.values().filter_map(|account| account.answers.first());
        let stalls = oldest.map(|(moved, _)| *moved + STALLED_AFTER).filter(|at| *at > now);
        stalls.min().unwrap_or(now + STALLED_AFTER)
    }

    /// Whether something was given back since last asked.
    pub(crate) fn take_freed(&mut self) -> bool {
        std::mem::take(&mut self.freed)
    }

    /// Bytes that streams hold, at most [`total`](Self::total).
    pub(crate) const fn used(&self) -> u64 {
        self.requests + self.answers
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
        assert!(memory.take_freed());
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
        assert_eq!(memory.reserve(NOW, 0, key(0, 0), (6_000, Hold::Handling)), Ok(()));
        let asks =
            |memory: &mut Memory, now, link| memory.reserve(now, 0, key(link, 1), (1_200, Hold::Handling));
        let later = NOW + STALLED_AFTER;
        assert_eq!(asks(&mut memory, later, 1), Err(NoRoom { victim: None }), "the application has it");
        memory.keep(0, key(0, 0), 6_000, Hold::Answer(NOW));
        assert_eq!(asks(&mut memory, later - Duration::from_millis(1), 1), Err(NoRoom { victim: None }));
        assert_eq!(asks(&mut memory, later, 0), Err(NoRoom { victim: None }), "it has as much");
        assert_eq!(asks(&mut memory, later, 1), Err(NoRoom { victim: Some((0, key(0, 0))) }));
    }

    #[test]
    fn a_quarter_is_for_requests_and_the_rest_for_answers() {
        let mut memory = with_links(&[1]);
        assert!(memory.reserve(NOW, 0, key(0, 0), (6_001, Hold::Handling)).is_err());
        assert_eq!(memory.reserve(NOW, 0, key(0, 0), (6_000, Hold::Handling)), Ok(()));
        assert!(memory.reserve(NOW, 0, key(0, 1), (2_001, Hold::Request)).is_err());
        assert_eq!(memory.reserve(NOW, 0, key(0, 1), (2_000, Hold::Request)), Ok(()));
        assert_eq!((Memory::least(0, 6_000), Memory::least(2_000, 4_000)), (8_000, 8_000));
        assert_eq!((Memory::least(3_000, 0), memory.used()), (12_000, 8_000));
        memory.remove(LinkId(0));
        assert_eq!(memory.used(), 0);
    }
}
