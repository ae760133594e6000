//! One node-wide ledger of credit, and who waits for it. `docs/spec/links.md`, "Windows".

use weir_base::{LinkId, Ready};

use crate::stats::BudgetStats;

/// Credit of all links: `reserved + lent <= total`, always.
///
/// Base windows are reserved from the start. What is lent on top counts as used until it is spent; it is handed out first
/// come, first served, so that a link that waits is never overtaken.
#[derive(Debug)]
pub(crate) struct Budget {
    total: u64,
    reserved: u64,
    lent: u64,
    waiting: Ready<LinkId>,
}

impl Budget {
    /// `reserved` is at most `total`; the configuration was checked.
    pub(crate) fn new(total: u64, reserved: u64) -> Self {
        Self { total, reserved, lent: 0, waiting: Ready::default() }
    }

    /// What can still be lent.
    pub(crate) fn available(&self) -> u64 {
        self.total.saturating_sub(self.reserved).saturating_sub(self.lent)
    }

    /// Lends up to `want` to `link`; where that is not all, the link waits at the end of the queue.
    /// Nothing is lent while others wait, unless it is this link's turn.
    pub(crate) fn lend(&mut self, link: LinkId, want: u64, turn: bool) -> u64 {
        let others_wait = !self.waiting.is_empty() && !turn;
        let lent = if others_wait { 0 } else { want.min(self.available()) };
        self.lent += lent;
        if lent < want {
            self.waiting.mark(link);
        }
        lent
    }

    /// Lends what is there of `want`, to one who does not wait for the rest.
    pub(crate) fn take(&mut self, want: u64) -> u64 {
        let lent = want.min(self.available());
        self.lent += lent;
        lent
    }

    /// Takes spent credit back.
    pub(crate) fn give_back(&mut self, credit: u64) {
        debug_assert!(credit <= self.lent, "more credit came back than was lent");
        self.lent = self.lent.saturating_sub(credit);
    }

    /// The link that waits longest, if something can be lent; it is no longer waiting.
    pub(crate) fn next_waiting(&mut self) -> Option<LinkId> {
        if self.available() == 0 {
            return None;
        }
        self.waiting.pop()
    }

    /// `link` wants nothing more.
    pub(crate) fn forget(&mut self, link: LinkId) {
        self.waiting.remove(link);
    }

    /// Whether any link waits.
    pub(crate) fn is_short(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The counters.
    pub(crate) fn stats(&self) -> BudgetStats {
        let waiting = u64::try_from(self.waiting.len()).unwrap_or(u64::MAX);
        BudgetStats { total: self.total, reserved: self.reserved, lent: self.lent, waiting }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_waits_is_not_overtaken() {
        let (first, second) = (LinkId(1), LinkId(2));
        let mut budget = Budget::new(100, 40);
        assert_eq!(budget.lend(first, 100, false), 60);
        assert!(budget.is_short());
        budget.give_back(30);
        assert_eq!(budget.lend(second, 10, false), 0, "the first waits already");
        assert_eq!(budget.next_waiting(), Some(first));
        assert_eq!(budget.lend(first, 20, true), 20);
        assert_eq!(budget.next_waiting(), Some(second));
        assert_eq!(budget.lend(second, 10, true), 10);
        assert_eq!(budget.next_waiting(), None);
        let stats = budget.stats();
        assert_eq!((stats.total, stats.reserved + stats.lent, stats.waiting), (100, 100, 0));
    }

    #[test]
    fn a_link_that_wants_nothing_more_waits_no_more() {
        let mut budget = Budget::new(100, 100);
        assert_eq!(budget.lend(LinkId(1), 1, false), 0);
        budget.forget(LinkId(1));
        assert!(!budget.is_short());
    }
}
