//! A link over QUIC: what this side writes, and whose bytes QUIC gets next.
//!
//! QUIC itself sends what it was given by strict priority. So classes get their shares where it is given bytes: it holds at
//! most its send window and the peer's credit, room in these comes back as bytes arrive, and all that it holds goes out in
//! the end. A class that gets its share of that room gets its share of the path, after at most a window's worth of waiting.

use std::collections::VecDeque;

use bytes::Bytes;
use quinn_proto::WriteError;
use weir_base::stream::Class;
use weir_base::{LinkId, Rope, StreamKey};

use super::link::{Phase, QuicLink};
use super::stream::id;
use crate::Event;
use crate::streams::SendEnd;

/// Bytes that a stream gives QUIC at a turn while others wait: as a frame.
const QUANTUM: usize = 16 * 1024;

/// Parts of a write that are shorter than this are copied together, up to [`GATHER_MAX`]: QUIC walks a list of parts for every
/// packet.
const GATHER_PART: usize = 4 * 1024;

/// The largest buffer of parts copied together.
const GATHER_MAX: usize = 16 * 1024;

/// What is left of a stream after QUIC was given some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// Nothing.
    Nothing,
    /// Its turn is over.
    More,
    /// QUIC takes no more of it, and will tell when it does.
    Blocked,
}

impl QuicLink {
    /// Takes bytes for QUIC, behind the stream's head if that was not said; what it does not take from us waits.
    pub(super) fn take(&mut self, stream: u64, rope: &mut Rope) {
        self.receiving.credit.piggyback(&mut self.conn);
        let Some(entry) = self.streams.get_mut(stream) else { return };
        let head = std::mem::take(&mut entry.own_head);
        let mut gathered = Vec::new();
        if !head.is_empty() {
            gathered.reserve_exact(GATHER_MAX.min(head.as_slice().len() + rope.len()));
            gathered.extend_from_slice(head.as_slice());
            if rope.is_empty() {
                self.put(stream, std::mem::take(&mut gathered).into());
            }
        }
        while let Some(part) = rope.pop(usize::MAX) {
            if part.len() < GATHER_PART && (!rope.is_empty() || !gathered.is_empty()) {
                if gathered.is_empty() {
                    gathered.reserve_exact(GATHER_MAX.min(part.len() + rope.len()));
                }
                gathered.extend_from_slice(&part);
                if gathered.len() + GATHER_PART < GATHER_MAX && !rope.is_empty() {
                    continue;
                }
                self.put(stream, std::mem::take(&mut gathered).into());
            } else {
                if !gathered.is_empty() {
                    self.put(stream, std::mem::take(&mut gathered).into());
                }
                self.put(stream, part);
            }
        }
    }

    /// One part: QUIC gets it at once where nothing else waits, else it waits too.
    fn put(&mut self, stream: u64, mut part: Bytes) {
        let Some(entry) = self.streams.get_mut(stream) else { return };
        if matches!(self.phase, Phase::Handshake { .. }) && self.conn.is_client() {
            self.sending.early += part.len();
            entry.early.push(part.clone());
        }
        let (class, before) = (entry.send.class, entry.send.queue.len());
        let alone = self.sending.outbox.queued() == before as u64 || class == Class::Control;
        if alone && before == 0 {
            let (len, mut parts) = (part.len(), [part]);
            let written = self.conn.quic.send_stream(id(stream)).write_chunks(&mut parts);
            if matches!(written, Err(WriteError::Stopped(_) | WriteError::ClosedStream)) {
                return;
            }
            [part] = parts;
            self.sending.outbox.served(class, (len - part.len()) as u64);
            if part.is_empty() {
                return;
            }
        }
        self.sending.outbox.add(class, part.len() as u64);
        entry.send.queue.push(part);
        if alone {
            self.give(stream, usize::MAX); // QUIC tells of room only after it said that there is none
        } else {
            self.queue(stream);
        }
    }

    /// Writes the heads of streams on which nothing was written yet. Where the writer found no room the head waits too: it goes along
    /// with what is written once there is some.
    pub(crate) fn write_heads(&mut self) {
        let mut unwritten_heads = std::mem::take(&mut self.sending.unwritten_heads);
        unwritten_heads.retain(|stream| {
            let Some(entry) = self.streams.get(*stream) else { return false };
            if entry.own_head.is_empty() || entry.send.end == SendEnd::Over {
                return false;
            }
            let waits = entry.blocked;
            if !waits {
                self.take(*stream, &mut Rope::new());
            }
            waits
        });
        self.sending.unwritten_heads = unwritten_heads;
    }

