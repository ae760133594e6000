//! The result of a run: one object for programs, a few lines for people.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;
use weir_chain::audit::Audit;
use weir_chain::hex;

use super::Options;
use super::feed::Feed;
use super::rows::{Permits, Row, Traffic};
use super::run::Tally;
use super::watch::{Latencies, Percentiles, Watch};
use crate::error::Failure;
use crate::process;

/// How a run ended.
pub(crate) struct Ended {
    /// What ended it, where it did not come to its end.
    pub(crate) outcome: Result<(), Failure>,
    /// The stores as they were read back; `None` where they were not.
    pub(crate) audits: Option<Result<Vec<Audit>, Failure>>,
    /// The nodes just before they stopped.
    pub(crate) rows: Vec<Row>,
    /// What to tell where blocks could not hold the rate.
    pub(crate) overfull: Option<String>,
}

/// What a run came to. Each figure is defined in `docs/figures.md`; null where there is nothing to count.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    options: Options,
    nodes: usize,
    blocks: Option<u64>,
    tips_agree: Option<bool>,
    state_agree: Option<bool>,
    tip: Option<String>,
    rate_asked: u32,
    rate_reached: Option<f64>,
    txs_submitted: usize,
    txs_committed: Option<usize>,
    txs_resubmitted: usize,
    txs_first_seen_in_block: u64,
    tx_bodies_per_node: Option<f64>,
    control_bytes_per_tx_per_node: Option<f64>,
    wire_bytes_per_tx_per_node: Option<f64>,
    pairs_excluded: usize,
    #[serde(flatten)]
    latencies: Latencies,
    rtt_ms: Option<Percentiles>,
    permits: Permits,
    faults: u64,
    bans: u64,
    unobserved: u64,
    cpu_s: Option<f64>,
    rss_bytes: Option<u64>,
    wall_s: f64,
    killed: Option<usize>,
    seed: u64,
    rows: Vec<Row>,
    #[serde(skip)]
    failure: Option<Failure>,
    #[serde(skip)]
    remarks: Vec<String>,
}

impl Report {
    /// The figures of a run. `beside`: counters that no running node has, who was killed, and how long it took.
    pub(crate) fn new(
        options: &Options,
        ended: Ended,
        watch: &Watch,
        feed: &Feed,
        beside: (Tally, Option<usize>, Duration),
    ) -> Self {
        let (tally, killed, wall) = beside;
        let (mut permits, mut traffic, mut wire, mut bans, mut rtts) =
            (Permits::default(), tally.traffic, tally.wire, 0, Vec::new());
        for row in &ended.rows {
            permits.add(row.permits);
            traffic.add(row.traffic);
            wire += row.bytes_in;
            bans += row.bans;
            rtts.extend_from_slice(&row.rtts);
        }
        let nodes = ended.rows.len();
        let pairs = (watch.submissions() * nodes) as u64;
        let (stores, unread) = match ended.audits {
            Some(Ok(audits)) => (Stores::of(&audits, watch), None),
            Some(Err(failure)) => (Stores::default(), Some(failure)),
            None => (Stores::default(), None),
        };
        let Traffic { bodies, duplicates, control } = traffic;
        Self {
            options: options.clone(),
            nodes,
            blocks: stores.blocks,
            tips_agree: stores.tips_agree,
            state_agree: stores.state_agree,
            failure: ended.outcome.err().or(unread).or_else(|| stores.problem(watch)),
            tip: stores.tip,
            rate_asked: options.rate,
            rate_reached: feed.reached(),
            txs_submitted: watch.submissions(),
            txs_committed: stores.committed,
            txs_resubmitted: tally.resubmitted,
            txs_first_seen_in_block: watch.first_seen_in_block,
            tx_bodies_per_node: ratio(bodies, bodies.saturating_sub(duplicates)),
            control_bytes_per_tx_per_node: ratio(control, pairs),
            wire_bytes_per_tx_per_node: ratio(wire, pairs),
            pairs_excluded: watch.pairs_excluded(),
            latencies: watch.latencies(nodes),
            rtt_ms: Percentiles::of(&rtts),
            permits,
            faults: tally.faults,
            bans,
            unobserved: tally.unobserved,
            cpu_s: process::cpu_seconds(),
            rss_bytes: process::peak_rss(),
            wall_s: wall.as_secs_f64(),
            killed,
            seed: options.seed,
            rows: ended.rows,
            remarks: feed.shortfall().into_iter().chain(ended.overfull).collect(),
        }
    }

