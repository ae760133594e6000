//! One stream's protocol, agreed on by name (multistream-select), whatever carries the stream.
//!
//! - The opener makes a [`Negotiation::ours`]. Its [`output`](Negotiation::output) goes out first. The user's bytes may follow at once
//!   if [`may_write`](Negotiation::may_write) says so, and otherwise after [`Outcome::Agreed`].
//! - The other side makes a [`Negotiation::theirs`]. Its user hears of the stream with [`Outcome::Opened`].
//! - Each side hands in the peer's bytes ([`received`](Negotiation::received)) and the end of its direction
//!   ([`handle_end`](Negotiation::handle_end)), writes the output, and acts on the outcome. Bytes that a negotiation leaves belong to the
//!   protocol.
//!
//! Threat: streams that are opened and never say what they are. A link counts them in [`Negotiating`], refuses those beyond its
//! limit, and ends each at its deadline. Source: `docs/spec/libp2p-links.md`, "Names".

use bytes::{Bytes, BytesMut};
use weir_base::fault::Blame;
use weir_base::{Deadlines, Fault, Instant, ProtocolId};
use weir_libp2p::multistream::{DEADLINE, Dialer, Event, Listener, Names};

use super::names::number;

/// Bytes of a negotiation read at a time: both tokens of a name of usual length. What is left of them is copied.
pub(crate) const READ: usize = 512;

/// A protocol that nobody speaks at the other end, or that has no name there (`docs/spec/streams.md`, "Codes").
pub(crate) const UNKNOWN: u32 = 1;

/// A negotiation that took too long (`docs/spec/streams.md`, "Codes").
pub(crate) const LATE: u32 = 3;

/// Which protocol a stream speaks is not agreed on yet.
#[derive(Debug)]
pub(crate) struct Negotiation {
    side: Side,
    due: Instant, // when it must be over
}

#[derive(Debug)]
enum Side {
    /// This side proposed the names of this protocol.
    Ours(Dialer, ProtocolId),
    /// The peer proposes. Nobody above knows of the stream.
    Theirs(Listener),
}

/// What a negotiation came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The peer's stream speaks the offered name with this index.
    Opened(usize),
    /// This side's stream speaks what it proposed: the name with this number.
    Agreed(ProtocolId),
    /// The peer proposed nothing that this side has. The answer still goes out; behind it the stream ends with [`UNKNOWN`].
    Declined,
    /// The peer has nothing that this side proposed, or speaks something else than multistream: the stream is broken off at once
    /// with [`UNKNOWN`].
    Refused,
    /// The peer broke the rules.
    Faulted(Fault),
}

impl Negotiation {
    /// This side proposes `names`, which are those of `protocol`.
    pub(crate) fn ours(protocol: ProtocolId, names: Names, now: Instant) -> Self {
        Self { side: Side::Ours(Dialer::new(names, now), protocol), due: now + DEADLINE }
    }

    /// The peer proposes, and this side takes any of `names`.
    pub(crate) fn theirs(names: Names, now: Instant) -> Self {
        Self { side: Side::Theirs(Listener::new(names, now)), due: now + DEADLINE }
    }

    /// Whether the peer proposes.
    pub(crate) fn is_theirs(&self) -> bool {
        matches!(self.side, Side::Theirs(_))
    }

    /// Reads from `input`; what is left in it belongs to the protocol. Returns the outcome once there is one.
    pub(crate) fn received(&mut self, input: &mut Bytes) -> Option<Outcome> {
        let event = match &mut self.side {
            Side::Ours(dialer, _) => {
                dialer.received(input);
                dialer.poll_event()
            }
            Side::Theirs(listener) => {
                listener.received(input);
                listener.poll_event()
            }
        };
        Some(self.outcome(event?))
    }

    /// The peer's direction ended.
    pub(crate) fn handle_end(&mut self) -> Option<Outcome> {
        let event = match &mut self.side {
            Side::Ours(dialer, _) => {
                dialer.handle_end();
                dialer.poll_event()
            }
            Side::Theirs(listener) => {
                listener.handle_end();
                listener.poll_event()
            }
        };
        Some(self.outcome(event?))
    }

    fn outcome(&self, event: Event) -> Outcome {
        match (event, self.is_theirs()) {
            (Event::Selected(index), _) => match &self.side {
                Side::Ours(_, first) => {
                    Outcome::Agreed(number(*first, u32::try_from(index).unwrap_or(u32::MAX)))
                }
                Side::Theirs(_) => Outcome::Opened(index),
            },
            (Event::Refused | Event::Listed(_), true) => Outcome::Declined,
            (Event::Faulted(fault), _) if fault.blame == Blame::Misbehaved => Outcome::Faulted(fault),
            (Event::Faulted(_), _) | (Event::Refused | Event::Listed(_), false) => Outcome::Refused,
        }
    }

    /// What it has to say.
    pub(crate) fn output(&mut self) -> Bytes {
        let mut out = BytesMut::new();
        match &mut self.side {
            Side::Ours(dialer, _) => while dialer.poll_transmit(&mut out) {},
            Side::Theirs(listener) => while listener.poll_transmit(&mut out) {},
        }
        out.freeze()
    }

    /// Whether what this side writes may follow its proposal.
    pub(crate) fn may_write(&self) -> bool {
        matches!(&self.side, Side::Ours(dialer, _) if dialer.may_write())
    }
}

/// The streams of one link whose protocol is not agreed on yet.
#[derive(Debug, Default)]
pub(crate) struct Negotiating {
    due: Deadlines<u64>, // <= own streams, and the limit of the peer's
    theirs: u32,
}

impl Negotiating {
    /// How many of them the peer opened.
    pub(crate) fn theirs(&self) -> u32 {
        self.theirs
    }

    /// A negotiation begins.
    pub(crate) fn add(&mut self, stream: u64, negotiation: &Negotiation) {
        self.due.set(stream, Some(negotiation.due));
        self.theirs += u32::from(negotiation.is_theirs());
    }

    /// A negotiation is over, one way or the other.
    pub(crate) fn remove(&mut self, stream: u64, negotiation: &Negotiation) {
        self.due.set(stream, None);
        self.theirs -= u32::from(negotiation.is_theirs());
    }

    /// The next stream whose negotiation took too long. It is still to be removed.
    pub(crate) fn pop_late(&mut self, now: Instant) -> Option<u64> {
        self.due.pop_due(now)
    }

    /// When the first of them must be over.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.due.next().map(|(due, _)| due)
    }
}
