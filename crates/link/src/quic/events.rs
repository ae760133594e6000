//! A link over QUIC: what QUIC reports, turned into events of the link.

use std::collections::VecDeque;
use std::time::Duration;

use quinn_proto::{ConnectionError, ConnectionEvent, Dir, ReadError, StreamEvent, VarInt};
use weir_base::stream::{Goodbye, Group};
use weir_base::{Deadlines, Fault, Instant, LinkId, Numbered, ProtocolId, StreamKey};
use weir_libp2p::tls::WRONG_PEER_ALERT;

use super::link::{Phase, QuicLink};
use super::stream::{Head, Stream, code32, id};
use crate::Event;
use crate::carrier::{Carrier, Remote, Report, Scope, Streams};
use crate::event::DownReason;
use crate::streams::{After, ReceiveEnd, SendEnd};
use crate::window::Window;

/// What a stream of a closing link is refused with (`docs/spec/streams.md`, "Codes").
const CLOSING: u32 = 0;

/// How long the head of a stream may take to come whole, from its first byte on.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// What a stream ends with whose head does not (`docs/spec/streams.md`, "Codes").
const LATE: u32 = 3;

/// QUIC's error codes for TLS alerts begin here (RFC 9001 §4.8).
const CRYPTO_ERROR: u64 = 0x100;

/// The first bytes of a stream do not name a protocol.
pub(crate) const BAD_HEAD: Fault = Fault::misbehaved("stream begins with no protocol number");
/// QUIC's own rules were broken.
pub(crate) const BROKE_QUIC: Fault = Fault::misbehaved("broke the rules of QUIC");

impl QuicLink {
    /// A datagram of `len` bytes in a buffer of `pinned`.
    pub(crate) fn handle_datagram(&mut self, event: ConnectionEvent, len: usize, pinned: usize) {
        self.receiving.bytes += len as u64;
        self.receiving.pinned = self.receiving.pinned.max(pinned);
        self.conn.quic.handle_event(event);
    }

    /// The link is down: nothing is kept but what the connection's end needs.
    pub(crate) fn abandon(&mut self, now: Instant, reason: Goodbye) {
        if !matches!(self.phase, Phase::Closed { .. }) {
            self.close_connection(now, reason);
        }
        for stream in self.streams.keys_where(|_, entry| entry.receive.end == ReceiveEnd::Open) {
            self.conn.stop(stream, 0);
        }
        self.streams = Numbered::default();
        self.receiving.heads = Deadlines::default();
        self.naming.forget_all();
    }

    pub(super) fn stream_event(
        &mut self,
        now: Instant,
        link: LinkId,
        window: &mut Window,
        event: &StreamEvent,
        events: &mut VecDeque<Event>,
    ) -> Result<(), Fault> {
        match *event {
            StreamEvent::Opened { .. } => {
                while let Some(stream) = self.conn.quic.streams().accept(Dir::Bi) {
                    self.accepted(now, link, window, u64::from(stream), events)?;
                }
            }
            StreamEvent::Readable { id } => self.readable(now, link, window, id.into(), events)?,
            StreamEvent::Writable { id } => self.writable(link, id.into(), events),
            StreamEvent::Stopped { id, error_code } => {
                let (stream, code) = (u64::from(id), code32(error_code));
                let Some(entry) = self.streams.get_mut(stream) else { return Ok(()) };
                let writing = entry.send.end == SendEnd::Open;
                if writing && entry.is_hidden() {
                    entry.stopped = Some(code);
                }
                let notified = writing && !entry.is_hidden();
                self.reset(stream, code);
                if notified && (self.phase == Phase::Up || self.is_early()) {
                    events.push_back(Event::Stopped(StreamKey { link, stream }, code));
                }
            }
            StreamEvent::Available { .. } => self.open_waiting(link, events),
            StreamEvent::Finished { .. } => {}
        }
        Ok(())
    }

    fn accepted(
        &mut self,
        now: Instant,
        link: LinkId,
        window: &mut Window,
        stream: u64,
        events: &mut VecDeque<Event>,
    ) -> Result<(), Fault> {
        if !matches!(self.phase, Phase::Up | Phase::Handshake { .. }) {
            let _ = self.conn.quic.send_stream(id(stream)).reset(VarInt::from_u32(CLOSING));
            self.conn.stop(stream, CLOSING);
            return Ok(());
        }
        let by_name = self.naming.by_name;
        let entry = if by_name { Stream::theirs_by_name() } else { Stream::theirs() };
        self.streams.insert(stream, Box::new(entry));
        if by_name && !self.hear(stream) {
            return Ok(());
        }
        self.readable(now, link, window, stream, events)
    }

