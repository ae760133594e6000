//! What comes in on a link over QUIC, beside its streams: credit, buffers, raw readers, heads that are not whole.

use std::time::Duration;

use quinn_proto::ReadError;
use weir_base::{Chunk, Deadlines, Instant, Numbered};

use super::connection::Connection;
use super::credit::Credit;
use super::pins::{Buffer, Pins};
use super::stream::{Stream, code32, id};
use crate::streams::{ReceiveEnd, ReceiveHalf};
use crate::window::Window;

/// The shortest time that counts as a round trip for a raw reader: below it, what it took is the host's rhythm.
const TRIP_MIN: Duration = Duration::from_millis(10);

/// What raw streams want is rounded up to this, in bytes, so that the window moves in steps.
const STEP: u64 = 64 * 1024;

/// What comes in.
#[derive(Debug)]
pub(crate) struct Receiving {
    pub(super) credit: Credit,
    pub(super) bytes: u64,            // of datagrams
    pub(super) pinned: usize,         // the largest receive buffer
    pins: Pins,                       // receive buffers that may be alive
    pub(super) raws: Vec<u64>,        // raw streams
    pub(super) heads: Deadlines<u64>, // streams of the peer whose head has not come whole, <= its stream limit
}

/// What QUIC had of a stream.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fetched {
    pub(super) any: bool, // there were bytes, taken or not
    pub(super) all: bool, // nothing is left, and it has not ended
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

    /// Takes at most `most` bytes of a stream from QUIC, in one go.
    pub(super) fn fetch(
        &mut self,
        now: Instant,
        conn: &mut Connection,
        window: &mut Window,
        (stream, receive): (u64, &mut ReceiveHalf),
        most: usize,
    ) -> Fetched {
        let mut quic = conn.quic.recv_stream(id(stream));
        let Ok(mut chunks) = quic.read(true) else {
            receive.end = ReceiveEnd::Over;
            return Fetched::default();
        };
        let (mut total, mut fetched) = (0, Fetched::default());
        loop {
            match chunks.next(most - total) {
                Ok(Some(chunk)) => {
                    fetched.any = true;
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
                    fetched.all = true;
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
        self.credit.returned(conn, now, window, len);
        fetched
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
