//! Answers to other nodes: bodies, held until they are here, and blocks of the chain. Reading the store takes no lock.

use std::time::Duration;

use bytes::Bytes;
use weir::{Instant, PeerId, Request};

use super::{Inner, turn};
use crate::Hash;
use crate::channels::{BlockId, Blocks, RANGE_BYTES, Range, Start};
use crate::store::{Store, StoreError};

/// Requests for bodies that are held at once, at most; more are refused. The network reserves the largest answer for each request
/// that the application has: by default there is room for 22 of them. The rest is for blocks that are here.
const HELD_MAX: usize = 16;
/// Of these, for one peer; more are refused. A peer that follows asks for one body at a time.
const HELD_PER_PEER: usize = 4;
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
    pub(super) fn answer(&mut self, hash: &Hash, encode: impl FnOnce() -> Bytes) {
        if !self.waiting.iter().any(|(_, request)| request.query().0 == *hash) {
            return;
        }
        let encoded = encode();
        for (_, request) in self.waiting.extract_if(.., |(_, request)| request.query().0 == *hash) {
            request.answer(encoded.clone());
        }
    }

    /// Refuses what was held in vain.
    pub(super) fn expire(&mut self, now: Instant) {
        for (_, request) in self.waiting.extract_if(.., |(until, _)| *until <= now) {
            request.refuse(RETRY_AFTER);
        }
    }

    fn hold(&mut self, until: Instant, request: Request<BlockId, Bytes>) {
        self.waiting.retain(|(_, request)| !request.is_cancelled());
        if self.waiting.len() < HELD_MAX && self.of(request.peer()) < HELD_PER_PEER {
            self.waiting.push((until, request));
        } else {
            request.refuse(RETRY_AFTER);
        }
    }

    fn of(&self, peer: PeerId) -> usize {
        self.waiting.iter().filter(|(_, request)| request.peer() == peer).count()
    }
}

/// Answers requests for bodies, or holds them where an accepted header says that the block is on its way.
pub(super) async fn bodies(inner: &Inner) {
    while let Some(request) = inner.bodies.next().await {
        let hash = request.query().0;
        match inner.store.block(&hash) {
            Ok(Some(block)) => request.answer(block),
            Ok(None) => {
                let until = inner.net.now() + HELD_FOR;
                let mut state = inner.state();
                if state.sync.awaits(&hash) {
                    state.held.hold(until, request);
                } else {
                    request.refuse(RETRY_AFTER);
                }
            }
            Err(error) => return inner.fail(error),
        }
        turn().await;
    }
}

/// Answers requests for blocks of the chain.
pub(super) async fn blocks(inner: &Inner) {
    while let Some(request) = inner.blocks.next().await {
        match read(&inner.store, *request.query()) {
            Ok(blocks) => request.answer(Blocks(blocks)),
            Err(error) => return inner.fail(error),
        }
        turn().await;
    }
}

fn read(store: &Store, range: Range) -> Result<Vec<Bytes>, StoreError> {
    let count = usize::from(range.count);
    match range.start {
        Start::Height(height) => store.blocks_from(height, count, RANGE_BYTES),
        Start::Hash(hash) => match store.header(&hash)? {
            Some(header) if store.hash_at(header.draft.height)? == Some(hash) => {
                store.blocks_from(header.draft.height, count, RANGE_BYTES)
            }
            Some(_) => Ok(store.block(&hash)?.into_iter().collect()),
            None => Ok(Vec::new()),
        },
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test that fails says where
mod tests {
    use super::*;
    use crate::chain::Chain;
    use crate::transfer::PAYLOAD_MAX;
    use crate::{AccountId, Block, Genesis, SigningKey, Transfer};

    /// A chain of three blocks of two thirds of a mebibyte, and a block beside it.
    fn chain(folder: &std::path::Path) -> (Chain, Block) {
        let [producer, user] = [1, 2].map(|seed| SigningKey::from_bytes(&[seed; 32]));
        let balances = [(AccountId::of(&user), 1 << 30)].into();
        let genesis = Genesis::new("serve", AccountId::of(&producer), 1000, &balances).unwrap();
        let open = |name: &str| {
            let store = Store::open(&folder.join(name), &genesis).unwrap();
            Chain::open(genesis.clone(), store).unwrap()
        };
        let mut chain = open("chain");
        for block in 0..3 {
            let made = chain.produce(&producer, 10 + block, |execution| {
                let transfers = (block * 40..block * 40 + 40).map(|nonce| {
                    let to = (AccountId([7; 32]), 1);
                    Transfer::sign(&user, &genesis.id(), nonce, to, 1, &[0; PAYLOAD_MAX]).unwrap()
                });
                transfers.inspect(|transfer| execution.execute(transfer).unwrap()).collect()
            });
            made.unwrap();
        }
        let (side_block, _) = open("other").produce(&producer, 5, |_| Vec::new()).unwrap();
        chain.store().put_side_block(&side_block).unwrap();
        (chain, side_block)
    }

    #[test]
    fn an_answer_has_as_many_blocks_as_its_bytes_allow() {
        let folder = tempfile::tempdir().unwrap();
        let (chain, _) = chain(folder.path());
        let blocks = read(chain.store(), Range { start: Start::Height(1), count: 64 }).unwrap();
        assert_eq!(blocks.len(), 1, "a second one would be beyond {RANGE_BYTES} bytes");
    }

    #[test]
    fn a_range_begins_at_the_block_of_a_hash_on_the_chain_or_is_the_block_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let (chain, side_block) = chain(folder.path());
        let from = |hash| read(chain.store(), Range { start: Start::Hash(hash), count: 64 }).unwrap();
        let second = chain.store().hash_at(2).unwrap().unwrap();
        assert_eq!(from(second), [chain.store().block(&second).unwrap().unwrap()]);
        assert_eq!(from(*side_block.header.hash()), [side_block.encode()]);
        assert_eq!(from([3; 32]), Vec::<Bytes>::new());
    }
}
