//! The streams of a link over QUIC: what QUIC reports of them, turned into events of the link.

use quinn_proto::{Dir, StreamEvent, VarInt};
use weir_base::{Fault, Instant, StreamKey};

use super::muxer::Muxer;
use super::receiving::HeadRead;
use super::stream::{Stream, code32, id};
use crate::Event;
use crate::carrier::{Scope, Streams};
use crate::streams::{ReceiveEnd, SendEnd};

/// What a stream of a closing link is refused with (`docs/spec/streams.md`, "Codes").
const CLOSING: u32 = 0;

/// What a stream ends with whose head does not (`docs/spec/streams.md`, "Codes").
const LATE: u32 = 3;

impl Muxer {
    pub(super) fn stream_event(&mut self, scope: &mut Scope<'_>, event: &StreamEvent) -> Result<(), Fault> {
        match *event {
            StreamEvent::Opened { .. } => {
                while let Some(stream) = self.conn.quic.streams().accept(Dir::Bi) {
                    self.accepted(scope, u64::from(stream))?;
                }
                self.conn.streams_opened();
            }
            StreamEvent::Readable { id } => self.readable(scope, id.into())?,
            StreamEvent::Writable { id } => self.writable(scope, id.into()),
            StreamEvent::Stopped { id, error_code } => self.stopped(scope, id.into(), code32(error_code)),
            StreamEvent::Available { .. } => self.open_waiting(scope),
            StreamEvent::Finished { .. } => {}
        }
        Ok(())
    }

    fn accepted(&mut self, scope: &mut Scope<'_>, stream: u64) -> Result<(), Fault> {
        if !self.conn.phase.takes_streams() {
            let _ = self.conn.quic.send_stream(id(stream)).reset(VarInt::from_u32(CLOSING));
            self.conn.stop(stream, CLOSING);
            return Ok(());
        }
        let mut entry = if self.naming.by_name { Stream::theirs_by_name() } else { Stream::theirs() };
        if self.naming.by_name
            && let Err(code) = self.naming.hear((stream, &mut entry), self.config.streams.max_negotiating)
        {
            self.sending.reset(&mut self.conn, (stream, &mut entry), code);
            self.conn.stop(stream, code);
            return Ok(());
        }
        self.streams.insert(stream, Box::new(entry));
        self.readable(scope, stream)
    }

    /// The peer wants no more of a stream.
    fn stopped(&mut self, scope: &mut Scope<'_>, stream: u64, code: u32) {
        let Some(entry) = self.streams.get_mut(stream) else { return };
        let (writing, hidden) = (entry.send.end == SendEnd::Open, entry.is_hidden());
        if writing && hidden {
            entry.stopped = Some(code);
        }
        self.reset(stream, code);
        if writing && !hidden && (self.conn.phase.is_up() || self.conn.phase.is_early()) {
            scope.events.push_back(Event::Stopped(StreamKey { link: scope.link, stream }, code));
        }
    }

    /// Bytes or an end are there. Before the link is up nobody reads them, but what may come early.
    pub(super) fn readable(&mut self, scope: &mut Scope<'_>, stream: u64) -> Result<(), Fault> {
        if self.conn.phase.is_silent() {
            return Ok(());
        }
        let key = StreamKey { link: scope.link, stream };
        let Some(entry) = self.streams.get_mut(stream) else { return Ok(()) };
        entry.is_dry = false;
        if entry.negotiation.is_some() {
            return self.negotiate(scope, stream);
        }
        if entry.head.is_some() {
            let early = self.conn.phase.is_early();
            match self.receiving.read_head(&mut self.conn, scope, (stream, entry))? {
                HeadRead::Whole(protocol) if early && !self.config.early().contains(&protocol) => {
                    entry.held = Some(protocol);
                    return Ok(());
                }
                HeadRead::Whole(protocol) => entry.tell_opened(key, protocol, scope.events),
                HeadRead::Partly => return Ok(()),
                HeadRead::Ended => {
                    // It ended before it said what it is: nobody needs to know.
                    self.reset(stream, CLOSING);
                    self.remove(stream);
                    return Ok(());
                }
            }
        }
        if entry.held.is_some() || entry.receive.end == ReceiveEnd::Over {
            return Ok(());
        }
        if entry.receive.notify() {
            scope.events.push_back(Event::Readable(key));
        } else if entry.receive.end == ReceiveEnd::Open
            && let Ok(Some(code)) = self.conn.quic.recv_stream(id(stream)).received_reset()
        {
            // A reader without room has bytes waiting and would not look again, but the reset took them away.
            entry.receive.end = ReceiveEnd::Reset(code32(code));
            entry.receive.drop_unread(scope.window);
            scope.events.push_back(Event::Readable(key));
        }
        Ok(())
    }

    /// The handshake is confirmed. Users now hear of streams that came with it, and may write.
    pub(super) fn confirmed(&mut self, scope: &mut Scope<'_>) -> Result<(), Fault> {
        let all = self.streams.keys();
        for stream in all.iter().copied() {
            let Some(entry) = self.streams.get_mut(stream) else { continue };
            entry.early = Vec::new();
            if self.conn.is_ours(stream) {
                continue;
            }
            if let Some(protocol) = entry.held.take() {
                entry.tell_opened(StreamKey { link: scope.link, stream }, protocol, scope.events);
            }
            self.readable(scope, stream)?;
        }
        all.into_iter().for_each(|stream| self.writable(scope, stream));
        Ok(())
    }

    /// Streams that do not say in time what they are end.
    pub(super) fn end_late_heads(&mut self, now: Instant) {
        while let Some(stream) = self.receiving.pop_late_head(now) {
            self.conn.stop(stream, LATE);
            self.reset(stream, LATE);
            self.remove(stream);
        }
    }
}
