//! A bounded queue from the network thread to any number of user tasks.
//!
//! What fills it is bounded where it comes from: candidates and tips by what was granted, requests by what is refused
//! beyond. So a full queue never holds up another channel.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};

use super::{Place, Waiters, lock};

/// See the module.
#[derive(Debug)]
pub(crate) struct Outbox<T> {
    capacity: usize,
    state: Mutex<State<T>>,
}

#[derive(Debug)]
struct State<T> {
    queue: VecDeque<T>, // <= capacity
    waiters: Waiters,
    dropped: u64,
    closed: bool,
}

/// Memory of an empty queue is given back beyond so many places.
const KEPT: usize = 64;

impl<T> Outbox<T> {
    /// An empty queue of at most `capacity` items (at least one).
    pub(crate) fn new(capacity: usize) -> Self {
        let state = State { queue: VecDeque::new(), waiters: Waiters::default(), dropped: 0, closed: false };
        Self { capacity: capacity.max(1), state: Mutex::new(state) }
    }

    /// Appends `item`, whose taker goes to `wakers`; gives it back where the queue is full or closed.
    pub(crate) fn push(&self, item: T, wakers: &mut Vec<Waker>) -> Result<(), T> {
        let mut state = lock(&self.state);
        if state.closed || state.queue.len() >= self.capacity {
            return Err(item);
        }
        state.queue.push_back(item);
        wakers.extend(state.waiters.pop());
        Ok(())
    }

    /// Appends `item`, dropping and counting the oldest where the queue is full.
    pub(crate) fn push_newest(&self, item: T, wakers: &mut Vec<Waker>) {
        let mut state = lock(&self.state);
        if state.closed {
            return;
        }
        if state.queue.len() >= self.capacity {
            state.queue.pop_front();
            state.dropped += 1;
        }
        state.queue.push_back(item);
        wakers.extend(state.waiters.pop());
    }

    /// No more items; those in the queue may still be taken.
    pub(crate) fn close(&self, wakers: &mut Vec<Waker>) {
        let mut state = lock(&self.state);
        state.closed = true;
        state.waiters.drain_into(wakers);
    }

    /// Drops what is in the queue, outside the lock.
    pub(crate) fn clear(&self) {
        let queue = std::mem::take(&mut lock(&self.state).queue);
        drop(queue);
    }

    /// Removes the item that `is_it`, if it was not taken yet.
    pub(crate) fn remove(&self, is_it: impl Fn(&T) -> bool) -> Option<T> {
        let mut state = lock(&self.state);
        let at = state.queue.iter().position(is_it)?;
        state.queue.remove(at)
    }

    /// The oldest item, if any.
    pub(crate) fn take(&self) -> Option<T> {
        lock(&self.state).pop()
    }

    /// Items waiting.
    pub(crate) fn len(&self) -> usize {
        lock(&self.state).queue.len()
    }

    /// Items dropped for newer ones since last asked.
    pub(crate) fn dropped(&self) -> u64 {
        std::mem::take(&mut lock(&self.state).dropped)
    }

    /// Waits for an item; `None` once closed and empty.
    pub(crate) fn next(&self) -> TakeFuture<'_, T> {
        TakeFuture { outbox: self, place: Place::default() }
    }

    /// Takes the oldest item, or waits in `place`; `None` once closed and empty.
    pub(super) fn poll_take(&self, place: &mut Place, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut state = lock(&self.state);
        let taken = state.pop();
        if taken.is_none() && !state.closed {
            state.waiters.wait(place, cx.waker());
            return Poll::Pending;
        }
        state.waiters.leave(place);
        Poll::Ready(taken)
    }

    /// Nobody waits in `place` any more. Who was woken there, and did not come for the item, passes the wake on.
    pub(super) fn leave(&self, place: &mut Place) {
        let mut state = lock(&self.state);
        let passed_on = state.waiters.leave(place) && !state.queue.is_empty();
        let waker = if passed_on { state.waiters.pop() } else { None };
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> State<T> {
    fn pop(&mut self) -> Option<T> {
        let item = self.queue.pop_front();
        if self.queue.is_empty() && self.queue.capacity() > KEPT {
            self.queue.shrink_to(KEPT);
        }
        item
    }
}

/// The next item of an [`Outbox`].
#[derive(Debug)]
pub(crate) struct TakeFuture<'a, T> {
    outbox: &'a Outbox<T>,
    place: Place,
}

impl<T> Future for TakeFuture<'_, T> {
    type Output = Option<T>;
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let this = self.get_mut();
        this.outbox.poll_take(&mut this.place, cx)
    }
}

impl<T> Drop for TakeFuture<'_, T> {
    fn drop(&mut self) {
        self.outbox.leave(&mut self.place);
    }
}
