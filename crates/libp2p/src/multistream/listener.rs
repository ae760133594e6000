//! The side that answers proposals.

use bytes::{Bytes, BytesMut};
use weir_base::{Fault, Instant};

use super::token::{self, HEADER, LIST, NOT_AVAILABLE, Tokens};
use super::{
    BAD_TOKEN, DEADLINE, Event, LATE, LIST_MAX, Names, OTHER_HEADER, PROPOSALS_MAX, TOKEN_MAX, TOO_MANY,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Header,
    Proposal,
    Done,
}

/// The listener's half of one negotiation. After [`received`](Self::received) and
/// [`handle_timeout`](Self::handle_timeout) call [`poll_transmit`](Self::poll_transmit) until `false` and
/// [`poll_event`](Self::poll_event) once.
///
/// Its header goes out once the dialler's has come, together with the first answer where that has come too.
#[derive(Debug)]
pub struct Listener {
    names: Names,
    state: State,
    tokens: Tokens,
    due: Instant,
    asked: usize, // <= PROPOSALS_MAX
    listed: bool,
    pending: BytesMut, // <= a header, PROPOSALS_MAX answers and one list
    event: Option<Event>,
}

impl Listener {
    /// The negotiation began at `now` and must end within [`DEADLINE`].
    pub fn new(names: Names, now: Instant) -> Self {
        Self {
            names,
            state: State::Header,
            tokens: Tokens::new(TOKEN_MAX),
            due: now + DEADLINE,
            asked: 0,
            listed: false,
            pending: BytesMut::new(),
            event: None,
        }
    }

    /// Bytes of the peer, split anywhere. Takes what belongs to the negotiation; what is left belongs to the protocol.
    pub fn received(&mut self, input: &mut Bytes) {
        while self.state != State::Done {
            match self.tokens.next(input) {
                Ok(Some(token)) => self.token(&token),
                Ok(None) => return,
                // What a lazy dialler wrote behind the only name that it has, and that was refused: it may be anything.
                Err(_) if self.asked > 0 => return self.end(Event::Refused),
                Err(_) => return self.fail(BAD_TOKEN),
            }
        }
    }

    fn token(&mut self, token: &[u8]) {
        if self.state == State::Header {
            if token != HEADER.as_bytes() {
                return self.fail(OTHER_HEADER);
            }
            token::put(&mut self.pending, HEADER);
            self.state = State::Proposal;
            return;
        }
        if let Some(index) = self.names.position(token) {
            if let Some(name) = self.names.get(index) {
                token::put(&mut self.pending, name);
            }
            return self.end(Event::Selected(index));
        }
        self.asked += 1;
        if self.asked > PROPOSALS_MAX || token == LIST.as_bytes() && self.listed {
            return self.fail(TOO_MANY);
        }
        if token == LIST.as_bytes() {
            self.listed = true;
            return token::put_list(&mut self.pending, self.names.iter(), LIST_MAX);
        }
        token::put(&mut self.pending, NOT_AVAILABLE);
    }

    /// The dialler has finished its direction. Without an agreement that is a refusal of what this side has.
    pub fn handle_end(&mut self) {
        if self.state != State::Done {
            self.end(Event::Refused);
        }
    }

    /// Advances what is due; early and repeated calls do nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.state != State::Done && self.due <= now {
            self.fail(LATE);
        }
    }

    /// When the negotiation is late.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        (self.state != State::Done).then_some((self.due, "multistream negotiation"))
    }

    /// Appends the next bytes for the peer to `out`.
    pub fn poll_transmit(&mut self, out: &mut BytesMut) -> bool {
        if self.pending.is_empty() {
            return false;
        }
        out.extend_from_slice(&std::mem::take(&mut self.pending));
        true
    }

    /// What it came to, once.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.event.take()
    }

    fn fail(&mut self, fault: Fault) {
        self.end(Event::Faulted(fault));
    }

    fn end(&mut self, event: Event) {
        self.state = State::Done;
        self.event = Some(event);
    }
}
