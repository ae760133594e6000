//! Seeded randomness. A parent derives a child's generator by a label, so that one machine's draws never shift another's.

use std::time::Duration;

use rand_chacha::ChaCha12Rng;
use rand_core::{Rng as _, SeedableRng as _};
use sha2::{Digest as _, Sha256};

/// ChaCha12 with a 32-byte seed. Unpredictable to peers where the seed is secret; the same draws for the same seed.
#[derive(Clone)]
pub struct Rng {
    inner: ChaCha12Rng,
}

impl Rng {
    /// A generator from a secret seed.
    pub fn new(seed: [u8; 32]) -> Self {
        Self { inner: ChaCha12Rng::from_seed(seed) }
    }

    /// A generator from a number: for tests and simulations, where seeds are printed.
    pub fn from_number(seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Self::new(Sha256::digest(bytes).into())
    }

    /// A generator of its own for the part called `label`. Draws 32 bytes from this one.
    #[must_use]
    pub fn child(&mut self, label: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(self.bytes::<32>());
        hash.update(label.as_bytes());
        Self::new(hash.finalize().into())
    }

    /// Uniform over all 64-bit values.
    pub fn u64(&mut self) -> u64 {
        self.inner.next_u64()
    }

    /// Uniform below `end`; 0 where `end` is 0. (Bias below 2^-32 for ends under 2^32.)
    pub fn below(&mut self, end: u64) -> u64 {
        let wide = u128::from(self.u64()) * u128::from(end);
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// An index into something of `len` entries; 0 where it is empty.
    pub fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap_or(0)
    }

    /// `N` random bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        self.fill(&mut out);
        out
    }

    /// Fills `out`.
    pub fn fill(&mut self, out: &mut [u8]) {
        self.inner.fill_bytes(out);
    }

    /// True in `numerator` of `denominator` cases.
    pub fn chance(&mut self, numerator: u64, denominator: u64) -> bool {
        self.below(denominator) < numerator
    }

    /// Uniform between zero and `most`, in nanoseconds.
    pub fn up_to(&mut self, most: Duration) -> Duration {
        Duration::from_nanos(self.below(crate::time::nanos(most).saturating_add(1)))
    }

    /// Fisher and Yates.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.index(last + 1));
        }
    }
}

impl std::fmt::Debug for Rng {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rng(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_draws_and_a_child_its_own() {
        let (mut a, mut b) = (Rng::from_number(7), Rng::from_number(7));
        assert_eq!(a.u64(), b.u64());
        assert_eq!(a.child("x").u64(), b.child("x").u64());
        let (mut x, mut y) = (a.child("x"), b.child("y"));
        assert_ne!(x.u64(), y.u64());
        assert_ne!(Rng::from_number(8).u64(), Rng::from_number(7).u64());
    }

    #[test]
    fn below_stays_below() {
        let mut rng = Rng::from_number(1);
        assert_eq!(rng.below(0), 0);
        let mut seen = [false; 5];
        for _ in 0..1000 {
            seen[rng.index(5)] = true;
        }
        assert_eq!(seen, [true; 5]);
    }
}
