//! Which node has which transaction, since when: the pairs of a load.

use weir_base::Instant;

use crate::id::NodeId;

/// One transaction on its way.
#[derive(Clone, Copy, Debug)]
struct Tx {
    origin: NodeId,
    submitted: Option<Instant>, // none where it was not yet due, or its origin did not run or refused it
}

/// The latency of a pair that is not yet.
const NEVER: u32 = u32::MAX;

/// See the module. Four bytes a pair: networks of thousands of nodes have tens of millions.
#[derive(Debug, Default)]
pub(crate) struct Deliveries {
    txs: Vec<Tx>,
    micros: Vec<Vec<u32>>, // by node and transaction; NEVER where the node has it not, at its origin 0
    pairs: u64,            // that are
    due: u32,              // transactions whose time has come
    submitted: u32,        // of these
    checked: u64,          // pairs at nodes that are checked
}

impl Deliveries {
    /// None yet, of transactions that these nodes are to submit, to so many nodes.
    pub(crate) fn new(origins: impl Iterator<Item = NodeId>, nodes: usize) -> Self {
        let txs: Vec<Tx> = origins.map(|origin| Tx { origin, submitted: None }).collect();
        let micros = vec![vec![NEVER; txs.len()]; nodes];
        Self { txs, micros, ..Self::default() }
    }

    /// All transactions, due or not.
    pub(crate) fn numbers(&self) -> std::ops::Range<u32> {
        0..u32::try_from(self.txs.len()).unwrap_or(u32::MAX)
    }

    pub(crate) fn origin(&self, number: u32) -> Option<NodeId> {
        self.txs.get(number as usize).map(|tx| tx.origin)
    }

    /// Transactions that were submitted, and not lost with the only node that had them.
    pub(crate) const fn submitted(&self) -> u32 {
        self.submitted
    }

    /// Pairs at nodes that are checked.
    pub(crate) const fn checked(&self) -> u64 {
        self.checked
    }

    /// A transaction's time came: it counts where its origin runs and its pool took it, `at` that time.
    pub(crate) fn was_due(&mut self, origin: NodeId, number: u32, at: Option<Instant>) {
        self.due += 1;
        let Some(tx) = self.txs.get_mut(number as usize).filter(|_| at.is_some()) else { return };
        tx.submitted = at;
        self.submitted += 1;
        self.set(origin, number, 0);
    }

    /// A node's application accepted a transaction; `checked` pairs it is at a node that is checked.
    pub(crate) fn accepted(&mut self, id: NodeId, now: Instant, number: u32, checked: u64) {
        let Some(Tx { submitted: Some(submitted), origin }) = self.txs.get(number as usize).copied() else {
            return;
        };
        let micros = u32::try_from(now.since(submitted).as_micros()).unwrap_or(NEVER).min(NEVER - 1);
        if self.set(id, number, micros) && origin != id {
            self.pairs += 1; // an origin that crashed gets it back, but is no pair
            self.checked += checked;
        }
    }

    /// A node lost all it had: it is to get everything once more, but for what no other node had yet.
    pub(crate) fn lost(&mut self, id: NodeId) {
        for number in self.numbers() {
            if !self.has(id, number) {
                continue;
            }
            let own = self.origin(number) == Some(id);
            self.pairs -= u64::from(!own);
            self.clear(id, number);
            let at = number as usize;
            let elsewhere =
                self.micros.iter().any(|micros| micros.get(at).is_some_and(|micros| *micros != NEVER));
            if !elsewhere && let Some(tx) = self.txs.get_mut(at) {
                tx.submitted = None;
                self.submitted -= 1;
            }
        }
    }

    pub(crate) fn has(&self, id: NodeId, number: u32) -> bool {
        self.micros_of(id, number) != NEVER
    }

    fn micros_of(&self, id: NodeId, number: u32) -> u32 {
        let micros = self.micros.get(id.0 as usize).and_then(|micros| micros.get(number as usize));
        micros.copied().unwrap_or(NEVER)
    }

