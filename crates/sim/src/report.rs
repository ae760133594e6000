//! What a run reports; each figure as the project defines it (`docs/simulator.md`).

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Three percentiles, nearest rank, in milliseconds; `None` (null) where it is a pair that never came to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    /// The median.
    pub p50: Option<f64>,
    /// The 95th.
    pub p95: Option<f64>,
    /// The 99th.
    pub p99: Option<f64>,
}

impl Percentiles {
    /// Of these microseconds, which it sorts, and of `missing` that never ended. `None` of none.
    pub fn of(micros: &mut [u32], missing: u64) -> Option<Self> {
        micros.sort_unstable();
        let count = micros.len() as u64 + missing;
        let at = |percent: u64| {
            let rank = (count * percent).div_ceil(100).max(1);
            micros.get(usize::try_from(rank - 1).ok()?).map(|micros| f64::from(*micros) / 1000.0)
        };
        (count > 0).then(|| Self { p50: at(50), p95: at(95), p99: at(99) })
    }
}

/// The smallest of the sorted values that at least `percent` in a hundred do not exceed.
pub fn nearest_rank(sorted: &[u32], percent: usize) -> Option<u32> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

/// The host's clock: real time since some moment. It is handed in for what a report says of the time that the checker takes, and
/// decides nothing in the run.
pub type Stopwatch = fn() -> Duration;

/// What part of its time a run spent on checking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spent {
    /// Real time in which nodes were carried out, of all threads, with their checking.
    pub(crate) all: Duration,
    /// Real time of that in the checker.
    pub(crate) checking: Duration,
}

impl Spent {
    /// Adds what another part of the run took.
    pub(crate) fn add(&mut self, other: Self) {
        self.all += other.all;
        self.checking += other.checking;
    }
}

/// What came of a run. A *pair* is a transaction (or tip) and a node other than its origin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The scenario.
    pub name: String,
    /// Nodes started.
    pub nodes: u32,
    /// Links a node has, at most.
    pub links: u32,
    /// The seed.
    pub seed: u64,
    /// `frames` or `quic`.
    pub transport: String,
    /// Transactions or tips submitted.
    pub submitted: u64,
    /// SHA-256 over all delivered events.
    pub trace_hash: String,
    /// Delivered events.
    pub events: u64,
    /// Complete bodies received, repeats included, per pair that received one.
    pub bodies_per_node: Option<f64>,
    /// Stream bytes received on the channel less bodies, per transaction and node, from first submission to convergence.
    pub control_bytes_per_tx_per_node: Option<f64>,
    /// All bytes received, with the headers of their packets and acknowledgements, per transaction and node, from first submission
    /// to convergence.
    pub wire_bytes_per_tx_per_node: f64,
    /// The same per node, whole run.
    pub wire_bytes_per_node: u64,
    /// Virtual seconds from the last submission until all agree; null past the deadline.
    pub converged_s: Option<f64>,
    /// Submission accepted to verdict *accept*, over all pairs.
    pub tx_latency_ms: Option<Percentiles>,
    /// Pairs that never came to be, at the end.
    pub pairs_missing: u64,
    /// Largest excess of bytes held over bytes granted.
    pub peak_bytes_over_grants: u64,
    /// Comparisons made for it.
    pub checks: u64,
    /// Most bytes that one node's tables beside the ledgers took: what its pools keep of offers. Over their bound counts as over
    /// grants.
    pub peak_table_bytes: u64,
    /// Most bytes one node held.
    pub peak_bytes_held: u64,
    /// Most bytes one node had granted.
    pub peak_bytes_granted: u64,
    /// Fault events but *incompatible*, all nodes.
    pub faults: u64,
    /// The same by what they were for.
    pub faults_for: BTreeMap<String, u64>,
    /// What this scenario measures beside, by name.
    pub figures: BTreeMap<String, f64>,
    /// What went wrong: sentences. Empty: the run came out.
    pub problems: Vec<String>,
    /// Of the process, per node; null where the system does not tell.
    pub memory_bytes_per_node: Option<u64>,
    /// Seconds of processor time of this process, all threads; null where the system does not tell.
    pub cpu_s: Option<f64>,
    /// The part of the nodes' real time that the checker took, 0 to 1, with what it takes to measure that; null where no clock was
    /// handed in.
    pub checker_share: Option<f64>,
    /// Real seconds.
    pub wall_s: f64,
    /// Events per real second.
    pub events_per_s: f64,
    /// Virtual seconds.
    pub virtual_s: f64,
}

/// Bytes in memory of this process now and at most so far, where the system tells (`/proc/self/status`).
pub(crate) fn resident() -> Option<(u64, u64)> {
    resident_of(&std::fs::read_to_string("/proc/self/status").ok()?)
}

/// Linux counts the pages of `vm.nr_hugepages` beside the others, and keeps no peak of them: what there is now is added to both.
fn resident_of(status: &str) -> Option<(u64, u64)> {
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
    };
    let huge = field("HugetlbPages:").unwrap_or(0);
    Some((field("VmRSS:")? + huge, field("VmHWM:")? + huge))
}

/// Processor time of this process so far, in seconds, where the system tells (`/proc/self/stat`, fields 14 and 15, in the
/// hundredths of a second that Linux shows on every machine).
pub(crate) fn processor_time() -> Option<f64> {
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let (_, fields) = stat.rsplit_once(')')?; // the second field is the name, which may hold anything
    let mut times = fields.split_whitespace().skip(11).map(str::parse::<u32>);
    let (user, system) = (times.next()?.ok()?, times.next()?.ok()?);
    Some(f64::from(user + system) / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_rank() {
        let mut micros: Vec<u32> = (1..=100).rev().map(|millis| millis * 1000).collect();
        let of = Percentiles::of(&mut micros, 0).unwrap();
        assert_eq!(of, Percentiles { p50: Some(50.0), p95: Some(95.0), p99: Some(99.0) });
        assert_eq!(nearest_rank(&[7], 99), Some(7));
        assert_eq!(Percentiles::of(&mut [], 0), None);
    }

    #[test]
    fn huge_pages_count_as_memory() {
        let status = "VmHWM:\t    5000 kB\nVmRSS:\t    4000 kB\nHugetlbPages:\t    2048 kB\n";
        assert_eq!(resident_of(status), Some((6_048 * 1024, 7_048 * 1024)));
        let (plain, _) = status.split_once("Hugetlb").unwrap();
        assert_eq!(resident_of(plain), Some((4_000 * 1024, 5_000 * 1024)));
        assert_eq!(resident_of("VmRSS: 1 kB"), None);
    }

    #[test]
    fn what_never_came_is_later_than_everything() {
        let mut micros: Vec<u32> = (1..=94).map(|millis| millis * 1000).collect();
        let of = Percentiles::of(&mut micros, 6).unwrap();
        assert_eq!(of, Percentiles { p50: Some(50.0), p95: None, p99: None });
    }
}
