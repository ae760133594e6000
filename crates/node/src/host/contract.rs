//! What the handles of a node may ask of its host: all that they need to know of it.

use std::future::Future;
use std::pin::Pin;

use weir_base::Instant;

/// What the handles of a node ask of its host, from any thread.
pub trait Host: std::fmt::Debug + Send + Sync {
    /// Time since the host's origin. It never goes back.
    fn now(&self) -> Instant;

    /// Wakes whoever drives the node: it has work. Called once per [sleep](crate::host::Core::sleep), never while a lock of the node is
    /// held.
    fn wake(&self);

    /// Whether waking costs no system call. Then handles wake for more.
    fn wakes_cheaply(&self) -> bool {
        false
    }

    /// Lets the calling thread wait until `future` is ready: for the blocking calls of handles.
    ///
    /// # Panics
    /// Where the platform cannot block, or the wait could never end.
    fn block_on(&self, future: Pin<&mut dyn Future<Output = ()>>);

    /// The node has been told to stop: waits until its resources (threads, ports) are free, unless the calling thread is the
    /// one that drives it.
    fn join(&self) {}
}
