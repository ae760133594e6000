//! What the nodes report, turned into the run's figures.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;
use weir_chain::Hash;
use weir_chain::node::What;

/// Nodes are bits of a word.
pub(crate) const NODES_MAX: usize = 64;

/// Nearest-rank percentiles, in milliseconds, of at least one sample.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Percentiles {
    /// Half are at most this.
    pub(crate) p50: f64,
    /// 95 of 100.
    pub(crate) p95: f64,
    /// 99 of 100.
    pub(crate) p99: f64,
    /// How many there were.
    pub(crate) count: usize,
}

impl Percentiles {
    /// Of any number of durations; `None` of none.
    pub(crate) fn of(samples: &[Duration]) -> Option<Self> {
        let mut sorted = samples.to_vec();
        sorted.sort_unstable();
        let rank = |percent: usize| {
            let index = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
            sorted.get(index).map(|sample| (sample.as_secs_f64() * 1e6).round() / 1e3)
        };
        Some(Self { p50: rank(50)?, p95: rank(95)?, p99: rank(99)?, count: sorted.len() })
    }
}

#[derive(Debug)]
struct Submission {
    due: Duration,
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
    waits: Vec<Duration>, // due to accepted
    spread: Vec<(usize, Duration)>,
    commits: Vec<Duration>,
    first_due: Option<Duration>,
    last_commit: Duration,
    last_block: Option<Duration>,
    /// (transaction, node) pairs where a block brought the transaction first.
    pub(crate) first_seen_in_block: u64,
}

/// The times of a run; each is null where there is nothing to count.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Latencies {
    /// Submission due to accepted by its node.
    pub(crate) submit_ms: Option<Percentiles>,
    /// Submission due to accepted at another node.
    pub(crate) tx_latency_ms: Option<Percentiles>,
    /// Submission due to durable in a block at the origin.
    pub(crate) tx_commit_ms: Option<Percentiles>,
    /// Published to header accepted at another node.
    pub(crate) header_latency_ms: Option<Percentiles>,
    /// Published to executed and durable at another node.
    pub(crate) body_latency_ms: Option<Percentiles>,
    /// From one block of the producer to the next.
    pub(crate) block_interval_ms: Option<Percentiles>,
    /// (block, other node) pairs of blocks that were published, without a time of the header.
    pub(crate) headers_missing: usize,
    /// The same, without a time of execution.
    pub(crate) bodies_missing: usize,
    /// Transactions in blocks at their origin ÷ seconds from the first due submission to the last such block.
    pub(crate) committed_per_s: Option<f64>,
}

impl Watch {
    /// A transfer goes from the load to `origin`, as was due at `due`.
    pub(crate) fn submitted(&mut self, id: Hash, origin: usize, due: Duration) {
        self.first_due.get_or_insert(due);
        self.transfers.insert(id, Submission { due, origin, seen: 1 << origin, committed: false });
    }

    /// Its node accepted it, so long after it was due.
    pub(crate) fn accepted(&mut self, wait: Duration) {
        self.waits.push(wait);
    }

