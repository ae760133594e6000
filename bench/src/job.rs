//! What a child process is asked to do, and what it answers.

use serde::{Deserialize, Serialize};

/// What carries links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Over {
    /// QUIC.
    Quic,
    /// TCP with Noise, which seals with ChaCha20-Poly1305, and yamux.
    Noise,
    /// TCP with TLS 1.3 and yamux.
    Tls,
}

/// How many threads a process has at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Threads {
    /// The one that reads goes on with what it has read.
    One,
    /// One reads, and wakes the other.
    Two,
}

/// A program that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Side {
    /// Weir through its public handles.
    Weir(Over),
    /// The same, driven by a task of the application's tokio in place of a network thread.
    Task(Over),
    /// As little as can carry bytes: over QUIC, quinn-proto, mio and quinn-udp on one thread; over TCP, records that are sealed and written
    /// to a socket, without handshake of Noise's, streams or windows.
    Bare(Over),
    /// Messages over TCP, not sealed, echoed by blocking threads.
    Echo(Threads),
    /// quinn on multi-thread tokio.
    Quinn,
    /// rust-libp2p on multi-thread tokio.
    Libp2p(Over),
}

impl Side {
    /// As tables name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Weir(Over::Quic) => "weir",
            Self::Weir(Over::Noise) => "weir, Noise",
            Self::Weir(Over::Tls) => "weir, TLS",
            Self::Task(Over::Quic) => "weir on tokio",
            Self::Task(Over::Noise) => "weir on tokio, Noise",
            Self::Task(Over::Tls) => "weir on tokio, TLS",
            Self::Bare(Over::Quic) => "bare loop",
            Self::Bare(Over::Noise) => "bare loop, ring",
            Self::Bare(Over::Tls) => "bare loop, rustls",
            Self::Echo(Threads::One) => "bare echo over TCP",
            Self::Echo(Threads::Two) => "bare echo over TCP, two threads each",
            Self::Quinn => "raw quinn",
            Self::Libp2p(Over::Quic) => "rust-libp2p",
            Self::Libp2p(Over::Noise) => "rust-libp2p, Noise",
            Self::Libp2p(Over::Tls) => "rust-libp2p, TLS",
        }
    }
}

/// What one child does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Job {
    /// Takes one upload after the other and answers each with one byte.
    UploadServe,
    /// Uploads on one stream and waits for the receipt.
    Upload {
        /// Where to.
        to: String,
        /// How much.
        bytes: u64,
        /// Bytes of each write.
        write: usize,
    },
    /// Answers calls.
    CallServe,
    /// Calls.
    Call {
        /// Whom.
        to: String,
        /// How often.
        calls: u64,
        /// Calls in flight.
        at_once: u64,
    },
    /// Connects, calls once, leaves, and does so again.
    Setup {
        /// Whom.
        to: String,
    },
    /// Echoes short streams.
    StreamsServe,
    /// Opens streams, writes a little, and reads it back to the end.
    Streams {
        /// To whom.
        to: String,
        /// How many.
        count: u64,
        /// Streams open at once.
        at_once: u64,
    },
    /// A whole network in this process.
    Pool {
        /// Items to spread.
        items: usize,
    },
    /// Listens.
    IdleServe,
    /// Holds idle links.
    Idle {
        /// To whom.
        to: String,
        /// How many.
        links: usize,
    },
}

/// What one upload measured, at the client.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Transfer {
    /// First write to the peer's receipt, in seconds.
    pub seconds: f64,
    /// User and system seconds of the client's process meanwhile.
    pub cpu: f64,
}

/// How long calls took.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Latencies {
    /// Median, in microseconds.
    pub p50_us: f64,
    /// 99th percentile, in microseconds.
    pub p99_us: f64,
    /// Calls per second over the whole run.
    pub per_second: f64,
    /// User and system seconds of the caller's process meanwhile.
    pub cpu: f64,
}

/// How long it took to be answered by somebody there was no link to.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Setup {
    /// From the dial to the first answer, in milliseconds.
    pub first_ms: f64,
    /// The same at the second time, when both know of each other; none where the side does not do it.
    pub again_ms: Option<f64>,
}

/// What one spread of items measured.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Spread {
    /// CPU seconds per 1,000 deliveries at a node other than the origin.
    pub cpu_per_1000: f64,
    /// Complete bodies received per delivery.
    pub copies: f64,
    /// Publish to delivery, median, in milliseconds.
    pub p50_ms: f64,
    /// Publish to delivery, 99th percentile, in milliseconds.
    pub p99_ms: f64,
    /// Items per second that reached all.
    pub per_second: f64,
}

/// What a process has used until now.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Usage {
    /// User and system seconds.
    pub cpu: f64,
    /// Resident bytes; 0 where the system does not tell.
    pub rss: u64,
}
