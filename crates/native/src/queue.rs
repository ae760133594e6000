//! The event queue of the system: waiting for what it says of sockets, and waking who waits.

use std::io;
use std::time::Duration;

/// The token of the waker; sockets have their numbers.
pub(crate) const WAKE: mio::Token = mio::Token(usize::MAX);
/// What the system says of sockets at once.
pub(crate) const EVENTS: usize = 64;

/// Waits for what the system says of sockets, at most so long.
pub(crate) fn look(
    poll: &mut mio::Poll,
    events: &mut mio::Events,
    pause: Option<Duration>,
) -> io::Result<()> {
    match poll.poll(events, pause) {
        Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
        _ => Ok(()),
    }
}

pub(crate) fn wake(waker: &mio::Waker) {
    if let Err(error) = waker.wake() {
        tracing::warn!(%error, "cannot wake the event queue");
    }
}
