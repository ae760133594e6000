//! The node's one queue from user threads to the network thread.
//!
//! Commands are bounded ([`Busy`]). Verdicts, answers and cancellations always find a place: each belongs to something
//! the network thread handed out before, so their number is bounded by that. Raw streams are listed at most once each.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use super::{Bell, Place, Waiters, lock};
use crate::core::Op;
use crate::stream::Pipe;

/// Why a command was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Busy {
    /// The queue is full; room will come.
    Full,
    /// The node has stopped.
    Closed,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Inbox {
    capacity: usize,
    bell: Bell,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    ops: VecDeque<Op>,
    bounded: usize, // of `ops`, those that count; <= capacity
    streams: Vec<Arc<Pipe>>,
    waiting: Waiters,
    closed: bool,
}

/// What the network thread takes out in one go.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    /// Commands, oldest first.
    pub(crate) ops: VecDeque<Op>,
    /// Raw streams with something to do.
    pub(crate) streams: Vec<Arc<Pipe>>,
}

impl Inbox {
    /// An empty inbox of at most `capacity` commands.
    pub(crate) fn new(capacity: usize, bell: Bell) -> Self {
        Self { capacity: capacity.max(1), bell, state: Mutex::default() }
    }

    /// Appends a command that may have to wait.
    pub(crate) fn offer(&self, op: Op) -> Result<(), Busy> {
        let urgent = op.is_urgent();
        {
            let mut state = lock(&self.state);
            if state.closed {
                return Err(Busy::Closed);
            }
            if state.bounded >= self.capacity {
                return Err(Busy::Full);
            }
            state.bounded += 1;
            state.ops.push_back(op);
        }
        self.bell.ring(urgent);
        Ok(())
    }

    /// Appends what always has a place (see the module). Dropped where the node has stopped.
    pub(crate) fn post(&self, op: Op) {
        let urgent = op.is_urgent();
        if self.append(op) {
            self.bell.ring(urgent);
        }
    }

    /// As [`post`](Self::post), for what can wait until the network thread is up for another reason.
    pub(crate) fn post_quietly(&self, op: Op) {
        if self.append(op) && self.bell.host().wakes_cheaply() {
            self.bell.ring(false);
        }
    }

    fn append(&self, op: Op) -> bool {
        debug_assert!(!op.is_bounded(), "{op:?} must be offered");
        let mut state = lock(&self.state);
        if !state.closed {
            state.ops.push_back(op);
        }
        !state.closed
    }

    /// Lists a raw stream; its own flag keeps it from being listed twice.
    pub(crate) fn list(&self, pipe: Arc<Pipe>) {
        {
            let mut state = lock(&self.state);
            if state.closed {
                return;
            }
            state.streams.push(pipe);
        }
        self.bell.ring(false);
    }

    /// Waits for room and appends `op`; gives `false` where the node has stopped.
    pub(crate) fn room(&self, op: Op) -> InboxRoom<'_> {
        InboxRoom { inbox: self, op: Some(op), place: Place::default() }
    }

    /// Takes at most `most` commands, and all streams. Senders that wait for room go to `wakers`.
    pub(crate) fn take(&self, most: usize, into: &mut Taken, wakers: &mut Vec<Waker>) {
        let mut state = lock(&self.state);
        let state = &mut *state;
        std::mem::swap(&mut state.streams, &mut into.streams);
        if state.ops.len() <= most {
            std::mem::swap(&mut state.ops, &mut into.ops);
        } else {
            into.ops.extend(state.ops.drain(..most));
        }
        let freed = into.ops.iter().filter(|op| op.is_bounded()).count();
        state.bounded = state.bounded.saturating_sub(freed);
        (0..freed).map_while(|_| state.waiting.pop()).for_each(|waker| wakers.push(waker));
    }

    /// Whether there is nothing to take.
    pub(crate) fn is_empty(&self) -> bool {
        let state = lock(&self.state);
        state.ops.is_empty() && state.streams.is_empty()
    }

    /// No more commands: what is in the queue is dropped, so that its promises end.
    pub(crate) fn close(&self) {
        let mut wakers = Vec::new();
        let rest = {
            let mut state = lock(&self.state);
            state.closed = true;
            state.waiting.drain_into(&mut wakers);
            (std::mem::take(&mut state.ops), std::mem::take(&mut state.streams))
        };
        drop(rest);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Whether the node has stopped.
    pub(crate) fn is_closed(&self) -> bool {
        lock(&self.state).closed
    }

    /// The bell of this inbox.
    pub(crate) fn bell(&self) -> &Bell {
        &self.bell
    }
}

/// Room for one command; see [`Inbox::room`].
#[derive(Debug)]
pub(crate) struct InboxRoom<'a> {
    inbox: &'a Inbox,
    op: Option<Op>,
    place: Place,
}

impl Future for InboxRoom<'_> {
    type Output = bool;
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<bool> {
        let this = self.get_mut();
        let mut state = lock(&this.inbox.state);
        if state.closed {
            return Poll::Ready(false);
        }
        if state.bounded >= this.inbox.capacity {
            state.waiting.wait(&mut this.place, cx.waker());
            return Poll::Pending;
        }
        state.waiting.leave(&mut this.place);
        let op = this.op.take();
        let urgent = op.as_ref().is_some_and(Op::is_urgent);
        state.bounded += usize::from(op.is_some());
        state.ops.extend(op);
        drop(state);
        this.inbox.bell.ring(urgent);
        Poll::Ready(true)
    }
}

impl Drop for InboxRoom<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.inbox.state);
        let passed_on = state.waiting.leave(&mut self.place) && state.bounded < self.inbox.capacity;
        let waker = if passed_on { state.waiting.pop() } else { None };
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
