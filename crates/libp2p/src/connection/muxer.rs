//! What carries a connection's streams: yamux, or mplex for a peer that has nothing better, in yamux's terms.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use weir_base::Instant;

use super::alive::{self, Alive, Pace};
use crate::mplex::{self, Mplex, NUMBER_MAX, StreamId};
use crate::yamux::{self, Event, OpenError, Read, Side, Yamux};

/// The streams of one connection. Streams have yamux's numbers, whichever it is: those that the dialler opened are odd. Use it
/// as [`Yamux`] is described; what mplex cannot say is noted at each method.
#[derive(Debug)]
pub enum Muxer {
    /// [`yamux`].
    Yamux(Box<Yamux>),
    /// [`mplex`].
    Mplex(Box<Adapted>),
}

/// mplex in yamux's terms.
#[derive(Debug)]
pub struct Adapted {
    mplex: Mplex,
    side: Side,
    now: Instant,     // of the last call that told it
    closing: bool,    // this side opens no more
    wants_open: bool, // an open was refused for a limit
    alive: Alive,
    unread_max: usize, // as configured
}

impl Adapted {
    pub(super) fn new(config: mplex::Config, pace: Pace, side: Side, now: Instant) -> Self {
        let (unread_max, alive) = (config.unread_max, Alive::new(pace, now));
        Self {
            mplex: Mplex::new(config, now),
            side,
            now,
            closing: false,
            wants_open: false,
            alive,
            unread_max,
        }
    }

    fn open(&mut self) -> Result<u32, OpenError> {
        if self.closing {
            return Err(OpenError::Closed);
        }
        match self.mplex.open() {
            // Beyond 2^31 streams of one connection there are no more, as in yamux.
            Ok(id) if id.number <= NUMBER_MAX => Ok(self.number(id)),
            Ok(id) => {
                self.mplex.reset(self.now, id);
                Err(OpenError::Closed)
            }
            Err(mplex::OpenError::Closed) => Err(OpenError::Closed),
            Err(mplex::OpenError::Limit) => {
                self.wants_open = true;
                Err(OpenError::Limit)
            }
        }
    }

    fn poll_event(&mut self) -> Option<Event> {
        let mut event = self.mplex.poll_event();
        while let Some(mplex::Event::Readable(id) | mplex::Event::Reset(id)) = event
            && self.alive.owns(id)
        {
            self.discard(id);
            event = self.mplex.poll_event();
        }
        let event = match event {
            Some(mplex::Event::Opened(id)) => Event::Opened(self.number(id)),
            Some(mplex::Event::Readable(id)) => Event::Readable(self.number(id)),
            Some(mplex::Event::Writable(id)) => Event::Writable(self.number(id)),
            Some(mplex::Event::Reset(id)) => Event::Reset(self.number(id), yamux::code::NONE),
            Some(mplex::Event::Faulted(fault)) => Event::Faulted(fault),
            None if self.wants_open && self.mplex.may_open() => {
                self.wants_open = false;
                Event::Openable
            }
            None => return None,
        };
        Some(event)
    }

    /// Drops what comes on the stream that asks for a sign of life.
    fn discard(&mut self, id: StreamId) {
        loop {
            match self.mplex.read(self.now, id, usize::MAX) {
                mplex::Read::Data(_) => {}
                mplex::Read::Blocked => return,
                mplex::Read::End | mplex::Read::Gone => return self.alive.forget(),
            }
        }
    }

