//! The side that answers proposals.

use bytes::{Bytes, BytesMut};
use weir_base::{Fault, Instant};

use super::token::{self, HEADER, LIST, NOT_AVAILABLE, Tokens};
use super::{
    BAD_TOKEN, DEADLINE, Event, LATE, LIST_MAX, NEGOTIATION, Names, OTHER_HEADER, PROPOSALS_MAX, TOKEN_MAX,
    TOO_MANY,
};
use crate::setup::Setup;

/// The listener's half of one negotiation. After [`received`](Self::received) and
/// [`handle_timeout`](Self::handle_timeout) call [`poll_transmit`](Self::poll_transmit) until `false` and
/// [`poll_event`](Self::poll_event) once.
///
/// Its header goes out once the dialler's has come, together with the first answer where that has come too.
#[derive(Debug)]
pub struct Listener {
    names: Names,
    greeted: bool, // the dialler's header has come
    tokens: Tokens,
    asked: usize, // <= PROPOSALS_MAX
    listed: bool,
    setup: Setup<Event>, // pending <= a header, PROPOSALS_MAX answers and one list
}

impl Listener {
    /// The negotiation began at `now` and must end within [`DEADLINE`].
    pub fn new(names: Names, now: Instant) -> Self {
        Self {
            names,
            greeted: false,
            tokens: Tokens::new(TOKEN_MAX),
            asked: 0,
            listed: false,
            setup: Setup::new(now + DEADLINE, NEGOTIATION, BytesMut::new()),
        }
    }

    /// Reads the negotiation from the peer's bytes, which may be split anywhere. Bytes left in `input` after its end belong to the
    /// protocol.
    pub fn received(&mut self, input: &mut Bytes) {
        while !self.setup.is_over() {
            match self.tokens.next(input) {
                Ok(Some(token)) => self.token(&token),
                Ok(None) => return,
                // What a lazy dialler wrote behind the only name that it has, and that was refused: it may be anything.
                Err(_) if self.asked > 0 => return self.setup.end(Event::Refused),
                Err(_) => return self.fail(BAD_TOKEN),
            }
        }
    }

    fn token(&mut self, token: &[u8]) {
        if !self.greeted {
            if token != HEADER.as_bytes() {
                return self.fail(OTHER_HEADER);
            }
            token::put(&mut self.setup.pending, HEADER);
            self.greeted = true;
            return;
        }
        if let Some(index) = self.names.position(token) {
            if let Some(name) = self.names.get(index) {
                token::put(&mut self.setup.pending, name);
            }
            return self.setup.end(Event::Selected(index));
        }
        self.asked += 1;
        if self.asked > PROPOSALS_MAX || token == LIST.as_bytes() && self.listed {
            return self.fail(TOO_MANY);
        }
        if token == LIST.as_bytes() {
            self.listed = true;
            return token::put_list(&mut self.setup.pending, self.names.iter(), LIST_MAX);
        }
        token::put(&mut self.setup.pending, NOT_AVAILABLE);
    }

    /// The dialler has finished its direction. Without an agreement that is a refusal of what this side has.
    pub fn handle_end(&mut self) {
        if !self.setup.is_over() {
            self.setup.end(Event::Refused);
        }
    }

    /// Advances what is due; early and repeated calls do nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.setup.is_late(now) {
            self.fail(LATE);
        }
    }

    /// When the negotiation is late.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        self.setup.poll_timeout()
    }

    /// Appends the next bytes for the peer to `out`.
    pub fn poll_transmit(&mut self, out: &mut BytesMut) -> bool {
        self.setup.poll_transmit(out)
    }

    /// What it came to, once.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.setup.poll_event()
    }

    fn fail(&mut self, fault: Fault) {
        self.setup.end(Event::Faulted(fault));
    }
}
