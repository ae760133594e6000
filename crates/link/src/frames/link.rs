//! A link over frames: the user's side. What the peer sends is in `input`, what goes out in `output`.

use std::collections::VecDeque;
use std::time::Duration;

use weir_base::stream::{Class, Goodbye, OpenError};
use weir_base::{Instant, Numbered, ProtocolId, Rope, StreamKey};

use super::stream::Stream;
use super::{Frame, LINK_INITIAL, STREAMS_INITIAL};
use crate::carrier::{Carrier, LinkStats, Read, Remote, Report, Scope, Streams};
use crate::streams::{After, Backlog, Next, Opens, Outbox, ReceiveEnd, SendEnd, Writer, Writers};
use crate::window::Window;
use crate::{Event, StreamsConfig};

/// Bytes of the link's credit that only control may use: one message of it always fits.
pub(super) const CONTROL_RESERVE: u64 = 4096;

/// A round trip before one was measured.
const RTT_UNKNOWN: Duration = Duration::from_millis(100);

/// Streams over one wire.
#[derive(Debug)]
pub(crate) struct FrameLink {
    pub(super) report: Option<Report>, // until the parent took it
    pub(super) dialler: bool,
    pub(super) limits: Limits,
    pub(super) streams: Numbered<u64, Box<Stream>>,
    pub(super) numbers: Numbers,
    pub(super) sending: Sending,
    pub(super) receiving: Receiving,
    pub(super) control: VecDeque<Frame>, // <= a few per stream that is open, and one of each link-wide kind
    pub(super) echo: Echo,
    pub(super) ending: Ending,
    pub(super) stats: LinkStats,
}

/// What the configuration says of streams.
#[derive(Debug)]
pub(super) struct Limits {
    pub(super) window: u64,
    pub(super) max_inbound: u64,
}

/// How many streams each side opened and may open.
#[derive(Debug)]
pub(super) struct Numbers {
    pub(super) ours: Opens,
    pub(super) allowed: u64, // of ours
    pub(super) theirs: u64,  // opened by the peer, <= granted
    pub(super) granted: u64,
    pub(super) limit: u64, // of the peer's streams at once
    pub(super) over: u64,  // of the peer's, those that are gone
}

/// Credit towards the peer.
#[derive(Debug)]
pub(super) struct Sending {
    pub(super) backlog: Backlog,
    pub(super) sent: u64, // <= credit
    pub(super) credit: u64,
}

/// Credit towards this side. `advertised - received + unread <= window.granted()`.
#[derive(Debug)]
pub(super) struct Receiving {
    pub(super) received: u64,
    pub(super) unread: u64,
    pub(super) advertised: u64,
}

/// Round trips.
#[derive(Debug)]
pub(super) struct Echo {
    pub(super) rtt: Option<Duration>,
    pub(super) sent: Option<(u64, Instant)>,
    pub(super) due: bool,
    pub(super) answer: Option<u64>,
    pub(super) nonce: u64,
    pub(super) at: Instant, // of the last ping
}

/// How far the link's end is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Not begun.
    Open,
    /// This side said goodbye; the close goes out when all that was written is.
    Flushing(Goodbye),
    /// The close was taken, or the link is cut; nothing goes out any more.
    Closed,
    /// The peer closed; what it sent before can still be read.
    Draining,
}

impl FrameLink {
    pub(crate) fn new(remote: Remote, dialler: bool, config: &StreamsConfig) -> Self {
        Self {
            report: Some(Report::Connected(remote)),
            dialler,
            limits: Limits { window: config.window, max_inbound: u64::from(config.max_inbound) },
            streams: Numbered::default(),
            numbers: Numbers {
                ours: Opens::new(config.max_waiting),
                allowed: STREAMS_INITIAL,
                theirs: 0,
                granted: STREAMS_INITIAL,
                limit: STREAMS_INITIAL,
                over: 0,
            },
            sending: Sending { backlog: Backlog::default(), sent: 0, credit: LINK_INITIAL },
            receiving: Receiving { received: 0, unread: 0, advertised: LINK_INITIAL },
            control: VecDeque::new(),
            echo: Echo { rtt: None, sent: None, due: true, answer: None, nonce: 0, at: Instant::ZERO },
            ending: Ending::Open,
            stats: LinkStats::default(),
        }
    }

