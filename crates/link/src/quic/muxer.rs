//! The streams of one link over QUIC: what their user asks for, routed to the machines that own it. What QUIC reports of them is in
//! `events`, how undecided ones agree on their protocols in `negotiating`.
//!
//! | concern | machine |
//! | --- | --- |
//! | QUIC's state, and how far the connection is | [`Connection`] with its `Phase` |
//! | what is written, whose bytes QUIC gets next, who waits for room | [`Sending`] |
//! | what comes in: heads, raw readers, credit, receive buffers | [`Receiving`] |
//! | protocols by name | [`Naming`] |
//! | streams that wait for the peer's limit | [`Opens`] |

use std::sync::Arc;

use quinn_proto::{Dir, StreamId, VarInt};
use weir_base::stream::{Class, OpenError};
use weir_base::{Instant, Numbered, ProtocolId, Rope, StreamKey};

use super::connection::Connection;
use super::naming::Naming;
use super::receiving::Receiving;
use super::sending::{Left, Sending};
use super::stream::{Stream, id, priority};
use crate::carrier::{Read, Scope, Streams};
use crate::streams::{After, Next, Opens, ProtocolNames, ReceiveEnd, SendEnd};
use crate::window::Window;
use crate::{Config, Event};

/// Bytes taken from QUIC at a time.
const SESSION: usize = 32 * 1024;

/// Streams of one QUIC connection.
#[derive(Debug)]
pub(crate) struct Muxer {
    pub(crate) conn: Connection,
    pub(super) config: Arc<Config>,
    pub(super) streams: Numbered<u64, Box<Stream>>,
    pub(super) opens: Opens,
    pub(crate) receiving: Receiving,
    pub(super) sending: Sending,
    pub(crate) naming: Naming,
}

impl Muxer {
    pub(super) fn new(conn: Connection, config: Arc<Config>, names: Arc<ProtocolNames>) -> Self {
        Self {
            streams: Numbered::default(),
            opens: Opens::new(config.streams.max_waiting),
            receiving: Receiving::new(config.budget.base_window),
            sending: Sending::new(conn.is_client()),
            naming: Naming::new(names),
            conn,
            config,
        }
    }

    /// Whether this side may open such a stream before the handshake is complete.
    fn may_open_early(&self, protocol: ProtocolId) -> bool {
        self.conn.phase.is_early() && self.conn.is_client() && self.config.early().contains(&protocol)
    }

    /// QUIC has opened the stream: its priority. Its head goes along with what is written first, or by itself when the link is
    /// settled; a proposal goes out at once.
    pub(super) fn begin(&mut self, stream: u64, protocol: ProtocolId) {
        let Some(entry) = self.streams.get_mut(stream) else { return };
        let _ = self.conn.quic.send_stream(id(stream)).set_priority(priority(entry.send.class));
        if !self.naming.by_name {
            return self.sending.begin((stream, entry), protocol);
        }
        if let Some(names) = self.naming.table.of(protocol) {
            let mut proposal = self.naming.propose((stream, entry), protocol, names);
            self.take(stream, &mut proposal);
        }
    }

    /// Takes bytes for QUIC, behind the stream's head if that was not said.
    pub(super) fn take(&mut self, stream: u64, rope: &mut Rope) {
        let Some(entry) = self.streams.get_mut(stream) else { return };
        self.conn.set_receive_windows(self.receiving.credit.piggyback());
        self.sending.write(&mut self.conn, (stream, entry), rope);
        if entry.is_over() {
            self.remove(stream);
        }
    }

