//! Short ids: eight bytes that name an item under a key its receiver chose (`docs/spec/pool.md`).

use std::hash::Hasher as _;

use siphasher::sip::SipHasher24;
use weir_base::Rng;

/// `SipHash-2-4` of an item's 32-byte id under the receiver's key. Collides by chance in one of 2^64 pairs,
/// and on purpose only for who knows the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShortId(pub u64);

/// A receiver's secret for short ids, told to the peers that offer to it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ShortKey(pub [u8; 16]);

impl ShortKey {
    /// A fresh random key.
    pub fn random(rng: &mut Rng) -> Self {
        Self(rng.bytes())
    }

    /// The short id of the item with this full id.
    pub fn short(&self, id: &[u8; 32]) -> ShortId {
        let mut hasher = SipHasher24::new_with_key(&self.0);
        hasher.write(id);
        ShortId(hasher.finish())
    }
}

impl std::fmt::Debug for ShortKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ShortKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_siphash_2_4_as_published() {
        // The reference vector of the SipHash paper: key 00..0f, message 00..0e.
        let key: [u8; 16] = std::array::from_fn(|i| u8::try_from(i).unwrap());
        let mut hasher = SipHasher24::new_with_key(&key);
        hasher.write(&(0..15).collect::<Vec<u8>>());
        assert_eq!(hasher.finish(), 0xa129_ca61_49be_45e5);
        assert_ne!(ShortKey(key).short(&[0; 32]), ShortKey([0; 16]).short(&[0; 32]));
    }
}
