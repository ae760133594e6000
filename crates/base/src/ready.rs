//! A fair queue of children that have something to do.

use std::collections::{BTreeSet, VecDeque};

/// So many waiting children are found by looking at each; more by the set.
const FEW: usize = 16;

/// Children with output, in the order they were marked; each at most once. Bounded by the number of children.
#[derive(Clone, Debug)]
pub struct Ready<K> {
    queue: VecDeque<K>,
    marked: BTreeSet<K>, // the same children where they are many, else empty
}

impl<K: Copy + Ord> Default for Ready<K> {
    fn default() -> Self {
        Self { queue: VecDeque::new(), marked: BTreeSet::new() }
    }
}

impl<K: Copy + Ord> Ready<K> {
    /// Puts `child` at the end, unless it waits already.
    #[inline]
    pub fn mark(&mut self, child: K) {
        if self.queue.back() == Some(&child) || self.contains(child) {
            return;
        }
        self.queue.push_back(child);
        if !self.marked.is_empty() {
            self.marked.insert(child);
        } else if self.queue.len() > FEW {
            self.marked.extend(&self.queue);
        }
    }

    /// The child that waits longest. It keeps its place.
    pub fn first(&self) -> Option<K> {
        self.queue.front().copied()
    }

    /// Takes the child that waits longest.
    pub fn pop(&mut self) -> Option<K> {
        let child = self.queue.pop_front()?;
        self.unmark(child);
        Some(child)
    }

    /// Forgets `child`. Costs the queue's length: for children that end.
    pub fn remove(&mut self, child: K) {
        if self.contains(child) {
            self.queue.retain(|waiting| *waiting != child);
            self.unmark(child);
        }
    }

    /// Whether `child` waits.
    pub fn contains(&self, child: K) -> bool {
        if self.marked.is_empty() { self.queue.contains(&child) } else { self.marked.contains(&child) }
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    fn unmark(&mut self, child: K) {
        if self.marked.is_empty() {
            return;
        }
        if self.queue.len() <= FEW / 2 {
            self.marked.clear();
        } else {
            self.marked.remove(&child);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_child_waits_once_and_in_order() {
        let mut ready = Ready::default();
        for child in [3, 1, 3, 2] {
            ready.mark(child);
        }
        ready.remove(1);
        assert_eq!(ready.first(), Some(3));
        assert_eq!((ready.pop(), ready.pop(), ready.pop()), (Some(3), Some(2), None));
        ready.mark(3);
        assert_eq!(ready.len(), 1);
    }

    #[test]
    fn many_children_wait_as_few_do() {
        let mut ready = Ready::default();
        for child in (0..100).chain(0..100) {
            ready.mark(child);
        }
        ready.remove(50);
        assert!(ready.contains(51) && !ready.contains(50));
        for child in (0..95).filter(|child| *child != 50) {
            assert_eq!(ready.pop(), Some(child));
            assert!(!ready.contains(child) && ready.contains(99));
        }
        ready.mark(0);
        ready.mark(99);
        assert_eq!(std::iter::from_fn(|| ready.pop()).collect::<Vec<_>>(), [95, 96, 97, 98, 99, 0]);
        assert!(ready.is_empty() && !ready.contains(0));
    }
}
