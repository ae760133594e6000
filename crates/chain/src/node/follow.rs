//! Following the producer: headers from tips, bodies from those who announced them, missing blocks from anyone who is ahead.

use std::future::{Future as _, poll_fn};
use std::task::Poll;
use std::time::Duration;

use weir::{CallError, PeerId};

use super::{Asked, Inner, Wanted, What};
use crate::chain::{AddError, BRANCH_MAX, HeaderCheck};
use crate::channels::{BLOCKS, BODY, BlockId, RANGE_MAX, Range, Start};
use crate::{Block, Hash};

/// How long one announcer is waited for before another is asked.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often a follower with nothing to do looks whether the network still runs; it is told at once.
const ROUSE: Duration = Duration::from_secs(3600);
/// The pause after everyone was asked in vain.
const PAUSE: Duration = Duration::from_millis(200);

/// Takes tips, judges their headers, and notes which body is wanted and who announced it.
pub(super) async fn headers(inner: &Inner) {
    while let Some(received) = inner.tip.next().await {
        let (header, peer) = (received.value().clone(), received.peer());
        let wall = inner.wall_ms();
        let mut state = inner.state();
        match state.chain.check_header(&header, wall) {
            HeaderCheck::Invalid => received.reject(),
            HeaderCheck::Early | HeaderCheck::Known => received.ignore(),
            HeaderCheck::Better => {
                let unvalidated = header.draft.height.saturating_sub(state.chain.head().height + 1);
                received.accept_with(u32::try_from(unvalidated).unwrap_or(u32::MAX));
                let known =
                    state.wanted.take().filter(|wanted| wanted.header.draft.height >= header.draft.height);
                let fresh = known.is_none();
                let mut wanted =
                    known.unwrap_or_else(|| Wanted { header: header.clone(), announcers: Vec::new() });
                if wanted.header == header && !wanted.announcers.contains(&peer) {
                    wanted.announcers.push(peer);
                }
                state.wanted = Some(wanted);
                if fresh {
                    inner.observe(&mut state, What::Header(*header.hash()));
                }
                if let Some(waker) = state.follower.take() {
                    waker.wake();
                }
            }
        }
    }
}

/// Brings the chain up to the best header, block after block, until the network stops.
pub(super) async fn bodies(inner: &Inner) {
    let mut asked = Asked::new();
    let mut last = None;
    loop {
        let Some(wanted) = wanted(inner).await else { return };
        if last != Some(*wanted.header.hash()) {
            asked.clear();
            last = Some(*wanted.header.hash());
        }
        let Some(peer) = next_peer(&wanted, &mut asked) else { continue };
        let got = step(inner, &wanted, peer).await;
        if let Err(StepError::Add(AddError::Store(error))) = got {
            return inner.failed(error);
        }
        if let Err(error) = got {
            tracing::debug!(%peer, %error, "no block");
            if asked.values().all(|times| *times > 0) && inner.net.sleep(PAUSE).await.is_err() {
                return;
            }
        }
    }
}

/// Why a step brought no block.
#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Add(#[from] AddError),
    #[error("the peer has no such block")]
    Nothing,
}

/// Waits until a header above the head is known; `None` when the network stops.
async fn wanted(inner: &Inner) -> Option<Wanted> {
    // A sleep ends early only when the network stops.
    let mut stopped = std::pin::pin!(async { while inner.net.sleep(ROUSE).await.is_ok() {} });
    poll_fn(|cx| {
        let mut state = inner.state();
        if let Some(wanted) = &state.wanted {
            return Poll::Ready(Some(wanted.clone()));
        }
        state.follower = Some(cx.waker().clone());
        drop(state);
        stopped.as_mut().poll(cx).map(|()| None)
    })
    .await
}

/// The announcer asked the fewest times, in the order they announced.
fn next_peer(wanted: &Wanted, asked: &mut Asked) -> Option<PeerId> {
    let peer = *wanted.announcers.iter().min_by_key(|peer| asked.get(*peer).copied().unwrap_or(0))?;
    wanted.announcers.iter().for_each(|peer| _ = asked.entry(*peer).or_insert(0));
    *asked.entry(peer).or_insert(0) += 1;
    Some(peer)
}

/// One request towards the wanted block: its body where it is next, else what is missing below it.
async fn step(inner: &Inner, wanted: &Wanted, peer: PeerId) -> Result<(), StepError> {
    let (head, hash) = (inner.state().chain.head(), *wanted.header.hash());
    if wanted.header.draft.parent == head.hash {
        let bytes = inner.net.call_within(&BODY, peer, BlockId(hash), PATIENCE).await?;
        let block = Block::decode(&bytes).map_err(AddError::from)?;
        return if *block.header.hash() == hash { Ok(inner.add(block)?) } else { Err(StepError::Nothing) };
    }
    let range = Range { start: Start::Height(head.height + 1), count: RANGE_MAX };
    let answer = inner.net.call(&BLOCKS, peer, range).await?;
    if answer.0.is_empty() {
        return branch(inner, peer, hash).await;
    }
    for bytes in answer.0 {
        let block = Block::decode(&bytes).map_err(AddError::from)?;
        match inner.add(block) {
            Ok(()) => {}
            Err(AddError::MissingParent(_)) => return branch(inner, peer, hash).await,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Fetches a branch by hash, downwards from `hash` until a known block, and adds it upwards.
async fn branch(inner: &Inner, peer: PeerId, hash: Hash) -> Result<(), StepError> {
    let (mut blocks, mut next) = (Vec::new(), hash);
    for _ in 0..BRANCH_MAX {
        let range = Range { start: Start::Hash(next), count: 1 };
        let answer = inner.net.call(&BLOCKS, peer, range).await?;
        let bytes = answer.0.into_iter().next().ok_or(StepError::Nothing)?;
        let block = Block::decode(&bytes).map_err(AddError::from)?;
        let parent = block.header.draft.parent;
        if *block.header.hash() != next {
            return Err(StepError::Nothing);
        }
        blocks.push(block);
        if inner.state().chain.height_of(&parent).map_err(AddError::from)?.is_some() {
            for block in blocks.into_iter().rev() {
                inner.add(block)?;
            }
            return Ok(());
        }
        next = parent;
    }
    Err(StepError::Nothing)
}
