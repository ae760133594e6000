//! What comes in on a link over QUIC, beside its streams: credit, buffers, raw readers, heads that are not whole.

use std::time::Duration;

use quinn_proto::ReadError;
use weir_base::{Chunk, Deadlines, Fault, Instant, Numbered, ProtocolId};

use super::connection::Connection;
use super::credit::Credit;
use super::phase::Phase;
use super::pins::{Buffer, Pins};
use super::stream::{Head, Stream, code32, id};
use crate::carrier::Scope;
use crate::streams::ReceiveEnd;
use crate::window::Window;

/// The shortest time that counts as a round trip for a raw reader: below it, what it took is the host's rhythm.
const TRIP_MIN: Duration = Duration::from_millis(10);

/// What raw streams want is rounded up to this, in bytes, so that the window moves in steps.
const STEP: u64 = 64 * 1024;

/// How long the head of a stream may take to come whole, from its first byte on.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// The first bytes of a stream do not name a protocol.
pub(crate) const BAD_HEAD: Fault = Fault::misbehaved("stream begins with no protocol number");

/// What has come of the head of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeadRead {
    /// All of it: the stream speaks this.
    Whole(ProtocolId),
    /// Not all of it.
    Partly,
    /// The stream ended before it said what it is.
    Ended,
}

/// What comes in.
#[derive(Debug)]
pub(crate) struct Receiving {
    pub(super) credit: Credit,
    pub(super) bytes: u64,    // of datagrams
    pub(super) pinned: usize, // the largest receive buffer
    pins: Pins,               // receive buffers that may be alive
    raws: Vec<u64>,           // raw streams
    heads: Deadlines<u64>,    // streams of the peer whose head has not come whole, <= its stream limit
}

impl Receiving {
    pub(super) fn new(base_window: u64) -> Self {
        Self {
            credit: Credit::new(base_window),
            bytes: 0,
            pinned: 0,
            pins: Pins::default(),
            raws: Vec::new(),
            heads: Deadlines::default(),
        }
    }

    /// A datagram of `len` bytes has come in a buffer of `pinned`.
    pub(super) fn came(&mut self, len: usize, pinned: usize) {
        self.bytes += len as u64;
        self.pinned = self.pinned.max(pinned);
    }

    /// Reads the head of a stream of the peer's, byte by byte, as far as it is there. One that has begun has a deadline, from when the
    /// link is up.
    pub(super) fn read_head(
        &mut self,
        conn: &mut Connection,
        scope: &mut Scope<'_>,
        (stream, entry): (u64, &mut Stream),
    ) -> Result<HeadRead, Fault> {
        let mut taken = 0;
        let mut read = HeadRead::Partly;
        if let Some(partial) = &mut entry.head
            && let Ok(mut chunks) = conn.quic.recv_stream(id(stream)).read(true)
        {
            while read == HeadRead::Partly {
                match chunks.next(1) {
                    Ok(Some(chunk)) => {
                        taken += 1;
                        let byte = chunk.bytes.first().copied().unwrap_or_default();
                        let whole = partial.push(byte).map_err(|_| BAD_HEAD)?;
                        read = whole.map_or(HeadRead::Partly, HeadRead::Whole);
                    }
                    Err(ReadError::Blocked) => break,
                    Ok(None) | Err(ReadError::Reset(_)) => read = HeadRead::Ended,
                }
            }
            let _ = chunks.finalize();
        }
        conn.set_receive_windows(self.credit.returned(scope.now, scope.window, taken));
        if read == HeadRead::Partly {
            // One of which nothing has come may have been opened by what overtook it.
            let begun = entry.head.is_some_and(Head::has_begun);
            if begun && conn.phase == Phase::Up && self.heads.get(stream).is_none() {
                self.heads.set(stream, Some(scope.now + HEAD_TIMEOUT));
            }
        } else {
            self.heads.set(stream, None);
        }
        if matches!(read, HeadRead::Whole(_)) {
            entry.head = None;
        }
        Ok(read)
    }

    /// The next stream whose head took too long.
    pub(super) fn pop_late_head(&mut self, now: Instant) -> Option<u64> {
        self.heads.pop_due(now)
    }

