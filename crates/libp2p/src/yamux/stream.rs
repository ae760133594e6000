//! One stream: what was received and not read, what was written and not sent.

use std::time::Duration;

use bytes::Bytes;
use weir_base::{Chunk, Fault, Instant, Rope};

use super::{AFTER_END, CREDIT, OVERRUN, QUEUE_MAX, WINDOW_MIN};
use crate::unread::Unread;

/// Where the opening stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// Ours: SYN has not gone out.
    ToOpen,
    /// Ours: SYN has gone out.
    Opened,
    /// The peer's: nobody has accepted it.
    Offered,
    /// The peer's: ACK has not gone out.
    ToAccept,
    /// Both know.
    Done,
}

/// One stream. It exists until both directions have ended and what was received is read.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) opening: Opening,
    pub(super) receiver: Receiver,
    pub(super) sender: Sender,
    pub(super) stopped: Option<u32>, // the code with which this side wants no more
}

impl Stream {
    pub(super) fn new(opening: Opening, now: Instant) -> Self {
        Self { opening, receiver: Receiver::new(now), sender: Sender::default(), stopped: None }
    }

    pub(super) fn is_over(&self) -> bool {
        self.receiver.is_over() && self.sender.state == Sending::Ended
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Receiving {
    Open,
    /// FIN has come; what is queued is to be read.
    Ended,
    /// This side wants no more: bytes are dropped, and no credit is given for them.
    Stopped,
    /// The end was read.
    Over,
}

/// The receiving direction.
#[derive(Debug)]
pub(super) struct Receiver {
    state: Receiving,
    queue: Unread,
    unread: u32,      // its bytes
    coming: u32,      // bytes announced by a header that have not come
    credit: u32, // bytes that may still be announced; unread + coming + credit <= window, and 0 behind the end
    window: u32, // WINDOW_MIN <= window <= Config::window_max
    updated: Instant, // when the last window update went out
    blocked: bool, // the last read found nothing
    insisted: bool, // bytes came after this side wanted no more
}

impl Receiver {
    fn new(now: Instant) -> Self {
        Self {
            state: Receiving::Open,
            queue: Unread::default(),
            unread: 0,
            coming: 0,
            credit: WINDOW_MIN,
            window: WINDOW_MIN,
            updated: now,
            blocked: true,
            insisted: false,
        }
    }

    fn is_over(&self) -> bool {
        matches!(self.state, Receiving::Over | Receiving::Stopped)
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self.state, Receiving::Ended | Receiving::Over)
    }

    pub(super) fn unread(&self) -> usize {
        self.unread as usize
    }

    /// Bytes that the peer may still announce: none behind its end.
    pub(super) fn credit(&self) -> u32 {
        self.credit
    }

    /// What this window has beyond that of its birth.
    pub(super) fn grown(&self) -> u32 {
        self.window - WINDOW_MIN
    }

    /// So many bytes are announced: whether the window allows them.
    pub(super) fn announced(&mut self, len: u32) -> Result<(), Fault> {
        if len > 0 && self.has_ended() {
            return Err(AFTER_END);
        }
        self.credit = self.credit.checked_sub(len).ok_or(OVERRUN)?;
        self.insisted |= len > 0 && self.state == Receiving::Stopped;
        self.coming += len;
        Ok(())
    }

    /// Bytes that were announced. Whether the reader is to be told.
    pub(super) fn take(&mut self, chunk: Chunk) -> bool {
        let len = u32::try_from(chunk.len()).unwrap_or(u32::MAX); // announced in 32 bits
        self.coming -= len;
        if self.state != Receiving::Open || chunk.is_empty() {
            return false;
        }
        self.unread += len;
        self.queue.push(chunk);
        std::mem::take(&mut self.blocked)
    }

    /// The direction's end. Whether the reader is to be told.
    pub(super) fn end(&mut self) -> bool {
        self.credit = 0;
        match self.state {
            Receiving::Open => self.state = Receiving::Ended,
            Receiving::Stopped => self.state = Receiving::Over,
            Receiving::Ended | Receiving::Over => {}
        }
        self.state == Receiving::Ended && std::mem::take(&mut self.blocked)
    }

    /// The next unread bytes, at most `max`.
    pub(super) fn read(&mut self, max: usize) -> Option<Chunk> {
        let chunk = self.queue.pop(max)?;
        self.unread -= u32::try_from(chunk.len()).unwrap_or(u32::MAX); // it was counted in
        Some(chunk)
    }

    /// A read found nothing: `true` where nothing more will come.
    pub(super) fn found_nothing(&mut self) -> bool {
        if self.state == Receiving::Ended {
            self.state = Receiving::Over;
        }
        self.blocked = true;
        self.state != Receiving::Open
    }

    /// This side wants no more.
    pub(super) fn stop(&mut self) {
        self.drop_unread();
        self.state = if self.has_ended() { Receiving::Over } else { Receiving::Stopped };
    }

    /// Whether the peer still writes, or waits for credit to: bytes came after a stop, or half its window is used up.
    pub(super) fn is_written(&self) -> bool {
        self.insisted || self.credit < self.window / 2
    }

    /// The peer broke the stream off. What has come whole stays.
    pub(super) fn reset(&mut self) {
        if !self.has_ended() {
            self.drop_unread();
            self.state = Receiving::Over;
        }
    }

    fn drop_unread(&mut self) {
        self.queue = Unread::default();
        self.unread = 0;
    }

    /// Lets go of the buffer that the last input lay in.
    pub(super) fn settle(&mut self) {
        self.queue.settle();
    }

    /// Whether half the window could be advertised again.
    pub(super) fn wants_update(&self) -> bool {
        self.state == Receiving::Open && self.advertisable() >= self.window / 2
    }

    fn advertisable(&self) -> u32 {
        self.window - self.unread - self.coming - self.credit
    }

    /// What to advertise now. A window that was emptied within four round trips doubles, within `most` and `budget`, which
    /// becomes smaller by what it grew.
    pub(super) fn update(&mut self, now: Instant, rtt: Option<Duration>, most: u32, budget: &mut u64) -> u32 {
        if !self.wants_update() {
            return 0;
        }
        let quick = rtt.is_some_and(|rtt| now.since(self.updated) < rtt * 4);
        if quick && self.window < most {
            let left = u32::try_from(*budget).unwrap_or(u32::MAX);
            let growth = self.window.min(most - self.window).min(left);
            *budget -= u64::from(growth);
            self.window += growth;
        }
        self.updated = now;
        let delta = self.advertisable();
        self.credit += delta;
        delta
    }
}

/// How far the sending direction is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sending {
    #[default]
    Open,
    /// FIN follows what is queued.
    Finishing,
    /// FIN has gone out, or a reset came.
    Ended,
}

