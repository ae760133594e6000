//! A rate for frames that cost work and move nothing.

use std::time::Duration;

use weir_base::Instant;

/// So many may come at once: more than a busy peer sends in one round trip.
const BURST: u32 = 1_000;
/// Each this long another may come: 100 a second.
const EACH: Duration = Duration::from_millis(10);

/// Counts down, and recovers with time.
#[derive(Debug)]
pub(crate) struct Storm {
    left: u32, // <= BURST
    since: Instant,
}

impl Storm {
    pub(crate) fn new(now: Instant) -> Self {
        Self { left: BURST, since: now }
    }

    /// Counts one; `false` where it is too much.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let passed = now.since(self.since).as_nanos() / EACH.as_nanos();
        let passed = u32::try_from(passed).unwrap_or(u32::MAX);
        if passed > 0 {
            self.left = self.left.saturating_add(passed).min(BURST);
            self.since = now;
        }
        let Some(left) = self.left.checked_sub(1) else { return false };
        self.left = left;
        true
    }
}
