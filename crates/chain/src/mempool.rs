//! Which transfers wait for a block, and which go next: the highest fee first, nonces in order.
//!
//! A transfer is *ready* where all earlier ones of its sender are in blocks or ready too, and the sender can pay for all of
//! them. Where only earlier ones are missing, it waits beyond a *gap*. Gaps belong to their sender: closing one costs
//! work for that sender alone. Both are bounded, and what has no place here is refused or drives out what is wanted less.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::Duration;

use weir::Instant;

use crate::block::{BODY_MAX, TRANSFERS_MAX};
use crate::ledger::{Account, Accounts, Execution, MIN_FEE, Refused};
use crate::{AccountId, Hash, Transfer};

/// Transfers that a block may pass over because they are too large for what is left of it, before it is closed.
const MISSES_MAX: usize = 64;

/// What may wait.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Ready transfers, at most. Beyond, the last one of the sender whose last pays least leaves. Default: 65,536.
    pub items: usize,
    /// Bytes of ready transfers, at most; as for `items`. Default: 64 MiB.
    pub bytes: usize,
    /// Transfers beyond gaps, at most. Beyond, the last one of the sender with the most leaves. Default: 4,096.
    pub gaps: usize,
    /// Bytes of transfers beyond gaps, at most; as for `gaps`. Default: 4 MiB.
    pub gap_bytes: usize,
    /// Transfers beyond gaps of one sender, at most; more are refused. Default: 64.
    pub sender_gaps: usize,
    /// How long one waits beyond a gap. Default: 30 s.
    pub gap_for: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            items: 65_536,
            bytes: 64 << 20,
            gaps: 4_096,
            gap_bytes: 4 << 20,
            sender_gaps: 64,
            gap_for: Duration::from_secs(30),
        }
    }
}

/// Where a transfer would go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// It can be ready.
    Ready,
    /// It can wait beyond a gap.
    Gap,
}

/// What an insertion changed.
#[derive(Clone, Debug, Default)]
pub struct Inserted {
    /// Became ready, in order: the transfer itself, and what it closed the gap for.
    pub ready: Vec<Transfer>,
    /// Left for it, or did not stay.
    pub dropped: Vec<Hash>,
}

#[derive(Debug, Default)]
struct Queue {
    ready: BTreeMap<u64, Transfer>, // without gaps
    cost: u64,                      // of all that are ready
    gaps: BTreeMap<u64, (Transfer, Instant)>,
}

impl Queue {
    /// The nonce that is ready next.
    fn next(&self, account: Account) -> u64 {
        self.ready.last_key_value().map_or(account.nonce, |(nonce, _)| nonce.saturating_add(1))
    }

    fn tail_fee(&self) -> Option<u64> {
        self.ready.last_key_value().map(|(_, transfer)| transfer.fee)
    }

    fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.gaps.is_empty()
    }
}

/// The transfers that wait, by sender and nonce.
#[derive(Debug)]
pub struct Mempool {
    limits: Limits,
    accounts: Accounts,
    senders: BTreeMap<AccountId, Queue>,
    by_id: BTreeMap<Hash, (AccountId, u64)>, // ready and beyond gaps
    tails: BTreeSet<(u64, AccountId)>,       // senders by the fee of their last ready transfer
    bytes: usize,                            // of ready transfers
    gaps_of: BTreeSet<(usize, AccountId)>,   // senders by how many wait beyond gaps
    expiries: BTreeSet<(Instant, AccountId, u64)>,
    gap_bytes: usize,
}

impl Mempool {
    /// An empty one over these accounts.
    pub fn new(accounts: Accounts, limits: Limits) -> Self {
        Self {
            limits,
            accounts,
            senders: BTreeMap::new(),
            by_id: BTreeMap::new(),
            tails: BTreeSet::new(),
            bytes: 0,
            gaps_of: BTreeSet::new(),
            expiries: BTreeSet::new(),
            gap_bytes: 0,
        }
    }

