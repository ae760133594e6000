//! A hash map for keys that count up: tickets, links, streams.

use std::hash::{BuildHasherDefault, Hash, Hasher};

use crate::table::Lookup;
use crate::{LinkId, StreamKey};

/// A key that is counted, not chosen: its numbers come in order. A peer that keeps just those streams open whose numbers meet in
/// one bucket makes lookups walk its own streams, which are bounded.
pub trait Counted: Copy + Ord + Hash {}

impl Counted for u64 {}
impl Counted for LinkId {}
impl Counted for StreamKey {}

/// Folds numbers with a multiplication each. Spreads numbers in a row over all buckets.
#[derive(Clone, Copy, Default)]
pub struct Fold(u64);

impl Hasher for Fold {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }
    fn write_u64(&mut self, number: u64) {
        // The odd number nearest to 2^64 divided by the golden ratio.
        self.0 = self.0.wrapping_add(number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    fn finish(&self) -> u64 {
        self.0.rotate_left(26)
    }
}

/// Lookup by a counted key, several times as fast as in a `BTreeMap`. It is walked through its sorted [`keys`](Self::keys) only.
pub type Numbered<K, V> = Lookup<K, V, BuildHasherDefault<Fold>>;

impl<K, V> Default for Numbered<K, V> {
    fn default() -> Self {
        Self::with_hasher(BuildHasherDefault::default())
    }
}

impl<K: std::fmt::Debug + Counted, V: std::fmt::Debug> std::fmt::Debug for Numbered<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.keys().into_iter().map(|key| (key, self.get(key)))).finish()
    }
}

impl<K: Counted, V> Numbered<K, V> {
    /// All keys, in order.
    pub fn keys(&self) -> Vec<K> {
        self.keys_where(|_, _| true)
    }

    /// The keys of which `of` holds, in order. Costs the whole length, as does every walk.
    pub fn keys_where(&self, mut of: impl FnMut(K, &V) -> bool) -> Vec<K> {
        let mut keys: Vec<K> =
            self.inner.iter().filter(|(key, value)| of(**key, value)).map(|(key, _)| *key).collect();
        keys.sort_unstable();
        keys
    }

    /// Whether `of` holds of some value. `of` must not tell in which order it is asked.
    pub fn any(&self, of: impl FnMut(&V) -> bool) -> bool {
        self.inner.values().any(of)
    }
}

impl<V> Numbered<StreamKey, V> {
    /// The streams of a link, in order.
    pub fn of_link(&self, link: LinkId) -> Vec<StreamKey> {
        self.keys_where(|key, _| key.link == link)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::Rng;

    #[test]
    fn it_holds_what_an_ordered_map_holds() {
        let mut rng = Rng::from_number(7);
        let (mut map, mut model) = (Numbered::default(), BTreeMap::new());
        for number in 0..20_000_u64 {
            let key = StreamKey { link: LinkId(number % 3), stream: rng.below(number / 8 + 1) };
            if rng.below(3) == 0 {
                assert_eq!(map.remove(key), model.remove(&key));
            } else {
                assert_eq!(map.insert(key, number), model.insert(key, number));
            }
            assert_eq!(map.get(key), model.get(&key));
            assert_eq!((map.len(), map.contains(key)), (model.len(), model.contains_key(&key)));
        }
        assert_eq!(map.keys(), model.keys().copied().collect::<Vec<_>>());
        let of_one = model.keys().copied().filter(|key| key.link == LinkId(1));
        assert_eq!(map.of_link(LinkId(1)), of_one.collect::<Vec<_>>());
    }

    #[test]
    fn numbers_in_a_row_share_no_bucket() {
        let hash = |number: u64| {
            let mut fold = Fold::default();
            number.hash(&mut fold);
            fold.finish()
        };
        // As a table of 128 buckets looks at them, for each step in which peers may count.
        for step in [1, 2, 4, 8] {
            let mut buckets = [0; 128];
            (0..64).for_each(|index| buckets[usize::try_from(hash(index * step) % 128).unwrap()] += 1);
            assert!(buckets.iter().all(|count| *count <= 3), "step {step}: {buckets:?}");
        }
    }

    #[test]
    fn it_gives_memory_back() {
        let mut map = Numbered::default();
        (0..10_000_u64).for_each(|key| assert_eq!(map.insert(key, key), None));
        let full = map.inner.capacity();
        (0..9_990).for_each(|key| assert_eq!(map.remove(key), Some(key)));
        assert!(map.inner.capacity() < full / 8 && map.contains(9_999) && map.len() == 10);
    }
}
