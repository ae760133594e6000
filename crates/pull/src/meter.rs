//! Time shared equally by all that are being checked while it passes (`docs/spec/fairness.md`).
//!
//! A counter says what each that was there from the beginning would owe; whoever comes notes it, and owes the difference when
//! it goes. So each step is one addition, however many there are. What all owe together is the time in which there was one.

use std::num::NonZeroU64;

use weir_base::Instant;
use weir_base::time::nanos;

/// The time that passes while something is checked. Times are taken in ascending order; an earlier one counts as the last.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    /// Nanoseconds that each owes that was there from the beginning.
    each: u64,
    /// Nanoseconds that could not be shared equally yet: fewer than there were to share them.
    rest: u64,
    among: u64,
    until: Instant,
    /// Since when something waits to be checked or is, without a break.
    waits: Option<Instant>,
    /// Nanoseconds in which something waited, and nothing was checked.
    unused: u64,
}

/// Nanoseconds that are worth telling as unused.
const UNUSED: u64 = 1_000_000;

/// When something began to be checked, as the meter counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begun(u64);

impl Meter {
    /// Something waits to be checked, since now if nothing did.
    pub(crate) fn waits(&mut self, now: Instant) {
        self.waits.get_or_insert(now);
    }

    /// Nothing waits or is checked.
    pub(crate) fn rests(&mut self) {
        self.waits = None;
    }

    /// Time in which something waited and nothing was checked, because the application or the node had something else to do, or the system let
    /// other programs run. Once it is a millisecond.
    pub(crate) fn take_unused(&mut self) -> Option<u64> {
        (self.unused >= UNUSED).then(|| std::mem::take(&mut self.unused))
    }

    /// One more is being checked from `at` on.
    pub(crate) fn begin(&mut self, at: Instant) -> Begun {
        if let (0, Some(since)) = (self.among, self.waits) {
            self.unused = self.unused.saturating_add(nanos(at.since(since.max(self.until))));
        }
        self.share(at);
        self.among += 1;
        Begun(self.each)
    }

    /// It is not checked any more: the nanoseconds that it owes.
    pub(crate) fn end(&mut self, at: Instant, begun: Begun) -> u64 {
        self.share(at);
        self.among = self.among.saturating_sub(1);
        self.each - begun.0
    }

    fn share(&mut self, at: Instant) {
        let passed = nanos(at.since(self.until));
        self.until = self.until.max(at);
        if let Some(among) = NonZeroU64::new(self.among) {
            let time = self.rest + passed;
            self.each += time / among;
            self.rest = time % among;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use weir_base::Rng;

    use super::*;

    #[test]
    fn those_that_end_together_owe_equal_parts_of_their_time() {
        let mut meter = Meter::default();
        let begun: Vec<_> = (0..4).map(|_| meter.begin(Instant::from_millis(5))).collect();
        let owed: Vec<_> =
            begun.into_iter().map(|begun| meter.end(Instant::from_millis(13), begun)).collect();
        assert_eq!(owed, [2_000_000; 4]);
    }

    #[test]
    fn what_passes_while_another_is_checked_too_is_halved() {
        let mut meter = Meter::default();
        let first = meter.begin(Instant::from_millis(0));
        let second = meter.begin(Instant::from_millis(10));
        assert_eq!(meter.end(Instant::from_millis(30), first), 20_000_000);
        assert_eq!(meter.end(Instant::from_millis(31), second), 11_000_000);
    }

    #[test]
    fn one_that_is_heard_of_late_is_counted_from_then_on() {
        let mut meter = Meter::default();
        let first = meter.begin(Instant::from_millis(0));
        assert_eq!(meter.end(Instant::from_millis(10), first), 10_000_000);
        let late = meter.begin(Instant::from_millis(4));
        assert_eq!(meter.end(Instant::from_millis(11), late), 1_000_000);
    }

    #[test]
    fn time_in_which_something_waited_and_nothing_was_checked_is_unused() {
        let ms = Instant::from_millis;
        let mut meter = Meter::default();
        let first = meter.begin(ms(5));
        assert_eq!(meter.take_unused(), None, "nothing waited");
        meter.waits(ms(6));
        let second = meter.begin(ms(7));
        meter.end(ms(8), first);
        meter.end(ms(9), second);
        let third = meter.begin(ms(9) + Duration::from_micros(999));
        assert_eq!(meter.take_unused(), None, "less than a millisecond");
        meter.end(ms(20), third);
        meter.waits(ms(21)); // as before
        let fourth = meter.begin(ms(22));
        assert_eq!(meter.take_unused(), Some(2_999_000));
        assert_eq!(meter.take_unused(), None);
        meter.end(ms(23), fourth);
        meter.rests();
        meter.waits(ms(40));
        meter.begin(ms(42));
        assert_eq!(meter.take_unused(), Some(2_000_000), "before that nothing waited");
    }

    #[test]
    fn all_together_owe_the_time_in_which_there_was_one() {
        let mut rng = Rng::from_number(5);
        let (mut meter, mut open, mut now) = (Meter::default(), Vec::new(), Instant::ZERO);
        let (mut busy, mut owed) = (0, 0);
        for step in 0..20_000 {
            let passed = rng.below(1_000);
            now = now + Duration::from_nanos(passed);
            busy += if open.is_empty() { 0 } else { passed };
            if open.is_empty() || (step < 19_000 && rng.chance(1, 2)) {
                open.push(meter.begin(now));
            } else {
                let begun = open.swap_remove(rng.index(open.len()));
                owed += meter.end(now, begun);
            }
        }
        for begun in open {
            owed += meter.end(now, begun);
        }
        assert!(busy > 1_000_000 && owed + meter.rest == busy, "{owed} and {} of {busy}", meter.rest);
        assert!(meter.rest < 1_000, "less than a nanosecond for each");
    }
}
