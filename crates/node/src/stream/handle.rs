//! [`RawStream`] and its halves.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use weir_base::identity::PeerId;

use super::NewStream;
use super::pipe::{Ending, Pipe, Source, copy_out};
use crate::error::StreamError;
use crate::shared::Lease;

/// A byte stream to one peer, in both directions. It implements futures-io's `AsyncRead` and `AsyncWrite`;
/// [`blocking`](Self::blocking) gives `std::io::Read` and `Write`.
///
/// - Flow control is end to end: what the reader leaves unread stops the peer's writer, on this stream alone.
/// - Small writes are cheap: they gather in a buffer that the network thread empties as fast as the peer reads.
/// - Dropping the writer finishes the stream (written data is still delivered), dropping the reader stops the peer.
#[derive(Debug)]
pub struct RawStream {
    reader: RawReader,
    writer: RawWriter,
}

/// The receiving half of a [`RawStream`].
#[derive(Debug)]
pub struct RawReader {
    end: End,
    parts: VecDeque<Bytes>, // taken off the pipe, not yet read; at most its receive buffer
}

/// The sending half of a [`RawStream`].
#[derive(Debug)]
pub struct RawWriter {
    end: End,
}

#[derive(Clone, Debug)]
struct End {
    pipe: Arc<Pipe>,
    peer: PeerId,
    name: &'static str,
    lease: Arc<Lease>,
}

impl RawStream {
    /// The handle of a new stream.
    pub(super) fn new(stream: NewStream, lease: &Arc<Lease>) -> Self {
        let ((peer, name), pipe) = stream.take();
        let lease = Arc::clone(lease);
        let end = End { pipe, peer, name, lease };
        Self { reader: RawReader { end: end.clone(), parts: VecDeque::new() }, writer: RawWriter { end } }
    }

    /// Who is at the other end.
    pub fn peer(&self) -> PeerId {
        self.reader.end.peer
    }

    /// What it speaks: the name of the channel, or the name of the protocol that both sides agreed on.
    pub fn protocol(&self) -> &'static str {
        self.reader.end.name
    }

    /// The two halves, to be used by two tasks.
    ///
    /// ```
    /// # use weir::Raw;
    /// # const SNAPSHOT: Raw = Raw::new(9, "snapshot");
    /// # use weir::testing::Cluster;
    /// # use weir::{Keypair, Network, NetworkId};
    /// # let cluster = Cluster::new(7);
    /// # let describe = |n| Network::builder(Keypair::ed25519_from_seed([n; 32]), NetworkId([1; 32]));
    /// # let (alice, node, accepted) = cluster.add(describe(1).channels(SNAPSHOT))?;
    /// # let (bob, _bobs_node, snapshots) = cluster.add(describe(2).channels(SNAPSHOT).peers(alice.addresses()))?;
    /// # cluster.spawn(async move {
    /// #     while let Some(mut stream) = accepted.next().await {
    /// #         while let Ok(Some(bytes)) = stream.read_chunk().await {
    /// #             let _gone_meanwhile = stream.write_bytes(bytes).await;
    /// #         }
    /// #     }
    /// # });
    /// # cluster.run_until(bob.wait_for_peers(1))?;
    /// use weir::Bytes;
    ///
    /// let (mut reader, mut writer) = cluster.run_until(snapshots.open(alice.peer_id()))?.split();
    /// cluster.spawn(async move { writer.write_bytes(Bytes::from_static(b"block 7")).await }); // its end finishes the writer
    /// let mut heard = Vec::new();
    /// while let Some(chunk) = cluster.run_until(reader.read_chunk())? {
    ///     heard.extend_from_slice(&chunk);
    /// }
    /// assert_eq!(heard, b"block 7");
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    pub fn split(self) -> (RawReader, RawWriter) {
        (self.reader, self.writer)
    }

    /// What keeps the node up.
    pub(super) fn lease(&self) -> &Arc<Lease> {
        &self.reader.end.lease
    }

    /// See [`RawReader::read_chunk`].
    pub async fn read_chunk(&mut self) -> Result<Option<Bytes>, StreamError> {
        self.reader.read_chunk().await
    }

    /// See [`RawWriter::write_bytes`].
    pub async fn write_bytes(&mut self, bytes: Bytes) -> Result<(), StreamError> {
        self.writer.write_bytes(bytes).await
    }

    /// See [`RawWriter::finish`].
    pub fn finish(&mut self) {
        self.writer.finish();
    }

    /// See [`RawWriter::reset`].
    pub fn reset(self, code: u32) {
        self.writer.reset(code);
    }
}

