//! Transfers in, blocks out.

use std::time::Duration;

use ed25519_dalek::SigningKey;
use weir::{Candidate, Event, Undecided};

use super::{Inner, What, turn};
use crate::Transfer;
use crate::chain::AddError;
use crate::mempool::Inserted;
use crate::store::StoreError;

/// Candidates decided in one turn, at most: their signatures are checked in one batch.
const BATCH: usize = 64;
/// Events read in one turn, at most.
const EVENTS: usize = 64;
/// How often what may have expired is looked for.
const TICK: Duration = Duration::from_millis(500);

/// Takes candidates off the pool and decides on them.
pub(super) async fn transfers(inner: &Inner) {
    while let Some(first) = inner.pool.next().await {
        let more = std::iter::from_fn(|| inner.pool.try_next()).take(BATCH - 1);
        decide(inner, std::iter::once(first).chain(more));
        turn().await;
    }
}

/// What the state refuses is ignored, and its signature not looked at. What waits beyond a gap is ignored too: the pool need
/// not ask for it again, and it is published from here once the gap is closed.
fn decide(inner: &Inner, candidates: impl Iterator<Item = Candidate<Transfer>>) {
    let candidates: Vec<(Transfer, Undecided)> = candidates.map(Candidate::into_parts).collect();
    let mut fitting = Vec::with_capacity(candidates.len());
    {
        let state = inner.state();
        for (transfer, undecided) in candidates {
            match state.mempool.check(&transfer) {
                // a second one of the same batch is judged again when the first is in
                Ok(_) => fitting.push((transfer, undecided)),
                Err(_) => undecided.ignore(),
            }
        }
    }
    let signed = Transfer::verify_all(fitting.iter().map(|(transfer, _)| transfer), &inner.network);
    let mut state = inner.state();
    for ((transfer, undecided), signed) in fitting.into_iter().zip(signed) {
        if !signed {
            undecided.reject();
            continue;
        }
        let id = *transfer.id();
        let inserted: Inserted = state.mempool.insert(inner.net.now(), transfer);
        if inserted.ready.iter().any(|one| *one.id() == id) {
            undecided.accept();
        } else {
            undecided.ignore();
        }
        inner.changed(&mut state, inserted, Some(&id));
    }
}

/// What the pool evicts leaves the mempool too, with what can not go without it. Where events were missed, all that is ready is
/// published again: what has no place in the pool is evicted once more.
pub(super) async fn events(inner: &Inner) {
    let events = inner.net.events();
    while let Some(first) = events.next().await {
        let more = std::iter::from_fn(|| events.try_next()).take(EVENTS - 1);
        for event in std::iter::once(first).chain(more) {
            let mut state = inner.state();
            match event {
                Event::Evicted { id, .. } => {
                    let gone = state.mempool.remove(&id.0);
                    state.out.remove(gone.into_iter().filter(|other| *other != id.0));
                }
                Event::PeerDown { peer, .. } => {
                    state.sync.gone(inner.net.now(), peer);
                    state.wake_follower();
                }
                _ => {}
            }
        }
        let missed = events.missed();
        if missed > 0 {
            tracing::warn!(missed, "events were missed: everything that waits is published again");
            let mut state = inner.state();
            let ready: Vec<Transfer> = state.mempool.ready().cloned().collect();
            state.out.publish(ready);
        }
        turn().await;
    }
}

/// What time alone does: requests and gaps expire, and an early header's time comes.
pub(super) async fn tick(inner: &Inner) {
    while inner.net.sleep(TICK).await.is_ok() {
        let now = inner.net.now();
        let mut state = inner.state();
        state.held.expire(now);
        let gone = state.mempool.expire(now);
        state.out.remove(gone);
        let early = state.early.take();
        drop(state);
        if let Some((header, peer)) = early {
            super::follow::judge(inner, header, peer);
        }
    }
}

/// Produces a block each `block_ms`, where this node has the producer's key. One whose store has signed nothing listens first;
/// and while headers of its own are known that are higher than its head, it signed blocks that its store does not have: it
/// signs none until it has them.
pub(super) async fn produce(inner: &Inner) {
    let Some(key) = &inner.options.producer else { return };
    let pause = Duration::from_millis(inner.chain().genesis().block_ms);
    let first = match inner.store.signed() {
        Ok(0) => pause.max(inner.options.listen_first),
        Ok(_) => pause,
        Err(error) => return inner.fail(error),
    };
    let mut due = inner.net.now() + first;
    let mut waits_for = 0;
    loop {
        if inner.net.sleep(due.since(inner.net.now())).await.is_err() {
            return;
        }
        due = (due + pause).max(inner.net.now());
        let (producing, announced, height) = {
            let state = inner.state();
            (state.producing, state.announced, state.head.height)
        };
        if !producing {
            return;
        }
        if announced <= height {
            if let Err(error) = make(inner, key) {
                return inner.fail(error);
            }
        } else if waits_for != announced {
            waits_for = announced;
            tracing::warn!(
                announced,
                height,
                "no block is signed before those that this key signed are here"
            );
        }
    }
}

/// Makes the next block and tells everyone whom it concerns.
fn make(inner: &Inner, key: &SigningKey) -> Result<(), StoreError> {
    let mut chain = inner.chain();
    let mut dropped = Vec::new();
    let made = chain.produce(key, inner.wall_ms(), |execution| {
        let (chosen, gone) = inner.state().mempool.select(execution);
        dropped = gone;
        chosen
    });
    let mut state = inner.state();
    state.out.remove(dropped);
    match made {
        Ok((block, added)) => {
            let hash = *block.header.hash();
            inner.observe(&mut state, What::Published(hash));
            state.held.answer(&hash, || block.encode());
            inner.after(&mut state, chain.head(), added);
        }
        Err(AddError::Store(error)) => return Err(error),
        Err(error) => tracing::warn!(%error, "no block produced"),
    }
    Ok(())
}
