//! Pools: a set of items that all nodes should come to share.
//!
//! - What this node has to say it [`publish`](PoolHandle::publish)es; whoever wants it asks for it.
//! - What others have arrives as [`Candidate`]s, at most as many as were granted and not yet decided. Deciding gives the
//!   credit back: an application that is slow makes its own deliverers wait, and nobody else.
//! - The pool itself, with its bounds and its eviction, lives in the node. The application keeps what it needs and says
//!   [`settle`](PoolHandle::settle) when a block was added, [`remove`](PoolHandle::remove) when an item has become useless,
//!   [`reconsider`](PoolHandle::reconsider) when deferred items may have become valid.
//! - No command is lost without a word: each says `Busy` where the mailbox is full, and has a form that waits instead.

use std::any::type_name;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use weir_base::codec;
use weir_base::identity::PeerId;
pub use weir_pull::pool::MAX_BATCH;
use weir_pull::pool::{Item, Rules, Summary, Verdict};
use weir_pull::{ChannelId, Shape, Ticket, pool};

use crate::channel::Pool;
use crate::core::{EncodedCandidate, Op, PoolOp};
use crate::declarations::Declarations;
use crate::error::{CommandError, PublishError, WithinError};
use crate::mailbox::{Outbox, Queue};
use crate::message::{ItemId, Malformed, PoolItem};
use crate::shared::{Lease, Mail, Shared};
use crate::time;

/// What a candidate dropped without a verdict is deferred for.
pub const DEFER_DROPPED: Duration = Duration::from_secs(10);

/// A pool of one node. Cheap to clone; several tasks may share it, each candidate goes to one of them. It is a
/// [`Stream`](futures_core::Stream) of [`Candidate`]s.
///
/// ```
/// # use weir::Pool;
/// # const TXS: Pool<String> = Pool::new(4, "tx");
/// # use weir::testing::Cluster;
/// # use weir::{Keypair, Network, NetworkId};
/// # let cluster = Cluster::new(7);
/// # let describe = |n| Network::builder(Keypair::ed25519_from_seed([n; 32]), NetworkId([1; 32]));
/// # let (alice, node, hers) = cluster.add(describe(1).channels(TXS))?;
/// # let (bob, _bobs_node, his) = cluster.add(describe(2).channels(TXS).peers(alice.addresses()))?;
/// // `hers` is alice's handle, `his` is bob's.
/// hers.publish(&"alice pays bob".to_owned())?;
/// let candidate = his.next_blocking().ok_or("the node has stopped")?;
/// assert_eq!((candidate.item().as_str(), candidate.peer()), ("alice pays bob", alice.peer_id()));
/// candidate.accept(); // it is in his pool now, and offered to his other peers
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
pub struct PoolHandle<T> {
    lease: Arc<Lease>,
    channel: ChannelId,
    max_item: u32,
    candidates: Queue<EncodedCandidate>,
    item: PhantomData<fn() -> T>,
}

impl<T> Clone for PoolHandle<T> {
    fn clone(&self) -> Self {
        let Self { lease, channel, max_item, candidates, item } = self;
        let (lease, candidates) = (Arc::clone(lease), candidates.clone());
        Self { lease, channel: *channel, max_item: *max_item, candidates, item: *item }
    }
}

impl<T> std::fmt::Debug for PoolHandle<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PoolHandle").field("channel", &self.channel).finish_non_exhaustive()
    }
}

