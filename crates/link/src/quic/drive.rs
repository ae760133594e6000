//! A link over QUIC: what its endpoint drives it by.

use quinn_proto::{ConnectionEvent, ConnectionHandle, VarInt};
use weir_base::Numbered;
use weir_base::stream::Goodbye;
use weir_base::{Deadlines, Instant};

use super::link::{Phase, QuicLink, id};
use super::pins::Buffer;
#[cfg(test)]
use super::pins::Pins;
use super::stream::ReceiveEnd;
use super::to_send;
use crate::event::{SocketId, Transmit};
use crate::window::Window;

/// What raw streams want is rounded up to this, in bytes, so that the window moves in steps.
const STEP: u64 = 64 * 1024;

impl QuicLink {
    pub(crate) fn socket(&self) -> SocketId {
        self.socket
    }

    pub(crate) fn handle(&self) -> ConnectionHandle {
        self.handle
    }

    /// Whether QUIC has forgotten the connection.
    pub(crate) fn is_drained(&self) -> bool {
        self.conn.is_drained()
    }

    pub(crate) fn remote(&self) -> std::net::SocketAddr {
        self.conn.remote_address()
    }

    /// A datagram of `len` bytes in a buffer of `pinned`.
    pub(crate) fn handle_datagram(&mut self, event: ConnectionEvent, len: usize, pinned: usize) {
        self.receiving.bytes += len as u64;
        self.receiving.pinned = self.receiving.pinned.max(pinned);
        self.conn.handle_event(event);
    }

    /// The last datagram came in this buffer. Whether those that are alive are too large for the link's window.
    pub(super) fn pins(&mut self, buffer: &Buffer) -> bool {
        self.receiving.pins.add(buffer);
        self.receiving.pins.exceed(self.receiving.credit.granted()) && self.pins_too_much()
    }

    /// The same, after buffers were let go that nothing else holds.
    pub(super) fn pins_too_much(&mut self) -> bool {
        self.receiving.pins.release();
        self.receiving.pins.exceed(self.receiving.credit.granted())
    }

    /// Lets go of all buffers, so that a test sees what else holds them.
    #[cfg(test)]
    pub(crate) fn forget_buffers(&mut self) {
        self.receiving.pins = Pins::default();
    }

    /// Bytes of the buffers that are alive.
    #[cfg(test)]
    pub(crate) fn pinned(&mut self) -> u64 {
        self.receiving.pins.release();
        self.receiving.pins.bytes()
    }

    /// The next datagrams, appended to `out`.
    pub(crate) fn poll_transmit(
        &mut self,
        now: Instant,
        segments: usize,
        out: &mut Vec<u8>,
    ) -> Option<Transmit> {
        let transmit = self.conn.poll_transmit(self.clock.to_quic(now), segments.max(1), out)?;
        Some(to_send(self.socket, &transmit))
    }

    /// What raw streams need of the window now.
    pub(crate) fn count_raw(&mut self, window: &mut Window) {
        let most = self.config.streams.window;
        for stream in &self.receiving.raws {
            let Some(entry) = self.streams.get_mut(*stream) else { continue };
            let waits = entry.receive.notified && entry.receive.end == ReceiveEnd::Open;
            let Some(raw) = &mut entry.receive.raw else { continue };
            // Unread bytes are at most what came since the reader saw the end of what was there.
            let came = if waits { self.receiving.bytes.saturating_sub(raw.drained_at) } else { 0 };
            let backlog = came.next_multiple_of(STEP).min(most);
            let growth = raw.use_.growth(most).next_multiple_of(STEP).min(most);
            raw.use_.count(window, backlog, growth);
        }
    }

    /// Opens a stream that begins with these bytes instead of a head.
    #[cfg(test)]
    pub(crate) fn open_bare(&mut self, bytes: &[u8]) {
        let stream = self.begin_bare(bytes);
        let _ = self.conn.send_stream(stream).finish();
    }

    /// As [`open_bare`](Self::open_bare), and leaves it open.
    #[cfg(test)]
    #[allow(clippy::unwrap_used)] // a test may
    pub(crate) fn begin_bare(&mut self, bytes: &[u8]) -> quinn_proto::StreamId {
        let stream = self.conn.streams().open(quinn_proto::Dir::Bi).unwrap();
        self.conn.send_stream(stream).write(bytes).unwrap();
        stream
    }

    /// Why the peer stopped a stream of this side, if it did.
    #[cfg(test)]
    pub(crate) fn stopped(&mut self, stream: quinn_proto::StreamId) -> Option<u64> {
        self.conn.send_stream(stream).stopped().ok().flatten().map(VarInt::into_inner)
    }

    /// The link is down: nothing is kept but what the connection's end needs.
    pub(crate) fn abandon(&mut self, now: Instant, why: Goodbye) {
        if !matches!(self.phase, Phase::Closed { .. }) {
            self.close_connection(now, why);
        }
        for stream in self.streams.keys_where(|_, entry| entry.receive.end == ReceiveEnd::Open) {
            let _ = self.conn.recv_stream(id(stream)).stop(VarInt::from_u32(0));
        }
        self.streams = Numbered::default();
        self.receiving.heads = Deadlines::default();
    }
}
