//! Pools: a set of items that all nodes should come to share.
//!
//! - What this node has to say it [`publish`](PoolHandle::publish)es; whoever wants it asks for it.
//! - What others have arrives as [`Candidate`]s, at most as many as were granted and not yet decided. Deciding gives the
//!   credit back: an application that is slow makes its own deliverers wait, and nobody else.
//! - The pool itself, with its bounds and its eviction, lives in the node. The application keeps what it needs and says
//!   [`remove`](PoolHandle::remove) when an item has become useless, [`reconsider`](PoolHandle::reconsider) when deferred
//!   items may have become valid.

use std::any::TypeId;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use weir_base::identity::PeerId;
use weir_pull::pool::Verdict;
use weir_pull::{ChannelId, Ticket};

use crate::channel::Pool;
use crate::core::{EncodedCandidate, Op, PoolOp};
use crate::error::{ChannelError, PublishError};
use crate::mailbox::{Busy, Outbox};
use crate::message::{ItemId, PoolItem};
use crate::network::Network;
use crate::shared::{Lease, Mail, Shared};

/// What a candidate dropped without a verdict is deferred for.
pub const DEFER_DROPPED: Duration = Duration::from_secs(10);

/// A pool of one node. Cheap to clone; several tasks may share it, each candidate goes to one of them.
pub struct PoolHandle<T> {
    lease: Arc<Lease>,
    channel: ChannelId,
    item: PhantomData<fn() -> T>,
}

impl<T> Clone for PoolHandle<T> {
    fn clone(&self) -> Self {
        Self { lease: Arc::clone(&self.lease), channel: self.channel, item: PhantomData }
    }
}

impl<T> std::fmt::Debug for PoolHandle<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PoolHandle").field("channel", &self.channel).finish_non_exhaustive()
    }
}

impl<T: PoolItem> PoolHandle<T> {
    pub(crate) fn new(lease: &Arc<Lease>, pool: &Pool<T>) -> Result<Self, ChannelError> {
        lease.shared.channel(&pool.declared, TypeId::of::<T>())?;
        Ok(Self { lease: Arc::clone(lease), channel: ChannelId(pool.declared.id), item: PhantomData })
    }

    /// Puts an item of this node's own into the pool. It is encoded here, and not checked by a verdict; peers fetch it when
    /// they ask. Where the pool is full of items that are wanted more it leaves at once, as
    /// [`Event::Evicted`](crate::Event::Evicted) tells.
    ///
    /// # Errors
    /// [`PublishError::Busy`] where the node's mailbox is full: nothing has happened, try again soon or use
    /// [`publish_wait`](Self::publish_wait). `TooLarge` above the channel's largest item, `Malformed` where the type refuses
    /// what it encoded, `Stopped`.
    pub fn publish(&self, item: &T) -> Result<ItemId, PublishError> {
        let (id, op) = self.insertion(item)?;
        match self.lease.shared.inbox.offer(op) {
            Ok(()) => Ok(id),
            Err(Busy::Full) => Err(PublishError::Busy),
            Err(Busy::Closed) => Err(PublishError::Stopped),
        }
    }

    /// As [`publish`](Self::publish), and waits for room in the mailbox, at most `mailboxes.publish_deadline_ms` of the
    /// configuration.
    ///
    /// # Errors
    /// As `publish`, with [`PublishError::Deadline`] in place of `Busy`.
    pub async fn publish_wait(&self, item: &T) -> Result<ItemId, PublishError> {
        let (id, op) = self.insertion(item)?;
        let shared = &self.lease.shared;
        let net = Network::of(&self.lease);
        match net.within(shared.limits.publish_deadline(), shared.inbox.room(op)).await {
            Ok(true) => Ok(id),
            Ok(false) => Err(PublishError::Stopped),
            Err(_) => Err(PublishError::Deadline),
        }
    }