    /// A stream with a rest waits for its turn.
    fn queue(&mut self, stream: u64) {
        if let Some(entry) = self.streams.get_mut(stream)
            && !entry.send.queue.is_empty()
            && !std::mem::replace(&mut entry.send.scheduled, true)
        {
            self.sending.outbox.push(stream, entry.send.class);
        }
    }

    /// Gives QUIC at most `most` of what waits of a stream.
    pub(super) fn give(&mut self, stream: u64, most: usize) -> Left {
        let Some(entry) = self.streams.get_mut(stream) else { return Left::Nothing };
        let (before, class) = (entry.send.queue.len(), entry.send.class);
        let mut quic = self.conn.quic.send_stream(id(stream));
        let (mut given, mut outcome) = (0, Left::More);
        while let Some(part) = entry.send.queue.pop(most - given) {
            let len = part.len();
            let mut parts = [part];
            let written = quic.write_chunks(&mut parts);
            let [part] = parts;
            given += len - part.len();
            match written {
                Ok(_) => entry.send.queue.unpop(part),
                Err(WriteError::Blocked) => {
                    entry.send.queue.unpop(part);
                    outcome = Left::Blocked;
                    break;
                }
                Err(WriteError::Stopped(_) | WriteError::ClosedStream) => entry.send.queue = Rope::new(),
            }
        }
        let left = entry.send.queue.len();
        self.sending.outbox.sub(class, (before - left) as u64);
        self.sending.outbox.served(class, given as u64);
        if left > 0 {
            return outcome;
        }
        self.end_send(stream);
        Left::Nothing
    }

    /// Ends this side's direction, where its user asked for that and nothing waits before the end.
    pub(super) fn end_send(&mut self, stream: u64) {
        let Some(entry) = self.streams.get_mut(stream) else { return };
        // Behind a proposal that may be refused another one may have to follow.
        if entry.send.end != SendEnd::Finishing || !entry.send.queue.is_empty() || !entry.may_write() {
            return;
        }
        let _ = self.conn.quic.send_stream(id(stream)).finish(); // fails only where the peer stopped it
        (entry.send.end, entry.finished) = (SendEnd::Over, true);
        if entry.is_over() {
            self.remove(stream);
        }
    }

    /// Gives QUIC what it takes of all streams that wait, class by class, and tells those that can be written again.
    pub(super) fn deal(&mut self, link: LinkId, events: &mut VecDeque<Event>) {
        while let Some(stream) = self.sending.outbox.pop() {
            let Some(entry) = self.streams.get_mut(stream) else { continue };
            entry.send.scheduled = false;
            let most = if self.sending.outbox.nobody_waits() { usize::MAX } else { QUANTUM };
            match self.give(stream, most) {
                Left::Nothing => self.announce(link, stream, events),
                Left::More => self.queue(stream),
                Left::Blocked => {}
            }
        }
        if self.sending.refused_writers.take_freed(&self.sending.outbox) {
            let waiting = self.streams.keys_where(|_, entry| entry.blocked);
            waiting.into_iter().for_each(|stream| self.announce(link, stream, events));
        }
    }

    /// The send window grew: every stream with a rest has a turn.
    pub(super) fn deal_all(&mut self, link: LinkId, events: &mut VecDeque<Event>) {
        let all = self.streams.keys();
        all.into_iter().for_each(|stream| self.queue(stream));
        self.deal(link, events);
    }

    /// QUIC takes bytes of a stream again, or it is open now.
    pub(super) fn writable(&mut self, link: LinkId, stream: u64, events: &mut VecDeque<Event>) {
        self.queue(stream);
        self.announce(link, stream, events);
    }

    /// Tells a writer who found no room that there is some.
    fn announce(&mut self, link: LinkId, stream: u64, events: &mut VecDeque<Event>) {
        if let Some(entry) = self.streams.get_mut(stream)
            && entry.blocked
            && entry.send.end == SendEnd::Open
            && entry.send.queue.is_empty()
            && entry.may_write()
            && !self.sending.refused_writers.refuses(&self.sending.outbox, entry.send.class)
        {
            entry.blocked = false;
            events.push_back(Event::Writable(StreamKey { link, stream }));
        }
    }
}
