//! Whether a run gets anywhere. Blocks are progress, and at the end what still waits for one; submissions are not.

use std::time::Duration;

/// No progress for so long, beyond the time in which a block is due, ends the run.
const STALL: Duration = Duration::from_secs(30);

/// What a run has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reached {
    /// The highest block.
    pub(crate) height: u64,
    /// The block that all running nodes have.
    pub(crate) lowest: u64,
    /// Transactions that wait for a block, over all nodes.
    pub(crate) waiting: usize,
    /// Whether load and blocks are done, and only what waits is left.
    pub(crate) ending: bool,
}

/// The best so far, and when it was reached.
#[derive(Debug)]
pub(crate) struct Progress {
    height: u64,
    lowest: u64,
    waiting: Option<usize>, // the least since the end began
    at: Duration,
    limit: Duration,
}

impl Progress {
    /// For a chain with a block in each `interval`.
    pub(crate) fn new(interval: Duration) -> Self {
        Self { height: 0, lowest: 0, waiting: None, at: Duration::ZERO, limit: STALL + interval }
    }

    /// Takes what is reached now; true where nothing was for too long.
    pub(crate) fn stalled(&mut self, now: Duration, reached: Reached) -> bool {
        let further = if reached.ending {
            // Blocks without the transactions that wait are none.
            let first = self.waiting.is_none();
            let less = self.waiting.is_some_and(|least| reached.waiting < least);
            self.waiting = Some(self.waiting.map_or(reached.waiting, |least| least.min(reached.waiting)));
            let agreeing = reached.waiting == 0 && reached.lowest > self.lowest;
            first || less || agreeing
        } else {
            reached.height > self.height || reached.lowest > self.lowest
        };
        if further {
            self.at = now;
        }
        self.height = self.height.max(reached.height);
        self.lowest = self.lowest.max(reached.lowest);
        now.saturating_sub(self.at) > self.limit
    }

    /// How long nothing was reached.
    pub(crate) fn limit(&self) -> Duration {
        self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    const fn reached(height: u64, waiting: usize, ending: bool) -> Reached {
        Reached { height, lowest: height, waiting, ending }
    }

    #[test]
    fn a_slow_chain_has_its_interval_and_thirty_seconds() {
        let mut progress = Progress::new(secs(40));
        assert!(!progress.stalled(secs(70), reached(0, 0, false)));
        assert!(progress.stalled(secs(71), reached(0, 0, false)));
        let mut progress = Progress::new(secs(40));
        assert!(!progress.stalled(secs(41), reached(1, 0, false)));
        assert!(!progress.stalled(secs(111), reached(1, 0, false)));
    }

    #[test]
    fn submissions_are_no_progress() {
        let mut progress = Progress::new(secs(1));
        for (at, submitted) in (0..=31).zip((0..).step_by(100)) {
            assert!(!progress.stalled(secs(at), reached(0, submitted, false)));
        }
        assert!(progress.stalled(secs(32), reached(0, 3_200, false)));
    }

    #[test]
    fn empty_blocks_while_transactions_wait_are_none() {
        let mut progress = Progress::new(secs(1));
        assert!(!progress.stalled(secs(20), reached(20, 7, true)));
        assert!(!progress.stalled(secs(30), reached(30, 6, true)));
        assert!(!progress.stalled(secs(61), reached(61, 6, true)));
        assert!(progress.stalled(secs(62), reached(62, 6, true)));
    }

    #[test]
    fn a_node_that_catches_up_is_progress() {
        let mut progress = Progress::new(secs(1));
        for at in 0..100 {
            assert!(
                !progress.stalled(secs(at), Reached { height: 5, lowest: at, waiting: 0, ending: at > 50 })
            );
        }
    }
}
