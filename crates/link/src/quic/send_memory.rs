//! How much of what was written QUIC may hold until the peer has acknowledged it: a base, and what the node lends.

use std::time::Duration;

use weir_base::Instant;

use crate::BudgetConfig;
use crate::carrier::SendDemand;

/// Lent send memory goes back after so long without a write.
const SEND_IDLE: Duration = Duration::from_secs(1);

/// The send window of one link.
#[derive(Debug)]
pub(super) struct SendMemory {
    base: u64,
    max: u64,
    window: u64, // >= base; the rest is lent
    wrote: Instant,
}

impl SendMemory {
    pub(super) fn new(config: &BudgetConfig) -> Self {
        Self { base: config.base_send, max: config.max_send, window: config.base_send, wrote: Instant::ZERO }
    }

    /// What QUIC may hold, in bytes.
    pub(super) fn window(&self) -> u64 {
        self.window
    }

    /// What of it is lent, in bytes.
    pub(super) fn lent(&self) -> u64 {
        self.window.saturating_sub(self.base)
    }

    /// About two congestion windows while a writer waits, back to the base when nobody writes.
    pub(super) fn demand(
        &mut self,
        now: Instant,
        writer_waits: bool,
        congestion_window: impl FnOnce() -> u64,
    ) -> SendDemand {
        let window = self.window;
        if writer_waits {
            self.wrote = now;
            let want = congestion_window().saturating_mul(2).min(self.max);
            // In steps of an eighth: a larger window is worth a change, a few bytes are not.
            if want > window + window / 8 {
                return SendDemand { more: want - window, back: 0 };
            }
        } else if window > self.base && now.since(self.wrote) >= SEND_IDLE {
            self.window = self.base;
            return SendDemand { more: 0, back: window - self.base };
        }
        SendDemand::default()
    }

    /// So much more is lent.
    pub(super) fn lend(&mut self, bytes: u64) {
        self.window += bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory() -> SendMemory {
        SendMemory::new(&BudgetConfig { base_send: 8_000, max_send: 50_000, ..BudgetConfig::default() })
    }

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    #[test]
    fn a_waiting_writer_wants_two_congestion_windows_in_steps_of_an_eighth() {
        let mut memory = memory();
        let mut more = |congestion| memory.demand(at(1), true, || congestion).more;
        assert_eq!((more(4_500), more(4_501), more(10_000), more(1 << 40)), (0, 1_002, 12_000, 42_000));
        memory.lend(12_000);
        assert_eq!((memory.window(), memory.lent()), (20_000, 12_000));
        assert_eq!(memory.demand(at(1), true, || 11_000).more, 0);
    }

    #[test]
    fn what_is_lent_goes_back_a_second_after_the_last_write() {
        let mut memory = memory();
        memory.lend(1_000);
        let _ = memory.demand(at(500), true, || 0);
        assert_eq!(memory.demand(at(1_499), false, || 0), SendDemand::default());
        assert_eq!(memory.demand(at(1_500), false, || 0), SendDemand { more: 0, back: 1_000 });
        assert_eq!((memory.window(), memory.lent()), (8_000, 0));
        assert_eq!(
            memory.demand(at(9_000), false, || 0),
            SendDemand::default(),
            "there is nothing to give back"
        );
    }
}
