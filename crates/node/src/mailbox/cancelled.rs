//! What a server of a request looks at, and the network thread sets.

use std::future::poll_fn;
use std::sync::Mutex;
use std::task::{Poll, Waker};

use super::lock;

/// Whether a request still needs an answer.
#[derive(Debug, Default)]
pub(crate) struct Cancelled(Mutex<(bool, Option<Waker>)>); // and who waits for it

impl Cancelled {
    pub(crate) fn cancel(&self, wakers: &mut Vec<Waker>) {
        let mut state = lock(&self.0);
        state.0 = true;
        wakers.extend(state.1.take());
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        lock(&self.0).0
    }

    /// Waits for it. One task at a time.
    pub(crate) async fn wait(&self) {
        poll_fn(|cx| {
            let mut state = lock(&self.0);
            if state.0 {
                return Poll::Ready(());
            }
            state.1 = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}
