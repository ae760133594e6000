//! What is due at one node, in order of time; of what is due at the same time, the sender with the lower number first, and of
//! one sender in the order of sending. The order does not depend on who was carried out first, or on which thread.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use weir_base::Instant;

/// When something is due, and its place among what is due then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) due: Instant,
    pub(crate) from: u32,
    pub(crate) sequence: u64, // of the sender
}

/// A queue of things to come.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    heap: BinaryHeap<Reverse<Entry<T>>>,
}

#[derive(Debug)]
struct Entry<T> {
    key: Key,
    what: T,
}

impl<T> Queue<T> {
    pub(crate) const fn new() -> Self {
        Self { heap: BinaryHeap::new() }
    }

    pub(crate) fn push(&mut self, key: Key, what: T) {
        self.heap.push(Reverse(Entry { key, what }));
    }

    /// When the next thing comes.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|entry| entry.0.key.due)
    }

    /// Takes the next thing.
    pub(crate) fn pop(&mut self) -> Option<(Key, T)> {
        self.heap.pop().map(|entry| (entry.0.key, entry.0.what))
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key.cmp(&other.key)
    }
}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for Entry<T> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_comes_first_then_the_sender_and_then_the_order_of_sending() {
        let mut queue = Queue::new();
        for (millis, from, sequence, what) in [(5, 2, 0, 'd'), (3, 1, 9, 'b'), (5, 1, 7, 'c'), (3, 1, 8, 'a')]
        {
            queue.push(Key { due: Instant::from_millis(millis), from, sequence }, what);
        }
        assert_eq!(queue.next(), Some(Instant::from_millis(3)));
        let order: String = std::iter::from_fn(|| queue.pop()).map(|(_, what)| what).collect();
        assert_eq!(order, "abcd");
    }
}
