//! Tips: one current value per node, the newest wins.
//!
//! A node [`publish`](TipHandle::publish)es what it holds for the head; peers hear of it when they have processed the one
//! before, so a slow peer skips values instead of queueing them. What peers hold arrives as [`Received`]; a value is relayed
//! only once it was accepted, and the peer that sent it sends the next only once this one was decided.

use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use weir_base::identity::PeerId;
use weir_pull::{ChannelId, Shape, Ticket, tip};

use crate::channel::Tip;
use crate::core::{EncodedValue, EncodedWithdrawal, Op};
use crate::declarations::Declarations;
use crate::error::{PublishError, Stopped};
use crate::mailbox::{Outbox, Queue};
use crate::message::TipValue;
use crate::shared::{Lease, Mail, Shared};

/// A tip of one node. Cheap to clone; several tasks may share it, each value goes to one of them. It is a
/// [`Stream`](futures_core::Stream) of [`Received`] values.
///
/// ```
/// # use weir::{Bytes, Malformed, Message, SlotKey, Tip, TipValue};
/// # #[derive(Debug, PartialEq)]
/// # struct Head(u64);
/// # impl Message for Head {
/// #     fn encode(&self) -> Bytes { self.0.encode() }
/// #     fn decode(bytes: Bytes) -> Result<Self, Malformed> { u64::decode(bytes).map(Self) }
/// # }
/// # impl TipValue for Head {
/// #     fn slot(&self) -> SlotKey { SlotKey::of(&[&self.0.to_be_bytes()]) }
/// # }
/// # const HEAD: Tip<Head> = Tip::new(2, "head");
/// # use weir::testing::Cluster;
/// # use weir::{Keypair, Network, NetworkId};
/// # let cluster = Cluster::new(7);
/// # let describe = |n| Network::builder(Keypair::ed25519_from_seed([n; 32]), NetworkId([1; 32]));
/// # let (alice, node, hers) = cluster.add(describe(1).channels(HEAD))?;
/// # let (bob, _bobs_node, his) = cluster.add(describe(2).channels(HEAD).peers(alice.addresses()))?;
/// hers.publish(&Head(7))?; // alice's newest block
/// let received = his.next_blocking().ok_or("the node has stopped")?;
/// assert_eq!((received.value(), received.peer()), (&Head(7), alice.peer_id()));
/// received.accept(); // it is bob's now, and he relays it
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
pub struct TipHandle<T> {
    lease: Arc<Lease>,
    channel: ChannelId,
    max_value: u32,
    received: Queue<EncodedValue>,
    withdrawn: Arc<Outbox<EncodedWithdrawal>>,
    value: PhantomData<fn() -> T>,
}

impl<T> Clone for TipHandle<T> {
    fn clone(&self) -> Self {
        let Self { lease, channel, max_value, received, withdrawn, value } = self;
        let (lease, received, withdrawn) = (Arc::clone(lease), received.clone(), Arc::clone(withdrawn));
        Self { lease, channel: *channel, max_value: *max_value, received, withdrawn, value: *value }
    }
}

impl<T> std::fmt::Debug for TipHandle<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TipHandle").field("channel", &self.channel).finish_non_exhaustive()
    }
}

/// What the node weighs before it relays a value.
fn grounds<T: TipValue>(value: &T, unvalidated: u32) -> tip::Grounds {
    tip::Grounds { slot: value.slot(), unvalidated, begins: value.begins() }
}

impl<T: TipValue> TipHandle<T> {
    /// Adds the tip to a node; its handle. The mailbox holds what can come: one value per link, and its evidence.
    pub(crate) fn declare(
        declared: Tip<T>,
        node: &mut Declarations,
    ) -> impl FnOnce(&Arc<Lease>) -> Self + use<T> {
        let mut config = tip::Config { class: declared.declared.class, ..tip::Config::default() };
        config.max_value = declared.max_value.unwrap_or(config.max_value);
        let (channel, max_value) = (ChannelId(declared.declared.id), config.max_value);
        let links = node.config.node.admission.max_links as usize;
        let received = Arc::new(Outbox::new(links.saturating_mul(2)));
        let withdrawn = Arc::new(Outbox::new(links));
        let mail = Mail::Tip { received: Arc::clone(&received), withdrawn: Arc::clone(&withdrawn) };
        node.add(declared.declared, Shape::Tip(config), mail);
        move |lease| {
            let (lease, received) = (Arc::clone(lease), Queue::new(received));
            Self { lease, channel, max_value, received, withdrawn, value: PhantomData }
        }
    }

