//! Messages on a stream: a varint length, a varint type, the fields (`docs/spec/control.md`, "Messages").
//!
//! Types this version does not know: odd ones are skipped, even ones mean that the peer speaks something else.
//! A message that has begun must end in time: 10 s, and a second more for every 16 kB announced, counted only while this
//! side gives the stream credit. [`Inbox`] keeps that clock; its owner asks [`Inbox::deadline`].

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use weir_base::codec::{Framer, Malformed, Reader, VARINT_MAX, put_varint, varint_len};
use weir_base::{Chunk, Fault, Instant, Rope};

/// What a started message may take at least.
pub const MESSAGE_BASE: Duration = Duration::from_secs(10);
/// Bytes per second that a started message must reach on top.
pub const MESSAGE_RATE: u64 = 16_000;

/// A started message did not end in time.
pub const STALLED: Fault = Fault::unreliable("a message begun was not finished in time");
/// A message type that must be understood is not known here.
pub const UNKNOWN_TYPE: Fault = Fault::incompatible("a message of an unknown type that must be understood");
/// A message does not follow its layout.
pub const MALFORMED: Fault = Fault::misbehaved("a message that does not follow its layout");

/// Codes of reset and stop, on all of Weir's streams.
pub mod code {
    /// Done with it; nobody's fault.
    pub const CANCELLED: u32 = 0;
    /// The peer does not have this channel or lane.
    pub const UNKNOWN_CHANNEL: u32 = 1;
    /// The peer broke the protocol on this stream.
    pub const FAULT: u32 = 2;
    /// It took too long.
    pub const TIMEOUT: u32 = 3;
    /// Too many streams at once.
    pub const LIMIT: u32 = 4;
    /// A newer stream took its place.
    pub const REPLACED: u32 = 5;
    /// A message is larger than this side takes.
    pub const TOO_LARGE: u32 = 6;
}

/// A message cut off its stream: its type and its fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The type.
    pub kind: u64,
    /// The bytes after it.
    pub body: Bytes,
}

impl Message {
    /// Splits what a frame holds.
    pub fn decode(mut frame: Bytes) -> Result<Self, Malformed> {
        let mut reader = Reader::new(&frame);
        let kind = reader.varint(u64::MAX)?;
        let head = frame.len() - reader.rest().len();
        Ok(Self { kind, body: frame.split_off(head) })
    }

    /// Whether a receiver that does not know the type must skip it.
    pub const fn skippable(kind: u64) -> bool {
        kind % 2 == 1
    }
}

/// Appends a message of type `kind`: its head, then what `fields` writes. For small messages; large bodies go through
/// [`put_with_body`].
pub fn put(out: &mut Rope, kind: u64, fields: impl FnOnce(&mut BytesMut)) {
    put_with_body(out, kind, fields, Bytes::new());
}

/// Appends a message of type `kind` whose fields end in `body`, which is shared, not copied, unless it is short.
pub fn put_with_body(out: &mut Rope, kind: u64, fields: impl FnOnce(&mut BytesMut), body: Bytes) {
    let mut head = BytesMut::new();
    fields(&mut head);
    append(out, kind, &head, body);
}

/// Sends a message: straight to `out` where all of it fits, else the rest waits in `pending`, which must be empty before.
/// Allocates nothing of its own where it fits.
pub fn send(pending: &mut Rope, room: usize, out: &mut Rope, kind: u64, fields: &[u8], body: Bytes) {
    let len = varint_len(kind) + fields.len() + body.len();
    if pending.is_empty() && varint_len(len as u64) + len <= room {
        return append(out, kind, fields, body);
    }
    append(pending, kind, fields, body);
    pour(pending, room, out);
}

fn append(out: &mut Rope, kind: u64, fields: &[u8], body: Bytes) {
    let mut start = [0; 2 * VARINT_MAX];
    let mut rest = &mut start[..];
    put_varint(&mut rest, (varint_len(kind) + fields.len() + body.len()) as u64);
    put_varint(&mut rest, kind);
    let len = 2 * VARINT_MAX - rest.len();
    out.put(start.get(..len).unwrap_or_default());
    out.put(fields);
    out.push(body);
}

/// Moves at most `room` bytes from what waits to be sent to what goes out; returns how many.
pub fn pour(pending: &mut Rope, room: usize, out: &mut Rope) -> usize {
    let mut left = room;
    while let Some(part) = pending.pop(left) {
        left -= part.len();
        out.push(part);
    }
    room - left
}

/// The reading side of a stream of messages.
#[derive(Debug)]
pub struct Inbox {
    framer: Framer,
    max: usize,
    arrived: Bytes,
    pinned: usize,
    begun: Option<Instant>, // when the first bytes of the message under way came
}

impl Inbox {
    /// Messages of at most `max` bytes each, type included.
    pub fn new(max: usize) -> Self {
        Self { framer: Framer::new(max), max, arrived: Bytes::new(), pinned: 0, begun: None }
    }

    /// Bytes that the rest of the largest message can still take, prefix included. What the owner has reserved for this
    /// stream is this, where it wants one more message.
    pub fn room(&self) -> usize {
        match self.framer.missing() {
            0 => (varint_len(self.max as u64) + self.max).saturating_sub(self.framer.held()),
            missing => missing,
        }
    }

    /// Takes bytes that arrived. Then call [`next`](Self::next) until `None`.
    pub fn push(&mut self, chunk: Chunk) {
        self.pinned = chunk.pinned();
        debug_assert!(self.arrived.is_empty(), "drain before pushing more");
        self.arrived = chunk.into_bytes();
    }

    /// The next whole message. `None` until more bytes come.
    pub fn next(&mut self, now: Instant) -> Result<Option<Message>, Malformed> {
        if self.arrived.is_empty() {
            return Ok(None);
        }
        let Some(frame) = self.framer.next(&mut self.arrived)? else {
            self.begun.get_or_insert(now);
            return Ok(None);
        };
        self.begun = None;
        Message::decode(frame).map(Some)
    }

    /// What to hold on to of the message that [`next`](Self::next) returned last: shared, or copied where sharing would
    /// pin a much larger receive buffer.
    pub fn keep(&self, part: Bytes) -> Bytes {
        Chunk::new(part, self.pinned).keep()
    }

    /// Whether bytes are left after the message that [`next`](Self::next) returned last.
    pub fn has_more(&self) -> bool {
        !self.arrived.is_empty()
    }

    /// Bytes of the message under way that have come, prefix included.
    pub fn held(&self) -> usize {
        self.framer.held()
    }

    /// The length of the message under way, prefix included, as far as is known; 0 where none has begun.
    pub fn message_len(&self) -> usize {
        self.framer.held() + self.framer.missing()
    }

    /// Whether a message has begun and not ended.
    pub fn is_partial(&self) -> bool {
        self.framer.held() > 0
    }

    /// When the message under way is late; `None` where none has begun.
    pub fn deadline(&self) -> Option<Instant> {
        let size = self.message_len() as u64;
        self.begun.map(|since| since + allowed(size))
    }
}

/// The time in which `size` bytes must have come or gone.
pub fn allowed(size: u64) -> Duration {
    MESSAGE_BASE + Duration::from_millis(size.saturating_mul(1000) / MESSAGE_RATE)
}

#[cfg(test)]
mod tests;
