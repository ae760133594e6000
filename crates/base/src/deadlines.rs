//! An ordered index of children's timeouts, so that a parent never asks all its children.

use std::collections::{BTreeMap, BTreeSet};

use crate::Instant;

/// At most one deadline per child; the earliest is found in logarithmic time. Ties go by key.
#[derive(Clone, Debug)]
pub struct Deadlines<K> {
    by_time: BTreeSet<(Instant, K)>,
    by_child: BTreeMap<K, Instant>,
}

impl<K: Copy + Ord> Default for Deadlines<K> {
    fn default() -> Self {
        Self { by_time: BTreeSet::new(), by_child: BTreeMap::new() }
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
        if let Some(before) = before {
            self.by_time.remove(&(before, child));
        }
        if let Some(due) = due {
            self.by_time.insert((due, child));
        }
    }

    /// The earliest deadline and whose it is.
    pub fn next(&self) -> Option<(Instant, K)> {
        self.by_time.first().copied()
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
}
