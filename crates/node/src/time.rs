//! The host's clock: the system's natively, the simulation's in a cluster.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use weir_base::Instant;

use crate::core::Op;
use crate::error::{Stopped, WithinError};
use crate::mailbox::{CancelOnDrop, promise};
use crate::shared::Shared;

/// Waits until `due`.
pub(crate) async fn sleep_until(shared: &Shared, due: Instant) -> Result<(), Stopped> {
    let id = shared.number();
    let (promise, pending) = promise();
    shared.inbox.post(Op::Sleep(id, due, promise)); // where the node has stopped, the promise ends at once
    let guard = CancelOnDrop::new(&shared.inbox, Op::CancelSleep(id));
    let slept = pending.await;
    guard.disarm();
    slept.ok_or(Stopped)
}

/// Waits for `future`, at most `limit`. The clock is not asked where the future is ready at once.
pub(crate) async fn within<F: Future>(
    shared: &Shared,
    limit: Duration,
    future: F,
) -> Result<F::Output, WithinError> {
    let mut future = pin!(future);
    let due = shared.now() + limit;
    let mut sleep = pin!(None);
    poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Ok(output));
        }
        if sleep.is_none() {
            sleep.set(Some(sleep_until(shared, due)));
        }
        match sleep.as_mut().as_pin_mut().map(|sleep| sleep.poll(cx)) {
            Some(Poll::Ready(Ok(()))) => Poll::Ready(Err(WithinError::Elapsed(limit))),
            Some(Poll::Ready(Err(Stopped))) => Poll::Ready(Err(WithinError::Stopped)),
            _ => Poll::Pending,
        }
    })
    .await
}