    /// Whether `transfer` can wait here, and how. Work does not depend on how many wait.
    ///
    /// # Errors
    /// Why it cannot. [`Refused::NonceGap`]: there is no place beyond the sender's gap.
    pub fn check(&self, transfer: &Transfer) -> Result<Fit, Refused> {
        let account = self.accounts.get(&transfer.from);
        if transfer.fee < MIN_FEE {
            return Err(Refused::Fee);
        }
        if transfer.nonce < account.nonce {
            return Err(Refused::NonceUsed);
        }
        let queue = self.senders.get(&transfer.from);
        let (next, cost) = queue.map_or((account.nonce, 0), |queue| (queue.next(account), queue.cost));
        let taken = queue.is_some_and(|queue| queue.gaps.contains_key(&transfer.nonce));
        if transfer.nonce < next || taken {
            return Err(Refused::NonceUsed);
        }
        if cost.saturating_add(transfer.cost()) > account.balance {
            return Err(Refused::Balance);
        }
        if transfer.nonce == next {
            return Ok(Fit::Ready);
        }
        let gaps = queue.map_or(0, |queue| queue.gaps.len());
        if gaps < self.limits.sender_gaps { Ok(Fit::Gap) } else { Err(Refused::NonceGap) }
    }

    /// Adds a transfer that [`check`](Self::check) found a place for. Its signature must have been checked.
    pub fn insert(&mut self, now: Instant, transfer: Transfer) -> Inserted {
        let mut inserted = Inserted::default();
        match self.check(&transfer) {
            Ok(Fit::Ready) => {
                let sender = transfer.from;
                self.push(transfer, &mut inserted);
                self.release(sender, &mut inserted);
                self.bound(&mut inserted);
            }
            Ok(Fit::Gap) => {
                self.hold(now, transfer);
                self.bound_gaps(&mut inserted.dropped);
            }
            Err(_) => inserted.dropped.push(*transfer.id()),
        }
        inserted
    }

    /// Takes one out, with all later ones of its sender that are ready: they can not execute without it. Returns all.
    pub fn remove(&mut self, id: &Hash) -> Vec<Hash> {
        let Some((sender, nonce)) = self.by_id.get(id).copied() else { return Vec::new() };
        let beyond = self.senders.get(&sender).is_some_and(|queue| queue.gaps.contains_key(&nonce));
        let mut gone = Vec::new();
        if beyond {
            gone.extend(self.unhold(sender, nonce).map(|transfer| *transfer.id()));
        } else {
            self.cut(sender, nonce, &mut gone);
        }
        self.tidy(sender);
        gone
    }

    /// Takes out what expired beyond its gap; returns the ids.
    pub fn expire(&mut self, now: Instant) -> Vec<Hash> {
        let mut gone = Vec::new();
        while let Some((_, sender, nonce)) = self.expiries.first().copied().filter(|(due, ..)| *due <= now) {
            gone.extend(self.unhold(sender, nonce).map(|transfer| *transfer.id()));
            self.tidy(sender);
        }
        gone
    }

    /// After blocks: these senders' accounts have changed. What was executed, or can never be any more, leaves (`dropped`);
    /// what a block closed the gap for becomes ready. Work grows with what waits of these senders.
    pub fn settle(&mut self, senders: impl IntoIterator<Item = AccountId>) -> Inserted {
        let mut inserted = Inserted::default();
        for sender in senders {
            let Some(queue) = self.senders.get(&sender) else { continue };
            let account = self.accounts.get(&sender);
            let used: Vec<u64> = queue.gaps.range(..account.nonce).map(|(nonce, _)| *nonce).collect();
            for nonce in used {
                inserted.dropped.extend(self.unhold(sender, nonce).map(|transfer| *transfer.id()));
            }
            self.drop_used(sender, account.nonce, &mut inserted.dropped);
            self.drop_unpayable(sender, account, &mut inserted.dropped);
            self.release(sender, &mut inserted);
            self.tidy(sender);
        }
        self.bound(&mut inserted);
        inserted
    }

    /// After a change of branch: these transfers are in no block any more. They wait again, before their senders' later ones.
    pub fn rejoin(&mut self, now: Instant, returned: Vec<Transfer>) -> Inserted {
        let senders: BTreeSet<AccountId> = returned.iter().map(|transfer| transfer.from).collect();
        let mut all = returned;
        for sender in &senders {
            let queue = self.senders.get(sender);
            all.extend(queue.into_iter().flat_map(|queue| queue.ready.values().cloned()));
            self.cut(*sender, 0, &mut Vec::new());
        }
        all.sort_by_key(|transfer| (transfer.from, transfer.nonce));
        let mut inserted = Inserted::default();
        for transfer in all {
            let one = self.insert(now, transfer);
            inserted.ready.extend(one.ready);
            inserted.dropped.extend(one.dropped);
        }
        senders.into_iter().for_each(|sender| self.tidy(sender));
        inserted
    }

