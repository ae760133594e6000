//! Nodes over sockets of this machine.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use weir::{Builder, Keypair, Multiaddr, Network, NetworkId, Node};
use weir_chain::chain::Chain;
use weir_chain::node::{Handles, declare};
use weir_chain::store::Store;
use weir_chain::{AccountId, ChainNode, Genesis, Options, SigningKey, Transfer};

/// A network, the end that stops it, and the handles of the chain's channels.
pub(crate) type Joined = (Network, Node, Handles);

pub(crate) fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

/// A node on loopback.
pub(crate) fn describe(genesis: &Genesis, identity: u8) -> Builder<Handles> {
    let keypair = Keypair::ed25519_from_seed([identity; 32]);
    declare(Network::builder(keypair, NetworkId(genesis.id()))).listen(SocketAddr::from(([127, 0, 0, 1], 0)))
}

/// Starts a network on loopback that keeps links to these peers.
pub(crate) fn join(genesis: &Genesis, identity: u8, peers: &[Multiaddr]) -> (Joined, Multiaddr) {
    let joined = weir::start(describe(genesis, identity).peers(peers.iter().cloned())).unwrap();
    let address = joined.0.addresses()[0].clone();
    (joined, address)
}

/// Runs a full node on a thread of its own.
pub(crate) fn run(
    genesis: &Genesis,
    store: &Path,
    joined: Joined,
    producer: Option<SigningKey>,
) -> ChainNode {
    let chain = Chain::open(genesis.clone(), Store::open(store, genesis).unwrap()).unwrap();
    let options = Options { producer, listen_first: Duration::ZERO, ..Options::default() };
    let node = ChainNode::new(joined, chain, options);
    let runner = node.clone();
    std::thread::spawn(move || runner.network().clone().block_on(runner.run()).unwrap());
    node
}

/// A transfer of what costs next to nothing.
pub(crate) fn transfer(genesis: &Genesis, user: &SigningKey, nonce: u64) -> Transfer {
    Transfer::sign(user, &genesis.id(), nonce, (AccountId([7; 32]), 1), 1, b"paid for").unwrap()
}
