//! The node's one queue from user threads to the network thread.
//!
//! - Commands and batches are bounded, each by places of their own ([`CommandError::Busy`]), so that a burst of the one never keeps the other
//!   out. They are carried out in the order of their arrival.
//! - Verdicts, answers and cancellations always find a place: each belongs to something the network thread handed out before,
//!   so their number is bounded by that. So do sleeps, one for each future that the application holds: whoever waits for a
//!   place has a deadline, which must not wait for a place itself.
//! - Tips go before everything else. A publication replaces the one of its channel that still waits, so there are at most two
//!   of a channel, a withdrawal and a publication, and publishing one is never refused.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use weir_pull::tip;

use super::{Bell, Place, Waiters, lock};
use crate::core::{Op, Slot};
use crate::error::CommandError;

/// See the module.
#[derive(Debug)]
pub(crate) struct Inbox {
    bell: Arc<Bell>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    tips: VecDeque<Op>, // verdicts, and at most two publications of a channel
    ops: VecDeque<Op>,
    commands: Capacity,
    batches: Capacity,
    closed: bool,
}

/// How many places of one kind there are, and who waits for one.
#[derive(Debug)]
struct Capacity {
    limit: usize,
    used: usize, // <= capacity
    waiting: Waiters,
}

impl Capacity {
    fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), used: 0, waiting: Waiters::default() }
    }

    /// Takes a place. False where there is none.
    fn take(&mut self) -> bool {
        let free = self.used < self.limit;
        self.used += usize::from(free);
        free
    }

    /// Gives a place back; who waits longest goes to `wakers`.
    fn free(&mut self, wakers: &mut Vec<Waker>) {
        self.used = self.used.saturating_sub(1);
        wakers.extend(self.waiting.pop());
    }
}

impl State {
    /// The places that an op needs one of.
    fn capacity_of(&mut self, slot: Slot) -> Option<&mut Capacity> {
        match slot {
            Slot::Command => Some(&mut self.commands),
            Slot::Batch => Some(&mut self.batches),
            Slot::Own => None,
        }
    }

    fn append(&mut self, op: Op) {
        let Op::Tip(channel, command) = &op else { return self.ops.push_back(op) };
        let replaces = |waiting: &Op| match waiting {
            Op::Tip(of, tip::Command::Publish { .. }) => {
                of == channel && !matches!(command, tip::Command::Verdict { .. })
            }
            Op::Tip(of, tip::Command::Withdraw) => of == channel && matches!(command, tip::Command::Withdraw),
            _ => false,
        };
        self.tips.retain(|waiting| !replaces(waiting));
        self.tips.push_back(op);
    }
}

impl Inbox {
    /// An empty inbox of at most so many commands and so many batches (at least one of each).
    pub(crate) fn new(commands: usize, batches: usize, bell: Arc<Bell>) -> Self {
        let state = State {
            tips: VecDeque::new(),
            ops: VecDeque::new(),
            commands: Capacity::new(commands),
            batches: Capacity::new(batches),
            closed: false,
        };
        Self { bell, state: Mutex::new(state) }
    }

    /// Appends a command that may have to wait.
    pub(crate) fn offer(&self, op: Op) -> Result<(), CommandError> {
        {
            let mut state = lock(&self.state);
            if state.closed {
                return Err(CommandError::Stopped);
            }
            if !state.capacity_of(op.slot()).is_none_or(Capacity::take) {
                return Err(CommandError::Busy);
            }
            state.append(op);
        }
        self.bell.ring();
        Ok(())
    }

    /// Appends what always has a place (see the module). False where the node has stopped: then it is dropped.
    pub(crate) fn post(&self, op: Op) -> bool {
        let open = self.append(op);
        if open {
            self.bell.ring();
        }
        open
    }

    /// As [`post`](Self::post), for what can wait until the network thread is up for another reason.
    pub(crate) fn post_quietly(&self, op: Op) {
        if self.append(op) && self.bell.host().wakes_cheaply() {
            self.bell.ring();
        }
    }

    fn append(&self, op: Op) -> bool {
        debug_assert!(op.slot() == Slot::Own, "{op:?} must be offered");
        let mut state = lock(&self.state);
        if !state.closed {
            state.append(op);
        }
        !state.closed
    }

    /// Waits for room and appends `op`; gives `false` where the node has stopped.
    pub(crate) fn room(&self, op: Op) -> InboxRoom<'_> {
        InboxRoom { inbox: self, slot: op.slot(), op: Some(op), place: Place::default() }
    }

    /// Takes at most `most` commands, tips first, in the order in which they are to be carried out. Senders that wait for room go to
    /// `wakers`.
    pub(crate) fn take(&self, most: usize, into: &mut VecDeque<Op>, wakers: &mut Vec<Waker>) {
        let mut state = lock(&self.state);
        let state = &mut *state;
        let tips = state.tips.len().min(most);
        let ops = state.ops.len().min(most - tips);
        if tips == 0 && ops == state.ops.len() && into.is_empty() {
            std::mem::swap(&mut state.ops, into);
        } else {
            into.extend(state.tips.drain(..tips));
            into.extend(state.ops.drain(..ops));
        }
        for op in &*into {
            if let Some(capacity) = state.capacity_of(op.slot()) {
                capacity.free(wakers);
            }
        }
    }

    /// Whether there is nothing to take.
    pub(crate) fn is_empty(&self) -> bool {
        let state = lock(&self.state);
        state.tips.is_empty() && state.ops.is_empty()
    }

    /// No more commands: what is in the queue is dropped, so that its promises end.
    pub(crate) fn close(&self) {
        let mut wakers = Vec::new();
        let rest = {
            let mut state = lock(&self.state);
            state.closed = true;
            state.commands.waiting.drain_into(&mut wakers);
            state.batches.waiting.drain_into(&mut wakers);
            let tips = std::mem::take(&mut state.tips);
            (tips, std::mem::take(&mut state.ops))
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
    slot: Slot,
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
        if let Some(capacity) = state.capacity_of(this.slot) {
            if !capacity.take() {
                capacity.waiting.wait(&mut this.place, cx.waker());
                return Poll::Pending;
            }
            capacity.waiting.leave(&mut this.place);
        }
        if let Some(op) = this.op.take() {
            state.append(op);
        }
        drop(state);
        this.inbox.bell.ring();
        Poll::Ready(true)
    }
}

