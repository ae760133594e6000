//! When transactions are submitted: one each time it is due, whether or not those before were in time.

use std::time::Duration;

use weir_chain::Transfer;

use super::load::Load;
use crate::error::Failure;

/// A rate that was reached to less than this part is reported: the machine, or the network, could not keep up.
const REACHED: f64 = 0.95;

/// The load over time.
pub(crate) struct Feed {
    load: Load,
    rate: u32,
    begun: Option<Duration>,
    accepted: usize,
    last: Duration,
    over: bool,
}

impl Feed {
    /// `rate` transactions a second; 0 for none.
    pub(crate) fn new(load: Load, rate: u32) -> Self {
        Self { load, rate, begun: None, accepted: 0, last: Duration::ZERO, over: rate == 0 }
    }

    /// Whether nothing more will be submitted.
    pub(crate) fn over(&self) -> bool {
        self.over
    }

    /// Ends a load that has no end of its own.
    pub(crate) fn stop_endless(&mut self) {
        if self.load.left().is_none() {
            self.over = true;
        }
    }

    /// Lines of the file that are left; `None` where there is no file.
    pub(crate) fn left(&self) -> Option<usize> {
        self.load.left()
    }

    /// The next transfer if it is due, with the time at which it was and the set of accounts it belongs to.
    pub(crate) fn next(
        &mut self,
        now: Duration,
        sets: &[usize],
    ) -> Result<Option<(Duration, usize, Transfer)>, Failure> {
        if self.over {
            return Ok(None);
        }
        let begun = *self.begun.get_or_insert(now);
        let due = begun + self.offset(self.accepted);
        if due > now {
            return Ok(None);
        }
        let next = self.load.next(sets)?;
        self.over = next.is_none();
        Ok(next.map(|(set, transfer)| (due, set, transfer)))
    }

    /// The transfer that was due was accepted by its node.
    pub(crate) fn accepted(&mut self, at: Duration) {
        self.accepted += 1;
        self.last = at;
    }

    /// Transactions a second that nodes accepted, from when the first was due until the last was accepted and its turn was
    /// over. `None` below two.
    pub(crate) fn reached(&self) -> Option<f64> {
        let begun = self.begun?;
        if self.accepted < 2 {
            return None;
        }
        let planned = self.offset(self.accepted);
        let took = (self.last.saturating_sub(begun)).max(planned);
        #[allow(clippy::cast_precision_loss)] // transactions of a run, far below 2^52
        Some(self.accepted as f64 / took.as_secs_f64())
    }

    /// What to tell a user whose rate was not met.
    pub(crate) fn shortfall(&self) -> Option<String> {
        let reached = self.reached()?;
        (reached < f64::from(self.rate) * REACHED)
            .then(|| format!("--rate {}: {reached:.0} transactions a second were reached", self.rate))
    }

    fn offset(&self, index: usize) -> Duration {
        let nanos = (index as u128).saturating_mul(1_000_000_000) / u128::from(self.rate.max(1));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devnet::source::Source;
    use weir_sim::Rng;

    fn feed(rate: u32) -> Feed {
        let (keys, _) = Load::balances(1, &mut Rng::from_number(1));
        Feed::new(Load::new(Source::Made, [7; 32], keys, Rng::from_number(2)), rate)
    }

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Takes all that is due at `now`, each accepted `late` after; returns when they were due.
    fn take(feed: &mut Feed, now: Duration, late: Duration) -> Vec<Duration> {
        let mut due = Vec::new();
        while let Some((at, _, _)) = feed.next(now, &[0]).unwrap() {
            due.push(at);
            feed.accepted(now + late);
        }
        due
    }

    #[test]
    fn what_is_late_keeps_the_time_it_was_due_at() {
        let mut feed = feed(100);
        assert_eq!(take(&mut feed, ms(500), ms(0)), [ms(500)]);
        assert_eq!(take(&mut feed, ms(535), ms(0)), [ms(510), ms(520), ms(530)]);
        assert!(take(&mut feed, ms(535), ms(0)).is_empty());
    }

    #[test]
    fn a_rate_that_is_met_is_no_shortfall_and_one_that_is_not_is() {
        let mut met = feed(100);
        for tick in 0..200 {
            take(&mut met, ms(tick * 5), ms(1));
        }
        assert!((99.0..101.0).contains(&met.reached().unwrap()), "{:?}", met.reached());
        assert_eq!(met.shortfall(), None);
        let mut missed = feed(100);
        for tick in 0..100 {
            missed.next(ms(tick * 20), &[0]).unwrap();
            missed.accepted(ms(tick * 20 + 19));
        }
        assert!(missed.shortfall().unwrap().contains("50"), "{:?}", missed.shortfall());
    }

    #[test]
    fn no_rate_is_no_load() {
        let mut none = feed(0);
        assert!(none.over() && take(&mut none, ms(9_000), ms(0)).is_empty());
        assert_eq!((none.reached(), none.shortfall()), (None, None));
    }
}