    /// Queues the stream's credit to be told where it is worth a frame, once.
    fn credit_may_be_due(&mut self, stream: u64) {
        let Some(entry) = self.streams.get_mut(stream) else { return };
        if !entry.credit.due && entry.credit_to_tell(self.limits.window).is_some() {
            entry.credit.due = true;
            self.control.push_back(Frame::StreamCredit { stream, total: 0 }); // the total is filled in as it goes out
        }
    }

    /// `len` bytes left memory.
    fn returned(&mut self, now: Instant, window: &mut Window, len: u64) {
        self.receiving.unread = self.receiving.unread.saturating_sub(len);
        window.read(now, len);
    }

    pub(super) fn drop_unread(&mut self, now: Instant, window: &mut Window, stream: u64) {
        let Some(entry) = self.streams.get_mut(stream) else { return };
        let dropped = entry.receive.drop_unread(window);
        self.returned(now, window, dropped);
    }

    fn end_receive(&mut self, stream: u64, window: &mut Window) {
        if let Some(entry) = self.streams.get_mut(stream) {
            entry.receive.end = ReceiveEnd::Over;
            entry.receive.drop_unread(window); // nothing is, but what was expected ends too
            self.remove_if_over(stream);
        }
    }

    pub(super) fn remove_if_over(&mut self, stream: u64) {
        if self.streams.get(stream).is_none_or(|entry| !entry.is_over()) {
            return;
        }
        if self.streams.remove(stream).is_some_and(|entry| entry.send.scheduled) {
            self.sending.backlog.outbox.remove(stream);
        }
        if is_ours(stream, self.dialler) {
            return;
        }
        self.numbers.over += 1;
        self.grant_streams();
    }

    /// Lets the peer open as many streams as are over, from when it takes the frame: a peer that takes nothing can open no
    /// more, and what waits for it stays bounded. Told in steps of an eighth, so that many short streams do not cost a
    /// frame each.
    fn grant_streams(&mut self) {
        let total = self.numbers.over + self.numbers.limit;
        if total >= self.numbers.granted + (self.numbers.limit / 8).max(1) {
            let waits = |frame: &Frame| matches!(frame, Frame::StreamsCredit { .. });
            if !self.control.iter().any(waits) {
                self.control.push_back(Frame::StreamsCredit { total: 0 }); // the total is filled in as it goes out
            }
        }
    }
}

impl Writers for FrameLink {
    fn writer(&mut self, stream: u64) -> Option<Writer<'_>> {
        let entry = self.streams.get_mut(stream)?;
        let open = !matches!(self.ending, Ending::Closed | Ending::Draining);
        let credit = if open { entry.room() } else { 0 };
        Some(Writer { half: &mut entry.send, backlog: &mut self.sending.backlog, credit })
    }

    fn backlog(&mut self) -> &mut Backlog {
        &mut self.sending.backlog
    }
}

impl Streams for FrameLink {
    fn open(&mut self, _: Instant, protocol: ProtocolId, class: Class) -> Result<u64, OpenError> {
        if self.ending != Ending::Open {
            return Err(OpenError::Closed);
        }
        let index = self.numbers.ours.count();
        let stream = number(index, self.dialler);
        let end = self.numbers.ours.open(stream, protocol, index < self.numbers.allowed)?;
        self.streams.insert(stream, Box::new(Stream::new(end, class)));
        if end == SendEnd::Open {
            self.control.push_back(Frame::Open { stream, protocol });
        }
        Ok(stream)
    }

