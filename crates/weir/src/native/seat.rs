//! Who drives a node: its network thread, and for single turns a user's thread while the network thread sleeps.
//!
//! A call with nothing else under way waits mostly for threads to wake each other. So the thread that makes it, or answers it,
//! carries out the turn that sends it where the network thread is asleep, and wakes nobody. It never waits for the engine, and
//! sends a bounded number of datagrams; whatever is left wakes the network thread.

use std::cell::Cell;
use std::sync::{Arc, Mutex, TryLockError};
use std::time::Duration;

use super::engine::Engine;
use crate::mailbox::{Wakeup, lock};

thread_local! {
    static DRIVING: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread drives a node: it must not wait for one to end.
pub(crate) fn is_driving() -> bool {
    DRIVING.get()
}

/// See the module. The engine is there while the node runs.
pub(super) struct Seat {
    waker: Arc<mio::Waker>,
    engine: Mutex<Option<Engine>>,
}

impl std::fmt::Debug for Seat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seat").finish_non_exhaustive()
    }
}

impl Seat {
    pub(super) const fn new(waker: Arc<mio::Waker>) -> Self {
        Self { waker, engine: Mutex::new(None) }
    }

    /// The network thread: until the node has ended.
    pub(super) fn run(&self, mut poll: mio::Poll, engine: Engine) {
        DRIVING.set(true);
        *lock(&self.engine) = Some(engine);
        let _vacated = Vacated(self);
        let mut events = mio::Events::with_capacity(64);
        let mut pause = Some(Duration::ZERO);
        let ended = loop {
            match poll.poll(&mut events, pause) {
                Err(error) if error.kind() != std::io::ErrorKind::Interrupted => {
                    tracing::error!(%error, "the event queue failed; the node stops");
                    break self.take();
                }
                _ => {}
            }
            // A turn that has panicked leaves nothing to go on with.
            let Ok(mut seat) = self.engine.lock() else { break self.take() };
            let Some(engine) = seat.as_mut() else { break None };
            engine.rise(&events);
            let busy = !engine.core.stopped() && engine.round();
            if engine.core.stopped() {
                break seat.take();
            }
            pause = if busy { Some(Duration::ZERO) } else { engine.sleep_for() };
        };
        if let Some(mut engine) = ended {
            engine.core.close();
        }
    }

    fn take(&self) -> Option<Engine> {
        lock(&self.engine).take()
    }
}

/// Nothing of the node stays in the seat when its thread ends, also by a panic: the sockets are closed.
struct Vacated<'a>(&'a Seat);

impl Drop for Vacated<'_> {
    fn drop(&mut self) {
        drop(self.0.take());
    }
}

impl Wakeup for Seat {
    fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            tracing::warn!(%error, "cannot wake the network thread");
        }
    }

    fn lend(&self) -> bool {
        match self.engine.try_lock() {
            Ok(mut seat) => {
                let _driving = Driving::begin(self);
                seat.as_mut().is_none_or(Engine::lent_round)
            }
            Err(TryLockError::WouldBlock | TryLockError::Poisoned(_)) => false,
        }
    }
}

/// While it lives, this thread drives a node that is not its own.
struct Driving<'a> {
    seat: &'a Seat,
    before: bool,
}

impl<'a> Driving<'a> {
    fn begin(seat: &'a Seat) -> Self {
        Self { seat, before: DRIVING.replace(true) }
    }
}

impl Drop for Driving<'_> {
    fn drop(&mut self) {
        DRIVING.set(self.before);
        if std::thread::panicking() {
            self.seat.wake(); // the network thread finds what is left, and ends
        }
    }
}
