//! Nodes that misbehave, by name: for tests, and for `weir devnet --hostile`. Each speaks the chain's channels as any node does.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use ed25519_dalek::SigningKey;
use sha2::{Digest as _, Sha256};
use weir::{Network, Node, PublishError};

use crate::block::{Draft, items_root};
use crate::channels::{BlockId, Blocks};
use crate::node::Handles;
use crate::{AccountId, Block, Hash, Header, Transfer};

/// Transfers that [`Hostile::Spam`] publishes at once, and again in each round under other names.
const SPAM: u32 = 500;
/// Large transfers that [`Hostile::Unpayable`] publishes behind one that takes the money away: more than fill a block.
const UNPAYABLE: u64 = 70;
/// Requests that a mute node holds; beyond, the oldest is dropped.
const HELD: usize = 256;
/// The pause between two rounds.
const ROUND: Duration = Duration::from_millis(500);

/// What a node does to its neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Hostile {
    /// Relays every header at once and answers no request.
    Mute,
    /// Publishes transfers of accounts that hold nothing, without end, and asks for bodies that nobody has.
    Spam,
    /// Publishes transfers of one account that pay much and cannot be paid: another one spends the money first.
    Unpayable,
    /// Signs headers, blocks and transfers with keys that do not count, and answers requests with them.
    Forge,
}

impl std::str::FromStr for Hostile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "mute" => Ok(Self::Mute),
            "spam" => Ok(Self::Spam),
            "unpayable" => Ok(Self::Unpayable),
            "forge" => Ok(Self::Forge),
            _ => Err(format!("`{text}` is none of mute, spam, unpayable and forge")),
        }
    }
}

/// A hostile node on a network whose builder went through [`declare`](crate::node::declare).
#[derive(Clone, Debug)]
pub struct HostileNode {
    net: Network,
    node: Arc<Mutex<Option<Node>>>, // taken by whoever stops it
    handles: Handles,
    network: Hash,
    account: SigningKey,
    balance: u64,
}

impl HostileNode {
    /// A node of the chain with this network id; `account` is its own, with what it owns in the genesis.
    pub fn new(
        (net, node, handles): (Network, Node, Handles),
        network: Hash,
        account: SigningKey,
        balance: u64,
    ) -> Self {
        Self { net, node: Arc::new(Mutex::new(Some(node))), handles, network, account, balance }
    }

    /// Does it, until the network stops.
    pub async fn run(&self, what: Hostile) {
        match what {
            Hostile::Mute => both(self.relay(), self.hold()).await,
            Hostile::Spam => both(self.spam(), self.ask()).await,
            Hostile::Unpayable => both(self.relay(), self.overspend()).await,
            Hostile::Forge => both(self.announce(), self.forge()).await,
        }
    }

    /// The network below.
    pub fn network(&self) -> &Network {
        &self.net
    }

    /// Stops it, without goodbye.
    pub fn abort(&self) {
        let node = self.node.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(node) = node {
            node.abort();
        }
    }

    /// Announces every header as its own.
    async fn relay(&self) {
        let (tip, ..) = &self.handles;
        while let Some(received) = tip.next().await {
            received.accept_with(0);
        }
    }

    /// Takes requests and answers none.
    async fn hold(&self) {
        let (_, _, bodies, blocks) = &self.handles;
        let hold_bodies = async {
            let mut held = std::collections::VecDeque::new();
            while let Some(request) = bodies.next().await {
                held.push_back(request);
                if held.len() > HELD {
                    held.pop_front();
                }
            }
        };
        let hold_blocks = async {
            let mut held = std::collections::VecDeque::new();
            while let Some(request) = blocks.next().await {
                held.push_back(request);
                if held.len() > HELD {
                    held.pop_front();
                }
            }
        };
        both(hold_bodies, hold_blocks).await;
    }

    async fn spam(&self) {
        for round in 0_u32.. {
            for number in 0..SPAM {
                let seed = [round.to_le_bytes(), number.to_le_bytes()].concat();
                let key = SigningKey::from_bytes(&digest(&seed));
                let nonce = u64::from(number % 2); // every second one beyond a gap
                let fee = u64::from(number % 3);
                let transfer = Transfer::sign(&key, &self.network, nonce, (AccountId([7; 32]), 0), fee, b"");
                if self.publish(transfer).await.is_err() {
                    return;
                }
            }
            if self.net.sleep(ROUND).await.is_err() {
                return;
            }
        }
    }

