//! A fair queue of children that have something to do.

use std::collections::{BTreeSet, VecDeque};

/// Children with output, in the order they were marked; each at most once. Bounded by the number of children.
#[derive(Clone, Debug)]
pub struct Ready<K> {
    queue: VecDeque<K>,
    marked: BTreeSet<K>,
}

impl<K: Copy + Ord> Default for Ready<K> {
    fn default() -> Self {
        Self { queue: VecDeque::new(), marked: BTreeSet::new() }
    }
}

impl<K: Copy + Ord> Ready<K> {
    /// Puts `child` at the end, unless it waits already.
    pub fn mark(&mut self, child: K) {
        if self.marked.insert(child) {
            self.queue.push_back(child);
        }
    }

    /// Takes the child that waits longest.
    pub fn pop(&mut self) -> Option<K> {
        let child = self.queue.pop_front()?;
        self.marked.remove(&child);
        Some(child)
    }

    /// Forgets `child`. Costs the queue's length: for children that end.
    pub fn remove(&mut self, child: K) {
        if self.marked.remove(&child) {
            self.queue.retain(|waiting| *waiting != child);
        }
    }

    /// Whether `child` waits.
    pub fn contains(&self, child: K) -> bool {
        self.marked.contains(&child)
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
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
        assert_eq!((ready.pop(), ready.pop(), ready.pop()), (Some(3), Some(2), None));
        ready.mark(3);
        assert_eq!(ready.len(), 1);
    }
}
