//! Tasks that wait for the same thing, oldest first.

use std::collections::VecDeque;
use std::task::Waker;

/// A waiting task's place in a queue of [`Waiters`]; kept by its future.
#[derive(Debug, Default)]
pub(crate) struct Place(Option<u64>);

/// A queue of wakers. Bounded by the number of the user's own futures.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    next: u64,
    queue: VecDeque<(u64, Waker)>,
}

impl Waiters {
    /// Waits in `place`, or refreshes the waker there.
    pub(crate) fn wait(&mut self, place: &mut Place, waker: &Waker) {
        if let Some(id) = place.0
            && let Some(slot) = self.queue.iter_mut().find(|slot| slot.0 == id)
        {
            return slot.1.clone_from(waker);
        }
        self.next += 1;
        place.0 = Some(self.next);
        self.queue.push_back((self.next, waker.clone()));
    }

    /// Gives up a place. True where it had been woken already: that wake then belongs to the next in line.
    pub(crate) fn leave(&mut self, place: &mut Place) -> bool {
        let Some(id) = place.0.take() else { return false };
        let before = self.queue.len();
        self.queue.retain(|slot| slot.0 != id);
        before == self.queue.len()
    }

    /// The task that waits longest.
    pub(crate) fn pop(&mut self) -> Option<Waker> {
        self.queue.pop_front().map(|slot| slot.1)
    }

    /// All of them.
    pub(crate) fn drain_into(&mut self, wakers: &mut Vec<Waker>) {
        wakers.extend(self.queue.drain(..).map(|slot| slot.1));
    }
}
