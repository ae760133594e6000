//! The durable store: blocks, accounts and the head, changed together or not at all.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition, WriteTransaction};

use crate::ledger::{Account, Ledger, Undo};
use crate::{AccountId, Block, Genesis, Hash, hex};

const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
const BLOCKS: TableDefinition<[u8; 32], &[u8]> = TableDefinition::new("blocks");
const UNDO: TableDefinition<[u8; 32], &[u8]> = TableDefinition::new("undo");
const CHAIN: TableDefinition<u64, [u8; 32]> = TableDefinition::new("chain");
const ACCOUNTS: TableDefinition<[u8; 32], (u64, u64)> = TableDefinition::new("accounts");

/// Pages cached per store, in bytes: redb's default of 1 GiB is not for many nodes in one process.
const CACHE: usize = 4 << 20;

/// Why the store failed. Nothing was changed by the call that returned it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database below.
    #[error("store: {0}")]
    Database(Box<redb::Error>),
    /// The store belongs to another chain.
    #[error(
        "store: made for network {found}, not {wanted}; use another folder or the genesis it was made with"
    )]
    Network {
        /// Whose store it is.
        found: String,
        /// Whose it should be.
        wanted: String,
    },
    /// What is stored is not what was written.
    #[error("store: damaged ({0}); remove it and synchronise again")]
    Damaged(&'static str),
}

/// One node's store.
#[derive(Debug)]
pub struct Store {
    database: Database,
}

/// The end of the chain as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// 0 for the genesis.
    pub height: u64,
    /// The network id for the genesis.
    pub hash: Hash,
}

/// What a store holds, recomputed from its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// The head, by walking every block from the genesis.
    pub head: Head,
    /// The state root, from the accounts.
    pub state_root: Hash,
    /// The ids of all transfers in the chain, in order.
    pub transfers: Vec<Hash>,
}

impl Store {
    /// Opens a store, or makes one with the genesis in it.
    pub fn open(path: &Path, genesis: &Genesis) -> Result<Self, StoreError> {
        let database = Database::builder().set_cache_size(CACHE).create(path)?;
        let store = Self { database };
        let network = genesis.id();
        let write = store.database.begin_write()?;
        let found = write.open_table(META)?.get("network")?.map(|row| row.value().to_vec());
        match found {
            Some(found) if found == network => write.abort()?,
            Some(found) => return Err(StoreError::Network { found: hex(&found), wanted: hex(&network) }),
            None => {
                write.open_table(META)?.insert("network", &network[..])?;
                write.open_table(CHAIN)?.insert(0, network)?;
                write.open_table(BLOCKS)?;
                write.open_table(UNDO)?;
                let mut accounts = write.open_table(ACCOUNTS)?;
                for (account, balance) in &genesis.balances {
                    accounts.insert(account.0, (0, *balance))?;
                }
                drop(accounts);
                write.commit()?;
            }
        }
        Ok(store)
    }

    /// The state as stored.
    pub fn ledger(&self) -> Result<Ledger, StoreError> {
        let read = self.database.begin_read()?;
        let mut accounts = BTreeMap::new();
        for row in read.open_table(ACCOUNTS)?.iter()? {
            let (id, account) = row?;
            let (nonce, balance) = account.value();
            accounts.insert(AccountId(id.value()), Account { nonce, balance });
        }
        Ok(Ledger::new(accounts))
    }

    /// The end of the chain.
    pub fn head(&self) -> Result<Head, StoreError> {
        let read = self.database.begin_read()?;
        let table = read.open_table(CHAIN)?;
        let (height, hash) = table.last()?.ok_or(StoreError::Damaged("no genesis"))?;
        Ok(Head { height: height.value(), hash: hash.value() })
    }

    /// The hash of the chain's block at `height`.
    pub fn hash_at(&self, height: u64) -> Result<Option<Hash>, StoreError> {
        let read = self.database.begin_read()?;
        Ok(read.open_table(CHAIN)?.get(height)?.map(|row| row.value()))
    }

    /// A block's bytes, on the chain or beside it.
    pub fn block(&self, hash: &Hash) -> Result<Option<Bytes>, StoreError> {
        let read = self.database.begin_read()?;
        Ok(read.open_table(BLOCKS)?.get(hash)?.map(|row| Bytes::copy_from_slice(row.value())))
    }

    /// Keeps a block beside the chain.
    pub fn put_aside(&self, block: &Block) -> Result<(), StoreError> {
        let write = self.database.begin_write()?;
        write.open_table(BLOCKS)?.insert(block.header.hash(), &block.encode()[..])?;
        Ok(write.commit()?)
    }

