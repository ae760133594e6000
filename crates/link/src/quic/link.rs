//! A link over QUIC: the user's side. What QUIC reports is in `events`.

use std::sync::Arc;

use quinn_proto::{Dir, StreamId, VarInt};
use weir_base::stream::{Class, Goodbye, OpenError};
use weir_base::{Instant, Numbered, ProtocolId, Rope, StreamKey};

use super::connection::Connection;
use super::naming::Naming;
use super::receiving::Receiving;
use super::refused_writers::RefusedWriters;
use super::stream::{OwnHead, Stream, id, priority};
use crate::carrier::{Read, Scope, Streams};
use crate::streams::{After, Next, Opens, Outbox, ProtocolNames, ReceiveEnd, SendEnd};
use crate::window::Window;
use crate::{Config, Event};

/// Bytes taken from QUIC at a time.
const SESSION: usize = 32 * 1024;

/// What one write may bring. Larger ones would only wait.
const ROOM: usize = 64 * 1024;

/// What may be written before the handshake is confirmed: a first flight with some permits.
const EARLY_MAX: usize = 8 * 1024;

/// Streams of one QUIC connection.
#[derive(Debug)]
pub(crate) struct QuicLink {
    pub(crate) conn: Connection,
    pub(super) config: Arc<Config>,
    pub(super) phase: Phase,
    pub(super) notified_early: bool, // `Event::Early` was told
    pub(super) streams: Numbered<u64, Box<Stream>>,
    pub(super) opens: Opens,
    pub(crate) receiving: Receiving,
    pub(super) sending: Sending,
    pub(crate) naming: Naming,
}

/// How far the connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The handshake runs. The flag says whether data may go along with it: out, for a client, in, for a server.
    Handshake { early: bool },
    /// It is confirmed.
    Up,
    /// This side said goodbye: the connection is closed when all that was written is acknowledged.
    Flushing(Goodbye),
    /// This side ends it without waiting.
    Cutting(Goodbye),
    /// It is closed; what the peer sent before can still be read if the peer closed it.
    Closed { by_peer: bool },
}

/// Credit towards the peer.
#[derive(Debug)]
pub(super) struct Sending {
    pub(super) window: u64,    // >= base_send; the rest is lent
    pub(super) outbox: Outbox, // what QUIC did not take yet; those that QUIC will tell of do not wait for a turn
    pub(super) refused_writers: RefusedWriters,
    pub(super) unwritten_heads: Vec<u64>, // of streams opened since the link was settled
    pub(super) early: usize,              // bytes of a client kept until the handshake is confirmed
    pub(super) wrote: Instant,
}

impl QuicLink {
    pub(crate) fn new(conn: Connection, config: Arc<Config>, names: Arc<ProtocolNames>) -> Self {
        let early = conn.is_client() && conn.quic.has_0rtt() && !config.early().is_empty();
        let sending = Sending {
            window: config.budget.base_send,
            outbox: Outbox::default(),
            refused_writers: RefusedWriters::default(),
            unwritten_heads: Vec::new(),
            early: 0,
            wrote: Instant::ZERO,
        };
        let opens = Opens::new(config.streams.max_waiting);
        Self {
            receiving: Receiving::new(config.budget.base_window),
            conn,
            config,
            phase: Phase::Handshake { early },
            notified_early: false,
            streams: Numbered::default(),
            opens,
            sending,
            naming: Naming::new(names),
        }
    }

    /// QUIC has opened the stream: its priority. Its head goes along with what is written first, or by itself when the link is
    /// settled.
    pub(super) fn begin(&mut self, stream: u64, protocol: ProtocolId) {
        let Some(entry) = self.streams.get_mut(stream) else { return };
        let _ = self.conn.quic.send_stream(id(stream)).set_priority(priority(entry.send.class));
        if self.naming.by_name {
            if let Some(names) = self.naming.table.of(protocol) {
                self.propose(stream, protocol, names);
            }
            return;
        }
        entry.own_head = OwnHead::new(protocol);
        self.sending.unwritten_heads.push(stream);
    }

    pub(super) fn end_receive(&mut self, window: &mut Window, stream: u64) {
        let Some(entry) = self.streams.get_mut(stream) else { return };
        entry.receive.end = ReceiveEnd::Over;
        entry.receive.drop_unread(window);
        let over = entry.is_over();
        if entry.receive.raw.is_some() {
            self.forget_raw(window, stream);
        }
        if over {
            self.remove(stream);
        }
    }

