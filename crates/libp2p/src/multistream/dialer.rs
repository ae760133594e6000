//! The side that proposes.

use bytes::{Buf as _, Bytes, BytesMut};
use weir_base::codec::{Malformed, Reader};
use weir_base::{Fault, Instant};

use super::token::{self, HEADER, LIST, NOT_AVAILABLE, Tokens};
use super::{
    BAD_LIST, BAD_TOKEN, DEADLINE, Event, LATE, LIST_MAX, NAMES_MAX, NEGOTIATION, Names, OTHER_ANSWER,
    OTHER_HEADER, TOKEN_MAX,
};
use crate::setup::Setup;

#[derive(Debug)]
enum Question {
    /// Which of these names; the one at `proposed` is out.
    Names { names: Names, proposed: usize },
    /// All of the listener's.
    List,
}

/// The dialler's half of one negotiation. After any call but `poll_*`, call [`poll_transmit`](Self::poll_transmit) until
/// `false` and [`poll_event`](Self::poll_event) once. What it has to send first is ready when it is made.
#[derive(Debug)]
pub struct Dialer {
    question: Question,
    greeted: bool, // the listener's header has come
    tokens: Tokens,
    setup: Setup<Event>, // pending <= a header and one token
}

impl Dialer {
    /// Proposes `names` in their order. The negotiation began at `now` and must end within [`DEADLINE`].
    pub fn new(names: Names, now: Instant) -> Self {
        let mut pending = BytesMut::new();
        token::put(&mut pending, HEADER);
        if let Some(first) = names.get(0) {
            token::put(&mut pending, first);
        }
        Self::with(Question::Names { names, proposed: 0 }, TOKEN_MAX, pending, now)
    }

    /// Asks for the listener's names and proposes nothing.
    pub fn list(now: Instant) -> Self {
        let mut pending = BytesMut::new();
        token::put(&mut pending, HEADER);
        token::put(&mut pending, LIST);
        Self::with(Question::List, LIST_MAX, pending, now)
    }

    fn with(question: Question, token_max: usize, pending: BytesMut, now: Instant) -> Self {
        let tokens = Tokens::new(token_max);
        Self { question, greeted: false, tokens, setup: Setup::new(now + DEADLINE, NEGOTIATION, pending) }
    }

    /// Whether what this side writes may follow at once, behind what [`poll_transmit`](Self::poll_transmit) gives: it has
    /// proposed its only name. A listener that does not speak it drops those bytes with the stream.
    pub fn may_write(&self) -> bool {
        matches!(&self.question, Question::Names { names, .. } if names.count() == 1)
    }

    /// Reads the negotiation from the peer's bytes, which may be split anywhere. Bytes left in `input` after its end belong to the
    /// protocol.
    pub fn received(&mut self, input: &mut Bytes) {
        while !self.setup.is_over() {
            match self.tokens.next(input) {
                Ok(Some(token)) => self.token(token),
                Ok(None) => return,
                Err(_) => return self.fail(BAD_TOKEN),
            }
        }
    }

    fn token(&mut self, token: Bytes) {
        if !self.greeted {
            if token != HEADER.as_bytes() {
                return self.fail(OTHER_HEADER);
            }
            self.greeted = true;
            return;
        }
        let Question::Names { names, proposed } = &mut self.question else {
            return self.setup.end(match list(token) {
                Ok(names) => Event::Listed(names),
                Err(_) => Event::Faulted(BAD_LIST),
            });
        };
        if names.get(*proposed).is_some_and(|name| token == name.as_bytes()) {
            let selected = *proposed;
            return self.setup.end(Event::Selected(selected));
        }
        if token != NOT_AVAILABLE.as_bytes() {
            return self.fail(OTHER_ANSWER);
        }
        *proposed += 1;
        match names.get(*proposed) {
            Some(next) => token::put(&mut self.setup.pending, next),
            None => self.setup.end(Event::Refused),
        }
    }

    /// The listener has finished its direction. Without an answer that is a refusal.
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

/// The names in an answer to `ls`; those that are not text are left out.
fn list(mut tokens: Bytes) -> Result<Vec<String>, Malformed> {
    let mut names = Vec::new();
    let mut seen = 0;
    while tokens.has_remaining() {
        seen += 1;
        if seen > NAMES_MAX {
            return Err(Malformed::TooLarge);
        }
        let mut reader = Reader::new(&tokens);
        let name = reader.prefixed(TOKEN_MAX)?.strip_suffix(b"\n").ok_or(Malformed::Value)?;
        names.extend(std::str::from_utf8(name).ok().map(str::to_owned));
        let taken = tokens.len() - reader.rest().len();
        tokens.advance(taken);
    }
    Ok(names)
}
