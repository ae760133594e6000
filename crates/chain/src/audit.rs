//! An audit of a store: everything is executed again from the genesis, and every row compared with what it must be.

use std::collections::BTreeMap;
use std::path::Path;

use redb::{Database, ReadableDatabase as _, ReadableTable as _};

use crate::consensus::{Parent, follows};
use crate::ledger::{Account, Ledger};
use crate::store::{ACCOUNTS, BLOCKS, CHAIN, Head, META, SIDE, Store, StoreError, UNDO, encode_undo, seal};
use crate::{AccountId, Block, Genesis, Hash};

/// What a store holds, executed again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// The network id: the genesis it was made with.
    pub network: Hash,
    /// The head.
    pub head: Head,
    /// The state root after it.
    pub state_root: Hash,
    /// The ids of all transfers in the chain, in order.
    pub transfers: Vec<Hash>,
}

/// A store's file, audited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audited {
    /// What it holds.
    pub audit: Audit,
    /// Whether it was closed, so that every byte of the file is known. Of one that is open, or whose process was killed, the
    /// bytes that hold nothing are not: free pages, and the rest of a page behind its last row. Damage to its last block looks
    /// like a block that was still being written: the store is read as of the block before.
    pub closed: bool,
}

/// What is wrong with a store.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The file cannot be read or copied.
    #[error("cannot be read: {0}")]
    File(#[from] std::io::Error),
    /// It cannot be opened, or not read to its end.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A page of the file is not as it was written.
    #[error("a page is damaged: its checksum is wrong")]
    Page,
    /// It is right, and still not the file that was closed.
    #[error("the file was changed after it was closed, where it holds nothing")]
    Changed,
    /// The database gave up on it.
    #[error("the database cannot read it: {0}")]
    Unreadable(String),
    /// A row is not what it must be.
    #[error("{0}")]
    Row(String),
    /// A block is not what it must be.
    #[error("block {height}: {what}")]
    Block {
        /// Where in the chain.
        height: u64,
        /// What is wrong.
        what: String,
    },
}

macro_rules! from_redb {
    ($($error:ty),*) => {$(
        impl From<$error> for AuditError {
            fn from(error: $error) -> Self {
                Self::Store(error.into())
            }
        }
    )*};
}
from_redb!(redb::DatabaseError, redb::TransactionError, redb::TableError, redb::StorageError);

fn row(what: &str) -> AuditError {
    AuditError::Row(what.to_owned())
}

/// Audits a store's file, which nobody may be using. A copy is read, made in `scratch`: the file itself is not touched.
///
/// # Errors
/// What is wrong with it, the first thing found. Of a store that was closed, every changed byte is.
pub fn file(path: &Path, scratch: &Path) -> Result<Audited, AuditError> {
    let sealed = seal::read(path)?;
    let copy = scratch.join("audited.redb");
    std::fs::copy(path, &copy)?;
    let found = seal::text_of(&copy)?;
    // A damaged page may break the database's own assumptions, and it panics then.
    let audited = std::panic::catch_unwind(|| audit_copy(&copy));
    std::fs::remove_file(&copy)?;
    let audit = audited.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(AuditError::Unreadable(text.unwrap_or_default()))
    })?;
    let closed = sealed.is_some();
    match sealed {
        Some(sealed) if sealed != found.as_bytes() => Err(AuditError::Changed),
        _ => Ok(Audited { audit, closed }),
    }
}

fn audit_copy(copy: &Path) -> Result<Audit, AuditError> {
    let mut database = Database::open(copy)?;
    if !database.check_integrity()? {
        return Err(AuditError::Page);
    }
    Store::unsealed(database).audit()
}

impl Store {
    /// Executes the whole chain again from the genesis, with all signatures, rules and state roots, and compares every row
    /// of the store with the outcome.
    ///
    /// # Errors
    /// What is wrong, the first thing found.
    pub fn audit(&self) -> Result<Audit, AuditError> {
        let genesis = self.genesis()?;
        self.check_meta(&genesis)?;
        let mut replay = Replay::new(&genesis);
        let mut undo_rows = BTreeMap::new();
        for (index, hash) in self.chain_rows()?.into_iter().enumerate() {
            let height = index as u64;
            let block = self.block(&hash)?;
            let undo = replay
                .execute(height, hash, block.as_deref())
                .map_err(|what| AuditError::Block { height, what })?;
            undo_rows.extend(undo.map(|undo| (hash, undo)));
        }
        if self.signed()? > replay.head.height {
            return Err(row("a height above the head is signed"));
        }
        self.check_rows(&replay, undo_rows)?;
        let (head, state_root) = (replay.head, replay.ledger.root());
        Ok(Audit { network: replay.network, head, state_root, transfers: replay.transfers })
    }

    fn check_meta(&self, genesis: &Genesis) -> Result<(), AuditError> {
        let read = self.database.begin_read()?;
        let table = read.open_table(META)?;
        for entry in table.iter()? {
            let (key, value) = entry?;
            let right = match key.value() {
                "network" => value.value() == genesis.id(),
                "genesis" => value.value() == genesis.text().as_bytes(),
                "signed" => true, // read and compared with the head later
                _ => false,
            };
            if !right {
                return Err(row("the row that says which chain this is, or one beside it, is wrong"));
            }
        }
        if table.get("network")?.is_none() {
            return Err(row("it does not say which chain it is of"));
        }
        Ok(())
    }