impl Drop for InboxRoom<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.inbox.state);
        // Woken, and not come for its place: the wake belongs to the next in line.
        let waker = state.capacity_of(self.slot).and_then(|capacity| {
            let passed_on = capacity.waiting.leave(&mut self.place) && capacity.used < capacity.limit;
            if passed_on { capacity.waiting.pop() } else { None }
        });
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Tells the network thread when a future that waits for it is dropped.
#[derive(Debug)]
pub(crate) struct CancelOnDrop<'a> {
    inbox: &'a Inbox,
    op: Option<Op>, // none once the future has what it waited for
}

impl<'a> CancelOnDrop<'a> {
    /// `op` takes back what the future asked for. It is one of those that always find a place.
    pub(crate) const fn new(inbox: &'a Inbox, op: Op) -> Self {
        Self { inbox, op: Some(op) }
    }

    /// There is nothing to take back any more.
    pub(crate) fn disarm(mut self) {
        self.op = None;
    }
}

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(op) = self.op.take() {
            self.inbox.post(op);
        }
    }
}

#[cfg(test)]
mod tests {
    use weir_pull::ChannelId;

    use super::*;
    use crate::core::PoolOp;
    use crate::mailbox::unused_bell;
    use crate::message::ItemId;

    const CHANNEL: ChannelId = ChannelId(1);

    fn remove(number: u8) -> Op {
        Op::Pool(CHANNEL, PoolOp::Remove(ItemId([number; 32])))
    }

    fn batch() -> Op {
        Op::Pool(CHANNEL, PoolOp::Batch { remove: Vec::new(), insert: Vec::new() })
    }

    fn publish(channel: ChannelId, value: &'static [u8]) -> Op {
        let grounds = tip::Grounds { slot: tip::SlotKey([0; 32]), unvalidated: 0, begins: None };
        Op::Tip(channel, tip::Command::Publish { value: value.into(), grounds })
    }

    fn withdraw(channel: ChannelId) -> Op {
        Op::Tip(channel, tip::Command::Withdraw)
    }

    /// One character for each op.
    fn take(inbox: &Inbox) -> String {
        let mut taken = VecDeque::new();
        inbox.take(usize::MAX, &mut taken, &mut Vec::new());
        let letter = |op: &Op| match op {
            Op::Pool(_, PoolOp::Remove(_)) => 'r',
            Op::Pool(_, PoolOp::Batch { .. }) => 'b',
            Op::Tip(_, tip::Command::Publish { value, .. }) => char::from(value[0]),
            Op::Tip(_, tip::Command::Withdraw) => 'w',
            other => panic!("{other:?}"),
        };
        taken.iter().map(letter).collect()
    }

    #[test]
    fn a_burst_of_items_leaves_room_for_tips_and_batches() {
        let inbox = Inbox::new(2, 1, Arc::new(unused_bell()));
        assert_eq!((inbox.offer(remove(1)), inbox.offer(remove(2))), (Ok(()), Ok(())));
        assert_eq!(inbox.offer(remove(3)), Err(CommandError::Busy));
        assert_eq!((inbox.offer(batch()), inbox.offer(batch())), (Ok(()), Err(CommandError::Busy)));
        assert_eq!(inbox.offer(publish(CHANNEL, b"1")), Ok(()));
        assert_eq!(take(&inbox), "1rrb", "tips go first, the rest in order");
        assert_eq!((inbox.offer(batch()), inbox.offer(remove(3))), (Ok(()), Ok(())));
        assert_eq!(take(&inbox), "br");
    }

    #[test]
    fn the_newest_publication_of_a_tip_replaces_the_one_that_waits() {
        let inbox = Inbox::new(1, 1, Arc::new(unused_bell()));
        let other = ChannelId(2);
        for op in [publish(CHANNEL, b"1"), publish(other, b"A"), publish(CHANNEL, b"2")] {
            inbox.post(op);
        }
        assert_eq!(take(&inbox), "A2");
        for op in [publish(CHANNEL, b"1"), withdraw(CHANNEL), publish(CHANNEL, b"2"), withdraw(other)] {
            inbox.post(op);
        }
        assert_eq!(take(&inbox), "w2w", "what was withdrawn is not published, and that it was is still said");
    }

    #[test]
    fn a_bounded_take_leaves_the_rest_in_order() {
        let inbox = Inbox::new(3, 1, Arc::new(unused_bell()));
        (0..3).for_each(|number| inbox.offer(remove(number)).unwrap());
        inbox.post(publish(CHANNEL, b"1"));
        let mut taken = VecDeque::new();
        inbox.take(2, &mut taken, &mut Vec::new());
        assert_eq!(taken.len(), 2);
        assert_eq!(take(&inbox), "rr");
    }
}
