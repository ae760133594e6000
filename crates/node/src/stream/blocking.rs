//! A raw stream for threads.

use std::io;
use std::pin::Pin;
use std::sync::Arc;

use super::RawStream;
use crate::shared::Lease;

/// A [`RawStream`] with `std::io::Read` and `Write`: the thread sleeps while it waits. On a cluster in virtual time, waiting
/// drives the simulation.
#[derive(Debug)]
pub struct BlockingStream {
    stream: RawStream,
    lease: Arc<Lease>,
}

impl RawStream {
    /// The same stream for threads: `std::io::Read` and `Write`.
    pub fn blocking(self) -> BlockingStream {
        let lease = Arc::clone(self.lease());
        BlockingStream { stream: self, lease }
    }
}

impl BlockingStream {
    /// Back to the stream for tasks.
    pub fn into_inner(self) -> RawStream {
        self.stream
    }

    /// Ends this direction after what was written.
    pub fn finish(&mut self) {
        self.stream.finish();
    }
}

impl io::Read for BlockingStream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let Self { stream, lease } = self;
        lease.shared.block_on(std::future::poll_fn(|cx| {
            futures_io::AsyncRead::poll_read(Pin::new(&mut *stream), cx, buf)
        }))
    }
}

impl io::Write for BlockingStream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let Self { stream, lease } = self;
        lease.shared.block_on(std::future::poll_fn(|cx| {
            futures_io::AsyncWrite::poll_write(Pin::new(&mut *stream), cx, buf)
        }))
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
