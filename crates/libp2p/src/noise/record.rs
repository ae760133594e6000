//! Records after the handshake: a length in two bytes, the encrypted text, its tag.

use std::fmt;

use bytes::{Buf as _, BufMut as _, BytesMut};
use weir_base::Fault;

use super::{BAD_RECORD, TAG, nonce};
use crate::aead::Key;

/// Bytes of the largest record, without its length. Fixed by Noise.
pub const RECORD_MAX: usize = 65_535;
/// Bytes of text in the largest record.
pub const PLAINTEXT_MAX: usize = RECORD_MAX - TAG;

/// Bytes of the length before a record.
const PREFIX: usize = 2;

/// Encrypts what this side sends.
pub struct Sealer {
    key: Key,
    counter: u64,
}

/// A record that is being filled: where it begins.
#[derive(Debug)]
#[must_use]
pub struct Record {
    start: usize,
}

impl Sealer {
    pub(super) fn new(key: &[u8; 32]) -> Option<Self> {
        Some(Self { key: Key::new(key)?, counter: 0 })
    }

    /// Begins a record behind what is in `out`. The caller appends at most [`PLAINTEXT_MAX`] bytes of text, then calls
    /// [`seal`](Self::seal).
    pub fn begin(&self, out: &mut BytesMut) -> Record {
        let start = out.len();
        out.put_bytes(0, PREFIX);
        Record { start }
    }

    /// Encrypts in place what was appended since [`begin`](Self::begin), and completes the record. Without text there is none.
    /// Text beyond [`PLAINTEXT_MAX`] bytes is a mistake of the caller: all of it is dropped, and `false` says so.
    pub fn seal(&mut self, out: &mut BytesMut, record: &Record) -> bool {
        let start = record.start;
        let text = start + PREFIX;
        let len = out.len().saturating_sub(text);
        if len == 0 || len > PLAINTEXT_MAX {
            out.truncate(start);
            return len == 0;
        }
        let Some(tag) = out.get_mut(text..).and_then(|text| self.key.seal(nonce(self.counter), &[], text))
        else {
            out.truncate(start);
            return false;
        };
        self.counter += 1; // 2^64 records are never sent
        out.put_slice(&tag);
        let prefix = u16::try_from(len + TAG).unwrap_or(u16::MAX).to_be_bytes(); // <= RECORD_MAX
        if let Some(slot) = out.get_mut(start..text) {
            slot.copy_from_slice(&prefix);
        }
        true
    }
}

/// Decrypts what the peer sends.
pub struct Opener {
    key: Key,
    counter: u64,
}

/// The length of the record that `input` begins with, and of its own length before it.
pub(super) fn record_len(input: &[u8]) -> Option<usize> {
    let prefix = input.first_chunk::<PREFIX>()?;
    Some(PREFIX + usize::from(u16::from_be_bytes(*prefix)))
}

impl Opener {
    pub(super) fn new(key: &[u8; 32]) -> Option<Self> {
        Some(Self { key: Key::new(key)?, counter: 0 })
    }

    /// Takes the next whole record off `input` and decrypts it in place: its text, possibly empty. `None` while it is not whole:
    /// `input` then holds less than [`RECORD_MAX`] + 2 bytes. Call until `None`.
    ///
    /// # Errors
    /// [`BAD_RECORD`]: the connection cannot go on.
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Option<BytesMut>, Fault> {
        let Some(len) = record_len(input) else { return Ok(None) };
        if len < PREFIX + TAG {
            return Err(BAD_RECORD);
        }
        if input.len() < len {
            return Ok(None);
        }
        let mut record = input.split_to(len);
        record.advance(PREFIX);
        let text = self.key.open(nonce(self.counter), &[], &mut record).ok_or(BAD_RECORD)?;
        self.counter += 1; // 2^64 records never come
        record.truncate(text);
        Ok(Some(record))
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealer({})", self.counter)
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opener({})", self.counter)
    }
}