    /// This node's value from now on. It is encoded here and goes to peers as they ask. It never waits behind other commands
    /// of this node: it goes before them, and replaces a value that the node has not taken yet.
    ///
    /// # Errors
    /// [`PublishError::TooLarge`] above the channel's largest value, `Stopped`.
    pub fn publish(&self, value: &T) -> Result<(), PublishError> {
        self.publish_with(value, 0)
    }

    /// As [`publish`](Self::publish), for a value of which `unvalidated` ancestors have no validated body yet. With more
    /// than 2 it is held back until published again with fewer.
    pub fn publish_with(&self, value: &T, unvalidated: u32) -> Result<(), PublishError> {
        let op = self.publication(value, unvalidated)?;
        if self.lease.shared.inbox.post(op) { Ok(()) } else { Err(PublishError::Stopped) }
    }

    fn publication(&self, value: &T, unvalidated: u32) -> Result<Op, PublishError> {
        let bytes = value.encode();
        let max = self.max_value;
        if bytes.len() as u64 > u64::from(max) {
            return Err(PublishError::TooLarge { size: bytes.len(), max });
        }
        let grounds = grounds(value, unvalidated);
        Ok(Op::Tip(self.channel, tip::Command::Publish { value: bytes, grounds }))
    }

    /// The current value proved invalid or unobtainable: peers are told, and there is none until the next is published or
    /// accepted.
    ///
    /// ```
    /// # use weir::{Bytes, Malformed, Message, SlotKey, Tip, TipValue};
    /// # #[derive(Debug, PartialEq)]
    /// # struct Head(u64);
    /// # impl Message for Head {
    /// #     fn encode(&self) -> Bytes { self.0.encode() }
    /// #     fn decode(bytes: Bytes) -> Result<Self, Malformed> { u64::decode(bytes).map(Self) }
    /// # }
    /// # impl TipValue for Head {
    /// #     fn slot(&self) -> SlotKey { SlotKey::of(&[&self.0.to_be_bytes()]) }
    /// # }
    /// # const HEAD: Tip<Head> = Tip::new(2, "head");
    /// # use weir::testing::Cluster;
    /// # use weir::{Keypair, Network, NetworkId};
    /// # let cluster = Cluster::new(7);
    /// # let describe = |n| Network::builder(Keypair::ed25519_from_seed([n; 32]), NetworkId([1; 32]));
    /// # let (alice, node, hers) = cluster.add(describe(1).channels(HEAD))?;
    /// # let (bob, _bobs_node, his) = cluster.add(describe(2).channels(HEAD).peers(alice.addresses()))?;
    /// hers.publish(&Head(7))?;
    /// let received = his.next_blocking().ok_or("the node has stopped")?;
    /// received.accept();
    /// hers.withdraw()?; // the block proved wrong
    /// let (peer, value) = cluster.run_until(his.next_withdrawn()).ok_or("the node has stopped")?;
    /// assert_eq!((peer, value), (alice.peer_id(), Head(7)));
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    ///
    /// # Errors
    /// [`Stopped`].
    pub fn withdraw(&self) -> Result<(), Stopped> {
        let op = Op::Tip(self.channel, tip::Command::Withdraw);
        self.lease.shared.inbox.post(op).then_some(()).ok_or(Stopped)
    }

    /// Waits for the next value of a peer; `None` once the node has stopped.
    pub async fn next(&self) -> Option<Received<T>> {
        loop {
            let raw = self.received.next().await?;
            if let Some(received) = self.open(raw) {
                return Some(received);
            }
        }
    }

