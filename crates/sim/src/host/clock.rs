//! A node's clock, which may run too fast or too slow.

use weir_base::Instant;

/// A million, of which drift is counted in parts.
const MILLION: i128 = 1_000_000;

/// Turns the host's time into the node's and back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    drift: i32,    // parts per million that it is too fast
    from: Instant, // since this time of the host
    base: Instant, // when it showed this
}

impl Clock {
    pub(super) const fn new() -> Self {
        Self { drift: 0, from: Instant::ZERO, base: Instant::ZERO }
    }

    /// From `now` on it is this much too fast, in parts per million; what it showed goes on from there.
    pub(super) fn set_drift(&mut self, now: Instant, drift: i32) {
        *self = Self { drift, from: now, base: self.local(now) };
    }

    /// What it shows at a time of the host.
    pub(super) fn local(&self, at: Instant) -> Instant {
        if self.drift == 0 && self.from == self.base {
            return at;
        }
        let passed = i128::from(at.as_nanos()) - i128::from(self.from.as_nanos());
        let shown = i128::from(self.base.as_nanos()) + passed + passed * i128::from(self.drift) / MILLION;
        Instant::from_nanos(u64::try_from(shown).unwrap_or(0))
    }

    /// When, in the host's time, it shows `local`, or a moment later.
    pub(super) fn global(&self, local: Instant) -> Instant {
        if (self.drift == 0 && self.from == self.base) || local == Instant::FAR {
            return local;
        }
        let shown = i128::from(local.as_nanos()) - i128::from(self.base.as_nanos());
        let rate = MILLION + i128::from(self.drift);
        let at = i128::from(self.from.as_nanos()) + (shown * MILLION + rate - 1) / rate + 1;
        Instant::from_nanos(u64::try_from(at).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_too_fast_gains_and_goes_on_from_what_it_showed() {
        let mut clock = Clock::new();
        let at = Instant::from_millis(100_000);
        assert_eq!(clock.local(at), at);
        clock.set_drift(at, 1_000);
        assert_eq!(clock.local(at), at);
        let later = Instant::from_millis(1_100_000);
        assert_eq!(clock.local(later), Instant::from_millis(1_101_000));
        clock.set_drift(later, 0);
        assert_eq!(clock.local(Instant::from_millis(1_200_000)), Instant::from_millis(1_201_000));
    }

    #[test]
    fn a_time_on_the_clock_is_never_reached_too_early() {
        for drift in [-200, 1, 333] {
            let mut clock = Clock::new();
            clock.set_drift(Instant::from_millis(7), drift);
            for local in (0..100_u64).map(|step| Instant::from_nanos(10_000_000 + step * 7_777_777)) {
                let at = clock.global(local);
                assert!(clock.local(at) >= local, "{drift}: {local:?}");
                assert!(clock.local(at).since(local).as_nanos() < 10);
            }
        }
    }
}
