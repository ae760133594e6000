//! Following the producer: headers from tips, blocks as [`Sync`](crate::sync::Sync) asks for them.

use std::collections::BTreeSet;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use weir::{Fault, Instant, PeerId};

use super::{Inner, What, turn};
use crate::block::Checked;
use crate::chain::AddError;
use crate::channels::BlockId;
use crate::consensus::{HeaderCheck, Rules};
use crate::store::StoreError;
use crate::sync::{Action, Answer, AskId, Misconduct, Outcome, Request};
use crate::{Block, Hash, Header};

/// A peer's answer cannot be right.
const INVALID: Fault =
    Fault::invalid("sent other blocks than it was asked for, or blocks that cannot be valid");
/// A peer was asked several times in vain.
const USELESS: Fault = Fault::unreliable("did not give the blocks it announced");

/// Takes tips and judges their headers.
pub(super) async fn headers(inner: &Inner) {
    while let Some(received) = inner.tip.next().await {
        let (header, peer) = (received.value().clone(), received.peer());
        let height = header.draft.height;
        match judge(inner, header, peer) {
            HeaderCheck::Invalid => received.reject(),
            HeaderCheck::Early | HeaderCheck::Known => received.ignore(),
            HeaderCheck::Better => {
                let missing = height.saturating_sub(inner.state().head.height.saturating_add(1));
                received.accept_with(u32::try_from(missing).unwrap_or(u32::MAX));
            }
        }
        turn().await;
    }
}

/// Judges a header; one that is better is told to the follower, one that is early is kept until its time has come.
pub(super) fn judge(inner: &Inner, header: Header, peer: PeerId) -> HeaderCheck {
    let rules = Rules { producer: inner.producer, network: inner.network };
    let head = inner.state().head.height;
    let check = rules.judge(&header, head, inner.wall_ms());
    let mut state = inner.state();
    if check != HeaderCheck::Invalid {
        state.announced = state.announced.max(header.draft.height);
    }
    match check {
        HeaderCheck::Better => {
            let fresh = !state.sync.awaits(header.hash());
            state.sync.announced(inner.net.now(), peer, &header);
            if fresh {
                inner.observe(&mut state, What::Header(*header.hash()));
            }
            state.wake_follower();
        }
        HeaderCheck::Early => state.early = Some((header, peer)),
        HeaderCheck::Invalid | HeaderCheck::Known => {}
    }
    check
}

type Call<'a> = (AskId, Pin<Box<dyn Future<Output = Answer> + Send + 'a>>);

/// What the follower waited for has happened.
enum Woken {
    Answered(AskId, Answer),
    Changed,
    Due,
    Stopped,
}

/// Carries out what the follower's machine asks for, until the network stops.
pub(super) async fn blocks(inner: &Inner) {
    let mut calls: Vec<Call<'_>> = Vec::new(); // at most two
    loop {
        loop {
            let action = inner.state().sync.poll_action();
            match action {
                None => break,
                Some(Action::Ask { ask, peer, request, deadline }) => {
                    calls.push((ask, Box::pin(call(inner, peer, request, deadline))));
                }
                Some(Action::Cancel(ask)) => calls.retain(|(other, _)| *other != ask),
                Some(Action::Report { peer, misconduct }) => report(inner, peer, misconduct).await,
                Some(Action::Add { peer, blocks }) => match add(inner, peer, blocks).await {
                    Ok(outcome) => inner.state().sync.added(inner.net.now(), outcome),
                    Err(error) => return inner.fail(error),
                },
            }
        }
        let due = inner.state().sync.poll_timeout();
        match wait(inner, &mut calls, due).await {
            Woken::Answered(ask, answer) => {
                calls.retain(|(other, _)| *other != ask);
                inner.state().sync.answered(inner.net.now(), ask, answer);
            }
            Woken::Due => inner.state().sync.handle_timeout(inner.net.now()),
            Woken::Changed => {}
            Woken::Stopped => return,
        }
    }
}

