//! `pool`: a small network in one process.

use super::{Reach, Suite, absolute, target};
use crate::Name;
use crate::job::{Job, Over, Side, Spread};
use crate::process::{Failed, measure};

/// A pool, and a topic of gossipsub.
pub const SUITE: Suite = Suite {
    name: Name::Pool,
    title: "pool",
    about: "16 nodes in one process over loopback QUIC, a ring plus random edges to degree 8, 2,000 items of 1 KiB from rotating \
            nodes, at most 50 not yet everywhere. A delivery is an item at a node other than its origin.",
    columns: &[
        "CPU s per 1,000 deliveries",
        "bodies received per delivery",
        "delivery p50, ms",
        "delivery p99, ms",
        "items/s",
    ],
    sides: &[Side::Weir(Over::Quic), Side::Libp2p(Over::Quic)],
    settings: &[
        "The same graph on both sides; links stand and rest 5 s before the first item (gossipsub's mesh forms meanwhile).",
        "weir: a pool, offer delay 0, every candidate accepted by a task per node. rust-libp2p: gossipsub, its default mesh, \
         unsigned messages, ids from their first 8 bytes, no validation by the application.",
    ],
    packages: &["quinn-proto", "libp2p", "libp2p-quic", "libp2p-gossipsub", "tokio", "rustls", "ring"],
    targets: &[
        target(0, Side::Libp2p(Over::Quic), Reach::AtMost(0.4)),
        absolute(Side::Weir(Over::Quic), 1, Reach::AtMost(1.05)),
        target(3, Side::Libp2p(Over::Quic), Reach::AtMost(1.0)),
        target(2, Side::Libp2p(Over::Quic), Reach::Beside),
    ],
    measure: round,
};

fn round(side: Side, quick: bool) -> Result<Vec<f64>, Failed> {
    let items = if quick { 200 } else { 2_000 };
    let spread: Spread = measure(side, &Job::Pool { items })?;
    Ok(vec![spread.cpu_per_1000, spread.copies, spread.p50_ms, spread.p99_ms, spread.per_second])
}
