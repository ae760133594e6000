//! How long to wait before the next try: doubling, capped, jittered. No input makes it overflow, and it never says "never".

use std::time::Duration;

use weir_base::Rng;

/// Pauses between tries. The pause after `n` failures in a row is drawn from the upper half of `first * 2^n`, at most `cap`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Backoff {
    /// The largest pause after a first failure.
    pub(crate) first: Duration,
    /// The largest pause at all.
    pub(crate) cap: Duration,
}

impl Backoff {
    /// The pause after `failures` failures in a row. The jitter keeps nodes that failed together from trying together.
    pub(crate) fn pause(&self, failures: u32, rng: &mut Rng) -> Duration {
        let doubled = 2_u32.checked_pow(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        let full = self.first.saturating_mul(doubled).min(self.cap);
        full / 2 + rng.up_to(full / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_stays_capped_and_never_overflows() {
        let backoff = Backoff { first: Duration::from_millis(500), cap: Duration::from_secs(120) };
        let mut rng = Rng::from_number(1);
        for failures in (0..200).chain([u32::MAX - 1, u32::MAX]) {
            let pause = backoff.pause(failures, &mut rng);
            let exponent = failures.saturating_sub(1).min(20);
            let full = (backoff.first * 2_u32.pow(exponent)).min(backoff.cap);
            assert!(pause >= full / 2 && pause <= full, "{pause:?} after {failures}");
        }
        let huge = Backoff { first: Duration::MAX, cap: Duration::MAX };
        assert!(huge.pause(u32::MAX, &mut rng) >= Duration::MAX / 2);
    }
}