    /// When the next head must be whole.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.heads.next().map(|(due, _)| due)
    }

    /// No stream is read any more.
    pub(super) fn forget_heads(&mut self) {
        self.heads = Deadlines::default();
    }

    /// Takes at most `most` bytes of a stream from QUIC, in one go. Returns whether there were any, taken or not.
    pub(super) fn fetch(
        &mut self,
        now: Instant,
        conn: &mut Connection,
        window: &mut Window,
        (stream, entry): (u64, &mut Stream),
        most: usize,
    ) -> bool {
        let receive = &mut entry.receive;
        let mut quic = conn.quic.recv_stream(id(stream));
        let Ok(mut chunks) = quic.read(true) else {
            receive.end = ReceiveEnd::Over;
            return false;
        };
        let (mut total, mut waits) = (0, false);
        loop {
            match chunks.next(most - total) {
                Ok(Some(chunk)) => {
                    waits = true;
                    total += chunk.bytes.len();
                    if !chunk.bytes.is_empty() {
                        receive.push(Chunk::new(chunk.bytes, self.pinned));
                    }
                    if total >= most {
                        break;
                    }
                }
                Ok(None) => {
                    receive.end = ReceiveEnd::Ended;
                    break;
                }
                Err(ReadError::Reset(code)) => {
                    receive.end = ReceiveEnd::Reset(code32(code));
                    break;
                }
                Err(ReadError::Blocked) => {
                    entry.is_dry = true;
                    break;
                }
            }
        }
        let _ = chunks.finalize(); // what is to be sent is asked for when the link is settled
        let len = total as u64;
        if total > 0 {
            receive.expected.arrived(window);
        }
        receive.was_read(now, window, conn.quic.rtt().max(TRIP_MIN), len);
        conn.set_receive_windows(self.credit.returned(now, window, len));
        waits
    }

    /// The last datagram came in this buffer. Whether those that are alive are too large for the link's window.
    pub(super) fn keeps(&mut self, buffer: &Buffer) -> bool {
        self.pins.add(buffer);
        self.pins.exceed(self.credit.granted()) && self.keeps_too_much()
    }

    /// The same, after buffers were let go that nothing else holds.
    pub(super) fn keeps_too_much(&mut self) -> bool {
        self.pins.release();
        self.pins.exceed(self.credit.granted())
    }

    /// This stream's reader may stall.
    pub(super) fn mark_raw(&mut self, (stream, entry): (u64, &mut Stream)) {
        if entry.receive.raw.is_none() {
            entry.drained_at = self.bytes;
            entry.receive.raw = Some(Box::default());
            self.raws.push(stream);
        }
    }

    /// A stream is read no more: if it is a raw one it needs nothing of the window.
    pub(super) fn forget_raw(&mut self, window: &mut Window, (stream, entry): (u64, &mut Stream)) {
        if let Some(mut raw) = entry.receive.raw.take() {
            raw.count(window, 0, 0);
            self.raws.retain(|other| *other != stream);
        }
    }

    /// The latest raw stream whose reader leaves bytes unread.
    pub(super) fn stalled_raw(&self, streams: &Numbered<u64, Box<Stream>>) -> Option<u64> {
        let stalled = |stream: &&u64| streams.get(**stream).is_some_and(|entry| entry.receive.notified);
        self.raws.iter().rev().find(stalled).copied()
    }

    /// What raw streams need of the window now. None of them gets more than `most`.
    pub(super) fn count_raw(
        &mut self,
        streams: &mut Numbered<u64, Box<Stream>>,
        window: &mut Window,
        most: u64,
    ) {
        for stream in &self.raws {
            let Some(entry) = streams.get_mut(*stream) else { continue };
            let drained_at = entry.drained_at;
            let waits = entry.receive.notified && entry.receive.end == ReceiveEnd::Open;
            let Some(raw) = &mut entry.receive.raw else { continue };
            // Unread bytes are at most what came since the reader saw the end of what was there.
            let came = if waits { self.bytes.saturating_sub(drained_at) } else { 0 };
            let backlog = came.next_multiple_of(STEP).min(most);
            let growth = raw.growth(most).next_multiple_of(STEP).min(most);
            raw.count(window, backlog, growth);
        }
    }

    /// Lets go of all buffers, so that a test sees what else holds them.
    #[cfg(test)]
    pub(crate) fn forget_buffers(&mut self) {
        self.pins = Pins::default();
    }

    /// Bytes of the buffers that are alive.
    #[cfg(test)]
    pub(crate) fn pinned(&mut self) -> u64 {
        self.pins.release();
        self.pins.bytes()
    }
}
