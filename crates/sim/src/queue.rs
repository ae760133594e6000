//! What is due at one node, in order of time; of what is due at the same time, the sender with the lower number first, and of
//! one sender in the order of sending. The order does not depend on who was carried out first, or on which thread.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use weir_base::Instant;

/// When something is due, and its place among what is due then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) due: Instant,
    pub(crate) from: u32,
    pub(crate) sequence: u64, // of the sender
}

/// A queue of things to come. The heap has keys and places alone, so that little memory moves when something comes or goes.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    heap: BinaryHeap<Reverse<(Key, u32)>>,
    places: Vec<Option<T>>,
    free: Vec<u32>, // those of `places` that have nothing
}

impl<T> Queue<T> {
    /// Nothing is to come.
    pub(crate) const fn new() -> Self {
        Self { heap: BinaryHeap::new(), places: Vec::new(), free: Vec::new() }
    }

    /// Something is to come. No two have one key.
    pub(crate) fn push(&mut self, key: Key, what: T) {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            u32::try_from(self.places.len() - 1).unwrap_or(u32::MAX) // memory ends sooner
        });
        if let Some(at) = self.places.get_mut(place as usize) {
            *at = Some(what);
        }
        self.heap.push(Reverse((key, place)));
    }

    /// The key of what comes next.
    pub(crate) fn peek(&self) -> Option<&Key> {
        self.heap.peek().map(|Reverse((key, _))| key)
    }

    /// Takes what comes next.
    pub(crate) fn pop(&mut self) -> Option<(Key, T)> {
        let Reverse((key, place)) = self.heap.pop()?;
        self.free.push(place);
        Some((key, self.places.get_mut(place as usize)?.take()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn key(millis: u64, from: u32, sequence: u64) -> Key {
        Key { due: Instant::from_millis(millis), from, sequence }
    }

    #[test]
    fn time_comes_first_then_the_sender_and_then_the_order_of_sending() {
        let mut queue = Queue::new();
        for (millis, from, sequence, what) in [(5, 2, 0, 'd'), (3, 1, 9, 'b'), (5, 1, 7, 'c'), (3, 1, 8, 'a')]
        {
            queue.push(key(millis, from, sequence), what);
        }
        assert_eq!(queue.peek().map(|key| key.due), Some(Instant::from_millis(3)));
        let order: String = std::iter::from_fn(|| queue.pop()).map(|(_, what)| what).collect();
        assert_eq!(order, "abcd");
    }

    #[test]
    fn the_place_of_what_was_taken_is_the_next_ones() {
        let mut queue = Queue::new();
        for round in 0..100 {
            for from in 0..3 {
                queue.push(key(round, from, round), (round, from));
            }
            assert!((0..3).all(|from| queue.pop() == Some((key(round, from, round), (round, from)))));
        }
        assert_eq!((queue.pop(), queue.places.len(), queue.free.len()), (None, 3, 3));
    }
}
