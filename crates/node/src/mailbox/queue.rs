//! The taking end of an [`Outbox`].

use std::sync::Arc;
use std::task::{Context, Poll};

use super::outbox::TakeFuture;
use super::{Outbox, Place};

/// The taking end of an [`Outbox`], as a handle holds it. Clones share the outbox; each waits in a place of its own.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    outbox: Arc<Outbox<T>>,
    place: Place, // of whoever polls the handle as a stream
}

impl<T> Queue<T> {
    /// One of any number of takers.
    pub(crate) fn new(outbox: Arc<Outbox<T>>) -> Self {
        Self { outbox, place: Place::default() }
    }

    /// Waits for an item; `None` once closed and empty.
    pub(crate) fn next(&self) -> TakeFuture<'_, T> {
        self.outbox.next()
    }

    /// The oldest item, if any.
    pub(crate) fn take(&self) -> Option<T> {
        self.outbox.take()
    }

    /// As [`next`](Self::next), polled. A wait that is not polled again ends with the handle.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        self.outbox.poll_take(&mut self.place, cx)
    }

    /// The outbox.
    pub(crate) fn outbox(&self) -> &Arc<Outbox<T>> {
        &self.outbox
    }
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.outbox))
    }
}

impl<T> Drop for Queue<T> {
    fn drop(&mut self) {
        self.outbox.leave(&mut self.place);
    }
}
