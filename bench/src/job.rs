//! What a child process is asked to do, and what it answers.

use serde::{Deserialize, Serialize};

/// A program that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Side {
    /// Weir through its public handles.
    Weir,
    /// The same without inline turns: whoever calls wakes the network thread.
    Woken,
    /// quinn-proto, mio and quinn-udp on one thread, and nothing else.
    Bare,
    /// quinn on multi-thread tokio.
    Quinn,
    /// rust-libp2p over QUIC on multi-thread tokio.
    Libp2p,
}

impl Side {
    /// As tables name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Weir => "weir",
            Self::Woken => "weir without inline turns",
            Self::Bare => "bare loop",
            Self::Quinn => "raw quinn",
            Self::Libp2p => "rust-libp2p",
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
