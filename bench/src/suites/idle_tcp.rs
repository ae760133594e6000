//! `idle-tcp`: what a link over TCP costs that nobody uses.

use super::{Reach, Suite, absolute, beside, idle};
use crate::Name;
use crate::job::{Over, Side};

const WEIR: Side = Side::Weir(Over::Noise);

/// Idle links.
pub const SUITE: Suite = Suite {
    name: Name::IdleTcp,
    title: "idle-tcp",
    about: "A listener with 500 idle links over TCP, Noise and yamux from another process: growth of its resident memory from \
            before the first link to 30 s after the last, by link; its share of a core over these 30 s.",
    columns: &["RSS growth per link, KiB", "% of a core"],
    sides: &[WEIR, Side::Libp2p(Over::Noise)],
    settings: &[
        "weir: default limits but for the number of links; identify, ping and pong on control every 15 s and yamux's own every 20 s. \
         rust-libp2p: its ping every 15 s and nothing else.",
    ],
    packages: &["libp2p", "libp2p-tcp", "libp2p-noise", "libp2p-yamux", "tokio"],
    targets: &[
        absolute(WEIR, 0, Reach::AtMost(16.0)),
        absolute(WEIR, 1, Reach::AtMost(0.5)),
        beside(WEIR, 0, Side::Libp2p(Over::Noise), Reach::Beside),
    ],
    measure: idle::round,
};
