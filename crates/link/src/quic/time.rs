//! The two clocks: ours, and the standard library's that QUIC's state machine counts in. The only file that names the latter.
#![allow(clippy::disallowed_types)] // named, never read

use std::time::{Duration, SystemTime};

use quinn_proto::TimeSource;
use weir_base::Instant;
use weir_libp2p::tls::WallClock;

/// The standard library's monotonic clock, as read by the host at its origin.
pub type Anchor = std::time::Instant;

/// Translates between both.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    anchor: Anchor,
}

impl Clock {
    pub(crate) fn new(anchor: Anchor) -> Self {
        Self { anchor }
    }

    /// QUIC's time for ours. Beyond what the platform can count (centuries) it stands still.
    pub(crate) fn to_quic(self, now: Instant) -> Anchor {
        self.anchor.checked_add(Duration::from_nanos(now.as_nanos())).unwrap_or(self.anchor)
    }

    /// Our time for QUIC's.
    pub(crate) fn to_ours(self, at: Anchor) -> Instant {
        Instant::ZERO + at.saturating_duration_since(self.anchor)
    }
}

/// Wall time for QUIC's tokens.
pub(crate) struct WallTime(pub(crate) WallClock);

impl TimeSource for WallTime {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.0.now().as_secs())
    }
}
