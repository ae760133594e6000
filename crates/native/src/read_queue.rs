//! Whose turn it is to be read.

use std::collections::BTreeSet;
use std::time::Duration;

/// Connections to read, by the time that reading each has taken: start-time fair queueing (Goyal, Vin and Cheng, 1996). One that takes
/// little is next as soon as something comes for it; one that takes much is next once all others that have something were read for as
/// long. Time in which nothing came for a connection is not made up for.
#[derive(Debug)]
pub(crate) struct ReadQueue<K> {
    waiting: BTreeSet<(u64, u64, K)>, // when its turn starts, in nanoseconds of reading; number; whose
    now: u64,                         // when the turn of the last one started
    number: u64,                      // of those that were queued
}

/// A new connection counts as read for this long already: about what one message of a handshake takes.
const NEWCOMER: Duration = Duration::from_millis(1);

/// When the next turn of a connection starts at the earliest: when its last one ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Served(u64);

impl Served {
    /// When a turn that started here ends, after so long. It takes a nanosecond at least, even if the clock has not moved.
    pub(crate) fn until(self, took: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX).max(1)))
    }
}

impl<K: Ord> Default for ReadQueue<K> {
    fn default() -> Self {
        Self { waiting: BTreeSet::new(), now: 0, number: 0 }
    }
}

impl<K: Ord> ReadQueue<K> {
    /// How far a new connection counts as read: behind all that have something and were read for less, however many come at once.
    pub(crate) fn newcomer(&self) -> Served {
        Served(self.now).until(NEWCOMER)
    }

    /// There is something to read of a connection that does not wait yet.
    pub(crate) fn push(&mut self, connection: K, served: Served) {
        self.number += 1;
        self.waiting.insert((served.0.max(self.now), self.number, connection));
    }

    /// The next to read, and when its turn starts.
    pub(crate) fn pop(&mut self) -> Option<(K, Served)> {
        let (start, _, connection) = self.waiting.pop_first()?;
        self.now = start;
        Some((connection, Served(start)))
    }

    /// Whether none is to be read.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads the next one, for so many microseconds, after which it has more.
    fn read(queue: &mut ReadQueue<u8>, micros: u64) -> u8 {
        let (connection, started) = queue.pop().unwrap();
        queue.push(connection, started.until(Duration::from_micros(micros)));
        connection
    }

    #[test]
    fn all_that_have_something_are_read_for_as_long() {
        let mut queue = ReadQueue::default();
        (0..3_usize).for_each(|connection| queue.push(connection, Served::default()));
        let mut times = [0_u64; 3];
        for _ in 0..1_000 {
            let (connection, started) = queue.pop().unwrap();
            let takes: u64 = [10, 20, 400][connection];
            times[connection] += takes;
            queue.push(connection, started.until(Duration::from_micros(takes)));
        }
        assert!(times.iter().all(|time| time.abs_diff(times[0]) <= 400), "{times:?}");
    }

    #[test]
    fn who_takes_little_is_next_and_makes_up_for_nothing() {
        let mut queue = ReadQueue::default();
        (0..20).for_each(|busy| queue.push(busy, Served::default()));
        let first: Vec<u8> = (0..40).map(|_| read(&mut queue, 500)).collect();
        assert_eq!(first, [(0..20).collect::<Vec<u8>>(), (0..20).collect()].concat(), "in turn");
        read(&mut queue, 500);
        queue.push(100, Served::default());
        assert_eq!(read(&mut queue, 600), 1, "as long ago as the new one, and came before");
        let next: Vec<u8> = (0..19).map(|_| read(&mut queue, 600)).collect();
        assert_eq!(next.iter().position(|of| *of == 100), next.iter().rposition(|of| *of == 100));
        assert!(next.contains(&100), "{next:?}");
    }

    #[test]
    fn newcomers_stand_behind_who_takes_little() {
        let mut queue = ReadQueue::default();
        for newcomer in 1..=20 {
            queue.push(newcomer, queue.newcomer());
        }
        queue.push(0, Served::default());
        assert_eq!([read(&mut queue, 900), read(&mut queue, 90)], [0, 0]);
        assert_eq!(read(&mut queue, 1), 0, "less than a handshake");
        let (first, started) = queue.pop().unwrap();
        assert_eq!((first, started), (0, Served(991_000)));
        queue.push(0, started.until(Duration::from_micros(10)));
        assert_eq!(read(&mut queue, 1), 1, "a newcomer has waited for a millisecond of reading");
    }

    #[test]
    fn a_turn_that_took_no_time_counts() {
        assert_ne!(Served::default().until(Duration::ZERO), Served::default());
        let mut queue = ReadQueue::default();
        assert!(queue.is_empty() && queue.pop().is_none());
        queue.push(1, Served::default());
        assert!(!queue.is_empty());
    }
}
