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
    /// use std::io::{Read as _, Write as _};
    ///
    /// let mut stream = cluster.run_until(snapshots.open(alice.peer_id()))?.blocking();
    /// stream.write_all(b"block 7")?;
    /// stream.finish();
    /// let mut heard = String::new();
    /// stream.read_to_string(&mut heard)?;
    /// assert_eq!(heard, "block 7");
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
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
