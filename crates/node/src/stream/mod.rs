//! Raw streams: bytes of the application's own, with backpressure from end to end.
//!
//! [`Streams`] open and accept; both give a [`RawStream`]. It implements futures-io's `AsyncRead` and `AsyncWrite`; [`RawStream::blocking`] gives `std::io::Read` and
//! `Write`; [`RawReader::read_chunk`] and [`RawWriter::write_bytes`] move bytes without a copy.
//!
//! Small writes are cheap: they gather in segments, and the network thread is rung once per batch, not per write. What a
//! reader leaves unread stops the writer at the other end, on this stream alone. Bounds: `mailboxes.stream_send` and
//! `mailboxes.stream_receive` in [`Config`](crate::Config), and the link's windows between them.

mod blocking;
mod handle;
mod new_stream;
mod pipe;
mod streams;
#[cfg(test)]
mod tests;

pub use blocking::BlockingStream;
pub use handle::{RawReader, RawStream, RawWriter};
pub(crate) use new_stream::NewStream;
pub(crate) use pipe::{Drained, Ending, Pipe};
pub use streams::Streams;
