//! Accounts, and what a block does to them.

use std::collections::{BTreeMap, BTreeSet};

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

/// Why a transfer does not execute in this state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
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

/// The state after some block.
#[derive(Clone, Debug)]
pub struct Ledger {
    accounts: BTreeMap<AccountId, Account>,
    buckets: Vec<Hash>, // 256, current but for those in `dirty`
    dirty: BTreeSet<u8>,
}

impl Ledger {
    /// The state made of these accounts.
    pub fn new(accounts: BTreeMap<AccountId, Account>) -> Self {
        Self { accounts, buckets: vec![[0; 32]; 256], dirty: (0..=255).collect() }
    }

    /// An account, the default where nobody wrote to it.
    pub fn account(&self, id: &AccountId) -> Account {
        self.accounts.get(id).copied().unwrap_or_default()
    }

    /// The state root. Work is one hash over the accounts in the buckets touched since the last call.
    pub fn root(&mut self) -> Hash {
        for bucket in std::mem::take(&mut self.dirty) {
            let mut hash = Sha256::new();
            let (mut low, mut high) = ([0; 32], [255; 32]);
            (low[0], high[0]) = (bucket, bucket);
            for (id, account) in self.accounts.range(AccountId(low)..=AccountId(high)) {
                hash.update(id.0);
                hash.update(account.nonce.to_le_bytes());
                hash.update(account.balance.to_le_bytes());
            }
            if let Some(slot) = self.buckets.get_mut(usize::from(bucket)) {
                *slot = hash.finalize().into();
            }
        }
        let mut hash = Sha256::new();
        self.buckets.iter().for_each(|bucket| hash.update(bucket));
        hash.finalize().into()
    }

    /// Executes one transfer; what the touched accounts were is noted in `undo`, unless noted before. Nothing changes on refusal.
    pub fn execute(
        &mut self,
        transfer: &Transfer,
        producer: &AccountId,
        undo: &mut Undo,
    ) -> Result<(), Refused> {
        let sender = self.account(&transfer.from);
        check(sender, transfer)?;
        let cost = transfer.amount.checked_add(transfer.fee).ok_or(Refused::Balance)?;
        let mut changed = BTreeMap::from([(
            transfer.from,
            Account { nonce: sender.nonce.saturating_add(1), balance: sender.balance - cost },
        )]);
        for (account, amount) in [(transfer.to, transfer.amount), (*producer, transfer.fee)] {
            let before = changed.get(&account).copied().unwrap_or_else(|| self.account(&account));
            let balance = before.balance.checked_add(amount).ok_or(Refused::Overflow)?;
            changed.insert(account, Account { balance, ..before });
        }
        for (id, account) in changed {
            undo.entry(id).or_insert_with(|| self.account(&id));
            self.set(id, account);
        }
        Ok(())
    }

    /// Takes a block back.
    pub fn undo(&mut self, undo: &Undo) {
        undo.iter().for_each(|(id, account)| self.set(*id, *account));
    }

    fn set(&mut self, id: AccountId, account: Account) {
        if account == Account::default() {
            self.accounts.remove(&id);
        } else {
            self.accounts.insert(id, account);
        }
        self.dirty.insert(id.0[0]);
    }
}

/// Whether `transfer` executes next, for a sender in this state.
pub fn check(sender: Account, transfer: &Transfer) -> Result<(), Refused> {
    if transfer.nonce < sender.nonce {
        return Err(Refused::NonceUsed);
    }
    if transfer.nonce > sender.nonce {
        return Err(Refused::NonceGap);
    }
    match transfer.amount.checked_add(transfer.fee) {
        Some(cost) if cost <= sender.balance => Ok(()),
        _ => Err(Refused::Balance),
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;

    use super::*;

    const PRODUCER: AccountId = AccountId([0xff; 32]);

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    fn transfer(nonce: u64, to: AccountId, amount: u64, fee: u64) -> Transfer {
        Transfer::sign(&key(1), &[0; 32], nonce, (to, amount), fee, b"").unwrap()
    }

    fn ledger(balance: u64) -> Ledger {
        Ledger::new(BTreeMap::from([(AccountId::of(&key(1)), Account { nonce: 0, balance })]))
    }

    #[test]
    fn execution_moves_amount_and_fee_and_undo_takes_them_back() {
        let (mut ledger, mut undo) = (ledger(100), Undo::new());
        let before = ledger.root();
        ledger.execute(&transfer(0, AccountId([5; 32]), 30, 2), &PRODUCER, &mut undo).unwrap();
        ledger.execute(&transfer(1, AccountId::of(&key(1)), 10, 0), &PRODUCER, &mut undo).unwrap();
        assert_eq!(ledger.account(&AccountId::of(&key(1))), Account { nonce: 2, balance: 68 });
        assert_eq!(ledger.account(&AccountId([5; 32])).balance, 30);
        assert_eq!(ledger.account(&PRODUCER).balance, 2);
        assert_ne!(ledger.root(), before);
        ledger.undo(&undo);
        assert_eq!(ledger.root(), before);
    }

    #[test]
    fn the_root_is_that_of_a_ledger_made_anew() {
        let (mut ledger, mut undo) = (ledger(100), Undo::new());
        ledger.root();
        ledger.execute(&transfer(0, AccountId([5; 32]), 100, 0), &PRODUCER, &mut undo).unwrap();
        let accounts = BTreeMap::from([
            (AccountId::of(&key(1)), Account { nonce: 1, balance: 0 }),
            (AccountId([5; 32]), Account { nonce: 0, balance: 100 }),
        ]);
        assert_eq!(ledger.root(), Ledger::new(accounts).root());
    }

    #[test]
    fn what_does_not_execute_changes_nothing() {
        let (mut ledger, mut undo) = (ledger(u64::MAX), Undo::new());
        let root = ledger.root();
        let mut run = |transfer| ledger.execute(&transfer, &PRODUCER, &mut undo).unwrap_err();
        assert_eq!(run(transfer(1, PRODUCER, 0, 0)), Refused::NonceGap);
        assert_eq!(run(transfer(0, PRODUCER, u64::MAX, 1)), Refused::Balance);
        ledger.set(AccountId([5; 32]), Account { nonce: 0, balance: 1 });
        assert_eq!(
            ledger.execute(&transfer(0, AccountId([5; 32]), u64::MAX, 0), &PRODUCER, &mut undo),
            Err(Refused::Overflow)
        );
        ledger.set(AccountId([5; 32]), Account::default());
        assert!(undo.is_empty() && ledger.root() == root);
        ledger.execute(&transfer(0, PRODUCER, 0, 0), &PRODUCER, &mut undo).unwrap();
        assert_eq!(
            ledger.execute(&transfer(0, PRODUCER, 0, 0), &PRODUCER, &mut undo),
            Err(Refused::NonceUsed)
        );
    }
}
