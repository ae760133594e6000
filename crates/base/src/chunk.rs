//! Bytes on their way: [`Chunk`] in, [`Rope`] out. Both share buffers by reference count.

use std::ops::Deref;

use bytes::{Bytes, BytesMut};

/// Received bytes: a slice of a larger receive buffer. Reading is consuming; who keeps one calls [`keep`](Self::keep).
#[derive(Clone, Debug)]
pub struct Chunk {
    bytes: Bytes,
    pinned: usize,
}

impl Chunk {
    /// `bytes` is a slice of a buffer of `pinned` bytes in all.
    pub fn new(bytes: Bytes, pinned: usize) -> Self {
        let pinned = pinned.max(bytes.len());
        Self { bytes, pinned }
    }

    /// A chunk that is its whole buffer.
    pub fn whole(bytes: Bytes) -> Self {
        let pinned = bytes.len();
        Self { bytes, pinned }
    }

    /// Bytes of the whole buffer that holding any of these keeps alive.
    pub fn pinned(&self) -> usize {
        self.pinned
    }

    /// The first `len` bytes (or all), taken off the front.
    #[must_use]
    pub fn split_to(&mut self, len: usize) -> Self {
        let len = len.min(self.bytes.len());
        Self { bytes: self.bytes.split_to(len), pinned: self.pinned }
    }

    /// Bytes that may be held for long: shared, unless that would pin more than twice their length, else copied.
    #[must_use]
    pub fn keep(self) -> Bytes {
        if self.pinned > self.bytes.len().saturating_mul(2) {
            Bytes::copy_from_slice(&self.bytes)
        } else {
            self.bytes
        }
    }

    /// The bytes as they are, for one who lets go of them soon.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }
}

impl Deref for Chunk {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Small writes are gathered into one buffer of this size, in bytes; larger shared ones go out by reference.
const GATHER: usize = 256;

/// Bytes to send, in parts: small ones are copied together, large ones shared.
#[derive(Clone, Debug, Default)]
pub struct Rope {
    parts: std::collections::VecDeque<Bytes>,
    tail: BytesMut,
    len: usize,
}

impl Rope {
    /// An empty rope.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes in it.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends a copy.
    pub fn put(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
        self.len += bytes.len();
    }

    /// Appends by reference; short ones (256 bytes and less) by copy.
    pub fn push(&mut self, bytes: Bytes) {
        if bytes.len() <= GATHER {
            return self.put(&bytes);
        }
        self.seal();
        self.len += bytes.len();
        self.parts.push_back(bytes);
    }

    /// Takes the next part, of at most `most` bytes; `None` when empty or `most` is 0.
    pub fn pop(&mut self, most: usize) -> Option<Bytes> {
        if most == 0 {
            return None;
        }
        if self.parts.is_empty() {
            self.seal();
        }
        let part = self.parts.front_mut()?;
        let taken = if part.len() > most { part.split_to(most) } else { self.parts.pop_front()? };
        self.len -= taken.len();
        Some(taken)
    }

    /// Puts a part back at the front.
    pub fn unpop(&mut self, part: Bytes) {
        if !part.is_empty() {
            self.len += part.len();
            self.parts.push_front(part);
        }
    }

    /// All of it in one buffer: no copy where there is one part. For tests and small messages.
    #[must_use]
    pub fn into_bytes(mut self) -> Bytes {
        self.seal();
        if self.parts.len() <= 1 {
            return self.parts.pop_front().unwrap_or_default();
        }
        let mut out = BytesMut::with_capacity(self.len);
        self.parts.iter().for_each(|part| out.extend_from_slice(part));
        out.freeze()
    }

    fn seal(&mut self) {
        if !self.tail.is_empty() {
            self.parts.push_back(self.tail.split().freeze());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeping_a_slice_copies_only_where_much_would_be_pinned() {
        let buffer = Bytes::from(vec![7; 1000]);
        let large = Chunk::new(buffer.slice(..600), 1000).keep();
        assert_eq!(large.as_ptr(), buffer.as_ptr());
        let small = Chunk::new(buffer.slice(..100), 1000).keep();
        assert_ne!(small.as_ptr(), buffer.as_ptr());
        assert_eq!(small, buffer.slice(..100));
    }

    #[test]
    fn a_rope_keeps_order_and_shares_large_parts() {
        let body = Bytes::from(vec![9; 4096]);
        let mut rope = Rope::new();
        rope.put(b"head");
        rope.push(body.clone());
        rope.put(b"tail");
        assert_eq!(rope.len(), 4104);
        assert_eq!(rope.pop(2).as_deref(), Some(&b"he"[..]));
        assert_eq!(rope.pop(100).as_deref(), Some(&b"ad"[..]));
        let part = rope.pop(5000).unwrap();
        assert_eq!(part.as_ptr(), body.as_ptr());
        rope.unpop(part);
        assert_eq!(rope.len(), 4100);
        assert_eq!(&rope.into_bytes()[4096..], b"tail");
        assert!(Rope::new().pop(1).is_none());
    }
}
