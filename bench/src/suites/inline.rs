//! `inline`: what a call gains where the caller's thread runs the node's turn while the network thread sleeps (`docs/adr/0003`).

use super::{Reach, Suite, target};
use crate::Name;
use crate::job::{Job, Latencies, Over, Side};
use crate::process::{Failed, Process};

/// Calls one after the other, with and without inline turns.
pub const SUITE: Suite = Suite {
    name: Name::Inline,
    title: "inline",
    about: "A request of 1 KiB and an answer of 1 KiB over loopback between two processes, one after the other, with and \
            without inline turns: processes free to move, then the server bound to the first core and the caller to the second.",
    columns: &["p50, µs, free", "p99, µs, free", "p50, µs, bound", "p99, µs, bound"],
    sides: &[Side::Weir(Over::Quic), Side::Woken],
    settings: &[
        "20,000 calls after 2,000 that do not count, each way to run; otherwise as for `call`.",
        "Items of pools, tips and streams never run a turn inline, so that these figures are all there is to gain.",
    ],
    packages: &["quinn-proto", "tokio"],
    targets: &[
        target(0, Side::Woken, Reach::AtMost(0.9)),
        target(2, Side::Woken, Reach::AtMost(0.9)),
        target(1, Side::Woken, Reach::Beside),
        target(3, Side::Woken, Reach::Beside),
    ],
    measure: round,
};

fn round(side: Side, quick: bool) -> Result<Vec<f64>, Failed> {
    let calls = if quick { 2_000 } else { 20_000 };
    let mut figures = Vec::new();
    for (server, caller) in [(None, None), (Some(0), Some(1))] {
        let mut server = Process::start_on(side, &Job::CallServe, server)?;
        let call = Job::Call { to: server.line()?, calls, at_once: 1 };
        let latencies: Latencies = Process::start_on(side, &call, caller)?.figure()?;
        figures.extend([latencies.p50_us, latencies.p99_us]);
    }
    Ok(figures)
}
