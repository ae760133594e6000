//! Receive buffers that the bytes of a connection keep alive.
//!
//! Received bytes are slices of the buffer that they came in, and a host hands in up to 64 datagrams joined in one. QUIC counts
//! the datagram for each piece that waits, not the buffer: a byte that nobody reads would hold 64 KiB. So each link knows its
//! buffers, and where they are too large for its window, datagrams are copied out of theirs before QUIC gets them.

use bytes::{Bytes, BytesMut};

/// Buffers of one link may be so many times its receive window, in bytes. Bulk that is read late needs a little more than one:
/// headers, and what of the last buffer belongs to others.
const WINDOWS: u64 = 4;

/// So many buffers of one link may be alive: a search through them stays short.
const BUFFERS_MAX: usize = 256;

/// A receive buffer of several datagrams.
pub(super) struct Buffer {
    handle: Bytes, // none of its bytes, but it keeps the buffer alive
    len: usize,
}

/// The buffers of one link.
#[derive(Debug, Default)]
pub(super) struct Pins {
    buffers: Vec<(Bytes, usize)>, // <= BUFFERS_MAX and one batch
    bytes: u64,
}

impl Buffer {
    /// The buffer of these datagrams; `None` where it holds about one alone, which QUIC counts itself.
    pub(super) fn of(datagrams: &mut BytesMut, stride: usize) -> Option<Self> {
        let len = datagrams.capacity();
        (len > stride.saturating_mul(2)).then(|| Self { handle: datagrams.split_to(0).freeze(), len })
    }

    /// A copy of one of its datagrams, which does not keep it alive.
    pub(super) fn copy(datagram: &BytesMut) -> BytesMut {
        BytesMut::from(&datagram[..])
    }
}

impl Pins {
    /// A datagram of this buffer came.
    pub(super) fn add(&mut self, buffer: &Buffer) {
        // Two in a row are mostly of one buffer.
        if self.buffers.last().is_none_or(|(last, _)| last.as_ptr() != buffer.handle.as_ptr()) {
            self.buffers.push((buffer.handle.clone(), buffer.len));
            self.bytes += buffer.len as u64;
        }
    }

    /// Lets go of buffers that nothing else holds.
    pub(super) fn release(&mut self) {
        if self.buffers.is_empty() {
            return;
        }
        self.buffers.retain(|(handle, len)| {
            let alive = !handle.is_unique();
            self.bytes -= if alive { 0 } else { *len as u64 };
            alive
        });
        if self.buffers.is_empty() {
            self.buffers = Vec::new(); // an idle link keeps no memory
        }
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether they are too large for a link with such a window. Some may have been let go since.
    pub(super) fn exceed(&self, window: u64) -> bool {
        self.bytes > window.saturating_mul(WINDOWS) || self.buffers.len() > BUFFERS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(count: usize) -> BytesMut {
        BytesMut::from(&vec![7; count * 1000][..])
    }

    #[test]
    fn a_buffer_counts_as_long_as_bytes_of_it_are_held() {
        let (mut pins, mut data) = (Pins::default(), batch(64));
        let buffer = Buffer::of(&mut data, 1000).unwrap();
        let held: Vec<Bytes> = (0..3).map(|_| data.split_to(1000).freeze().slice(5..6)).collect();
        (0..3).for_each(|_| pins.add(&buffer));
        drop((buffer, data));
        pins.release();
        assert_eq!(pins.bytes(), 64_000, "once, whole");
        drop(held);
        pins.release();
        assert_eq!(pins.bytes(), 0);
    }

    #[test]
    fn a_copy_keeps_no_buffer_and_one_datagram_alone_is_none() {
        let (mut pins, mut data) = (Pins::default(), batch(64));
        let buffer = Buffer::of(&mut data, 1000).unwrap();
        pins.add(&buffer);
        let copy = Buffer::copy(&data.split_to(1000));
        drop((buffer, data));
        pins.release();
        assert_eq!((pins.bytes(), copy.len()), (0, 1000));
        assert!(Buffer::of(&mut batch(1), 1000).is_none() && Buffer::of(&mut batch(2), 1000).is_none());
    }

    #[test]
    fn four_windows_and_256_buffers_are_the_most() {
        let mut pins = Pins::default();
        let mut buffers = Vec::new();
        for count in 1..=257 {
            let mut data = BytesMut::from(&[7; 300][..]);
            let buffer = Buffer::of(&mut data, 100).unwrap();
            pins.add(&buffer);
            buffers.push((buffer, data));
            assert_eq!(pins.exceed(1 << 20), count > 256);
            assert_eq!(pins.exceed(300), count > 4);
        }
    }
}
