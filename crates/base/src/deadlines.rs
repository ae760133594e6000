//! An ordered index of children's timeouts, so that a parent never asks all its children.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use crate::Instant;

/// So many entries of the heap may be out of date, and as many again as children have a deadline, before it is built anew.
const STALE: usize = 32;

/// At most one deadline per child; the earliest is found at once. Ties go by key.
///
/// Most deadlines are cleared long before they are due. So a deadline that moves leaves its old entry in the heap, which is
/// dropped when it comes to the top; the top itself is always up to date.
#[derive(Clone, Debug)]
pub struct Deadlines<K> {
    by_time: BinaryHeap<Reverse<(Instant, K)>>, // <= 2 * by_child + STALE
    by_child: BTreeMap<K, Instant>,
}

impl<K: Copy + Ord> Default for Deadlines<K> {
    fn default() -> Self {
        Self { by_time: BinaryHeap::new(), by_child: BTreeMap::new() }
    }
}

impl<K: Copy + Ord> Deadlines<K> {
    /// Sets, moves or (with `None`) clears the deadline of `child`.
    pub fn set(&mut self, child: K, due: Option<Instant>) {
        let before = match due {
            Some(due) => self.by_child.insert(child, due),
            None => self.by_child.remove(&child),
        };
        if before == due {
            return;
        }
        if let Some(due) = due {
            self.by_time.push(Reverse((due, child)));
        }
        if before.is_some() {
            self.tidy();
        }
    }

    /// The earliest deadline and whose it is.
    pub fn next(&self) -> Option<(Instant, K)> {
        self.by_time.peek().map(|Reverse(first)| *first)
    }

    /// When `child` is due.
    pub fn get(&self, child: K) -> Option<Instant> {
        self.by_child.get(&child).copied()
    }

    /// Takes the earliest child that is due at `now`; its deadline is cleared.
    pub fn pop_due(&mut self, now: Instant) -> Option<K> {
        let (due, child) = self.next()?;
        if due > now {
            return None;
        }
        self.set(child, None);
        Some(child)
    }

    /// How many children have a deadline.
    pub fn len(&self) -> usize {
        self.by_child.len()
    }

    /// Whether no child has one.
    pub fn is_empty(&self) -> bool {
        self.by_child.is_empty()
    }

    /// Drops what is out of date: at the top, and everywhere once there is more of it than of the rest.
    fn tidy(&mut self) {
        if self.by_time.len() > 2 * self.by_child.len() + STALE {
            self.by_time = self.by_child.iter().map(|(child, due)| Reverse((*due, *child))).collect();
        }
        while let Some(Reverse((due, child))) = self.by_time.peek() {
            if self.by_child.get(child) == Some(due) {
                return;
            }
            self.by_time.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_comes_first_and_moves_when_set_again() {
        let at = Instant::from_millis;
        let mut deadlines = Deadlines::default();
        deadlines.set('a', Some(at(5)));
        deadlines.set('b', Some(at(3)));
        deadlines.set('b', Some(at(9)));
        deadlines.set('c', Some(at(4)));
        deadlines.set('c', None);
        assert_eq!(deadlines.next(), Some((at(5), 'a')));
        assert_eq!(deadlines.pop_due(at(4)), None);
        assert_eq!(deadlines.pop_due(at(9)), Some('a'));
        assert_eq!(deadlines.pop_due(at(9)), Some('b'));
        assert!(deadlines.is_empty() && deadlines.next().is_none());
    }

    #[test]
    fn what_is_out_of_date_is_dropped() {
        let at = Instant::from_millis;
        let mut deadlines = Deadlines::default();
        deadlines.set(0, Some(at(1_000_000)));
        for round in 0..10_000 {
            deadlines.set(round % 7 + 1, Some(at(10_000 + round)));
            deadlines.set(round % 5 + 1, None);
            assert!(deadlines.by_time.len() <= 2 * deadlines.len() + STALE);
            let least = deadlines.by_child.iter().map(|(child, due)| (*due, *child)).min();
            assert_eq!(deadlines.next(), least);
        }
        deadlines.set(0, Some(at(1)));
        assert_eq!(deadlines.next(), Some((at(1), 0)));
    }
}