    /// Asks for a sign of life, or gives the peer up. A side that is closing does neither.
    fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        self.mplex.handle_timeout(now);
        if self.closing || self.alive.due() > now {
            return;
        }
        if !self.alive.waits() {
            // Beyond this side's limit of streams too: where all are in use the peer may be as silent.
            let stream = self.mplex.begin().filter(|id| id.number <= NUMBER_MAX);
            if let Some(old) = self.alive.ask(now, stream) {
                self.mplex.reset(now, old);
            }
            if let Some(id) = stream {
                self.mplex.write(id, &mut alive::question(now));
                self.mplex.finish(id);
            }
        } else if self.mplex.room() < mplex::LOW {
            self.alive.excuse(now);
        } else {
            self.closing = true;
            self.mplex.fail(alive::SILENT);
        }
    }

    fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let alive = (!self.closing).then(|| (self.alive.due(), "a sign of life over mplex"));
        self.mplex.poll_timeout().into_iter().chain(alive).min_by_key(|(due, _)| *due)
    }

    /// As yamux numbers it: 1, 3, … are the dialler's, 2, 4, … the listener's. Numbers are at most [`NUMBER_MAX`].
    fn number(&self, id: StreamId) -> u32 {
        let first = if id.ours == (self.side == Side::Dialler) { 1 } else { 2 };
        u32::try_from(id.number * 2 + first).unwrap_or(u32::MAX)
    }

    /// The other way round. No stream has number 0.
    fn id(&self, number: u32) -> StreamId {
        let ours = (number % 2 == 1) == (self.side == Side::Dialler);
        StreamId { number: u64::from(number.saturating_sub(1) / 2), ours }
    }
}

