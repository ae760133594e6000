//! The nodes of a run: started, killed, started again, stopped.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use weir::{Keypair, Multiaddr, Network, NetworkId, Node, PeerId, StartError};
use weir_chain::audit::{Audit, AuditError};
use weir_chain::chain::Chain;
use weir_chain::node::{Handles, Observation, declare};
use weir_chain::store::{Store, StoreError};
use weir_chain::{ChainNode, Genesis, Options, SigningKey};

use crate::addresses::Transport;
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
    /// What it listens on.
    transport: Transport,
    /// Where it listens; port 0 until it first ran.
    address: SocketAddr,
    /// Whether the user chose the port.
    is_port_fixed: bool,
    /// Its store's file.
    pub(crate) store: PathBuf,
    /// The nodes it dials, by number.
    pub(crate) dials: Vec<usize>,
    /// The producer's key, where it is the producer.
    pub(crate) producer: Option<SigningKey>,
}

/// All nodes of a run, by number.
#[derive(Debug)]
pub(crate) struct Fleet {
    genesis: Genesis,
    begun: Instant,
    plans: Vec<Plan>,
    running: Vec<Option<Running>>,
}

/// A running node.
#[derive(Debug)]
pub(crate) struct Running {
    /// The chain's node.
    pub(crate) node: ChainNode,
    /// What it and its network report.
    pub(crate) reports: Reports,
    thread: Option<JoinHandle<Result<(), StoreError>>>,
}

/// What a node reports, to be read while it runs and after it stopped.
#[derive(Debug)]
pub(crate) struct Reports {
    /// Of the chain.
    pub(crate) observations: Receiver<Observation>,
    /// Of its network.
    pub(crate) events: weir::Events,
    /// The process's time at the zero of the node's clock.
    pub(crate) zero: Duration,
    /// Observations that found no room, once the node has stopped.
    unobserved: u64,
}

impl Reports {
    /// Reports that were lost because they were not read in time.
    pub(crate) fn lost(&self) -> u64 {
        self.unobserved + self.events.missed()
    }
}

impl Plan {
    /// A node on loopback that listens at a port (0: the system chooses).
    pub(crate) fn new(identity: [u8; 32], (transport, port): (Transport, u16), store: PathBuf) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let is_port_fixed = port != 0;
        Self { identity, transport, address, is_port_fixed, store, dials: Vec::new(), producer: None }
    }

    /// The address others dial, this node's identity included.
    fn multiaddr(&self) -> Multiaddr {
        let address = self.transport.address(self.address);
        let peer = Keypair::ed25519_from_seed(self.identity).peer_id();
        address.clone().with_p2p(peer).unwrap_or(address)
    }

    /// Starts the node, at the port it had before. One that the system chose may have gone to another program since: it chooses again.
    fn start(&mut self, genesis: &Genesis, begun: Instant) -> Result<Running, Failure> {
        let store = Store::open(&self.store, genesis).map_err(Failure::run)?;
        let chain = Chain::open(genesis.clone(), store).map_err(Failure::run)?;
        let mut started = self.start_network(genesis);
        if matches!(started, Err(StartError::InUse { .. })) && !self.is_port_fixed {
            self.address.set_port(0);
            started = self.start_network(genesis);
        }
        let (net, node, handles) = started.map_err(|error| {
            let option = if self.is_port_fixed { "--port: " } else { "" };
            Failure::input(format!("{option}cannot start a node: {error}"))
        })?;
        let socket = net.addresses().iter().find_map(Multiaddr::socket_addr);
        if let Some((_, address)) = socket {
            self.address = address;
        }
        let (observer, observations) = sync_channel(OBSERVATIONS);
        let zero = begun.elapsed().saturating_sub(Duration::from_nanos(net.now().as_nanos()));
        let options = Options {
            producer: self.producer.clone(),
            listen_first: Duration::ZERO, // the genesis is new: nobody has signed
            observer: Some(observer),
            ..Options::default()
        };
        let reports = Reports { observations, events: net.events(), zero, unobserved: 0 };
        let node = ChainNode::new((net, node, handles), chain, options);
        let runner = node.clone();
        let thread = std::thread::Builder::new()
            .name("chain".into())
            .spawn(move || runner.network().clone().block_on(runner.run()))
            .map_err(|error| Failure::run(format!("cannot start a thread: {error}")))?;
        Ok(Running { node, reports, thread: Some(thread) })
    }

    fn start_network(&self, genesis: &Genesis) -> Result<(Network, Node, Handles), StartError> {
        let keypair = Keypair::ed25519_from_seed(self.identity);
        let builder = declare(Network::builder(keypair, NetworkId(genesis.id())))
            .agent(concat!("weir-devnet/", env!("CARGO_PKG_VERSION")))
            .listen(self.transport.address(self.address));
        weir::start(builder)
    }
}

