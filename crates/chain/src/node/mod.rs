//! A full node: the chain, joined to the network.
//!
//! One transfer's way: another node's offer → candidate → checked against mempool and state → accepted, so the pool offers it
//! on. One block's way: the producer's tip → header checked → relayed → body by a call to those whose tip it was → executed,
//! durable → requests that were held for it are answered → its transfers leave the pool.
//!
//! [`ChainNode::run`] is all of that as one future of several loops, each of which does a bounded amount of work in a turn. It
//! ends when the network does, or when the store fails. Two locks: the chain's is held while a block is executed and written,
//! the state's never for long; where both are taken, the chain's comes first.

mod follow;
mod outbox;
mod serve;
mod wall;
mod work;

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use ed25519_dalek::SigningKey;
use weir::{Builder, Bytes, Instant, Network, Node, PeerId, PoolHandle, Requests, ShutdownReport, TipHandle};

use crate::block::Checked;
use crate::chain::{AddError, Added, Chain};
use crate::channels::{BLOCKS, BODY, BlockId, Blocks, HEAD, Range, TRANSFERS};
use crate::ledger::{Account, Accounts, Refused};
use crate::mempool::{self, Fit, Inserted, Mempool};
use crate::store::{Head, Store, StoreError};
use crate::sync::{self, Sync};
use crate::{AccountId, Hash, Header, Transfer};
use outbox::Outbox;
use serve::Held;
pub use wall::Wall;

/// How often a loop with nothing to do looks whether the network still runs; it is told at once.
const ROUSE: Duration = Duration::from_secs(3600);

/// How a node runs, beside its chain and its network.
#[derive(Debug)]
pub struct Options {
    /// The producer's key, where this node produces.
    pub producer: Option<SigningKey>,
    /// How long a producer whose store has signed nothing listens before it signs: its store may have been lost, and what it
    /// signed before is with its peers. Zero only where the chain is known to be new. Default: 5 s.
    pub listen_first: Duration,
    /// The wall clock. Default: the system's.
    pub wall: Wall,
    /// Where to tell what happens; when it is full, what happens is not told, and counted.
    pub observer: Option<SyncSender<Observation>>,
    /// What may wait for a block.
    pub mempool: mempool::Limits,
    /// How missing blocks are fetched.
    pub sync: sync::Config,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            producer: None,
            listen_first: Duration::from_secs(5),
            wall: Wall::default(),
            observer: None,
            mempool: mempool::Limits::default(),
            sync: sync::Config::default(),
        }
    }
}

/// Something happened at a node, at a time of its network's clock.
#[derive(Clone, Debug)]
pub struct Observation {
    /// When.
    pub at: Instant,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum What {
    /// A transfer joined the mempool.
    Accepted(Hash),
    /// A header was found good and relayed.
    Header(Hash),
    /// This node produced a block and published its header.
    Published(Hash),
    /// A block was executed and is durable: its hash, height and the ids of its transfers.
    Executed(Hash, u64, Vec<Hash>),
}

/// Why a transfer was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// It cannot join the mempool.
    #[error("refused: {0}")]
    Refused(Refused),
    /// Its sender did not sign it.
    #[error("refused: the signature is wrong")]
    Signature,
    /// Transfers that pay more fill the mempool.
    #[error("refused: the mempool is full of transfers that pay more")]
    Full,
    /// The network did not take it; it is not in the mempool either.
    #[error(transparent)]
    Publish(#[from] weir::PublishError),
}

/// A node of the chain. Cheap to clone; all clones are the same node.
#[derive(Clone, Debug)]
pub struct ChainNode {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    net: Network,
    node: Mutex<Option<Node>>, // taken by whoever stops the node
    pool: PoolHandle<Transfer>,
    tip: TipHandle<Header>,
    bodies: Requests<BlockId, Bytes>,
    blocks: Requests<Range, Blocks>,
    options: Options,
    store: Arc<Store>,
    accounts: Accounts,
    network: Hash,
    producer: AccountId,
    chain: Mutex<Chain>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    head: Head,
    mempool: Mempool,
    sync: Sync,
    /// The follower's waker, while it waits.
    follower: Option<Waker>,
    held: Held,
    out: Outbox,
    /// A header that its time kept back, and who announced it: the latest of them.
    early: Option<(Header, PeerId)>,
    producing: bool,
    /// The highest height that a header has which the producer signed, and which came from the network.
    announced: u64,
    /// Observations that found the observer full.
    unobserved: u64,
    /// The store's first failure: nothing of this node can be relied on after it.
    failed: Option<StoreError>,
}

/// The handles of the chain's channels: heads, transfers, requests for bodies, and for blocks of the chain.
pub type Handles =
    (TipHandle<Header>, PoolHandle<Transfer>, Requests<BlockId, Bytes>, Requests<Range, Blocks>);

/// Adds the chain's channels to a network.
#[must_use]
pub fn declare(builder: Builder) -> Builder<Handles> {
    builder.channels((HEAD, TRANSFERS, BODY.serve(), BLOCKS.serve()))
}

impl ChainNode {
    /// Joins a chain to a network whose builder went through [`declare`].
    pub fn new((net, node, handles): (Network, Node, Handles), chain: Chain, options: Options) -> Self {
        let (tip, pool, bodies, blocks) = handles;
        let accounts = chain.ledger().accounts().clone();
        let state = State {
            head: chain.head(),
            mempool: Mempool::new(accounts.clone(), options.mempool.clone()),
            sync: Sync::new(options.sync.clone(), chain.head()),
            follower: None,
            held: Held::default(),
            out: Outbox::default(),
            early: None,
            producing: options.producer.is_some(),
            announced: 0,
            unobserved: 0,
            failed: None,
        };
        Self {
            inner: Arc::new(Inner {
                net,
                node: Mutex::new(Some(node)),
                pool,
                tip,
                bodies,
                blocks,
                options,
                store: Arc::clone(chain.store()),
                accounts,
                network: chain.rules().network,
                producer: chain.rules().producer,
                chain: Mutex::new(chain),
                state: Mutex::new(state),
            }),
        }
    }

