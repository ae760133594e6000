//! How long the checker takes, measured at one call in sixteen: to look at a clock takes a while itself.

use std::time::{Duration, Instant};

/// Of so many calls one is measured.
const ONE_IN: u32 = 16;

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stopwatch {
    calls: u32,
    spent: Duration,
}

impl Stopwatch {
    /// Does something of the checker's.
    pub(crate) fn time<R>(&mut self, act: impl FnOnce() -> R) -> R {
        self.calls = (self.calls + 1) % ONE_IN;
        if self.calls != 0 {
            return act();
        }
        let begun = Instant::now();
        let done = act();
        self.spent += begun.elapsed() * ONE_IN;
        done
    }

    /// What all calls took, as far as those measured tell.
    pub(crate) const fn spent(&self) -> Duration {
        self.spent
    }
}
