//! What this side writes on the streams of a link over QUIC, and whose bytes QUIC gets next.
//!
//! QUIC itself sends what it was given by strict priority. So classes get their shares where it is given bytes: it holds at
//! most its send window and the peer's credit, room in these comes back as bytes arrive, and all that it holds goes out in
//! the end. A class that gets its share of that room gets its share of the path, after at most a window's worth of waiting.

use std::collections::VecDeque;

use bytes::Bytes;
use quinn_proto::{FinishError, VarInt, WriteError};
use weir_base::stream::Class;
use weir_base::{ProtocolId, Rope, StreamKey};

use super::connection::Connection;
use super::early::Unconfirmed;
use super::parts::Parts;
use super::phase::Phase;
use super::refused_writers::RefusedWriters;
use super::stream::{OwnHead, Stream, id, priority};
use crate::Event;
use crate::streams::{After, Outbox, SendEnd};

/// What one write may bring, in bytes. Larger ones would only wait.
const ROOM: usize = 64 * 1024;

/// Bytes that a stream gives QUIC at a turn while others wait: as a frame.
const QUANTUM: usize = 16 * 1024;

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

/// What was written and QUIC did not take yet, and who waits for room. A stream that is named here is the caller's to keep: after
/// [`give`](Self::give), [`write`](Self::write), [`end`](Self::end) and [`reset`](Self::reset) it may be over.
#[derive(Debug)]
pub(super) struct Sending {
    outbox: Outbox, // streams that QUIC will tell of do not wait for a turn
    refused_writers: RefusedWriters,
    unwritten_heads: Vec<u64>, // of streams opened since the link was settled
    pub(super) unconfirmed: Unconfirmed,
}

impl Sending {
    pub(super) fn new(is_client: bool) -> Self {
        Self {
            outbox: Outbox::default(),
            refused_writers: RefusedWriters::default(),
            unwritten_heads: Vec::new(),
            unconfirmed: Unconfirmed::new(is_client),
        }
    }

    /// Bytes that were written and QUIC has not taken.
    pub(super) fn queued(&self) -> u64 {
        self.outbox.queued()
    }

    /// A stream of this side's begins with a head: it goes along with what is written first, or by itself when the link is settled.
    pub(super) fn begin(&mut self, (stream, entry): (u64, &mut Stream), protocol: ProtocolId) {
        entry.own_head = OwnHead::new(protocol);
        self.unwritten_heads.push(stream);
    }

