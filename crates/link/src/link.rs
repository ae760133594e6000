//! One link, whatever its transport.

use std::time::Duration;

use weir_base::stream::{Class, Goodbye, LinkInfo, OpenError};
use weir_base::{Chunk, Instant, LinkId, ProtocolId, Rope};

/// What a read gave.
#[derive(Clone, Debug)]
pub enum Read {
    /// The next bytes, taken off the stream.
    Data(Chunk),
    /// The peer finished its direction, and all its bytes were read. The direction is gone.
    End,
    /// The peer broke off its direction. The direction is gone.
    Reset(u32),
    /// Nothing is there now; [`Event::Readable`](crate::Event::Readable) will tell.
    Blocked,
    /// There is no such stream, or its reading has ended.
    Closed,
}

/// What one link carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkStats {
    /// Bytes in, as the transport counts them (datagrams or frames).
    pub bytes_in: u64,
    /// Bytes out.
    pub bytes_out: u64,
    /// Datagrams in; 0 over frames.
    pub datagrams_in: u64,
    /// Datagrams out; 0 over frames.
    pub datagrams_out: u64,
    /// Packets of ours that were lost; 0 over frames.
    pub lost: u64,
    /// The path's MTU in bytes of UDP payload; 0 over frames.
    pub mtu: u16,
    /// Receive window now, in bytes: base and lent.
    pub window: u64,
}

/// One authenticated connection with byte streams.
pub struct Link {
    id: LinkId,
    info: LinkInfo,
}

impl Link {
    /// Its id.
    pub fn id(&self) -> LinkId {
        self.id
    }

    /// Who, how, from where.
    pub fn info(&self) -> &LinkInfo {
        &self.info
    }

    /// Opens a stream. It can be written at once; what the peer's stream limit holds back waits.
    ///
    /// # Errors
    /// [`OpenError`] where the link is closing or too many opens wait.
    pub fn open(&mut self, _now: Instant, _protocol: ProtocolId, _class: Class) -> Result<u64, OpenError> {
        Err(OpenError::Closed)
    }

    /// How what this side writes on a stream ranks, from now on.
    pub fn set_class(&mut self, _stream: u64, _class: Class) {}

    /// Takes at most `max` bytes off a stream.
    pub fn read(&mut self, _now: Instant, _stream: u64, _max: usize) -> Read {
        Read::Closed
    }

    /// Bytes that can be written on a stream now. Where it is 0, [`Event::Writable`](crate::Event::Writable) follows.
    pub fn room(&mut self, _stream: u64) -> usize {
        0
    }

    /// Writes all of `rope`, which is at most [`room`](Self::room); what is longer stays in it.
    pub fn write(&mut self, _now: Instant, _stream: u64, _rope: &mut Rope) {}

    /// This direction ends after what was written.
    pub fn finish(&mut self, _now: Instant, _stream: u64) {}

    /// This direction breaks off; what was not sent yet is dropped.
    pub fn reset(&mut self, _now: Instant, _stream: u64, _code: u32) {}

    /// The peer should send no more; what it sent is dropped.
    pub fn stop(&mut self, _now: Instant, _stream: u64, _code: u32) {}

    /// The owner of a stream has reserved memory for `bytes` more of it, counted from what was read: credit is lent from
    /// the node's budget when the first of them arrive. Replaces what was expected before.
    pub fn expect(&mut self, _stream: u64, _bytes: u64) {}

    /// This stream's reader may stall: what it leaves unread is lent on top of the base window.
    pub fn raw(&mut self, _stream: u64) {}

    /// The peer's hello is accepted: it may open as many streams as configured, instead of 32.
    pub fn greet(&mut self, _now: Instant) {}

    /// Says goodbye: no new streams; what was written is delivered; then the link ends, at the latest after `dial.linger`.
    pub fn close(&mut self, _now: Instant, _why: Goodbye) {}

    /// The round-trip time, estimated.
    pub fn rtt(&self) -> Duration {
        Duration::from_millis(100)
    }

    /// What it carried.
    pub fn stats(&self) -> LinkStats {
        LinkStats::default()
    }
}
