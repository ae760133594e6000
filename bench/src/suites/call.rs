//! `call`: 1 KiB each way between two processes.

use super::{Reach, Suite, beside, target};
use crate::Name;
use crate::job::{Job, Latencies, Over, Side, Threads};
use crate::process::{Failed, Process, measure};

/// Calls.
pub const SUITE: Suite = Suite {
    name: Name::Call,
    title: "call",
    about: "A request of 1 KiB and an answer of 1 KiB over loopback between two processes, each on a stream of its own, the handler in \
            a task of its own: one after the other, then 64 in flight; user and system seconds of both processes in the second \
            part.",
    columns: &["p50, µs", "p99, µs", "calls/s, 64 in flight", "CPU ms per 1,000, 64 in flight"],
    sides: &[
        Side::Weir(Over::Quic),
        TASK,
        Side::Quinn,
        Side::Libp2p(Over::Quic),
        TCP,
        TCP_TASK,
        Side::Libp2p(Over::Noise),
        Side::Echo(Threads::One),
        Side::Echo(Threads::Two),
    ],
    settings: &[
        "20,000 calls one after the other, 100,000 with 64 in flight, each after a tenth as many that do not count. Windows, \
         cipher and socket buffers as for `quic`.",
        "Callers and handlers are tasks on multi-thread tokio on all sides. raw quinn: a stream per call and a task per request; \
         rust-libp2p: request-response, its swarm in a task; weir: a call channel, its network thread beside tokio; weir on tokio: its \
         event loop in a task.",
        "bare echo: blocking threads and plain TCP, one call after the other. What it takes with two threads in each process, one that \
         reads and one that calls or answers, is what a host with a thread of its own cannot do without.",
        "Over TCP: Noise and yamux, Nagle's algorithm off, default windows.",
    ],
    packages: &[
        "quinn-proto",
        "quinn",
        "libp2p",
        "libp2p-request-response",
        "libp2p-tcp",
        "libp2p-yamux",
        "tokio",
        "rustls",
        "ring",
    ],
    targets: &[
        target(0, Side::Quinn, Reach::AtMost(1.3)),
        target(2, Side::Quinn, Reach::AtLeast(0.8)),
        target(0, Side::Libp2p(Over::Quic), Reach::AtMost(0.6)),
        target(2, Side::Libp2p(Over::Quic), Reach::AtLeast(3.0)),
        beside(TASK, 0, Side::Quinn, Reach::AtMost(1.3)),
        beside(TASK, 2, Side::Quinn, Reach::AtLeast(0.8)),
        beside(TASK, 0, Side::Libp2p(Over::Quic), Reach::AtMost(0.6)),
        beside(TASK, 2, Side::Libp2p(Over::Quic), Reach::AtLeast(3.0)),
        beside(TCP, 0, Side::Libp2p(Over::Noise), Reach::AtMost(0.6)),
        beside(TCP, 2, Side::Libp2p(Over::Noise), Reach::AtLeast(3.0)),
        beside(TCP_TASK, 0, Side::Libp2p(Over::Noise), Reach::AtMost(0.6)),
        beside(TCP_TASK, 2, Side::Libp2p(Over::Noise), Reach::AtLeast(3.0)),
        target(1, Side::Quinn, Reach::Beside),
        target(3, Side::Quinn, Reach::Beside),
    ],
    measure: round,
};

const TASK: Side = Side::Task(Over::Quic);
const TCP: Side = Side::Weir(Over::Noise);
const TCP_TASK: Side = Side::Task(Over::Noise);

fn round(side: Side, quick: bool) -> Result<Vec<f64>, Failed> {
    let (alone, many) = if quick { (2_000, 10_000) } else { (20_000, 100_000) };
    let mut server = Process::start(side, &Job::CallServe)?;
    let to = server.line()?;
    let single: Latencies = measure(side, &Job::Call { to: to.clone(), calls: alone, at_once: 1 })?;
    if matches!(side, Side::Echo(_)) {
        return Ok(vec![single.p50_us, single.p99_us, f64::NAN, f64::NAN]);
    }
    let before = server.usage()?;
    let full: Latencies = measure(side, &Job::Call { to, calls: many, at_once: 64 })?;
    let served = server.usage()?.cpu - before.cpu;
    // The caller's seconds leave out its warm-up, the server's cannot: they count for a tenth more calls.
    let cpu = full.cpu / many as f64 + served / (many as f64 * 1.1);
    Ok(vec![single.p50_us, single.p99_us, full.per_second, cpu * 1e6])
}
