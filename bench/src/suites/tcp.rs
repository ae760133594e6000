//! `tcp`: one connection, one stream, over loopback.

use super::{Reach, Suite, beside, quic};
use crate::Name;
use crate::job::{Over, Side};

const NOISE: Side = Side::Weir(Over::Noise);
const TLS: Side = Side::Weir(Over::Tls);

/// One stream.
pub const SUITE: Suite = Suite {
    name: Name::Tcp,
    title: "tcp",
    about: "One connection, one stream, 1 GiB over loopback between two processes, in writes of 64 KiB and of 1 KiB: first \
            write to the peer's one-byte receipt; user and system seconds of both processes meanwhile.",
    columns: &["Gbit/s, 64 KiB", "CPU s per GiB, 64 KiB", "Gbit/s, 1 KiB", "CPU s per GiB, 1 KiB"],
    sides: &[
        NOISE,
        Side::Bare(Over::Noise),
        Side::Libp2p(Over::Noise),
        TLS,
        Side::Bare(Over::Tls),
        Side::Libp2p(Over::Tls),
    ],
    settings: &[
        "Noise: ChaCha20-Poly1305. TLS 1.3: AES, whose key length the sides choose (weir and bare loop: 128 bits). Muxer: yamux, \
         with the windows that each side's default lets grow; Nagle's algorithm off.",
        "bare loop, ring: one thread gathers writes into records of 65,535 bytes with their tag, seals each in place with ring and \
         writes it to a blocking socket; the reader opens each in place. No handshake, no streams, no windows. bare loop, \
         rustls: rustls' own buffers on a blocking socket.",
        "rust-libp2p on multi-thread tokio; weir's handle on a thread of its own beside the network thread.",
    ],
    packages: &[
        "libp2p",
        "libp2p-tcp",
        "libp2p-noise",
        "libp2p-tls",
        "libp2p-yamux",
        "libp2p-stream",
        "tokio",
        "mio",
        "rustls",
        "ring",
    ],
    targets: &[
        beside(NOISE, 0, Side::Bare(Over::Noise), Reach::AtLeast(0.9)),
        beside(NOISE, 2, Side::Bare(Over::Noise), Reach::AtLeast(0.9)),
        beside(TLS, 0, Side::Bare(Over::Tls), Reach::AtLeast(0.8)),
        beside(TLS, 2, Side::Bare(Over::Tls), Reach::AtLeast(0.8)),
        beside(NOISE, 0, Side::Libp2p(Over::Noise), Reach::Beside),
        beside(NOISE, 2, Side::Libp2p(Over::Noise), Reach::Beside),
        beside(TLS, 0, Side::Libp2p(Over::Tls), Reach::Beside),
        beside(TLS, 2, Side::Libp2p(Over::Tls), Reach::Beside),
        beside(NOISE, 1, Side::Bare(Over::Noise), Reach::Beside),
        beside(TLS, 1, Side::Bare(Over::Tls), Reach::Beside),
    ],
    measure: quic::round,
};
