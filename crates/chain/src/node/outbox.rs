//! What this node has to tell the network below, until that has room for it: nothing of it is lost.
//!
//! The tip goes first, and only the newest. Ids to remove and transfers to publish wait in order; of both there are at most as
//! many as the mempool and a block hold.

use std::collections::VecDeque;
use std::future::{Future as _, poll_fn};
use std::task::{Poll, Waker};
use std::time::Duration;

use weir::{ItemId, PublishError};

use super::Inner;
use crate::{Hash, Header, Transfer};

/// How long to wait for a mailbox that is full.
const PAUSE: Duration = Duration::from_millis(2);

#[derive(Debug, Default)]
pub(super) struct Outbox {
    tip: Option<Header>,
    removed: VecDeque<Hash>,
    published: VecDeque<Transfer>,
    sender: Option<Waker>,
}

enum Next {
    Tip(Header),
    Removed(Hash),
    Published(Transfer),
}

impl Outbox {
    /// This is the head now; `None` changes nothing.
    pub(super) fn tip(&mut self, header: Option<Header>) {
        self.tip = header.or(self.tip.take());
        self.wake();
    }

    /// These are not worth offering any more.
    pub(super) fn remove(&mut self, ids: impl IntoIterator<Item = Hash>) {
        self.removed.extend(ids);
        self.wake();
    }

    /// These are worth offering.
    pub(super) fn publish(&mut self, transfers: impl IntoIterator<Item = Transfer>) {
        self.published.extend(transfers);
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(waker) = self.sender.take() {
            waker.wake();
        }
    }

    fn next(&mut self) -> Option<Next> {
        let tip = self.tip.take().map(Next::Tip);
        tip.or_else(|| self.removed.pop_front().map(Next::Removed))
            .or_else(|| self.published.pop_front().map(Next::Published))
    }
}

/// Sends what waits, until the network stops.
pub(super) async fn send(inner: &Inner) {
    // A sleep ends early only when the network stops.
    let mut stopped = std::pin::pin!(async { while inner.net.sleep(super::ROUSE).await.is_ok() {} });
    loop {
        let next = poll_fn(|cx| {
            let mut state = inner.state();
            if let Some(next) = state.out.next() {
                return Poll::Ready(Some(next));
            }
            state.out.sender = Some(cx.waker().clone());
            drop(state);
            stopped.as_mut().poll(cx).map(|()| None)
        });
        let Some(next) = next.await else { return };
        if let Err(PublishError::Stopped) = one(inner, next).await {
            return;
        }
    }
}

/// Sends one thing, however long there is no room for it.
async fn one(inner: &Inner, next: Next) -> Result<(), PublishError> {
    loop {
        let sent = match &next {
            Next::Tip(header) => inner.tip.publish(header),
            Next::Removed(id) => inner.pool.remove(ItemId(*id)),
            Next::Published(transfer) if !inner.state().mempool.contains(transfer.id()) => return Ok(()),
            Next::Published(transfer) => inner.pool.publish(transfer).map(|_| ()),
        };
        match sent {
            Err(PublishError::Busy) => {
                inner.net.sleep(PAUSE).await.map_err(|_| PublishError::Stopped)?;
            }
            done => return done,
        }
        let newer = inner.state().out.tip.is_some();
        if newer && matches!(next, Next::Tip(_)) {
            return Ok(()); // a newer head waits
        }
    }
}
