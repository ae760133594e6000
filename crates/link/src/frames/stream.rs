//! One stream of a frame link: its two halves.

use std::collections::VecDeque;

use bytes::Bytes;
use weir_base::stream::Class;
use weir_base::{Chunk, Rope};

use super::STREAM_INITIAL;
use crate::window::{Expected, RawUse};

/// Both directions. Gone when both have ended.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) receive: Receive,
    pub(super) send: Send,
}

impl Stream {
    pub(super) fn new(class: Class) -> Self {
        Self { receive: Receive::default(), send: Send::new(class) }
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.receive.end, ReceiveEnd::Over) && matches!(self.send.end, SendEnd::Over)
    }
}

/// How far the peer's direction is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ReceiveEnd {
    /// More may come.
    Open,
    /// The peer finished; what is queued is still to be read.
    Ended,
    /// The peer broke off; the reader does not know yet.
    Reset(u32),
    /// This side stopped it by itself; the reader does not know yet, and the peer has not ended.
    Stalled(u32),
    /// This side wants no more; what comes is dropped until the peer ends.
    Stopped,
    /// The peer ended and the reader knows, or wanted no more.
    Over,
}

/// The peer's direction.
#[derive(Debug)]
pub(super) struct Receive {
    pub(super) end: ReceiveEnd,
    pub(super) queue: VecDeque<Bytes>, // <= the stream's credit, and the link's window
    pub(super) unread: u64,
    pub(super) received: u64, // since the stream began, <= advertised
    pub(super) advertised: u64,
    pub(super) credit_due: bool, // a StreamCredit frame waits
    pub(super) expected: Expected,
    pub(super) raw: Option<Box<RawUse>>,
    pub(super) notified: bool, // Readable was sent and the reader has not seen the end of what is there
}

impl Default for Receive {
    fn default() -> Self {
        Self {
            end: ReceiveEnd::Open,
            queue: VecDeque::new(),
            unread: 0,
            received: 0,
            advertised: STREAM_INITIAL,
            credit_due: false,
            expected: Expected::default(),
            raw: None,
            notified: false,
        }
    }
}

impl Receive {
    /// Takes at most `max` bytes off the front.
    pub(super) fn take(&mut self, max: usize) -> Option<Chunk> {
        let front = self.queue.front_mut()?;
        let bytes = if front.len() > max { front.split_to(max) } else { self.queue.pop_front()? };
        if self.queue.is_empty() {
            self.queue = VecDeque::new(); // an idle stream keeps no buffer
        }
        self.unread = self.unread.saturating_sub(bytes.len() as u64);
        Some(Chunk::whole(bytes))
    }

    /// Drops what is queued and returns how much it was.
    pub(super) fn drop_queue(&mut self) -> u64 {
        self.queue = VecDeque::new();
        std::mem::take(&mut self.unread)
    }

    /// What the peer may have in flight on this stream.
    pub(super) fn window(&self, most: u64) -> u64 {
        let wanted = self.raw.as_ref().map_or(self.expected.bytes(), |raw| raw.growth(most));
        wanted.clamp(STREAM_INITIAL, most)
    }

    /// The credit to tell now; `None` while it is too little to be worth a frame.
    pub(super) fn credit(&self, most: u64) -> Option<u64> {
        let window = self.window(most);
        let total = self.received - self.unread + window;
        let open = self.end == ReceiveEnd::Open;
        (open && total >= self.advertised + window / 4).then_some(total)
    }
}

/// How far this side's direction is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SendEnd {
    /// More may be written.
    Open,
    /// Ends after what is queued.
    Finishing,
    /// The end or a reset is on its way.
    Over,
}

/// This side's direction.
#[derive(Debug)]
pub(super) struct Send {
    pub(super) end: SendEnd,
    pub(super) queue: Rope,
    pub(super) sent: u64, // with what is queued <= credit
    pub(super) credit: u64,
    pub(super) class: Class,
    pub(super) scheduled: bool,
    pub(super) blocked: bool, // the writer found no room and waits for Writable
    pub(super) stopped: bool, // the peer wants no more
}

impl Send {
    fn new(class: Class) -> Self {
        Self {
            end: SendEnd::Open,
            queue: Rope::new(),
            sent: 0,
            credit: STREAM_INITIAL,
            class,
            scheduled: false,
            blocked: false,
            stopped: false,
        }
    }

    /// Bytes that the stream's credit still allows to be written.
    pub(super) fn room(&self) -> u64 {
        let open = self.end == SendEnd::Open && !self.stopped;
        if open { self.credit.saturating_sub(self.sent + self.queue.len() as u64) } else { 0 }
    }

    /// Whether a frame of it could go out.
    pub(super) fn has_output(&self) -> bool {
        !self.queue.is_empty() || self.end == SendEnd::Finishing
    }
}
