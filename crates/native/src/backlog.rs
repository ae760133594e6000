//! Datagrams that came faster than they can be worked off. They wait by sender, so that nobody waits behind the burst of another: of the
//! senders, the one whose datagrams took least work lately is next.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use weir_base::Instant;
use weir_stack::Datagrams;

/// What is taken in as one piece counts about so much.
const PIECE: usize = 3_000;
/// What a datagram counts beside its bytes for the memory in which it waits.
const EACH: usize = 256;
/// A datagram's work beside its bytes, in bytes: handing it to the stack takes about as long as decrypting a thousand.
const WORK: u32 = 1_000;
/// After this time a sender's work counts half.
const HALF_LIFE: Duration = Duration::from_millis(100);
/// At most so many senders with nothing waiting are remembered with their work.
const REMEMBERED: usize = 1_024;

/// How many datagrams may be handed over in a turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    /// Of links.
    pub(crate) datagrams: usize,
    /// Of handshakes, each of which takes as much work as many of links.
    pub(crate) handshakes: usize,
}

impl Budget {
    /// How many like these are left.
    pub(crate) fn left(self, data: &[u8]) -> usize {
        if is_handshake(data) { self.handshakes } else { self.datagrams }
    }

    /// These are handed over.
    pub(crate) fn spend(&mut self, datagrams: &Datagrams) {
        let of = if is_handshake(&datagrams.data) { &mut self.handshakes } else { &mut self.datagrams };
        *of = of.saturating_sub(count(datagrams));
    }
}

/// The work that a sender's datagrams took lately; older work counts less and less. It is the logarithm (to base 2) of the amount that would have halved to
/// this one since the clock's zero. So amounts of different times compare without being brought up to date.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Lately(f64);

impl Lately {
    /// So much work at this time.
    fn of(now: Instant, work: u32) -> Self {
        Self(half_lives(now) + f64::from(work).log2())
    }

    /// What is left of this, and so much more work.
    fn and(self, now: Instant, work: u32) -> Self {
        let now = half_lives(now);
        Self(now + ((self.0 - now).exp2() + f64::from(work)).log2())
    }
}

impl Eq for Lately {}

