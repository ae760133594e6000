//! The durable store: blocks, accounts, the head and what this node has signed, changed together or not at all.
//! While it is closed, a seal beside it says what every byte of it must be.

pub(crate) mod seal;

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use redb::{Database, ReadableDatabase as _, ReadableTable as _, ReadableTableMetadata as _};
use redb::{TableDefinition, WriteTransaction};

use crate::block::HEADER_LEN;
use crate::ledger::{Account, Ledger, Undo};
use crate::{AccountId, Block, Genesis, Hash, Header, hex};
use seal::Seal;

pub(crate) const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
pub(crate) const BLOCKS: TableDefinition<[u8; 32], &[u8]> = TableDefinition::new("blocks");
pub(crate) const UNDO: TableDefinition<[u8; 32], &[u8]> = TableDefinition::new("undo");
pub(crate) const CHAIN: TableDefinition<u64, [u8; 32]> = TableDefinition::new("chain");
pub(crate) const ACCOUNTS: TableDefinition<[u8; 32], (u64, u64)> = TableDefinition::new("accounts");
/// Blocks beside the chain, by height.
pub(crate) const SIDE: TableDefinition<(u64, [u8; 32]), ()> = TableDefinition::new("side");

/// Pages cached per store, in bytes: redb's default of 1 GiB is not for many nodes in one process.
const CACHE: usize = 4 << 20;
/// Blocks beside the chain are kept until the head is this much higher.
pub const BRANCH_MAX: u64 = 64;
/// Blocks beside the chain, at most; more are refused. A fork deeper than this is not followed: the store must be removed then.
pub const SIDE_MAX: u64 = 4_096;

/// Why the store failed. Nothing was changed by the call that returned it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database below.
    #[error("store: {0}")]
    Database(Box<redb::Error>),
    /// The file that says how the store was closed.
    #[error("store: its seal cannot be removed: {0}")]
    Seal(#[from] std::io::Error),
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
    /// A header of this height was signed before, and no second one may be.
    #[error("store: height {0} was signed before")]
    Signed(u64),
    /// There are [`SIDE_MAX`] blocks beside the chain.
    #[error("store: too many blocks beside the chain")]
    SideFull,
}

/// One node's store. Reading needs no lock: each call sees one committed state. Dropping it closes the file and seals it, which
/// reads it once.
#[derive(Debug)]
pub struct Store {
    // in this order: the file is sealed after the database has closed it
    pub(crate) database: Database,
    _seal: Option<Seal>,
}

/// The end of the chain as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// 0 for the genesis.
    pub height: u64,
    /// The network id for the genesis.
    pub hash: Hash,
}

/// A step of the chain, written in one transaction.
#[derive(Debug)]
pub(crate) struct Step<'a> {
    /// What leaves the chain, from the head down; it stays beside the chain.
    pub(crate) left: &'a [Head],
    /// What joins it, upwards, each with its undo record.
    pub(crate) joined: &'a [(&'a Block, Undo)],
    /// The accounts that changed, as they are after it.
    pub(crate) accounts: &'a BTreeMap<AccountId, Account>,
    /// The height this node has signed for it.
    pub(crate) signed: Option<u64>,
}

impl Store {
    /// Opens a store, or makes one with the genesis in it.
    pub fn open(path: &Path, genesis: &Genesis) -> Result<Self, StoreError> {
        let seal = Seal::break_of(path)?;
        let database = Database::builder().set_cache_size(CACHE).create(path)?;
        let store = Self { database, _seal: Some(seal) };
        let network = genesis.id();
        let write = store.database.begin_write()?;
        let found = write.open_table(META)?.get("network")?.map(|row| row.value().to_vec());
        match found {
            Some(found) if found == network => write.abort()?,
            Some(found) => return Err(StoreError::Network { found: hex(&found), wanted: hex(&network) }),
            None => {
                let mut meta = write.open_table(META)?;
                meta.insert("network", &network[..])?;
                meta.insert("genesis", genesis.text().as_bytes())?;
                drop(meta);
                write.open_table(CHAIN)?.insert(0, network)?;
                write.open_table(BLOCKS)?;
                write.open_table(UNDO)?;
                write.open_table(SIDE)?;
                let accounts = genesis.balances.iter();
                put_accounts(
                    &write,
                    accounts.map(|(id, balance)| (*id, Account { nonce: 0, balance: *balance })),
                )?;
                write.commit()?;
            }
        }
        Ok(store)
    }

    /// A store that is read and left without a seal.
    pub(crate) fn unsealed(database: Database) -> Self {
        Self { database, _seal: None }
    }

