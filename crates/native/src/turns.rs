//! A turn of a node, whoever drives it.

use std::cell::Cell;
use std::time::Duration;

use crate::engine::Engine;

thread_local! {
    /// Whether this thread drives a node: it must not wait for one to end.
    static DRIVING: Cell<bool> = const { Cell::new(false) };
}

/// What comes after a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Turn {
    /// Work is left: another turn, after whoever else has something to do.
    Again,
    /// Nothing is left. The next turn is due when the event loop is readable, when a handle wakes it, or after this time; with
    /// `None` there is no such time.
    Wait(Option<Duration>),
    /// The node has ended, and its ports are free.
    Over,
}

/// A turn, with what the system says of the sockets.
pub(crate) fn turn(engine: &mut Engine, events: &mio::Events) -> Turn {
    engine.wake_up(events);
    let busy = !engine.core.stopped() && engine.turn();
    if engine.core.stopped() {
        return Turn::Over;
    }
    match if busy { Some(Duration::ZERO) } else { engine.sleep_for() } {
        Some(Duration::ZERO) => Turn::Again,
        pause => Turn::Wait(pause),
    }
}

/// Whether this thread drives a node.
pub(crate) fn is_driving() -> bool {
    DRIVING.get()
}

/// While it lives, this thread drives a node.
pub(crate) struct Driving(bool); // whether it did before

impl Driving {
    pub(crate) fn begin() -> Self {
        Self(DRIVING.replace(true))
    }
}

impl Drop for Driving {
    fn drop(&mut self) {
        DRIVING.set(self.0);
    }
}
