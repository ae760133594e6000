//! A connection over a byte stream: the user's side. What the peer sends is in `input`, what goes out in `output`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use weir_base::stream::{Class, Goodbye, Group, OpenError};
use weir_base::{Deadlines, Instant, ProtocolId, Rope, StreamKey};
use weir_libp2p::connection::Connection;
use weir_libp2p::multistream::Names;
use weir_libp2p::yamux;

use super::Shared;
use super::receiving::Receiving;
use super::stream::{Stream, id};
use crate::Event;
use crate::carrier::{LinkStats, Read, Report, Scope, Streams};
use crate::event::PipeId;
use crate::streams::negotiation::UNKNOWN;
use crate::streams::{
    After, Backlog, Negotiating, Negotiation, Next, Opens, ReceiveEnd, SendEnd, Writer, Writers,
};
use crate::window::Window;

/// Bytes that the muxer is given for one record, so that the class of what follows is decided when the next one is made: what a
/// record holds, less the headers of its frames and some window updates.
pub(super) const FEED: usize = 64_800;

/// Streams over one byte stream.
#[derive(Debug)]
pub(crate) struct TcpLink {
    pub(super) conn: Connection,
    pub(super) pipe: Pipe,
    pub(super) shared: Arc<Shared>,
    pub(super) now: Instant, // of the last call that told it
    pub(super) phase: Phase,
    pub(super) report: Option<Report>, // until the parent took it
    pub(super) streams: BTreeMap<u64, Box<Stream>>,
    pub(super) opens: Opens,
    pub(super) negotiating: Negotiating,
    pub(super) sending: Sending,
    pub(super) receiving: Receiving,
    pub(super) stats: Counters,
}

/// The byte stream below.
#[derive(Debug)]
pub(super) struct Pipe {
    pub(super) id: PipeId,
    pub(super) dialler: bool,
    pub(super) group: Group, // the peer's
    pub(super) inward: Inward,
    /// The end of this side's direction was given to the host.
    pub(super) said_end: bool,
    /// It carried a link that was up.
    pub(super) was_up: bool,
}

/// The peer's direction of a byte stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inward {
    Open,
    /// The peer ended it.
    Ended,
    /// The host has the byte stream no more.
    Gone,
}

/// How far the connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The host connects.
    Connecting,
    /// The handshake runs.
    Handshake,
    /// The peer is known; the parent has not admitted it yet.
    Proven,
    /// It can be used.
    Up,
    /// This side said goodbye; that goes out when all that was written has.
    Flushing(Goodbye),
    /// This side ends it: the next bytes are the last.
    Cutting(Goodbye),
    /// Nothing goes out or comes in any more.
    Closed,
    /// The peer ended it; what it sent before can still be read.
    Draining,
}

/// What was written and did not go out.
#[derive(Debug, Default)]
pub(super) struct Sending {
    pub(super) backlog: Backlog,
    pub(super) pausing: Deadlines<u64>, // streams of the peer, agreed on just now, whose answer or end waits
    pub(super) greeted: bool, // the peer speaks the pull protocol: it loses no stream whose end comes with an answer
    pub(super) stuck: Option<Instant>, // the link is lost then, unless the system takes bytes again before
}

/// What is counted.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) carried: LinkStats,
    pub(super) heard: u64,   // what came on streams
    pub(super) unnamed: u64, // streams that were opened for protocols without a name
    pub(super) rtt: Option<Duration>,
}

impl TcpLink {
    pub(super) fn new(conn: Connection, pipe: Pipe, shared: Arc<Shared>, now: Instant) -> Self {
        let opens = Opens::new(shared.config.streams.max_waiting);
        Self {
            conn,
            phase: if pipe.dialler { Phase::Connecting } else { Phase::Handshake },
            pipe,
            shared,
            now,
            report: None,
            streams: BTreeMap::new(),
            opens,
            negotiating: Negotiating::default(),
            sending: Sending::default(),
            receiving: Receiving::default(),
            stats: Counters::default(),
        }
    }

    /// The number of this side's `index`-th stream: the muxer opens them in order.
    fn number(&self, index: u64) -> u64 {
        index.saturating_mul(2) + u64::from(!self.pipe.dialler)
    }

