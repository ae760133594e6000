//! Accounts, and what blocks do to them.
//!
//! A block is executed beside the state, in an [`Execution`]: reading accounts never waits for it, and nothing has to be taken
//! back where it fails. What it came to, [`Changes`], is then applied at once.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use sha2::{Digest as _, Sha256};

use crate::{AccountId, Hash, Transfer};

/// One account. The default is what nobody wrote to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Transfers made.
    pub nonce: u64,
    /// What it owns.
    pub balance: u64,
}

/// The smallest fee of a transfer. It also keeps accounts that hold nothing from writing state: they cannot pay it.
pub const MIN_FEE: u64 = 1;

/// Why a transfer does not execute in this state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The fee is below [`MIN_FEE`].
    #[error("the fee is too small")]
    Fee,
    /// The nonce was used already.
    #[error("the nonce was used already")]
    NonceUsed,
    /// Earlier transfers of the sender are missing.
    #[error("earlier transfers of the sender are missing")]
    NonceGap,
    /// The sender has too little.
    #[error("the balance is too small")]
    Balance,
    /// The recipient or producer would own more than a number can hold.
    #[error("an account would overflow")]
    Overflow,
}

/// Accounts before a block: what takes it back.
pub type Undo = BTreeMap<AccountId, Account>;

type Map = BTreeMap<AccountId, Account>;

/// The accounts after the head, to be read from anywhere. Cheap to clone; a reader waits only while a block's changes are
/// put in place.
#[derive(Clone, Debug, Default)]
pub struct Accounts(Arc<RwLock<Map>>);

impl Accounts {
    /// An account, the default where nobody wrote to it.
    pub fn get(&self, id: &AccountId) -> Account {
        self.read().get(id).copied().unwrap_or_default()
    }

    fn read(&self) -> RwLockReadGuard<'_, Map> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The state after some block.
#[derive(Debug)]
pub struct Ledger {
    accounts: Accounts,
    buckets: Vec<Hash>, // 256
}

impl Ledger {
    /// The state made of these accounts.
    pub fn new(mut accounts: BTreeMap<AccountId, Account>) -> Self {
        accounts.retain(|_, account| *account != Account::default());
        let buckets = (0..=255).map(|bucket| bucket_hash(&accounts, &Map::new(), bucket)).collect();
        Self { accounts: Accounts(Arc::new(RwLock::new(accounts))), buckets }
    }

    /// The accounts, for readers.
    pub fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// An account, the default where nobody wrote to it.
    pub fn account(&self, id: &AccountId) -> Account {
        self.accounts.get(id)
    }

    /// The state root.
    pub fn root(&self) -> Hash {
        root_of(self.buckets.iter())
    }

    /// Begins to execute blocks beside this state; `producer` gets the fees.
    pub fn execution(&self, producer: AccountId) -> Execution<'_> {
        Execution {
            ledger: self,
            producer,
            changed: Map::new(),
            buckets: BTreeMap::new(),
            dirty: BTreeSet::new(),
            undo: Undo::new(),
        }
    }

    /// Puts in place what blocks came to.
    pub fn apply(&mut self, changes: Changes) {
        for (bucket, hash) in changes.buckets {
            if let Some(slot) = self.buckets.get_mut(usize::from(bucket)) {
                *slot = hash;
            }
        }
        let mut accounts = self.accounts.0.write().unwrap_or_else(PoisonError::into_inner);
        for (id, account) in changes.accounts {
            if account == Account::default() {
                accounts.remove(&id);
            } else {
                accounts.insert(id, account);
            }
        }
    }
}

/// Blocks executed beside a state, each sealed before the next begins.
#[derive(Debug)]
pub struct Execution<'a> {
    ledger: &'a Ledger,
    producer: AccountId,
    changed: Map,
    buckets: BTreeMap<u8, Hash>, // of sealed blocks
    dirty: BTreeSet<u8>,         // touched since the last seal
    undo: Undo,                  // since the last seal
}

/// What executed blocks came to: for [`Ledger::apply`] and the store.
#[derive(Debug)]
pub struct Changes {
    accounts: Map,
    buckets: BTreeMap<u8, Hash>,
}

impl Changes {
    /// The accounts that changed, as they are now.
    pub fn accounts(&self) -> &BTreeMap<AccountId, Account> {
        &self.accounts
    }
}