impl Muxer {
    /// Opens a stream. It can be written at once.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(&mut self, now: Instant) -> Result<u32, OpenError> {
        match self {
            Self::Yamux(yamux) => yamux.open(now),
            Self::Mplex(adapted) => {
                adapted.now = now;
                adapted.open()
            }
        }
    }

    /// Accepts a stream that the peer opened. mplex acknowledges nothing.
    pub fn accept(&mut self, id: u32) {
        if let Self::Yamux(yamux) = self {
            yamux.accept(id);
        }
    }

    /// Reads at most `max` bytes, and makes room for as many of the peer's.
    pub fn read(&mut self, id: u32, max: usize) -> Read {
        match self {
            Self::Yamux(yamux) => yamux.read(id, max),
            Self::Mplex(adapted) => match adapted.mplex.read(adapted.now, adapted.id(id), max) {
                mplex::Read::Data(chunk) => Read::Data(chunk),
                mplex::Read::Blocked => Read::Blocked,
                mplex::Read::End => Read::End,
                mplex::Read::Gone => Read::Gone,
            },
        }
    }

    /// Bytes that can be written; 0 makes the stream wait for [`Event::Writable`], or it has ended.
    pub fn write_room(&mut self, id: u32) -> usize {
        match self {
            Self::Yamux(yamux) => yamux.write_room(id),
            Self::Mplex(adapted) => adapted.mplex.write_room(adapted.id(id)),
        }
    }

    /// Takes of `bytes` what there is room for, by reference where it is long.
    pub fn write(&mut self, id: u32, bytes: &mut Bytes) {
        match self {
            Self::Yamux(yamux) => yamux.write(id, bytes),
            Self::Mplex(adapted) => adapted.mplex.write(adapted.id(id), bytes),
        }
    }

    /// Ends this side's direction after what was written.
    pub fn finish(&mut self, id: u32) {
        match self {
            Self::Yamux(yamux) => yamux.finish(id),
            Self::Mplex(adapted) => adapted.mplex.finish(adapted.id(id)),
        }
    }

    /// Breaks a stream off, both ways. mplex has no code for it.
    pub fn reset(&mut self, id: u32, code: u32) {
        match self {
            Self::Yamux(yamux) => yamux.reset(id, code),
            Self::Mplex(adapted) => adapted.mplex.reset(adapted.now, adapted.id(id)),
        }
    }

    /// The user had no use for a stream of the peer, which it resets or ends. Peers that open such streams without end are to blame.
    pub fn count_useless(&mut self, now: Instant) {
        match self {
            Self::Yamux(yamux) => yamux.count_useless(now),
            Self::Mplex(adapted) => adapted.mplex.count_useless(now),
        }
    }

    /// Wants no more of the peer's bytes; neither muxer can say so alone: they are dropped, and once this side's direction has
    /// ended too the stream is reset.
    pub fn stop(&mut self, id: u32, code: u32) {
        match self {
            Self::Yamux(yamux) => yamux.stop(id, code),
            Self::Mplex(adapted) => adapted.mplex.stop(adapted.now, adapted.id(id)),
        }
    }

    /// Announces the end with a code of [`yamux::away`]; neither side opens streams from now on. mplex announces nothing: this side
    /// opens none.
    pub fn close(&mut self, code: u32) {
        match self {
            Self::Yamux(yamux) => yamux.close(code),
            Self::Mplex(adapted) => adapted.closing = true,
        }
    }

    /// Bytes that can be received now. 0: so much is unread that the transport must wait.
    pub fn room(&self) -> usize {
        match self {
            Self::Yamux(yamux) => yamux.room(),
            Self::Mplex(adapted) => adapted.mplex.room(),
        }
    }

    /// Bytes received and not read.
    pub fn unread(&self) -> usize {
        match self {
            Self::Yamux(yamux) => yamux.unread(),
            Self::Mplex(adapted) => adapted.mplex.unread(),
        }
    }

    /// The same of one stream.
    pub fn unread_of(&self, id: u32) -> usize {
        match self {
            Self::Yamux(yamux) => yamux.unread_of(id),
            Self::Mplex(adapted) => adapted.mplex.unread_of(adapted.id(id)),
        }
    }

    /// Whether all that the peer will ever send on a stream has come, and its end is still to be read.
    pub fn has_ended(&self, id: u32) -> bool {
        match self {
            Self::Yamux(yamux) => yamux.has_ended(id),
            Self::Mplex(adapted) => adapted.mplex.has_ended(adapted.id(id)),
        }
    }

    /// Replaces the limit of unread bytes of the configuration. What is unread already stays. Over mplex it is never above what is
    /// configured: no peer has a window there, and what more may be unread it sends at once.
    pub fn limit_unread(&mut self, bytes: usize) {
        match self {
            Self::Yamux(yamux) => yamux.limit_unread(bytes),
            Self::Mplex(adapted) => adapted.mplex.limit_unread(bytes.min(adapted.unread_max)),
        }
    }

    /// Streams that are open, of both sides.
    pub fn open_streams(&self) -> usize {
        match self {
            Self::Yamux(yamux) => yamux.open_streams(),
            Self::Mplex(adapted) => adapted.mplex.open_streams(),
        }
    }

    /// The round-trip time, smoothed; none before the first ping is answered, and never over mplex.
    pub fn rtt(&self) -> Option<Duration> {
        match self {
            Self::Yamux(yamux) => yamux.rtt(),
            Self::Mplex(_) => None,
        }
    }

    /// The next thing that happened. [`Connection::poll_event`](super::Connection::poll_event) asks this.
    pub(super) fn poll_event(&mut self) -> Option<Event> {
        match self {
            Self::Yamux(yamux) => yamux.poll_event(),
            Self::Mplex(adapted) => adapted.poll_event(),
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        match self {
            Self::Yamux(yamux) => yamux.handle_timeout(now),
            Self::Mplex(adapted) => adapted.handle_timeout(now),
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        match self {
            Self::Yamux(yamux) => yamux.poll_timeout(),
            Self::Mplex(adapted) => adapted.poll_timeout(),
        }
    }

    pub(super) fn received(&mut self, now: Instant, input: Bytes) {
        match self {
            Self::Yamux(yamux) => yamux.received(now, input),
            Self::Mplex(adapted) => {
                adapted.now = now;
                if !input.is_empty() {
                    adapted.alive.heard(now);
                }
                adapted.mplex.received(now, input);
            }
        }
    }

    pub(super) fn poll_transmit(&mut self, now: Instant, out: &mut BytesMut, room: usize) -> bool {
        match self {
            Self::Yamux(yamux) => yamux.poll_transmit(now, out, room),
            Self::Mplex(adapted) => {
                adapted.now = now;
                adapted.mplex.poll_transmit(out, room)
            }
        }
    }
}
