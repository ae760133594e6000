//! [`Node`]: what its one owner does with a node.

use std::any::TypeId;
use std::sync::Arc;
use std::time::Duration;

use weir_pull::ChannelId;

use crate::call::Requests;
use crate::channel::{Method, Raw};
use crate::core::Op;
use crate::error::ChannelError;
use crate::mailbox::{Outbox, promise};
use crate::message::Message;
use crate::network::Network;
use crate::shared::{Lease, Mail};
use crate::stream::{NewStream, RawStream};

/// The owner's end of a node: it answers, accepts streams, and stops the node.
#[derive(Debug)]
pub struct Node {
    lease: Arc<Lease>,
}

/// What came of a shutdown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShutdownReport {
    /// Links that delivered all they had, and were closed.
    pub closed: u32,
    /// Links that were lost meanwhile, or still had something to deliver at the deadline.
    pub unfinished: u32,
}

impl Node {
    pub(crate) fn new(lease: Arc<Lease>) -> Self {
        Self { lease }
    }

    /// A handle to the network.
    pub fn network(&self) -> Network {
        Network::of(&self.lease)
    }

    /// The requests for a method that this node serves.
    ///
    /// # Errors
    /// [`ChannelError`]: the builder was not told of it with [`serve`](crate::Builder::serve).
    pub fn requests<Req: Message, Resp: Message>(
        &self,
        method: &Method<Req, Resp>,
    ) -> Result<Requests<Req, Resp>, ChannelError> {
        Requests::new(&self.lease, method)
    }

    /// The raw streams that peers open on a channel.
    ///
    /// # Errors
    /// [`ChannelError`]: the builder was not told of it.
    pub fn streams(&self, raw: &Raw) -> Result<Streams, ChannelError> {
        self.lease.shared.channel(&raw.declared, TypeId::of::<Raw>())?;
        Ok(Streams { lease: Arc::clone(&self.lease), channel: ChannelId(raw.declared.id) })
    }

    /// Says goodbye to all, delivers what was written, and stops, at the latest after `deadline`. All other handles end:
    /// their queues give what is in them, then nothing.
    pub async fn shutdown(self, deadline: Duration) -> ShutdownReport {
        let (report, pending) = promise();
        self.lease.shared.inbox.post(Op::Shutdown { deadline, report: Some(report) });
        let report = pending.await.unwrap_or_default();
        self.lease.shared.host().join();
        report
    }

    /// Stops at once, without goodbye or flush, as a crash would; ports are free when this returns. For tests.
    pub fn abort(self) {
        self.lease.shared.inbox.post(Op::Abort);
        self.lease.shared.host().join();
    }
}

/// The raw streams that peers open on one channel. Several tasks may share them.
#[derive(Clone, Debug)]
pub struct Streams {
    lease: Arc<Lease>,
    channel: ChannelId,
}

impl Streams {
    /// Waits for the next stream; `None` once the node has stopped. While `mailboxes.streams` of the configuration wait, a
    /// further one is broken off.
    pub async fn next(&self) -> Option<RawStream> {
        self.mailbox()?.next().await.map(|stream| stream.into_stream(&self.lease))
    }

    /// As [`next`](Self::next), on this thread. In a simulated cluster this drives the simulation.
    pub fn next_blocking(&self) -> Option<RawStream> {
        self.lease.shared.block_on(self.next())
    }

    /// The next stream, if one waits.
    pub fn try_next(&self) -> Option<RawStream> {
        self.mailbox()?.take().map(|stream| stream.into_stream(&self.lease))
    }

    fn mailbox(&self) -> Option<&Outbox<NewStream>> {
        match self.lease.shared.mail(self.channel) {
            Some(Mail::Raw(streams)) => Some(streams),
            _ => None,
        }
    }
}
