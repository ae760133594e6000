//! The buffers of one raw stream between a user thread and the network thread.
//!
//! No message per write: a write appends to a segment under a lock that is held for one copy, and lists the stream with the
//! network thread only if that does not know yet that there is something (`noted`). Small writes gather into segments of
//! [`SEGMENT`] bytes; the network thread takes whole segments by reference. Likewise downwards: chunks arrive by reference,
//! the reader takes all that is there at once and copies outside the lock.
//!
//! Bounds: `send` bytes wait to be taken by the network; `receive` bytes wait to be taken by the reader, who holds at most as
//! many again. Policy when full: the writer waits, the peer's window closes.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::{Buf as _, Bytes, BytesMut};
use weir_base::{Chunk, KIB, Rope};

use crate::error::StreamError;
use crate::mailbox::{Listed, lock};

/// Small writes are gathered into segments of this size: half a GSO batch of the largest datagrams.
pub(crate) const SEGMENT: usize = 32 * KIB;

/// How this side's writing ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// After what was written.
    Finish,
    /// At once, with a code.
    Reset(u32),
}

/// What the network side found when it took outgoing bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drained {
    /// There is more than was asked for.
    More,
    /// That was all for now: the next write rings.
    Empty,
    /// That was all for ever.
    Ended(Ending),
}

/// What the reader finds.
#[derive(Debug)]
pub(crate) enum Source {
    /// Bytes, in order.
    Data(VecDeque<Bytes>),
    /// The peer finished.
    End,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Pipe {
    /// The node's own number for the stream.
    pub(crate) id: u64,
    send: usize,
    receive: usize,
    listed: AtomicBool,
    listings: AtomicU64,
    list: Arc<Listed<Arc<Self>>>, // of the node's streams with something to do
    outgoing: Mutex<Outgoing>,
    incoming: Mutex<Incoming>,
}

#[derive(Debug, Default)]
struct Outgoing {
    parts: VecDeque<Bytes>,
    tail: BytesMut,
    len: usize, // parts and tail; <= send, but for one shared part larger than that
    noted: bool,
    ending: Option<Ending>,
    failed: Option<StreamError>,
    writer: Option<Waker>,
}

#[derive(Debug, Default)]
struct Incoming {
    queue: VecDeque<Bytes>,
    len: usize, // <= receive
    end: Option<Result<(), StreamError>>,
    stop: Option<u32>,
    starved: bool, // the network side has more, and no room for it
    reader: Option<Waker>,
}

impl Pipe {
    /// Empty buffers of at most `send` and `receive` bytes, which are listed there when the network thread has something to do.
    pub(crate) fn new(list: Arc<Listed<Arc<Self>>>, id: u64, send: usize, receive: usize) -> Self {
        Self {
            id,
            send: send.max(1),
            receive: receive.max(1),
            listed: AtomicBool::new(false),
            listings: AtomicU64::new(0),
            list,
            outgoing: Mutex::default(),
            incoming: Mutex::default(),
        }
    }

    fn list(self: &Arc<Self>) {
        if !self.listed.swap(true, Ordering::AcqRel) {
            self.listings.fetch_add(1, Ordering::Relaxed);
            self.list.list(Arc::clone(self));
        }
    }

    /// The network side picked the stream off its list.
    pub(crate) fn unlist(&self) {
        self.listed.store(false, Ordering::Release);
    }

    /// Messages this stream cost: how often it was listed.
    #[cfg(test)]
    pub(crate) fn listings(&self) -> u64 {
        self.listings.load(Ordering::Relaxed)
    }

    // ---- the writer ----

