//! A hash map for keys that peers choose.

use std::hash::{BuildHasher, Hash};

use siphasher::sip::SipHasher13;
use weir_base::Rng;
use weir_base::table::Lookup;

/// Lookup under a secret, so that peers cannot aim at one bucket. It is never walked. Its users bound its length.
pub(crate) type Table<K, V> = Lookup<K, V, Secret>;

/// The secret.
#[derive(Clone)]
pub(crate) struct Secret([u8; 16]);

impl BuildHasher for Secret {
    type Hasher = SipHasher13;
    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_key(&self.0)
    }
}

/// An empty table under a secret drawn from `rng`.
pub(crate) fn table<K: Eq + Hash, V>(rng: &mut Rng) -> Table<K, V> {
    Lookup::with_hasher(Secret(rng.bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_key_lies_depends_on_the_secret() {
        let hash = |number| Secret(Rng::from_number(number).bytes()).hash_one(7_u64);
        assert_eq!(hash(1), hash(1));
        assert_ne!(hash(1), hash(2));
        let mut table = table(&mut Rng::from_number(1));
        assert_eq!((table.insert(7_u64, 'a'), table.get(7), table.get(8)), (None, Some(&'a'), None));
    }
}