    /// The muxer has opened the stream: its protocol is proposed with its first bytes.
    fn begin(&mut self, stream: u64, protocol: ProtocolId, names: Names) {
        let mut negotiation = Negotiation::ours(protocol, names, self.now);
        self.negotiating.add(stream, &negotiation);
        if let Some(muxer) = self.conn.muxer() {
            muxer.write(id(stream), &mut negotiation.output());
        }
        if let Some(entry) = self.streams.get_mut(&stream) {
            entry.negotiation = Some(Box::new(negotiation));
        }
    }

    /// A stream of a protocol that has no name here: as one that the peer refused.
    fn open_unnamed(&mut self, class: Class) -> u64 {
        let stream = UNNAMED | self.stats.unnamed;
        self.stats.unnamed += 1;
        let mut entry = Stream::ours(SendEnd::Over, class);
        entry.receive.end = ReceiveEnd::Reset(UNKNOWN);
        self.streams.insert(stream, Box::new(entry));
        self.receiving.told.push(stream);
        stream
    }

    /// Opens what waited for a place.
    pub(super) fn open_waiting(&mut self) {
        while self.opens.any_waits()
            && let Some(muxer) = self.conn.muxer()
            && muxer.open(self.now).is_ok()
            && let Some((stream, protocol)) = self.opens.next()
        {
            if let Some(names) = self.shared.names.of(protocol) {
                self.begin(stream, protocol, names);
            }
            let Some(entry) = self.streams.get_mut(&stream) else { continue };
            let (after, unwanted) = (entry.send.opened(), entry.receive.stop.take());
            match after {
                After::Write => {}
                After::Finish => self.finish(stream),
                After::Reset(code) => self.reset(stream, code),
            }
            if let Some((code, muxer)) = unwanted.zip(self.conn.muxer()) {
                muxer.stop(id(stream), code);
            }
        }
    }

    /// Both directions of a stream are broken off. `keep`: what the peer sent whole before can still be read. Returns whether the
    /// reader, and whether the writer, is to be told.
    pub(super) fn break_off(
        &mut self,
        window: Option<&mut Window>,
        stream: u64,
        code: u32,
        keep: bool,
    ) -> (bool, bool) {
        let Some(entry) = self.streams.get_mut(&stream) else { return (false, false) };
        let hidden = entry.negotiation.as_ref().is_some_and(|negotiation| negotiation.is_theirs());
        if let Some(negotiation) = entry.negotiation.take() {
            self.negotiating.remove(stream, &negotiation);
        }
        let rest = std::mem::take(&mut entry.send.queue).len();
        self.sending.backlog.outbox.sub(entry.send.class, rest as u64);
        self.sending.backlog.outbox.remove(stream);
        self.sending.backlog.unblock(stream);
        let writer = matches!(entry.send.end, SendEnd::Open | SendEnd::Finishing);
        entry.send.end = SendEnd::Over;
        let reader = !keep && matches!(entry.receive.end, ReceiveEnd::Open);
        if reader {
            entry.receive.end = ReceiveEnd::Reset(code);
            entry.receive.notified = true;
            self.receiving.drop_kept(entry);
        } else if !keep && entry.receive.end == ReceiveEnd::Stopped {
            entry.receive.end = ReceiveEnd::Over;
        }
        if hidden {
            self.forget(stream);
            return (false, false);
        }
        if let Some(window) = window {
            self.recount(window, stream);
        }
        self.remove_if_over(stream);
        (reader, writer)
    }

    fn end_receive(&mut self, window: &mut Window, stream: u64) {
        if let Some(entry) = self.streams.get_mut(&stream) {
            entry.receive.end = ReceiveEnd::Over;
            self.receiving.drop_kept(entry);
            self.recount(window, stream);
            self.remove_if_over(stream);
        }
    }

    pub(super) fn remove_if_over(&mut self, stream: u64) {
        if self.streams.get(&stream).is_some_and(|entry| entry.is_over()) {
            self.forget(stream);
        }
    }

    pub(super) fn forget(&mut self, stream: u64) {
        if let Some(entry) = self.streams.remove(&stream) {
            if let Some(negotiation) = &entry.negotiation {
                self.negotiating.remove(stream, negotiation);
            }
            if let Some((code, muxer)) = entry.receive.stop.zip(self.conn.muxer()) {
                muxer.stop(id(stream), code);
            }
            self.receiving.forget(stream, &entry);
            if !entry.answer.is_empty() {
                self.sending.pausing.set(stream, None);
            }
            if entry.send.scheduled {
                self.sending.backlog.outbox.remove(stream);
            }
            self.sending.backlog.unblock(stream);
        }
    }

