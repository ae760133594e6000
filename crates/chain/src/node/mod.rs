//! A full node: the chain, joined to the network.
//!
//! One transfer's way: another node's offer → candidate → checked against mempool and state → accepted, so the pool offers it
//! on. One block's way: the producer's tip → header checked → relayed → body by a call to those whose tip it was → executed,
//! durable → requests that were held for it are answered → its transfers leave the pool.
//!
//! [`ChainNode::run`] is all of that as one future; it ends when the network does, or when the store fails.

mod follow;
mod serve;
mod work;

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use ed25519_dalek::SigningKey;
use weir::{Builder, Instant, ItemId, Network, Node, PeerId, PoolHandle, ShutdownReport, TipHandle};

use crate::chain::{AddError, Added, Chain, TransferCheck};
use crate::channels::{BLOCKS, BODY, HEAD, TRANSFERS};
use crate::store::{Head, StoreError};
use crate::{Block, Hash, Header, Transfer};
use serve::Held;

/// How a node runs, beside its chain and its network.
#[derive(Debug, Default)]
pub struct Options {
    /// The producer's key, where this node produces.
    pub producer: Option<SigningKey>,
    /// Unix milliseconds at the zero of the network's clock: see [`wall_origin`].
    pub wall_origin_ms: u64,
    /// Where to tell what happens; when it is full, what happens is not told, and counted.
    pub observer: Option<SyncSender<Observation>>,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// It cannot join the mempool.
    #[error("refused: {0:?}")]
    Refused(TransferCheck),
    /// The network did not take it.
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
    options: Options,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    chain: Chain,
    producing: bool,
    held: Held,
    /// The highest header above the head, and who announced it.
    wanted: Option<Wanted>,
    /// The follower's waker, while it waits for `wanted`.
    follower: Option<Waker>,
    /// Candidates deferred since the last reconsideration.
    deferred: bool,
    /// Observations that found the observer full.
    unobserved: u64,
    /// The store's first failure: nothing of this node can be relied on after it.
    failed: Option<StoreError>,
}

#[derive(Clone, Debug)]
struct Wanted {
    header: Header,
    announcers: Vec<PeerId>, // at most as many as there are links
}

/// Adds the chain's channels to a network.
#[must_use]
pub fn declare(builder: Builder) -> Builder {
    builder.tip(&HEAD).pool(&TRANSFERS).serve(&BODY).serve(&BLOCKS)
}

/// Unix milliseconds at the zero of `net`'s clock, by the system's clock: for nodes in real time.
pub fn wall_origin(net: &Network) -> u64 {
    let unix = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    millis(unix).saturating_sub(net.now().as_nanos() / 1_000_000)
}

impl ChainNode {
    /// Joins a chain to a network whose builder went through [`declare`].
    pub fn new(
        (net, node): (Network, Node),
        chain: Chain,
        options: Options,
    ) -> Result<Self, weir::ChannelError> {
        let (pool, tip) = (net.pool(&TRANSFERS)?, net.tip(&HEAD)?);
        let state = State {
            chain,
            producing: options.producer.is_some(),
            held: Held::default(),
            wanted: None,
            follower: None,
            deferred: false,
            unobserved: 0,
            failed: None,
        };
        Ok(Self {
            inner: Arc::new(Inner {
                net,
                node: Mutex::new(Some(node)),
                pool,
                tip,
                options,
                state: Mutex::new(state),
            }),
        })
    }

    /// Does everything a node does, until the network stops.
    ///
    /// # Errors
    /// [`StoreError`] as soon as the store fails. The node does nothing any more: stop it with [`shutdown`](Self::shutdown),
    /// so that its peers turn to others.
    pub async fn run(&self) -> Result<(), StoreError> {
        let mut loops: Vec<Pin<Box<dyn Future<Output = ()> + Send + '_>>> = vec![
            Box::pin(work::transfers(&self.inner)),
            Box::pin(work::evictions(&self.inner)),
            Box::pin(work::produce(&self.inner)),
            Box::pin(follow::headers(&self.inner)),
            Box::pin(follow::bodies(&self.inner)),
            Box::pin(serve::bodies(&self.inner)),
            Box::pin(serve::blocks(&self.inner)),
            Box::pin(serve::expire(&self.inner)),
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

    /// Takes a transfer of this node's own: checks it, keeps it, offers it. Waits while the network thread is behind.
    pub async fn submit(&self, transfer: &Transfer) -> Result<(), SubmitError> {
        self.inner.admit(transfer)?;
        self.inner.pool.publish_wait(transfer).await?;
        Ok(())
    }

    /// The end of this node's chain.
    pub fn head(&self) -> Head {
        self.inner.state().chain.head()
    }

    /// How many transfers wait for a block.
    pub fn waiting(&self) -> usize {
        self.inner.state().chain.mempool.len()
    }

    /// An account's nonce and balance after the head.
    pub fn account(&self, id: &crate::AccountId) -> crate::ledger::Account {
        self.inner.state().chain.ledger().account(id)
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

    fn node(&self) -> Option<Node> {
        self.node.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn wall_ms(&self) -> u64 {
        self.options.wall_origin_ms.saturating_add(self.net.now().as_nanos() / 1_000_000)
    }

    fn observe(&self, state: &mut State, what: What) {
        if let Some(observer) = &self.options.observer
            && observer.try_send(Observation { at: self.net.now(), what }).is_err()
        {
            state.unobserved += 1;
        }
    }

    /// Puts a transfer into the mempool, if it fits there.
    fn admit(&self, transfer: &Transfer) -> Result<(), SubmitError> {
        let mut state = self.state();
        match state.chain.check_transfer(transfer) {
            TransferCheck::Accept => {
                state.chain.mempool.insert(transfer.clone());
                self.observe(&mut state, What::Accepted(*transfer.id()));
                Ok(())
            }
            refused => Err(SubmitError::Refused(refused)),
        }
    }

    /// Adds a block and tells everyone whom it concerns.
    fn add(&self, block: Block) -> Result<(), AddError> {
        let (hash, encoded) = (*block.header.hash(), block.encode());
        let mut state = self.state();
        let added = state.chain.add(block)?;
        state.held.answer(&hash, &encoded);
        self.after(&mut state, &added);
        Ok(())
    }

    /// Notes that the store failed, so that [`ChainNode::run`] ends.
    fn failed(&self, error: StoreError) {
        tracing::error!(%error, "the store failed");
        self.state().failed.get_or_insert(error);
    }

    /// What follows from blocks that joined the chain.
    fn after(&self, state: &mut State, added: &Added) {
        for block in &added.executed {
            let (hash, height) = (*block.header.hash(), block.header.draft.height);
            self.observe(state, What::Executed(hash, height, block.transfers.clone()));
        }
        let gone = added.executed.iter().flat_map(|block| &block.transfers).chain(&added.stale);
        for id in gone {
            // A full mailbox leaves the item in the pool until it is evicted; it can do no harm there.
            let _ = self.pool.remove(ItemId(*id));
        }
        if let Some(last) = added.executed.last() {
            let _ = self.tip.publish(&last.header);
            if std::mem::take(&mut state.deferred) {
                let _ = self.pool.reconsider();
            }
        }
        let height = state.chain.head().height;
        if state.wanted.as_ref().is_some_and(|wanted| wanted.header.draft.height <= height) {
            state.wanted = None;
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Whom a body was asked of, in turn.
type Asked = BTreeMap<PeerId, u32>;
