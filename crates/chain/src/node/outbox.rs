//! What this node has to tell the network's pool, until that has room for it: nothing of it is lost.
//!
//! What has gathered goes as one batch, so that a block costs one place in the network's mailbox however many transfers it
//! holds. Of ids to remove and of transfers to publish there are at most as many as the mempool and a block hold. The tip does
//! not come here: publishing it is never refused.

use std::collections::VecDeque;
use std::future::{Future as _, poll_fn};
use std::task::{Poll, Waker};

use weir::pool::MAX_BATCH;
use weir::{ItemId, PublishError};

use super::{Inner, State};
use crate::mempool::Mempool;
use crate::{Hash, Transfer};

#[derive(Debug, Default)]
pub(super) struct Outbox {
    removed: VecDeque<Hash>,
    published: VecDeque<Transfer>,
    sender: Option<Waker>,
}

/// What one command changes: first these leave, then those come. At most [`MAX_BATCH`] in all.
#[derive(Debug)]
struct Batch {
    removed: Vec<Hash>,
    published: Vec<Transfer>,
}

impl Outbox {
    /// These are not worth offering any more.
    pub(super) fn remove(&mut self, ids: impl IntoIterator<Item = Hash>) {
        self.removed.extend(ids);
        self.wake();
    }

    /// These are worth offering.
    pub(super) fn publish(&mut self, transfers: impl IntoIterator<Item = Transfer>) {
        self.published.extend(transfers);
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(waker) = self.sender.take() {
            waker.wake();
        }
    }

    /// The oldest of what waits, removals first. What has left the mempool in the meantime is not published.
    fn next(&mut self, mempool: &Mempool) -> Option<Batch> {
        self.published.retain(|transfer| mempool.contains(transfer.id()));
        let removed: Vec<Hash> = self.removed.drain(..self.removed.len().min(MAX_BATCH)).collect();
        let room = MAX_BATCH - removed.len();
        let published: Vec<Transfer> = self.published.drain(..self.published.len().min(room)).collect();
        (!removed.is_empty() || !published.is_empty()).then_some(Batch { removed, published })
    }
}

/// Sends what waits, until the network stops.
pub(super) async fn send(inner: &Inner) {
    // A sleep ends early only when the network stops.
    let mut stopped = std::pin::pin!(async { while inner.net.sleep(super::ROUSE).await.is_ok() {} });
    loop {
        let next = poll_fn(|cx| {
            let mut state = inner.state();
            let State { out, mempool, .. } = &mut *state;
            if let Some(batch) = out.next(mempool) {
                return Poll::Ready(Some(batch));
            }
            out.sender = Some(cx.waker().clone());
            drop(state);
            stopped.as_mut().poll(cx).map(|()| None)
        });
        let Some(batch) = next.await else { return };
        match settle(inner, batch).await {
            Ok(()) => {}
            Err(PublishError::Stopped) => return,
            Err(error) => tracing::error!(%error, "the network's pool refused what the mempool holds"),
        }
    }
}

/// Sends one batch, however long there is no room for it.
async fn settle(inner: &Inner, mut batch: Batch) -> Result<(), PublishError> {
    loop {
        let removed = batch.removed.iter().copied().map(ItemId);
        match inner.pool.settle_wait(removed, &batch.published).await {
            Err(PublishError::Deadline) => {
                let state = inner.state();
                batch.published.retain(|transfer| state.mempool.contains(transfer.id()));
            }
            done => return done,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test that fails says where
mod tests {
    use ed25519_dalek::SigningKey;
    use weir::Instant;

    use super::*;
    use crate::AccountId;
    use crate::ledger::{Account, Ledger};
    use crate::mempool::Limits;

    fn transfer(nonce: u64) -> Transfer {
        let key = SigningKey::from_bytes(&[1; 32]);
        Transfer::sign(&key, &[0; 32], nonce, (AccountId([9; 32]), 0), 1, b"").unwrap()
    }

    /// A mempool that holds the first `count` transfers.
    fn mempool(count: u64) -> Mempool {
        let id = AccountId::of(&SigningKey::from_bytes(&[1; 32]));
        let ledger = Ledger::new([(id, Account { nonce: 0, balance: 100 })].into());
        let mut mempool = Mempool::new(ledger.accounts().clone(), Limits::default());
        for nonce in 0..count {
            mempool.insert(Instant::from_nanos(0), transfer(nonce));
        }
        mempool
    }

    fn id(number: usize) -> Hash {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&number.to_le_bytes());
        id
    }

    /// The ids removed and the nonces published by the next batch.
    fn taken(out: &mut Outbox, mempool: &Mempool) -> Option<(Vec<Hash>, Vec<u64>)> {
        let batch = out.next(mempool)?;
        Some((batch.removed, batch.published.iter().map(|transfer| transfer.nonce).collect()))
    }

    #[test]
    fn all_that_waits_is_one_batch_without_what_left_the_mempool() {
        let (mempool, mut out) = (mempool(2), Outbox::default());
        out.remove([id(1)]);
        out.publish((0..3).map(transfer)); // the last is not in the mempool
        out.remove([id(2), id(3)]);
        assert_eq!(taken(&mut out, &mempool), Some((vec![id(1), id(2), id(3)], vec![0, 1])));
        assert_eq!(taken(&mut out, &mempool), None);
    }

    #[test]
    fn what_is_more_than_a_batch_takes_goes_in_several_and_in_order() {
        let (mempool, mut out) = (mempool(2), Outbox::default());
        out.publish((0..2).map(transfer));
        out.remove((0..MAX_BATCH * 2 - 1).map(id));
        assert_eq!(taken(&mut out, &mempool), Some(((0..MAX_BATCH).map(id).collect(), vec![])));
        let rest = (MAX_BATCH..MAX_BATCH * 2 - 1).map(id).collect();
        assert_eq!(taken(&mut out, &mempool), Some((rest, vec![0])));
        assert_eq!(taken(&mut out, &mempool), Some((vec![], vec![1])));
        assert_eq!(taken(&mut out, &mempool), None);
    }
}
