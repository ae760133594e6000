//! Wall time for rustls, set by the host.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustls::pki_types;
use rustls::time_provider::TimeProvider;
use weir_base::UnixTime;

/// The wall clock that rustls reads for certificate dates and ticket ages: whatever the host set last. Clones share it.
///
/// rustls keeps its time source inside a shared configuration, hence the shared cell; nothing waits for it.
#[derive(Clone, Debug, Default)]
pub struct WallClock(Arc<AtomicU64>); // whole seconds since 1970

impl WallClock {
    /// A clock that shows `now` until it is set.
    pub fn new(now: UnixTime) -> Self {
        Self(Arc::new(AtomicU64::new(now.as_secs())))
    }

    /// Sets the time. It may step in either direction.
    pub fn set(&self, now: UnixTime) {
        self.0.store(now.as_secs(), Ordering::Relaxed);
    }

    /// The time that was set last, in whole seconds.
    pub fn now(&self) -> UnixTime {
        UnixTime::from_secs(self.0.load(Ordering::Relaxed))
    }
}

impl TimeProvider for WallClock {
    fn current_time(&self) -> Option<pki_types::UnixTime> {
        let since = Duration::from_secs(self.0.load(Ordering::Relaxed));
        Some(pki_types::UnixTime::since_unix_epoch(since))
    }
}
