//! A link over frames: what the peer sends.

use std::collections::VecDeque;

use bytes::Bytes;
use weir_base::stream::{Class, Goodbye};
use weir_base::{Chunk, Fault, Instant, ProtocolId, StreamKey};

use super::link::{Ending, FrameLink, is_ours};
use super::stream::Stream;
use super::{DATA_MAX, Frame};
use crate::Event;
use crate::carrier::{Report, Scope, Streams};
use crate::event::DownReason;
use crate::streams::{After, ReceiveEnd, SendEnd, Writers};
use crate::window::Window;

/// More than the link's credit.
pub(crate) const OVER_LINK_CREDIT: Fault = Fault::misbehaved("sent more than the link's credit");
/// More than a stream's credit.
pub(crate) const OVER_STREAM_CREDIT: Fault = Fault::misbehaved("sent more than a stream's credit");
/// More streams than allowed.
pub(crate) const TOO_MANY_STREAMS: Fault = Fault::misbehaved("opened more streams than allowed");
/// A stream that was never opened, or one of the wrong side.
pub(crate) const UNKNOWN_STREAM: Fault = Fault::misbehaved("sent a frame for a stream that was never opened");
/// Opened twice, or with a gap.
pub(crate) const OPENED_OUT_OF_ORDER: Fault = Fault::misbehaved("opened a stream out of order");
/// Bytes or an end after the end.
pub(crate) const AFTER_END: Fault = Fault::misbehaved("sent on a stream after its end");
/// A data frame over its limit, or an empty one.
pub(crate) const DATA_SIZE: Fault = Fault::misbehaved("sent a data frame that is empty or too long");

impl FrameLink {
    /// A frame of `len` bytes arrived. What it means for the link as a whole is reported.
    pub(crate) fn handle(&mut self, scope: &mut Scope<'_>, frame: Frame, len: usize) {
        self.stats.bytes_in += len as u64;
        if let Err(fault) = self.take(scope, frame) {
            self.report = Some(Report::Fault(fault));
        }
    }

    /// Whether the parent has something to act on at once.
    pub(crate) fn has_report(&self) -> bool {
        self.report.is_some()
    }

    fn take(&mut self, scope: &mut Scope<'_>, frame: Frame) -> Result<(), Fault> {
        let Scope { now, link, ref mut window, ref mut events } = *scope;
        if matches!(self.ending, Ending::Closed | Ending::Draining) {
            return Ok(());
        }
        let key = |stream| StreamKey { link, stream };
        match frame {
            Frame::Open { stream, protocol } => {
                self.opened(stream)?;
                self.report_opened(key(stream), protocol, events);
            }
            Frame::Data { stream, bytes } => {
                if self.received(now, window, stream, bytes)? {
                    events.push_back(Event::Readable(key(stream)));
                }
            }
            Frame::End { stream } => {
                if self.peer_ended(stream, ReceiveEnd::Ended)? {
                    events.push_back(Event::Readable(key(stream)));
                }
            }
            Frame::Reset { stream, code } => {
                let readable = self.peer_ended(stream, ReceiveEnd::Reset(code))?;
                self.drop_unread(now, window, stream);
                if readable {
                    events.push_back(Event::Readable(key(stream)));
                }
            }
            Frame::Stop { stream, code } => {
                if self.stopped(stream, code)? {
                    events.push_back(Event::Stopped(key(stream), code));
                }
            }
            Frame::StreamCredit { stream, total } => {
                self.known(stream)?;
                if let Some(entry) = self.streams.get_mut(stream) {
                    entry.credit.granted = entry.credit.granted.max(total);
                }
                self.tell_unblocked(link, events);
            }
            Frame::LinkCredit { total } => {
                self.sending.credit = self.sending.credit.max(total);
                self.tell_unblocked(link, events);
            }
            Frame::StreamsCredit { total } => {
                self.numbers.allowed = self.numbers.allowed.max(total);
                self.open_waiting();
                self.tell_unblocked(link, events);
            }
            Frame::Ping { nonce } => self.echo.answer = Some(nonce),
            Frame::Pong { nonce } => self.ponged(now, nonce),
            Frame::Close { goodbye } => self.closed(goodbye),
        }
        Ok(())
    }

    /// The wire is gone. What the peer sent before it closed the link can still be read.
    pub(crate) fn wire_closed(&mut self) {
        if !matches!(self.ending, Ending::Draining) {
            self.ending = Ending::Closed;
            self.report = Some(Report::Lost(DownReason::Lost));
        }
    }

    fn opened(&mut self, stream: u64) -> Result<(), Fault> {
        if is_ours(stream, self.dialler) || stream / 4 != self.numbers.theirs || stream % 4 > 1 {
            return Err(OPENED_OUT_OF_ORDER);
        }
        if self.numbers.theirs >= self.numbers.granted {
            return Err(TOO_MANY_STREAMS);
        }
        self.numbers.theirs += 1;
        self.streams.insert(stream, Box::new(Stream::new(SendEnd::Open, Class::Bulk)));
        Ok(())
    }

