//! What a stream received and nobody has read.

use std::collections::VecDeque;

use weir_base::{Chunk, Rope};

/// Unread bytes in order. Those of the last input are slices of it; older ones pin no more than twice their length.
#[derive(Debug, Default)]
pub(crate) struct Unread {
    fresh: VecDeque<Chunk>,
    held: Rope,
    len: usize,
}

impl Unread {
    /// Bytes in it.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn push(&mut self, chunk: Chunk) {
        self.len += chunk.len();
        self.fresh.push_back(chunk);
    }

    /// The next bytes, at most `max`.
    pub(crate) fn pop(&mut self, max: usize) -> Option<Chunk> {
        let chunk = if self.held.is_empty() {
            let first = self.fresh.front_mut()?;
            let chunk = first.split_to(max);
            if first.is_empty() {
                self.fresh.pop_front();
            }
            chunk
        } else {
            Chunk::whole(self.held.pop(max)?)
        };
        self.len -= chunk.len();
        Some(chunk)
    }

    /// Lets go of the buffer that the last input lay in.
    pub(crate) fn settle(&mut self) {
        for chunk in self.fresh.drain(..) {
            self.held.push(chunk.keep());
        }
    }
}