impl Fleet {
    /// Starts all nodes, then tells each whom to keep a link to. `begun` is the zero of the run's time.
    pub(crate) fn start(genesis: Genesis, plans: Vec<Plan>, begun: Instant) -> Result<Self, Failure> {
        let mut fleet = Self { genesis, begun, plans, running: Vec::new() };
        for plan in &mut fleet.plans {
            fleet.running.push(Some(plan.start(&fleet.genesis, begun)?));
        }
        for node in 0..fleet.plans.len() {
            fleet.dial(node)?;
        }
        Ok(fleet)
    }

    /// The genesis.
    pub(crate) fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// The identities of all, by number.
    pub(crate) fn peers(&self) -> impl Iterator<Item = PeerId> {
        self.plans.iter().map(|plan| Keypair::ed25519_from_seed(plan.identity).peer_id())
    }

    /// The addresses of all, with their identities.
    pub(crate) fn addresses(&self) -> Vec<Multiaddr> {
        self.plans.iter().map(Plan::multiaddr).collect()
    }

    /// How many there are, running or not.
    pub(crate) fn len(&self) -> usize {
        self.plans.len()
    }

    /// A node, while it runs.
    pub(crate) fn get(&self, node: usize) -> Option<&Running> {
        self.running.get(node)?.as_ref()
    }

    /// The nodes that run, with their numbers.
    pub(crate) fn up(&self) -> impl Iterator<Item = (usize, &Running)> {
        self.running.iter().enumerate().filter_map(|(index, node)| Some((index, node.as_ref()?)))
    }

    /// The first node that does nothing any more, and why.
    pub(crate) fn failure(&mut self) -> Option<(usize, String)> {
        let mut running = self.running.iter_mut().enumerate();
        running.find_map(|(index, node)| Some((index, node.as_mut()?.failure()?)))
    }

    /// Stops one as a crash would; returns what it reported.
    pub(crate) fn kill(&mut self, node: usize) -> Option<Reports> {
        self.running.get_mut(node).and_then(Option::take).map(Running::kill)
    }

    /// Starts one again that was killed. Those that keep a link to it are told where it is, should that have changed.
    pub(crate) fn restart(&mut self, node: usize) -> Result<(), Failure> {
        let Some(plan) = self.plans.get_mut(node) else { return Ok(()) };
        let before = plan.address;
        let running = plan.start(&self.genesis, self.begun)?;
        let has_moved = plan.address != before;
        if let Some(slot) = self.running.get_mut(node) {
            *slot = Some(running);
        }
        let dialling =
            self.plans.iter().enumerate().filter(|(_, plan)| has_moved && plan.dials.contains(&node));
        for (other, _) in dialling {
            self.keep(other, node)?;
        }
        self.dial(node)
    }

    /// All say goodbye and stop, at once; returns what they reported, with their numbers.
    pub(crate) fn stop(&mut self) -> Vec<(usize, Reports)> {
        let running = std::mem::take(&mut self.running);
        std::thread::scope(|scope| {
            let stop =
                |(index, node): (usize, Option<Running>)| Some((index, scope.spawn(|| Some(node?.stop()))));
            let stopping: Vec<_> = running.into_iter().enumerate().filter_map(stop).collect();
            stopping.into_iter().filter_map(|(index, reports)| Some((index, reports.join().ok()??))).collect()
        })
    }

    /// Reads every store back, once all nodes have stopped.
    pub(crate) fn audit(&self) -> Result<Vec<Audit>, Failure> {
        let audit = |(node, plan): (usize, &Plan)| {
            let store = Store::open(&plan.store, &self.genesis).map_err(AuditError::from);
            store
                .and_then(|store| store.audit())
                .map_err(|error| Failure::run(format!("node {node}: {error}")))
        };
        self.plans.iter().enumerate().map(audit).collect()
    }

