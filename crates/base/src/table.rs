//! Hash maps without an order to observe. Their users bound their length; what must be walked in order belongs in a `BTreeMap`.

use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash};

/// Lookup by key. How it hashes is `S`: of counted keys see [`Numbered`](crate::Numbered).
#[derive(Clone)]
pub struct Lookup<K, V, S> {
    #[allow(clippy::disallowed_types)]
    // the one place: `S` draws nothing from the system, and nobody sees its order
    pub(super) inner: std::collections::HashMap<K, V, S>,
}

impl<K, V, S> Lookup<K, V, S> {
    /// An empty one that hashes so.
    #[allow(clippy::disallowed_types)]
    pub fn with_hasher(hasher: S) -> Self {
        Self { inner: std::collections::HashMap::with_hasher(hasher) }
    }
}

impl<K: Eq + Hash, V, S: BuildHasher> Lookup<K, V, S> {
    /// The value at `key`.
    pub fn get(&self, key: impl Borrow<K>) -> Option<&V> {
        self.inner.get(key.borrow())
    }

    /// The value at `key`, to change.
    pub fn get_mut(&mut self, key: impl Borrow<K>) -> Option<&mut V> {
        self.inner.get_mut(key.borrow())
    }

    /// Puts `value` at `key` and returns what was there.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.inner.insert(key, value)
    }

    /// Takes the value at `key` out. Memory is given back once three quarters are empty.
    pub fn remove(&mut self, key: impl Borrow<K>) -> Option<V> {
        let value = self.inner.remove(key.borrow());
        if self.inner.capacity() > 64 && self.inner.len() < self.inner.capacity() / 4 {
            self.inner.shrink_to(self.inner.len() * 2);
        }
        value
    }

    /// Whether there is a value at `key`.
    pub fn contains(&self, key: impl Borrow<K>) -> bool {
        self.inner.contains_key(key.borrow())
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.inner.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.inner.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use crate::Numbered;

    #[test]
    fn it_gives_memory_back() {
        let mut table = Numbered::default();
        for key in 0..10_000_u64 {
            assert_eq!(table.insert(key, key), None);
        }
        let full = table.inner.capacity();
        for key in 0..9_990 {
            assert_eq!(table.remove(key), Some(key));
        }
        assert!(table.inner.capacity() < full / 8 && table.contains(9_999) && table.len() == 10);
    }
}
