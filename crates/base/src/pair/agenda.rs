//! Virtual time for networks in memory: what is to come, in an order that nothing but the run decides.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use crate::Instant;

/// What is to come, in the order of its keys: the time first, then what tells apart what is due at the same time.
#[derive(Debug)]
pub struct Queue<K, T> {
    heap: BinaryHeap<Reverse<Entry<K, T>>>,
}

#[derive(Debug)]
struct Entry<K, T> {
    key: K,
    what: T,
}

impl<K: Ord, T> Queue<K, T> {
    /// Nothing is to come.
    pub const fn new() -> Self {
        Self { heap: BinaryHeap::new() }
    }

    /// Something is to come. Of equal keys the order is not defined.
    pub fn push(&mut self, key: K, what: T) {
        self.heap.push(Reverse(Entry { key, what }));
    }

    /// The key of what comes next.
    pub fn peek(&self) -> Option<&K> {
        self.heap.peek().map(|entry| &entry.0.key)
    }

    /// Takes what comes next.
    pub fn pop(&mut self) -> Option<(K, T)> {
        self.heap.pop().map(|entry| (entry.0.key, entry.0.what))
    }

    /// Keeps only what `keep` says.
    pub fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        self.heap.retain(|entry| keep(&entry.0.what));
    }

    /// All of it, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &T)> {
        self.heap.iter().map(|entry| (&entry.0.key, &entry.0.what))
    }
}

impl<K: Ord, T> Default for Queue<K, T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Ord, T> Ord for Entry<K, T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key.cmp(&other.key)
    }
}

impl<K: Ord, T> PartialOrd for Entry<K, T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<K: Ord, T> PartialEq for Entry<K, T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<K: Ord, T> Eq for Entry<K, T> {}

/// What is under way in a network that one thread drives: of what is due at the same time, what was sent first.
#[derive(Debug)]
pub struct Agenda<T> {
    queue: Queue<(Instant, u64), T>,
    sent: u64,
}

impl<T> Agenda<T> {
    /// Nothing is under way.
    pub const fn new() -> Self {
        Self { queue: Queue::new(), sent: 0 }
    }

    /// Something arrives at `due`.
    pub fn send(&mut self, due: Instant, what: T) {
        self.sent += 1;
        self.queue.push((due, self.sent), what);
    }

    /// How many things were sent.
    pub const fn sent(&self) -> u64 {
        self.sent
    }

    /// Takes the next that has arrived by `now`.
    pub fn arrived(&mut self, now: Instant) -> Option<T> {
        self.queue.peek().filter(|(due, _)| *due <= now)?;
        self.queue.pop().map(|(_, what)| what)
    }

    /// Sets `now` to when the next thing arrives or the next of `timeouts` is due; to `until` where that is later or never.
    /// Whether there was such a thing. Time never goes back.
    pub fn step(
        &self,
        now: &mut Instant,
        timeouts: impl IntoIterator<Item = Instant>,
        until: Instant,
    ) -> bool {
        let arrival = self.queue.peek().map(|(due, _)| *due);
        let next = timeouts.into_iter().chain(arrival).min().filter(|due| *due <= until);
        *now = (*now).max(next.unwrap_or(until));
        next.is_some()
    }

    /// Keeps only what `keep` says.
    pub fn retain(&mut self, keep: impl FnMut(&T) -> bool) {
        self.queue.retain(keep);
    }

    /// What is under way, in the order of sending.
    pub fn under_way(&self) -> Vec<&T> {
        let mut all: Vec<_> = self.queue.iter().collect();
        all.sort_unstable_by_key(|((_, sent), _)| *sent);
        all.into_iter().map(|(_, what)| what).collect()
    }
}

impl<T> Default for Agenda<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    #[test]
    fn what_is_due_first_arrives_first_and_of_one_time_what_was_sent_first() {
        let mut agenda = Agenda::new();
        for (due, what) in [(5, 'c'), (3, 'a'), (5, 'd'), (3, 'b')] {
            agenda.send(ms(due), what);
        }
        assert_eq!(agenda.under_way(), [&'c', &'a', &'d', &'b']);
        let mut now = Instant::ZERO;
        let mut order = Vec::new();
        while agenda.step(&mut now, [], ms(10)) {
            order.extend(std::iter::from_fn(|| agenda.arrived(now)).map(|what| (now, what)));
        }
        assert_eq!(order, [(ms(3), 'a'), (ms(3), 'b'), (ms(5), 'c'), (ms(5), 'd')]);
        assert_eq!(now, ms(10));
    }

    #[test]
    fn time_stops_at_timeouts_and_never_goes_back() {
        let mut agenda = Agenda::new();
        agenda.send(ms(7), ());
        let mut now = ms(1);
        assert!(agenda.step(&mut now, [ms(4)], ms(9)));
        assert_eq!((now, agenda.arrived(now)), (ms(4), None));
        assert!(agenda.step(&mut now, [ms(2)], ms(9)), "a timeout that is over is due now");
        assert_eq!(now, ms(4));
        agenda.retain(|()| false);
        assert!(!agenda.step(&mut now, [ms(20)], ms(9)));
        assert_eq!(now, ms(9));
    }
}
