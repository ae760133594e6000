//! The connection as its owner uses it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use weir_base::{Chunk, Fault, Instant};

use super::idle::Idle;
use super::input::Input;
use super::output::Output;
use super::ping::Pings;
use super::stream::{Opening, Stream};
use super::{ACK_BACKLOG, Config, Event, Side, away};

/// Why a stream cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The connection has failed, or one side has announced its end.
    #[error("the connection is ending")]
    Closed,
    /// So many are open, or so many the peer has not acknowledged. [`Event::Openable`] tells when to try again.
    #[error("too many streams are open or not acknowledged")]
    Limit,
}

/// What a read came to.
#[derive(Clone, Debug)]
pub enum Read {
    /// The next bytes.
    Data(Chunk),
    /// Nothing now; [`Event::Readable`] tells when to try again.
    Blocked,
    /// The peer finished its direction and everything was read.
    End,
    /// There is no such stream, or none any more: its end was read, or a side broke it off, which [`Event::Reset`] tells.
    Gone,
}

/// One connection. After any call but `poll_*`, call [`poll_event`](Self::poll_event) until `None`, read what became readable,
/// then [`poll_transmit`](Self::poll_transmit) while the transport has room, and ask [`poll_timeout`](Self::poll_timeout).
#[derive(Debug)]
pub struct Yamux {
    pub(super) config: Config,
    pub(super) ids: Ids,
    // <= max_inbound + max_outbound; boxed, as a map has room for eleven where there is one
    pub(super) streams: BTreeMap<u32, Box<Stream>>,
    pub(super) counts: Counts,
    pub(super) budget: u64, // what windows may still grow by
    pub(super) input: Input,
    pub(super) output: Output,
    pub(super) pings: Pings,
    pub(super) idle: Idle,
    pub(super) fresh: Vec<u32>, // streams that got slices of the last input
    pub(super) life: Life,
    pub(super) events: VecDeque<Event>, // a few per frame of one input
}

/// Whose numbers are whose.
#[derive(Debug)]
pub(super) struct Ids {
    side: Side,
    next: Option<u32>,       // the next of ours; none are left after 2^31
    pub(super) highest: u32, // of the peer's
}

impl Ids {
    fn new(side: Side) -> Self {
        let next = match side {
            Side::Dialler => 1,
            Side::Listener => 2,
        };
        Self { side, next: Some(next), highest: 0 }
    }

    pub(super) fn is_ours(&self, id: u32) -> bool {
        id.is_multiple_of(2) == (self.side == Side::Listener)
    }

    /// Whether a stream of this number has ever been opened, by whichever side.
    pub(super) fn was_opened(&self, id: u32) -> bool {
        if self.is_ours(id) { self.next.is_none_or(|next| id < next) } else { id <= self.highest }
    }
}

/// How many streams there are of each kind, and what they hold.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) inbound: u32,     // <= Config::max_inbound
    pub(super) outbound: u32,    // <= Config::max_outbound
    pub(super) offered: usize,   // inbound, not accepted: <= ACK_BACKLOG
    pub(super) unacked: usize,   // outbound, not acknowledged: <= ACK_BACKLOG
    pub(super) unread: usize,    // bytes
    pub(super) wants_open: bool, // an open was refused for a limit
}

/// What has been said about the end.
#[derive(Debug, Default)]
pub(super) struct Life {
    pub(super) failed: bool,
    pub(super) away_said: bool,
    pub(super) away_heard: bool,
}

impl Yamux {
    /// A connection whose transport is set up. `budget`: bytes by which the windows of all streams together may grow.
    pub fn new(config: Config, side: Side, budget: u64, now: Instant) -> Self {
        Self {
            config,
            ids: Ids::new(side),
            streams: BTreeMap::new(),
            counts: Counts::default(),
            budget,
            input: Input::default(),
            output: Output::default(),
            pings: Pings::new(),
            idle: Idle::new(now),
            fresh: Vec::new(),
            life: Life::default(),
            events: VecDeque::new(),
        }
    }

