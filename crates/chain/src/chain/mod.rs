//! The chain of one node: what it adds, executes and produces. Knows no network, no clock and no mempool.

use std::collections::BTreeSet;
use std::sync::Arc;

use ed25519_dalek::SigningKey;

use crate::block::{BlockError, Checked, Draft, items_root};
use crate::consensus::{Parent, RuleError, Rules, follows};
use crate::ledger::{Execution, Ledger};
use crate::store::{Head, Step, Store, StoreError};
use crate::{AccountId, Block, Genesis, Hash, Header, Transfer};

/// One node's chain.
#[derive(Debug)]
pub struct Chain {
    genesis: Genesis,
    rules: Rules,
    store: Arc<Store>,
    ledger: Ledger,
    head: Head,
    parent: Parent, // the head, as what the next block must follow
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
    /// Accounts that they touched.
    pub touched: BTreeSet<AccountId>,
    /// Transfers of blocks that left the chain and are in no block of it now.
    pub returned: Vec<Transfer>,
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
    /// Its header does not follow its parent's, or is of the future.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// The parent is not here yet.
    #[error("the parent is missing")]
    MissingParent(Hash),
    /// The chain can have no higher block.
    #[error("the chain ends here")]
    End,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Chain {
    /// Opens the chain kept in `store`.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] where the accounts are not the state that the head's header names.
    pub fn open(genesis: Genesis, store: Store) -> Result<Self, StoreError> {
        let (ledger, head) = (store.ledger()?, store.head()?);
        let rules = Rules::of(&genesis);
        let mut chain =
            Self { genesis, rules, store: Arc::new(store), ledger, head, parent: Parent::default() };
        if let Some(header) = chain.head_header()? {
            if header.draft.state_root != chain.ledger.root() || header.draft.height != head.height {
                return Err(StoreError::Damaged("the accounts are not the head's state"));
            }
            chain.parent = Parent::of(&header.draft);
        }
        chain.store.signed()?; // a row that does not read back is found now, not at the next block
        Ok(chain)
    }

    /// The end of the chain.
    pub fn head(&self) -> Head {
        self.head
    }

    /// The genesis.
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// What headers are judged by.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The state after the head.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The store below, for reading.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// The head's header; `None` at the genesis.
    pub fn head_header(&self) -> Result<Option<Header>, StoreError> {
        if self.head.height == 0 {
            return Ok(None);
        }
        self.store.header(&self.head.hash)?.map(Some).ok_or(StoreError::Damaged("the head is missing"))
    }

    /// Adds a block at this wall time (Unix milliseconds): executes it where it extends the chain, switches to its branch where
    /// that is longer now, else keeps it as a side block.
    pub fn add(&mut self, checked: &Checked, wall_ms: u64) -> Result<Added, AddError> {
        let block = checked.block();
        let (hash, draft) = (*block.header.hash(), block.header.draft);
        if self.store.hash_at(draft.height)? == Some(hash) {
            return Ok(Added::default());
        }
        if draft.parent == self.head.hash {
            follows(&draft, self.parent, wall_ms)?;
            return self.join(&[], std::slice::from_ref(block));
        }
        let parent = self.parent_of(&draft)?.ok_or(AddError::MissingParent(draft.parent))?;
        follows(&draft, parent, wall_ms)?;
        self.store.put_side_block(block)?;
        if draft.height > self.head.height { self.switch(block) } else { Ok(Added::default()) }
    }

    /// Makes, signs and executes the next block at this wall time. `select` executes what shall be in it. The block and the
    /// note that its height is signed become durable together, before anybody else can see the signature.
    pub fn produce(
        &mut self,
        key: &SigningKey,
        wall_ms: u64,
        select: impl FnOnce(&mut Execution<'_>) -> Vec<Transfer>,
    ) -> Result<(Block, Added), AddError> {
        let height = self.parent.next_height().ok_or(AddError::End)?;
        let time = self.parent.next_time(wall_ms).ok_or(AddError::End)?;
        let signed = self.store.signed()?;
        if height <= signed {
            return Err(StoreError::Signed(signed).into());
        }
        let mut execution = self.ledger.execution(self.genesis.producer);
        let transfers = select(&mut execution);
        let (undo, state_root) = execution.seal();
        let changes = execution.into_changes();
        let draft =
            Draft { height, parent: self.head.hash, time, state_root, items_root: items_root(&transfers) };
        let block = Block { header: Header::sign(draft, key, &self.rules.network), transfers };
        let touched = undo.keys().copied().collect();
        let joined = [(&block, undo)];
        let step = Step { left: &[], joined: &joined, accounts: changes.accounts(), signed: Some(height) };
        self.store.commit(&step)?;
        self.ledger.apply(changes);
        self.advance(&draft, *block.header.hash());
        let added = Added { executed: vec![executed(&block)], touched, returned: Vec::new() };
        Ok((block, added))
    }

    /// What a block with this parent must follow, where it is here, on the chain or beside it.
    fn parent_of(&self, draft: &Draft) -> Result<Option<Parent>, StoreError> {
        if draft.parent == self.rules.network {
            return Ok(Some(Parent::default()));
        }
        Ok(self.store.header(&draft.parent)?.map(|header| Parent::of(&header.draft)))
    }

    /// Goes over to the branch that ends in `tip`: in memory first, then in one transaction. Nothing changes where a block of
    /// it does not execute.
    fn switch(&mut self, tip: &Block) -> Result<Added, AddError> {
        let mut branch = vec![tip.clone()];
        let mut lowest = tip.header.draft;
        while let Some(below) = lowest.height.checked_sub(1)
            && self.store.hash_at(below)? != Some(lowest.parent)
        {
            let block = self.read(&lowest.parent)?;
            lowest = block.header.draft;
            branch.push(block);
        }
        branch.reverse();
        let (mut left, mut at) = (Vec::new(), self.head);
        while at.height >= lowest.height {
            let block = self.read(&at.hash)?;
            left.push(at);
            at = Head { height: at.height.saturating_sub(1), hash: block.header.draft.parent };
        }
        self.join(&left, &branch)
    }

    /// Takes `left` off the chain, from the head down, and executes `blocks` on top of what remains.
    fn join(&mut self, left: &[Head], blocks: &[Block]) -> Result<Added, AddError> {
        let mut execution = self.ledger.execution(self.genesis.producer);
        let mut added = Added::default();
        for head in left {
            let undo = self.store.undo(&head.hash)?;
            added.touched.extend(undo.keys().copied());
            execution.take_back(&undo);
            execution.seal();
            added.returned.extend(self.read(&head.hash)?.transfers);
        }
        let mut joined = Vec::with_capacity(blocks.len());
        for block in blocks {
            let executes = block.transfers.iter().all(|transfer| execution.execute(transfer).is_ok());
            let (undo, root) = execution.seal();
            if !executes || root != block.header.draft.state_root {
                return Err(AddError::State);
            }
            added.touched.extend(undo.keys().copied());
            joined.push((block, undo));
            added.executed.push(executed(block));
        }
        let changes = execution.into_changes();
        self.store.commit(&Step { left, joined: &joined, accounts: changes.accounts(), signed: None })?;
        self.ledger.apply(changes);
        if let Some(last) = blocks.last() {
            self.advance(&last.header.draft, *last.header.hash());
        }
        let again: BTreeSet<Hash> = added.executed.iter().flat_map(|block| block.transfers.clone()).collect();
        added.returned.retain(|transfer| !again.contains(transfer.id()));
        Ok(added)
    }

    fn advance(&mut self, draft: &Draft, hash: Hash) {
        self.head = Head { height: draft.height, hash };
        self.parent = Parent::of(draft);
    }

    fn read(&self, hash: &Hash) -> Result<Block, StoreError> {
        let bytes = self.store.block(hash)?.ok_or(StoreError::Damaged("a block is missing"))?;
        Block::decode(&bytes).map_err(|_| StoreError::Damaged("a block does not read back"))
    }
}

fn executed(block: &Block) -> Executed {
    let transfers = block.transfers.iter().map(|transfer| *transfer.id()).collect();
    Executed { header: block.header.clone(), transfers }
}

#[cfg(test)]
mod tests;
