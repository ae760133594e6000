//! The node's one queue from user threads to the network thread.
//!
//! Commands are bounded ([`Busy`]). Verdicts, answers and cancellations always find a place: each belongs to something
//! the network thread handed out before, so their number is bounded by that. Raw streams are listed at most once each.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use super::{Place, Waiters, lock};
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

/// How to reach a network thread that sleeps.
#[derive(Debug)]
pub(crate) struct Bell {
    asleep: AtomicBool,
    rings: AtomicU64,
    rope: Rope,
}

#[derive(Debug)]
enum Rope {
    #[cfg(feature = "native")]
    Poll(Arc<mio::Waker>),
    #[cfg(feature = "testing")]
    Cluster(u32, Arc<Mutex<VecDeque<u32>>>),
    #[cfg(test)]
    Nothing,
}

impl Bell {
    /// Wakes a thread in `mio::Poll`.
    #[cfg(feature = "native")]
    pub(crate) fn native(waker: Arc<mio::Waker>) -> Self {
        Self { asleep: AtomicBool::new(false), rings: AtomicU64::new(0), rope: Rope::Poll(waker) }
    }

    /// Notes down that this node of a cluster has work.
    #[cfg(feature = "testing")]
    pub(crate) fn cluster(node: u32, dings: Arc<Mutex<VecDeque<u32>>>) -> Self {
        Self { asleep: AtomicBool::new(true), rings: AtomicU64::new(0), rope: Rope::Cluster(node, dings) }
    }

    /// Only counts.
    #[cfg(test)]
    pub(crate) fn silent() -> Self {
        Self { asleep: AtomicBool::new(true), rings: AtomicU64::new(0), rope: Rope::Nothing }
    }

    /// The network thread is about to sleep: it must look into the inbox once more after this.
    pub(crate) fn doze(&self) {
        self.asleep.store(true, Ordering::SeqCst);
    }

    /// It is up again: nobody needs to ring.
    #[cfg(any(feature = "native", test))]
    pub(crate) fn rise(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }

    /// Times somebody had to ring.
    pub(crate) fn rings(&self) -> u64 {
        self.rings.load(Ordering::Relaxed)
    }

    /// Whether ringing costs no system call.
    fn is_cheap(&self) -> bool {
        match self.rope {
            #[cfg(feature = "native")]
            Rope::Poll(_) => false,
            #[cfg(feature = "testing")]
            Rope::Cluster(..) => true,
            #[cfg(test)]
            Rope::Nothing => true,
        }
    }

    fn ring(&self) {
        if !self.asleep.load(Ordering::SeqCst) || !self.asleep.swap(false, Ordering::SeqCst) {
            return;
        }
        self.rings.fetch_add(1, Ordering::Relaxed);
        match self.rope {
            #[cfg(feature = "native")]
            Rope::Poll(ref waker) => {
                if let Err(error) = waker.wake() {
                    tracing::warn!(%error, "cannot wake the network thread");
                }
            }
            #[cfg(feature = "testing")]
            Rope::Cluster(node, ref dings) => lock(dings).push_back(node),
            #[cfg(test)]
            Rope::Nothing => {}
        }
    }
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
        self.bell.ring();
        Ok(())
    }

    /// Appends what always has a place (see the module). Dropped where the node has stopped.
    pub(crate) fn post(&self, op: Op) {
        if self.append(op) {
            self.bell.ring();
        }
    }

    /// As [`post`](Self::post), for what can wait until the network thread is up for another reason.
    pub(crate) fn post_quietly(&self, op: Op) {
        if self.append(op) && self.bell.is_cheap() {
            self.bell.ring();
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
        self.bell.ring();
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
        if let Some(op) = this.op.take() {
            state.bounded += 1;
            state.ops.push_back(op);
        }
        drop(state);
        this.inbox.bell.ring();
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