    /// As [`next`](Self::next), on this thread. In a simulated cluster this drives the simulation.
    pub fn next_blocking(&self) -> Option<Received<T>> {
        self.lease.shared.block_on(self.next())
    }

    /// The next value, if one waits.
    pub fn try_next(&self) -> Option<Received<T>> {
        loop {
            let raw = self.received.take()?;
            if let Some(received) = self.open(raw) {
                return Some(received);
            }
        }
    }

    /// Waits for the next value that a peer takes back, and who does; `None` once the node has stopped. Of those nobody
    /// waits for, only the latest are kept.
    pub async fn next_withdrawn(&self) -> Option<(PeerId, T)> {
        loop {
            let raw = self.withdrawn.next().await?;
            if let Ok(value) = T::decode(raw.value) {
                return Some((raw.peer, value));
            }
        }
    }

    fn open(&self, raw: EncodedValue) -> Option<Received<T>> {
        let shared = &self.lease.shared;
        let verdict = PendingVerdict {
            shared: Arc::clone(shared),
            channel: self.channel,
            ticket: raw.ticket,
            decided: false,
        };
        match decode::<T>(raw.value) {
            Ok(value) => Some(Received { value, peer: raw.peer, verdict }),
            Err(error) => {
                tracing::debug!(peer = %raw.peer, %error, "a tip cannot be decoded");
                verdict.decide(tip::Verdict::Reject);
                None
            }
        }
    }
}

fn decode<T: TipValue>(value: Bytes) -> Result<T, crate::Malformed> {
    T::decode(value)
}

impl<T: TipValue> futures_core::Stream for TipHandle<T> {
    type Item = Received<T>;
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Received<T>>> {
        let this = self.get_mut();
        loop {
            let Some(encoded) = ready!(this.received.poll_next(cx)) else { return Poll::Ready(None) };
            if let Some(received) = this.open(encoded) {
                return Poll::Ready(Some(received));
            }
        }
    }
}

/// A peer's value that waits for a verdict. Dropped without one, it is ignored.
#[derive(Debug)]
#[must_use = "a value that is not decided is ignored"]
pub struct Received<T> {
    value: T,
    peer: PeerId,
    verdict: PendingVerdict,
}

#[derive(Debug)]
struct PendingVerdict {
    shared: Arc<Shared>,
    channel: ChannelId,
    ticket: Ticket,
    decided: bool,
}

impl PendingVerdict {
    fn decide(mut self, verdict: tip::Verdict) {
        self.decided = true;
        self.post(verdict);
    }

    fn post(&self, verdict: tip::Verdict) {
        self.shared.inbox.post(Op::Tip(self.channel, tip::Command::Verdict { ticket: self.ticket, verdict }));
    }
}

impl Drop for PendingVerdict {
    fn drop(&mut self) {
        if !self.decided {
            self.post(tip::Verdict::Ignore);
        }
    }
}

impl<T: TipValue> Received<T> {
    /// The value.
    pub fn value(&self) -> &T {
        &self.value
    }

    /// Who sent it: it holds the value, so it can be asked for the body.
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// Better than the current one: it becomes this node's tip and is relayed.
    pub fn accept(self) {
        self.accept_with(0);
    }

    /// As [`accept`](Self::accept), for a value of which `unvalidated` ancestors have no validated body yet. With more
    /// than 2 it is held back until published again with fewer.
    pub fn accept_with(self, unvalidated: u32) {
        let grounds = grounds(&self.value, unvalidated);
        self.verdict.decide(tip::Verdict::Adopt(grounds));
    }

    /// Valid, and not better: relayed only where it is the second value of its slot key, as evidence.
    pub fn evidence(self) {
        let grounds = grounds(&self.value, 0);
        self.verdict.decide(tip::Verdict::Evidence(grounds));
    }

    /// Not better, nobody's fault; not relayed.
    pub fn ignore(self) {
        self.verdict.decide(tip::Verdict::Ignore);
    }

    /// Wrong whatever the state: the peer's fault (*invalid*).
    pub fn reject(self) {
        self.verdict.decide(tip::Verdict::Reject);
    }
}
