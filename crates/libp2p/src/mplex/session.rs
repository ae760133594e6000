//! The connection as its owner uses it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use weir_base::{Chunk, Fault, Instant, KIB, Ready, Rope};

use super::codec::Heads;
use super::{Config, Event, LOW, QUEUE_MAX, STORM};
use crate::storm::{Rate, Storm};
use crate::unread::Unread;
use crate::unwanted::Unwanted;

/// Closes and resets that may still come for a stream which is over at this side: one of each.
const LAST_WORDS: u64 = 2;

/// Bytes for nobody, in KiB, that may come at once: more than are on their way on a path of 1 Gbit/s in 400 ms.
const DROPPED_KIB: u32 = 64 * 1024;
/// Each this long another KiB may come: 4 MiB a second.
const DROPPED_EACH: Duration = Duration::from_micros(250);

/// A stream, by whose number it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    /// The number that its opener gave it.
    pub number: u64,
    /// Whether this side opened it.
    pub ours: bool,
}

/// Why a stream cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The connection has failed.
    #[error("the connection has failed")]
    Closed,
    /// So many are open.
    #[error("too many streams are open")]
    Limit,
}

/// What a read came to.
#[derive(Clone, Debug)]
pub enum Read {
    /// The next bytes.
    Data(Chunk),
    /// Nothing now; [`Event::Readable`] tells when to try again.
    Blocked,
    /// The peer closed its direction and everything was read.
    End,
    /// There is no such stream, or none any more: its end was read, or a side broke it off, which [`Event::Reset`] tells.
    Gone,
}

/// How far the peer's direction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Receiving {
    Open,
    Ended,
    /// Nobody wants the rest: it is dropped.
    Stopped,
    /// And some came.
    Insisted,
    /// The end was read.
    Over,
}

/// How far this side's direction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sending {
    Open,
    Finishing,
    Ended,
}

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) receiving: Receiving,
    pub(super) unread: Unread,
    pub(super) reader_waits: bool, // the last read found nothing
    pub(super) sending: Sending,
    pub(super) queue: Rope, // <= QUEUE_MAX
    pub(super) writer_waits: bool,
    pub(super) to_open: bool, // the opening has not gone out
}

impl Stream {
    pub(super) fn new(to_open: bool) -> Self {
        Self {
            receiving: Receiving::Open,
            unread: Unread::default(),
            reader_waits: true,
            sending: Sending::Open,
            queue: Rope::new(),
            writer_waits: false,
            to_open,
        }
    }

    fn is_over(&self) -> bool {
        matches!(self.receiving, Receiving::Stopped | Receiving::Insisted | Receiving::Over)
            && self.sending == Sending::Ended
    }

    fn room(&self) -> usize {
        if self.sending == Sending::Open { QUEUE_MAX.saturating_sub(self.queue.len()) } else { 0 }
    }

    pub(super) fn has_output(&self) -> bool {
        self.to_open || !self.queue.is_empty() || self.sending == Sending::Finishing
    }

    /// Whether the writer waits and has room now; it is told once.
    pub(super) fn unblocked(&mut self) -> bool {
        self.writer_waits && self.room() > 0 && std::mem::take(&mut self.writer_waits)
    }
}

/// One connection. After any call but `poll_*`, call [`poll_event`](Self::poll_event) until `None`, read what became readable,
/// then [`poll_transmit`](Self::poll_transmit) while the transport has room, and ask [`poll_timeout`](Self::poll_timeout).
#[derive(Debug)]
pub struct Mplex {
    pub(super) config: Config,
    pub(super) streams: BTreeMap<StreamId, Stream>, // <= max_inbound + max_outbound + 1
    pub(super) next: u64,                           // number of ours
    pub(super) inbound: u32,
    pub(super) unread: usize,
    pub(super) heads: Heads,
    pub(super) body: Option<(StreamId, usize)>, // of the message that is not complete
    pub(super) fresh: Vec<StreamId>,            // streams that got slices of the last input
    pub(super) output: Output,
    pub(super) stalled: Option<Stall>,  // while there is no room
    pub(super) idle: Option<Idle>,      // none once it has failed
    pub(super) events: VecDeque<Event>, // a few per message of one input
}

/// How long there has been no room, and what was read meanwhile. Readers that take [`LOW`] bytes within the patience are slow, but stall
/// nothing; a byte now and then does not count.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stall {
    since: Instant,
    read: usize, // < LOW
}

