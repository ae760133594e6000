//! What there is to try: stacks, checks, and which of them a run takes.

/// How two nodes are joined.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stack {
    Noise,
    Tls,
    Both,
    Mplex,
    Pnet,
    Quic,
}

impl Stack {
    pub const ALL: [Self; 6] = [Self::Noise, Self::Tls, Self::Both, Self::Mplex, Self::Pnet, Self::Quic];

    /// As the programs are told.
    pub fn word(self) -> &'static str {
        match self {
            Self::Noise => "noise",
            Self::Tls => "tls",
            Self::Both => "both",
            Self::Mplex => "mplex",
            Self::Pnet => "pnet",
            Self::Quic => "quic",
        }
    }

    /// As people are told.
    pub fn name(self) -> &'static str {
        match self {
            Self::Noise => "TCP+Noise+yamux",
            Self::Tls => "TCP+TLS+yamux",
            Self::Both => "TCP+TLS or Noise+yamux",
            Self::Mplex => "TCP+Noise+mplex",
            Self::Pnet => "TCP+pnet+Noise+yamux",
            Self::Quic => "QUIC",
        }
    }
}

/// What two nodes do with each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Check {
    Ping,
    Identify,
    Push,
    LargeIdentify,
    Perf,
    Echo,
    WrongPeer,
    /// As [`Check::Streams`], with [`FEW`] of them: what a short run does.
    FewStreams,
    Streams,
    Reset,
    Vanish,
    Idle,
}

/// Streams of a short run.
pub const FEW: &str = "40";

impl Check {
    /// Those of a full run.
    pub const ALL: [Self; 11] = [
        Self::Ping,
        Self::Identify,
        Self::Push,
        Self::LargeIdentify,
        Self::Perf,
        Self::Echo,
        Self::WrongPeer,
        Self::Streams,
        Self::Reset,
        Self::Vanish,
        Self::Idle,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Identify => "identify",
            Self::Push => "push",
            Self::LargeIdentify => "large identify",
            Self::Perf => "perf",
            Self::Echo => "16 MiB echo",
            Self::WrongPeer => "wrong peer",
            Self::FewStreams => "40 streams",
            Self::Streams => "1,000 streams",
            Self::Reset => "reset codes",
            Self::Vanish => "vanishes",
            Self::Idle => "idle 60 s",
        }
    }

    /// Whether the command `weir` does it, instead of the example with streams of its own.
    pub fn is_of_command(self) -> bool {
        matches!(self, Self::Ping | Self::Identify | Self::Perf | Self::WrongPeer)
    }

    /// Whether it waits for most of its time, so that many run at once.
    pub fn waits(self) -> bool {
        matches!(self, Self::Vanish | Self::Idle)
    }
}