impl<T: PoolItem> PoolHandle<T> {
    /// Adds the pool to a node; its handle. The mailbox holds what the pool hands out without a verdict.
    pub(crate) fn declare(
        declared: Pool<T>,
        node: &mut Declarations,
    ) -> impl FnOnce(&Arc<Lease>) -> Self + use<T> {
        let mut config = pool::Config::new(Rules { summarize: summarize::<T>, judge: judge::<T> });
        let limits = declared.limits;
        config.class = declared.declared.class;
        config.max_item = limits.max_item.unwrap_or(config.max_item);
        config.max_items = limits.max_items.unwrap_or(config.max_items);
        config.max_bytes = limits.max_bytes.unwrap_or(config.max_bytes);
        config.offer_delay = limits.offer_delay.unwrap_or(config.offer_delay);
        config.checking = limits.candidates.unwrap_or(config.checking);
        config.deferred_bytes = config.deferred_bytes.max(u64::from(config.max_item));
        let (channel, max_item) = (ChannelId(declared.declared.id), config.max_item);
        let candidates = Arc::new(Outbox::new(config.checking as usize));
        node.add(declared.declared, Shape::Pool(config), Mail::Pool(Arc::clone(&candidates)));
        move |lease| {
            let (lease, candidates) = (Arc::clone(lease), Queue::new(candidates));
            Self { lease, channel, max_item, candidates, item: PhantomData }
        }
    }

    /// Puts an item of this node's own into the pool. It is encoded here, and not checked by a verdict; peers fetch it when
    /// they ask. A full pool takes it where it holds an item of lower [priority](PoolItem::priority), which is evicted for it;
    /// among equals those that are in stay. What finds no place is reported as [`Event::Evicted`](crate::Event::Evicted).
    ///
    /// ```
    /// # use weir::Pool;
    /// # const TXS: Pool<String> = Pool::new(4, "tx").max_item(20);
    /// # use weir::testing::Cluster;
    /// # use weir::{Keypair, Network, NetworkId};
    /// # let cluster = Cluster::new(7);
    /// # let describe = |n| Network::builder(Keypair::ed25519_from_seed([n; 32]), NetworkId([1; 32]));
    /// # let (alice, node, hers) = cluster.add(describe(1).channels(TXS))?;
    /// # let (bob, _bobs_node, his) = cluster.add(describe(2).channels(TXS).peers(alice.addresses()))?;
    /// use weir::PublishError;
    ///
    /// let id = hers.publish(&"alice pays bob".to_owned())?; // the SHA-256 of its bytes
    /// let long = hers.publish(&"alice pays bob, and carol".to_owned());
    /// assert_eq!(long, Err(PublishError::TooLarge { size: 25, max: 20 }));
    /// # let _ = id;
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    ///
    /// # Errors
    /// [`PublishError::Busy`] where the node's mailbox is full: nothing has happened, try again soon or use
    /// [`publish_wait`](Self::publish_wait). `TooLarge` above the channel's largest item, `Malformed` where the type refuses
    /// what it encoded, `Unwanted` where it has no priority here, `Stopped`.
    pub fn publish(&self, item: &T) -> Result<ItemId, PublishError> {
        let item = self.encode(item)?;
        let id = ItemId(item.id());
        self.offer(PoolOp::Publish(item))?;
        Ok(id)
    }

    /// As [`publish`](Self::publish), and waits for room in the mailbox, at most `mailboxes.publish_deadline` of the
    /// configuration.
    ///
    /// # Errors
    /// As `publish`, with [`PublishError::Deadline`] in place of `Busy`.
    pub async fn publish_wait(&self, item: &T) -> Result<ItemId, PublishError> {
        let item = self.encode(item)?;
        let id = ItemId(item.id());
        self.wait(PoolOp::Publish(item)).await?;
        Ok(id)
    }