    fn set_class(&mut self, stream: u64, class: Class) {
        if let Some(entry) = self.streams.get_mut(stream) {
            self.sending.backlog.outbox.reclass(stream, &mut entry.send, class);
        }
    }

    fn read(&mut self, now: Instant, window: &mut Window, stream: u64, max: usize) -> Read {
        let Some(entry) = self.streams.get_mut(stream) else { return Read::Closed };
        let chunk = match entry.receive.next(max) {
            Next::Bytes(chunk) => chunk,
            Next::NoRoom | Next::Nothing => return Read::Blocked,
            Next::Closed => return Read::Closed,
            Next::Stalled(code) => return Read::Reset(code),
            Next::Reset(code) => {
                self.end_receive(stream, window);
                return Read::Reset(code);
            }
            Next::End => {
                self.end_receive(stream, window);
                return Read::End;
            }
        };
        let (len, most) = (chunk.len() as u64, self.limits.window);
        let unread = entry.receive.unread();
        entry.receive.was_read(now, window, self.echo.rtt.unwrap_or(RTT_UNKNOWN), len);
        if let Some(raw) = &mut entry.receive.raw {
            raw.count(window, unread, raw.growth(most));
        }
        self.credit_may_be_due(stream);
        self.returned(now, window, len);
        Read::Data(chunk)
    }

    fn room(&mut self, stream: u64) -> usize {
        self.room_or_wait(stream)
    }

    fn write(&mut self, stream: u64, rope: &mut Rope) {
        self.queue(stream, rope);
    }

    fn finish(&mut self, stream: u64) {
        let Some(entry) = self.streams.get_mut(stream) else { return };
        if !entry.send.defer(After::Finish) && entry.send.end != SendEnd::Open {
            return;
        }
        self.sending.backlog.unblock(stream);
        if entry.send.end != SendEnd::Open {
            return; // it waits
        }
        entry.send.end = SendEnd::Finishing;
        if !entry.send.queue.is_empty() {
            return self.sending.backlog.schedule(stream, &mut entry.send);
        }
        entry.send.end = SendEnd::Over;
        self.control.push_back(Frame::End { stream }); // needs no credit
        self.remove_if_over(stream);
    }

    fn reset(&mut self, stream: u64, code: u32) {
        let Some(entry) = self.streams.get_mut(stream) else { return };
        self.sending.backlog.unblock(stream);
        if entry.send.defer(After::Reset(code)) || entry.send.end == SendEnd::Over {
            return;
        }
        entry.send.end = SendEnd::Over;
        self.sending.backlog.outbox.sub(entry.send.class, entry.send.queue.len() as u64);
        entry.send.queue = Rope::new();
        self.control.push_back(Frame::Reset { stream, code });
        self.remove_if_over(stream);
    }

    fn stop(&mut self, now: Instant, window: &mut Window, stream: u64, code: u32) {
        let Some(entry) = self.streams.get_mut(stream) else { return };
        match entry.receive.end {
            ReceiveEnd::Open if matches!(entry.send.end, SendEnd::Waiting(_)) => {
                entry.receive.end = ReceiveEnd::Stopped;
                entry.receive.stop = Some(code);
            }
            ReceiveEnd::Open => {
                entry.receive.end = ReceiveEnd::Stopped;
                self.control.push_back(Frame::Stop { stream, code });
            }
            ReceiveEnd::Ended | ReceiveEnd::Reset(_) => entry.receive.end = ReceiveEnd::Over,
            ReceiveEnd::Stalled(_) => entry.receive.end = ReceiveEnd::Stopped,
            ReceiveEnd::Stopped | ReceiveEnd::Over => return,
        }
        self.drop_unread(now, window, stream);
        self.remove_if_over(stream);
    }

    fn expect(&mut self, window: &mut Window, stream: u64, bytes: u64) {
        let Some(entry) = self.streams.get_mut(stream) else { return };
        let receive = &mut entry.receive;
        if matches!(receive.end, ReceiveEnd::Open | ReceiveEnd::Ended) && receive.raw.is_none() {
            receive.expected.set(window, bytes, receive.unread() > 0);
            self.credit_may_be_due(stream);
        }
    }