    /// Opens a stream. It can be written at once; SYN goes with its first frame.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(&mut self, now: Instant) -> Result<u32, OpenError> {
        if self.life.failed || self.life.away_heard || self.life.away_said {
            return Err(OpenError::Closed);
        }
        if self.counts.outbound >= self.config.max_outbound || self.counts.unacked >= ACK_BACKLOG {
            self.counts.wants_open = true;
            return Err(OpenError::Limit);
        }
        let id = self.ids.next.ok_or(OpenError::Closed)?;
        self.ids.next = id.checked_add(2);
        self.streams.insert(id, Box::new(Stream::new(Opening::ToOpen, now)));
        self.counts.outbound += 1;
        self.counts.unacked += 1;
        self.output.control.mark(id);
        Ok(id)
    }

    /// Accepts a stream that the peer opened: ACK goes with its next frame.
    pub fn accept(&mut self, id: u32) {
        let Some(stream) = self.streams.get_mut(&id).filter(|stream| stream.opening == Opening::Offered)
        else {
            return;
        };
        stream.opening = Opening::ToAccept;
        self.counts.offered -= 1;
        self.output.control.mark(id);
    }

    /// Reads at most `max` bytes, and makes room for as many of the peer's.
    pub fn read(&mut self, id: u32, max: usize) -> Read {
        let Some(stream) = self.streams.get_mut(&id) else { return Read::Gone };
        if max == 0 {
            return Read::Blocked;
        }
        if let Some(chunk) = stream.receiver.read(max) {
            self.counts.unread -= chunk.len();
            if stream.receiver.wants_update() {
                self.output.control.mark(id);
            }
            return Read::Data(chunk);
        }
        if !stream.receiver.found_nothing() {
            return Read::Blocked;
        }
        self.remove_if_over(id);
        Read::End
    }

    /// Bytes that can be written; 0 makes the stream wait for [`Event::Writable`], or it has ended.
    pub fn write_room(&mut self, id: u32) -> usize {
        self.streams.get_mut(&id).map_or(0, |stream| stream.sender.room())
    }

    /// Takes of `bytes` what there is room for, by reference where it is long.
    pub fn write(&mut self, id: u32, bytes: &mut Bytes) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        stream.sender.write(bytes);
        if stream.sender.has_output() {
            self.output.data.mark(id);
        }
    }

    /// Ends this side's direction after what was written.
    pub fn finish(&mut self, id: u32) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        stream.sender.finish();
        if stream.sender.has_output() {
            self.output.data.mark(id);
        }
    }

    /// Breaks a stream off, both ways: yamux has no other reset. What waits is not sent, what is unread is gone.
    pub fn reset(&mut self, id: u32, code: u32) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let known = stream.opening != Opening::ToOpen;
        self.counts.unread -= stream.receiver.unread();
        stream.receiver.stop();
        stream.sender.end();
        self.remove_if_over(id);
        if known {
            self.output.resets.push_back((id, code));
        }
    }

    /// Wants no more of the peer's bytes. yamux cannot say so alone: they are dropped and get no credit. Once this side's direction
    /// has ended the stream is reset with `code`, at once only where the peer has sent more of them or can hardly send any; otherwise
    /// once it does: a reset right behind the end costs many peers what they have not read.
    pub fn stop(&mut self, id: u32, code: u32) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        self.counts.unread -= stream.receiver.unread();
        stream.receiver.stop();
        stream.stopped = Some(code);
        self.remove_if_over(id);
    }

    /// Announces the end with a code of [`away`]: neither side opens streams from now on, those that are open go on.
    pub fn close(&mut self, code: u32) {
        if !self.life.failed && !self.life.away_said {
            self.life.away_said = true;
            self.output.away = Some(code);
        }
    }

    /// Bytes that windows may still grow by. What a window has grown by comes back when its stream ends.
    pub fn budget(&self) -> u64 {
        self.budget
    }

    /// Bytes that [`received`](Self::received) can take now. 0: so much is unread that the transport must wait; streams that
    /// nobody reads can be reset to go on.
    pub fn room(&self) -> usize {
        self.config.unread_max.saturating_sub(self.counts.unread)
    }

    /// Bytes received and not read.
    pub fn unread(&self) -> usize {
        self.counts.unread
    }

    /// The same of one stream.
    pub fn unread_of(&self, id: u32) -> usize {
        self.streams.get(&id).map_or(0, |stream| stream.receiver.unread())
    }

    /// Whether all that the peer will ever send on a stream has come, and its end is still to be read.
    pub fn has_ended(&self, id: u32) -> bool {
        self.streams.get(&id).is_some_and(|stream| stream.receiver.has_ended())
    }

    /// Replaces [`Config::unread_max`]. What is unread already stays.
    pub fn limit_unread(&mut self, bytes: usize) {
        self.config.unread_max = bytes;
    }

    /// Streams that are open, of both sides.
    pub fn open_streams(&self) -> usize {
        self.streams.len()
    }

    /// The round-trip time, smoothed; none before the first ping is answered.
    pub fn rtt(&self) -> Option<Duration> {
        self.pings.rtt()
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Advances what is due; early and repeated calls do nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.life.failed || self.pings.handle_timeout(now, &self.config) {
            return;
        }
        if self.room() < super::LOW {
            return self.pings.excuse(now, &self.config); // this side does not read: the answer may have come
        }
        self.fail(super::SILENT, away::NORMAL);
    }

    /// When it wants to be called next.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        if self.life.failed {
            return None;
        }
        Some((self.pings.due(&self.config)?, "yamux ping"))
    }

    /// Ends everything but the reason for the peer.
    pub(super) fn fail(&mut self, fault: Fault, code: u32) {
        self.life.failed = true;
        self.streams.clear();
        self.fresh = Vec::new();
        self.counts = Counts::default();
        self.output = Output::default();
        self.output.away = Some(code);
        self.events.push_back(Event::Faulted(fault));
    }

    /// Forgets a stream of which both directions are over.
    pub(super) fn remove_if_over(&mut self, id: u32) {
        let Some(stream) = self.streams.get(&id).filter(|stream| stream.is_over()) else { return };
        // Of one that was broken off before its SYN the peer knows nothing.
        let known = stream.opening != Opening::ToOpen;
        if let Some(code) = stream.stopped.filter(|_| known && !stream.receiver.has_ended()) {
            if stream.receiver.is_written() {
                self.output.resets.push_back((id, code));
            } else {
                self.output.unwanted.add(id, code);
            }
        }
        self.budget = self.budget.saturating_add(u64::from(stream.receiver.grown()));
        let credit = stream.receiver.credit();
        match stream.opening {
            Opening::ToOpen | Opening::Opened => self.counts.unacked -= 1,
            Opening::Offered => self.counts.offered -= 1,
            Opening::ToAccept | Opening::Done => {}
        }
        if self.ids.is_ours(id) {
            self.counts.outbound -= 1;
        } else {
            self.counts.inbound -= 1;
        }
        self.streams.remove(&id);
        self.output.forget(id);
        self.idle.expect_rest(if known { credit } else { 0 });
        self.tell_openable();
    }

    /// An open that was refused for a limit is possible now.
    pub(super) fn tell_openable(&mut self) {
        let possible = self.counts.outbound < self.config.max_outbound && self.counts.unacked < ACK_BACKLOG;
        if possible && std::mem::take(&mut self.counts.wants_open) {
            self.events.push_back(Event::Openable);
        }
    }
}
