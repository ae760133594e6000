//! The chain of one node: what it accepts, executes and produces. Knows no network and no clock.

use std::collections::BTreeSet;

use bytes::Bytes;
use ed25519_dalek::SigningKey;

use crate::block::{BlockError, Draft, items_root};
use crate::ledger::{Ledger, Refused, Undo};
use crate::mempool::Mempool;
use crate::store::{Head, Store, StoreError};
use crate::{Block, Genesis, Hash, Header, Transfer};

/// How far ahead of this node's wall clock a header's time may be, in milliseconds.
pub const AHEAD_MS: u64 = 10_000;
/// Blocks beside the chain are kept up to this far from the head, in heights.
pub const BRANCH_MAX: u64 = 64;

/// One node's chain.
#[derive(Debug)]
pub struct Chain {
    genesis: Genesis,
    network: Hash,
    store: Store,
    ledger: Ledger,
    /// Transfers that wait for a block.
    pub mempool: Mempool,
    head: Head,
}

/// What to do with a transfer from the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransferCheck {
    /// It joins the mempool.
    Accept,
    /// Wrong on stateless grounds: its deliverer is to blame.
    Invalid,
    /// It can never execute in this state.
    Ignore(Refused),
    /// Earlier transfers of the sender are missing.
    Defer,
}

/// What a header is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderCheck {
    /// Higher than the head; its body is wanted.
    Better,
    /// Signed, but not higher than the head.
    Known,
    /// Not signed by the producer, or a height that cannot be.
    Invalid,
    /// From the future.
    Early,
}

/// A block that was executed and is durable.
#[derive(Clone, Debug)]
pub struct Executed {
    /// The block's header.
    pub header: Header,
    /// Ids of its transfers.
    pub transfers: Vec<Hash>,
}

/// What came of a block.
#[derive(Clone, Debug, Default)]
pub struct Added {
    /// Blocks that joined the chain, upwards.
    pub executed: Vec<Executed>,
    /// Transfers that can never execute now; they left the mempool.
    pub stale: Vec<Hash>,
}