    /// The streams whose heads may not be written yet; they are to be [kept](Self::keep_heads) where they wait on.
    pub(super) fn take_heads(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.unwritten_heads)
    }

    /// Heads that were not written after all.
    pub(super) fn keep_heads(&mut self, streams: Vec<u64>) {
        self.unwritten_heads = streams;
    }

    /// What a stream writes ranks as `class` from now on.
    pub(super) fn set_class(
        &mut self,
        conn: &mut Connection,
        (stream, entry): (u64, &mut Stream),
        class: Class,
    ) {
        if entry.send.class == class || entry.send.end == SendEnd::Over {
            return;
        }
        self.outbox.reclass(stream, &mut entry.send, class);
        if !matches!(entry.send.end, SendEnd::Waiting(_)) {
            let _ = conn.quic.send_stream(id(stream)).set_priority(priority(class));
        }
    }

    /// Bytes that can be written; 0 makes the stream wait for [`Event::Writable`].
    pub(super) fn room(&mut self, phase: Phase, entry: &mut Stream) -> usize {
        let most = match phase {
            Phase::Up | Phase::Flushing(_) => ROOM,
            Phase::Handshake { early: true } => self.unconfirmed.room().unwrap_or(ROOM),
            _ => return 0,
        };
        let open = match entry.send.end {
            SendEnd::Open => entry.send.queue.is_empty() && entry.may_write(),
            SendEnd::Waiting(_) => false,
            SendEnd::Finishing | SendEnd::Over => return 0,
        };
        let free = open && !self.refused_writers.refuses(&self.outbox, entry.send.class);
        let room = if free { most } else { 0 };
        entry.blocked = room == 0;
        room
    }

    /// Takes bytes for QUIC, behind the stream's head if that was not said; what it does not take from us waits.
    pub(super) fn write(
        &mut self,
        conn: &mut Connection,
        (stream, entry): (u64, &mut Stream),
        rope: &mut Rope,
    ) {
        let head = std::mem::take(&mut entry.own_head);
        Parts::new(head.as_slice(), rope).for_each(|part| self.put(conn, (stream, entry), part));
    }

    /// One part: QUIC gets it at once where nothing else waits, else it waits too.
    fn put(&mut self, conn: &mut Connection, (stream, entry): (u64, &mut Stream), mut part: Bytes) {
        self.unconfirmed.keep(entry, &part);
        let (class, before) = (entry.send.class, entry.send.queue.len());
        let alone = self.outbox.queued() == before as u64 || class == Class::Control;
        if alone && before == 0 {
            let (len, mut parts) = (part.len(), [part]);
            let written = conn.quic.send_stream(id(stream)).write_chunks(&mut parts);
            if matches!(written, Err(WriteError::Stopped(_) | WriteError::ClosedStream)) {
                return;
            }
            [part] = parts;
            self.outbox.served(class, (len - part.len()) as u64);
            if part.is_empty() {
                return;
            }
        }
        self.outbox.add(class, part.len() as u64);
        entry.send.queue.push(part);
        if alone {
            self.give(conn, (stream, entry), usize::MAX); // QUIC tells of room only after it said that there is none
        } else {
            self.queue((stream, entry));
        }
    }

    /// A stream with a rest waits for its turn.
    pub(super) fn queue(&mut self, (stream, entry): (u64, &mut Stream)) {
        if !entry.send.queue.is_empty() && !std::mem::replace(&mut entry.send.scheduled, true) {
            self.outbox.push(stream, entry.send.class);
        }
    }

    /// The stream whose turn it is.
    pub(super) fn next(&mut self) -> Option<u64> {
        self.outbox.pop()
    }

    /// A stream has its turn.
    pub(super) fn turn(&mut self, conn: &mut Connection, (stream, entry): (u64, &mut Stream)) -> Left {
        entry.send.scheduled = false;
        let most = if self.outbox.nobody_waits() { usize::MAX } else { QUANTUM };
        let left = self.give(conn, (stream, entry), most);
        if left == Left::More {
            self.queue((stream, entry));
        }
        left
    }

    /// Gives QUIC at most `most` of what waits of a stream.
    pub(super) fn give(
        &mut self,
        conn: &mut Connection,
        (stream, entry): (u64, &mut Stream),
        most: usize,
    ) -> Left {
        let (before, class) = (entry.send.queue.len(), entry.send.class);
        let mut quic = conn.quic.send_stream(id(stream));
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
        self.outbox.sub(class, (before - left) as u64);
        self.outbox.served(class, given as u64);
        if left > 0 {
            return outcome;
        }
        Self::end(conn, (stream, entry));
        Left::Nothing
    }

    /// Ends this side's direction, where its user asked for that and nothing waits before the end.
    pub(super) fn end(conn: &mut Connection, (stream, entry): (u64, &mut Stream)) {
        // Behind a proposal that may be refused another one may have to follow.
        if entry.send.end != SendEnd::Finishing || !entry.send.queue.is_empty() || !entry.may_write() {
            return;
        }
        let mut quic = conn.quic.send_stream(id(stream));
        if let Err(FinishError::Stopped(code)) = quic.finish() {
            let _ = quic.reset(code); // else QUIC would keep it, and the peer its place, until the link ends
        }
        (entry.send.end, entry.finished) = (SendEnd::Over, true);
    }

    /// Breaks this side's direction off; what waits is dropped.
    pub(super) fn reset(&mut self, conn: &mut Connection, (stream, entry): (u64, &mut Stream), code: u32) {
        if entry.send.defer(After::Reset(code)) || entry.send.end == SendEnd::Over {
            return;
        }
        self.drop_queue(entry);
        entry.early = Vec::new();
        entry.send.end = SendEnd::Over;
        let _ = conn.quic.send_stream(id(stream)).reset(VarInt::from_u32(code));
    }

    /// What waits of a stream does not go out.
    pub(super) fn drop_queue(&mut self, entry: &mut Stream) {
        let rest = std::mem::take(&mut entry.send.queue).len();
        self.outbox.sub(entry.send.class, rest as u64);
    }

    /// What was written before the handshake was confirmed is given to QUIC once more.
    pub(super) fn send_again(&mut self, conn: &mut Connection, (stream, entry): (u64, &mut Stream)) {
        let _ = conn.quic.send_stream(id(stream)).set_priority(priority(entry.send.class));
        std::mem::take(&mut entry.early).into_iter().for_each(|part| entry.send.queue.push(part));
        self.outbox.add(entry.send.class, entry.send.queue.len() as u64);
        if entry.send.end == SendEnd::Over {
            entry.send.end = SendEnd::Finishing;
        }
        self.give(conn, (stream, entry), usize::MAX);
    }

    /// Whether writers who were refused for their class may write again. Asked once for each time.
    pub(super) fn take_freed(&mut self) -> bool {
        self.refused_writers.take_freed(&self.outbox)
    }

    /// Tells a writer who found no room that there is some.
    pub(super) fn announce(&mut self, entry: &mut Stream, key: StreamKey, events: &mut VecDeque<Event>) {
        if entry.blocked
            && entry.send.end == SendEnd::Open
            && entry.send.queue.is_empty()
            && entry.may_write()
            && !self.refused_writers.refuses(&self.outbox, entry.send.class)
        {
            entry.blocked = false;
            events.push_back(Event::Writable(key));
        }
    }
}