    fn insertion(&self, item: &T) -> Result<(ItemId, Op), PublishError> {
        let bytes = item.encode();
        let max = match self.lease.shared.mail(self.channel) {
            Some(Mail::Pool { max_item, .. }) => *max_item,
            _ => return Err(PublishError::Stopped),
        };
        if bytes.len() as u64 > u64::from(max) {
            return Err(PublishError::TooLarge { size: bytes.len(), max });
        }
        T::summary_of(&bytes)?; // an item that its own type refuses would be everyone's fault of this node
        let id = ItemId(Sha256::digest(&bytes).into());
        Ok((id, Op::Pool(self.channel, PoolOp::Insert(bytes))))
    }

    /// Waits for the next item to decide on; `None` once the node has stopped. At most 1,024 are out at once without a
    /// verdict; the next comes after one of these was decided.
    pub async fn next(&self) -> Option<Candidate<T>> {
        loop {
            let raw = self.mailbox()?.next().await?;
            if let Some(candidate) = self.open(raw) {
                return Some(candidate);
            }
        }
    }

    /// As [`next`](Self::next), on this thread. In a simulated cluster this drives the simulation.
    pub fn next_blocking(&self) -> Option<Candidate<T>> {
        self.lease.shared.block_on(self.next())
    }

    /// The next item, if one waits.
    pub fn try_next(&self) -> Option<Candidate<T>> {
        loop {
            let raw = self.mailbox()?.take()?;
            if let Some(candidate) = self.open(raw) {
                return Some(candidate);
            }
        }
    }

    /// Items that wait to be taken.
    pub fn waiting(&self) -> usize {
        self.mailbox().map_or(0, Outbox::len)
    }

    /// Takes an item out of the pool: it is no longer offered, and not fetched again as long as its id is remembered (the
    /// latest 65,536 that were removed, rejected or ignored). An id that is not in the pool is remembered too.
    ///
    /// # Errors
    /// [`PublishError::Busy`] where the node's mailbox is full: nothing has happened; `Stopped`. So it is with the other
    /// commands of a pool.
    pub fn remove(&self, id: ItemId) -> Result<(), PublishError> {
        self.tell(PoolOp::Remove(id))
    }

    /// Stops asking for items; what was granted may still arrive. For a node that syncs.
    pub fn pause(&self) -> Result<(), PublishError> {
        self.tell(PoolOp::Pause(true))
    }

    /// Asks for items again.
    pub fn resume(&self) -> Result<(), PublishError> {
        self.tell(PoolOp::Pause(false))
    }

    /// Deferred items may have become valid: they come again now. At most 4,096 of 4 MiB in all are kept; of more, the peer that
    /// delivered most of them loses the last, and those that had offered them are asked again later.
    pub fn reconsider(&self) -> Result<(), PublishError> {
        self.tell(PoolOp::Reconsider)
    }

    /// Asks all peers to offer from the start of their pools: after a sync. Each is asked at most every 10 s.
    pub fn resync(&self) -> Result<(), PublishError> {
        self.tell(PoolOp::Resync)
    }

    /// Items of lower [priority](PoolItem::priority) are not asked for from now on; those in the pool stay. A lower floor
    /// than before asks all peers to offer from the start again. At first 0.
    pub fn set_floor(&self, priority: u64) -> Result<(), PublishError> {
        self.tell(PoolOp::Floor(priority))
    }

    fn tell(&self, op: PoolOp) -> Result<(), PublishError> {
        match self.lease.shared.inbox.offer(Op::Pool(self.channel, op)) {
            Ok(()) => Ok(()),
            Err(Busy::Full) => Err(PublishError::Busy),
            Err(Busy::Closed) => Err(PublishError::Stopped),
        }
    }

    fn mailbox(&self) -> Option<&Outbox<EncodedCandidate>> {
        match self.lease.shared.mail(self.channel) {
            Some(Mail::Pool { candidates, .. }) => Some(candidates),
            _ => None,
        }
    }