    /// Bytes or an end are there. Before the link is up nobody reads them, but what may come early.
    pub(super) fn readable(
        &mut self,
        now: Instant,
        link: LinkId,
        window: &mut Window,
        stream: u64,
        events: &mut VecDeque<Event>,
    ) -> Result<(), Fault> {
        if self.phase == (Phase::Handshake { early: false }) {
            return Ok(());
        }
        let key = StreamKey { link, stream };
        let Some(mut entry) = self.streams.get_mut(stream) else { return Ok(()) };
        entry.is_dry = false;
        if entry.negotiation.is_some() {
            return self.negotiate(&mut Scope { now, link, window, events }, stream);
        }
        if entry.head.is_some() {
            let Some(protocol) = self.read_head(now, window, stream)? else {
                // One of which nothing has come may have been opened by what overtook it.
                let head = self.streams.get(stream).and_then(|entry| entry.head);
                if head.is_some_and(Head::has_begun)
                    && self.phase == Phase::Up
                    && self.receiving.heads.get(stream).is_none()
                {
                    self.receiving.heads.set(stream, Some(now + HEAD_TIMEOUT));
                }
                return Ok(());
            };
            self.receiving.heads.set(stream, None);
            if self.hold_early(stream, protocol) {
                return Ok(());
            }
            let Some(found) = self.streams.get_mut(stream) else { return Ok(()) };
            found.tell_opened(key, protocol, events);
            entry = found;
        }
        if entry.held.is_some() || entry.receive.end == ReceiveEnd::Over {
            return Ok(());
        }
        if !std::mem::replace(&mut entry.receive.notified, true) {
            events.push_back(Event::Readable(key));
        } else if entry.receive.end == ReceiveEnd::Open
            && let Ok(Some(code)) = self.conn.quic.recv_stream(id(stream)).received_reset()
        {
            // A reader without room has bytes waiting and would not look again, but the reset took them away.
            entry.receive.end = ReceiveEnd::Reset(code32(code));
            entry.receive.drop_unread(window);
            events.push_back(Event::Readable(key));
        }
        Ok(())
    }

    /// Reads the head of a stream, byte by byte, as far as it is there.
    fn read_head(
        &mut self,
        now: Instant,
        window: &mut Window,
        stream: u64,
    ) -> Result<Option<ProtocolId>, Fault> {
        let mut taken = 0;
        let mut head = None;
        let mut ended = false;
        if let Some(entry) = self.streams.get_mut(stream)
            && let Some(partial) = &mut entry.head
            && let Ok(mut chunks) = self.conn.quic.recv_stream(id(stream)).read(true)
        {
            while head.is_none() {
                match chunks.next(1) {
                    Ok(Some(chunk)) => {
                        taken += 1;
                        let byte = chunk.bytes.first().copied().unwrap_or_default();
                        head = partial.push(byte).map_err(|_| BAD_HEAD)?;
                    }
                    Err(ReadError::Blocked) => break,
                    Ok(None) | Err(ReadError::Reset(_)) => {
                        ended = true;
                        break;
                    }
                }
            }
            let _ = chunks.finalize();
            if head.is_some() {
                entry.head = None;
            }
        }
        self.receiving.credit.returned(&mut self.conn, now, window, taken);
        if ended {
            // It ended before it said what it is: nobody needs to know.
            self.receiving.heads.set(stream, None);
            self.reset(stream, CLOSING);
            self.streams.remove(stream);
        }
        Ok(head)
    }

    /// Streams that do not say in time what they are end.
    pub(super) fn heads_overdue(&mut self, now: Instant) {
        while let Some(stream) = self.receiving.heads.pop_due(now) {
            self.conn.stop(stream, LATE);
            self.reset(stream, LATE);
            self.streams.remove(stream);
        }
    }

    fn open_waiting(&mut self, link: LinkId, events: &mut VecDeque<Event>) {
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
                After::Write => self.writable(link, stream, events),
                After::Finish => self.finish(stream),
                After::Reset(code) => self.reset(stream, code),
            }
        }
    }

    /// Closes the connection when it is time.
    pub(super) fn end(&mut self, now: Instant) {
        match self.phase {
            Phase::Flushing(reason)
                if self.sending.outbox.queued() == 0 && self.conn.quic.streams().send_streams() == 0 =>
            {
                self.close_connection(now, reason);
            }
            Phase::Cutting(reason) => self.close_connection(now, reason),
            _ => {}
        }
    }

    /// Closes the connection now.
    pub(crate) fn close_connection(&mut self, now: Instant, reason: Goodbye) {
        self.conn.close(now, reason);
        self.phase = Phase::Closed { by_peer: false };
    }

    /// The handshake is complete: both sides know who is at the other end.
    pub(super) fn connected(&mut self) -> Report {
        let group = Group::of(self.conn.remote().ip());
        self.naming.by_name = self.conn.is_libp2p();
        if self.naming.by_name && self.is_early() && self.conn.is_client() {
            // What went along was meant for `weir/1`, which the peer speaks no more. The session is used up: the next dial is plain.
            return self.give_up(DownReason::Rejected);
        }
        let Some(peer) = self.conn.peer() else {
            return self.give_up(DownReason::Closed(Goodbye::Fault));
        };
        Report::Connected(Remote { peer, group })
    }

    fn give_up(&mut self, reason: DownReason) -> Report {
        self.abort(Goodbye::Fault);
        Report::Lost(reason)
    }

    pub(super) fn lost(&mut self, reason: ConnectionError) -> Report {
        let by_peer = matches!(reason, ConnectionError::ApplicationClosed(_));
        let handshake = matches!(self.phase, Phase::Handshake { .. });
        self.phase = Phase::Closed { by_peer };
        Report::Lost(match reason {
            ConnectionError::ApplicationClosed(close) => {
                let code = u16::try_from(close.error_code.into_inner()).unwrap_or(u16::MAX);
                DownReason::ByPeer(Goodbye::from_code(code))
            }
            ConnectionError::TransportError(error) => {
                tracing::debug!(%error, "QUIC error");
                if !handshake {
                    return Report::Fault(BROKE_QUIC);
                }
                let wrong_peer = CRYPTO_ERROR + u64::from(u8::from(WRONG_PEER_ALERT));
                if u64::from(error.code) == wrong_peer { DownReason::OtherPeer } else { DownReason::Rejected }
            }
            ConnectionError::VersionMismatch
            | ConnectionError::ConnectionClosed(_)
            | ConnectionError::CidsExhausted => DownReason::Rejected,
            ConnectionError::Reset => DownReason::Reset,
            ConnectionError::TimedOut | ConnectionError::LocallyClosed => DownReason::Lost,
        })
    }
}
