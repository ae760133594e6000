//! The side that echoes, on one stream.

use super::PAYLOAD;

/// How far an echo is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Echoed {
    Partly,
    /// The next ping is read after the pause.
    Wholly,
    /// And no further ping comes.
    Last,
}

/// See the module. It holds one payload.
#[derive(Debug, Default)]
pub(super) struct Responder {
    payload: [u8; PAYLOAD],
    filled: usize, // <= PAYLOAD; an echo is on its way where they are equal
    echoed: usize, // <= filled
    paused: bool,
    ended: bool,
}

impl Responder {
    /// `paused`: the first ping is not read before [`resume`](Self::resume).
    pub(super) fn new(paused: bool) -> Self {
        Self { paused, ..Self::default() }
    }

    /// What it can take: the rest of one ping, and nothing before the last one was echoed and the pause is over.
    pub(super) fn room(&self) -> usize {
        if self.paused { 0 } else { PAYLOAD - self.filled }
    }

    /// Takes bytes of a ping, at most [`room`](Self::room); whether it is whole.
    pub(super) fn take(&mut self, bytes: &[u8]) -> bool {
        let free = self.payload.iter_mut().skip(self.filled);
        self.filled += free.zip(bytes).map(|(place, byte)| *place = *byte).count();
        self.filled == PAYLOAD
    }

    /// No further ping comes; whether an echo is on its way.
    pub(super) fn end(&mut self) -> bool {
        self.ended = true;
        self.filled == PAYLOAD
    }

    /// The next bytes of the echo, at most `room`.
    pub(super) fn echo(&mut self, room: usize) -> &[u8] {
        if self.filled < PAYLOAD {
            return &[];
        }
        let start = self.echoed;
        self.echoed = start.saturating_add(room).min(PAYLOAD);
        self.payload.get(start..self.echoed).unwrap_or_default()
    }

    /// Whether the echo is out. Where it is, nothing is read until [`resume`](Self::resume).
    pub(super) fn echoed(&mut self) -> Echoed {
        if self.echoed < PAYLOAD {
            return Echoed::Partly;
        }
        if self.ended {
            return Echoed::Last;
        }
        (self.filled, self.echoed, self.paused) = (0, 0, true);
        Echoed::Wholly
    }

    /// The pause is over.
    pub(super) fn resume(&mut self) {
        self.paused = false;
    }
}
