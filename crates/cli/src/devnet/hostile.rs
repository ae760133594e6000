//! The node of a run that misbehaves: beside the fleet, in no figure.

use std::net::{Ipv4Addr, SocketAddr};
use std::thread::JoinHandle;

use weir::{Keypair, Multiaddr, Network, NetworkId, PeerId};
use weir_chain::hostile::{Hostile, HostileNode};
use weir_chain::node::declare;
use weir_chain::{AccountId, Genesis, SigningKey};
use weir_sim::Rng;

use crate::error::Failure;

/// What its account owns.
const BALANCE: u64 = 1_000_000;

/// What it is made of.
pub(crate) struct Plan {
    what: Hostile,
    identity: [u8; 32],
    account: SigningKey,
}

/// It runs until it is dropped.
pub(crate) struct Running {
    node: HostileNode,
    thread: Option<JoinHandle<()>>,
}

impl Plan {
    pub(crate) fn new(what: Hostile, rng: &mut Rng) -> Self {
        Self { what, identity: rng.bytes(), account: SigningKey::from_bytes(&rng.bytes()) }
    }

    /// What it owns in the genesis.
    pub(crate) fn balance(&self) -> (AccountId, u64) {
        (AccountId::of(&self.account), BALANCE)
    }

    /// Starts it, linked to all of `peers`.
    pub(crate) fn start(self, genesis: &Genesis, peers: Vec<Multiaddr>) -> Result<Running, Failure> {
        let keypair = Keypair::ed25519_from_seed(self.identity);
        let mut builder = declare(Network::builder(keypair, NetworkId(genesis.id())))
            .listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        for peer in peers {
            builder = builder.peer(peer);
        }
        let joined = weir::start(builder)
            .map_err(|error| Failure::run(format!("cannot start the hostile node: {error}")))?;
        let node = HostileNode::new(joined, genesis.id(), self.account, BALANCE);
        let (runner, what) = (node.clone(), self.what);
        let thread = std::thread::Builder::new()
            .name("hostile".into())
            .spawn(move || runner.network().block_on(runner.run(what)))
            .map_err(|error| Failure::run(format!("cannot start a thread: {error}")))?;
        Ok(Running { node, thread: Some(thread) })
    }
}

impl Running {
    /// Its identity.
    pub(crate) fn peer(&self) -> PeerId {
        self.node.network().peer_id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.node.abort();
        self.thread.take().map(JoinHandle::join);
    }
}
