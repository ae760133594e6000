//! What is due at one node, in order of time; of what is due at the same time, the sender with the lower number first, and of
//! one sender in the order of sending. The order does not depend on who was carried out first, or on which thread.

use weir_base::{Instant, pair};

/// When something is due, and its place among what is due then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) due: Instant,
    pub(crate) from: u32,
    pub(crate) sequence: u64, // of the sender
}

/// A queue of things to come.
pub(crate) type Queue<T> = pair::Queue<Key, T>;

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
        assert_eq!(queue.peek().map(|key| key.due), Some(Instant::from_millis(3)));
        let order: String = std::iter::from_fn(|| queue.pop()).map(|(_, what)| what).collect();
        assert_eq!(order, "abcd");
    }
}
