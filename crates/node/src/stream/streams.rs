//! [`Streams`]: raw streams of one channel, opened and accepted.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tracing::Instrument as _;
use weir_base::identity::PeerId;
use weir_pull::{ChannelId, Shape};

use super::{NewStream, RawStream};
use crate::channel::Raw;
use crate::channels::Declarations;
use crate::core::Op;
use crate::error::{OpenError, Stopped, WithinError};
use crate::mailbox::{Outbox, Queue};
use crate::network::Network;
use crate::shared::{Lease, Mail};

/// The raw streams of one channel. Several tasks may share them; each stream that a peer opens goes to one. They are a
/// [`Stream`](futures_core::Stream) of [`RawStream`]s.
#[derive(Clone, Debug)]
pub struct Streams {
    lease: Arc<Lease>,
    name: &'static str,
    channel: ChannelId,
    queue: Queue<NewStream>,
}

impl Streams {
    /// Adds the channel to a node; its handle.
    pub(crate) fn declare(raw: Raw, node: &mut Declarations) -> impl FnOnce(&Arc<Lease>) -> Self + use<> {
        let streams = Arc::new(Outbox::new(node.config.mailboxes.streams as usize));
        node.add(raw.declared, Shape::Raw, Mail::Raw(Arc::clone(&streams)));
        let (name, channel) = (raw.declared.name, ChannelId(raw.declared.id));
        move |lease| Self { lease: Arc::clone(lease), name, channel, queue: Queue::new(streams) }
    }

    /// Opens a stream to a connected peer; waits while the peer's limit is reached, at most `mailboxes.open_deadline` of the
    /// configuration.
    ///
    /// # Errors
    /// [`OpenError`]; its [`retry`](OpenError::retry) says whether to try again.
    pub async fn open(&self, peer: PeerId) -> Result<RawStream, OpenError> {
        let span = tracing::debug_span!("open", channel = self.name, %peer);
        let net = Network::of(&self.lease);
        let opened = net.ask(|reply| Op::Open(self.channel, peer, reply)).instrument(span);
        match net.within(self.lease.shared.limits.open_deadline, opened).await {
            Ok(Ok(opened)) => Ok(opened?.into_stream(&self.lease)),
            Ok(Err(Stopped)) | Err(WithinError::Stopped) => Err(OpenError::Stopped),
            Err(WithinError::Elapsed(_)) => Err(OpenError::Deadline),
        }
    }

    /// Waits for the next stream of a peer; `None` once the node has stopped. While `mailboxes.streams` of the configuration
    /// wait, a further one is broken off.
    pub async fn next(&self) -> Option<RawStream> {
        self.queue.next().await.map(|stream| stream.into_stream(&self.lease))
    }

    /// As [`next`](Self::next), on this thread. In a simulated cluster this drives the simulation.
    pub fn next_blocking(&self) -> Option<RawStream> {
        self.lease.shared.block_on(self.next())
    }

    /// The next stream, if one waits.
    pub fn try_next(&self) -> Option<RawStream> {
        self.queue.take().map(|stream| stream.into_stream(&self.lease))
    }
}

impl futures_core::Stream for Streams {
    type Item = RawStream;
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<RawStream>> {
        let this = self.get_mut();
        this.queue.poll_next(cx).map(|stream| stream.map(|stream| stream.into_stream(&this.lease)))
    }
}
