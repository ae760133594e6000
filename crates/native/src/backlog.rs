//! Datagrams that came faster than they can be worked off. They wait by sender, so that nobody waits behind the burst of another: fair
//! queueing after RFC 8290 (section 4), without the part that drops by age.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use bytes::BytesMut;
use weir_base::KIB;
use weir_stack::Datagrams;

/// What a sender's turn counts: a few datagrams.
const QUANTUM: usize = 3_000;
/// What a datagram counts beside its bytes: each takes work, however short it is.
const EACH: usize = 256;
/// What may wait, as it counts. Beyond that, who has most waiting loses its last.
const MOST: usize = 1_024 * KIB;
/// How many datagrams of links a handshake's counts for.
const HANDSHAKE: usize = 8;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    senders: BTreeMap<SocketAddr, Sender>,  // those in the two lists
    fresh: VecDeque<SocketAddr>,            // of links, with nothing waiting when this came
    others: VecDeque<SocketAddr>,           // had their turn, or begin a handshake
    others_turn: bool, // the two lists take turns, so that neither keeps the other waiting
    by_size: BTreeSet<(usize, SocketAddr)>, // those with something waiting
    size: usize,       // what all counts, <= MOST
}

#[derive(Debug)]
struct Sender {
    waiting: VecDeque<Datagrams>,
    size: usize, // what these count
    credit: i64, // what is left of its turn
}

/// How many datagrams of a turn one of these counts for: a handshake's takes as much work as several of a link.
pub(crate) fn weight(data: &[u8]) -> usize {
    if is_handshake(data) { HANDSHAKE } else { 1 }
}

/// Whether it has a long header (RFC 9000, section 17.2): it is of a handshake, or came with one.
fn is_handshake(data: &[u8]) -> bool {
    data.first().is_some_and(|first| first & 0x80 != 0)
}

/// How many datagrams these are.
pub(crate) fn count(datagrams: &Datagrams) -> usize {
    datagrams.data.len().div_ceil(datagrams.stride.max(1))
}

fn size(datagrams: &Datagrams) -> usize {
    datagrams.data.len() + EACH * count(datagrams)
}

impl Backlog {
    /// Whether nothing waits.
    pub(crate) const fn is_empty(&self) -> bool {
        self.size == 0
    }

    /// Takes in what came; how many datagrams are dropped for it.
    pub(crate) fn push(&mut self, datagrams: Datagrams) -> usize {
        let (remote, size) = (datagrams.remote, size(&datagrams));
        let list = if is_handshake(&datagrams.data) { &mut self.others } else { &mut self.fresh };
        let sender = self.senders.entry(remote).or_insert_with(|| {
            list.push_back(remote);
            Sender { waiting: VecDeque::new(), size: 0, credit: signed(QUANTUM) }
        });
        sender.waiting.push_back(datagrams);
        self.by_size.remove(&(sender.size, remote));
        sender.size += size;
        self.size += size;
        self.by_size.insert((sender.size, remote));
        let mut dropped = 0;
        while self.size > MOST {
            dropped += self.drop_one();
        }
        dropped
    }

    /// The next in turn: datagrams of one sender, at most `most`, or one.
    pub(crate) fn pop(&mut self, most: usize) -> Option<Datagrams> {
        loop {
            let of_others = self.fresh.is_empty() || self.others_turn && !self.others.is_empty();
            let list = if of_others { &mut self.others } else { &mut self.fresh };
            let remote = list.pop_front()?;
            let sender = self.senders.get_mut(&remote)?;
            if sender.credit <= 0 {
                sender.credit += signed(QUANTUM);
                self.others.push_back(remote);
                self.others_turn &= of_others; // a fresh one's next turn is not its first one's end
                continue;
            }
            let Some(next) = sender.waiting.front_mut() else {
                if of_others {
                    self.senders.remove(&remote);
                } else {
                    self.others.push_back(remote); // it is not fresh again before the others had a turn
                }
                continue;
            };
            list.push_front(remote);
            let affordable = usize::try_from(sender.credit).unwrap_or(0).div_ceil(next.stride.max(1) + EACH);
            let bytes = affordable.min(most / weight(&next.data)).max(1).saturating_mul(next.stride.max(1));
            let taken = if bytes < next.data.len() {
                let data = next.data.split_to(bytes);
                Datagrams { data, ..Datagrams { data: BytesMut::new(), ..*next } }
            } else {
                sender.waiting.pop_front()?
            };
            sender.credit -= signed(size(&taken));
            self.others_turn = !of_others;
            self.taken(remote, size(&taken));
            return Some(taken);
        }
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
            *self = Self::default();
        }
    }
}

fn signed(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
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

    /// Takes in all of these.
    fn backlog(all: impl IntoIterator<Item = Datagrams>) -> Backlog {
        let mut backlog = Backlog::default();
        assert_eq!(all.into_iter().map(|datagrams| backlog.push(datagrams)).sum::<usize>(), 0);
        backlog
    }

    /// Whose the next ones are.
    fn next(backlog: &mut Backlog, count: usize) -> Vec<u16> {
        (0..count).map_while(|_| Some(backlog.pop(1)?.remote.port())).collect()
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
        assert!(backlog.is_empty() && backlog.pop(1).is_none());
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
        assert_eq!(
            order.iter().filter(|of| **of == 1).count(),
            6,
            "new senders do not keep it waiting: {order:?}"
        );
    }

    #[test]
    fn handshakes_come_after_links_and_count_for_several() {
        let mut backlog = backlog((10..20).map(handshake).chain([link(1), link(2)]));
        assert_eq!(next(&mut backlog, 4), [1, 10, 2, 11]);
        assert_eq!(weight(&handshake(1).data), 8);
        assert_eq!((weight(&link(1).data), weight(&[])), (1, 1));
        let mut backlog = Backlog::default();
        assert_eq!(backlog.push(joined(1, 0xc0, 100, 20)), 0);
        assert_eq!(backlog.pop(16).map(|taken| count(&taken)), Some(2));
        assert_eq!(backlog.pop(1).map(|taken| count(&taken)), Some(1), "one at least");
    }

    #[test]
    fn joined_datagrams_are_split_and_stay_in_order() {
        let mut data = joined(1, 0x40, 100, 19);
        data.data.extend_from_slice(&[0x41; 50]); // the last is shorter
        data.data[0] = 0x42;
        let mut backlog = backlog([data]);
        let first = backlog.pop(2).unwrap();
        assert_eq!(
            (first.socket, first.stride, first.data.len(), first.data[0]),
            (SocketId(3), 100, 200, 0x42)
        );
        assert_eq!(backlog.pop(usize::MAX).map(|taken| taken.data.len()), Some(700), "what its turn affords");
        assert_eq!(backlog.pop(usize::MAX).map(|taken| taken.data.len()), Some(800));
        let last = backlog.pop(usize::MAX).unwrap();
        assert_eq!((last.data.len(), last.data[last.data.len() - 1], backlog.is_empty()), (250, 0x41, true));
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
