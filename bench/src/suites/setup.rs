//! `setup`: from the dial to the first answer over a path with a round trip.

use std::time::Duration;

use super::{Reach, Suite, absolute, beside, target};
use crate::Name;
use crate::job::{Job, Over, Setup, Side};
use crate::path::Path;
use crate::process::{Failed, Process, measure};

/// There and back.
const ROUND_TRIP: Duration = Duration::from_millis(50);

const QUIC: Side = Side::Weir(Over::Quic);
const NOISE: Side = Side::Weir(Over::Noise);
const TLS: Side = Side::Weir(Over::Tls);

/// Connections.
pub const SUITE: Suite = Suite {
    name: Name::Setup,
    title: "setup",
    about: "From the dial to the answer to the first request of 1 KiB, in round trips of 50 ms, between two processes with a relay \
            between them; then the same again after the link has ended.",
    columns: &["round trips", "round trips, again"],
    sides: &[QUIC, Side::Libp2p(Over::Quic), NOISE, Side::Libp2p(Over::Noise), TLS, Side::Libp2p(Over::Tls)],
    settings: &[
        "The relay holds every datagram, and every byte of TCP, 25 ms in each direction. TCP's own handshake ends at the relay: it gives what \
         the dialler says first another round trip, and connects to the listener when the last part of the handshake would have come.",
        "The request is called replay-safe to weir, so that it may go along with a handshake between nodes that know each other \
         (0-RTT, QUIC alone). rust-libp2p: request-response.",
        "Targets are whole round trips and a tenth for what the processors do.",
    ],
    packages: &[
        "quinn-proto",
        "libp2p",
        "libp2p-quic",
        "libp2p-tcp",
        "libp2p-noise",
        "libp2p-tls",
        "libp2p-yamux",
    ],
    targets: &[
        absolute(NOISE, 0, Reach::AtMost(3.1)),
        absolute(TLS, 0, Reach::AtMost(3.1)),
        absolute(QUIC, 0, Reach::AtMost(2.1)),
        absolute(QUIC, 1, Reach::AtMost(1.1)),
        target(0, Side::Libp2p(Over::Quic), Reach::Beside),
        beside(NOISE, 0, Side::Libp2p(Over::Noise), Reach::Beside),
        beside(TLS, 0, Side::Libp2p(Over::Tls), Reach::Beside),
    ],
    measure: round,
};

fn round(side: Side, _quick: bool) -> Result<Vec<f64>, Failed> {
    let mut server = Process::start(side, &Job::CallServe)?;
    let to = server.line()?;
    let path = Path::to(&to, ROUND_TRIP / 2).map_err(|error| Failed::new(side, error.to_string()))?;
    let Setup { first_ms, again_ms } = measure(side, &Job::Setup { to: path.address().to_owned() })?;
    let trips = |ms: f64| ms / (ROUND_TRIP.as_secs_f64() * 1e3);
    Ok(vec![trips(first_ms), again_ms.map_or(f64::NAN, trips)])
}
