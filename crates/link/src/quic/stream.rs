//! What a QUIC link keeps of one stream beside QUIC itself.

use std::collections::VecDeque;

use bytes::Bytes;
use quinn_proto::{StreamId, VarInt};
use weir_base::codec::{Malformed, peek_varint, put_varint};
use weir_base::stream::Class;
use weir_base::{ProtocolId, StreamKey};

use crate::Event;
use crate::streams::{Negotiation, ReceiveEnd, ReceiveHalf, SendEnd, SendHalf};

/// Both directions, and what QUIC's streams have beside them. Gone when both have ended.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) receive: ReceiveHalf, // its queue is what was taken from QUIC in one go, for a reader that has room for it
    pub(super) send: SendHalf,       // its queue is what QUIC did not take yet; of one write
    pub(super) blocked: bool,        // its writer found no room and waits for Writable
    pub(super) head: Option<Head>,   // what is known of the head of a stream of the peer's, until it is whole
    pub(super) negotiation: Option<Box<Negotiation>>, // where protocols are agreed on by name, until this one is
    pub(super) finished: bool,                        // QUIC has the end of this side's direction
    pub(super) stopped: Option<u32>, // the peer wants no more of one that nobody above knows of yet
    pub(super) held: Option<ProtocolId>, // it came early and may not be read before the link is up
    pub(super) is_dry: bool,         // all that QUIC had of it was taken; it tells of more
    pub(super) drained_at: u64, // bytes the link had received when a raw reader last saw the end of what was there
    pub(super) own_head: OwnHead, // of a stream of this side's; not said yet
    pub(super) early: Vec<Bytes>, // written before the handshake was confirmed; sent again if it is refused
}

/// The first bytes of a stream, which name its protocol. At most five.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Head {
    bytes: [u8; 5],
    len: u8,
}

impl Head {
    /// Whether a byte of it has come.
    pub(super) fn has_begun(self) -> bool {
        self.len > 0
    }

    /// One more byte; the protocol once it is whole.
    pub(super) fn push(&mut self, byte: u8) -> Result<Option<ProtocolId>, Malformed> {
        let slot = self.bytes.get_mut(usize::from(self.len)).ok_or(Malformed::Varint)?;
        *slot = byte;
        self.len += 1;
        let known = self.bytes.get(..self.len.into()).unwrap_or_default();
        let whole = peek_varint(known, u32::MAX.into())?;
        Ok(whole.map(|(value, _)| ProtocolId(u32::try_from(value).unwrap_or(u32::MAX))))
    }
}

/// The head of a stream of this side's. At most five bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OwnHead {
    bytes: [u8; 5],
    len: u8,
}

impl OwnHead {
    pub(super) fn new(protocol: ProtocolId) -> Self {
        let mut bytes = [0; 5];
        let mut rest = &mut bytes[..];
        put_varint(&mut rest, protocol.0.into());
        let left = rest.len();
        Self { bytes, len: u8::try_from(5 - left).unwrap_or_default() }
    }

    pub(super) fn is_empty(self) -> bool {
        self.len == 0
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len.into()).unwrap_or_default()
    }
}

impl Stream {
    /// One that this side opens.
    pub(super) fn ours(class: Class, end: SendEnd) -> Self {
        Self {
            receive: ReceiveHalf::default(),
            send: SendHalf::new(end, class),
            blocked: false,
            head: None,
            negotiation: None,
            finished: false,
            stopped: None,
            held: None,
            is_dry: false,
            drained_at: 0,
            own_head: OwnHead::default(),
            early: Vec::new(),
        }
    }

    /// One that the peer opened and that begins with a head.
    pub(super) fn theirs() -> Self {
        Self { head: Some(Head::default()), ..Self::theirs_by_name() }
    }

    /// One that the peer opened and that begins with a negotiation.
    pub(super) fn theirs_by_name() -> Self {
        Self::ours(Class::Bulk, SendEnd::Open)
    }

    /// Whether nobody above knows of it: the peer has not said what it is.
    pub(super) fn is_hidden(&self) -> bool {
        self.head.is_some() || self.negotiation.as_ref().is_some_and(|negotiation| negotiation.is_theirs())
    }

    /// Whether its user's bytes may go out.
    pub(super) fn may_write(&self) -> bool {
        self.negotiation.as_ref().is_none_or(|negotiation| negotiation.may_write())
    }

    /// Its user hears of it, and of what the peer has asked of it meanwhile.
    pub(super) fn tell_opened(&mut self, key: StreamKey, protocol: ProtocolId, events: &mut VecDeque<Event>) {
        events.push_back(Event::Opened { key, protocol });
        if let Some(code) = self.stopped.take() {
            events.push_back(Event::Stopped(key, code));
        }
    }

    /// Its reader learns that it is broken off.
    pub(super) fn break_reading(&mut self, key: StreamKey, code: u32, events: &mut VecDeque<Event>) {
        if self.receive.end != ReceiveEnd::Open {
            return;
        }
        self.receive.end = ReceiveEnd::Reset(code);
        if self.receive.notify() {
            events.push_back(Event::Readable(key));
        }
    }

    /// Whether nothing more comes of it. One that was ended, not broken off, is kept while the answer to its name is to come: a
    /// peer that cannot answer may drop what it has not read.
    pub(super) fn is_over(&self) -> bool {
        let is_answered = !self.finished || self.negotiation.is_none();
        self.receive.end == ReceiveEnd::Over && self.send.end == SendEnd::Over && is_answered
    }
}

/// QUIC's priorities are strict: of what a connection holds, the highest class goes first. How lower classes get their shares: see `sending`.
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
