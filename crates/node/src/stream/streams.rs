//! [`Streams`]: raw streams of one channel, or of one protocol by name, opened and accepted.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tracing::Instrument as _;
use weir_base::ProtocolId;
use weir_base::identity::PeerId;
use weir_base::stream::Class;
use weir_pull::{ChannelId, Shape};
use weir_stack::NamedShape;

use super::{NewStream, RawStream};
use crate::channel::{Protocol, Raw};
use crate::core::Op;
use crate::declarations::Declarations;
use crate::error::{OpenError, Stopped, WithinError};
use crate::mailbox::{Outbox, Queue};
use crate::shared::{Lease, Mail, NamedMail};
use crate::time;

/// The raw streams of one channel, or of one protocol by name. Several tasks may share them; each stream that a peer opens goes to one. They are a
/// [`Stream`](futures_core::Stream) of [`RawStream`]s.
#[derive(Clone, Debug)]
pub struct Streams {
    lease: Arc<Lease>,
    name: &'static str,
    protocol: ProtocolId,
    class: Class,
    queue: Queue<NewStream>,
}

impl Streams {
    /// Adds the channel to a node; its handle.
    pub(crate) fn declare(raw: Raw, node: &mut Declarations) -> impl FnOnce(&Arc<Lease>) -> Self + use<> {
        let streams = Arc::new(Outbox::new(node.config.mailboxes.streams as usize));
        node.add(raw.declared, Shape::Raw, Mail::Raw(Arc::clone(&streams)));
        let (name, class) = (raw.declared.name, raw.declared.class);
        let protocol = ChannelId(raw.declared.id).protocol(0);
        move |lease| Self { lease: Arc::clone(lease), name, protocol, class, queue: Queue::new(streams) }
    }

    /// Adds a protocol of other people's to a node; its handle.
    pub(crate) fn declare_named(
        named: Protocol,
        node: &mut Declarations,
    ) -> impl FnOnce(&Arc<Lease>) -> Self + use<> {
        let streams = Arc::new(Outbox::new(node.config.mailboxes.streams as usize));
        let mail = NamedMail::Streams(Arc::clone(&streams));
        let protocol = node.add_named(named.names, named.served, (NamedShape::Stream, &mail));
        let name = named.names.first().copied().unwrap_or_default();
        move |lease| Self {
            lease: Arc::clone(lease),
            name,
            protocol,
            class: named.class,
            queue: Queue::new(streams),
        }
    }

    /// Opens a stream to a connected peer; waits while the peer's limit is reached, at most `mailboxes.open_deadline` of the
    /// configuration. By a protocol's only name it does not wait for the peer: where that does not speak it, reading and writing end
    /// in [`StreamError::Unsupported`](crate::error::StreamError::Unsupported). By several names it waits until the peer has taken one.
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
    /// let mut stream = cluster.run_until(snapshots.open(alice.peer_id()))?;
    /// cluster.run_until(stream.write_bytes(Bytes::from_static(b"block 7")))?;
    /// let answer = cluster.run_until(stream.read_chunk())?; // alice says what she hears
    /// assert_eq!(answer, Some(Bytes::from_static(b"block 7")));
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    ///
    /// # Errors
    /// [`OpenError`]; its [`retry`](OpenError::retry) says whether to try again.
    pub async fn open(&self, peer: PeerId) -> Result<RawStream, OpenError> {
        let span = tracing::debug_span!("open", channel = self.name, %peer);
        let shared = &self.lease.shared;
        let opened =
            self.lease.ask(|reply| Op::Open(self.protocol, self.class, peer, reply)).instrument(span);
        match time::within(shared, shared.limits.open_deadline, opened).await {
            Ok(Ok(opened)) => Ok(RawStream::new(opened?, &self.lease)),
            Ok(Err(Stopped)) | Err(WithinError::Stopped) => Err(OpenError::Stopped),
            Err(WithinError::Elapsed(_)) => Err(OpenError::Deadline),
        }
    }

    /// Waits for the next stream of a peer; `None` once the node has stopped. While `mailboxes.streams` of the configuration
    /// wait, a further one is broken off.
    pub async fn next(&self) -> Option<RawStream> {
        self.queue.next().await.map(|stream| RawStream::new(stream, &self.lease))
    }

    /// As [`next`](Self::next), on this thread. In a simulated cluster this drives the simulation.
    pub fn next_blocking(&self) -> Option<RawStream> {
        self.lease.shared.block_on(self.next())
    }

    /// The next stream, if one waits.
    pub fn try_next(&self) -> Option<RawStream> {
        self.queue.take().map(|stream| RawStream::new(stream, &self.lease))
    }
}

impl futures_core::Stream for Streams {
    type Item = RawStream;
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<RawStream>> {
        let this = self.get_mut();
        this.queue.poll_next(cx).map(|stream| stream.map(|stream| RawStream::new(stream, &this.lease)))
    }
}