#[cfg(test)]
mod tests {
    use weir_base::LinkId;

    use super::*;

    #[test]
    fn a_writer_is_told_once_and_only_when_there_is_room_for_its_class() {
        let (mut sending, mut events) = (Sending::new(false), VecDeque::new());
        let mut entry = Stream::ours(Class::Pool, SendEnd::Open);
        let key = StreamKey { link: LinkId(1), stream: 4 };
        let full = sending.outbox.room(Class::Pool);
        sending.outbox.add(Class::Pool, full);
        assert_eq!(sending.room(Phase::Up, &mut entry), 0);
        sending.announce(&mut entry, key, &mut events);
        assert!(events.is_empty() && !sending.take_freed());
        sending.outbox.sub(Class::Pool, 1);
        assert!(sending.take_freed() && !sending.take_freed());
        (0..2).for_each(|_| sending.announce(&mut entry, key, &mut events));
        assert!(matches!(events.make_contiguous(), [Event::Writable(told)] if *told == key), "{events:?}");
        assert_eq!(sending.room(Phase::Up, &mut entry), ROOM);
    }

    #[test]
    fn a_client_has_8_kib_before_its_handshake_is_confirmed_and_a_server_any_room() {
        let early = Phase::Handshake { early: true };
        for (is_client, room, later) in [(true, 8_192, 7_192), (false, ROOM, ROOM)] {
            let mut sending = Sending::new(is_client);
            let mut entry = Stream::ours(Class::Tip, SendEnd::Open);
            assert_eq!(sending.room(Phase::Handshake { early: false }, &mut entry), 0);
            assert_eq!(sending.room(early, &mut entry), room);
            sending.unconfirmed.keep(&mut entry, &Bytes::from_static(&[1; 1_000]));
            assert_eq!(sending.room(early, &mut entry), later);
            assert_eq!(entry.early.len(), usize::from(is_client));
            assert_eq!(sending.room(Phase::Up, &mut entry), ROOM);
            entry.send.end = SendEnd::Finishing;
            assert_eq!(sending.room(Phase::Up, &mut entry), 0);
        }
    }

    #[test]
    fn what_is_dropped_or_of_another_class_leaves_no_debt_in_the_outbox() {
        let mut sending = Sending::new(false);
        let mut entry = Stream::ours(Class::Pool, SendEnd::Waiting(After::Write));
        for class in [Class::Pool, Class::Control] {
            let part = Bytes::from_static(&[1; 100]);
            sending.outbox.add(class, 100);
            entry.send.queue.push(part);
            sending.queue((4, &mut entry));
            sending.queue((4, &mut entry));
            assert_eq!((sending.queued(), sending.next(), sending.next()), (100, Some(4), None), "one turn");
            entry.send.scheduled = false;
            sending.drop_queue(&mut entry);
            assert_eq!(sending.queued(), 0);
            sending.outbox.reclass(4, &mut entry.send, Class::Control);
        }
    }
}
