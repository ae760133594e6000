//! What stands between user threads and the network thread: bounded queues and the wakers of both sides.
//!
//! - user → network: one [`Inbox`] per node. A push rings the host's bell only while the network thread sleeps.
//! - the same for raw streams, whose bytes lie in buffers of their own: one list per node ([`Listed`]).
//! - network → user: one [`Outbox`] per channel. Items are handed over in batches; each wakes one waiting task.
//! - one answer: [`promise`].
//!
//! Locks are held for a few moves of pointers, never across a system call or a waker.

mod bell;
mod cancelled;
mod inbox;
mod listed;
mod outbox;
mod promise;
mod queue;
mod waiters;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub(crate) use bell::Bell;
pub(crate) use cancelled::Cancelled;
pub(crate) use inbox::{CancelOnDrop, Inbox};
pub(crate) use listed::Listed;
pub(crate) use outbox::Outbox;
pub(crate) use promise::{Pending, Promise, promise};
pub(crate) use queue::Queue;
pub(crate) use waiters::{Place, Waiters};

/// A bell of which nobody hears, for tests of what has one.
#[cfg(test)]
pub(crate) fn unused_bell() -> Bell {
    #[derive(Debug)]
    struct Nobody;
    impl crate::host::Host for Nobody {
        fn now(&self) -> weir_base::Instant {
            weir_base::Instant::ZERO
        }
        fn wake(&self) {}
        fn block_on(&self, _: std::pin::Pin<&mut dyn std::future::Future<Output = ()>>) {
            panic!("nobody waits here");
        }
    }
    Bell::new(std::sync::Arc::new(Nobody))
}

/// Locks, also after a panic of another holder: every critical section leaves its data whole at each step.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