impl RawReader {
    /// Who writes.
    pub fn peer(&self) -> PeerId {
        self.end.peer
    }

    /// The next bytes as they arrived, without a copy; `None` after the last. They are a slice of a receive buffer of up to
    /// 64 KiB: copy what is kept for long.
    ///
    /// # Errors
    /// [`StreamError::Reset`] where the peer broke off, [`StreamError::Gone`] where the link or the node did.
    pub async fn read_chunk(&mut self) -> Result<Option<Bytes>, StreamError> {
        poll_fn(|cx| self.poll_chunk(cx)).await
    }

    /// Polls for what [`read_chunk`](Self::read_chunk) waits for.
    pub fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StreamError>> {
        Poll::Ready(Ok(if ready!(self.poll_fill(cx))? { self.parts.pop_front() } else { None }))
    }

    /// Tells the peer to send no more, with a code of the application's. Dropping the reader does so with code 0.
    pub fn stop(self, code: u32) {
        self.end.pipe.stop(code);
    }

    /// Waits until there is something to read; false at the end.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, StreamError>> {
        if self.parts.is_empty() {
            match ready!(self.end.pipe.poll_source(cx))? {
                Source::Data(parts) => self.parts = parts,
                Source::End => return Poll::Ready(Ok(false)),
            }
        }
        Poll::Ready(Ok(true))
    }

    pub(super) fn poll_read_inner(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<Result<usize, StreamError>> {
        if buf.is_empty() || !ready!(self.poll_fill(cx))? {
            return Poll::Ready(Ok(0));
        }
        Poll::Ready(Ok(copy_out(&mut self.parts, buf)))
    }
}

impl RawWriter {
    /// Who reads.
    pub fn peer(&self) -> PeerId {
        self.end.peer
    }

    /// Sends `bytes` without a copy. Waits while the send buffer (`mailboxes.stream_send`) is full.
    ///
    /// # Errors
    /// [`StreamError::Stopped`] where the peer reads no more, [`StreamError::Finished`] after [`finish`](Self::finish),
    /// [`StreamError::Gone`] where the link or the node is gone.
    pub async fn write_bytes(&mut self, bytes: Bytes) -> Result<(), StreamError> {
        poll_fn(|cx| self.end.pipe.poll_write_bytes(cx, &bytes)).await
    }

    /// Ends this direction after what was written. Further writes fail.
    pub fn finish(&mut self) {
        self.end.pipe.end(Ending::Finish);
    }

    /// Breaks this direction off, with a code of the application's; what was not sent yet is dropped.
    pub fn reset(self, code: u32) {
        self.end.pipe.end(Ending::Reset(code));
    }

    pub(super) fn poll_write_inner(
        &mut self,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<Result<usize, StreamError>> {
        self.end.pipe.poll_write(cx, buf)
    }
}

impl Drop for RawReader {
    fn drop(&mut self) {
        self.end.pipe.stop(0);
    }
}

impl Drop for RawWriter {
    fn drop(&mut self) {
        self.finish();
    }
}

impl futures_io::AsyncRead for RawReader {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll_read_inner(cx, buf).map_err(io::Error::from)
    }
}

impl futures_io::AsyncWrite for RawWriter {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll_write_inner(cx, buf).map_err(io::Error::from)
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(())) // the network thread holds nothing back
    }
    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().finish();
        Poll::Ready(Ok(()))
    }
}

impl futures_io::AsyncRead for RawStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().reader).poll_read(cx, buf)
    }
}

impl futures_io::AsyncWrite for RawStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().writer).poll_write(cx, buf)
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().writer).poll_flush(cx)
    }
    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().writer).poll_close(cx)
    }
}