    /// Writes the heads of streams on which nothing was written yet. Where the writer found no room the head waits too: it goes along
    /// with what is written once there is some.
    pub(super) fn write_heads(&mut self) {
        let mut unwritten = self.sending.take_heads();
        unwritten.retain(|stream| {
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
        self.sending.keep_heads(unwritten);
    }

    /// Gives QUIC what it takes of all streams that wait, class by class, and tells those that can be written again.
    pub(super) fn deal(&mut self, scope: &mut Scope<'_>) {
        while let Some(stream) = self.sending.next() {
            let Some(entry) = self.streams.get_mut(stream) else { continue };
            if self.sending.turn(&mut self.conn, (stream, entry)) == Left::Nothing {
                self.sending.announce(entry, StreamKey { link: scope.link, stream }, scope.events);
                if entry.is_over() {
                    self.remove(stream);
                }
            }
        }
        if self.sending.take_freed() {
            for stream in self.streams.keys_where(|_, entry| entry.blocked) {
                self.announce(scope, stream);
            }
        }
    }

    /// The send window grew: every stream with a rest has a turn.
    pub(super) fn deal_all(&mut self, scope: &mut Scope<'_>) {
        for stream in self.streams.keys() {
            if let Some(entry) = self.streams.get_mut(stream) {
                self.sending.queue((stream, entry));
            }
        }
        self.deal(scope);
    }

    /// QUIC takes bytes of a stream again, or it is open now.
    pub(super) fn writable(&mut self, scope: &mut Scope<'_>, stream: u64) {
        if let Some(entry) = self.streams.get_mut(stream) {
            self.sending.queue((stream, entry));
        }
        self.announce(scope, stream);
    }

    fn announce(&mut self, scope: &mut Scope<'_>, stream: u64) {
        if let Some(entry) = self.streams.get_mut(stream) {
            self.sending.announce(entry, StreamKey { link: scope.link, stream }, scope.events);
        }
    }

    /// Ends this side's direction of a stream, where its user asked for that and nothing waits before the end.
    pub(super) fn end_send(&mut self, stream: u64) {
        let Some(entry) = self.streams.get_mut(stream) else { return };
        Sending::end(&mut self.conn, (stream, entry));
        if entry.is_over() {
            self.remove(stream);
        }
    }

    fn end_receive(&mut self, window: &mut Window, stream: u64) {
        let Some(entry) = self.streams.get_mut(stream) else { return };
        entry.receive.end = ReceiveEnd::Over;
        entry.receive.drop_unread(window);
        self.receiving.forget_raw(window, (stream, entry));
        if entry.is_over() {
            self.remove(stream);
        }
    }

    /// Forgets a stream that is over both ways.
    pub(super) fn remove_if_over(&mut self, stream: u64) {
        if self.streams.get(stream).is_some_and(|entry| entry.is_over()) {
            self.remove(stream);
        }
    }

    /// Forgets a stream.
    pub(super) fn remove(&mut self, stream: u64) {
        let Some(mut entry) = self.streams.remove(stream) else { return };
        if let Some(code) = entry.receive.stop {
            self.conn.stop(stream, code); // it waited for the answer to a proposal
        }
        self.naming.over(stream, &mut entry);
    }

    /// Ends this side's direction of all streams.
    pub(super) fn finish_all(&mut self) {
        self.streams.keys().into_iter().for_each(|stream| self.finish(stream));
    }

    /// The link is down: nothing is kept but what the connection's end needs.
    pub(super) fn abandon(&mut self) {
        for stream in self.streams.keys_where(|_, entry| entry.receive.end == ReceiveEnd::Open) {
            self.conn.stop(stream, 0);
        }
        self.streams = Numbered::default();
        self.receiving.forget_heads();
        self.naming.forget_all();
    }

    /// Whether a reader of the application has still something to read.
    pub(super) fn any_unread(&self) -> bool {
        self.streams.any(|entry| entry.receive.notified && entry.receive.end != ReceiveEnd::Over)
    }

    /// QUIC forgot all early streams. They are opened again, in order, so that each has its number; those that ended since are
    /// broken off.
    pub(super) fn send_again(&mut self) {
        for stream in self.streams.keys() {
            if let Some(entry) = self.streams.get_mut(stream) {
                self.sending.drop_queue(entry); // it is kept, with what QUIC had taken
            }
        }
        for _ in 0..self.opens.begun() {
            let Some(name) = self.conn.quic.streams().open(Dir::Bi) else { return };
            let stream = u64::from(name);
            let entry = self.streams.get_mut(stream);
            let unread = entry.as_ref().is_none_or(|entry| entry.receive.end == ReceiveEnd::Over);
            if unread {
                let _ = self.conn.quic.recv_stream(name).stop(VarInt::from_u32(0));
            }
            let Some(entry) = entry.filter(|entry| !entry.early.is_empty()) else {
                let _ = self.conn.quic.send_stream(name).reset(VarInt::from_u32(0)); // given up, or reset, meanwhile
                continue;
            };
            self.sending.send_again(&mut self.conn, (stream, entry));
            if entry.is_over() {
                self.remove(stream);
            }
        }
    }

    /// The peer's limit leaves room for streams that wait.
    pub(super) fn open_waiting(&mut self, scope: &mut Scope<'_>) {
        while self.opens.any_waits() && self.conn.quic.streams().open(Dir::Bi).is_some() {
            let Some((stream, protocol)) = self.opens.next() else { return };
            let Some(entry) = self.streams.get_mut(stream) else { continue };
            let unwanted = entry.receive.stop.take();
            let after = entry.send.opened();
            self.begin(stream, protocol);
            if let Some(code) = unwanted {
                self.conn.stop(stream, code);
            }
            match after {
                After::Write => self.writable(scope, stream),
                After::Finish => self.finish(stream),
                After::Reset(code) => self.reset(stream, code),
            }
        }
    }

    /// What waited for the end of a round of input: refused names, whose bytes go next, what raw readers need.
    pub(super) fn settle(&mut self, scope: &mut Scope<'_>) {
        self.settle_names(scope);
        self.deal(scope);
        self.receiving.count_raw(&mut self.streams, scope.window, self.config.streams.window);
    }

    /// How many streams it keeps.
    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.streams.keys().len()
    }

    /// When something is due of its streams.
    pub(super) fn next_due(&self) -> Option<Instant> {
        [self.receiving.next_due(), self.naming.next_due()].into_iter().flatten().min()
    }
}

impl Streams for Muxer {
    fn open(&mut self, now: Instant, protocol: ProtocolId, class: Class) -> Result<u64, OpenError> {
        if !self.conn.phase.is_up() && !self.may_open_early(protocol) {
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
        if let Some(entry) = self.streams.get_mut(stream) {
            self.sending.set_class(&mut self.conn, (stream, entry), class);
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
                let found = self.receiving.fetch(now, &mut self.conn, window, (stream, entry), most);
                if found && max == 0 {
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

    fn room(&mut self, stream: u64) -> usize {
        let Some(entry) = self.streams.get_mut(stream) else { return 0 };
        self.sending.room(self.conn.phase, entry)
    }

    fn write(&mut self, stream: u64, rope: &mut Rope) {
        let Some(entry) = self.streams.get_mut(stream) else { return };
        let room = self.sending.room(self.conn.phase, entry);
        let (mut part, mut left) = (Rope::new(), room);
        let rope = if rope.len() <= room {
            rope
        } else {
            while let Some(bytes) = rope.pop(left) {
                left -= bytes.len();
                part.push(bytes);
            }
            &mut part
        };
        if !rope.is_empty() {
            self.conn.set_receive_windows(self.receiving.credit.piggyback());
            self.sending.write(&mut self.conn, (stream, entry), rope); // it is not over: it has room, so it was not finished
        }
    }

    fn finish(&mut self, stream: u64) {
        let Some(entry) = self.streams.get_mut(stream) else { return };
        if entry.send.defer(After::Finish) || entry.send.end != SendEnd::Open {
            return;
        }
        entry.send.end = SendEnd::Finishing;
        if !entry.own_head.is_empty() {
            self.conn.set_receive_windows(self.receiving.credit.piggyback());
            self.sending.write(&mut self.conn, (stream, entry), &mut Rope::new());
        }
        Sending::end(&mut self.conn, (stream, entry));
        if entry.is_over() {
            self.remove(stream);
        }
    }

    fn reset(&mut self, stream: u64, code: u32) {
        let Some(entry) = self.streams.get_mut(stream) else { return };
        self.sending.reset(&mut self.conn, (stream, entry), code);
        if entry.is_over() {
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
        if let Some(entry) = self.streams.get_mut(stream) {
            self.receiving.mark_raw((stream, entry));
        }
    }

    fn hello_accepted(&mut self) {
        self.conn.hello_accepted(self.config.streams.max_inbound);
    }

    /// The latest raw stream whose reader leaves bytes unread.
    fn stalled_raw(&self) -> Option<u64> {
        self.receiving.stalled_raw(&self.streams)
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
        self.receiving.forget_raw(scope.window, (stream, entry));
        scope.events.push_back(Event::Readable(key));
        if writing {
            self.reset(stream, code);
            scope.events.push_back(Event::Stopped(key, code));
        }
    }
}