    /// Whether a node is still to get it.
    pub(crate) fn lacks(&self, id: NodeId, number: u32) -> bool {
        let submitted = self.txs.get(number as usize).is_some_and(|tx| tx.submitted.is_some());
        submitted && !self.has(id, number)
    }

    /// Notes the latency where there is none yet; whether there was none.
    fn set(&mut self, id: NodeId, number: u32, micros: u32) -> bool {
        let place = self.micros.get_mut(id.0 as usize).and_then(|micros| micros.get_mut(number as usize));
        let Some(place) = place.filter(|micros| **micros == NEVER) else { return false };
        *place = micros;
        true
    }

    fn clear(&mut self, id: NodeId, number: u32) {
        if let Some(micros) = self.micros.get_mut(id.0 as usize).and_then(|all| all.get_mut(number as usize))
        {
            *micros = NEVER;
        }
    }

    /// Pairs that are not, where each transaction is to get to so many nodes.
    pub(crate) fn missing(&self, receivers: u64) -> u64 {
        (receivers * u64::from(self.submitted)).saturating_sub(self.pairs)
    }

    /// Whether the time of all has come, and all nodes have all.
    pub(crate) fn are_all(&self, receivers: u64) -> bool {
        !self.txs.is_empty() && self.due as usize == self.txs.len() && self.missing(receivers) == 0
    }

    /// Latencies of the pairs that `which` holds for, sorted, in microseconds.
    pub(crate) fn latencies(&self, mut which: impl FnMut(NodeId, u32) -> bool) -> Vec<u32> {
        let mut found = Vec::new();
        for (id, row) in (0..).map(NodeId).zip(&self.micros) {
            for ((number, tx), micros) in (0..).zip(&self.txs).zip(row) {
                if *micros != NEVER && tx.submitted.is_some() && tx.origin != id && which(id, number) {
                    found.push(*micros);
                }
            }
        }
        found.sort_unstable();
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_misses_what_its_origin_refused_or_was_not_there_for() {
        let [a, b] = [0, 1].map(NodeId);
        let at = Instant::from_millis(1);
        let mut deliveries = Deliveries::new([a, a].into_iter(), 2);
        deliveries.was_due(a, 0, None);
        deliveries.was_due(a, 1, Some(at));
        assert_eq!((deliveries.submitted(), deliveries.missing(1)), (1, 1));
        assert!(deliveries.lacks(b, 1) && !deliveries.lacks(b, 0));
        deliveries.accepted(b, at, 0, 1);
        assert_eq!(
            (deliveries.missing(1), deliveries.checked()),
            (1, 0),
            "one that was not submitted is no pair"
        );
        deliveries.accepted(b, at, 1, 1);
        assert!(deliveries.are_all(1));
        assert_eq!(deliveries.checked(), 1);
    }

    #[test]
    fn what_only_a_crashed_node_had_is_not_missing_and_what_others_have_is() {
        let [a, b, c] = [0, 1, 2].map(NodeId);
        let at = Instant::from_millis(1);
        let mut deliveries = Deliveries::new([a, b].into_iter(), 3);
        deliveries.was_due(a, 0, Some(at));
        deliveries.was_due(b, 1, Some(at));
        deliveries.accepted(c, at, 1, 1);
        deliveries.accepted(a, at, 1, 1);
        assert_eq!(deliveries.missing(2), 2);
        deliveries.lost(a);
        assert_eq!((deliveries.submitted(), deliveries.missing(2)), (1, 1), "a lacks b's");
        assert!(deliveries.lacks(a, 1) && !deliveries.lacks(b, 0));
        deliveries.lost(b);
        assert_eq!(deliveries.missing(2), 1, "c still has it");
        deliveries.accepted(b, at, 1, 1);
        assert_eq!(deliveries.missing(2), 1, "an origin is no pair");
        deliveries.accepted(a, at, 1, 1);
        assert!(deliveries.are_all(2));
    }
}
