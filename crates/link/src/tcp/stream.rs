//! One stream of a connection over bytes: its halves, and the negotiation of its protocol.

use bytes::Bytes;
use weir_base::Instant;
use weir_base::stream::Class;

use crate::streams::{Negotiation, ReceiveEnd, ReceiveHalf, SendEnd, SendHalf};

/// Both directions. Gone when both have ended.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) receive: ReceiveHalf, // what it queues came in one piece with the end of the negotiation; the rest lies in the muxer
    pub(super) send: SendHalf,
    pub(super) negotiation: Option<Box<Negotiation>>,
    pub(super) ends_from: Option<Instant>, // its end goes out at the earliest then
    pub(super) answer: Bytes, // to the peer's proposal, where it waits for the first of this side's bytes
    pub(super) raw: bool,
    pub(super) counted: u64, // unread bytes of a raw stream that the window counts
}

impl Stream {
    /// One that this side opens.
    pub(super) fn ours(end: SendEnd, class: Class) -> Self {
        Self::new(SendHalf::new(end, class), None)
    }

    /// One that the peer opened.
    pub(super) fn theirs(negotiation: Negotiation) -> Self {
        Self::new(SendHalf::new(SendEnd::Open, Class::Bulk), Some(Box::new(negotiation)))
    }

    fn new(send: SendHalf, negotiation: Option<Box<Negotiation>>) -> Self {
        Self {
            receive: ReceiveHalf::default(),
            send,
            negotiation,
            ends_from: None,
            answer: Bytes::new(),
            raw: false,
            counted: 0,
        }
    }

    /// Whether nothing more comes of it. While the answer to its name is to come it is kept: a stop before that would make the muxer
    /// take the answer for bytes that nobody wants, and break off what the peer has not read.
    pub(super) fn is_over(&self) -> bool {
        self.receive.end == ReceiveEnd::Over && self.send.end == SendEnd::Over && self.negotiation.is_none()
    }

    /// Whether its user's bytes may go out.
    pub(super) fn may_write(&self) -> bool {
        matches!(self.send.end, SendEnd::Open | SendEnd::Finishing)
            && self.negotiation.as_ref().is_none_or(|negotiation| negotiation.may_write())
    }
}

/// The muxer's number of a stream. Numbers beyond its 32 bits are of streams that it does not have: it has no stream 0.
pub(super) fn id(stream: u64) -> u32 {
    u32::try_from(stream + 1).unwrap_or(0)
}

/// The other way round: the dialler's streams are even, as over every transport.
pub(super) fn stream_of(id: u32) -> u64 {
    u64::from(id).saturating_sub(1)
}