    /// Lets a stream wait for its turn, where it has something that may go out.
    pub(super) fn schedule(&mut self, stream: u64) {
        if let Some(entry) = self.streams.get_mut(&stream).filter(|entry| entry.may_write()) {
            self.sending.backlog.schedule(stream, &mut entry.send);
        }
    }

    /// Counts in the window what is unread now; `stream` may have changed.
    pub(super) fn recount(&mut self, window: &mut Window, stream: u64) {
        let Some(muxer) = self.conn.muxer() else { return };
        self.receiving.count_raw(muxer, &mut self.streams, stream);
        self.receiving.count(muxer, window);
    }
}

/// Where the numbers of streams begin that exist at this side alone: above all of the muxer's.
const UNNAMED: u64 = 1 << 32;

impl Writers for TcpLink {
    fn writer(&mut self, stream: u64) -> Option<Writer<'_>> {
        let entry = self.streams.get_mut(&stream)?;
        let open = matches!(self.phase, Phase::Up | Phase::Flushing(_));
        let mut credit = 0;
        if open && entry.send.end == SendEnd::Open && entry.may_write() {
            let most = self.conn.muxer().map_or(0, |muxer| muxer.write_room(id(stream)));
            credit = most.saturating_sub(entry.send.queue.len()) as u64;
            // A class that waits fills one record: no rest of it goes out in a small record of its own.
            let queued = self.sending.backlog.outbox.queued_of(entry.send.class);
            credit = credit.min((FEED as u64).saturating_sub(queued));
        }
        Some(Writer { half: &mut entry.send, backlog: &mut self.sending.backlog, credit })
    }

    fn backlog(&mut self) -> &mut Backlog {
        &mut self.sending.backlog
    }
}

impl Streams for TcpLink {
    fn open(&mut self, now: Instant, protocol: ProtocolId, class: Class) -> Result<u64, OpenError> {
        if self.phase != Phase::Up {
            return Err(OpenError::Closed);
        }
        let Some(names) = self.shared.names.of(protocol) else { return Ok(self.open_unnamed(class)) };
        self.now = now; // the link may have been at rest for long
        let muxer = self.conn.muxer().filter(|_| !self.opens.any_waits());
        let free = match muxer.map(|muxer| muxer.open(self.now)) {
            Some(Ok(_)) => true,
            Some(Err(yamux::OpenError::Limit)) | None => false,
            Some(Err(yamux::OpenError::Closed)) => return Err(OpenError::Closed),
        };
        let stream = self.number(self.opens.count());
        let end = self.opens.open(stream, protocol, free)?;
        self.streams.insert(stream, Box::new(Stream::ours(end, class)));
        if free {
            self.begin(stream, protocol, names);
        }
        Ok(stream)
    }

    fn set_class(&mut self, stream: u64, class: Class) {
        if let Some(entry) = self.streams.get_mut(&stream) {
            self.sending.backlog.outbox.reclass(stream, &mut entry.send, class);
        }
    }

    fn read(&mut self, now: Instant, window: &mut Window, stream: u64, max: usize) -> Read {
        self.now = now;
        let Some(entry) = self.streams.get_mut(&stream) else { return Read::Closed };
        let chunk = match entry.receive.next(max) {
            Next::Bytes(chunk) => {
                self.receiving.kept -= chunk.len() as u64;
                chunk
            }
            Next::NoRoom => return Read::Blocked,
            Next::Closed => return Read::Closed,
            Next::Stalled(code) | Next::Reset(code) => {
                self.end_receive(window, stream);
                return Read::Reset(code);
            }
            Next::End => {
                self.end_receive(window, stream);
                return Read::End;
            }
            Next::Nothing => {
                let Some(muxer) = self.conn.muxer() else { return Read::Blocked };
                // Without room, what comes before the end is to be read first.
                let waits = muxer.unread_of(id(stream)) > 0;
                let read =
                    if max > 0 || !waits { muxer.read(id(stream), max.max(1)) } else { yamux::Read::Blocked };
                match read {
                    yamux::Read::Data(chunk) => {
                        entry.receive.notified = true;
                        chunk
                    }
                    // What is gone was broken off, or the connection was: its event is still to come, and tells the reader.
                    yamux::Read::Blocked | yamux::Read::Gone => {
                        entry.receive.notified = waits;
                        if !waits {
                            self.receiving.unread_raws.remove(&stream);
                        }
                        return Read::Blocked;
                    }
                    yamux::Read::End => {
                        self.end_receive(window, stream);
                        return Read::End;
                    }
                }
            }
        };
        self.recount(window, stream);
        window.read(now, chunk.len() as u64);
        Read::Data(chunk)
    }

