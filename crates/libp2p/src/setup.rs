//! What every exchange that comes before a protocol has: bytes to send, one deadline over the whole, and one outcome.

use bytes::BytesMut;
use weir_base::Instant;

/// The part that does not depend on the exchange. `E` is what it comes to.
#[derive(Debug)]
pub(crate) struct Setup<E> {
    /// The next bytes for the peer. The machine around bounds them.
    pub(crate) pending: BytesMut,
    due: Instant,
    name: &'static str,
    over: bool,
    outcome: Option<E>,
}

impl<E> Setup<E> {
    /// It must be over at `due`. `name` says in traces what the deadline is for.
    pub(crate) fn new(due: Instant, name: &'static str, pending: BytesMut) -> Self {
        Self { pending, due, name, over: false, outcome: None }
    }

    /// After its end nothing more is taken or given.
    pub(crate) fn is_over(&self) -> bool {
        self.over
    }

    /// Whether the deadline has passed before the end.
    pub(crate) fn is_late(&self, now: Instant) -> bool {
        !self.over && self.due <= now
    }

    /// Ends it.
    pub(crate) fn end(&mut self, outcome: E) {
        self.over = true;
        self.outcome = Some(outcome);
    }

    /// The deadline, until the end.
    pub(crate) fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        (!self.over).then_some((self.due, self.name))
    }

    /// Appends the next bytes for the peer to `out`.
    pub(crate) fn poll_transmit(&mut self, out: &mut BytesMut) -> bool {
        if self.pending.is_empty() {
            return false;
        }
        out.extend_from_slice(&std::mem::take(&mut self.pending));
        true
    }

    /// The outcome, once.
    pub(crate) fn poll_event(&mut self) -> Option<E> {
        self.outcome.take()
    }
}
