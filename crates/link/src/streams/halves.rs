//! The two halves of a stream. A stream is gone when both are over.

use std::collections::VecDeque;

use weir_base::stream::Class;
use weir_base::{Chunk, Instant, Rope};

use crate::window::{Expected, RawUse, Window};

/// Chunks for which a queue keeps room while it is empty.
const FEW: usize = 4;
/// Chunks for which it makes room beyond those: with them as many datagrams as bring 16 KiB.
const MANY: usize = 12;

/// How far the peer's direction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReceiveEnd {
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
    /// The peer ended and the reader knows, or nobody wants more.
    Over,
}

/// The peer's direction.
#[derive(Debug)]
pub(crate) struct ReceiveHalf {
    pub(crate) end: ReceiveEnd,
    front: Option<Chunk>, // none only where the queue is empty: one chunk, the usual case, needs none
    queue: VecDeque<Chunk>, // <= the stream's credit, and the link's window
    unread: u64,          // bytes in both
    pub(crate) notified: bool, // Readable was sent and the reader has not seen the end of what is there
    pub(crate) stop: Option<u32>, // to be asked once a stream that waits is open
    pub(crate) expected: Expected,
    pub(crate) raw: Option<Box<RawUse>>,
}

/// What a reader gets next.
#[derive(Debug)]
pub(crate) enum Next {
    /// These bytes.
    Bytes(Chunk),
    /// Bytes wait, but the reader has no room.
    NoRoom,
    /// Nothing now; the reader is to be told of more.
    Nothing,
    /// The end: the half is over now.
    End,
    /// The peer's reset: the half is over now.
    Reset(u32),
    /// This side's reset of a reader that stalled.
    Stalled(u32),
    /// Nothing ever again.
    Closed,
}

impl Default for ReceiveHalf {
    fn default() -> Self {
        Self {
            end: ReceiveEnd::Open,
            front: None,
            queue: VecDeque::new(),
            unread: 0,
            notified: false,
            stop: None,
            expected: Expected::default(),
            raw: None,
        }
    }
}

impl ReceiveHalf {
    /// Bytes queued for the reader.
    pub(crate) fn unread(&self) -> u64 {
        self.unread
    }

    /// More bytes for the reader.
    pub(crate) fn push(&mut self, chunk: Chunk) {
        self.unread += chunk.len() as u64;
        if self.front.is_none() {
            self.front = Some(chunk);
            return;
        }
        let many_expected = self.queue.capacity() == 0 && self.expected.bytes() > self.unread * FEW as u64;
        if self.queue.len() == FEW || many_expected {
            self.queue.reserve(FEW + MANY - self.queue.len()); // a burst: in one step, not doubling
        }
        self.queue.push_back(chunk);
    }

    /// At most `max` of the bytes that are queued, or what is behind them. A reader without room still hears of the end, once
    /// nothing is left before it; for bytes it comes back by itself.
    #[inline]
    pub(crate) fn next(&mut self, max: usize) -> Next {
        if let Some(front) = &mut self.front {
            if max == 0 {
                return Next::NoRoom;
            }
            if front.len() > max {
                self.unread = self.unread.saturating_sub(max as u64);
                return Next::Bytes(front.split_to(max));
            }
        }
        if let Some(chunk) = self.pop() {
            self.unread = self.unread.saturating_sub(chunk.len() as u64);
            return Next::Bytes(chunk);
        }
        match self.end {
            ReceiveEnd::Open => {
                self.notified = false;
                Next::Nothing
            }
            ReceiveEnd::Ended => Next::End,
            ReceiveEnd::Reset(code) => Next::Reset(code),
            ReceiveEnd::Stalled(code) => {
                self.end = ReceiveEnd::Stopped; // until the peer ends
                Next::Stalled(code)
            }
            ReceiveEnd::Stopped | ReceiveEnd::Over => Next::Closed,
        }
    }

    fn pop(&mut self) -> Option<Chunk> {
        if self.queue.is_empty() {
            return self.front.take();
        }
        let next = self.queue.pop_front();
        if self.queue.is_empty() && self.queue.capacity() > FEW {
            self.queue = VecDeque::new(); // an idle stream keeps no buffer
        }
        std::mem::replace(&mut self.front, next)
    }

