//! A stream on its way to the application.

use std::sync::Arc;

use weir_base::identity::PeerId;

use super::pipe::{Ending, Pipe};

/// A stream that no handle has been made of yet. Dropped as it is, it is broken off.
#[derive(Debug)]
pub(crate) struct NewStream {
    who: (PeerId, &'static str),
    pipe: Arc<Pipe>,
    taken: bool,
}

impl NewStream {
    /// A stream to a peer, and the name of what it speaks.
    pub(crate) const fn new(who: (PeerId, &'static str), pipe: Arc<Pipe>) -> Self {
        Self { who, pipe, taken: false }
    }

    /// What a handle is made of: who is at the other end, the name of what it speaks, and its buffers.
    pub(super) fn take(mut self) -> ((PeerId, &'static str), Arc<Pipe>) {
        self.taken = true;
        (self.who, Arc::clone(&self.pipe))
    }
}

impl Drop for NewStream {
    fn drop(&mut self) {
        if !self.taken {
            self.pipe.stop(0);
            self.pipe.end(Ending::Reset(0));
        }
    }
}
