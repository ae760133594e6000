//! Answers to other nodes: bodies, held until they are here, and blocks of the chain.

use std::sync::PoisonError;
use std::time::Duration;

use bytes::Bytes;
use weir::{Instant, Message, Method, Request, Requests};

use super::Inner;
use crate::channels::{BLOCKS, BODY, BlockId, Blocks, RANGE_BYTES, Range, Start};
use crate::{Hash, chain::Chain, store::StoreError};

/// Requests for bodies that are held at once, at most.
const HELD_MAX: usize = 64;
/// How long one is held, at most.
const HELD_FOR: Duration = Duration::from_secs(5);
/// What a request beyond the limit, or held in vain, is told.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// Requests for bodies that are not here yet, in the order they came.
#[derive(Debug, Default)]
pub(super) struct Held {
    waiting: Vec<(Instant, Request<BlockId, Bytes>)>, // <= HELD_MAX
}

impl Held {
    /// Answers whoever waits for this block.
    pub(super) fn answer(&mut self, hash: &Hash, encoded: &Bytes) {
        for (_, request) in self.waiting.extract_if(.., |(_, request)| request.query().0 == *hash) {
            request.answer(encoded.clone());
        }
    }

    fn hold(&mut self, until: Instant, request: Request<BlockId, Bytes>) {
        self.waiting.retain(|(_, request)| !request.is_cancelled());
        if self.waiting.len() < HELD_MAX {
            self.waiting.push((until, request));
        } else {
            request.refuse(RETRY_AFTER);
        }
    }

    fn expire(&mut self, now: Instant) {
        for (_, request) in self.waiting.extract_if(.., |(until, _)| *until <= now) {
            request.refuse(RETRY_AFTER);
        }
    }
}

fn requests<Req: Message, Resp: Message>(
    inner: &Inner,
    method: &Method<Req, Resp>,
) -> Option<Requests<Req, Resp>> {
    let node = inner.node.lock().unwrap_or_else(PoisonError::into_inner);
    node.as_ref()?.requests(method).ok()
}

/// Answers requests for bodies, or holds them.
pub(super) async fn bodies(inner: &Inner) {
    let Some(requests) = requests(inner, &BODY) else { return };
    while let Some(request) = requests.next().await {
        let mut state = inner.state();
        match state.chain.store().block(&request.query().0) {
            Ok(Some(block)) => request.answer(block),
            Ok(None) => state.held.hold(inner.net.now() + HELD_FOR, request),
            Err(error) => {
                request.refuse(RETRY_AFTER);
                drop(state);
                return inner.failed(error);
            }
        }
    }
}

/// Refuses what was held in vain.
pub(super) async fn expire(inner: &Inner) {
    while inner.net.sleep(HELD_FOR / 10).await.is_ok() {
        let now = inner.net.now();
        inner.state().held.expire(now);
    }
}

/// Answers requests for blocks of the chain.
pub(super) async fn blocks(inner: &Inner) {
    let Some(requests) = requests(inner, &BLOCKS) else { return };
    while let Some(request) = requests.next().await {
        let found = read(&inner.state().chain, *request.query());
        match found {
            Ok(blocks) => request.answer(Blocks(blocks)),
            Err(error) => {
                request.refuse(RETRY_AFTER);
                return inner.failed(error);
            }
        }
    }
}

fn read(chain: &Chain, range: Range) -> Result<Vec<Bytes>, StoreError> {
    let count = usize::from(range.count);
    match range.start {
        Start::Height(height) => chain.blocks_from(height, count, RANGE_BYTES),
        Start::Hash(hash) => match chain.height_of(&hash)? {
            Some(height) if chain.store().hash_at(height)? == Some(hash) => {
                chain.blocks_from(height, count, RANGE_BYTES)
            }
            Some(_) => Ok(chain.store().block(&hash)?.into_iter().collect()),
            None => Ok(Vec::new()),
        },
    }
}
