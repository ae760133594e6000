//! A token bucket in one timestamp (the generic cell rate algorithm): no timer, no refill step.

use std::time::Duration;

use weir_base::Instant;

/// At most `burst` at once and `rate` per second in the long run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    full_at: Instant, // when the bucket will be full again
}

impl Bucket {
    /// A full one.
    pub(crate) const fn new() -> Self {
        Self { full_at: Instant::ZERO }
    }

    /// Takes `cost` tokens; where there are not so many, takes none and says how long until there are.
    /// A `rate` of 0 never refuses.
    pub(crate) fn take(&mut self, now: Instant, cost: u64, rate: u64, burst: u64) -> Result<(), Duration> {
        if rate == 0 {
            return Ok(());
        }
        let full_at = self.full_at.max(now) + tokens(cost, rate);
        let late = full_at.since(now + tokens(burst, rate));
        if !late.is_zero() {
            return Err(late);
        }
        self.full_at = full_at;
        Ok(())
    }
}

/// The time in which so many tokens come.
fn tokens(count: u64, rate: u64) -> Duration {
    let nanos = u128::from(count) * 1_000_000_000 / u128::from(rate);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_gives_a_burst_and_then_its_rate() {
        let (mut bucket, now) = (Bucket::new(), Instant::from_millis(5));
        assert!((0..20).all(|_| bucket.take(now, 1, 10, 20).is_ok()));
        assert_eq!(bucket.take(now, 1, 10, 20), Err(Duration::from_millis(100)));
        assert_eq!(bucket.take(now + Duration::from_millis(100), 1, 10, 20), Ok(()));
        let again = bucket.take(now + Duration::from_millis(100), 1, 10, 20);
        assert_eq!(again, Err(Duration::from_millis(100)), "only that one");
        assert!((0..20).all(|_| bucket.take(now + Duration::from_secs(9), 1, 10, 20).is_ok()));
        assert!((0..1000).all(|_| bucket.take(now, 1, 0, 0).is_ok()));
    }
}