    fn dial(&self, node: usize) -> Result<(), Failure> {
        let dials = self.plans.get(node).map_or(&[][..], |plan| &plan.dials);
        dials.iter().try_for_each(|peer| self.keep(node, *peer))
    }

    /// Tells one node, where it runs, to keep a link to another.
    fn keep(&self, node: usize, peer: usize) -> Result<(), Failure> {
        let (Some(running), Some(peer)) = (self.get(node), self.plans.get(peer)) else { return Ok(()) };
        let net = running.node.network();
        net.block_on(net.peers().keep(peer.multiaddr()))
            .map_err(|error| Failure::run(format!("node {node}: {error}")))
    }
}

impl Running {
    /// Why the node does nothing any more; `None` while it runs.
    fn failure(&mut self) -> Option<String> {
        let thread = self.thread.take_if(|thread| thread.is_finished())?;
        Some(match thread.join() {
            Ok(Ok(())) => "its network stopped".into(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "its thread panicked".into(),
        })
    }

    /// Stops as a crash would.
    fn kill(self) -> Reports {
        self.node.abort();
        self.ended()
    }

    /// Says goodbye and stops.
    fn stop(self) -> Reports {
        let net = self.node.network().clone();
        net.block_on(self.node.shutdown(GOODBYE));
        self.ended()
    }

    /// The store is closed when this returns.
    fn ended(mut self) -> Reports {
        self.thread.take().map(JoinHandle::join);
        self.reports.unobserved = self.node.unobserved();
        self.reports
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use weir_sim::Rng;

    use super::*;
    use crate::devnet::load::Load;

    /// Two nodes, of which the first keeps a link to the second.
    fn two(folder: &std::path::Path, transport: Transport) -> Fleet {
        let mut rng = Rng::from_number(1);
        let producer = SigningKey::from_bytes(&rng.bytes());
        let (_, balances) = Load::balances(1, &mut rng);
        let genesis = Genesis::new("test", weir_chain::AccountId::of(&producer), 1_000, &balances).unwrap();
        let plan = |node: &str| Plan::new(rng.bytes(), (transport, 0), folder.join(node));
        let mut plans = ["0", "1"].map(plan);
        plans[0].dials = vec![1];
        Fleet::start(genesis, plans.into(), Instant::now()).unwrap()
    }

    fn wait_for_a_peer(fleet: &Fleet, node: usize) {
        let net = fleet.get(node).unwrap().node.network();
        assert_eq!(net.block_on(net.wait_for_peers(1)).unwrap().len(), 1);
    }

    #[test]
    fn a_port_that_another_took_meanwhile_is_chosen_again() {
        for transport in [Transport::Quic, Transport::Tcp] {
            let folder = tempfile::tempdir().unwrap();
            let mut fleet = two(folder.path(), transport);
            wait_for_a_peer(&fleet, 1);
            fleet.running[1].take().unwrap().stop(); // says goodbye: a crash is noticed later
            let address = fleet.plans[1].address;
            let _udp = UdpSocket::bind(address); // where one fails, somebody else has it
            let _tcp = TcpListener::bind(address);
            fleet.restart(1).unwrap();
            assert_ne!(fleet.plans[1].address, address);
            wait_for_a_peer(&fleet, 1);
            fleet.stop();
        }
    }

    #[test]
    fn a_port_that_the_user_chose_is_not_changed() {
        let folder = tempfile::tempdir().unwrap();
        let mut fleet = two(folder.path(), Transport::Quic);
        let plan = &mut fleet.plans[1];
        plan.is_port_fixed = true;
        let address = plan.address;
        fleet.kill(1).unwrap();
        let _taken = UdpSocket::bind(address); // where it fails, somebody else has it
        assert_eq!(
            fleet.restart(1).unwrap_err().to_string(),
            format!(
                "--port: cannot start a node: cannot listen on {address}: the port is in use; stop the other program or choose another port"
            )
        );
        assert_eq!(fleet.plans[1].address, address);
        fleet.stop();
    }
}
