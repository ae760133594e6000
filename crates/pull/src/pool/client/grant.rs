//! The receiver's side of a permit: what a peer may offer, and when to tell it more.

use std::time::Duration;

use weir_base::Instant;

use crate::pool::codec::{MAX_ENTRY, MAX_OFFER_HEAD};

/// Bytes of offers granted per entry of the window.
const BYTES_PER_ENTRY: u64 = 32;

/// One link's permit, as its grantor keeps it. Totals are absolute since the stream opened; `used` is at most granted.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    entries: u64,
    bytes: u64,
    used: u64,
    used_bytes: u64,
    charged: u64, // undecided candidates charged to this peer
    gone: u64,    // candidates charged to it that turned out to be gone, until they no longer count
    window: u64,
    useful: u64,             // entries that became candidates charged to it
    renewed: (Instant, u64), // when, and `useful` then
    rate: u64,               // of those, per second
}

/// Whether a new permit should go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Renew {
    /// Nothing worth telling.
    No,
    /// Within a round trip: the sender has nothing left.
    Soon,
    /// At once.
    Now,
}

impl Grant {
    /// Nothing granted; the window is what the configuration begins with.
    pub(crate) fn new(window: u32) -> Self {
        Self {
            entries: 0,
            bytes: 0,
            used: 0,
            used_bytes: 0,
            charged: 0,
            gone: 0,
            useful: 0,
            window: u64::from(window),
            renewed: (Instant::ZERO, 0),
            rate: 0,
        }
    }

    /// Entries granted and not received.
    pub(crate) const fn open(&self) -> u64 {
        self.entries - self.used
    }

    /// Entries granted that have not returned: open, charged, or gone of late.
    pub(crate) const fn outstanding(&self) -> u64 {
        self.open() + self.charged + self.gone
    }

    /// Undecided candidates charged to this peer.
    pub(crate) const fn charged(&self) -> u64 {
        self.charged
    }

    /// Bytes of offers that may still come.
    pub(crate) const fn open_bytes(&self) -> u64 {
        self.bytes - self.used_bytes
    }

    /// Granted and received, entries and bytes.
    pub(crate) const fn totals(&self) -> (u64, u64, u64, u64) {
        (self.entries, self.used, self.bytes, self.used_bytes)
    }

    /// An offer came. `false` where that is more than was granted: the sender's fault.
    pub(crate) const fn take(&mut self, entries: u64, bytes: u64) -> bool {
        if entries > self.open() || bytes > self.open_bytes() {
            return false;
        }
        self.used += entries;
        self.used_bytes += bytes;
        true
    }

    /// A candidate is charged to this peer.
    pub(crate) const fn charge(&mut self) {
        self.charged += 1;
        self.useful += 1;
    }

    /// A candidate charged to it is gone at it: that counts for a while as if it were charged. Who offers what it has not got
    /// offers no more than its window in that time.
    pub(crate) const fn count_gone(&mut self) {
        self.gone += 1;
    }

    /// Candidates that were gone and still count.
    pub(crate) const fn gone(&self) -> u64 {
        self.gone
    }

    /// What was gone counts no more. How many there were.
    pub(crate) const fn forget_gone(&mut self) -> u64 {
        std::mem::replace(&mut self.gone, 0)
    }

    /// A candidate charged to it is decided.
    pub(crate) const fn give_back(&mut self) {
        self.charged = self.charged.saturating_sub(1);
    }

    /// Entries that could be granted now, with `extra` entries counted as if they were charged.
    fn can_give(&self, extra: u64) -> u64 {
        (self.used + self.window.saturating_sub(self.charged + self.gone + extra))
            .saturating_sub(self.entries)
    }

    fn can_give_bytes(&self) -> u64 {
        (self.used_bytes + self.window * BYTES_PER_ENTRY).saturating_sub(self.bytes)
    }

    /// Whether a new permit should go out.
    pub(crate) fn renew(&self, extra: u64) -> Renew {
        let (entries, bytes) = (self.can_give(extra), self.can_give_bytes());
        let few_bytes = self.open_bytes() < (MAX_ENTRY + MAX_OFFER_HEAD) as u64;
        if entries * 2 >= self.window
            || (bytes * 2 >= self.window * BYTES_PER_ENTRY && self.open() + entries > 0)
        {
            return Renew::Now;
        }
        if (self.open() == 0 && entries > 0) || (few_bytes && bytes > 0 && self.open() + entries > 0) {
            return Renew::Soon;
        }
        Renew::No
    }

    /// Sets the window: what the rate of offers of new items needs for `cycle` (two round trips and a verdict), between `least` and `most`.
    pub(crate) fn adapt(&mut self, now: Instant, cycle: Duration, least: u64, most: u64) {
        let (since, useful) = self.renewed;
        let elapsed = now.since(since).as_nanos().max(1_000_000);
        let rate = u128::from(self.useful - useful) * 1_000_000_000 / elapsed;
        self.rate = u64::try_from(rate).unwrap_or(u64::MAX).max(self.rate / 8 * 7);
        let needed = u128::from(self.rate) * cycle.as_nanos() / 1_000_000_000;
        self.window = u64::try_from(needed).unwrap_or(u64::MAX).clamp(least.min(most).max(1), most.max(1));
        self.renewed = (now, self.useful);
    }

