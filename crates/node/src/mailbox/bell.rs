//! How a handle wakes a host that sleeps: one system call per sleep, however many handles have something.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use crate::host::Host;

/// See the module.
#[derive(Debug)]
pub(crate) struct Bell {
    state: AtomicU8,
    rings: AtomicU64,
    host: Arc<dyn Host>,
}

/// The host is awake.
const AWAKE: u8 = 0;
/// It sleeps.
const ASLEEP: u8 = 1;

impl Bell {
    /// The bell of a host that is awake.
    pub(crate) fn new(host: Arc<dyn Host>) -> Self {
        Self { state: AtomicU8::new(AWAKE), rings: AtomicU64::new(0), host }
    }

    /// The host is about to sleep: it must look into the inbox once more after this.
    pub(crate) fn sleep(&self) {
        self.state.store(ASLEEP, Ordering::SeqCst);
    }

    /// It is awake again: nobody needs to ring.
    pub(crate) fn wake_up(&self) {
        self.state.store(AWAKE, Ordering::Relaxed);
    }

    /// Times somebody had to ring.
    pub(crate) fn rings(&self) -> u64 {
        self.rings.load(Ordering::Relaxed)
    }

    /// Who sleeps and wakes.
    pub(crate) fn host(&self) -> &dyn Host {
        &*self.host
    }

    /// The inbox has something.
    pub(super) fn ring(&self) {
        if self.state.load(Ordering::SeqCst) == AWAKE || self.state.swap(AWAKE, Ordering::SeqCst) == AWAKE {
            return;
        }
        self.rings.fetch_add(1, Ordering::Relaxed);
        self.host.wake();
    }
}