    fn room(&mut self, stream: u64) -> usize {
        self.room_or_wait(stream)
    }

    fn write(&mut self, stream: u64, rope: &mut Rope) {
        self.queue(stream, rope);
    }

    fn finish(&mut self, stream: u64) {
        let Some(entry) = self.streams.get_mut(&stream) else { return };
        if entry.send.defer(After::Finish) || entry.send.end != SendEnd::Open {
            return;
        }
        entry.send.end = SendEnd::Finishing;
        self.sending.backlog.unblock(stream);
        self.schedule(stream);
    }

    /// Breaks off both directions: there is no other reset. The reader hears of it.
    fn reset(&mut self, stream: u64, code: u32) {
        let Some(entry) = self.streams.get_mut(&stream) else { return };
        if entry.send.defer(After::Reset(code)) || entry.send.end == SendEnd::Over {
            return;
        }
        if let Some(muxer) = self.conn.muxer() {
            muxer.reset(id(stream), code);
        }
        if self.break_off(None, stream, code, false).0 {
            self.receiving.told.push(stream);
        }
    }

    fn stop(&mut self, _now: Instant, window: &mut Window, stream: u64, code: u32) {
        let Some(entry) = self.streams.get_mut(&stream) else { return };
        let over = std::mem::replace(&mut entry.receive.end, ReceiveEnd::Over);
        if matches!(entry.send.end, SendEnd::Waiting(_)) || entry.negotiation.is_some() {
            entry.receive.stop.get_or_insert(code); // the answer is still to come
        } else if over == ReceiveEnd::Open
            && let Some(muxer) = self.conn.muxer()
        {
            muxer.stop(id(stream), code);
        }
        self.end_receive(window, stream);
    }

    /// Windows of the muxer grow by themselves, and what comes is bounded by what is read of the byte stream.
    fn expect(&mut self, _window: &mut Window, _stream: u64, _bytes: u64) {}

    fn mark_raw(&mut self, stream: u64) {
        if let Some(entry) = self.streams.get_mut(&stream) {
            entry.raw = true;
            if entry.receive.notified {
                self.receiving.unread_raws.insert(stream);
            }
        }
    }

    /// The muxer's limits are the same before and after hello: it cannot raise them.
    fn hello_accepted(&mut self) {
        self.sending.greeted = true;
    }

    fn stalled_raw(&self) -> Option<u64> {
        let stalled = |stream: &&u64| self.streams.get(*stream).is_some_and(|entry| entry.counted > 0);
        self.receiving.unread_raws.iter().rev().find(stalled).copied()
    }

    fn reset_stalled(&mut self, scope: &mut Scope<'_>, stream: u64, code: u32) {
        if let Some(muxer) = self.conn.muxer() {
            muxer.reset(id(stream), code);
        }
        if let Some(entry) = self.streams.get_mut(&stream)
            && entry.receive.end == ReceiveEnd::Ended
        {
            entry.receive.end = ReceiveEnd::Open; // what came whole is dropped, too
        }
        self.tell_broken(scope, stream, code, false);
    }
}

impl TcpLink {
    /// Breaks a stream off and tells its user.
    pub(super) fn tell_broken(&mut self, scope: &mut Scope<'_>, stream: u64, code: u32, keep: bool) {
        let key = StreamKey { link: scope.link, stream };
        let (reader, writer) = self.break_off(Some(scope.window), stream, code, keep);
        if reader {
            scope.events.push_back(Event::Readable(key));
        }
        if writer {
            scope.events.push_back(Event::Stopped(key, code));
        }
    }
}
