//! The wall clock of a node.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use weir::Instant;

/// Tells Unix milliseconds. It is asked each time anew: a system's clock may be set, and a host's own clock need not count the
/// time that it was suspended.
#[derive(Clone)]
pub struct Wall(Arc<dyn Fn(Instant) -> u64 + Send + Sync>);

impl Wall {
    /// The system's clock.
    pub fn system() -> Self {
        Self::by(|_| {
            let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            u64::try_from(unix.as_millis()).unwrap_or(u64::MAX)
        })
    }

    /// A clock that goes as the network's does, from these Unix milliseconds at its zero: for virtual time.
    pub fn from_origin(unix_ms: u64) -> Self {
        Self::by(move |now| unix_ms.saturating_add(now.as_nanos() / 1_000_000))
    }

    /// Any clock: it is told the network's time, and tells Unix milliseconds.
    pub fn by(clock: impl Fn(Instant) -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(clock))
    }

    /// Unix milliseconds at this time of the network's clock.
    pub fn now(&self, now: Instant) -> u64 {
        (self.0)(now)
    }
}

impl Default for Wall {
    fn default() -> Self {
        Self::system()
    }
}

impl std::fmt::Debug for Wall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Wall")
    }
}