    /// Fills a block by executing: by fee, the earlier nonce of a sender always first, within a block's limits. What does not
    /// execute leaves the mempool, with what follows it; the ids are returned beside the block's transfers.
    /// Work is O(n log n) in what is chosen or dropped, and in the number of senders.
    pub fn select(&mut self, execution: &mut Execution<'_>) -> (Vec<Transfer>, Vec<Hash>) {
        let mut heads: BinaryHeap<(u64, std::cmp::Reverse<AccountId>, u64)> = BinaryHeap::new();
        for (sender, queue) in &self.senders {
            if let Some((nonce, head)) = queue.ready.first_key_value() {
                heads.push((head.fee, std::cmp::Reverse(*sender), *nonce));
            }
        }
        let (mut chosen, mut failed) = (Vec::new(), Vec::new());
        let (mut left, mut misses) = (BODY_MAX - 4, 0);
        while let Some((_, std::cmp::Reverse(sender), nonce)) = heads.pop() {
            let Some(queue) = self.senders.get(&sender) else { continue };
            let Some(transfer) = queue.ready.get(&nonce) else { continue };
            let Some(rest) = left.checked_sub(4 + transfer.encoded().len()) else {
                misses += 1;
                if misses > MISSES_MAX {
                    break;
                }
                continue; // the sender's later ones must wait for this one
            };
            if execution.execute(transfer).is_err() {
                failed.push(*transfer.id());
                continue;
            }
            left = rest;
            chosen.push(transfer.clone());
            if chosen.len() == TRANSFERS_MAX {
                break;
            }
            if let Some((nonce, next)) = queue.ready.range(nonce.saturating_add(1)..).next() {
                heads.push((next.fee, std::cmp::Reverse(sender), *nonce));
            }
        }
        let dropped = failed.iter().flat_map(|id| self.remove(id)).collect();
        (chosen, dropped)
    }

    /// Whether this one waits, ready or not.
    pub fn contains(&self, id: &Hash) -> bool {
        self.by_id.contains_key(id)
    }

    /// All that are ready, each sender's in order.
    pub fn ready(&self) -> impl Iterator<Item = &Transfer> {
        self.senders.values().flat_map(|queue| queue.ready.values())
    }

    /// How many are ready.
    pub fn len(&self) -> usize {
        self.by_id.len() - self.expiries.len()
    }

    /// Whether none is ready.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many wait beyond gaps.
    pub fn gaps(&self) -> usize {
        self.expiries.len()
    }

    fn push(&mut self, transfer: Transfer, inserted: &mut Inserted) {
        let sender = transfer.from;
        self.by_id.insert(*transfer.id(), (sender, transfer.nonce));
        self.bytes += transfer.encoded().len();
        let queue = self.senders.entry(sender).or_default();
        if let Some(fee) = queue.tail_fee() {
            self.tails.remove(&(fee, sender));
        }
        self.tails.insert((transfer.fee, sender));
        queue.cost = queue.cost.saturating_add(transfer.cost());
        inserted.ready.push(transfer.clone());
        queue.ready.insert(transfer.nonce, transfer);
    }

    /// Makes ready what is no longer beyond a gap, as far as the sender can pay.
    fn release(&mut self, sender: AccountId, inserted: &mut Inserted) {
        let account = self.accounts.get(&sender);
        while let Some(queue) = self.senders.get(&sender) {
            let (next, cost) = (queue.next(account), queue.cost);
            let Some((transfer, _)) = queue.gaps.get(&next) else { return };
            let payable = cost.saturating_add(transfer.cost()) <= account.balance;
            let Some(transfer) = self.unhold(sender, next) else { return };
            if !payable {
                inserted.dropped.push(*transfer.id());
                return;
            }
            self.push(transfer, inserted);
        }
    }

    /// Takes out ready ones from `nonce` up.
    fn cut(&mut self, sender: AccountId, nonce: u64, gone: &mut Vec<Hash>) {
        let Some(queue) = self.senders.get_mut(&sender) else { return };
        if let Some(fee) = queue.tail_fee() {
            self.tails.remove(&(fee, sender));
        }
        for transfer in queue.ready.split_off(&nonce).into_values() {
            queue.cost = queue.cost.saturating_sub(transfer.cost());
            self.bytes = self.bytes.saturating_sub(transfer.encoded().len());
            self.by_id.remove(transfer.id());
            gone.push(*transfer.id());
        }
        if let Some(fee) = queue.tail_fee() {
            self.tails.insert((fee, sender));
        }
    }

