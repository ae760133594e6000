//! What a QUIC link keeps of one stream beside QUIC itself.

use std::collections::VecDeque;

use bytes::Bytes;
use quinn_proto::{StreamId, VarInt};
use weir_base::codec::{Malformed, peek_varint, put_varint};
use weir_base::stream::Class;
use weir_base::{Chunk, ProtocolId, Rope};

use crate::window::{Expected, RawUse};

/// Both directions. Gone when both have ended.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) receive: Receive,
    pub(super) send: Send,
}

/// The peer's direction.
#[derive(Debug)]
pub(super) struct Receive {
    pub(super) end: ReceiveEnd,
    pub(super) stop: Option<u32>,        // to be asked once the stream is open
    pub(super) head: Option<Head>,       // what is known of the stream's head, until it is whole
    pub(super) held: Option<ProtocolId>, // it came early and may not be read before the link is up
    pub(super) ahead: VecDeque<Chunk>,   // taken from QUIC in one go, for a reader that has room for it
    pub(super) notified: bool, // Readable was sent and the reader has not seen the end of what is there
    pub(super) expected: Expected,
    pub(super) raw: Option<Box<Raw>>,
}

/// A raw stream's use of the window.
#[derive(Debug, Default)]
pub(super) struct Raw {
    pub(super) use_: RawUse,
    pub(super) drained_at: u64, // bytes the link had received when the reader last saw the end of what was there
}

/// How far the peer's direction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReceiveEnd {
    /// More may come.
    Open,
    /// The end was taken from QUIC; what is ahead is still to be read.
    Ended,
    /// The reset was taken from QUIC, or this side stopped it by itself; the reader does not know yet.
    Reset(u32),
    /// The reader knows, or wants no more.
    Over,
}

/// This side's direction.
#[derive(Debug)]
pub(super) struct Send {
    pub(super) end: SendEnd,
    pub(super) class: Class,
    pub(super) head: OwnHead,     // not said yet
    pub(super) rest: Rope,        // what QUIC did not take yet; of one write
    pub(super) queued: bool,      // it waits for its turn to give QUIC more
    pub(super) blocked: bool,     // the writer found no room and waits for Writable
    pub(super) early: Vec<Bytes>, // written before the handshake was confirmed; sent again if it is refused
}

/// How far this side's direction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SendEnd {
    /// It waits for the peer's limit; then this is to be done.
    Waiting(After),
    /// More may be written.
    Open,
    /// Ends after the rest.
    Finishing,
    /// Ended, and QUIC sees to it that the peer hears of it.
    Over,
}

/// What is to be done with a stream once it is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    Write,
    Finish,
    Reset(u32),
}

/// The first bytes of a stream, which name its protocol. At most five.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Head {
    bytes: [u8; 5],
    len: usize,
}

impl Head {
    /// Whether a byte of it has come.
    pub(super) fn has_begun(&self) -> bool {
        self.len > 0
    }

    /// One more byte; the protocol once it is whole.
    pub(super) fn push(&mut self, byte: u8) -> Result<Option<ProtocolId>, Malformed> {
        let slot = self.bytes.get_mut(self.len).ok_or(Malformed::Varint)?;
        *slot = byte;
        self.len += 1;
        let known = self.bytes.get(..self.len).unwrap_or_default();
        let whole = peek_varint(known, u32::MAX.into())?;
        Ok(whole.map(|(value, _)| ProtocolId(u32::try_from(value).unwrap_or(u32::MAX))))
    }
}

/// The head of a stream of this side's. At most five bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OwnHead {
    bytes: [u8; 5],
    len: usize,
}

impl OwnHead {
    pub(super) fn new(protocol: ProtocolId) -> Self {
        let mut bytes = [0; 5];
        let mut rest = &mut bytes[..];
        put_varint(&mut rest, protocol.0.into());
        let len = 5 - rest.len();
        Self { bytes, len }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl Stream {
    /// One that this side opens.
    pub(super) fn ours(class: Class, waits: bool) -> Self {
        let end = if waits { SendEnd::Waiting(After::Write) } else { SendEnd::Open };
        Self { receive: Receive::new(None), send: Send::new(end, class) }
    }

    /// One that the peer opened.
    pub(super) fn theirs() -> Self {
        Self { receive: Receive::new(Some(Head::default())), send: Send::new(SendEnd::Open, Class::Bulk) }
    }

    pub(super) fn is_over(&self) -> bool {
        self.receive.end == ReceiveEnd::Over && self.send.end == SendEnd::Over
    }
}

impl Receive {
    fn new(head: Option<Head>) -> Self {
        Self {
            end: ReceiveEnd::Open,
            stop: None,
            head,
            held: None,
            ahead: VecDeque::new(),
            notified: false,
            expected: Expected::default(),
            raw: None,
        }
    }

    /// Takes at most `max` bytes of what was taken from QUIC already.
    pub(super) fn take_ahead(&mut self, max: usize) -> Option<Chunk> {
        let front = self.ahead.front_mut().filter(|_| max > 0)?;
        let chunk = if front.len() > max { front.split_to(max) } else { self.ahead.pop_front()? };
        if self.ahead.is_empty() && self.ahead.capacity() > 4 {
            self.ahead = VecDeque::new(); // an idle stream keeps no buffer
        }
        Some(chunk)
    }
}

impl Send {
    fn new(end: SendEnd, class: Class) -> Self {
        Self {
            end,
            class,
            head: OwnHead::default(),
            rest: Rope::new(),
            queued: false,
            blocked: false,
            early: Vec::new(),
        }
    }
}

/// QUIC's priorities are strict: of what it holds a higher class goes first. See `output` for how the others get their shares.
pub(super) const fn priority(class: Class) -> i32 {
    match class {
        Class::Control => 5,
        Class::Consensus => 4,
        Class::Tip => 3,
        Class::Block => 2,
        Class::Pool => 1,
        Class::Bulk => 0,
    }
}

/// QUIC's name of a stream.
pub(super) fn id(stream: u64) -> StreamId {
    // Stream numbers come from QUIC or count up from 0: none reaches 62 bits.
    StreamId::from(VarInt::from_u64(stream).unwrap_or(VarInt::MAX))
}

/// A code on the wire as the contract has it; larger ones are cut to the largest.
pub(super) fn code32(code: VarInt) -> u32 {
    u32::try_from(code.into_inner()).unwrap_or(u32::MAX)
}