    /// The genesis it was made with.
    pub fn genesis(&self) -> Result<Genesis, StoreError> {
        let damaged = || StoreError::Damaged("the genesis does not read back");
        let read = self.database.begin_read()?;
        let table = read.open_table(META)?;
        let row = table.get("genesis")?.ok_or_else(damaged)?;
        let text = std::str::from_utf8(row.value()).map_err(|_| damaged())?;
        Genesis::parse(text).map_err(|_| damaged())
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

    /// A block's header, on the chain or beside it. The block is not read.
    pub fn header(&self, hash: &Hash) -> Result<Option<Header>, StoreError> {
        let read = self.database.begin_read()?;
        let Some(row) = read.open_table(BLOCKS)?.get(hash)? else { return Ok(None) };
        let bytes = Bytes::copy_from_slice(row.value().get(..HEADER_LEN).unwrap_or_default());
        let header =
            Header::decode(&bytes).map_err(|_| StoreError::Damaged("a header does not read back"))?;
        if header.hash() != hash {
            return Err(StoreError::Damaged("a block has another name"));
        }
        Ok(Some(header))
    }

    /// Blocks of the chain from `height` upwards, encoded, within a count and a size in bytes.
    pub fn blocks_from(&self, height: u64, count: usize, mut bytes: usize) -> Result<Vec<Bytes>, StoreError> {
        let read = self.database.begin_read()?;
        let (chain, stored) = (read.open_table(CHAIN)?, read.open_table(BLOCKS)?);
        let mut blocks = Vec::new();
        for row in chain.range(height.max(1)..)?.take(count) {
            let (_, hash) = row?;
            let block = stored.get(hash.value())?.ok_or(StoreError::Damaged("a block is missing"))?;
            let block = block.value();
            let Some(left) = bytes.checked_sub(block.len()) else { break };
            bytes = left;
            blocks.push(Bytes::copy_from_slice(block));
        }
        Ok(blocks)
    }

    /// What takes a block of the chain back.
    pub(crate) fn undo(&self, hash: &Hash) -> Result<Undo, StoreError> {
        let read = self.database.begin_read()?;
        let row = read.open_table(UNDO)?.get(hash)?;
        row.and_then(|row| decode_undo(row.value())).ok_or(StoreError::Damaged("no undo record"))
    }

    /// Keeps a block beside the chain. Durable on return.
    pub(crate) fn put_side_block(&self, block: &Block) -> Result<(), StoreError> {
        let hash = *block.header.hash();
        let write = self.database.begin_write()?;
        let mut side = write.open_table(SIDE)?;
        let known = side.insert((block.header.draft.height, hash), ())?.is_some();
        if !known && side.len()? > SIDE_MAX {
            return Err(StoreError::SideFull);
        }
        drop(side);
        write.open_table(BLOCKS)?.insert(hash, &block.encode()[..])?;
        Ok(write.commit()?)
    }

    /// Writes one step of the chain, the height signed for it included, and drops what is too far beside it. Durable on return.
    pub(crate) fn commit(&self, step: &Step<'_>) -> Result<(), StoreError> {
        let write = self.database.begin_write()?;
        if let Some(height) = step.signed {
            let mut meta = write.open_table(META)?;
            let before = signed_row(meta.get("signed")?.map(|row| row.value().to_vec()))?;
            if height <= before {
                return Err(StoreError::Signed(before));
            }
            meta.insert("signed", &height.to_le_bytes()[..])?;
        }
        let mut chain = write.open_table(CHAIN)?;
        let mut side = write.open_table(SIDE)?;
        let mut undo = write.open_table(UNDO)?;
        let mut blocks = write.open_table(BLOCKS)?;
        for head in step.left {
            chain.remove(head.height)?;
            undo.remove(head.hash)?;
            side.insert((head.height, head.hash), ())?;
        }
        for (block, before) in step.joined {
            let (height, hash) = (block.header.draft.height, *block.header.hash());
            if side.remove((height, hash))?.is_none() {
                blocks.insert(hash, &block.encode()[..])?;
            }
            undo.insert(hash, &encode_undo(before)[..])?;
            chain.insert(height, hash)?;
        }
        let head = chain.last()?.map_or(0, |(height, _)| height.value());
        for row in
            side.extract_from_if((0, [0; 32])..(head.saturating_sub(BRANCH_MAX), [0; 32]), |_, ()| true)?
        {
            let (key, _) = row?;
            blocks.remove(key.value().1)?;
        }
        drop((chain, side, undo, blocks));
        put_accounts(&write, step.accounts.iter().map(|(id, account)| (*id, *account)))?;
        Ok(write.commit()?)
    }

    /// The highest height this node has signed a header of; 0 for none.
    pub fn signed(&self) -> Result<u64, StoreError> {
        let read = self.database.begin_read()?;
        let table = read.open_table(META)?;
        signed_row(table.get("signed")?.map(|row| row.value().to_vec()))
    }
}

/// A row that does not read back must never count as nothing signed.
fn signed_row(row: Option<Vec<u8>>) -> Result<u64, StoreError> {
    let Some(row) = row else { return Ok(0) };
    let bytes = row.try_into().map_err(|_| StoreError::Damaged("the height signed does not read back"))?;
    Ok(u64::from_le_bytes(bytes))
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

pub(crate) fn encode_undo(undo: &Undo) -> Vec<u8> {
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

#[cfg(test)]
mod tests;
