//! What is due, in order of time; what is due at the same time, in the order it was put in.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use weir_base::Instant;

/// A queue of things to come. An entry costs its own size and 16 bytes.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    heap: BinaryHeap<Reverse<Entry<T>>>,
    next: u64,
}

#[derive(Debug)]
struct Entry<T> {
    due: Instant,
    sequence: u64,
    what: T,
}

impl<T> Queue<T> {
    pub(crate) const fn new() -> Self {
        Self { heap: BinaryHeap::new(), next: 0 }
    }

    /// `what` comes at `due`, after all that was put in for the same time before.
    pub(crate) fn push(&mut self, due: Instant, what: T) {
        let sequence = self.next;
        self.next += 1;
        self.heap.push(Reverse(Entry { due, sequence, what }));
    }

    /// When the next thing comes.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|entry| entry.0.due)
    }

    /// Takes the next thing.
    pub(crate) fn pop(&mut self) -> Option<(Instant, T)> {
        self.heap.pop().map(|entry| (entry.0.due, entry.0.what))
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.due, self.sequence).cmp(&(other.due, other.sequence))
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
    fn time_comes_first_and_then_the_order_of_putting_in() {
        let mut queue = Queue::new();
        for (millis, what) in [(5, 'c'), (3, 'a'), (5, 'd'), (3, 'b')] {
            queue.push(Instant::from_millis(millis), what);
        }
        assert_eq!(queue.next(), Some(Instant::from_millis(3)));
        let order: String = std::iter::from_fn(|| queue.pop()).map(|(_, what)| what).collect();
        assert_eq!(order, "abcd");
    }
}
