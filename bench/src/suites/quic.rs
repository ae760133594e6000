//! `quic`: one connection, one stream, over loopback.

use super::{Reach, Suite, target};
use crate::Name;
use crate::job::{Job, Over, Side, Transfer};
use crate::process::{Failed, Process, measure};

/// One stream.
pub const SUITE: Suite = Suite {
    name: Name::Quic,
    title: "quic",
    about: "One connection, one stream, 1 GiB over loopback between two processes, in writes of 64 KiB and of 1 KiB: first \
            write to the peer's one-byte receipt; user and system seconds of both processes meanwhile.",
    columns: &["Gbit/s, 64 KiB", "CPU s per GiB, 64 KiB", "Gbit/s, 1 KiB", "CPU s per GiB, 1 KiB"],
    sides: &[Side::Weir(Over::Quic), Side::Bare(Over::Quic), Side::Quinn, Side::Libp2p(Over::Quic)],
    settings: &[
        "Congestion control: CUBIC on all sides. Stream and connection windows: 8 MiB at most (weir lends them as its reader \
         takes, rust-libp2p's send window is quinn's default of 10 MB). MTU discovery up to 1,452 bytes.",
        "Cipher: AES-128-GCM, the only one offered by bare loop and raw quinn and weir's first choice; rust-libp2p's list \
         begins with ChaCha20-Poly1305, which its users cannot change, so that is what it negotiates.",
        "UDP socket buffers: 4 MiB where the program can set them (rust-libp2p's cannot be set).",
        "bare loop: quinn-proto, mio and quinn-udp on one thread that writes in the same loop; raw quinn and rust-libp2p on \
         multi-thread tokio; weir's handle on a thread of its own beside the network thread.",
    ],
    packages: &[
        "quinn-proto",
        "quinn-udp",
        "quinn",
        "libp2p",
        "libp2p-quic",
        "libp2p-stream",
        "tokio",
        "mio",
        "rustls",
        "ring",
    ],
    targets: &[
        target(0, Side::Bare(Over::Quic), Reach::AtLeast(0.9)),
        target(2, Side::Bare(Over::Quic), Reach::AtLeast(0.9)),
        target(0, Side::Quinn, Reach::AtLeast(1.3)),
        target(2, Side::Quinn, Reach::AtLeast(1.5)),
        target(0, Side::Libp2p(Over::Quic), Reach::Beside),
        target(2, Side::Libp2p(Over::Quic), Reach::Beside),
        target(1, Side::Bare(Over::Quic), Reach::Beside),
        target(3, Side::Bare(Over::Quic), Reach::Beside),
        target(1, Side::Quinn, Reach::Beside),
        target(3, Side::Quinn, Reach::Beside),
    ],
    measure: round,
};

/// One round over whatever carries the side's links.
pub(super) fn round(side: Side, quick: bool) -> Result<Vec<f64>, Failed> {
    let bytes = if quick { 128 << 20 } else { 1 << 30 };
    let mut figures = Vec::new();
    for write in [64 << 10, 1 << 10] {
        let mut server = Process::start(side, &Job::UploadServe)?;
        let to = server.line()?;
        let before = server.usage()?;
        let Transfer { seconds, cpu } = measure(side, &Job::Upload { to, bytes, write })?;
        let served = server.usage()?.cpu - before.cpu;
        let gib = bytes as f64 / f64::from(1 << 30);
        figures.extend([bytes as f64 * 8.0 / 1e9 / seconds, (cpu + served) / gib]);
    }
    Ok(figures)
}
