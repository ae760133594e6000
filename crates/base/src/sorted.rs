//! Maps of few children, by key, that are looked up far more often than they come and go.

/// Values by key, in ascending order of the keys, in one piece of memory.
///
/// It takes less memory than a B-tree, whose leaves have room for eleven values and stay half empty where keys only grow, as ids do;
/// and a lookup reads fewer places. The greatest key is put in at the end. Any other insertion, and each removal, moves what comes
/// after it in memory, so large values are boxed, and who owns such a map bounds its length to some thousands.
#[derive(Clone, Debug)]
pub struct Sorted<K, V> {
    entries: Vec<(K, V)>, // ascending
}

impl<K, V> Default for Sorted<K, V> {
    fn default() -> Self {
        Self { entries: Vec::new() }
    }
}

impl<K: Copy + Ord, V> Sorted<K, V> {
    /// Where the value at `key` is, or would be.
    fn position(&self, key: &K) -> Result<usize, usize> {
        self.entries.binary_search_by_key(key, |(other, _)| *other)
    }

    /// The value at `key`.
    pub fn get(&self, key: &K) -> Option<&V> {
        Some(&self.entries.get(self.position(key).ok()?)?.1)
    }

    /// The value at `key`, to change.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let at = self.position(key).ok()?;
        Some(&mut self.entries.get_mut(at)?.1)
    }

    /// Whether there is a value at `key`.
    pub fn contains_key(&self, key: &K) -> bool {
        self.position(key).is_ok()
    }

    /// Puts `value` at `key`, and returns what was there.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        if self.entries.is_empty() {
            self.entries.reserve_exact(1); // many have one for good
        }
        let at = if self.entries.last().is_none_or(|(last, _)| *last < key) {
            self.entries.len()
        } else {
            match self.position(&key) {
                Ok(at) => {
                    return self.entries.get_mut(at).map(|entry| std::mem::replace(&mut entry.1, value));
                }
                Err(at) => at,
            }
        };
        self.entries.insert(at, (key, value));
        None
    }

    /// Takes the value at `key` out. Memory is given back once three quarters are empty.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let (_, value) = self.entries.remove(self.position(key).ok()?);
        if self.entries.capacity() > 64 && self.entries.len() < self.entries.capacity() / 4 {
            self.entries.shrink_to(self.entries.len() * 2);
        }
        Some(value)
    }

    /// All keys with their values.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.entries.iter().map(|(key, value)| (key, value))
    }

    /// All keys with their values, to change these.
    pub fn iter_mut(&mut self) -> impl DoubleEndedIterator<Item = (&K, &mut V)> {
        self.entries.iter_mut().map(|(key, value)| (&*key, value))
    }

    /// All keys.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    /// All values.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    /// All values, to change.
    pub fn values_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut V> {
        self.iter_mut().map(|(_, value)| value)
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::Rng;

    #[test]
    fn it_does_what_a_b_tree_does() {
        let mut rng = Rng::from_number(5);
        let (mut sorted, mut tree) = (Sorted::default(), BTreeMap::new());
        for step in 0..10_000 {
            let key = rng.below(300);
            if rng.below(2) == 0 {
                assert_eq!(sorted.insert(key, step), tree.insert(key, step));
            } else {
                assert_eq!(sorted.remove(&key), tree.remove(&key));
            }
            let key = rng.below(300);
            assert_eq!(sorted.get(&key), tree.get(&key));
            assert_eq!(sorted.get_mut(&key), tree.get_mut(&key));
            assert_eq!(sorted.contains_key(&key), tree.contains_key(&key));
            assert_eq!((sorted.len(), sorted.is_empty()), (tree.len(), tree.is_empty()));
        }
        assert!(
            sorted.iter().eq(&tree) && sorted.keys().eq(tree.keys()) && sorted.values().eq(tree.values())
        );
        sorted.values_mut().for_each(|value| *value += 1);
        sorted.iter_mut().for_each(|(_, value)| *value += 1);
        assert!(sorted.values().copied().eq(tree.values().map(|value| value + 2)));
    }

    #[test]
    fn one_value_takes_the_memory_of_one_and_what_many_took_is_given_back() {
        let mut sorted = Sorted::default();
        sorted.insert(1, [0_u64; 8]);
        assert_eq!(sorted.entries.capacity(), 1);
        (0..1_000).for_each(|key| _ = sorted.insert(key, [0; 8]));
        (2..1_000).for_each(|key| _ = sorted.remove(&key));
        assert!(sorted.entries.capacity() <= 64, "{}", sorted.entries.capacity());
        assert!(sorted.keys().eq(&[0, 1]));
    }
}