    /// Takes out ready ones below `nonce`: they were executed, or others in their place.
    fn drop_used(&mut self, sender: AccountId, nonce: u64, gone: &mut Vec<Hash>) {
        let Some(queue) = self.senders.get_mut(&sender) else { return };
        if let Some(fee) = queue.tail_fee() {
            self.tails.remove(&(fee, sender));
        }
        let kept = queue.ready.split_off(&nonce);
        for transfer in std::mem::replace(&mut queue.ready, kept).into_values() {
            self.bytes = self.bytes.saturating_sub(transfer.encoded().len());
            self.by_id.remove(transfer.id());
            gone.push(*transfer.id());
        }
        queue.cost = queue.ready.values().fold(0, |cost, transfer| cost.saturating_add(transfer.cost()));
        if let Some(fee) = queue.tail_fee() {
            self.tails.insert((fee, sender));
        }
    }

    /// Takes out ready ones that no longer follow the account, or that it can not pay any more, with what follows them.
    fn drop_unpayable(&mut self, sender: AccountId, account: Account, gone: &mut Vec<Hash>) {
        let Some(queue) = self.senders.get(&sender) else { return };
        let (mut next, mut cost) = (account.nonce, 0_u64);
        for (nonce, transfer) in &queue.ready {
            cost = cost.saturating_add(transfer.cost());
            if *nonce != next || cost > account.balance {
                let from = *nonce;
                return self.cut(sender, from, gone);
            }
            next = next.saturating_add(1);
        }
    }

    /// Drives out what pays least until the rest has place.
    fn bound(&mut self, inserted: &mut Inserted) {
        while self.len() > self.limits.items || self.bytes > self.limits.bytes {
            let Some((_, sender)) = self.tails.first().copied() else { return };
            let Some(nonce) = self.senders.get(&sender).and_then(|queue| queue.ready.last_key_value()) else {
                return;
            };
            let nonce = *nonce.0;
            let first = inserted.dropped.len();
            self.cut(sender, nonce, &mut inserted.dropped);
            for id in inserted.dropped.iter().skip(first) {
                inserted.ready.retain(|transfer| transfer.id() != id);
            }
            self.tidy(sender);
        }
    }

    fn hold(&mut self, now: Instant, transfer: Transfer) {
        let (sender, nonce) = (transfer.from, transfer.nonce);
        let due = now + self.limits.gap_for;
        self.by_id.insert(*transfer.id(), (sender, nonce));
        self.expiries.insert((due, sender, nonce));
        self.gap_bytes += transfer.encoded().len();
        let queue = self.senders.entry(sender).or_default();
        self.gaps_of.remove(&(queue.gaps.len(), sender));
        queue.gaps.insert(nonce, (transfer, due));
        self.gaps_of.insert((queue.gaps.len(), sender));
    }

    fn unhold(&mut self, sender: AccountId, nonce: u64) -> Option<Transfer> {
        let queue = self.senders.get_mut(&sender)?;
        let count = queue.gaps.len();
        let (transfer, due) = queue.gaps.remove(&nonce)?;
        self.gaps_of.remove(&(count, sender));
        if !queue.gaps.is_empty() {
            self.gaps_of.insert((queue.gaps.len(), sender));
        }
        self.expiries.remove(&(due, sender, nonce));
        self.gap_bytes = self.gap_bytes.saturating_sub(transfer.encoded().len());
        self.by_id.remove(transfer.id());
        Some(transfer)
    }

    /// Drives out the last one of whoever has the most beyond gaps, until the rest has place.
    fn bound_gaps(&mut self, gone: &mut Vec<Hash>) {
        while self.gaps() > self.limits.gaps || self.gap_bytes > self.limits.gap_bytes {
            let Some((_, sender)) = self.gaps_of.last().copied() else { return };
            let last = self.senders.get(&sender).and_then(|queue| queue.gaps.last_key_value());
            let Some(nonce) = last.map(|(nonce, _)| *nonce) else { return };
            gone.extend(self.unhold(sender, nonce).map(|transfer| *transfer.id()));
            self.tidy(sender);
        }
    }

    fn tidy(&mut self, sender: AccountId) {
        if self.senders.get(&sender).is_some_and(Queue::is_empty) {
            self.senders.remove(&sender);
        }
    }
}

#[cfg(test)]
mod tests;
