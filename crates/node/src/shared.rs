//! What all handles of one node share, and the lease that stops the node when the last of them is dropped.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use weir_base::identity::PeerId;
use weir_base::multiaddr::Multiaddr;
use weir_base::{Instant, ProtocolId};
use weir_pull::ChannelId;

use crate::channel::Declared;
use crate::config::Mailboxes;
use crate::core::{EncodedCandidate, EncodedInbound, EncodedRequest, EncodedValue, EncodedWithdrawal, Op};
use crate::error::Stopped;
use crate::event::Event;
use crate::host::Host;
use crate::mailbox::{Inbox, Listed, Outbox, Pending, Promise, lock, promise};
use crate::stream::{NewStream, Pipe};

/// What a node does by itself when its last handle is dropped: goodbye, and a flush of at most this long.
pub(crate) const LAST_WORDS: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) peer_id: PeerId,
    pub(crate) inbox: Inbox,
    pub(crate) listed: Arc<Listed<Arc<Pipe>>>, // raw streams with something to do
    pub(crate) limits: Mailboxes,
    pub(crate) channels: BTreeMap<ChannelId, Channel>,
    pub(crate) protocols: BTreeMap<ProtocolId, Named>, // other people's, by the numbers of their names
    pub(crate) addresses: Vec<Multiaddr>,
    pub(crate) listeners: Mutex<Vec<Arc<Outbox<Event>>>>,
    pub(crate) numbers: AtomicU64,
}

/// A declared channel and its mailboxes.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) declared: Declared,
    pub(crate) mail: Mail,
}

/// The mailboxes of a channel, by shape.
#[derive(Debug)]
pub(crate) enum Mail {
    /// Items to decide on.
    Pool(Arc<Outbox<EncodedCandidate>>),
    /// Values to decide on, and values taken back.
    Tip { received: Arc<Outbox<EncodedValue>>, withdrawn: Arc<Outbox<EncodedWithdrawal>> },
    /// Requests to answer, where this node serves the method.
    Call(Option<Arc<Outbox<EncodedRequest>>>),
    /// Streams that peers opened.
    Raw(Arc<Outbox<NewStream>>),
}

/// One name of a protocol of other people's, and the mailboxes of the protocol.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) name: &'static str,
    pub(crate) mail: NamedMail,
}

/// The mailboxes of a protocol of other people's, by shape.
#[derive(Clone, Debug)]
pub(crate) enum NamedMail {
    /// Streams that peers opened.
    Streams(Arc<Outbox<NewStream>>),
    /// Requests to answer, where this node serves the protocol.
    Requests(Option<Arc<Outbox<EncodedInbound>>>),
}

impl Shared {
    /// The host.
    pub(crate) fn host(&self) -> &dyn Host {
        self.inbox.bell().host()
    }

    /// The host's clock.
    pub(crate) fn now(&self) -> Instant {
        self.host().now()
    }

    /// A number no other call of this node returns.
    pub(crate) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// The mailboxes of a channel.
    pub(crate) fn mail(&self, id: ChannelId) -> Option<&Mail> {
        self.channels.get(&id).map(|channel| &channel.mail)
    }

    /// What a raw stream speaks, and the mailbox of its like.
    pub(crate) fn streams(&self, protocol: ProtocolId) -> Option<(&'static str, &Arc<Outbox<NewStream>>)> {
        if let Some(Named { name, mail: NamedMail::Streams(streams) }) = self.protocols.get(&protocol) {
            return Some((name, streams));
        }
        let channel = self.channels.get(&ChannelId::of(protocol)?.0)?;
        let Mail::Raw(streams) = &channel.mail else { return None };
        Some((channel.declared.name, streams))
    }

    /// What other people call the protocol of this number; empty where this node has none such.
    pub(crate) fn name_of(&self, protocol: ProtocolId) -> &'static str {
        self.protocols.get(&protocol).map_or("", |named| named.name)
    }

    /// All mailboxes end after what is in them; no command is taken any more.
    pub(crate) fn close(&self) {
        self.inbox.close();
        self.listed.close();
        let mut wakers = Vec::new();
        for channel in self.channels.values() {
            match &channel.mail {
                Mail::Pool(candidates) => candidates.close(&mut wakers),
                Mail::Tip { received, withdrawn } => {
                    received.close(&mut wakers);
                    withdrawn.close(&mut wakers);
                }
                Mail::Call(requests) => {
                    if let Some(requests) = requests {
                        requests.close(&mut wakers);
                    }
                }
                Mail::Raw(streams) => {
                    streams.close(&mut wakers);
                    streams.clear(); // their streams have ended with the node
                }
            }
        }
        for named in self.protocols.values() {
            match &named.mail {
                NamedMail::Streams(streams) => {
                    streams.close(&mut wakers);
                    streams.clear();
                }
                NamedMail::Requests(Some(requests)) => requests.close(&mut wakers),
                NamedMail::Requests(None) => {}
            }
        }
        lock(&self.listeners).drain(..).for_each(|listener| listener.close(&mut wakers));
        wakers.into_iter().for_each(std::task::Waker::wake);
    }
}

/// Held by every handle. When the last is dropped, the node says goodbye and stops.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) shared: Arc<Shared>,
}

impl Lease {
    /// Sends an op that is answered, waiting for room.
    pub(crate) async fn ask<T>(&self, op: impl FnOnce(Promise<T>) -> Op) -> Result<T, Stopped> {
        let (promise, pending): (_, Pending<T>) = promise();
        if !self.shared.inbox.room(op(promise)).await {
            return Err(Stopped);
        }
        pending.await.ok_or(Stopped)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // One that has ended has freed everything: there is nothing to wait for.
        if self.shared.inbox.post(Op::Shutdown { deadline: LAST_WORDS, report: None }) {
            self.shared.host().join();
        }
    }
}
