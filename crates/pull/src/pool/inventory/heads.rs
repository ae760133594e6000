//! Where the log's head was of late: what a link is offered ends where the head was when the link's clock last struck
//! (`docs/spec/pool.md`, "Offer delay").
//!
//! Time passes in steps, and clocks strike between two of them. So one list of heads, of as many steps as clocks have phases,
//! serves all links.

use std::collections::VecDeque;
use std::time::Duration;

use weir_base::Instant;
use weir_base::time::nanos;

/// Steps from one strike of a clock to the next: its period is twice the offer delay.
const STEPS: u64 = 64;

/// When a clock strikes: a step of the period. All links of a peer have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Phase(u64);

/// The heads of the last period.
#[derive(Debug)]
pub(crate) struct Heads {
    step: u64,                    // nanoseconds; 0 where nothing is delayed
    before: VecDeque<(u64, u64)>, // steps in which something was appended, ascending, and the head before: <= STEPS + 1
}

impl Heads {
    /// For items that wait so long on average.
    pub(crate) fn new(delay: Duration) -> Self {
        Self { step: 2 * nanos(delay) / STEPS, before: VecDeque::new() }
    }

    /// The phase that a number stands for: of 64, each as likely as the others.
    pub(crate) const fn phase(number: u64) -> Phase {
        Phase(number % STEPS)
    }

    /// An item is appended, where the head was `head`.
    pub(crate) fn note(&mut self, now: Instant, head: u64) {
        let Some(step) = now.as_nanos().checked_div(self.step) else { return };
        while self.before.front().is_some_and(|(earlier, _)| earlier + STEPS < step) {
            self.before.pop_front();
        }
        if self.before.back().is_none_or(|(last, _)| *last < step) {
            self.before.push_back((step, head));
        }
    }

    /// Where the head was when a clock of this phase last struck; `head` is where it is.
    pub(crate) fn struck(&self, now: Instant, phase: Phase, head: u64) -> u64 {
        let Some(step) = now.as_nanos().checked_div(self.step) else { return head };
        let strike = step.saturating_sub(since(step, phase));
        let at = self.before.partition_point(|(appended, _)| *appended < strike);
        self.before.get(at).map_or(head, |(_, before)| *before)
    }

    /// How long until a clock of this phase strikes.
    pub(crate) fn until_strike(&self, now: Instant, phase: Phase) -> Duration {
        let Some(step) = now.as_nanos().checked_div(self.step) else { return Duration::ZERO };
        let strike = (step + STEPS - since(step, phase)).saturating_mul(self.step);
        Duration::from_nanos(strike.saturating_sub(now.as_nanos()))
    }
}

/// Steps since the last strike.
const fn since(step: u64, phase: Phase) -> u64 {
    (step + STEPS - phase.0) % STEPS
}

#[cfg(test)]
mod tests {
    use weir_base::Rng;

    use super::*;

    #[test]
    fn the_head_at_the_last_strike_of_any_phase_is_known() {
        let mut rng = Rng::from_number(3);
        let mut heads = Heads::new(Duration::from_micros(32)); // a step is a microsecond
        let (mut appended, mut now) = (Vec::new(), Instant::from_millis(1));
        for _ in 0..5_000 {
            now = now + Duration::from_nanos(rng.below(9_000));
            heads.note(now, appended.len() as u64);
            appended.push(now);
            assert!(heads.before.len() <= 65);
            let phase = Heads::phase(rng.below(1_000));
            let later = now + Duration::from_nanos(rng.below(100_000));
            let strike = later + heads.until_strike(later, phase);
            let last = Instant::from_nanos(strike.as_nanos() - 64_000);
            assert!(last <= later && later < strike);
            assert_eq!(last.as_nanos() / 1_000 % 64, phase.0);
            let head = appended.iter().filter(|at| **at < last).count() as u64;
            assert_eq!(heads.struck(later, phase, appended.len() as u64), head);
        }
    }

    #[test]
    fn without_a_delay_the_head_is_where_it_is() {
        let mut heads = Heads::new(Duration::ZERO);
        heads.note(Instant::from_millis(1), 0);
        assert_eq!(heads.struck(Instant::from_millis(1), Phase(5), 1), 1);
    }
}
