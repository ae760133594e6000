//! Which node has which transaction, since when: the pairs of a load.

use weir_base::Instant;

use crate::host::NodeId;

/// One transaction on its way.
#[derive(Clone, Copy, Debug)]
struct Tx {
    origin: NodeId,
    submitted: Option<Instant>, // none where it was not yet due, or its origin did not run or refused it
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Deliveries {
    txs: Vec<Tx>,
    has: Vec<Vec<u64>>, // a bit per node and transaction
    micros: Vec<u32>,   // of each pair
    pairs: Vec<(NodeId, u32)>,
    due: u32,       // transactions whose time has come
    submitted: u32, // of these
    checked: u64,   // pairs at nodes that are checked
}

impl Deliveries {
    /// None yet, of transactions that these nodes are to submit, to so many nodes.
    pub(crate) fn new(origins: impl Iterator<Item = NodeId>, nodes: usize) -> Self {
        let txs: Vec<Tx> = origins.map(|origin| Tx { origin, submitted: None }).collect();
        let has = vec![vec![0; txs.len().div_ceil(64)]; nodes];
        Self { txs, has, ..Self::default() }
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
        self.set(origin, number);
    }

    /// A node's application accepted a transaction; `checked` pairs it is at a node that is checked.
    pub(crate) fn accepted(&mut self, id: NodeId, now: Instant, number: u32, checked: u64) {
        let Some(Tx { submitted: Some(submitted), origin }) = self.txs.get(number as usize).copied() else {
            return;
        };
        if !self.set(id, number) || origin == id {
            return; // an origin that crashed gets it back, but is no pair
        }
        let micros = now.since(submitted).as_micros();
        self.micros.push(u32::try_from(micros).unwrap_or(u32::MAX));
        self.pairs.push((id, number));
        self.checked += checked;
    }

    /// A node lost all it had: it is to get everything once more, but for what no other node had yet.
    pub(crate) fn lost(&mut self, id: NodeId) {
        let numbers: Vec<u32> = self.numbers().filter(|number| self.has(id, *number)).collect();
        if let Some(has) = self.has.get_mut(id.0 as usize) {
            has.fill(0);
        }
        let counted = self.pairs.iter().zip(&self.micros).filter(|((of, _), _)| *of != id);
        (self.pairs, self.micros) = counted.map(|(pair, micros)| (*pair, *micros)).unzip();
        for number in numbers {
            let (word, bit) = place(number);
            let elsewhere = self.has.iter().any(|has| has.get(word).is_some_and(|word| word & bit != 0));
            if !elsewhere && let Some(tx) = self.txs.get_mut(number as usize) {
                tx.submitted = None;
                self.submitted -= 1;
            }
        }
    }

    pub(crate) fn has(&self, id: NodeId, number: u32) -> bool {
        let (word, bit) = place(number);
        let word = self.has.get(id.0 as usize).and_then(|has| has.get(word));
        word.is_some_and(|word| word & bit != 0)
    }

    /// Whether a node is still to get it.
    pub(crate) fn lacks(&self, id: NodeId, number: u32) -> bool {
        let submitted = self.txs.get(number as usize).is_some_and(|tx| tx.submitted.is_some());
        submitted && !self.has(id, number)
    }

    fn set(&mut self, id: NodeId, number: u32) -> bool {
        let (word, bit) = place(number);
        let Some(word) = self.has.get_mut(id.0 as usize).and_then(|has| has.get_mut(word)) else {
            return false;
        };
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    /// Pairs that are not, where each transaction is to get to so many nodes.
    pub(crate) fn missing(&self, receivers: u64) -> u64 {
        (receivers * u64::from(self.submitted)).saturating_sub(self.micros.len() as u64)
    }

    /// Whether the time of all has come, and all nodes have all.
    pub(crate) fn are_all(&self, receivers: u64) -> bool {
        !self.txs.is_empty() && self.due as usize == self.txs.len() && self.missing(receivers) == 0
    }

    /// Latencies of the pairs that `which` holds for, sorted, in microseconds.
    pub(crate) fn latencies(&self, mut which: impl FnMut(NodeId, u32) -> bool) -> Vec<u32> {
        let pairs = self.pairs.iter().zip(&self.micros);
        let mut micros: Vec<u32> =
            pairs.filter(|((id, number), _)| which(*id, *number)).map(|(_, micros)| *micros).collect();
        micros.sort_unstable();
        micros
    }
}

/// The word and the bit of a transaction.
const fn place(number: u32) -> (usize, u64) {
    (number as usize / 64, 1 << (number % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

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