    /// A node reports.
    pub(crate) fn observed(&mut self, node: usize, at: Duration, what: What) {
        match what {
            What::Accepted(id) => {
                self.seen(&id, node, at);
            }
            What::Header(hash) => self.blocks.entry(hash).or_default().headers.push((node, at)),
            What::Published(hash) => {
                self.blocks.entry(hash).or_default().published = Some((at, node));
                self.last_block = Some(at);
            }
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
                        self.commits.push(at.saturating_sub(transfer.due));
                        self.last_commit = self.last_commit.max(at);
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

    /// When the latest block was published.
    pub(crate) fn last_block(&self) -> Option<Duration> {
        self.last_block
    }

    /// How many transfers are in a block at their origin.
    pub(crate) fn commits(&self) -> usize {
        self.commits.len()
    }

    /// Transactions in blocks at their origin ÷ seconds from the first due submission to the last such block.
    pub(crate) fn committed_per_s(&self) -> Option<f64> {
        let took = self.last_commit.checked_sub(self.first_due?)?.as_secs_f64();
        #[allow(clippy::cast_precision_loss)] // transactions of a run, far below 2^52
        (took > 0.0 && !self.commits.is_empty()).then(|| self.commits.len() as f64 / took)
    }

    /// The figures, of a run with so many nodes.
    pub(crate) fn latencies(&self, nodes: usize) -> Latencies {
        let kept = |node: &usize| !self.excluded.contains(node);
        let spread: Vec<_> =
            self.spread.iter().filter(|(node, _)| kept(node)).map(|(_, time)| *time).collect();
        let (mut headers, mut bodies, mut published) = (Vec::new(), Vec::new(), Vec::new());
        for block in self.blocks.values() {
            let Some((at, producer)) = block.published else { continue };
            published.push(at);
            let others = |times: &[(usize, Duration)]| -> Vec<Duration> {
                let mut first = BTreeMap::new();
                for (node, time) in times.iter().filter(|(node, _)| *node != producer && kept(node)) {
                    first.entry(*node).or_insert(time.saturating_sub(at));
                }
                first.into_values().collect()
            };
            headers.extend(others(&block.headers));
            bodies.extend(others(&block.bodies));
        }
        published.sort_unstable();
        let pairs = published.len() * (nodes - self.excluded.len()).saturating_sub(1);
        let intervals: Vec<_> =
            published.windows(2).filter_map(|pair| pair.last()?.checked_sub(*pair.first()?)).collect();
        Latencies {
            submit_ms: Percentiles::of(&self.waits),
            tx_latency_ms: Percentiles::of(&spread),
            tx_commit_ms: Percentiles::of(&self.commits),
            header_latency_ms: Percentiles::of(&headers),
            body_latency_ms: Percentiles::of(&bodies),
            block_interval_ms: Percentiles::of(&intervals),
            headers_missing: pairs.saturating_sub(headers.len()),
            bodies_missing: pairs.saturating_sub(bodies.len()),
            committed_per_s: self.committed_per_s(),
        }
    }

    /// Notes that a node has a transfer; true where it is the first time.
    fn seen(&mut self, id: &Hash, node: usize, at: Duration) -> bool {
        let Some(transfer) = self.transfers.get_mut(id) else { return false };
        let fresh = transfer.seen & (1 << node) == 0;
        if fresh {
            transfer.seen |= 1 << node;
            self.spread.push((node, at.saturating_sub(transfer.due)));
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
        let found = Percentiles::of(&samples).unwrap();
        assert_eq!((found.p50, found.p95, found.p99, found.count), (50.0, 95.0, 99.0, 100));
        assert_eq!(Percentiles::of(&[ms(7)]), Some(Percentiles { p50: 7.0, p95: 7.0, p99: 7.0, count: 1 }));
        assert_eq!(Percentiles::of(&[]), None);
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
        watch.accepted(ms(2));
        let found = watch.latencies(3);
        let of = |samples: &[u64]| Percentiles::of(&samples.iter().map(|time| ms(*time)).collect::<Vec<_>>());
        assert_eq!((found.submit_ms, found.tx_latency_ms), (of(&[2]), of(&[5, 30])));
        assert_eq!((found.tx_commit_ms, found.committed_per_s), (of(&[10]), Some(100.0)));
        assert_eq!((found.header_latency_ms, found.headers_missing), (of(&[5]), 1));
        assert_eq!((found.body_latency_ms, found.bodies_missing), (of(&[11, 21]), 0));
        assert_eq!(found.block_interval_ms, None);
        assert_eq!(watch.first_seen_in_block, 1);
    }

    #[test]
    fn what_never_happened_has_no_figure() {
        let found = Watch::default().latencies(2);
        assert_eq!((found.tx_latency_ms, found.committed_per_s, found.headers_missing), (None, None, 0));
    }

    #[test]
    fn blocks_that_a_node_never_told_of_are_counted() {
        let mut watch = Watch::default();
        for (block, at) in [(1, 10), (2, 1_010), (3, 2_000)] {
            watch.observed(0, ms(at), What::Published([block; 32]));
        }
        watch.observed(1, ms(12), What::Header([1; 32]));
        watch.exclude(2);
        let found = watch.latencies(4);
        assert_eq!((found.headers_missing, found.bodies_missing), (5, 6));
        assert_eq!(found.block_interval_ms, Percentiles::of(&[ms(1_000), ms(990)]));
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
        let spread = watch.latencies(3).tx_latency_ms.unwrap();
        assert_eq!((spread.count, watch.pairs_excluded()), (1, 2));
    }
}
