//! One stream of a connection over bytes: its halves, and the negotiation of its protocol.

use bytes::{Bytes, BytesMut};
use weir_base::Instant;
use weir_base::stream::Class;
use weir_libp2p::multistream::{DEADLINE, Dialer, Event, Listener, Names};

use crate::streams::{ReceiveEnd, ReceiveHalf, SendEnd, SendHalf};

/// Both directions. Gone when both have ended.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) receive: ReceiveHalf, // what it queues came in one piece with the end of the negotiation; the rest lies in the muxer
    pub(super) send: SendHalf,
    pub(super) negotiation: Option<Box<Negotiation>>,
    pub(super) ends_from: Option<Instant>, // its end goes out at the earliest then
    pub(super) raw: bool,
    pub(super) counted: u64, // unread bytes of a raw stream that the window counts
}

/// Which protocol the stream speaks is not agreed on yet.
#[derive(Debug)]
pub(super) struct Negotiation {
    side: Side,
    pub(super) due: Instant, // when it must be over
}

#[derive(Debug)]
enum Side {
    /// This side proposed.
    Ours(Dialer),
    /// The peer proposes. Nobody above knows of the stream.
    Theirs(Listener),
}

impl Negotiation {
    /// This side proposes `names`.
    pub(super) fn ours(names: Names, now: Instant) -> Self {
        Self { side: Side::Ours(Dialer::new(names, now)), due: now + DEADLINE }
    }

    /// The peer proposes, and this side takes any of `names`.
    pub(super) fn theirs(names: Names, now: Instant) -> Self {
        Self { side: Side::Theirs(Listener::new(names, now)), due: now + DEADLINE }
    }

    pub(super) fn is_theirs(&self) -> bool {
        matches!(self.side, Side::Theirs(_))
    }

    /// Reads from `input`; what is left in it belongs to the protocol. Returns the outcome once there is one.
    pub(super) fn received(&mut self, input: &mut Bytes) -> Option<Event> {
        match &mut self.side {
            Side::Ours(dialer) => {
                dialer.received(input);
                dialer.poll_event()
            }
            Side::Theirs(listener) => {
                listener.received(input);
                listener.poll_event()
            }
        }
    }

    /// The peer's direction ended.
    pub(super) fn handle_end(&mut self) -> Option<Event> {
        match &mut self.side {
            Side::Ours(dialer) => {
                dialer.handle_end();
                dialer.poll_event()
            }
            Side::Theirs(listener) => {
                listener.handle_end();
                listener.poll_event()
            }
        }
    }

    /// What it has to say.
    pub(super) fn output(&mut self) -> Bytes {
        let mut out = BytesMut::new();
        match &mut self.side {
            Side::Ours(dialer) => while dialer.poll_transmit(&mut out) {},
            Side::Theirs(listener) => while listener.poll_transmit(&mut out) {},
        }
        out.freeze()
    }

    /// Whether what this side writes may follow its proposal.
    fn may_write(&self) -> bool {
        matches!(&self.side, Side::Ours(dialer) if dialer.may_write())
    }
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
        Self { receive: ReceiveHalf::default(), send, negotiation, ends_from: None, raw: false, counted: 0 }
    }

    pub(super) fn is_over(&self) -> bool {
        self.receive.end == ReceiveEnd::Over && self.send.end == SendEnd::Over
    }

    /// Whether its user's bytes may go out.
    pub(super) fn may_write(&self) -> bool {
        matches!(self.send.end, SendEnd::Open | SendEnd::Finishing)
            && self.negotiation.as_ref().is_none_or(|negotiation| negotiation.may_write())
    }
}
