//! A rate for frames and streams that cost work and move nothing.

use std::time::Duration;

use weir_base::Instant;

/// So many may come at once: more than a busy peer sends in one round trip.
const BURST: u32 = 1_000;
/// Each this long another may come: 100 a second.
const EACH: Duration = Duration::from_millis(10);

/// Counts down, and recovers with time.
#[derive(Debug)]
pub(crate) struct Rate {
    burst: u32,
    each: Duration, // above zero
    left: u32,      // <= burst
    since: Instant,
}

impl Rate {
    /// `burst` at once, and another one `each` so long.
    pub(crate) fn new(burst: u32, each: Duration, now: Instant) -> Self {
        Self { burst, each, left: burst, since: now }
    }

    /// Counts so many; `false` where it is too much.
    pub(crate) fn take(&mut self, now: Instant, count: u32) -> bool {
        let passed = now.since(self.since).as_nanos() / self.each.as_nanos();
        let passed = u32::try_from(passed).unwrap_or(u32::MAX);
        if passed > 0 {
            self.left = self.left.saturating_add(passed).min(self.burst);
            self.since = now;
        }
        let Some(left) = self.left.checked_sub(count) else { return false };
        self.left = left;
        true
    }
}

/// Counts frames, or streams, that move nothing. Some frames are the answer to what this side did, such as window updates for a stream that it
/// has ended. Those are expected, and have no rate: there are no more of them than this side called for.
#[derive(Debug)]
pub(crate) struct Storm {
    rate: Rate,
    expected: u64,
}

impl Storm {
    pub(crate) fn new(now: Instant) -> Self {
        Self { rate: Rate::new(BURST, EACH, now), expected: 0 }
    }

    /// This side did something that the peer may answer with so many of them.
    pub(crate) fn expect(&mut self, count: u64) {
        self.expected = self.expected.saturating_add(count);
    }

    /// Counts one that nothing this side did calls for; `false` where it is too much.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        self.rate.take(now, 1)
    }

    /// Counts one that this side may have called for; `false` where it is too much.
    pub(crate) fn take_stray(&mut self, now: Instant) -> bool {
        match self.expected.checked_sub(1) {
            Some(expected) => {
                self.expected = expected;
                true
            }
            None => self.take(now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant::from_millis(1_000);

    #[test]
    fn one_more_may_come_each_this_long_counted_from_when_one_could_come_last() {
        let mut rate = Rate::new(3, EACH, NOW);
        assert!(rate.take(NOW, 3) && !rate.take(NOW, 1));
        assert!(!rate.take(NOW + EACH / 2, 1), "half of the time has passed");
        assert!(rate.take(NOW + EACH, 1), "the half that was looked at counts");
        assert!(!rate.take(NOW + EACH, 1), "only one");
        assert!(
            !rate.take(NOW + EACH * 1_000, 4) && rate.take(NOW + EACH * 1_000, 3),
            "never more than at first"
        );
    }

    #[test]
    fn strays_that_this_side_called_for_have_no_rate_and_others_share_it() {
        let mut storm = Storm::new(NOW);
        storm.expect(2);
        assert!((0..BURST).all(|_| storm.take(NOW)) && !storm.take(NOW));
        assert!(storm.take_stray(NOW) && storm.take_stray(NOW));
        assert!(!storm.take_stray(NOW), "no more than were called for");
    }
}
