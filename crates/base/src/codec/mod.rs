//! Codec primitives: unsigned varints, a bounded reader, and a zero-copy protobuf field reader in [`proto`].
//!
//! Everything a peer sends is read through these: a length is checked against a limit and against what is there before
//! anything is allocated, and a number against its range before it is used.

pub mod proto;

use bytes::{BufMut, Bytes, BytesMut};

/// Why bytes are not what they should be. Machines turn it into a [`Fault`](crate::Fault) of theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The input ended in the middle of a value.
    #[error("ends too early")]
    Truncated,
    /// A varint is longer than its value needs, or than ten bytes.
    #[error("varint not minimal or too long")]
    Varint,
    /// A length, count or number is above its limit.
    #[error("above its limit")]
    TooLarge,
    /// A value is not one of those allowed.
    #[error("value not allowed")]
    Value,
    /// Bytes are left after the last value.
    #[error("bytes left over")]
    Trailing,
}

/// The longest varint of a `u64`, in bytes.
pub const VARINT_MAX: usize = 10;

/// Bytes that `value` takes as a varint: 1 to 10.
pub const fn varint_len(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// Appends `value` as an unsigned LEB128 varint, in its shortest form.
pub fn put_varint(out: &mut impl BufMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8((value & 0x7f) as u8);
}

/// Appends a varint length and then `bytes`.
pub fn put_prefixed(out: &mut impl BufMut, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.put_slice(bytes);
}

/// Reads a varint at the front: its value and its length in bytes; `None` while more bytes are needed.
/// A value above `max`, or one not in its shortest form, is an error as soon as that can be known.
pub fn peek_varint(input: &[u8], max: u64) -> Result<Option<(u64, usize)>, Malformed> {
    let mut value = 0_u64;
    for (index, byte) in input.iter().take(VARINT_MAX).enumerate() {
        let part = u64::from(byte & 0x7f);
        if index == VARINT_MAX - 1 && part > 1 {
            return Err(Malformed::Varint);
        }
        value |= part << (7 * index);
        if byte & 0x80 == 0 {
            if part == 0 && index > 0 {
                return Err(Malformed::Varint);
            }
            return if value > max { Err(Malformed::TooLarge) } else { Ok(Some((value, index + 1))) };
        }
        // one that goes on past the length of `max` is above it or not minimal: do not wait for more of it
        if value > max || index + 1 >= varint_len(max) && index + 1 < VARINT_MAX {
            return Err(Malformed::TooLarge);
        }
    }
    if input.len() >= VARINT_MAX { Err(Malformed::Varint) } else { Ok(None) }
}

/// Reads values off the front of a slice.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from `input`.
    pub const fn new(input: &'a [u8]) -> Self {
        Self { rest: input }
    }

    /// What is left.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether nothing is left.
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// A varint of at most `max`.
    pub fn varint(&mut self, max: u64) -> Result<u64, Malformed> {
        let (value, len) = peek_varint(self.rest, max)?.ok_or(Malformed::Truncated)?;
        self.take(len)?;
        Ok(value)
    }

    /// A varint that counts things in memory: at most `max`, which also bounds what is allocated for it.
    pub fn count(&mut self, max: usize) -> Result<usize, Malformed> {
        usize::try_from(self.varint(max as u64)?).map_err(|_| Malformed::TooLarge)
    }

    /// The next `len` bytes.
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// One byte.
    pub fn byte(&mut self) -> Result<u8, Malformed> {
        Ok(self.array::<1>()?[0])
    }

    /// A varint length of at most `max`, and that many bytes.
    pub fn prefixed(&mut self, max: usize) -> Result<&'a [u8], Malformed> {
        let len = self.count(max)?;
        self.take(len)
    }

    /// The end: an error where bytes are left.
    pub fn finish(self) -> Result<(), Malformed> {
        if self.is_empty() { Ok(()) } else { Err(Malformed::Trailing) }
    }
}

/// Cuts a byte stream into frames of a varint length and that many bytes, however the stream is fragmented.
///
/// Holds at most one frame: `max` bytes and the prefix. Memory grows with what has arrived, never with what was announced.
#[derive(Debug)]
pub struct Framer {
    max: usize,
    held: BytesMut,
}

impl Framer {
    /// Frames of at most `max` bytes each.
    pub fn new(max: usize) -> Self {
        Self { max, held: BytesMut::new() }
    }

    /// Takes the next whole frame off `input`, or all of `input` where none is complete (`None`). Call until `None`.
    /// A frame that lies whole in `input` is a slice of it, not a copy.
    pub fn next(&mut self, input: &mut Bytes) -> Result<Option<Bytes>, Malformed> {
        if self.held.is_empty() {
            if let Some((len, head)) = self.header(input)?
                && input.len() - head >= len
            {
                let mut frame = input.split_to(head + len);
                return Ok(Some(frame.split_off(head)));
            }
        } else {
            while self.header(&self.held)?.is_none() && !input.is_empty() {
                self.held.extend_from_slice(&input.split_to(1));
            }
            if let Some((len, head)) = self.header(&self.held)? {
                let wanted = (head + len).saturating_sub(self.held.len()).min(input.len());
                self.held.extend_from_slice(&input.split_to(wanted));
                if self.held.len() == head + len {
                    let mut frame = std::mem::take(&mut self.held).freeze();
                    return Ok(Some(frame.split_off(head)));
                }
            }
        }
        self.held.extend_from_slice(&input.split_to(input.len()));
        Ok(None)
    }

    /// Bytes held of a frame that is not complete yet.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Bytes still missing of the frame that has begun; 0 where none has, or its length is not known yet.
    pub fn missing(&self) -> usize {
        match self.header(&self.held) {
            Ok(Some((len, head))) => (head + len).saturating_sub(self.held.len()),
            _ => 0,
        }
    }

    fn header(&self, input: &[u8]) -> Result<Option<(usize, usize)>, Malformed> {
        let Some((len, head)) = peek_varint(input, self.max as u64)? else { return Ok(None) };
        Ok(Some((usize::try_from(len).map_err(|_| Malformed::TooLarge)?, head)))
    }
}

#[cfg(test)]
mod tests;