    /// Appends an executed block; `ledger` is the state after it and `undo` what it touched. Durable on return.
    pub fn append(&self, block: &Block, undo: &Undo, ledger: &Ledger) -> Result<(), StoreError> {
        let write = self.database.begin_write()?;
        let hash = block.header.hash();
        write.open_table(BLOCKS)?.insert(hash, &block.encode()[..])?;
        write.open_table(UNDO)?.insert(hash, &encode_undo(undo)[..])?;
        write.open_table(CHAIN)?.insert(block.header.draft.height, hash)?;
        put_accounts(&write, undo.keys().map(|id| (*id, ledger.account(id))))?;
        Ok(write.commit()?)
    }

    /// Takes the head off the chain and returns what undoes it in memory. Durable on return.
    pub fn pop(&self) -> Result<Undo, StoreError> {
        let head = self.head()?;
        let write = self.database.begin_write()?;
        let undo = write
            .open_table(UNDO)?
            .remove(&head.hash)?
            .and_then(|row| decode_undo(row.value()))
            .ok_or(StoreError::Damaged("no undo record"))?;
        write.open_table(CHAIN)?.remove(head.height)?;
        put_accounts(&write, undo.iter().map(|(id, account)| (*id, *account)))?;
        write.commit()?;
        Ok(undo)
    }

    /// The highest height this producer signed; 0 for none.
    pub fn signed(&self) -> Result<u64, StoreError> {
        let read = self.database.begin_read()?;
        let table = read.open_table(META)?;
        let row = table.get("signed")?;
        Ok(row.and_then(|row| row.value().try_into().ok()).map_or(0, u64::from_le_bytes))
    }

    /// Notes that a header of this height is about to be signed. Durable on return.
    pub fn set_signed(&self, height: u64) -> Result<(), StoreError> {
        let write = self.database.begin_write()?;
        write.open_table(META)?.insert("signed", &height.to_le_bytes()[..])?;
        Ok(write.commit()?)
    }

    /// Reads everything back: walks the chain from the genesis, hashing each block, and rehashes the state.
    pub fn audit(&self) -> Result<Audit, StoreError> {
        let mut head = Head { height: 0, hash: self.hash_at(0)?.ok_or(StoreError::Damaged("no genesis"))? };
        let mut transfers = Vec::new();
        while let Some(hash) = self.hash_at(head.height + 1)? {
            let bytes = self.block(&hash)?.ok_or(StoreError::Damaged("a block is missing"))?;
            let block =
                Block::decode(&bytes).map_err(|_| StoreError::Damaged("a block does not read back"))?;
            if *block.header.hash() != hash || block.header.draft.parent != head.hash {
                return Err(StoreError::Damaged("the chain is broken"));
            }
            transfers.extend(block.transfers.iter().map(|transfer| *transfer.id()));
            head = Head { height: head.height + 1, hash };
        }
        Ok(Audit { head, state_root: self.ledger()?.root(), transfers })
    }
}

fn put_accounts(
    write: &WriteTransaction,
    accounts: impl Iterator<Item = (AccountId, Account)>,
) -> Result<(), StoreError> {
    let mut table = write.open_table(ACCOUNTS)?;
    for (id, account) in accounts {
        if account == Account::default() {
            table.remove(id.0)?;
        } else {
            table.insert(id.0, (account.nonce, account.balance))?;
        }
    }
    Ok(())
}

fn encode_undo(undo: &Undo) -> Vec<u8> {
    let mut out = Vec::with_capacity(undo.len() * 48);
    for (id, account) in undo {
        out.extend_from_slice(&id.0);
        out.extend_from_slice(&account.nonce.to_le_bytes());
        out.extend_from_slice(&account.balance.to_le_bytes());
    }
    out
}

fn decode_undo(bytes: &[u8]) -> Option<Undo> {
    let (rows, rest) = bytes.as_chunks::<48>();
    let row = |row: &[u8; 48]| {
        let (id, rest) = row.split_first_chunk::<32>()?;
        let (nonce, rest) = rest.split_first_chunk::<8>()?;
        let balance = u64::from_le_bytes(rest.try_into().ok()?);
        Some((AccountId(*id), Account { nonce: u64::from_le_bytes(*nonce), balance }))
    };
    if rest.is_empty() { rows.iter().map(row).collect() } else { None }
}

macro_rules! from_redb {
    ($($error:ty),*) => {$(
        impl From<$error> for StoreError {
            fn from(error: $error) -> Self {
                Self::Database(Box::new(error.into()))
            }
        }
    )*};
}
from_redb!(
    redb::DatabaseError,
    redb::TransactionError,
    redb::TableError,
    redb::StorageError,
    redb::CommitError
);
