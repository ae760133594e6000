//! Which accepted transfers wait for a block, and which go next: the highest fee first, nonces in order.

use std::collections::{BTreeMap, BinaryHeap};

use crate::block::{BODY_MAX, TRANSFERS_MAX};
use crate::ledger::{Ledger, Refused};
use crate::{AccountId, Hash, Transfer};

/// Accepted transfers by sender and nonce. Its bounds are the network pool's: what that evicts is removed here.
#[derive(Debug, Default)]
pub struct Mempool {
    by_sender: BTreeMap<AccountId, BTreeMap<u64, Transfer>>,
    sender_of: BTreeMap<Hash, (AccountId, u64)>,
}

impl Mempool {
    /// Whether `transfer` can wait here: it follows what its sender has executed and what waits already, and can be paid.
    pub fn check(&self, transfer: &Transfer, ledger: &Ledger) -> Result<(), Refused> {
        let account = ledger.account(&transfer.from);
        let waiting = self.by_sender.get(&transfer.from);
        if transfer.nonce < account.nonce
            || waiting.is_some_and(|waiting| waiting.contains_key(&transfer.nonce))
        {
            return Err(Refused::NonceUsed);
        }
        let (mut next, mut cost) = (account.nonce, 0_u64);
        for (nonce, before) in waiting.into_iter().flatten() {
            if *nonce != next {
                break;
            }
            next = next.saturating_add(1);
            cost = cost.saturating_add(before.amount).saturating_add(before.fee);
        }
        if transfer.nonce > next {
            return Err(Refused::NonceGap);
        }
        let cost = cost.saturating_add(transfer.amount).saturating_add(transfer.fee);
        if cost > account.balance { Err(Refused::Balance) } else { Ok(()) }
    }

    /// Adds a checked transfer.
    pub fn insert(&mut self, transfer: Transfer) {
        self.sender_of.insert(*transfer.id(), (transfer.from, transfer.nonce));
        self.by_sender.entry(transfer.from).or_default().insert(transfer.nonce, transfer);
    }

    /// Takes one out.
    pub fn remove(&mut self, id: &Hash) -> Option<Transfer> {
        let (sender, nonce) = self.sender_of.remove(id)?;
        let waiting = self.by_sender.get_mut(&sender)?;
        let transfer = waiting.remove(&nonce);
        if waiting.is_empty() {
            self.by_sender.remove(&sender);
        }
        transfer
    }

    /// Takes out what can never execute any more in this state, after these senders were touched; returns the ids.
    pub fn drop_stale(&mut self, senders: impl IntoIterator<Item = AccountId>, ledger: &Ledger) -> Vec<Hash> {
        let mut stale = Vec::new();
        for sender in senders {
            let nonce = ledger.account(&sender).nonce;
            if let Some(waiting) = self.by_sender.get(&sender) {
                stale.extend(waiting.range(..nonce).map(|(_, transfer)| *transfer.id()));
            }
        }
        for id in &stale {
            self.remove(id);
        }
        stale
    }

    /// The transfers of the next block: by fee, the earlier nonce of a sender always first, within a block's limits.
    /// Work is O(n log n) in what is chosen and in the number of senders.
    pub fn select(&self, ledger: &Ledger) -> Vec<Transfer> {
        let mut heads: BinaryHeap<(u64, std::cmp::Reverse<AccountId>)> = BinaryHeap::new();
        let mut queues = BTreeMap::new();
        for (sender, waiting) in &self.by_sender {
            let queue =
                waiting.range(ledger.account(sender).nonce..).map(|(_, transfer)| transfer).peekable();
            queues.insert(*sender, queue);
        }
        for (sender, queue) in &mut queues {
            if let Some(head) = queue.peek().filter(|head| head.nonce == ledger.account(sender).nonce) {
                heads.push((head.fee, std::cmp::Reverse(*sender)));
            }
        }
        let (mut chosen, mut bytes) = (Vec::new(), 4);
        while let Some((_, std::cmp::Reverse(sender))) = heads.pop() {
            let Some(queue) = queues.get_mut(&sender) else { continue };
            let Some(transfer) = queue.next() else { continue };
            bytes += 4 + transfer.encoded().len();
            if chosen.len() == TRANSFERS_MAX || bytes > BODY_MAX {
                break;
            }
            chosen.push(transfer.clone());
            if let Some(next) = queue.peek().filter(|next| next.nonce == transfer.nonce + 1) {
                heads.push((next.fee, std::cmp::Reverse(sender)));
            }
        }
        chosen
    }

    /// Whether this one waits.
    pub fn contains(&self, id: &Hash) -> bool {
        self.sender_of.contains_key(id)
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.sender_of.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.sender_of.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;

    use super::*;
    use crate::ledger::{Account, Undo};

    fn transfer(seed: u8, nonce: u64, fee: u64) -> Transfer {
        let key = SigningKey::from_bytes(&[seed; 32]);
        Transfer::sign(&key, &[0; 32], nonce, (AccountId([9; 32]), 0), fee, b"").unwrap()
    }

    fn ledger() -> Ledger {
        let account = |seed: u8| AccountId::of(&SigningKey::from_bytes(&[seed; 32]));
        Ledger::new([1, 2].map(|seed| (account(seed), Account { nonce: 0, balance: 100 })).into())
    }

    #[test]
    fn the_highest_fee_goes_first_but_never_before_an_earlier_nonce() {
        let (mut pool, ledger) = (Mempool::default(), ledger());
        for waiting in [transfer(1, 0, 1), transfer(1, 1, 50), transfer(2, 0, 10)] {
            pool.check(&waiting, &ledger).unwrap();
            pool.insert(waiting);
        }
        let fees: Vec<_> = pool.select(&ledger).iter().map(|transfer| transfer.fee).collect();
        assert_eq!(fees, [10, 1, 50]);
    }

    #[test]
    fn a_gap_waits_and_what_the_sender_cannot_pay_does_not() {
        let (mut pool, ledger) = (Mempool::default(), ledger());
        assert_eq!(pool.check(&transfer(1, 1, 1), &ledger), Err(Refused::NonceGap));
        pool.insert(transfer(1, 0, 60));
        assert_eq!(pool.check(&transfer(1, 1, 41), &ledger), Err(Refused::Balance));
        assert_eq!(pool.check(&transfer(1, 1, 40), &ledger), Ok(()));
        assert_eq!(pool.check(&transfer(1, 0, 1), &ledger), Err(Refused::NonceUsed));
    }

    #[test]
    fn what_a_block_executed_leaves_with_its_id() {
        let (mut pool, mut ledger) = (Mempool::default(), ledger());
        let (first, second) = (transfer(1, 0, 1), transfer(1, 1, 1));
        pool.insert(first.clone());
        pool.insert(second);
        ledger.execute(&first, &AccountId([9; 32]), &mut Undo::new()).unwrap();
        assert_eq!(pool.drop_stale([first.from], &ledger), [*first.id()]);
        assert_eq!((pool.len(), pool.select(&ledger).len()), (1, 1));
    }
}