/// What has come and moved nothing.
#[derive(Debug)]
pub(super) struct Idle {
    storm: Storm,  // messages
    dropped: Rate, // bytes for nobody, in KiB
}

impl Idle {
    fn new(now: Instant) -> Self {
        Self { storm: Storm::new(now), dropped: Rate::new(DROPPED_KIB, DROPPED_EACH, now) }
    }

    /// Counts one message that nothing this side did calls for.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Fault> {
        if self.storm.take(now) { Ok(()) } else { Err(STORM) }
    }

    /// Counts one message that this side may have called for.
    pub(super) fn take_stray(&mut self, now: Instant) -> Result<(), Fault> {
        if self.storm.take_stray(now) { Ok(()) } else { Err(STORM) }
    }

    /// Counts the bytes of a message that go to nobody.
    pub(super) fn drop_bytes(&mut self, now: Instant, len: usize) -> Result<(), Fault> {
        let kib = u32::try_from(len.div_ceil(KIB)).unwrap_or(u32::MAX);
        if self.dropped.take(now, kib) { Ok(()) } else { Err(STORM) }
    }
}

/// What waits to be sent, but for the streams' own bytes.
#[derive(Debug, Default)]
pub(super) struct Output {
    pub(super) resets: VecDeque<StreamId>, // refusals, and streams that were open: a peer that does not read opens no more
    pub(super) ready: Ready<StreamId>,
    pub(super) unwanted: Unwanted<StreamId, ()>,
}

impl Mplex {
    /// A connection whose transport is set up.
    pub fn new(config: Config, now: Instant) -> Self {
        Self {
            config,
            streams: BTreeMap::new(),
            next: 0,
            inbound: 0,
            unread: 0,
            heads: Heads::default(),
            body: None,
            fresh: Vec::new(),
            output: Output::default(),
            stalled: None,
            idle: Some(Idle::new(now)),
            events: VecDeque::new(),
        }
    }