/// The sending direction.
#[derive(Debug)]
pub(super) struct Sender {
    pub(super) state: Sending,
    queue: Rope,   // <= QUEUE_MAX
    credit: u32,   // bytes that may be sent
    blocked: bool, // the writer found no room
}

impl Default for Sender {
    fn default() -> Self {
        Self { state: Sending::Open, queue: Rope::new(), credit: WINDOW_MIN, blocked: false }
    }
}

impl Sender {
    /// Bytes that can be written. With none, the writer is told when there are.
    pub(super) fn room(&mut self) -> usize {
        let room = self.room_now();
        self.blocked = room == 0 && self.state == Sending::Open;
        room
    }

    fn room_now(&self) -> usize {
        match self.state {
            Sending::Open => (self.credit as usize).min(QUEUE_MAX).saturating_sub(self.queue.len()),
            Sending::Finishing | Sending::Ended => 0,
        }
    }

    /// Whether the writer waits and has room now; it is told once.
    pub(super) fn unblocked(&mut self) -> bool {
        self.blocked && self.room_now() > 0 && std::mem::take(&mut self.blocked)
    }

    /// Takes of `bytes` what there is room for; the rest stays.
    pub(super) fn write(&mut self, bytes: &mut Bytes) {
        let taken = self.room_now().min(bytes.len());
        self.queue.push(bytes.split_to(taken));
    }

    pub(super) fn finish(&mut self) {
        if self.state == Sending::Open {
            self.state = Sending::Finishing;
        }
    }

    /// Drops what waits.
    pub(super) fn end(&mut self) {
        self.state = Sending::Ended;
        self.queue = Rope::new();
        self.blocked = false;
    }

    pub(super) fn add_credit(&mut self, delta: u32) -> Result<(), Fault> {
        self.credit = self.credit.checked_add(delta).ok_or(CREDIT)?;
        Ok(())
    }

    /// Bytes that the next frame can carry.
    pub(super) fn sendable(&self) -> usize {
        self.queue.len().min(self.credit as usize)
    }

    /// Whether there is a frame to send: bytes, or the end.
    pub(super) fn has_output(&self) -> bool {
        self.sendable() > 0 || self.state == Sending::Finishing && self.queue.is_empty()
    }

    /// The next part of what waits, at most `max` bytes.
    pub(super) fn pop(&mut self, max: usize) -> Option<Bytes> {
        let part = self.queue.pop(max.min(self.credit as usize))?;
        self.credit -= u32::try_from(part.len()).unwrap_or(u32::MAX); // no more than the credit was taken
        Some(part)
    }

    /// Whether the end is due now, behind all bytes; it is taken.
    pub(super) fn take_end(&mut self) -> bool {
        let due = self.state == Sending::Finishing && self.queue.is_empty();
        if due {
            self.state = Sending::Ended;
        }
        due
    }
}