    /// The hashes of the chain from the genesis up; heights must have no gap.
    fn chain_rows(&self) -> Result<Vec<Hash>, AuditError> {
        let read = self.database.begin_read()?;
        let mut hashes = Vec::new();
        for entry in read.open_table(CHAIN)?.iter()? {
            let (height, hash) = entry?;
            if height.value() != hashes.len() as u64 {
                return Err(row("the heights of the chain have a gap"));
            }
            hashes.push(hash.value());
        }
        Ok(hashes)
    }

    /// Accounts, undo records and blocks must be those of the replay, and no others.
    fn check_rows(&self, replay: &Replay, mut undo_rows: BTreeMap<Hash, Vec<u8>>) -> Result<(), AuditError> {
        if self.ledger()?.root() != replay.ledger.root() {
            return Err(row("the accounts are not those that the blocks lead to"));
        }
        let read = self.database.begin_read()?;
        for entry in read.open_table(ACCOUNTS)?.iter()? {
            let (id, account) = entry?;
            let (nonce, balance) = account.value();
            let stored = Account { nonce, balance };
            if stored == Account::default() || stored != replay.ledger.account(&AccountId(id.value())) {
                return Err(row("an account is not what the blocks lead to"));
            }
        }
        let mut blocks: BTreeMap<Hash, u64> = replay.heights.clone();
        for entry in read.open_table(SIDE)?.iter()? {
            let (height, hash) = entry?.0.value();
            let block = self.block(&hash)?.ok_or_else(|| row("a block beside the chain is missing"))?;
            let block =
                Block::decode(&block).map_err(|_| row("a block beside the chain does not read back"))?;
            if *block.header.hash() != hash || block.header.draft.height != height {
                return Err(row("a block beside the chain is another one"));
            }
            if block.check(&replay.genesis.producer, &replay.network, |_| false).is_none() {
                return Err(row("a signature of a block beside the chain is wrong"));
            }
            blocks.insert(hash, height);
        }
        for entry in read.open_table(BLOCKS)?.iter()? {
            let hash = entry?.0.value();
            blocks.remove(&hash).ok_or_else(|| row("a block belongs nowhere"))?;
        }
        for entry in read.open_table(UNDO)?.iter()? {
            let (hash, stored) = entry?;
            if undo_rows.remove(&hash.value()).is_none_or(|undo| undo != stored.value()) {
                return Err(row("an undo record is not what its block did"));
            }
        }
        if !(undo_rows.is_empty() && blocks.is_empty()) {
            return Err(row("a block or its undo record is missing"));
        }
        Ok(())
    }
}

/// The chain so far, executed again.
struct Replay {
    genesis: Genesis,
    network: Hash,
    ledger: Ledger,
    head: Head,
    parent: Parent,
    heights: BTreeMap<Hash, u64>, // without the genesis, which has no block
    transfers: Vec<Hash>,
}

impl Replay {
    fn new(genesis: &Genesis) -> Self {
        let network = genesis.id();
        let account = |(id, balance): (&AccountId, &u64)| (*id, Account { nonce: 0, balance: *balance });
        Self {
            genesis: genesis.clone(),
            network,
            ledger: Ledger::new(genesis.balances.iter().map(account).collect()),
            head: Head { height: 0, hash: network },
            parent: Parent::default(),
            heights: BTreeMap::new(),
            transfers: Vec::new(),
        }
    }

    /// Executes the next row of the chain; returns its encoded undo record, which the genesis does not have.
    fn execute(&mut self, height: u64, hash: Hash, block: Option<&[u8]>) -> Result<Option<Vec<u8>>, String> {
        if height == 0 {
            return if hash == self.network { Ok(None) } else { Err("is not the genesis".into()) };
        }
        let bytes = block.ok_or("is missing")?;
        let block =
            Block::decode(&bytes::Bytes::copy_from_slice(bytes)).map_err(|error| error.to_string())?;
        if *block.header.hash() != hash {
            return Err("is another block".into());
        }
        if block.header.draft.parent != self.head.hash {
            return Err("does not follow the block before it".into());
        }
        follows(&block.header.draft, self.parent, u64::MAX).map_err(|error| error.to_string())?;
        let checked =
            block.check(&self.genesis.producer, &self.network, |_| false).ok_or("a signature is wrong")?;
        let block = checked.block();
        let mut execution = self.ledger.execution(self.genesis.producer);
        for transfer in &block.transfers {
            execution
                .execute(transfer)
                .map_err(|refused| format!("a transfer does not execute: {refused}"))?;
        }
        let (undo, root) = execution.seal();
        let changes = execution.into_changes();
        if root != block.header.draft.state_root {
            return Err("the state after it is not what it says".into());
        }
        self.ledger.apply(changes);
        self.head = Head { height, hash };
        self.parent = Parent::of(&block.header.draft);
        self.heights.insert(hash, height);
        self.transfers.extend(block.transfers.iter().map(|transfer| *transfer.id()));
        Ok(Some(encode_undo(&undo)))
    }
}

#[cfg(test)]
mod tests;