    fn forget_raw(&mut self, window: &mut Window, stream: u64) {
        if let Some(entry) = self.streams.get_mut(stream)
            && let Some(mut raw) = entry.receive.raw.take()
        {
            raw.count(window, 0, 0);
            self.receiving.raws.retain(|other| *other != stream);
        }
    }

    /// A stream is over both ways.
    pub(super) fn remove(&mut self, stream: u64) {
        let Some(mut entry) = self.streams.remove(stream) else { return };
        if let Some(code) = entry.receive.stop {
            self.conn.stop(stream, code); // it waited for the answer to a proposal
        }
        self.naming.over(stream, &mut entry);
    }
}

impl Streams for QuicLink {
    fn open(&mut self, now: Instant, protocol: ProtocolId, class: Class) -> Result<u64, OpenError> {
        let early = self.may_open_early(protocol);
        if self.phase != Phase::Up && !early {
            return Err(OpenError::Closed);
        }
        if self.naming.by_name && self.naming.table.of(protocol).is_none() {
            return Ok(self.naming.open_unnamed(&mut self.streams, class));
        }
        self.naming.at(now); // the link may have been at rest for long
        let free = !self.opens.any_waits() && self.conn.quic.streams().open(Dir::Bi).is_some();
        let stream = u64::from(StreamId::new(self.conn.quic.side(), Dir::Bi, self.opens.count()));
        let end = self.opens.open(stream, protocol, free)?;
        self.streams.insert(stream, Box::new(Stream::ours(class, end)));
        if end == SendEnd::Open {
            self.begin(stream, protocol);
        }
        Ok(stream)
    }

    fn set_class(&mut self, stream: u64, class: Class) {
        let Some(entry) = self.streams.get_mut(stream) else { return };
        if entry.send.class != class && !matches!(entry.send.end, SendEnd::Over) {
            self.sending.outbox.reclass(stream, &mut entry.send, class);
            if !matches!(entry.send.end, SendEnd::Waiting(_)) {
                let _ = self.conn.quic.send_stream(id(stream)).set_priority(priority(class));
            }
        }
    }

    fn read(&mut self, now: Instant, window: &mut Window, stream: u64, max: usize) -> Read {
        self.naming.at(now);
        let Some(entry) = self.streams.get_mut(stream) else { return Read::Closed };
        if entry.receive.end == ReceiveEnd::Open {
            if entry.head.is_some() || entry.negotiation.is_some() {
                return Read::Blocked;
            }
            let may_fetch = !entry.is_dry && !matches!(entry.send.end, SendEnd::Waiting(_));
            if may_fetch && entry.receive.unread() == 0 {
                let most = max.min(SESSION);
                let fetched =
                    self.receiving.fetch(now, &mut self.conn, window, (stream, &mut entry.receive), most);
                entry.is_dry = fetched.all;
                if fetched.any && max == 0 {
                    return Read::Blocked;
                }
            }
        }
        let read = match entry.receive.next(max) {
            Next::Bytes(chunk) => return Read::Data(chunk),
            Next::NoRoom => return Read::Blocked,
            Next::Nothing => {
                entry.drained_at = self.receiving.bytes;
                return Read::Blocked;
            }
            Next::Closed => return Read::Closed,
            Next::End => Read::End,
            Next::Reset(code) | Next::Stalled(code) => Read::Reset(code),
        };
        self.end_receive(window, stream);
        read
    }

    /// Bytes that can be written; 0 makes the stream wait for `Writable`.
    fn room(&mut self, stream: u64) -> usize {
        let early = match self.phase {
            Phase::Up | Phase::Flushing(_) => None,
            Phase::Handshake { early: true } if !self.conn.is_client() => None,
            Phase::Handshake { early: true } => Some(EARLY_MAX.saturating_sub(self.sending.early)),
            _ => return 0,
        };
        let Some(entry) = self.streams.get_mut(stream) else { return 0 };
        let open = match entry.send.end {
            SendEnd::Open => entry.send.queue.is_empty() && entry.may_write(),
            SendEnd::Waiting(_) => false,
            SendEnd::Finishing | SendEnd::Over => return 0,
        };
        let free = open && !self.sending.refused_writers.refuses(&self.sending.outbox, entry.send.class);
        let room = if free { early.unwrap_or(ROOM) } else { 0 };
        entry.blocked = room == 0;
        room
    }