    fn report_opened(&mut self, key: StreamKey, protocol: ProtocolId, events: &mut VecDeque<Event>) {
        if matches!(self.ending, Ending::Flushing(_)) {
            // After goodbye there are no new streams; the peer may not have heard it yet.
            self.reset(key.stream, u32::from(Goodbye::Shutdown.code()));
            if let Some(entry) = self.streams.get_mut(key.stream) {
                entry.receive.end = ReceiveEnd::Stopped;
            }
            return;
        }
        events.push_back(Event::Opened { key, protocol });
    }

    /// Returns whether the reader is to be told.
    fn received(
        &mut self,
        now: Instant,
        window: &mut Window,
        stream: u64,
        bytes: Bytes,
    ) -> Result<bool, Fault> {
        if bytes.is_empty() || bytes.len() > DATA_MAX {
            return Err(DATA_SIZE);
        }
        self.known(stream)?;
        let len = bytes.len() as u64;
        let entry = self.streams.get_mut(stream).ok_or(AFTER_END)?;
        let receive = &mut entry.receive;
        if !matches!(receive.end, ReceiveEnd::Open | ReceiveEnd::Stopped | ReceiveEnd::Stalled(_)) {
            return Err(AFTER_END);
        }
        if entry.credit.received + len > entry.credit.advertised {
            return Err(OVER_STREAM_CREDIT);
        }
        if self.receiving.received + len > self.receiving.advertised {
            return Err(OVER_LINK_CREDIT);
        }
        entry.credit.received += len;
        self.receiving.received += len;
        if receive.end != ReceiveEnd::Open {
            window.read(now, len);
            return Ok(false);
        }
        receive.push(Chunk::whole(bytes));
        self.receiving.unread += len;
        receive.expected.arrived(window);
        let unread = receive.unread();
        if let Some(raw) = &mut receive.raw {
            raw.count(window, unread, raw.growth(self.limits.window));
        }
        Ok(receive.notify())
    }

    /// The peer's direction ends. Returns whether the reader is to be told.
    fn peer_ended(&mut self, stream: u64, end: ReceiveEnd) -> Result<bool, Fault> {
        self.known(stream)?;
        let entry = self.streams.get_mut(stream).ok_or(AFTER_END)?;
        match entry.receive.end {
            ReceiveEnd::Open => {
                entry.receive.end = end;
                let again = matches!(entry.receive.end, ReceiveEnd::Reset(_));
                Ok(entry.receive.notify() || again)
            }
            ReceiveEnd::Stopped => {
                entry.receive.end = ReceiveEnd::Over;
                self.remove_if_over(stream);
                Ok(false)
            }
            ReceiveEnd::Stalled(code) => {
                entry.receive.end = ReceiveEnd::Reset(code);
                Ok(false)
            }
            ReceiveEnd::Ended | ReceiveEnd::Reset(_) | ReceiveEnd::Over => Err(AFTER_END),
        }
    }

    /// The peer wants no more. Returns whether the writer is to be told.
    fn stopped(&mut self, stream: u64, code: u32) -> Result<bool, Fault> {
        self.known(stream)?;
        let Some(entry) = self.streams.get_mut(stream) else { return Ok(false) };
        if entry.send.end == SendEnd::Over || std::mem::replace(&mut entry.credit.stopped, true) {
            return Ok(false);
        }
        let notified = entry.send.end == SendEnd::Open;
        self.reset(stream, code);
        Ok(notified)
    }

    fn open_waiting(&mut self) {
        while self.numbers.ours.begun() < self.numbers.allowed
            && let Some((stream, protocol)) = self.numbers.ours.next()
        {
            self.control.push_back(Frame::Open { stream, protocol });
            let Some(entry) = self.streams.get_mut(stream) else { continue };
            let unwanted = entry.receive.stop.take();
            let after = entry.send.opened();
            self.control.extend(unwanted.map(|code| Frame::Stop { stream, code }));
            match after {
                After::Write => {}
                After::Finish => self.finish(stream),
                After::Reset(code) => self.reset(stream, code),
            }
        }
    }

    fn ponged(&mut self, now: Instant, nonce: u64) {
        // A pong that nobody asked for says nothing; it is no fault, since pings are forgotten when a link stalls.
        if let Some((_, sent)) = self.echo.sent.filter(|(expected, _)| *expected == nonce) {
            let sample = now.since(sent);
            let smooth = |rtt: std::time::Duration| (rtt * 7 + sample) / 8; // as TCP and QUIC (RFC 9002 §5.3)
            self.echo.rtt = Some(self.echo.rtt.map_or(sample, smooth));
            self.echo.sent = None;
        }
    }

    fn closed(&mut self, goodbye: Goodbye) {
        self.ending = Ending::Draining;
        self.report = Some(Report::Lost(DownReason::ByPeer(goodbye)));
        self.control.clear();
        self.sending.backlog.unblock_all();
    }

    /// A frame names a stream that was opened, whether or not it is over.
    fn known(&self, stream: u64) -> Result<(), Fault> {
        let opened =
            if is_ours(stream, self.dialler) { self.numbers.ours.begun() } else { self.numbers.theirs };
        if stream % 4 > 1 || stream / 4 >= opened { Err(UNKNOWN_STREAM) } else { Ok(()) }
    }
}
