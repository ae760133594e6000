//! What the nodes report, turned into the run's figures.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;
use weir_chain::Hash;
use weir_chain::node::What;

/// Nodes are bits of a word.
pub(crate) const NODES_MAX: usize = 64;

/// Nearest-rank percentiles, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Percentiles {
    /// Half are at most this.
    pub p50: f64,
    /// 95 of 100.
    pub p95: f64,
    /// 99 of 100.
    pub p99: f64,
    /// How many there were.
    pub(crate) count: usize,
}

impl Percentiles {
    /// Of any number of durations; all zero where there is none.
    pub(crate) fn of(samples: &[Duration]) -> Self {
        let mut sorted = samples.to_vec();
        sorted.sort_unstable();
        let rank = |percent: usize| {
            let index = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
            let micros = sorted.get(index).map_or(0, Duration::as_micros);
            f64::from(u32::try_from(micros).unwrap_or(u32::MAX)) / 1000.0
        };
        Self { p50: rank(50), p95: rank(95), p99: rank(99), count: sorted.len() }
    }
}

#[derive(Debug)]
struct Submission {
    at: Duration,
    origin: usize,
    seen: u64, // nodes that accepted or executed it
    committed: bool,
}

#[derive(Debug, Default)]
struct BlockTimes {
    published: Option<(Duration, usize)>,
    headers: Vec<(usize, Duration)>,
    bodies: Vec<(usize, Duration)>,
}

/// Everything that was observed. Times are the process's.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    transfers: BTreeMap<Hash, Submission>,
    blocks: BTreeMap<Hash, BlockTimes>,
    excluded: BTreeSet<usize>,
    spread: Vec<(usize, Duration)>,
    commits: Vec<Duration>,
    /// (transaction, node) pairs where a block brought the transaction first.
    pub(crate) first_seen_in_block: u64,
}

/// The four latencies of a run.
#[derive(Clone, Copy, Debug, Serialize)]
#[allow(clippy::struct_field_names)] // the unit belongs to the name in the report
pub(crate) struct Latencies {
    /// Submission accepted to accepted at another node.
    pub(crate) tx_latency_ms: Percentiles,
    /// Submission accepted to durable in a block at the origin.
    pub(crate) tx_commit_ms: Percentiles,
    /// Published to header accepted at another node.
    pub(crate) header_latency_ms: Percentiles,
    /// Published to executed and durable at another node.
    pub(crate) body_latency_ms: Percentiles,
}

impl Watch {
    /// A transfer was accepted from the load at `origin`.
    pub(crate) fn submitted(&mut self, id: Hash, origin: usize, at: Duration) {
        self.transfers.insert(id, Submission { at, origin, seen: 1 << origin, committed: false });
    }

    /// A node reports.
    pub(crate) fn observed(&mut self, node: usize, at: Duration, what: What) {
        match what {
            What::Accepted(id) => {
                self.seen(&id, node, at);
            }
            What::Header(hash) => self.blocks.entry(hash).or_default().headers.push((node, at)),
            What::Published(hash) => self.blocks.entry(hash).or_default().published = Some((at, node)),
            What::Executed(hash, _, transfers) => {
                self.blocks.entry(hash).or_default().bodies.push((node, at));
                for id in transfers {
                    if self.seen(&id, node, at) {
                        self.first_seen_in_block += 1;
                    }
                    if let Some(transfer) = self.transfers.get_mut(&id)
                        && transfer.origin == node
                        && !transfer.committed
                    {
                        transfer.committed = true;
                        self.commits.push(at.saturating_sub(transfer.at));
                    }
                }
            }
        }
    }

    /// Pairs of this node do not count: it was down for a while.
    pub(crate) fn exclude(&mut self, node: usize) {
        self.excluded.insert(node);
    }

    /// Transfers submitted at `node` that no other node has seen.
    pub(crate) fn only_at(&self, node: usize) -> BTreeSet<Hash> {
        let lonely = |transfer: &&Submission| transfer.origin == node && transfer.seen == 1 << node;
        let lonely = |(id, transfer): (&Hash, &Submission)| lonely(&transfer).then_some(*id);
        self.transfers.iter().filter_map(lonely).collect()
    }

