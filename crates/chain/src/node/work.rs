//! Transfers in, blocks out.

use std::time::Duration;

use weir::{Event, Undecided};

use super::{Inner, What};
use crate::Transfer;
use crate::chain::{AddError, TransferCheck};
use crate::ledger::Refused;

/// How long a transfer beyond a nonce gap waits before it comes again by itself.
const GAP_PAUSE: Duration = Duration::from_secs(5);

/// Takes candidates off the pool and decides on each.
pub(super) async fn transfers(inner: &Inner) {
    while let Some(candidate) = inner.pool.next().await {
        let (transfer, undecided) = candidate.into_parts();
        decide(inner, transfer, undecided);
    }
}

fn decide(inner: &Inner, transfer: Transfer, undecided: Undecided) {
    let mut state = inner.state();
    match state.chain.check_transfer(&transfer) {
        TransferCheck::Accept => {
            let id = *transfer.id();
            state.chain.mempool.insert(transfer);
            undecided.accept();
            inner.observe(&mut state, What::Accepted(id));
            if std::mem::take(&mut state.deferred) {
                let _ = inner.pool.reconsider();
            }
        }
        TransferCheck::Invalid => undecided.reject(),
        TransferCheck::Ignore(
            Refused::Balance | Refused::NonceUsed | Refused::NonceGap | Refused::Overflow,
        ) => {
            undecided.ignore();
        }
        TransferCheck::Defer => {
            state.deferred = true;
            undecided.defer(GAP_PAUSE);
        }
    }
}

/// What the pool evicts leaves the mempool too.
pub(super) async fn evictions(inner: &Inner) {
    let events = inner.net.events();
    while let Some(event) = events.next().await {
        if let Event::Evicted { id, .. } = event {
            inner.state().chain.mempool.remove(&id.0);
        }
    }
}

/// Produces a block each `block_ms`, where this node has the producer's key.
pub(super) async fn produce(inner: &Inner) {
    let Some(key) = &inner.options.producer else { return };
    let pause = Duration::from_millis(inner.state().chain.genesis().block_ms);
    let mut due = inner.net.now() + pause;
    loop {
        if inner.net.sleep(due.since(inner.net.now())).await.is_err() {
            return;
        }
        due = (due + pause).max(inner.net.now());
        let wall = inner.wall_ms();
        let mut state = inner.state();
        if !state.producing {
            return;
        }
        match state.chain.produce(key, wall) {
            Ok((block, added)) => {
                let hash = *block.header.hash();
                inner.observe(&mut state, What::Published(hash));
                state.held.answer(&hash, &block.encode());
                inner.after(&mut state, &added);
            }
            Err(AddError::Store(error)) => {
                drop(state);
                return inner.failed(error);
            }
            Err(error) => tracing::warn!(%error, "no block produced"),
        }
    }
}
