//! The side that proposes.

use bytes::{Buf as _, Bytes, BytesMut};
use weir_base::codec::{Malformed, Reader};
use weir_base::{Fault, Instant};

use super::token::{self, HEADER, LIST, NOT_AVAILABLE, Tokens};
use super::{
    BAD_LIST, BAD_TOKEN, DEADLINE, Event, LATE, LIST_MAX, NAMES_MAX, Names, OTHER_ANSWER, OTHER_HEADER,
    TOKEN_MAX,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing of the listener has come.
    Header,
    /// Its header has.
    Answer,
    Done,
}

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
    state: State,
    tokens: Tokens,
    due: Instant,
    pending: BytesMut, // <= a header and one token
    event: Option<Event>,
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
        Self { question, state: State::Header, tokens, due: now + DEADLINE, pending, event: None }
    }

    /// Whether what this side writes may follow at once, behind what [`poll_transmit`](Self::poll_transmit) gives: it has
    /// proposed its only name. A listener that does not speak it drops those bytes with the stream.
    pub fn may_write(&self) -> bool {
        matches!(&self.question, Question::Names { names, .. } if names.count() == 1)
    }

    /// Bytes of the peer, split anywhere. Takes what belongs to the negotiation; what is left belongs to the protocol.
    pub fn received(&mut self, input: &mut Bytes) {
        while self.state != State::Done {
            match self.tokens.next(input) {
                Ok(Some(token)) => self.token(token),
                Ok(None) => return,
                Err(_) => return self.fail(BAD_TOKEN),
            }
        }
    }

    fn token(&mut self, token: Bytes) {
        if self.state == State::Header {
            if token != HEADER.as_bytes() {
                return self.fail(OTHER_HEADER);
            }
            self.state = State::Answer;
            return;
        }
        let Question::Names { names, proposed } = &mut self.question else {
            return self.end(match list(token) {
                Ok(names) => Event::Listed(names),
                Err(_) => Event::Faulted(BAD_LIST),
            });
        };
        if names.get(*proposed).is_some_and(|name| token == name.as_bytes()) {
            let selected = *proposed;
            return self.end(Event::Selected(selected));
        }
        if token != NOT_AVAILABLE.as_bytes() {
            return self.fail(OTHER_ANSWER);
        }
        *proposed += 1;
        match names.get(*proposed) {
            Some(next) => token::put(&mut self.pending, next),
            None => self.end(Event::Refused),
        }
    }

    /// The listener has finished its direction. Without an answer that is a refusal.
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
