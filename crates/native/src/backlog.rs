//! Datagrams that came faster than they can be worked off. They wait by sender, so that nobody waits behind the burst of another: fair
//! queueing after RFC 8290 (section 4), without the part that drops by age.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use weir_stack::Datagrams;

/// What a sender's turn counts: a few datagrams.
const QUANTUM: usize = 3_000;
/// What a datagram counts beside its bytes: each takes work, however short it is.
const EACH: usize = 256;

/// Places in [`Backlog::lists`]: of links, with nothing waiting when this came.
const FRESH: usize = 0;
/// Of links that had their turn.
const OTHERS: usize = 1;
/// Of those that begin a handshake.
const HANDSHAKES: usize = 2;

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

/// See the module.
#[derive(Debug)]
pub(crate) struct Backlog {
    most: usize, // bytes that may wait; beyond that the sender with most waiting loses its last piece
    senders: BTreeMap<SocketAddr, Sender>, // those in the lists
    lists: [VecDeque<SocketAddr>; 3], // they take turns, so that none keeps another waiting
    next: usize, // whose turn it is
    by_size: BTreeSet<(usize, SocketAddr)>, // those with something waiting
    size: usize, // what all counts, <= `most`
}

#[derive(Debug)]
struct Sender {
    waiting: VecDeque<Datagrams>,
    size: usize, // what these count
    credit: i64, // bytes that it may still have handed over in this turn; negative after a large piece
}

/// Whether it has a long header (RFC 9000, section 17.2): it is of a handshake, or came with one.
fn is_handshake(data: &[u8]) -> bool {
    data.first().is_some_and(|first| first & 0x80 != 0)
}

/// How many datagrams of one sender are taken in as one piece, of `stride` bytes each: what a turn affords, and one of a handshake. Each piece
/// is a buffer of its own. It is handed over whole, so it never keeps more memory than was counted for it.
pub(crate) fn piece(data: &[u8], stride: usize) -> usize {
    if is_handshake(data) { 1 } else { QUANTUM.div_ceil(stride + EACH) }
}

/// How many datagrams these are.
pub(crate) fn count(datagrams: &Datagrams) -> usize {
    datagrams.data.len().div_ceil(datagrams.stride.max(1))
}

fn size(datagrams: &Datagrams) -> usize {
    datagrams.data.len() + EACH * count(datagrams)
}

impl Backlog {
    /// An empty one, for so many bytes.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            senders: BTreeMap::new(),
            lists: Default::default(),
            next: FRESH,
            by_size: BTreeSet::new(),
            size: 0,
        }
    }

    /// Whether nothing waits.
    pub(crate) const fn is_empty(&self) -> bool {
        self.size == 0
    }

    /// Takes in what came; how many datagrams are dropped for it.
    pub(crate) fn push(&mut self, datagrams: Datagrams) -> usize {
        let (remote, size) = (datagrams.remote, size(&datagrams));
        let place = if is_handshake(&datagrams.data) { HANDSHAKES } else { FRESH };
        let list = self.lists.get_mut(place);
        let sender = self.senders.entry(remote).or_insert_with(|| {
            list.into_iter().for_each(|list| list.push_back(remote));
            Sender { waiting: VecDeque::new(), size: 0, credit: signed(QUANTUM) }
        });
        sender.waiting.push_back(datagrams);
        self.by_size.remove(&(sender.size, remote));
        sender.size += size;
        self.size += size;
        self.by_size.insert((sender.size, remote));
        let mut dropped = 0;
        while self.size > self.most {
            dropped += self.drop_one();
        }
        dropped
    }

    /// The next piece. `None` where nothing waits, or the budget is spent for all that waits. A piece may exceed what the budget has left.
    pub(crate) fn pop(&mut self, budget: Budget) -> Option<Datagrams> {
        loop {
            let place =
                (0..3).map(|step| (self.next + step) % 3).find(|place| self.may_go(*place, budget))?;
            let remote = self.lists.get_mut(place)?.pop_front()?;
            let sender = self.senders.get_mut(&remote)?;
            let Some(first) = sender.waiting.front() else {
                if place == FRESH {
                    self.lists.get_mut(OTHERS)?.push_back(remote); // it is not fresh again before the others had a turn
                } else {
                    self.senders.remove(&remote);
                }
                continue;
            };
            if place != HANDSHAKES && is_handshake(&first.data) {
                self.lists.get_mut(HANDSHAKES)?.push_back(remote);
                continue;
            }
            if sender.credit <= 0 {
                sender.credit += signed(QUANTUM);
                self.lists.get_mut(place.max(OTHERS))?.push_back(remote);
                self.next = place; // what follows a first turn is no turn of the others
                continue;
            }
            self.lists.get_mut(place)?.push_front(remote);
            self.next = (place + 1) % 3;
            let taken = sender.waiting.pop_front()?;
            sender.credit -= signed(size(&taken));
            self.taken(remote, size(&taken));
            return Some(taken);
        }
    }

    /// Whether a list may have its turn.
    fn may_go(&self, place: usize, budget: Budget) -> bool {
        let Some(first) = self.lists.get(place).and_then(VecDeque::front) else { return false };
        if place != HANDSHAKES {
            return budget.datagrams > 0;
        }
        let first = self.senders.get(first).and_then(|sender| sender.waiting.front());
        first.is_none_or(|first| budget.left(&first.data) > 0)
    }

    /// Drops the last of who has most waiting; how many datagrams.
    fn drop_one(&mut self) -> usize {
        let most = self.by_size.last().map(|(_, remote)| *remote);
        let last = most.and_then(|remote| self.senders.get_mut(&remote)?.waiting.pop_back());
        let Some(last) = last else { return 0 };
        self.taken(last.remote, size(&last));
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
        if self.is_empty() {
            *self = Self::new(self.most);
        }
    }
}