    /// Copies from `buf` what fits and says how much; waits while there is no room.
    pub(crate) fn poll_write(
        self: &Arc<Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<Result<usize, StreamError>> {
        let mut out = lock(&self.outgoing);
        match out.room(self.send, cx) {
            Poll::Ready(Ok(room)) => {
                let (now, _) = buf.split_at(room.min(buf.len()));
                out.append(now);
                self.note(out);
                Poll::Ready(Ok(now.len()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Takes `bytes` by reference, all of them, as soon as there is any room.
    pub(crate) fn poll_write_bytes(
        self: &Arc<Self>,
        cx: &mut Context<'_>,
        bytes: &Bytes,
    ) -> Poll<Result<(), StreamError>> {
        let mut out = lock(&self.outgoing);
        match out.room(self.send, cx) {
            Poll::Ready(Ok(_)) if bytes.is_empty() => Poll::Ready(Ok(())),
            Poll::Ready(Ok(_)) => {
                out.seal();
                out.len += bytes.len();
                out.parts.push_back(bytes.clone());
                self.note(out);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Ends this direction; the first ending counts, but a reset overtakes a finish.
    pub(crate) fn end(self: &Arc<Self>, ending: Ending) {
        let mut out = lock(&self.outgoing);
        match (out.ending, ending) {
            (None, _) | (Some(Ending::Finish), Ending::Reset(_)) => out.ending = Some(ending),
            _ => return,
        }
        if matches!(ending, Ending::Reset(_)) {
            out.drop_all();
        }
        self.note(out);
    }

    fn note(self: &Arc<Self>, mut out: std::sync::MutexGuard<'_, Outgoing>) {
        let noted = std::mem::replace(&mut out.noted, true);
        drop(out);
        if !noted {
            self.list();
        }
    }

    // ---- the network side, outgoing ----

    /// Moves at most `most` bytes to `rope`. A writer that waits is woken once half the buffer is free.
    pub(crate) fn drain(&self, most: usize, rope: &mut Rope, wakers: &mut Vec<Waker>) -> Drained {
        let mut out = lock(&self.outgoing);
        let before = rope.len();
        while let Some(left) = most.checked_sub(rope.len() - before).filter(|left| *left > 0) {
            let Some(part) = out.pop(left) else { break };
            rope.push(part);
        }
        if out.len <= self.send / 2 {
            wakers.extend(out.writer.take());
        }
        match out.ending {
            Some(ending) if out.len == 0 => Drained::Ended(ending),
            _ if out.len == 0 => {
                out.noted = false;
                Drained::Empty
            }
            _ => Drained::More,
        }
    }

    /// Whether nothing is left to be taken but an end.
    pub(crate) fn is_ending(&self) -> bool {
        let out = lock(&self.outgoing);
        out.len == 0 && out.ending.is_some()
    }

    /// Whether nothing is left to be taken, not even an end.
    pub(crate) fn is_drained(&self) -> bool {
        let out = lock(&self.outgoing);
        out.len == 0 && (!out.noted || out.failed.is_some())
    }

    /// The writing direction has ended by the peer, or with the link.
    pub(crate) fn fail_writes(&self, error: StreamError, wakers: &mut Vec<Waker>) {
        let mut out = lock(&self.outgoing);
        out.failed.get_or_insert(error);
        out.drop_all();
        wakers.extend(out.writer.take());
    }

    // ---- the network side, incoming ----

    /// Bytes the reader's buffer can take. With 0, the reader will list the stream once there is room.
    pub(crate) fn incoming_room(&self) -> usize {
        let mut incoming = lock(&self.incoming);
        let room = self.receive.saturating_sub(incoming.len);
        incoming.starved = room == 0;
        room
    }

    /// Hands chunks over, all of them, and wakes a reader that waits.
    pub(crate) fn give(&self, chunks: &mut Vec<Chunk>, wakers: &mut Vec<Waker>) {
        let mut incoming = lock(&self.incoming);
        if incoming.stop.is_some() {
            return chunks.clear();
        }
        for chunk in chunks.drain(..) {
            incoming.len += chunk.len();
            incoming.queue.push_back(chunk.into_bytes());
        }
        wakers.extend(incoming.reader.take());
    }

    /// The reading direction has ended.
    pub(crate) fn end_reads(&self, end: Result<(), StreamError>, wakers: &mut Vec<Waker>) {
        let mut incoming = lock(&self.incoming);
        incoming.end.get_or_insert(end);
        wakers.extend(incoming.reader.take());
    }

    /// The code with which the reader gave up, if it did.
    pub(crate) fn stopped(&self) -> Option<u32> {
        lock(&self.incoming).stop
    }

    // ---- the reader ----

    /// Takes all that has arrived.
    pub(crate) fn poll_source(self: &Arc<Self>, cx: &mut Context<'_>) -> Poll<Result<Source, StreamError>> {
        let mut incoming = lock(&self.incoming);
        if incoming.queue.is_empty() {
            return match incoming.end {
                Some(Ok(())) => Poll::Ready(Ok(Source::End)),
                Some(Err(error)) => Poll::Ready(Err(error)),
                None => {
                    incoming.reader = Some(cx.waker().clone());
                    Poll::Pending
                }
            };
        }
        let data = std::mem::take(&mut incoming.queue);
        incoming.len = 0;
        let starved = std::mem::take(&mut incoming.starved);
        drop(incoming);
        if starved {
            self.list();
        }
        Poll::Ready(Ok(Source::Data(data)))
    }

    /// The reader wants no more; what has arrived is dropped.
    pub(crate) fn stop(self: &Arc<Self>, code: u32) {
        let mut incoming = lock(&self.incoming);
        if incoming.end.is_some() || incoming.stop.is_some() {
            return;
        }
        incoming.stop = Some(code);
        incoming.queue.clear();
        incoming.len = 0;
        drop(incoming);
        self.list();
    }
}

impl Outgoing {
    fn room(&mut self, capacity: usize, cx: &Context<'_>) -> Poll<Result<usize, StreamError>> {
        if let Some(error) = self.failed {
            return Poll::Ready(Err(error));
        }
        if self.ending.is_some() {
            return Poll::Ready(Err(StreamError::Finished));
        }
        if self.len >= capacity {
            self.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(capacity - self.len))
    }

    fn append(&mut self, mut buf: &[u8]) {
        self.len += buf.len();
        while !buf.is_empty() {
            if self.tail.capacity() == self.tail.len() {
                self.seal();
                self.tail.reserve(SEGMENT);
            }
            let (now, later) = buf.split_at(buf.len().min(self.tail.capacity() - self.tail.len()));
            self.tail.extend_from_slice(now);
            buf = later;
        }
    }

    fn seal(&mut self) {
        if !self.tail.is_empty() {
            let segment = self.tail.split().freeze();
            self.parts.push_back(segment);
        }
    }

    fn pop(&mut self, most: usize) -> Option<Bytes> {
        if self.parts.is_empty() {
            self.seal();
        }
        let part = self.parts.front_mut()?;
        let taken = if part.len() > most { part.split_to(most) } else { self.parts.pop_front()? };
        self.len -= taken.len();
        Some(taken)
    }

    fn drop_all(&mut self) {
        self.parts.clear();
        self.tail.clear();
        self.len = 0;
    }
}

/// Copies from the front of `parts` into `buf`; how much.
pub(crate) fn copy_out(parts: &mut VecDeque<Bytes>, mut buf: &mut [u8]) -> usize {
    let mut copied = 0;
    while let Some(part) = parts.front_mut() {
        let len = part.len().min(buf.len());
        let (now, later) = std::mem::take(&mut buf).split_at_mut(len);
        part.copy_to_slice(now);
        copied += len;
        buf = later;
        if part.has_remaining() {
            break;
        }
        parts.pop_front();
    }
    copied
}
