//! A hash map without iteration: keyed by a secret, so that peers cannot aim at one bucket, and without an order to observe.

use std::hash::{BuildHasher, Hash};

use siphasher::sip::SipHasher13;

use crate::Rng;

#[derive(Clone)]
struct Keyed([u8; 16]);

impl BuildHasher for Keyed {
    type Hasher = SipHasher13;
    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_key(&self.0)
    }
}

/// Lookup by key only. Its users bound its length; what must be walked in order belongs in a `BTreeMap`.
#[derive(Clone)]
pub struct Table<K, V> {
    #[allow(clippy::disallowed_types)] // the one place: keyed by a seed, and never iterated
    inner: std::collections::HashMap<K, V, Keyed>,
}

impl<K: Eq + Hash, V> Table<K, V> {
    /// An empty table under a key drawn from `rng`.
    #[allow(clippy::disallowed_types)]
    pub fn new(rng: &mut Rng) -> Self {
        Self { inner: std::collections::HashMap::with_hasher(Keyed(rng.bytes())) }
    }

    /// The value at `key`.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.inner.get(key)
    }

    /// The value at `key`, to change.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.inner.get_mut(key)
    }

    /// Puts `value` at `key` and returns what was there.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.inner.insert(key, value)
    }

    /// Takes the value at `key` out. Memory is given back once three quarters are empty.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let value = self.inner.remove(key);
        if self.inner.capacity() > 64 && self.inner.len() < self.inner.capacity() / 4 {
            self.inner.shrink_to(self.inner.len() * 2);
        }
        value
    }

    /// Whether there is a value at `key`.
    pub fn contains(&self, key: &K) -> bool {
        self.inner.contains_key(key)
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
    use super::*;

    #[test]
    fn it_gives_memory_back() {
        let mut table = Table::new(&mut Rng::from_number(1));
        for key in 0..10_000_u32 {
            assert_eq!(table.insert(key, key), None);
        }
        let full = table.inner.capacity();
        for key in 0..9_990 {
            assert_eq!(table.remove(&key), Some(key));
        }
        assert!(table.inner.capacity() < full / 8 && table.contains(&9_999) && table.len() == 10);
    }
}