impl Execution<'_> {
    /// An account as it is here.
    pub fn account(&self, id: &AccountId) -> Account {
        self.changed.get(id).copied().unwrap_or_else(|| self.ledger.account(id))
    }

    /// Executes one transfer. Nothing changes on refusal.
    pub fn execute(&mut self, transfer: &Transfer) -> Result<(), Refused> {
        let sender = charged(self.account(&transfer.from), transfer)?;
        let mut changed = [(transfer.from, sender); 3];
        let mut len = 1;
        for (id, amount) in [(transfer.to, transfer.amount), (self.producer, transfer.fee)] {
            let known = changed.iter().take(len).position(|(other, _)| *other == id);
            let at = known.unwrap_or(len);
            let before =
                changed.get(at).filter(|_| known.is_some()).map_or_else(|| self.account(&id), |slot| slot.1);
            let balance = before.balance.checked_add(amount).ok_or(Refused::Overflow)?;
            if let Some(slot) = changed.get_mut(at) {
                *slot = (id, Account { balance, ..before });
            }
            len = len.max(at + 1);
        }
        for (id, account) in changed.into_iter().take(len) {
            self.set(id, account);
        }
        Ok(())
    }

    /// Takes a whole block back that was executed last; `undo` is its record.
    pub fn take_back(&mut self, undo: &Undo) {
        undo.iter().for_each(|(id, account)| self.set(*id, *account));
    }

    /// Ends a block: its record, and the state root after it. Work is one hash over the accounts in the buckets it touched.
    pub fn seal(&mut self) -> (Undo, Hash) {
        let base = self.ledger.accounts.read();
        for bucket in std::mem::take(&mut self.dirty) {
            self.buckets.insert(bucket, bucket_hash(&base, &self.changed, bucket));
        }
        let buckets = self.ledger.buckets.iter().zip(0..=255);
        let root = root_of(buckets.map(|(hash, bucket)| self.buckets.get(&bucket).unwrap_or(hash)));
        (std::mem::take(&mut self.undo), root)
    }

    /// Ends the execution.
    pub fn into_changes(self) -> Changes {
        Changes { accounts: self.changed, buckets: self.buckets }
    }

    fn set(&mut self, id: AccountId, account: Account) {
        let before = self.account(&id);
        self.undo.entry(id).or_insert(before);
        self.changed.insert(id, account);
        self.dirty.insert(id.0[0]);
    }
}

/// The sender after `transfer`, where it may make that one next and can pay for it.
fn charged(sender: Account, transfer: &Transfer) -> Result<Account, Refused> {
    if transfer.fee < MIN_FEE {
        return Err(Refused::Fee);
    }
    if transfer.nonce < sender.nonce {
        return Err(Refused::NonceUsed);
    }
    if transfer.nonce > sender.nonce {
        return Err(Refused::NonceGap);
    }
    let cost = transfer.amount.checked_add(transfer.fee).ok_or(Refused::Balance)?;
    let balance = sender.balance.checked_sub(cost).ok_or(Refused::Balance)?;
    let nonce = sender.nonce.checked_add(1).ok_or(Refused::Overflow)?;
    Ok(Account { nonce, balance })
}

fn bucket_range(bucket: u8) -> RangeInclusive<AccountId> {
    let (mut low, mut high) = ([0; 32], [255; 32]);
    (low[0], high[0]) = (bucket, bucket);
    AccountId(low)..=AccountId(high)
}

/// The hash of one bucket of `base`, where `changed` counts instead.
fn bucket_hash(base: &Map, changed: &Map, bucket: u8) -> Hash {
    let mut hash = Sha256::new();
    let mut add = |id: &AccountId, account: &Account| {
        if *account != Account::default() {
            hash.update(id.0);
            hash.update(account.nonce.to_le_bytes());
            hash.update(account.balance.to_le_bytes());
        }
    };
    let mut over = changed.range(bucket_range(bucket)).peekable();
    for (id, account) in base.range(bucket_range(bucket)) {
        while let Some((other, account)) = over.next_if(|(other, _)| *other < id) {
            add(other, account);
        }
        let account = over.next_if(|(other, _)| *other == id).map_or(account, |(_, changed)| changed);
        add(id, account);
    }
    over.for_each(|(id, account)| add(id, account));
    hash.finalize().into()
}