    /// Decodes; what cannot be decoded is rejected here, and the next one comes.
    fn open(&self, raw: EncodedCandidate) -> Option<Candidate<T>> {
        let shared = &self.lease.shared;
        let EncodedCandidate { ticket, peer, id, bytes } = raw;
        let verdict = Undecided { shared: Arc::clone(shared), channel: self.channel, ticket, decided: false };
        let size = bytes.len();
        let taken = Op::Pool(self.channel, PoolOp::Taken(ticket, shared.now()));
        if self.mailbox().is_some_and(|mailbox| mailbox.len() == 0) {
            shared.inbox.post(taken); // what was taken makes room for more
        } else {
            shared.inbox.post_quietly(taken); // nobody is woken for it: it says when it was
        }
        match T::decode(bytes) {
            Ok(item) => Some(Candidate { item, id, peer, size, verdict }),
            Err(error) => {
                tracing::debug!(%peer, %id, %error, "an item cannot be decoded");
                verdict.reject();
                None
            }
        }
    }
}

/// An item that waits for a verdict. Dropped without one, it is deferred for 10 s. So is one that was taken and not decided
/// within 10 s; a verdict after that counts for nothing.
#[derive(Debug)]
#[must_use = "an item that is not decided is deferred"]
pub struct Candidate<T> {
    item: T,
    id: ItemId,
    peer: PeerId,
    size: usize,
    verdict: Undecided,
}

impl<T> Candidate<T> {
    /// The item.
    pub fn item(&self) -> &T {
        &self.item
    }

    /// Its id: the SHA-256 of all its bytes.
    pub fn id(&self) -> ItemId {
        self.id
    }

    /// Who delivered it.
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// Its encoded size, in bytes.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Valid: it enters the pool and is offered on.
    pub fn accept(self) {
        self.verdict.accept();
    }

    /// Invalid whatever the state: the deliverer's fault (*invalid*). It is not asked for again as long as its id is
    /// remembered.
    pub fn reject(self) {
        self.verdict.reject();
    }

    /// Not wanted, nobody's fault. It is not asked for again as long as its id is remembered.
    pub fn ignore(self) {
        self.verdict.ignore();
    }

    /// Not now, nobody's fault: it comes again after `pause` (an hour at most), or on [`PoolHandle::reconsider`].
    pub fn defer(self, pause: Duration) {
        self.verdict.defer(pause);
    }

    /// The item, and the verdict that is still owed: to keep the one and pass on the other.
    pub fn into_parts(self) -> (T, Undecided) {
        (self.item, self.verdict)
    }
}

/// The verdict owed for a [`Candidate`]. Dropped, it defers for 10 s.
#[derive(Debug)]
#[must_use = "an item that is not decided is deferred"]
pub struct Undecided {
    shared: Arc<Shared>,
    channel: ChannelId,
    ticket: Ticket,
    decided: bool,
}

impl Undecided {
    /// See [`Candidate::accept`].
    pub fn accept(self) {
        self.decide(Verdict::Accept);
    }

    /// See [`Candidate::reject`].
    pub fn reject(self) {
        self.decide(Verdict::Reject);
    }

    /// See [`Candidate::ignore`].
    pub fn ignore(self) {
        self.decide(Verdict::Ignore);
    }

    /// See [`Candidate::defer`].
    pub fn defer(self, pause: Duration) {
        self.decide(Verdict::Defer(pause));
    }

    fn decide(mut self, verdict: Verdict) {
        self.decided = true;
        self.post(verdict);
    }

    fn post(&self, verdict: Verdict) {
        self.shared.inbox.post(Op::Pool(self.channel, PoolOp::Verdict(self.ticket, verdict)));
    }
}

impl Drop for Undecided {
    fn drop(&mut self) {
        if !self.decided {
            self.post(Verdict::Defer(DEFER_DROPPED));
        }
    }
}