    fn mark_raw(&mut self, stream: u64) {
        if let Some(entry) = self.streams.get_mut(stream) {
            entry.receive.raw.get_or_insert_default();
        }
    }

    fn hello_accepted(&mut self) {
        self.numbers.limit = self.limits.max_inbound;
        self.grant_streams();
    }

    /// The latest raw stream whose reader leaves bytes unread.
    fn stalled_raw(&self) -> Option<u64> {
        let stalled = |entry: &Stream| entry.receive.raw.is_some() && entry.receive.unread() > 0;
        // Numbers of both sides count up by four, so the largest is the latest, within a few.
        self.streams.keys_where(|_, entry| stalled(entry)).pop()
    }

    /// Breaks a stalled raw stream off, both ways; its user hears of it.
    fn reset_stalled(&mut self, scope: &mut Scope<'_>, stream: u64, code: u32) {
        let key = StreamKey { link: scope.link, stream };
        let Some(entry) = self.streams.get(stream) else { return };
        let (writing, reading) = (entry.send.end == SendEnd::Open, entry.receive.end == ReceiveEnd::Open);
        self.drop_unread(scope.now, scope.window, stream);
        if reading {
            self.control.push_back(Frame::Stop { stream, code });
        }
        if let Some(entry) = self.streams.get_mut(stream) {
            entry.receive.end = if reading { ReceiveEnd::Stalled(code) } else { ReceiveEnd::Reset(code) };
            entry.receive.notified = true;
        }
        scope.events.push_back(Event::Readable(key));
        if writing {
            self.reset(stream, code);
            scope.events.push_back(Event::Stopped(key, code));
        }
    }
}

impl Carrier for FrameLink {
    fn streams(&mut self) -> &mut dyn Streams {
        self
    }

    fn poll(&mut self, _scope: &mut Scope<'_>) -> Option<Report> {
        self.report.take()
    }

    fn close(&mut self, reason: Goodbye) {
        if self.ending != Ending::Open {
            return;
        }
        self.ending = Ending::Flushing(reason);
        let writing = |entry: &Stream| matches!(entry.send.end, SendEnd::Open | SendEnd::Waiting(_));
        let open = self.streams.keys_where(|_, entry| writing(entry));
        open.into_iter().for_each(|stream| self.finish(stream));
    }

    /// Ends at once: nothing that waits goes out, but the close.
    fn abort(&mut self, reason: Goodbye) {
        if matches!(self.ending, Ending::Open | Ending::Flushing(_)) {
            self.ending = Ending::Flushing(reason);
            self.control.clear();
            self.sending.backlog.outbox = Outbox::default();
        }
    }

    /// Whether nothing more will go out or be read.
    fn is_over(&self) -> bool {
        match self.ending {
            Ending::Open | Ending::Flushing(_) => false,
            Ending::Closed => true,
            // an end that the reader has not seen is something to read, too
            Ending::Draining => {
                let unseen = |end| matches!(end, ReceiveEnd::Ended | ReceiveEnd::Reset(_));
                self.receiving.unread == 0 && !self.streams.any(|entry| unseen(entry.receive.end))
            }
        }
    }

    fn rtt(&self) -> Duration {
        self.echo.rtt.unwrap_or(RTT_UNKNOWN)
    }

    fn stats(&self) -> LinkStats {
        self.stats
    }

    /// Streams that the peer opened, and bytes that came on any.
    fn activity(&self) -> u64 {
        self.numbers.theirs + self.receiving.received
    }
}

/// The number of a side's `index`-th stream.
fn number(index: u64, dialler: bool) -> u64 {
    index.saturating_mul(4) + u64::from(!dialler)
}

/// Whether this side opened the stream.
pub(super) fn is_ours(stream: u64, dialler: bool) -> bool {
    stream.is_multiple_of(2) == dialler
}