    /// Does everything a node does, until the network stops. The head is announced first: a peer that knows less hears of it,
    /// whichever of the two was restarted.
    ///
    /// # Errors
    /// [`StoreError`] as soon as the store fails. The node does nothing any more: stop it with [`shutdown`](Self::shutdown),
    /// so that its peers turn to others.
    pub async fn run(&self) -> Result<(), StoreError> {
        self.inner.announce();
        let mut loops: Vec<Pin<Box<dyn Future<Output = ()> + Send + '_>>> = vec![
            Box::pin(work::transfers(&self.inner)),
            Box::pin(work::events(&self.inner)),
            Box::pin(work::produce(&self.inner)),
            Box::pin(work::tick(&self.inner)),
            Box::pin(outbox::send(&self.inner)),
            Box::pin(follow::headers(&self.inner)),
            Box::pin(follow::blocks(&self.inner)),
            Box::pin(serve::bodies(&self.inner)),
            Box::pin(serve::blocks(&self.inner)),
        ];
        poll_fn(|cx| {
            loops.retain_mut(|one| one.as_mut().poll(cx).is_pending());
            match self.inner.state().failed.take() {
                Some(error) => Poll::Ready(Err(error)),
                None if loops.is_empty() => Poll::Ready(Ok(())),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// Takes a transfer of this node's own: checks it, keeps it, offers it. Waits while the network thread is behind; where it
    /// stays so, the transfer leaves the mempool again.
    pub async fn submit(&self, transfer: &Transfer) -> Result<(), SubmitError> {
        match self.inner.state().mempool.check(transfer) {
            Ok(Fit::Ready) => {}
            Ok(Fit::Gap) => return Err(SubmitError::Refused(Refused::NonceGap)),
            Err(refused) => return Err(SubmitError::Refused(refused)),
        }
        if !transfer.verify(&self.inner.network) {
            return Err(SubmitError::Signature);
        }
        self.inner.admit(transfer)?;
        if let Err(error) = self.inner.pool.publish_wait(transfer).await {
            let mut state = self.inner.state();
            let gone = state.mempool.remove(transfer.id());
            state.out.remove(gone);
            return Err(error.into());
        }
        Ok(())
    }

    /// The end of this node's chain.
    pub fn head(&self) -> Head {
        self.inner.state().head
    }

    /// How many transfers wait for a block.
    pub fn waiting(&self) -> usize {
        self.inner.state().mempool.len()
    }

    /// How many transfers wait for earlier ones of their senders.
    pub fn gaps(&self) -> usize {
        self.inner.state().mempool.gaps()
    }

    /// An account's nonce and balance after the head.
    pub fn account(&self, id: &AccountId) -> Account {
        self.inner.accounts.get(id)
    }

    /// Produces no more blocks.
    pub fn stop_producing(&self) {
        self.inner.state().producing = false;
    }

    /// Observations that were not told because the observer was full.
    pub fn unobserved(&self) -> u64 {
        self.inner.state().unobserved
    }

    /// The network below.
    pub fn network(&self) -> &Network {
        &self.inner.net
    }

    /// Says goodbye to all peers, delivers what was written, and stops; [`run`](Self::run) ends then. `None` where the node
    /// was stopped before.
    pub async fn shutdown(&self, deadline: Duration) -> Option<ShutdownReport> {
        let node = self.inner.node()?;
        Some(node.shutdown(deadline).await)
    }

    /// Stops as a crash would: no goodbye, no flush.
    pub fn abort(&self) {
        if let Some(node) = self.inner.node() {
            node.abort();
        }
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn chain(&self) -> MutexGuard<'_, Chain> {
        self.chain.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn node(&self) -> Option<Node> {
        self.node.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn wall_ms(&self) -> u64 {
        self.options.wall.now(self.net.now())
    }

    /// Notes that the store failed, so that [`ChainNode::run`] ends.
    fn fail(&self, error: StoreError) {
        tracing::error!(%error, "the store failed");
        self.state().failed.get_or_insert(error);
    }

    /// Tells peers what this node has.
    fn announce(&self) {
        match self.chain().head_header() {
            Ok(Some(header)) => self.publish(&header),
            Ok(None) => {}
            Err(error) => self.fail(error),
        }
    }

    /// This is the head now. It goes before everything else that waits for the network, and is not refused while that runs.
    /// Called with the chain's lock held, so that the last head published is the newest.
    fn publish(&self, header: &Header) {
        if let Err(error) = self.tip.publish(header) {
            tracing::debug!(%error, "the head is not announced");
        }
    }

    fn observe(&self, state: &mut State, what: What) {
        if let Some(observer) = &self.options.observer
            && observer.try_send(Observation { at: self.net.now(), what }).is_err()
        {
            state.unobserved = state.unobserved.saturating_add(1);
        }
    }

    /// Puts a transfer of this node's own into the mempool, if it fits there.
    fn admit(&self, transfer: &Transfer) -> Result<(), SubmitError> {
        let mut state = self.state();
        if let Err(refused) = state.mempool.check(transfer) {
            return Err(SubmitError::Refused(refused)); // another one took its place in the meantime
        }
        let inserted = state.mempool.insert(self.net.now(), transfer.clone());
        let stays = inserted.ready.iter().any(|one| one.id() == transfer.id());
        self.changed(&mut state, inserted, Some(transfer.id()));
        if stays { Ok(()) } else { Err(SubmitError::Full) }
    }

    /// What the mempool took in or lost is told to the observer and to the network's pool, which has `known` already.
    fn changed(&self, state: &mut State, inserted: Inserted, known: Option<&Hash>) {
        for transfer in &inserted.ready {
            self.observe(state, What::Accepted(*transfer.id()));
        }
        let fresh = inserted.ready.into_iter().filter(|transfer| Some(transfer.id()) != known);
        state.out.publish(fresh);
        state.out.remove(inserted.dropped);
    }

    /// Adds a block whose signatures were checked, and tells everyone whom it concerns.
    fn add(&self, checked: &Checked) -> Result<(), AddError> {
        let mut chain = self.chain();
        let added = chain.add(checked, self.wall_ms())?;
        let mut state = self.state();
        let block = checked.block();
        state.held.answer(block.header.hash(), || block.encode());
        self.after(&mut state, chain.head(), added);
        Ok(())
    }

    /// What follows from blocks that joined the chain.
    fn after(&self, state: &mut State, head: Head, added: Added) {
        let now = self.net.now();
        state.head = head;
        if let Some(newest) = added.executed.last() {
            self.publish(&newest.header);
        }
        if !added.returned.is_empty() {
            let inserted = state.mempool.rejoin(now, added.returned);
            self.changed(state, inserted, None);
        }
        let settled = state.mempool.settle(added.touched);
        self.changed(state, settled, None);
        for block in added.executed {
            state.out.remove(block.transfers.iter().copied());
            let (hash, height) = (*block.header.hash(), block.header.draft.height);
            self.observe(state, What::Executed(hash, height, block.transfers));
        }
        state.sync.advanced(now, head);
        state.wake_follower();
    }
}

impl State {
    fn wake_follower(&mut self) {
        if let Some(waker) = self.follower.take() {
            waker.wake();
        }
    }
}

/// Lets the other loops have their turn.
async fn turn() {
    let mut over = false;
    poll_fn(|cx| {
        if over {
            return Poll::Ready(());
        }
        over = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