fn signed(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
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

    /// Takes in all of these.
    fn backlog(all: impl IntoIterator<Item = Datagrams>) -> Backlog {
        let mut backlog = Backlog::new(MOST);
        assert_eq!(all.into_iter().map(|datagrams| backlog.push(datagrams)).sum::<usize>(), 0);
        backlog
    }

    /// Whose the next ones are.
    fn next(backlog: &mut Backlog, count: usize) -> Vec<u16> {
        (0..count).map_while(|_| Some(backlog.pop(ONE)?.remote.port())).collect()
    }

    #[test]
    fn a_burst_keeps_nobody_waiting() {
        let burst = (0..100).map(|_| link(1));
        let mut backlog = backlog(burst.chain([link(2), link(3)]));
        assert_eq!(
            next(&mut backlog, 6),
            [1, 1, 1, 2, 1, 3],
            "a turn of the burst, then the fresh ones between"
        );
        assert_eq!(next(&mut backlog, 1_000), [1; 96]);
        assert!(backlog.is_empty() && backlog.pop(ALL).is_none());
    }

    #[test]
    fn senders_with_much_waiting_take_turns() {
        let mut backlog = backlog((0..20).flat_map(|_| [link(1), link(2), joined(3, 0x40, 50, 1)]));
        let order = next(&mut backlog, 30);
        let [one, two, short] = [1, 2, 3].map(|port| order.iter().filter(|of| **of == port).count());
        assert!(one.abs_diff(two) <= 3, "{order:?}");
        assert!(one > 7 && short > 7, "{order:?}");
    }

    #[test]
    fn who_is_served_at_once_is_not_fresh_again_before_the_others() {
        let mut backlog = backlog((0..10).map(|_| link(1)));
        assert_eq!(next(&mut backlog, 3), [1; 3]);
        let mut order = Vec::new();
        for fresh in 2..10 {
            assert_eq!((backlog.push(link(fresh)), backlog.push(link(2))), (0, 0));
            order.extend(next(&mut backlog, 2));
        }
        let served = order.iter().filter(|of| **of == 1).count();
        assert!(served >= 5, "new senders do not keep it waiting: {order:?}");
    }

    #[test]
    fn handshakes_have_a_budget_of_their_own() {
        let mut backlog = backlog((10..14).map(handshake).chain([link(1), link(2), link(3)]));
        assert_eq!(next(&mut backlog, 4), [1, 10, 2, 11]);
        let mut budget = Budget { datagrams: 16, handshakes: 1 };
        let mut served = Vec::new();
        while let Some(taken) = backlog.pop(budget) {
            budget.spend(&taken);
            served.push(taken.remote.port());
        }
        assert_eq!((served, budget.datagrams, budget.handshakes), (vec![3, 12], 15, 0));
        assert!(!backlog.is_empty());
        assert_eq!(backlog.push(link(13)), 0, "its handshake goes first");
        assert!(backlog.pop(budget).is_none());
        assert_eq!(next(&mut backlog, 9), [13, 13]);
        assert!(!is_handshake(&[]));

        let links = [link(1), handshake(1), link(1)].into_iter().chain((0..4).map(|_| link(2)));
        let mut backlog = self::backlog(links);
        let mut budget = Budget { datagrams: 16, handshakes: 0 };
        let mut served = Vec::new();
        while let Some(taken) = backlog.pop(budget) {
            budget.spend(&taken);
            served.push(taken.remote.port());
        }
        assert_eq!(served, [1, 2, 2, 2, 2], "no link waits behind a handshake");
        assert_eq!(next(&mut backlog, 3), [1, 1]);
    }

    #[test]
    fn a_piece_is_what_a_turn_affords_and_one_datagram_of_a_handshake() {
        assert_eq!([1, 100, 1_200, 60_000].map(|stride| piece(&[0x40], stride)), [12, 9, 3, 1]);
        assert_eq!([1, 1_200].map(|stride| piece(&[0xc0], stride)), [1, 1]);
    }

    #[test]
    fn pieces_of_a_sender_stay_whole_and_in_order() {
        let mut backlog = backlog([joined(1, 0x41, 100, 9), joined(1, 0x42, 100, 9)]);
        let mut budget = Budget { datagrams: 10, handshakes: 0 };
        for first in [0x41, 0x42] {
            let taken = backlog.pop(budget).unwrap();
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
        let mut backlog = backlog([link(2)]);
        let fits = MOST / (1_200 + EACH) - 1;
        let dropped: usize = (0..fits + 5).map(|_| backlog.push(link(1))).sum();
        assert_eq!(dropped, 5);
        assert_eq!(backlog.push(link(3)), 1, "somebody else's");
        let all = next(&mut backlog, 2_000);
        assert_eq!(all.len(), fits + 1);
        assert!(all.contains(&2) && all.contains(&3));
        assert!(backlog.senders.is_empty() && backlog.by_size.is_empty());
    }
}