    /// Asks all peers for bodies that nobody has.
    async fn ask(&self) {
        let bodies = self.handles.2.caller();
        for round in 0_u64.. {
            let Ok(peers) = self.net.peers().list().await else { return };
            for peer in peers {
                let asks = (0..64_u64).map(|number| {
                    let hash = digest(&[round.to_le_bytes(), number.to_le_bytes()].concat());
                    bodies.call_within(peer.peer, BlockId(hash), ROUND)
                });
                all(asks.map(|ask| -> Job<'_> { Box::pin(async { _ = ask.await }) }).collect()).await;
            }
            if self.net.sleep(ROUND).await.is_err() {
                return;
            }
        }
    }

    /// Large transfers that pay well follow a small one; another one with its nonce takes the money away.
    async fn overspend(&self) {
        let sign = |nonce, amount, fee, payload: &[u8]| {
            Transfer::sign(&self.account, &self.network, nonce, (AccountId([7; 32]), amount), fee, payload)
        };
        let fee = self.balance / (2 * UNPAYABLE);
        let mut all = vec![sign(0, 0, 1, b""), sign(0, self.balance.saturating_sub(1_000), 1_000, b"")];
        all.extend((1..=UNPAYABLE).map(|nonce| sign(nonce, 0, fee, &[0; 16_384])));
        for round in 0_u64.. {
            for transfer in all.iter().cloned() {
                if self.publish(transfer).await.is_err() {
                    return;
                }
            }
            all = (1..=UNPAYABLE).map(|nonce| sign(nonce, round, fee, &[1; 16_384])).collect();
            if self.net.sleep(ROUND).await.is_err() {
                return;
            }
        }
    }

    /// Headers that the producer did not sign, higher than all others.
    async fn announce(&self) {
        let (tip, ..) = &self.handles;
        while let Some(received) = tip.next().await {
            let forged = self.forged(received.value());
            received.accept_with(0);
            let _ = tip.publish(&forged.header); // a full mailbox spares the others this one
        }
    }

    /// Answers every request with a block that the producer did not sign, and publishes transfers that their senders did not.
    async fn forge(&self) {
        let (_, _, bodies, blocks) = &self.handles;
        let draft = Draft {
            height: 1,
            parent: self.network,
            time: 1,
            state_root: [0; 32],
            items_root: items_root(&[]),
        };
        let block = self.forged(&Header::sign(draft, &self.account, &self.network)).encode();
        let answer_bodies = async {
            while let Some(request) = bodies.next().await {
                request.answer(block.clone());
            }
        };
        let answer_blocks = async {
            while let Some(request) = blocks.next().await {
                request.answer(Blocks(vec![block.clone()]));
            }
        };
        let publish = async {
            for nonce in 0_u64.. {
                let right =
                    Transfer::sign(&self.account, &self.network, nonce, (AccountId([7; 32]), 1), 1, b"");
                let mut bytes = right.map_or_else(Vec::new, |transfer| transfer.encoded().to_vec());
                if let Some(last) = bytes.last_mut() {
                    *last ^= 1;
                }
                let forged = Transfer::decode(Bytes::from(bytes)).ok();
                if self.publish(forged).await.is_err() || self.net.sleep(ROUND).await.is_err() {
                    return;
                }
            }
        };
        both(both(answer_bodies, answer_blocks), publish).await;
    }

    /// A block that claims to follow this one, signed by this node's own key.
    fn forged(&self, header: &Header) -> Block {
        let draft = Draft {
            height: header.draft.height.saturating_add(1),
            parent: *header.hash(),
            time: header.draft.time.saturating_add(1),
            ..header.draft
        };
        Block { header: Header::sign(draft, &self.account, &self.network), transfers: Vec::new() }
    }

    async fn publish(&self, transfer: Option<Transfer>) -> Result<(), PublishError> {
        let Some(transfer) = transfer else { return Ok(()) };
        match self.handles.1.publish_wait(&transfer).await {
            Err(PublishError::Stopped) => Err(PublishError::Stopped),
            _ => Ok(()), // a node that is slow is spared this one
        }
    }
}

fn digest(bytes: &[u8]) -> Hash {
    Sha256::digest(bytes).into()
}

type Job<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

async fn both(one: impl Future<Output = ()> + Send, other: impl Future<Output = ()> + Send) {
    all(vec![Box::pin(one), Box::pin(other)]).await;
}

/// Drives all of them to their ends.
async fn all(mut jobs: Vec<Job<'_>>) {
    std::future::poll_fn(|cx| {
        jobs.retain_mut(|job| job.as_mut().poll(cx).is_pending());
        if jobs.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