    /// Publishes many items with one command; their ids, in the same order. Batches have places of their own in the mailbox
    /// (`mailboxes.batches` of the configuration), so that they never wait behind single items.
    ///
    /// ```
    /// # use weir::Pool;
    /// # const TXS: Pool<String> = Pool::new(4, "tx");
    /// # use weir::testing::Cluster;
    /// # use weir::{Keypair, Network, NetworkId};
    /// # let cluster = Cluster::new(7);
    /// # let describe = |n| Network::builder(Keypair::ed25519_from_seed([n; 32]), NetworkId([1; 32]));
    /// # let (alice, node, hers) = cluster.add(describe(1).channels(TXS))?;
    /// # let (bob, _bobs_node, his) = cluster.add(describe(2).channels(TXS).peers(alice.addresses()))?;
    /// let items = ["alice pays bob", "alice pays carol"].map(str::to_owned);
    /// let ids = hers.publish_many(&items)?;
    /// assert_eq!(ids.len(), 2);
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    ///
    /// # Errors
    /// As [`publish`](Self::publish), for the first item that has one; `TooMany` above [`MAX_BATCH`]. Nothing has happened.
    pub fn publish_many<'a>(
        &self,
        items: impl IntoIterator<Item = &'a T>,
    ) -> Result<Vec<ItemId>, PublishError> {
        let batch = self.batch([], items)?;
        let ids = batch.ids();
        self.offer(batch.into_op())?;
        Ok(ids)
    }

    /// As [`publish_many`](Self::publish_many), and waits for room.
    ///
    /// # Errors
    /// As `publish_many`, with [`PublishError::Deadline`] in place of `Busy`.
    pub async fn publish_many_wait<'a>(
        &self,
        items: impl IntoIterator<Item = &'a T>,
    ) -> Result<Vec<ItemId>, PublishError> {
        let batch = self.batch([], items)?;
        let ids = batch.ids();
        self.wait(batch.into_op()).await?;
        Ok(ids)
    }

    /// Takes an item out of the pool: it is no longer offered, and not fetched again as long as its id is remembered (the
    /// latest 65,536 that were removed, rejected or ignored). An id that is not in the pool is remembered too.
    ///
    /// # Errors
    /// [`CommandError::Busy`] where the node's mailbox is full: nothing has happened; `Stopped`. So it is with the other
    /// commands of a pool.
    pub fn remove(&self, id: ItemId) -> Result<(), CommandError> {
        self.offer(PoolOp::Remove(id))
    }

    /// Takes many items out with one command, each as [`remove`](Self::remove) does.
    ///
    /// # Errors
    /// `Busy`, `Stopped`, and `TooMany` above [`MAX_BATCH`]. Nothing has happened.
    pub fn remove_many(&self, ids: impl IntoIterator<Item = ItemId>) -> Result<(), PublishError> {
        self.settle(ids, [])
    }

    /// What a block changes, in one operation: the items it holds leave the pool, and those that a block it replaces had held
    /// come back. Peers see the pool before it or after it, never between.
    ///
    /// ```
    /// # use weir::Pool;
    /// # const TXS: Pool<String> = Pool::new(4, "tx");
    /// # use weir::testing::Cluster;
    /// # use weir::{Keypair, Network, NetworkId};
    /// # let cluster = Cluster::new(7);
    /// # let describe = |n| Network::builder(Keypair::ed25519_from_seed([n; 32]), NetworkId([1; 32]));
    /// # let (alice, node, hers) = cluster.add(describe(1).channels(TXS))?;
    /// # let (bob, _bobs_node, his) = cluster.add(describe(2).channels(TXS).peers(alice.addresses()))?;
    /// # hers.publish(&"alice pays bob".to_owned())?;
    /// let candidate = his.next_blocking().ok_or("the node has stopped")?;
    /// let id = candidate.id();
    /// candidate.accept();
    /// // A block holds it, in place of another block, whose payment comes back.
    /// his.settle([id], [&"alice pays carol".to_owned()])?;
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    ///
    /// # Errors
    /// As [`publish_many`](Self::publish_many); `TooMany` where both together are above [`MAX_BATCH`].
    pub fn settle<'a>(
        &self,
        held: impl IntoIterator<Item = ItemId>,
        returned: impl IntoIterator<Item = &'a T>,
    ) -> Result<(), PublishError> {
        Ok(self.offer(self.batch(held, returned)?.into_op())?)
    }

    /// As [`settle`](Self::settle), and waits for room in the mailbox, at most `mailboxes.publish_deadline` of the
    /// configuration.
    ///
    /// # Errors
    /// As `settle`, with [`PublishError::Deadline`] in place of `Busy`.
    pub async fn settle_wait<'a>(
        &self,
        held: impl IntoIterator<Item = ItemId>,
        returned: impl IntoIterator<Item = &'a T>,
    ) -> Result<(), PublishError> {
        let batch = self.batch(held, returned)?;
        self.wait(batch.into_op()).await
    }

    fn batch<'a>(
        &self,
        remove: impl IntoIterator<Item = ItemId>,
        insert: impl IntoIterator<Item = &'a T>,
    ) -> Result<Batch, PublishError> {
        let mut batch = Batch::default();
        for id in remove {
            batch.remove.push(id);
            batch.check()?;
        }
        for item in insert {
            batch.insert.push(self.encode(item)?);
            batch.check()?;
        }
        Ok(batch)
    }

    /// The item as the pool takes it: encoded, summarized and hashed here, on the caller's thread, and nowhere else.
    fn encode(&self, item: &T) -> Result<Item, PublishError> {
        let bytes = item.encode();
        let max = self.max_item;
        if bytes.len() as u64 > u64::from(max) {
            return Err(PublishError::TooLarge { size: bytes.len(), max });
        }
        if bytes.is_empty() {
            return Err(PublishError::Malformed(Malformed::new("an item has at least one byte")));
        }
        let summary = T::summary_of(&bytes)?; // what its own type refuses would be this node's fault at every peer
        let priority = T::priority(&summary).ok_or(PublishError::Unwanted)?;
        Ok(Item::new(bytes, summary, priority))
    }

    /// Waits for the next item to decide on; `None` once the node has stopped. At most
    /// [`Pool::candidates`] are out at once without a verdict; the next comes after one of these was decided.
    pub async fn next(&self) -> Option<Candidate<T>> {
        loop {
            let raw = self.candidates.next().await?;
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
            let raw = self.candidates.take()?;
            if let Some(candidate) = self.open(raw) {
                return Some(candidate);
            }
        }
    }

    /// Items that wait to be taken.
    pub fn waiting(&self) -> usize {
        self.candidates.outbox().len()
    }

    /// Stops asking for items; what was granted may still arrive. For a node that syncs.
    pub fn pause(&self) -> Result<(), CommandError> {
        self.offer(PoolOp::Pause(true))
    }

    /// Asks for items again.
    pub fn resume(&self) -> Result<(), CommandError> {
        self.offer(PoolOp::Pause(false))
    }

    /// Deferred items may have become valid: they come again now. At most 4,096 of 4 MiB in all are kept; of more, the peer that
    /// delivered most of them loses the last, and those that had offered them are asked again later.
    ///
    /// ```
    /// # use weir::Pool;
    /// # const TXS: Pool<String> = Pool::new(4, "tx");
    /// # use weir::testing::Cluster;
    /// # use weir::{Keypair, Network, NetworkId};
    /// # let cluster = Cluster::new(7);
    /// # let describe = |n| Network::builder(Keypair::ed25519_from_seed([n; 32]), NetworkId([1; 32]));
    /// # let (alice, node, hers) = cluster.add(describe(1).channels(TXS))?;
    /// # let (bob, _bobs_node, his) = cluster.add(describe(2).channels(TXS).peers(alice.addresses()))?;
    /// use std::time::Duration;
    ///
    /// # hers.publish(&"alice pays bob".to_owned())?;
    /// let candidate = his.next_blocking().ok_or("the node has stopped")?;
    /// candidate.defer(Duration::from_secs(600)); // her money has not come in yet
    /// his.reconsider()?; // now it has
    /// let again = his.next_blocking().ok_or("the node has stopped")?;
    /// again.accept();
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    pub fn reconsider(&self) -> Result<(), CommandError> {
        self.offer(PoolOp::Reconsider)
    }

    /// Asks all peers to offer from the start of their pools: after a sync. Each is asked at most every 10 s.
    pub fn resync(&self) -> Result<(), CommandError> {
        self.offer(PoolOp::Resync)
    }

    /// Items of lower [priority](PoolItem::priority) are not asked for from now on; those in the pool stay. A lower floor
    /// than before asks all peers to offer from the start again. At first 0.
    pub fn set_floor(&self, priority: u64) -> Result<(), CommandError> {
        self.offer(PoolOp::Floor(priority))
    }

    fn offer(&self, op: PoolOp) -> Result<(), CommandError> {
        self.lease.shared.inbox.offer(Op::Pool(self.channel, op))
    }

    async fn wait(&self, op: PoolOp) -> Result<(), PublishError> {
        let shared = &self.lease.shared;
        let room = shared.inbox.room(Op::Pool(self.channel, op));
        match time::within(shared, shared.limits.publish_deadline, room).await {
            Ok(true) => Ok(()),
            Ok(false) | Err(WithinError::Stopped) => Err(PublishError::Stopped),
            Err(WithinError::Elapsed(_)) => Err(PublishError::Deadline),
        }
    }

    /// Decodes; what cannot be decoded is rejected here, and the next one comes.
    fn open(&self, raw: EncodedCandidate) -> Option<Candidate<T>> {
        let shared = &self.lease.shared;
        let EncodedCandidate { ticket, peer, id, bytes } = raw;
        let verdict = Undecided { shared: Arc::clone(shared), channel: self.channel, ticket, decided: false };
        let size = bytes.len();
        let taken = Op::Pool(self.channel, PoolOp::Taken(ticket, shared.now()));
        if self.waiting() == 0 {
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

impl<T: PoolItem> futures_core::Stream for PoolHandle<T> {
    type Item = Candidate<T>;
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Candidate<T>>> {
        let this = self.get_mut();
        loop {
            let Some(encoded) = ready!(this.candidates.poll_next(cx)) else { return Poll::Ready(None) };
            if let Some(candidate) = this.open(encoded) {
                return Poll::Ready(Some(candidate));
            }
        }
    }
}

/// What one command takes out and puts in.
#[derive(Debug, Default)]
struct Batch {
    remove: Vec<ItemId>,
    insert: Vec<Item>,
}

impl Batch {
    fn check(&self) -> Result<(), PublishError> {
        let count = self.remove.len() + self.insert.len();
        if count > MAX_BATCH { Err(PublishError::TooMany { max: MAX_BATCH }) } else { Ok(()) }
    }

    fn ids(&self) -> Vec<ItemId> {
        self.insert.iter().map(|item| ItemId(item.id())).collect()
    }

    fn into_op(self) -> PoolOp {
        let Self { remove, insert } = self;
        PoolOp::Batch { remove, insert }
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
        self.shared
            .inbox
            .post(Op::Pool(self.channel, PoolOp::Verdict(self.ticket, self.shared.now(), verdict)));
    }
}

impl Drop for Undecided {
    fn drop(&mut self) {
        if !self.decided {
            self.post(Verdict::Defer(DEFER_DROPPED));
        }
    }
}

/// A type that panics ends its item, not the node: such bytes count as malformed.
fn summarize<T: PoolItem>(bytes: &Bytes) -> Result<Summary, codec::Malformed> {
    let summary = caught::<T, _>("summary_of", || T::summary_of(bytes));
    summary.and_then(Result::ok).ok_or(codec::Malformed::Value)
}

/// As [`summarize`]: an item without a priority is not wanted.
fn judge<T: PoolItem>(summary: &Summary) -> Option<u64> {
    caught::<T, _>("priority", || T::priority(summary)).flatten()
}

/// What a function of the application returns; `None` where it panics. Nothing of ours is borrowed for change meanwhile.
fn caught<T, R>(function: &'static str, run: impl FnOnce() -> R) -> Option<R> {
    let result = catch_unwind(AssertUnwindSafe(run));
    if result.is_err() {
        tracing::error!(item = type_name::<T>(), function, "a function of the application has panicked");
    }
    result.ok()
}
