//! The nodes of a run: started, killed, started again, stopped.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use weir::{Keypair, Multiaddr, Network, NetworkId};
use weir_chain::chain::Chain;
use weir_chain::node::{Observation, declare, wall_origin};
use weir_chain::store::Store;
use weir_chain::{ChainNode, Genesis, Options, SigningKey};

use crate::error::Failure;

/// Observations that may wait to be read, per node.
const OBSERVATIONS: usize = 1 << 16;
/// How long a node may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(5);

/// What a node is made of, and made of again after a crash.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Seed of the node's identity.
    pub(crate) identity: [u8; 32],
    /// Where it listens; port 0 until it first ran.
    pub(crate) address: SocketAddr,
    /// Its store's file.
    pub(crate) store: PathBuf,
    /// The nodes it dials, by number.
    pub(crate) dials: Vec<usize>,
    /// The producer's key, where it is the producer.
    pub(crate) producer: Option<SigningKey>,
}

/// A running node.
#[derive(Debug)]
pub(crate) struct Running {
    /// The chain's node.
    pub(crate) node: ChainNode,
    /// What it reports.
    pub(crate) observations: Receiver<Observation>,
    /// What its network reports.
    pub(crate) events: weir::Events,
    /// The process's time at the zero of the node's clock.
    pub(crate) zero: Duration,
    thread: JoinHandle<()>,
}

impl Plan {
    /// A node on loopback at `port` (0: the system chooses).
    pub(crate) fn new(identity: [u8; 32], port: u16, store: PathBuf) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self { identity, address, store, dials: Vec::new(), producer: None }
    }

    /// The address others dial, this node's identity included.
    pub(crate) fn multiaddr(&self) -> Multiaddr {
        let address = Multiaddr::from_quic(self.address);
        let peer = Keypair::ed25519_from_seed(self.identity).peer_id();
        address.clone().with_p2p(peer).unwrap_or(address)
    }

    /// Starts the node; its port is fixed from then on.
    pub(crate) fn start(&mut self, genesis: &Genesis, begun: Instant) -> Result<Running, Failure> {
        let keypair = Keypair::ed25519_from_seed(self.identity);
        let builder = declare(Network::builder(keypair, NetworkId(genesis.id())))
            .agent(concat!("weir-devnet/", env!("CARGO_PKG_VERSION")))
            .listen(self.address);
        let store = Store::open(&self.store, genesis).map_err(Failure::run)?;
        let chain = Chain::open(genesis.clone(), store).map_err(Failure::run)?;
        let (net, node) = weir::start(builder)
            .map_err(|error| Failure::input(format!("--port: cannot start a node: {error}")))?;
        let socket = net.addresses().iter().find_map(Multiaddr::socket_addr);
        if let Some((_, address)) = socket {
            self.address = address;
        }
        let (observer, observations) = sync_channel(OBSERVATIONS);
        let zero = begun.elapsed().saturating_sub(Duration::from_nanos(net.now().as_nanos()));
        let options = Options {
            producer: self.producer.clone(),
            wall_origin_ms: wall_origin(&net),
            observer: Some(observer),
        };
        let events = net.events();
        let node = ChainNode::new((net, node), chain, options).map_err(Failure::run)?;
        let runner = node.clone();
        let thread = std::thread::Builder::new()
            .name("chain".into())
            .spawn(move || runner.network().clone().block_on(runner.run()))
            .map_err(|error| Failure::run(format!("cannot start a thread: {error}")))?;
        Ok(Running { node, observations, events, zero, thread })
    }
}

impl Running {
    /// Stops as a crash would.
    pub(crate) fn kill(self) {
        self.node.abort();
        let _ = self.thread.join();
    }

    /// Says goodbye and stops.
    pub(crate) fn stop(self) {
        let net = self.node.network().clone();
        net.block_on(self.node.shutdown(GOODBYE));
        let _ = self.thread.join();
    }
}