    /// What did not come out as it must; `None` where all is well.
    pub(crate) fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// A summary for people.
    pub(crate) fn text(&self) -> String {
        let latencies = &self.latencies;
        let mut out = self.head();
        for (name, found) in [
            ("transaction spread", latencies.tx_latency_ms),
            ("transaction commit", latencies.tx_commit_ms),
            ("header", latencies.header_latency_ms),
            ("block executed", latencies.body_latency_ms),
            ("block interval", latencies.block_interval_ms),
            ("round trip", self.rtt_ms),
        ] {
            out += &times(name, found);
        }
        let number = |value: Option<f64>, digits: usize| {
            value.map_or_else(|| "-".into(), |value| format!("{value:.digits$}"))
        };
        let _ = writeln!(
            out,
            "  a transaction at a node: {} bodies, {} bytes of control, {} on the wire",
            number(self.tx_bodies_per_node, 3),
            number(self.control_bytes_per_tx_per_node, 0),
            number(self.wire_bytes_per_tx_per_node, 0),
        );
        let _ = writeln!(
            out,
            "  {} faults, {} bans, {} CPU seconds, {} MiB resident at most, {:.1} s",
            self.faults,
            self.bans,
            number(self.cpu_s, 1),
            self.rss_bytes.map_or_else(|| "-".into(), |bytes| (bytes >> 20).to_string()),
            self.wall_s,
        );
        if let Some(killed) = self.killed {
            let _ = writeln!(
                out,
                "  node {killed} was killed and came back; {} transactions were submitted again",
                self.txs_resubmitted
            );
        }
        if self.unobserved > 0 {
            let _ =
                writeln!(out, "  {} reports of nodes were lost: times are missing above", self.unobserved);
        }
        for remark in &self.remarks {
            let _ = writeln!(out, "  {remark}");
        }
        out
    }

    fn head(&self) -> String {
        let rate = self.latencies.committed_per_s;
        let rate = rate.map_or_else(String::new, |rate| format!(", {rate:.0} a second"));
        let (Some(tips), Some(state), Some(blocks), Some(committed)) =
            (self.tips_agree, self.state_agree, self.blocks, self.txs_committed)
        else {
            let heights = || self.rows.iter().filter(|row| row.up).map(|row| row.height);
            return format!(
                "{} nodes, the first at block {}, the last at {}; stores not compared\n{} transactions submitted, {} in \
                 a block where they were submitted{rate}\n",
                self.nodes,
                heights().max().unwrap_or(0),
                heights().min().unwrap_or(0),
                self.txs_submitted,
                self.latencies.tx_commit_ms.map_or(0, |found| found.count),
            );
        };
        let agree = if tips && state { "agree" } else { "DO NOT AGREE" };
        let tip = self.tip.as_deref().and_then(|tip| tip.get(..12)).unwrap_or_default();
        format!(
            "{} nodes {agree} on block {blocks} ({tip}…)\n{committed} of {} transactions committed{rate}\n",
            self.nodes, self.txs_submitted
        )
    }
}

/// What the stores of all nodes say together.
#[derive(Debug, Default)]
struct Stores {
    blocks: Option<u64>,
    tips_agree: Option<bool>,
    state_agree: Option<bool>,
    tip: Option<String>,
    committed: Option<usize>,
}

impl Stores {
    fn of(audits: &[Audit], watch: &Watch) -> Self {
        let Some(first) = audits.first() else { return Self::default() };
        let sets: Vec<BTreeSet<[u8; 32]>> =
            audits.iter().map(|audit| audit.transfers.iter().copied().collect()).collect();
        let everywhere = |id: &&[u8; 32]| sets.iter().all(|set| set.contains(*id));
        Self {
            blocks: Some(first.head.height),
            tips_agree: Some(audits.iter().all(|audit| audit.head == first.head)),
            state_agree: Some(audits.iter().all(|audit| audit.state_root == first.state_root)),
            tip: Some(hex(&first.head.hash)),
            committed: Some(watch.ids().filter(everywhere).count()),
        }
    }

    fn problem(&self, watch: &Watch) -> Option<Failure> {
        if self.tips_agree == Some(false) {
            return Some(Failure::run("the nodes' stores end in different blocks"));
        }
        if self.state_agree == Some(false) {
            return Some(Failure::run("the nodes' stores hold different states"));
        }
        let missing = watch.submissions().saturating_sub(self.committed?);
        (missing > 0).then(|| Failure::run(format!("{missing} transactions are not in every store")))
    }
}

fn times(name: &str, found: Option<Percentiles>) -> String {
    found.map_or_else(
        || format!("  {name:<18} -\n"),
        |found| {
            let Percentiles { p50, p95, p99, .. } = found;
            format!("  {name:<18} p50 {p50:>8.1} ms   p95 {p95:>8.1} ms   p99 {p99:>8.1} ms\n")
        },
    )
}

#[allow(clippy::cast_precision_loss)] // counters of a run, far below 2^52
fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}
