//! `streams`: short streams on one link.

use super::{Reach, Suite, beside, target};
use crate::Name;
use crate::job::{Job, Latencies, Over, Side};
use crate::process::{Failed, Process, measure};

const TCP: Side = Side::Weir(Over::Noise);

/// Short streams.
pub const SUITE: Suite = Suite {
    name: Name::Streams,
    title: "streams",
    about: "10,000 streams on one link over loopback between two processes, 64 at once: each is opened, carries 32 bytes there and \
            back, and ends both ways.",
    columns: &["streams/s", "p50, µs", "p99, µs", "CPU ms per 1,000"],
    sides: &[Side::Weir(Over::Quic), Side::Libp2p(Over::Quic), TCP, Side::Libp2p(Over::Noise)],
    settings: &[
        "After a tenth as many that do not count. weir: raw streams of a channel; rust-libp2p: libp2p-stream, which drops streams that its acceptor has not taken yet: those \
         are opened again, and count once. Windows, cipher and socket \
         buffers as for `quic`; over TCP Noise and yamux with default windows.",
    ],
    packages: &["libp2p", "libp2p-stream", "libp2p-tcp", "libp2p-yamux", "quinn-proto", "tokio"],
    targets: &[
        target(0, Side::Libp2p(Over::Quic), Reach::AtLeast(3.0)),
        beside(TCP, 0, Side::Libp2p(Over::Noise), Reach::AtLeast(3.0)),
        target(3, Side::Libp2p(Over::Quic), Reach::Beside),
        beside(TCP, 3, Side::Libp2p(Over::Noise), Reach::Beside),
    ],
    measure: round,
};

fn round(side: Side, quick: bool) -> Result<Vec<f64>, Failed> {
    let count = if quick { 2_000 } else { 10_000 };
    let mut server = Process::start(side, &Job::StreamsServe)?;
    let to = server.line()?;
    let before = server.usage()?;
    let streams: Latencies = measure(side, &Job::Streams { to, count, at_once: 64 })?;
    let served = server.usage()?.cpu - before.cpu;
    // The opener's seconds leave out its warm-up, the server's cannot: they count for a tenth more streams.
    let cpu = streams.cpu / count as f64 + served / (count as f64 * 1.1);
    Ok(vec![streams.per_second, streams.p50_us, streams.p99_us, cpu * 1e6])
}