impl PartialOrd for Lately {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Lately {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// A sender's position in one of the lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Order {
    /// The number of its entry into the list: first come, first served.
    Entry(u64),
    /// The least work goes first.
    Lately(Lately),
}

/// How many half-lives have passed since the zero of the clock.
fn half_lives(now: Instant) -> f64 {
    now.since(Instant::ZERO).as_secs_f64() / HALF_LIFE.as_secs_f64()
}

/// Where a sender stands: an index of [`Backlog::lists`].
type Place = usize;

/// Among those of whom nothing is known, in the order in which they came.
const NEW: Place = 0;
/// Among those of whom something was handed over: who had least lately is next.
const KNOWN: Place = 1;
/// Among those whose next datagram is one of a handshake: who waits longest is next.
const HANDSHAKES: Place = 2;
/// Nothing of it waits: who had least lately is forgotten first. At most [`REMEMBERED`] stand here.
const IDLE: Place = 3;

/// See the module.
#[derive(Debug)]
pub(crate) struct Backlog {
    most: usize, // bytes that may wait; beyond that the sender with most waiting loses its last piece
    senders: BTreeMap<SocketAddr, Sender>,
    lists: [BTreeSet<(Order, SocketAddr)>; 4], // each sender stands in one of them
    next: Place, // whose turn it is: the first three take turns, so that none keeps another waiting
    entries: u64, // into the lists so far
    by_size: BTreeSet<(usize, SocketAddr)>, // those with something waiting
    size: usize, // what all counts, <= `most`
}

#[derive(Debug, Default)]
struct Sender {
    waiting: VecDeque<Datagrams>,
    size: usize,                    // what these count
    lately: Option<Lately>,         // none: nothing was handed over yet
    stands: Option<(Place, Order)>, // where, and behind whom
}

/// Whether it has a long header (RFC 9000, section 17.2): it is of a handshake, or came with one.
fn is_handshake(data: &[u8]) -> bool {
    data.first().is_some_and(|first| first & 0x80 != 0)
}

/// How many datagrams of one sender are taken in as one piece, of `stride` bytes each: a few, and one of a handshake. Each piece
/// is a buffer of its own. It is handed over whole, so it never keeps more memory than was counted for it.
pub(crate) fn piece(data: &[u8], stride: usize) -> usize {
    if is_handshake(data) { 1 } else { PIECE.div_ceil(stride + EACH) }
}

/// How many datagrams these are.
pub(crate) fn count(datagrams: &Datagrams) -> usize {
    datagrams.data.len().div_ceil(datagrams.stride.max(1))
}

/// Bytes by which these datagrams count towards the backlog's limit.
fn size(datagrams: &Datagrams) -> usize {
    datagrams.data.len() + EACH * count(datagrams)
}

/// The work of these datagrams, in bytes.
fn work(datagrams: &Datagrams) -> u32 {
    let bytes = u32::try_from(datagrams.data.len()).unwrap_or(u32::MAX);
    bytes.saturating_add(WORK.saturating_mul(u32::try_from(count(datagrams)).unwrap_or(u32::MAX)))
}

impl Backlog {
    /// An empty one, for so many bytes.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            senders: BTreeMap::new(),
            lists: Default::default(),
            next: NEW,
            entries: 0,
            by_size: BTreeSet::new(),
            size: 0,
        }
    }

    /// Whether nothing waits.
    pub(crate) const fn is_empty(&self) -> bool {
        self.size == 0
    }

    /// Takes in what came; how many datagrams are dropped for it.
    pub(crate) fn push(&mut self, now: Instant, datagrams: Datagrams) -> usize {
        self.forget(now);
        let (remote, size) = (datagrams.remote, size(&datagrams));
        let sender = self.senders.entry(remote).or_default();
        sender.waiting.push_back(datagrams);
        self.by_size.remove(&(sender.size, remote));
        sender.size += size;
        self.size += size;
        self.by_size.insert((sender.size, remote));
        if sender.waiting.len() == 1 {
            self.stand(remote);
        }
        let mut dropped = 0;
        while self.size > self.most {
            dropped += self.drop_one();
        }
        dropped
    }

    /// The next piece. `None` where nothing waits, or the budget is spent for all that waits. A piece may exceed what the budget has left.
    pub(crate) fn pop(&mut self, now: Instant, budget: Budget) -> Option<Datagrams> {
        let places = (0..3).map(|step| (self.next + step) % 3);
        let mut first = places.filter_map(|place| Some((place, self.lists.get(place)?.first()?.1)));
        let (place, remote) = first.find(|(place, _)| match *place {
            HANDSHAKES => budget.handshakes > 0,
            _ => budget.datagrams > 0,
        })?;
        self.next = (place + 1) % 3;
        let most = self.most_lately();
        let sender = self.senders.get_mut(&remote)?;
        let taken = sender.waiting.pop_front()?;
        let work = work(&taken);
        sender.lately = Some(match sender.lately {
            Some(before) => before.and(now, work),
            // However many new ones come, they stand behind who had little.
            None => most.map_or(Lately::of(now, work), |most| most.max(Lately::of(now, work))),
        });
        self.taken(remote, size(&taken));
        self.stand(remote);
        Some(taken)
    }

    /// The work of the known sender that had most, of those with something waiting.
    fn most_lately(&self) -> Option<Lately> {
        match self.lists.get(KNOWN)?.last()?.0 {
            Order::Lately(lately) => Some(lately),
            Order::Entry(_) => None,
        }
    }

    /// The sender leaves its place, and stands where it belongs now.
    fn stand(&mut self, remote: SocketAddr) {
        let Some(sender) = self.senders.get_mut(&remote) else { return };
        if let Some((place, order)) = sender.stands.take()
            && let Some(list) = self.lists.get_mut(place)
        {
            list.remove(&(order, remote));
        }
        self.entries += 1;
        let last = Order::Entry(self.entries);
        let (place, order) = match (sender.waiting.front(), sender.lately) {
            (Some(first), _) if is_handshake(&first.data) => (HANDSHAKES, last),
            (Some(_), None) => (NEW, last),
            (Some(_), Some(lately)) => (KNOWN, Order::Lately(lately)),
            (None, Some(lately)) if self.lists.get(IDLE).is_some_and(|idle| idle.len() < REMEMBERED) => {
                sender.waiting.shrink_to_fit();
                (IDLE, Order::Lately(lately))
            }
            (None, _) => {
                self.senders.remove(&remote);
                return;
            }
        };
        sender.stands = Some((place, order));
        self.lists.get_mut(place).into_iter().for_each(|list| _ = list.insert((order, remote)));
    }

    /// Forgets who had no more than a datagram handed over lately, as far as nothing of it waits.
    fn forget(&mut self, now: Instant) {
        let little = Order::Lately(Lately::of(now, WORK));
        let Some(idle) = self.lists.get_mut(IDLE) else { return };
        while let Some((_, remote)) = idle.first().filter(|(lately, _)| *lately <= little).copied() {
            idle.pop_first();
            self.senders.remove(&remote);
        }
    }

    /// Drops the last of who has most waiting; how many datagrams.
    fn drop_one(&mut self) -> usize {
        let most = self.by_size.last().map(|(_, remote)| *remote);
        let last = most.and_then(|remote| self.senders.get_mut(&remote)?.waiting.pop_back());
        let Some(last) = last else { return 0 };
        self.taken(last.remote, size(&last));
        if self.senders.get(&last.remote).is_some_and(|sender| sender.waiting.is_empty()) {
            self.stand(last.remote);
        }
        count(&last)
    }

    /// So much of a sender's does not wait any more.
    fn taken(&mut self, remote: SocketAddr, size: usize) {
        let Some(sender) = self.senders.get_mut(&remote) else { return };
        self.by_size.remove(&(sender.size, remote));
        sender.size -= size;
        self.size -= size;
        if sender.size > 0 {
            self.by_size.insert((sender.size, remote));
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use weir_stack::SocketId;

    use super::*;

    fn sender(number: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], number))
    }

    /// Datagrams of `stride` bytes that the system joined.
    fn joined(from: u16, first: u8, stride: usize, count: usize) -> Datagrams {
        let data = BytesMut::from(&vec![first; stride * count][..]);
        Datagrams { socket: SocketId(3), remote: sender(from), local_ip: None, ecn: None, stride, data }
    }

    fn link(from: u16) -> Datagrams {
        joined(from, 0x40, 1_200, 1)
    }

    fn handshake(from: u16) -> Datagrams {
        joined(from, 0xc0, 1_200, 1)
    }

    const MOST: usize = 1 << 20;
    const ONE: Budget = Budget { datagrams: 1, handshakes: 1 };
    const ALL: Budget = Budget { datagrams: usize::MAX, handshakes: usize::MAX };
    const NOW: Instant = Instant::from_millis(100_000);

    /// Takes in all of these.
    fn push(backlog: &mut Backlog, all: impl IntoIterator<Item = Datagrams>) {
        assert_eq!(all.into_iter().map(|datagrams| backlog.push(NOW, datagrams)).sum::<usize>(), 0);
    }

    /// With all of these waiting.
    fn backlog(all: impl IntoIterator<Item = Datagrams>) -> Backlog {
        let mut backlog = Backlog::new(16 * MOST);
        push(&mut backlog, all);
        backlog
    }

    /// Whose the next ones are.
    fn next(backlog: &mut Backlog, count: usize) -> Vec<u16> {
        (0..count).map_while(|_| Some(backlog.pop(NOW, ONE)?.remote.port())).collect()
    }

    /// How many of these are of a sender.
    fn count_of(order: &[u16], sender: u16) -> usize {
        order.iter().filter(|of| **of == sender).count()
    }

    #[test]
    fn a_burst_keeps_nobody_waiting() {
        let burst = (0..100).map(|_| link(1));
        let mut backlog = backlog(burst.chain([link(2), link(3)]));
        assert_eq!(next(&mut backlog, 5), [1, 1, 2, 1, 3], "new ones between, as they came");
        assert_eq!(next(&mut backlog, 1_000), [1; 97]);
        assert!(backlog.is_empty() && backlog.pop(NOW, ALL).is_none());
    }

    #[test]
    fn senders_with_much_waiting_have_as_much_handed_over_whatever_it_is() {
        let mut backlog = backlog((0..200).flat_map(|_| [link(1), link(2), joined(3, 0x40, 50, 1)]));
        let order = next(&mut backlog, 200);
        let [one, two, short] = [1, 2, 3].map(|port| count_of(&order, port));
        assert!(one.abs_diff(two) <= 2, "{one} and {two}");
        assert!((short * 1_050).abs_diff(one * 2_200) <= 4 * 2_200, "{one} and {short}");
    }

    #[test]
    fn who_had_least_lately_is_next_and_soon_all_is_forgotten() {
        let mut backlog = backlog((0..400).flat_map(|_| (10..20).map(link)));
        push(&mut backlog, [link(1)]);
        next(&mut backlog, 200);
        for _ in 0..12 {
            push(&mut backlog, [link(1)]);
            let order = next(&mut backlog, 1);
            assert_eq!(order, [1], "others had twenty each");
        }
        push(&mut backlog, (0..20).map(|_| link(1)));
        let order = next(&mut backlog, 40);
        assert!((8..=12).contains(&count_of(&order, 1)), "as much as the others, then in turn: {order:?}");

        let mut later = NOW;
        next(&mut backlog, 4_000);
        assert!(backlog.is_empty());
        for (age, remembered) in [(100, 11), (300, 11), (1_000, 0)] {
            later = later.max(NOW + Duration::from_millis(age));
            backlog.push(later, handshake(9));
            assert_eq!(backlog.senders.len(), remembered + 1, "after {age} ms");
            backlog.drop_one();
        }
    }

    #[test]
    fn what_was_handed_over_counts_half_after_a_tenth_of_a_second() {
        let later = NOW + HALF_LIFE;
        let is = |lately: Lately, work| (lately.0 - Lately::of(later, work).0).abs() < 1e-6;
        assert!(is(Lately::of(NOW, 2_000), 1_000));
        assert!(is(Lately::of(NOW, 2_000).and(later, 500), 1_500));
        assert!(is(Lately::of(Instant::ZERO, 1_000_000).and(later, 700), 700), "nothing is left of it");
        assert!(Lately::of(NOW, 1_900) < Lately::of(later, 1_000));
    }

    #[test]
    fn however_many_new_senders_come_they_stand_behind_who_had_little() {
        let mut backlog = backlog((0..400).flat_map(|_| (10..14).map(link)));
        push(&mut backlog, [link(1)]);
        next(&mut backlog, 100);
        push(&mut backlog, (100..200).flat_map(|new| [link(new), link(new)]));
        push(&mut backlog, [link(1)]);
        let order = next(&mut backlog, 2);
        assert!(order.contains(&1), "{order:?}");
        let order = next(&mut backlog, 100);
        let old: usize = (10..14).map(|sender| count_of(&order, sender)).sum();
        assert!(old >= 16, "new ones have every other turn, and then no more than the others: {order:?}");
    }

    #[test]
    fn few_are_remembered() {
        let senders = u16::try_from(REMEMBERED).unwrap() + 10;
        let mut backlog = Backlog::new(16 * MOST);
        push(&mut backlog, (1..=senders).map(link));
        next(&mut backlog, usize::from(senders));
        assert!(backlog.is_empty());
        assert_eq!((backlog.senders.len(), backlog.lists[IDLE].len()), (REMEMBERED, REMEMBERED));
    }

    #[test]
    fn handshakes_have_a_budget_of_their_own() {
        let mut backlog = backlog((10..14).map(handshake).chain([link(1), link(2), link(3)]));
        assert_eq!(next(&mut backlog, 4), [1, 10, 2, 11]);
        let mut budget = Budget { datagrams: 16, handshakes: 1 };
        let mut served = Vec::new();
        while let Some(taken) = backlog.pop(NOW, budget) {
            budget.spend(&taken);
            served.push(taken.remote.port());
        }
        assert_eq!((served, budget.datagrams, budget.handshakes), (vec![3, 12], 15, 0));
        assert!(!backlog.is_empty());
        push(&mut backlog, [link(13)]);
        assert!(backlog.pop(NOW, budget).is_none(), "its handshake goes first");
        assert_eq!(next(&mut backlog, 9), [13, 13]);
        assert!(!is_handshake(&[]));

        let links = [link(1), handshake(1), link(1)].into_iter().chain((0..4).map(|_| link(2)));
        let mut backlog = self::backlog(links);
        let mut budget = Budget { datagrams: 16, handshakes: 0 };
        let mut served = Vec::new();
        while let Some(taken) = backlog.pop(NOW, budget) {
            budget.spend(&taken);
            served.push(taken.remote.port());
        }
        assert_eq!(served, [1, 2, 2, 2, 2], "no link waits behind a handshake");
        assert_eq!(next(&mut backlog, 3), [1, 1]);
    }

    #[test]
    fn handshakes_take_turns() {
        let mut backlog = backlog((0..3).flat_map(|_| [handshake(1), handshake(2)]));
        assert_eq!(next(&mut backlog, 6), [1, 2, 1, 2, 1, 2]);
    }

    #[test]
    fn a_piece_is_a_few_datagrams_and_one_of_a_handshake() {
        assert_eq!([1, 100, 1_200, 60_000].map(|stride| piece(&[0x40], stride)), [12, 9, 3, 1]);
        assert_eq!([1, 1_200].map(|stride| piece(&[0xc0], stride)), [1, 1]);
    }

    #[test]
    fn pieces_of_a_sender_stay_whole_and_in_order() {
        let mut backlog = backlog([joined(1, 0x41, 100, 9), joined(1, 0x42, 100, 9)]);
        let mut budget = Budget { datagrams: 10, handshakes: 0 };
        for first in [0x41, 0x42] {
            let taken = backlog.pop(NOW, budget).unwrap();
            budget.spend(&taken);
            assert_eq!(
                (taken.socket, taken.stride, taken.data.len(), taken.data[0]),
                (SocketId(3), 100, 900, first)
            );
        }
        assert_eq!((budget.datagrams, backlog.is_empty()), (0, true));
    }

    #[test]
    fn who_has_most_waiting_loses_its_last_where_all_is_full() {
        let mut backlog = Backlog::new(MOST);
        push(&mut backlog, [link(2)]);
        let fits = MOST / (1_200 + EACH) - 1;
        let dropped: usize = (0..fits + 5).map(|_| backlog.push(NOW, link(1))).sum();
        assert_eq!(dropped, 5);
        assert_eq!(backlog.push(NOW, link(3)), 1, "somebody else's");
        let all = next(&mut backlog, 2_000);
        assert_eq!(all.len(), fits + 1);
        assert!(all.contains(&2) && all.contains(&3));
        assert!(backlog.by_size.is_empty() && backlog.lists[..IDLE].iter().all(BTreeSet::is_empty));
    }

    #[test]
    fn who_loses_all_that_waits_stands_nowhere() {
        let mut backlog = Backlog::new(2_000);
        assert_eq!(backlog.push(NOW, joined(1, 0x40, 1_000, 1)), 0);
        assert_eq!(backlog.push(NOW, joined(2, 0x40, 1_500, 1)), 1, "its own");
        assert!(!backlog.senders.contains_key(&sender(2)));
        assert_eq!(next(&mut backlog, 2), [1]);
    }
}