/// Why a block was not added.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    /// Its form or items are wrong.
    #[error(transparent)]
    Form(#[from] BlockError),
    /// Its header or a transfer is not signed as it must be.
    #[error("a signature is wrong")]
    Signature,
    /// It does not follow from its parent's state.
    #[error("the block does not execute to the state its header names")]
    State,
    /// Its height is not its parent's plus one.
    #[error("its height is not its parent's plus one")]
    Height,
    /// The parent is not here yet.
    #[error("the parent is missing")]
    MissingParent(Hash),
    /// Too far below the head to matter.
    #[error("too far below the head")]
    TooOld,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Chain {
    /// Opens the chain kept in `store`.
    pub fn open(genesis: Genesis, store: Store) -> Result<Self, StoreError> {
        let (ledger, head) = (store.ledger()?, store.head()?);
        let network = genesis.id();
        Ok(Self { genesis, network, store, ledger, mempool: Mempool::default(), head })
    }

    /// The end of the chain.
    pub fn head(&self) -> Head {
        self.head
    }

    /// The genesis.
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// The network id.
    pub fn network(&self) -> &Hash {
        &self.network
    }

    /// The state after the head.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The store below, for reading.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The head's header; `None` at the genesis.
    pub fn head_header(&self) -> Result<Option<Header>, StoreError> {
        if self.head.height == 0 {
            return Ok(None);
        }
        let bytes = self.store.block(&self.head.hash)?.ok_or(StoreError::Damaged("the head is missing"))?;
        let block = Block::decode(&bytes).map_err(|_| StoreError::Damaged("the head does not read back"))?;
        Ok(Some(block.header))
    }

    /// What to do with a transfer. Checks the cheap things first.
    pub fn check_transfer(&self, transfer: &Transfer) -> TransferCheck {
        let state = self.mempool.check(transfer, &self.ledger);
        if !transfer.verify(&self.network) {
            return TransferCheck::Invalid;
        }
        match state {
            Ok(()) => TransferCheck::Accept,
            Err(Refused::NonceGap) => TransferCheck::Defer,
            Err(refused) => TransferCheck::Ignore(refused),
        }
    }

    /// What a header is worth at this wall time (Unix milliseconds).
    pub fn check_header(&self, header: &Header, wall_ms: u64) -> HeaderCheck {
        if header.draft.height == 0 || !header.verify(&self.genesis.producer, &self.network) {
            HeaderCheck::Invalid
        } else if header.draft.time > wall_ms.saturating_add(AHEAD_MS) {
            HeaderCheck::Early
        } else if header.draft.height > self.head.height {
            HeaderCheck::Better
        } else {
            HeaderCheck::Known
        }
    }

    /// Adds a block: executes it where it extends the chain, switches to its branch where that is longer now, else keeps it aside.
    pub fn add(&mut self, block: Block) -> Result<Added, AddError> {
        let hash = *block.header.hash();
        let draft = block.header.draft;
        if self.store.hash_at(draft.height)? == Some(hash) {
            return Ok(Added::default());
        }
        if draft.height.saturating_add(BRANCH_MAX) < self.head.height {
            return Err(AddError::TooOld);
        }
        self.verify(&block)?;
        if draft.parent == self.head.hash {
            if draft.height != self.head.height + 1 {
                return Err(AddError::Height);
            }
            return self.extend(vec![block]);
        }
        let parent_height = self.height_of(&draft.parent)?.ok_or(AddError::MissingParent(draft.parent))?;
        if draft.height != parent_height + 1 {
            return Err(AddError::Height);
        }
        self.store.put_aside(&block)?;
        if draft.height > self.head.height { self.switch(block) } else { Ok(Added::default()) }
    }

    /// Makes, signs, executes and stores the next block. Its height is durable before it is signed.
    pub fn produce(&mut self, key: &SigningKey, wall_ms: u64) -> Result<(Block, Added), AddError> {
        let height = self.head.height + 1;
        if height <= self.store.signed()? {
            return Err(AddError::Height);
        }
        let mut undo = Undo::new();
        let mut transfers = self.mempool.select(&self.ledger);
        transfers.retain(|transfer| self.ledger.execute(transfer, &self.genesis.producer, &mut undo).is_ok());
        let state_root = self.ledger.root();
        self.ledger.undo(&undo);
        let draft = Draft {
            height,
            parent: self.head.hash,
            time: wall_ms,
            state_root,
            items_root: items_root(&transfers),
        };
        self.store.set_signed(height)?;
        let block = Block { header: Header::sign(draft, key, &self.network), transfers };
        let added = self.extend(vec![block.clone()])?;
        Ok((block, added))
    }

    /// Blocks of the chain from `height` upwards, encoded, within a count and a size in bytes.
    pub fn blocks_from(&self, height: u64, count: usize, mut bytes: usize) -> Result<Vec<Bytes>, StoreError> {
        let mut blocks = Vec::new();
        for height in (height.max(1)..).take(count) {
            let Some(hash) = self.store.hash_at(height)? else { break };
            let Some(block) = self.store.block(&hash)? else { break };
            if block.len() > bytes {
                break;
            }
            bytes -= block.len();
            blocks.push(block);
        }
        Ok(blocks)
    }

    /// The height of a block on the chain or beside it.
    pub fn height_of(&self, hash: &Hash) -> Result<Option<u64>, StoreError> {
        if *hash == self.network {
            return Ok(Some(0));
        }
        let block = self.store.block(hash)?.and_then(|bytes| Block::decode(&bytes).ok());
        Ok(block.map(|block| block.header.draft.height))
    }

    fn verify(&self, block: &Block) -> Result<(), AddError> {
        let transfers = block
            .transfers
            .iter()
            .all(|transfer| self.mempool.contains(transfer.id()) || transfer.verify(&self.network));
        let signed = block.header.verify(&self.genesis.producer, &self.network);
        if signed && transfers { Ok(()) } else { Err(AddError::Signature) }
    }

    /// Executes blocks on top of the head, each durable before the next.
    fn extend(&mut self, blocks: Vec<Block>) -> Result<Added, AddError> {
        let mut added = Added::default();
        let mut senders = BTreeSet::new();
        for block in blocks {
            let mut undo = Undo::new();
            let executed = block
                .transfers
                .iter()
                .all(|transfer| self.ledger.execute(transfer, &self.genesis.producer, &mut undo).is_ok());
            if !executed || self.ledger.root() != block.header.draft.state_root {
                self.ledger.undo(&undo);
                return Err(AddError::State);
            }
            if let Err(error) = self.store.append(&block, &undo, &self.ledger) {
                self.ledger.undo(&undo);
                return Err(error.into());
            }
            self.head = Head { height: block.header.draft.height, hash: *block.header.hash() };
            senders.extend(undo.keys().copied());
            let transfers = block.transfers.iter().map(|transfer| *transfer.id()).collect();
            added.executed.push(Executed { header: block.header, transfers });
        }
        added.stale = self.mempool.drop_stale(senders, &self.ledger);
        Ok(added)
    }

    /// Goes over to the branch that ends in `tip`; comes back where a block of it does not execute.
    fn switch(&mut self, tip: Block) -> Result<Added, AddError> {
        let mut branch = vec![tip];
        loop {
            let parent = branch.last().map_or(self.network, |block| block.header.draft.parent);
            let below = branch.last().map_or(0, |block| block.header.draft.height.saturating_sub(1));
            if self.store.hash_at(below)? == Some(parent) {
                break;
            }
            branch.push(self.read(&parent)?);
        }
        branch.reverse();
        let ancestor = branch.first().map_or(0, |block| block.header.draft.height.saturating_sub(1));
        let mut left = Vec::new();
        while self.head.height > ancestor {
            left.push(self.read(&self.head.hash)?);
            self.pop()?;
        }
        left.reverse();
        match self.extend(branch) {
            Ok(added) => {
                for transfer in left.into_iter().flat_map(|block| block.transfers) {
                    if self.mempool.check(&transfer, &self.ledger).is_ok() {
                        self.mempool.insert(transfer);
                    }
                }
                Ok(added)
            }
            Err(error) => {
                while self.head.height > ancestor {
                    self.pop()?;
                }
                self.extend(left)?;
                Err(error)
            }
        }
    }

    fn pop(&mut self) -> Result<(), StoreError> {
        let undo = self.store.pop()?;
        self.ledger.undo(&undo);
        self.head = self.store.head()?;
        Ok(())
    }

    fn read(&self, hash: &Hash) -> Result<Block, StoreError> {
        let bytes = self.store.block(hash)?.ok_or(StoreError::Damaged("a block is missing"))?;
        Block::decode(&bytes).map_err(|_| StoreError::Damaged("a block does not read back"))
    }
}

#[cfg(test)]
mod tests;
