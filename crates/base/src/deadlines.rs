//! An ordered index of children's timeouts, so that a parent never asks all its children.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use crate::Instant;

/// So many deadlines are kept in a sorted list; more in a map and a heap.
const FEW: usize = 16;

/// So many entries of the heap may be out of date, and as many again as children have a deadline, before it is built anew.
const STALE: usize = 32;

/// At most one deadline per child; the earliest is found at once. Ties go by key.
#[derive(Clone, Debug)]
pub struct Deadlines<K> {
    few: Vec<(Instant, K)>, // the earliest last; <= FEW, empty where they are many
    many: Many<K>,
}

/// Most deadlines are cleared long before they are due. So a deadline that moves leaves its old entry in the heap, which is
/// dropped when it comes to the top; the top itself is always up to date.
#[derive(Clone, Debug)]
struct Many<K> {
    by_time: BinaryHeap<Reverse<(Instant, K)>>, // <= 2 * by_child + STALE
    by_child: BTreeMap<K, Instant>,
}

impl<K: Copy + Ord> Default for Deadlines<K> {
    fn default() -> Self {
        Self { few: Vec::new(), many: Many { by_time: BinaryHeap::new(), by_child: BTreeMap::new() } }
    }
}

impl<K: Copy + Ord> Deadlines<K> {
    /// Sets, moves or (with `None`) clears the deadline of `child`.
    pub fn set(&mut self, child: K, due: Option<Instant>) {
        if !self.many.by_child.is_empty() {
            self.many.set(child, due);
            if self.many.by_child.len() <= FEW / 2 {
                self.few = self.many.take();
            }
            return;
        }
        let before = self.few.iter().position(|(_, other)| *other == child);
        if let Some(before) = before {
            self.few.remove(before);
        }
        let Some(due) = due else { return };
        let place = self.few.iter().rposition(|entry| *entry > (due, child)).map_or(0, |later| later + 1);
        self.few.insert(place, (due, child));
        if self.few.len() > FEW {
            self.few.drain(..).for_each(|(due, child)| self.many.set(child, Some(due)));
        }
    }

    /// The earliest deadline and whose it is.
    pub fn next(&self) -> Option<(Instant, K)> {
        self.few.last().copied().or_else(|| self.many.next())
    }

    /// When `child` is due.
    pub fn get(&self, child: K) -> Option<Instant> {
        let few = self.few.iter().find(|(_, other)| *other == child).map(|(due, _)| *due);
        few.or_else(|| self.many.by_child.get(&child).copied())
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
        self.few.len() + self.many.by_child.len()
    }

    /// Whether no child has one.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<K: Copy + Ord> Many<K> {
    fn set(&mut self, child: K, due: Option<Instant>) {
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

    fn next(&self) -> Option<(Instant, K)> {
        self.by_time.peek().map(|Reverse(first)| *first)
    }

    /// All of them, the earliest last.
    fn take(&mut self) -> Vec<(Instant, K)> {
        self.by_time = BinaryHeap::new();
        let mut all: Vec<(Instant, K)> =
            std::mem::take(&mut self.by_child).into_iter().map(|(child, due)| (due, child)).collect();
        all.sort_unstable_by(|one, other| other.cmp(one));
        all
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
    fn few_and_many_are_kept_as_a_plain_map_would() {
        let mut rng = crate::Rng::from_number(3);
        let (mut deadlines, mut model) = (Deadlines::default(), BTreeMap::new());
        let mut were_many = 0;
        for round in 0..20_000_u64 {
            // Between a handful and a few dozen children, there and back.
            let child = rng.below(4 + round / 50 % 60);
            let due = rng.chance(1, 2).then(|| Instant::from_millis(rng.below(1_000)));
            deadlines.set(child, due);
            match due {
                Some(due) => model.insert(child, due),
                None => model.remove(&child),
            };
            let least = model.iter().map(|(child, due)| (*due, *child)).min();
            assert_eq!((deadlines.next(), deadlines.len()), (least, model.len()));
            assert_eq!(deadlines.get(child), due);
            assert!(deadlines.many.by_time.len() <= 2 * deadlines.many.by_child.len() + STALE);
            assert!(deadlines.few.is_empty() || deadlines.many.by_child.is_empty());
            were_many += u64::from(!deadlines.many.by_child.is_empty());
        }
        assert!((1_000..19_000).contains(&were_many), "{were_many}");
    }
}