fn root_of<'a>(buckets: impl Iterator<Item = &'a Hash>) -> Hash {
    let mut hash = Sha256::new();
    buckets.for_each(|bucket| hash.update(bucket));
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;

    use super::*;

    const PRODUCER: AccountId = AccountId([0xff; 32]);
    const OTHER: AccountId = AccountId([5; 32]);

    fn sender() -> AccountId {
        AccountId::of(&SigningKey::from_bytes(&[1; 32]))
    }

    fn transfer(nonce: u64, to: AccountId, amount: u64, fee: u64) -> Transfer {
        Transfer::sign(&SigningKey::from_bytes(&[1; 32]), &[0; 32], nonce, (to, amount), fee, b"").unwrap()
    }

    fn ledger(balance: u64) -> Ledger {
        Ledger::new(BTreeMap::from([(sender(), Account { nonce: 0, balance })]))
    }

    #[test]
    fn execution_moves_amount_and_fee_and_its_record_takes_them_back() {
        let mut ledger = ledger(100);
        let before = ledger.root();
        let mut execution = ledger.execution(PRODUCER);
        execution.execute(&transfer(0, OTHER, 30, 2)).unwrap();
        execution.execute(&transfer(1, sender(), 10, 1)).unwrap();
        execution.execute(&transfer(2, PRODUCER, 5, 1)).unwrap();
        let (undo, root) = execution.seal();
        let changes = execution.into_changes();
        assert_eq!(
            (ledger.root(), ledger.account(&OTHER).balance),
            (before, 0),
            "nothing before it is applied"
        );
        ledger.apply(changes);
        assert_eq!(ledger.account(&sender()), Account { nonce: 3, balance: 61 });
        assert_eq!((ledger.account(&OTHER).balance, ledger.account(&PRODUCER).balance), (30, 9));
        assert_eq!(ledger.root(), root);
        assert_ne!(root, before);
        let mut execution = ledger.execution(PRODUCER);
        execution.take_back(&undo);
        assert_eq!(execution.seal().1, before);
        let changes = execution.into_changes();
        ledger.apply(changes);
        assert_eq!(ledger.root(), before);
        let kept: Vec<AccountId> = ledger.accounts().read().keys().copied().collect();
        assert_eq!(kept, [sender()], "accounts that hold nothing again take no memory");
    }

    #[test]
    fn the_root_of_each_sealed_block_is_that_of_a_ledger_made_anew() {
        let ledger = ledger(100);
        let mut execution = ledger.execution(PRODUCER);
        for (nonce, to) in [(0, [5; 32]), (1, [6; 32]), (2, sender().0)] {
            execution.execute(&transfer(nonce, AccountId(to), 10, 1)).unwrap();
            let (_, root) = execution.seal();
            let all = [sender(), PRODUCER, AccountId([5; 32]), AccountId([6; 32])];
            let anew = all.map(|id| (id, execution.account(&id)));
            assert_eq!(root, Ledger::new(BTreeMap::from(anew)).root());
        }
    }

    #[test]
    fn what_does_not_execute_changes_nothing() {
        let rich = BTreeMap::from([
            (sender(), Account { nonce: 0, balance: u64::MAX }),
            (OTHER, Account { nonce: 0, balance: 2 }),
        ]);
        let ledger = Ledger::new(rich);
        let mut execution = ledger.execution(PRODUCER);
        let mut run = |transfer| execution.execute(&transfer).unwrap_err();
        assert_eq!(run(transfer(1, PRODUCER, 0, 1)), Refused::NonceGap);
        assert_eq!(run(transfer(0, PRODUCER, 0, 0)), Refused::Fee);
        assert_eq!(run(transfer(0, PRODUCER, u64::MAX, 1)), Refused::Balance);
        assert_eq!(run(transfer(0, OTHER, u64::MAX - 1, 1)), Refused::Overflow);
        assert_eq!(execution.seal(), (Undo::new(), ledger.root()));
        execution.execute(&transfer(0, PRODUCER, 0, 1)).unwrap();
        assert_eq!(execution.execute(&transfer(0, PRODUCER, 0, 1)), Err(Refused::NonceUsed));
    }

    #[test]
    fn the_last_nonce_of_an_account_is_not_used() {
        let last = Account { nonce: u64::MAX, balance: 10 };
        let ledger = Ledger::new(BTreeMap::from([(sender(), last)]));
        let mut execution = ledger.execution(PRODUCER);
        assert_eq!(execution.execute(&transfer(u64::MAX, OTHER, 1, 1)), Err(Refused::Overflow));
    }

    #[test]
    fn an_account_that_holds_nothing_writes_no_state() {
        let ledger = Ledger::new(BTreeMap::new());
        let mut execution = ledger.execution(PRODUCER);
        assert_eq!(execution.execute(&transfer(0, OTHER, 0, 0)), Err(Refused::Fee));
        assert_eq!(execution.execute(&transfer(0, OTHER, 0, 1)), Err(Refused::Balance));
        assert!(execution.into_changes().accounts().is_empty());
    }
}