/// Waits for an answer, a change, or the machine's next timeout.
async fn wait(inner: &Inner, calls: &mut [Call<'_>], due: Option<Instant>) -> Woken {
    let pause = due.map_or(super::ROUSE, |due| due.since(inner.net.now()));
    let mut sleep = std::pin::pin!(inner.net.sleep(pause));
    let mut first = true;
    poll_fn(|cx: &mut Context<'_>| {
        for (ask, call) in calls.iter_mut() {
            if let Poll::Ready(answer) = call.as_mut().poll(cx) {
                return Poll::Ready(Woken::Answered(*ask, answer));
            }
        }
        let mut state = inner.state();
        if !first && state.follower.is_none() {
            return Poll::Ready(Woken::Changed);
        }
        first = false;
        state.follower = Some(cx.waker().clone());
        drop(state);
        match sleep.as_mut().poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(())) => Poll::Ready(Woken::Due),
            Poll::Ready(Err(_)) => Poll::Ready(Woken::Stopped),
        }
    })
    .await
}

/// One request, and what came of it.
async fn call(inner: &Inner, peer: PeerId, request: Request, deadline: std::time::Duration) -> Answer {
    let encoded = match request {
        Request::Body(hash) => {
            inner.bodies.caller().call_within(peer, BlockId(hash), deadline).await.map(|block| vec![block])
        }
        Request::Blocks(range) => {
            inner.blocks.caller().call_within(peer, range, deadline).await.map(|blocks| blocks.0)
        }
    };
    match encoded {
        Ok(encoded) => read(inner, &encoded),
        Err(error) => {
            tracing::debug!(%peer, %error, "no block");
            Answer::Nothing
        }
    }
}

fn read(inner: &Inner, encoded: &[Bytes]) -> Answer {
    let mut blocks = Vec::with_capacity(encoded.len());
    for encoded in encoded {
        let Ok(block) = Block::decode(encoded) else { return Answer::Malformed };
        let known = inner.store.header(block.header.hash()).is_ok_and(|header| header.is_some());
        blocks.push((block, known));
    }
    Answer::Blocks(blocks)
}

/// Adds blocks in order until one fails. Each has a turn of its own.
async fn add(inner: &Inner, peer: PeerId, blocks: Vec<Block>) -> Result<Outcome, StoreError> {
    for block in blocks {
        let hash = *block.header.hash();
        let Some(checked) = check(inner, block) else { return Ok(Outcome::Forged) };
        match inner.add(&checked) {
            Ok(()) => {}
            Err(AddError::MissingParent(_)) => return Ok(Outcome::Orphan),
            Err(AddError::Store(StoreError::SideFull)) => {
                tracing::error!(
                    "this node is on a branch that ended long ago; remove its store and synchronise again"
                );
                return Ok(Outcome::Invalid(hash));
            }
            Err(AddError::Store(error)) => return Err(error),
            Err(error) => {
                tracing::warn!(%peer, %error, "a signed block is invalid");
                return Ok(Outcome::Invalid(hash));
            }
        }
        turn().await;
    }
    Ok(Outcome::Added)
}

/// Checks signatures, but not again those of transfers that wait here.
fn check(inner: &Inner, block: Block) -> Option<Checked> {
    let known: BTreeSet<Hash> = {
        let state = inner.state();
        let ids = block.transfers.iter().map(|transfer| *transfer.id());
        ids.filter(|id| state.mempool.contains(id)).collect()
    };
    block.check(&inner.producer, &inner.network, |id| known.contains(id))
}

/// Tells the network below what a peer did, so that it counts there. One that sent what cannot be valid is left at once.
async fn report(inner: &Inner, peer: PeerId, misconduct: Misconduct) {
    tracing::debug!(%peer, ?misconduct, "reported");
    let fault = match misconduct {
        Misconduct::Invalid => INVALID,
        Misconduct::Useless => USELESS,
    };
    let _ = inner.net.peers().report(peer, fault).await; // the node has stopped: there is nobody to tell
    if misconduct == Misconduct::Invalid {
        let _ = inner.net.peers().disconnect(peer).await; // it may be gone already
    }
}
