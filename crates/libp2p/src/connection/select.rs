//! Either side of a negotiation.

use bytes::{Bytes, BytesMut};
use weir_base::Instant;

use crate::multistream::{Dialer, Event, Listener, Names};
use crate::yamux::Side;

/// The dialler proposes, the listener answers.
pub(super) enum Select {
    Dialer(Dialer),
    Listener(Listener),
}

impl Select {
    pub(super) fn new(side: Side, names: Names, now: Instant) -> Self {
        match side {
            Side::Dialler => Self::Dialer(Dialer::new(names, now)),
            Side::Listener => Self::Listener(Listener::new(names, now)),
        }
    }

    /// Whether what this side writes may follow its proposal.
    pub(super) fn may_write(&self) -> bool {
        matches!(self, Self::Dialer(dialer) if dialer.may_write())
    }

    /// Reads the negotiation from `input`. Returns its outcome once it is over.
    pub(super) fn received(&mut self, input: &mut Bytes) -> Option<Event> {
        match self {
            Self::Dialer(dialer) => {
                dialer.received(input);
                dialer.poll_event()
            }
            Self::Listener(listener) => {
                listener.received(input);
                listener.poll_event()
            }
        }
    }

    pub(super) fn poll_transmit(&mut self, out: &mut BytesMut) -> bool {
        match self {
            Self::Dialer(dialer) => dialer.poll_transmit(out),
            Self::Listener(listener) => listener.poll_transmit(out),
        }
    }
}
