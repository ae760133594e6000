//! `idle`: what a link costs that nobody uses.

use std::time::Duration;

use super::{Reach, Suite, absolute, target};
use crate::Name;
use crate::job::{Job, Over, Side};
use crate::process::{Failed, Process};

/// Idle links.
pub const SUITE: Suite = Suite {
    name: Name::Idle,
    title: "idle",
    about: "A listener with 500 idle links from another process: growth of its resident memory from before the first link to \
            30 s after the last, by link; its share of a core over these 30 s.",
    columns: &["RSS growth per link, KiB", "% of a core"],
    sides: &[Side::Weir(Over::Quic), Side::Quinn],
    settings: &[
        "A sign of life every 15 s: raw quinn's keep-alive from both sides; weir's ping and pong on control, from both sides. \
         raw quinn: the server configuration of `quic`, one side authenticated; weir: default limits but for the number of \
         links, both sides authenticated.",
    ],
    packages: &["quinn-proto", "quinn", "tokio", "rustls", "ring"],
    targets: &[
        absolute(Side::Weir(Over::Quic), 0, Reach::AtMost(48.0)),
        absolute(Side::Weir(Over::Quic), 1, Reach::AtMost(1.0)),
        target(0, Side::Quinn, Reach::Beside),
    ],
    measure: round,
};

/// One round over whatever carries the side's links.
pub(super) fn round(side: Side, quick: bool) -> Result<Vec<f64>, Failed> {
    let (links, rest) = if quick { (50, Duration::from_secs(3)) } else { (500, Duration::from_secs(30)) };
    let mut server = Process::start(side, &Job::IdleServe)?;
    let to = server.line()?;
    let before = server.usage()?;
    let mut clients = Process::start(side, &Job::Idle { to, links })?;
    clients.line()?;
    let connected = server.usage()?;
    std::thread::sleep(rest);
    let after = server.usage()?;
    let growth = (after.rss as f64 - before.rss as f64) / 1024.0 / links as f64;
    Ok(vec![growth, (after.cpu - connected.cpu) / rest.as_secs_f64() * 100.0])
}