    fn write(&mut self, stream: u64, rope: &mut Rope) {
        let room = self.room(stream);
        if rope.len() <= room {
            if !rope.is_empty() {
                self.take(stream, rope);
            }
            return;
        }
        let (mut part, mut left) = (Rope::new(), room);
        while let Some(bytes) = rope.pop(left) {
            left -= bytes.len();
            part.push(bytes);
        }
        if !part.is_empty() {
            self.take(stream, &mut part);
        }
    }

    fn finish(&mut self, stream: u64) {
        let Some(entry) = self.streams.get_mut(stream) else { return };
        if entry.send.defer(After::Finish) || entry.send.end != SendEnd::Open {
            return;
        }
        entry.send.end = SendEnd::Finishing;
        if !entry.own_head.is_empty() {
            self.take(stream, &mut Rope::new());
        }
        self.end_send(stream);
    }

    fn reset(&mut self, stream: u64, code: u32) {
        let Some(entry) = self.streams.get_mut(stream) else { return };
        if entry.send.defer(After::Reset(code)) || entry.send.end == SendEnd::Over {
            return;
        }
        let rest = std::mem::take(&mut entry.send.queue).len();
        self.sending.outbox.sub(entry.send.class, rest as u64);
        entry.early = Vec::new();
        entry.send.end = SendEnd::Over;
        let over = entry.is_over();
        let _ = self.conn.quic.send_stream(id(stream)).reset(VarInt::from_u32(code));
        if over {
            self.remove(stream);
        }
    }

    fn stop(&mut self, _now: Instant, window: &mut Window, stream: u64, code: u32) {
        let Some(entry) = self.streams.get_mut(stream) else { return };
        let over = std::mem::replace(&mut entry.receive.end, ReceiveEnd::Over);
        if matches!(entry.send.end, SendEnd::Waiting(_)) || entry.negotiation.is_some() {
            entry.receive.stop.get_or_insert(code);
        } else if over == ReceiveEnd::Open {
            self.conn.stop(stream, code);
        }
        self.end_receive(window, stream);
    }

    fn expect(&mut self, window: &mut Window, stream: u64, bytes: u64) {
        if let Some(entry) = self.streams.get_mut(stream)
            && entry.receive.end == ReceiveEnd::Open
            && entry.receive.raw.is_none()
        {
            let waiting = entry.receive.unread() > 0;
            entry.receive.expected.set(window, bytes, waiting);
        }
    }

    fn mark_raw(&mut self, stream: u64) {
        if let Some(entry) = self.streams.get_mut(stream)
            && entry.receive.raw.is_none()
        {
            entry.drained_at = self.receiving.bytes;
            entry.receive.raw = Some(Box::default());
            self.receiving.raws.push(stream);
        }
    }

    fn hello_accepted(&mut self) {
        let count = VarInt::from_u32(self.config.streams.max_inbound);
        self.conn.quic.set_max_concurrent_streams(Dir::Bi, count);
    }

    /// The latest raw stream whose reader leaves bytes unread.
    fn stalled_raw(&self) -> Option<u64> {
        let stalled = |stream: &&u64| self.streams.get(**stream).is_some_and(|entry| entry.receive.notified);
        self.receiving.raws.iter().rev().find(stalled).copied()
    }

    /// Breaks a stalled raw stream off, both ways; its user hears of it.
    fn reset_stalled(&mut self, scope: &mut Scope<'_>, stream: u64, code: u32) {
        let key = StreamKey { link: scope.link, stream };
        let Some(entry) = self.streams.get_mut(stream) else { return };
        let writing = entry.send.end == SendEnd::Open;
        if entry.receive.end == ReceiveEnd::Open {
            self.conn.stop(stream, code);
        }
        entry.receive.end = ReceiveEnd::Reset(code);
        entry.receive.drop_unread(scope.window);
        self.forget_raw(scope.window, stream);
        scope.events.push_back(Event::Readable(key));
        if writing {
            self.reset(stream, code);
            scope.events.push_back(Event::Stopped(key, code));
        }
    }
}