    /// Grants what the window allows, at most `spare` entries; returns the new totals.
    pub(crate) fn give(&mut self, extra: u64, spare: u64) -> (u64, u64) {
        self.entries += self.can_give(extra).min(spare);
        self.bytes += self.can_give_bytes();
        (self.entries, self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credit_returns_with_decisions_and_is_told_when_half_can_be_given() {
        let mut grant = Grant::new(8);
        assert_eq!(grant.renew(0), Renew::Now);
        assert_eq!(grant.give(0, u64::MAX), (8, 256));
        assert_eq!(grant.renew(0), Renew::No);
        assert!(grant.take(8, 100));
        assert!(!grant.take(1, 1));
        (0..8).for_each(|_| grant.charge());
        assert_eq!(grant.renew(0), Renew::No);
        grant.give_back();
        assert_eq!(grant.renew(0), Renew::Soon);
        (0..3).for_each(|_| grant.give_back());
        assert_eq!(grant.renew(0), Renew::Now);
        assert_eq!(grant.renew(4), Renew::No);
        assert_eq!(grant.give(0, 3), (11, 356));
        assert_eq!(grant.outstanding(), 7);
    }

    #[test]
    fn what_was_gone_counts_until_it_is_forgotten() {
        let mut grant = Grant::new(8);
        grant.give(0, u64::MAX);
        assert!(grant.take(8, 80));
        (0..8).for_each(|_| grant.charge());
        for _ in 0..8 {
            grant.count_gone();
            grant.give_back();
        }
        assert_eq!((grant.renew(0), grant.outstanding()), (Renew::No, 8));
        assert_eq!((grant.forget_gone(), grant.outstanding(), grant.renew(0)), (8, 0, Renew::Now));
    }

    #[test]
    fn bytes_return_as_they_are_read() {
        let mut grant = Grant::new(8);
        grant.give(0, u64::MAX);
        assert!(!grant.take(1, 257));
        assert!(grant.take(1, 130));
        assert_eq!(grant.renew(0), Renew::Now);
    }

    #[test]
    fn the_window_grows_with_the_rate_and_keeps_its_bounds() {
        let mut grant = Grant::new(256);
        grant.give(0, u64::MAX);
        assert!(grant.take(200, 2_000));
        grant.adapt(Instant::from_millis(50), Duration::from_millis(400), 256, 4_096);
        assert_eq!(grant.window, 256, "entries that bring nothing do not count");
        (0..100).for_each(|_| grant.charge());
        grant.adapt(Instant::from_millis(100), Duration::from_millis(400), 256, 4_096);
        assert_eq!(grant.window, 800);
        grant.adapt(Instant::from_millis(200), Duration::from_secs(100), 256, 4_096);
        assert_eq!(grant.window, 4_096);
        grant.adapt(Instant::from_millis(300), Duration::from_millis(1), 256, 100);
        assert_eq!(grant.window, 100);
    }

    /// A small window: half of its bytes is more than what counts as few.
    fn after_one_entry(bytes: u64) -> Grant {
        let mut grant = Grant::new(4);
        assert_eq!(grant.give(0, u64::MAX), (4, 128));
        assert!(grant.take(1, bytes));
        grant
    }

    #[test]
    fn a_permit_is_renewed_soon_where_less_than_the_largest_entry_fits() {
        assert_eq!(after_one_entry(49).renew(0), Renew::No, "79 bytes are left");
        assert_eq!(after_one_entry(50).renew(0), Renew::Soon);
    }

    #[test]
    fn bytes_alone_are_worth_no_permit() {
        let mut grant = after_one_entry(20);
        assert!(grant.take(3, 30));
        (0..4).for_each(|_| grant.charge());
        assert_eq!(grant.renew(0), Renew::No, "few bytes are left");
        let mut grant = after_one_entry(20);
        assert!(grant.take(3, 60));
        (0..4).for_each(|_| grant.charge());
        assert_eq!(grant.renew(0), Renew::No, "half can be given");
    }

    #[test]
    fn all_that_was_granted_may_come_and_a_rate_fades_by_an_eighth() {
        let mut grant = Grant::new(8);
        grant.give(0, u64::MAX);
        assert!(grant.take(8, 256) && !grant.take(0, 1));
        assert_eq!((grant.open(), grant.open_bytes()), (0, 0));
        (0..8).for_each(|_| grant.charge());
        grant.count_gone();
        assert_eq!((grant.gone(), grant.charged(), grant.outstanding()), (1, 8, 9));
        grant.adapt(Instant::from_millis(1_000), Duration::from_secs(1), 1, 1_000);
        assert_eq!((grant.rate, grant.window), (8, 8));
        grant.rate = 800;
        grant.adapt(Instant::from_millis(2_000), Duration::from_secs(1), 1, 1_000);
        assert_eq!((grant.rate, grant.window), (700, 700));
    }

    #[test]
    fn where_few_bytes_are_left_what_is_open_or_can_be_given_makes_a_permit_due_soon() {
        let mut grant = Grant::new(2);
        grant.give(0, u64::MAX);
        assert!(grant.take(1, 20));
        grant.charge();
        assert_eq!(
            (grant.open(), grant.renew(0)),
            (1, Renew::Soon),
            "no entry can be given, and one is open"
        );
        let mut grant = Grant::new(3);
        grant.give(0, u64::MAX);
        assert!(grant.take(2, 40));
        grant.charge();
        assert_eq!((grant.open(), grant.can_give(0), grant.renew(0)), (1, 1, Renew::Soon));
    }
}