    /// Opens a stream. It can be written at once.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(&mut self) -> Result<StreamId, OpenError> {
        if self.idle.is_some() && !self.may_open() {
            return Err(OpenError::Limit);
        }
        self.begin().ok_or(OpenError::Closed)
    }

    /// Opens a stream whatever the limit is; `None` where the connection has failed. The caller has one such stream at most.
    pub(crate) fn begin(&mut self) -> Option<StreamId> {
        self.idle.as_ref()?;
        let id = StreamId { number: self.next, ours: true };
        self.next += 1;
        self.streams.insert(id, Stream::new(true));
        self.output.ready.mark(id);
        Some(id)
    }

    /// Whether fewer streams of this side are open than may be.
    pub(crate) fn may_open(&self) -> bool {
        self.streams.len() - (self.inbound as usize) < self.config.max_outbound as usize
    }

    /// Reads at most `max` bytes.
    pub fn read(&mut self, now: Instant, id: StreamId, max: usize) -> Read {
        let Some(stream) = self.streams.get_mut(&id) else { return Read::Gone };
        if max == 0 {
            return Read::Blocked;
        }
        if let Some(chunk) = stream.unread.pop(max) {
            self.unread -= chunk.len();
            self.note_read(now, chunk.len());
            return Read::Data(chunk);
        }
        if stream.receiving == Receiving::Open {
            stream.reader_waits = true;
            return Read::Blocked;
        }
        stream.receiving = Receiving::Over;
        self.remove_if_over(id);
        Read::End
    }

    /// Bytes that can be written; 0 makes the stream wait for [`Event::Writable`], or it has ended.
    pub fn write_room(&mut self, id: StreamId) -> usize {
        let Some(stream) = self.streams.get_mut(&id) else { return 0 };
        let room = stream.room();
        stream.writer_waits = room == 0 && stream.sending == Sending::Open;
        room
    }

    /// Takes of `bytes` what there is room for.
    pub fn write(&mut self, id: StreamId, bytes: &mut Bytes) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        stream.queue.push(bytes.split_to(stream.room().min(bytes.len())));
        self.output.ready.mark(id);
    }

    /// Ends this side's direction after what was written.
    pub fn finish(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id).filter(|stream| stream.sending == Sending::Open) else {
            return;
        };
        stream.sending = Sending::Finishing;
        self.output.ready.mark(id);
    }

    /// Breaks a stream off, both ways. mplex has no code for it.
    pub fn reset(&mut self, now: Instant, id: StreamId) {
        if let Some(stream) = self.end(now, id)
            && !stream.to_open
        {
            self.output.resets.push_back(id);
        }
    }

    /// Wants no more of the peer's bytes. mplex cannot say so alone: they are dropped, and once this side's direction has ended
    /// the stream is reset where the peer goes on writing.
    pub fn stop(&mut self, now: Instant, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if stream.sending == Sending::Ended && stream.receiving == Receiving::Open {
            self.output.unwanted.add(id, ());
        }
        self.unread -= stream.unread.len();
        stream.unread = Unread::default();
        let ended = stream.receiving != Receiving::Open;
        stream.receiving = if ended { Receiving::Over } else { Receiving::Stopped };
        self.watch(now);
        self.remove_if_over(id);
    }

    /// Bytes that [`received`](Self::received) can take now. 0: the transport must wait.
    pub fn room(&self) -> usize {
        self.config.unread_max.saturating_sub(self.unread)
    }

    /// Bytes received and not read.
    pub fn unread(&self) -> usize {
        self.unread
    }

    /// The same of one stream.
    pub fn unread_of(&self, id: StreamId) -> usize {
        self.streams.get(&id).map_or(0, |stream| stream.unread.len())
    }

    /// Whether all that the peer will ever send on a stream has come, and its end is still to be read.
    pub fn has_ended(&self, id: StreamId) -> bool {
        self.streams.get(&id).is_some_and(|stream| stream.receiving == Receiving::Ended)
    }

    /// Replaces [`Config::unread_max`]. What is unread already stays.
    pub fn limit_unread(&mut self, bytes: usize) {
        self.config.unread_max = bytes;
    }

    /// Streams that are open, of both sides.
    pub fn open_streams(&self) -> usize {
        self.streams.len()
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Resets the fullest stream where a reader has stalled the connection for too long. Early and repeated calls do nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_none_or(|(due, _)| due > now) {
            return;
        }
        let fullest = self.streams.iter().max_by_key(|(_, stream)| stream.unread.len()).map(|(id, _)| *id);
        if let Some(id) = fullest {
            self.reset(now, id);
            self.events.push_back(Event::Reset(id));
        }
        self.stalled = None;
        self.watch(now);
    }

    /// When it wants to be called next.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        Some((self.stalled?.since + self.config.patience, "a reader stalls the connection"))
    }

    /// Notes since when there is so little room that the transport may have stopped.
    pub(super) fn watch(&mut self, now: Instant) {
        self.stalled = (self.room() < LOW).then(|| self.stalled.unwrap_or(Stall { since: now, read: 0 }));
    }

    /// So many bytes were read.
    fn note_read(&mut self, now: Instant, len: usize) {
        if let Some(stall) = &mut self.stalled {
            stall.read += len;
            if stall.read >= LOW {
                *stall = Stall { since: now, read: 0 };
            }
        }
        self.watch(now);
    }

    /// Removes a stream in whatever state, and returns it.
    pub(super) fn end(&mut self, now: Instant, id: StreamId) -> Option<Stream> {
        let stream = self.streams.remove(&id)?;
        self.unread -= stream.unread.len();
        self.inbound -= u32::from(!id.ours);
        self.output.ready.remove(id);
        self.expect_rest();
        self.watch(now);
        Some(stream)
    }

    pub(super) fn remove_if_over(&mut self, id: StreamId) {
        if self.streams.get(&id).is_some_and(Stream::is_over) {
            self.streams.remove(&id);
            self.inbound -= u32::from(!id.ours);
            self.output.ready.remove(id);
            self.expect_rest();
        }
    }

    /// A stream is over at this side, and its peer's last words may be on their way.
    pub(super) fn expect_rest(&mut self) {
        if let Some(idle) = &mut self.idle {
            idle.storm.expect(LAST_WORDS);
        }
    }

    /// The user had no use for a stream of the peer. Peers that open such streams faster than the rate for messages that move nothing
    /// are to blame.
    pub fn count_useless(&mut self, now: Instant) {
        if self.idle.as_mut().is_some_and(|idle| idle.take(now).is_err()) {
            self.fail(STORM);
        }
    }

    /// Ends everything.
    pub(crate) fn fail(&mut self, fault: Fault) {
        self.idle = None;
        self.streams.clear();
        self.fresh = Vec::new();
        (self.inbound, self.unread, self.stalled, self.body) = (0, 0, None, None);
        self.output = Output::default();
        self.events.push_back(Event::Faulted(fault));
    }
}
