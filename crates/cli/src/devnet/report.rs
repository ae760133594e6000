//! The result of a run: one object for programs, a few lines for people.

use std::fmt::Write as _;

use serde::Serialize;

use super::watch::Latencies;

/// What a run came to. Each figure is defined in `docs/figures.md`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    /// Nodes started by the command.
    pub(crate) nodes: usize,
    /// Height of the common tip.
    pub(crate) blocks: u64,
    /// All stores end in the same block.
    pub(crate) tips_agree: bool,
    /// All stores hold the same state.
    pub(crate) state_agree: bool,
    /// The tip, in hexadecimal.
    pub(crate) tip: String,
    /// Distinct transactions a node accepted from the load.
    pub(crate) txs_submitted: usize,
    /// Of these, found in blocks of every store.
    pub(crate) txs_committed: usize,
    /// Transactions submitted again elsewhere, because only the node that was killed held them.
    pub(crate) txs_resubmitted: usize,
    /// (transaction, node) pairs where a block brought the transaction first.
    pub(crate) txs_first_seen_in_block: u64,
    /// Complete bodies received ÷ (node, transaction) combinations with at least one.
    pub(crate) tx_bodies_per_node: f64,
    /// Stream bytes received on the transaction channel less body bytes ÷ (transactions × nodes).
    pub(crate) control_bytes_per_tx_per_node: f64,
    /// All UDP payload received ÷ (transactions × nodes).
    pub(crate) wire_bytes_per_tx_per_node: f64,
    /// Pairs of a node that was down, left out of the latencies.
    pub(crate) pairs_excluded: usize,
    /// The latencies.
    #[serde(flatten)]
    pub(crate) latencies: Latencies,
    /// Fault events of every kind but *incompatible*.
    pub(crate) faults: u64,
    /// Peak resident size of the process, where the system tells.
    pub(crate) rss_bytes: Option<u64>,
    /// Process start to print, in seconds.
    pub(crate) wall_s: f64,
    /// The node that was killed and came back.
    pub(crate) killed: Option<usize>,
    /// The seed of the run.
    pub(crate) seed: u64,
}

impl Report {
    /// What did not come out as it must; `None` where all is well.
    pub(crate) fn problem(&self) -> Option<String> {
        if !self.tips_agree {
            return Some("the nodes' stores end in different blocks".into());
        }
        if !self.state_agree {
            return Some("the nodes' stores hold different states".into());
        }
        if self.txs_committed != self.txs_submitted {
            let missing = self.txs_submitted.saturating_sub(self.txs_committed);
            return Some(format!("{missing} transactions are not in every store"));
        }
        None
    }

    /// A summary for people.
    pub(crate) fn text(&self) -> String {
        let line = |name: &str, found: &super::watch::Percentiles| {
            format!(
                "  {name:<18} p50 {:>8.1} ms   p95 {:>8.1} ms   p99 {:>8.1} ms\n",
                found.p50, found.p95, found.p99
            )
        };
        let agree = if self.tips_agree && self.state_agree { "agree" } else { "DO NOT AGREE" };
        let latencies = &self.latencies;
        let mut out = format!(
            "{} nodes {agree} on block {} ({}…)\n{} of {} transactions committed, {} faults, {:.1} s\n",
            self.nodes,
            self.blocks,
            self.tip.get(..12).unwrap_or_default(),
            self.txs_committed,
            self.txs_submitted,
            self.faults,
            self.wall_s,
        );
        out += &line("transaction spread", &latencies.tx_latency_ms);
        out += &line("transaction commit", &latencies.tx_commit_ms);
        out += &line("header", &latencies.header_latency_ms);
        out += &line("block executed", &latencies.body_latency_ms);
        let _ = writeln!(
            out,
            "  per transaction and node: {:.3} bodies, {:.0} bytes of control, {:.0} bytes on the wire",
            self.tx_bodies_per_node, self.control_bytes_per_tx_per_node, self.wire_bytes_per_tx_per_node
        );
        if let Some(killed) = self.killed {
            let _ = writeln!(
                out,
                "  node {killed} was killed and came back; {} transactions only it held were resubmitted",
                self.txs_resubmitted
            );
        }
        out
    }
}

/// Peak resident bytes of this process, where the system tells.
pub(crate) fn peak_rss() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()? * 1024)
}