    /// How many transfers the load has submitted.
    pub(crate) fn submissions(&self) -> usize {
        self.transfers.len()
    }

    /// The ids of all of them.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &Hash> {
        self.transfers.keys()
    }

    /// (transaction, node) pairs that were left out.
    pub(crate) fn pairs_excluded(&self) -> usize {
        self.transfers.len() * self.excluded.len()
    }

    /// The figures.
    pub(crate) fn latencies(&self) -> Latencies {
        let kept = |node: &usize| !self.excluded.contains(node);
        let spread: Vec<_> =
            self.spread.iter().filter(|(node, _)| kept(node)).map(|(_, time)| *time).collect();
        let (mut headers, mut bodies) = (Vec::new(), Vec::new());
        for block in self.blocks.values() {
            let Some((published, producer)) = block.published else { continue };
            let others = |times: &[(usize, Duration)]| -> Vec<Duration> {
                let mut first = BTreeMap::new();
                for (node, at) in times.iter().filter(|(node, _)| *node != producer && kept(node)) {
                    first.entry(*node).or_insert(at.saturating_sub(published));
                }
                first.into_values().collect()
            };
            headers.extend(others(&block.headers));
            bodies.extend(others(&block.bodies));
        }
        Latencies {
            tx_latency_ms: Percentiles::of(&spread),
            tx_commit_ms: Percentiles::of(&self.commits),
            header_latency_ms: Percentiles::of(&headers),
            body_latency_ms: Percentiles::of(&bodies),
        }
    }

    /// Notes that a node has a transfer; true where it is the first time.
    fn seen(&mut self, id: &Hash, node: usize, at: Duration) -> bool {
        let Some(transfer) = self.transfers.get_mut(id) else { return false };
        let fresh = transfer.seen & (1 << node) == 0;
        if fresh {
            transfer.seen |= 1 << node;
            self.spread.push((node, at.saturating_sub(transfer.at)));
        }
        fresh
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn percentiles_are_nearest_rank() {
        let samples: Vec<_> = (1..=100).map(ms).collect();
        let found = Percentiles::of(&samples);
        assert_eq!((found.p50, found.p95, found.p99, found.count), (50.0, 95.0, 99.0, 100));
        assert_eq!(Percentiles::of(&[ms(7)]), Percentiles { p50: 7.0, p95: 7.0, p99: 7.0, count: 1 });
        assert_eq!(Percentiles::of(&[]), Percentiles::default());
    }

    #[test]
    fn each_pair_counts_once_and_a_block_that_comes_first_is_told_apart() {
        let mut watch = Watch::default();
        watch.submitted([1; 32], 0, ms(10));
        watch.observed(1, ms(15), What::Accepted([1; 32]));
        watch.observed(0, ms(19), What::Published([9; 32]));
        watch.observed(0, ms(20), What::Executed([9; 32], 1, vec![[1; 32]]));
        watch.observed(1, ms(24), What::Header([9; 32]));
        watch.observed(1, ms(30), What::Executed([9; 32], 1, vec![[1; 32]]));
        watch.observed(2, ms(40), What::Executed([9; 32], 1, vec![[1; 32]]));
        let found = watch.latencies();
        assert_eq!((found.tx_latency_ms.count, found.tx_latency_ms.p99), (2, 30.0));
        assert_eq!((found.tx_commit_ms.count, found.tx_commit_ms.p50), (1, 10.0));
        assert_eq!((found.header_latency_ms.count, found.header_latency_ms.p50), (1, 5.0));
        assert_eq!((found.body_latency_ms.count, found.body_latency_ms.p99), (2, 21.0));
        assert_eq!(watch.first_seen_in_block, 1);
    }

    #[test]
    fn a_node_that_was_down_is_left_out_and_what_only_it_held_is_known() {
        let mut watch = Watch::default();
        watch.submitted([1; 32], 2, ms(0));
        watch.submitted([2; 32], 2, ms(0));
        watch.observed(0, ms(5), What::Accepted([2; 32]));
        watch.observed(1, ms(5), What::Accepted([2; 32]));
        watch.exclude(1);
        assert_eq!(watch.only_at(2), BTreeSet::from([[1; 32]]));
        assert_eq!((watch.latencies().tx_latency_ms.count, watch.pairs_excluded()), (1, 2));
    }
}