    /// Something is there for the reader. Whether it is to be told: once, until it saw the end of what is there.
    pub(crate) fn notify(&mut self) -> bool {
        !std::mem::replace(&mut self.notified, true)
    }

    /// Drops what is queued, and what was expected with it; returns how many bytes that were.
    pub(crate) fn drop_unread(&mut self, window: &mut Window) -> u64 {
        self.expected.set(window, 0, false);
        if let Some(raw) = &mut self.raw {
            raw.count(window, 0, 0);
        }
        self.discard()
    }

    /// Drops what is queued alone.
    pub(crate) fn discard(&mut self) -> u64 {
        if self.front.take().is_some() {
            self.queue = VecDeque::new();
        }
        std::mem::take(&mut self.unread)
    }

    /// `len` bytes were read off it.
    pub(crate) fn was_read(
        &mut self,
        now: Instant,
        window: &mut Window,
        trip: std::time::Duration,
        len: u64,
    ) {
        self.expected.read(window, len);
        if let Some(raw) = &mut self.raw {
            raw.read(now, trip, len);
        }
    }
}

/// How far this side's direction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SendEnd {
    /// It waits for the peer's limit; then this is to be done.
    Waiting(After),
    /// More may be written.
    Open,
    /// Ends after what is queued.
    Finishing,
    /// The end or a reset is on its way.
    Over,
}

/// What is to be done with a stream once it is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    Write,
    Finish,
    Reset(u32),
}

/// This side's direction.
#[derive(Debug)]
pub(crate) struct SendHalf {
    pub(crate) end: SendEnd,
    pub(crate) class: Class,
    pub(crate) queue: Rope,     // written, and not yet taken by what is below
    pub(crate) scheduled: bool, // it waits for its turn in the outbox
}

impl SendHalf {
    pub(crate) fn new(end: SendEnd, class: Class) -> Self {
        Self { end, class, queue: Rope::new(), scheduled: false }
    }

    /// Notes an end for a stream that waits. Whether it waits.
    pub(crate) fn defer(&mut self, after: After) -> bool {
        let SendEnd::Waiting(before) = self.end else { return false };
        if before == After::Write || matches!(after, After::Reset(_)) {
            self.end = SendEnd::Waiting(after);
        }
        true
    }

    /// A stream that waited is open now; what is to be done with it.
    pub(crate) fn opened(&mut self) -> After {
        let SendEnd::Waiting(after) = self.end else { return After::Write };
        self.end = SendEnd::Open;
        after
    }

    /// Whether its writer may still write, now or once the stream is open.
    pub(crate) fn may_be_written(&self) -> bool {
        matches!(self.end, SendEnd::Open | SendEnd::Waiting(_))
    }

    /// Whether it has its turn to come: bytes, or an end behind them.
    pub(crate) fn has_output(&self) -> bool {
        !self.queue.is_empty() || self.end == SendEnd::Finishing
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn bytes_come_before_the_end_and_only_the_end_without_room() {
        let mut half = ReceiveHalf::default();
        assert!(half.notify() && !half.notify(), "told once");
        half.push(Chunk::whole(Bytes::from_static(b"abc")));
        half.end = ReceiveEnd::Ended;
        assert!(matches!(half.next(0), Next::NoRoom));
        assert!(matches!(half.next(2), Next::Bytes(chunk) if *chunk == *b"ab"));
        assert_eq!(half.unread(), 1);
        assert!(matches!(half.next(9), Next::Bytes(chunk) if *chunk == *b"c"));
        assert!(matches!(half.next(0), Next::End));
        half.end = ReceiveEnd::Open;
        assert!(matches!(half.next(9), Next::Nothing));
        assert!(half.notify(), "told again of what comes after the reader saw the end of what was there");
        half.end = ReceiveEnd::Stalled(7);
        assert!(matches!(half.next(9), Next::Stalled(7)));
        assert!(matches!(half.next(9), Next::Closed), "until the peer ends");
    }

    #[test]
    fn a_reset_of_a_stream_that_waits_goes_before_its_end() {
        let mut half = SendHalf::new(SendEnd::Waiting(After::Write), Class::Pool);
        assert!(half.defer(After::Finish) && half.defer(After::Reset(3)) && half.defer(After::Finish));
        assert_eq!((half.opened(), half.end), (After::Reset(3), SendEnd::Open));
        assert!(!half.defer(After::Finish), "it does not wait any more");
    }
}
