//! [`Network`]: the handle to a running node.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument as _;
use weir_base::identity::{Keypair, PeerId};
use weir_base::multiaddr::Multiaddr;
use weir_base::{Instant, NetworkId};
use weir_pull::{Service, control};
use weir_stack::Command;

use crate::address::{ToAddress, dialable};
use crate::builder::Builder;
use crate::core::Op;
use crate::error::{ConnectError, Stopped, WithinError};
use crate::event::Event;
use crate::events::Events;
use crate::peer::Peer;
use crate::peers::{PeerError, Peers};
use crate::shared::{Lease, Shared};
use crate::stats::Stats;
use crate::time;

/// A running node, to be used from any thread or task. Cheap to clone. The node stops when its last handle is dropped, of
/// whatever kind, or by [`Node::shutdown`](crate::Node::shutdown).
///
/// ```
/// # use weir::testing::Cluster;
/// # use weir::{Keypair, Network, NetworkId};
/// # let cluster = Cluster::new(7);
/// # let describe = |n| Network::builder(Keypair::ed25519_from_seed([n; 32]), NetworkId([1; 32]));
/// # let (alice, node, ()) = cluster.add(describe(1))?;
/// # let (bob, _bobs_node, ()) = cluster.add(describe(2))?;
/// use std::time::Duration;
///
/// // `alice` and `bob` are the networks of two nodes.
/// let peer = cluster.run_until(bob.connect(&alice.addresses()[0]))?;
/// assert_eq!(peer, alice.peer_id());
///
/// // `node` is the end of alice's owner.
/// cluster.run_until(node.shutdown(Duration::from_secs(1)));
/// assert_eq!(cluster.run_until(alice.stats()), Err(weir::error::Stopped));
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Network {
    pub(crate) lease: Arc<Lease>,
}

impl Network {
    /// Describes a node: who it is, on which network. Then declare channels, and start.
    pub fn builder(keypair: Keypair, network: NetworkId) -> Builder {
        Builder::new(keypair, network)
    }

    pub(crate) fn of(lease: &Arc<Lease>) -> Self {
        Self { lease: Arc::clone(lease) }
    }

    fn shared(&self) -> &Shared {
        &self.lease.shared
    }

    /// Who this node is.
    pub fn peer_id(&self) -> PeerId {
        self.shared().peer_id
    }

    /// Where this node listens, with its peer id: what others dial. A wildcard address is shown as it was bound.
    pub fn addresses(&self) -> &[Multiaddr] {
        &self.shared().addresses
    }

    // ---- peers ----

    /// Connects to a peer, once; waits until both sides have said hello. The address may name the peer (`…/p2p/…`): then
    /// only that peer will do.
    ///
    /// A link to that peer or address that is there already is the answer, whoever dialled; a dial under way is taken part in;
    /// of two nodes that connect to each other at once both get `Ok`.
    ///
    /// ```
    /// # use weir::testing::Cluster;
    /// # use weir::{Keypair, Network, NetworkId};
    /// # let cluster = Cluster::new(7);
    /// # let describe = |n| Network::builder(Keypair::ed25519_from_seed([n; 32]), NetworkId([1; 32]));
    /// # let (alice, node, ()) = cluster.add(describe(1))?;
    /// # let (bob, _bobs_node, ()) = cluster.add(describe(2))?;
    /// use weir::{ConnectError, Retry};
    ///
    /// let peer = cluster.run_until(bob.connect(&alice.addresses()[0]))?;
    /// assert_eq!(peer, alice.peer_id());
    ///
    /// let own = bob.addresses()[0].clone();
    /// let refused = cluster.run_until(bob.connect(own)).unwrap_err();
    /// assert_eq!((refused.retry(), refused), (Retry::Never, ConnectError::Myself));
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    ///
    /// # Errors
    /// [`ConnectError`]. A dial ends after `node.dial.timeout` of the configuration at the latest, hello after
    /// `node.control.hello_timeout` more: that is [`ConnectError::Failed`]. Where it took part in another dial that was given
    /// up, it dials by itself after that.
    pub async fn connect(&self, address: impl ToAddress) -> Result<PeerId, ConnectError> {
        let address = dialable(address.to_address()).map_err(ConnectError::Address)?;
        let span = tracing::debug_span!("connect", peer = ?address.peer_id());
        let dialled = self.lease.ask(|reply| Op::Connect(address.peer_id(), vec![address], reply));
        dialled.instrument(span).await.map_err(|Stopped| ConnectError::Stopped)?
    }

    /// What there is to know, and to do, about peers: who is connected, whom to keep, whom to ban.
    pub fn peers(&self) -> Peers {
        Peers::of(&self.lease)
    }

    /// Waits until at least so many peers are connected; then they are listed.
    ///
    /// ```
    /// # use weir::testing::Cluster;
    /// # use weir::{Keypair, Network, NetworkId};
    /// # let cluster = Cluster::new(7);
    /// # let describe = |n| Network::builder(Keypair::ed25519_from_seed([n; 32]), NetworkId([1; 32]));
    /// # let (alice, node, ()) = cluster.add(describe(1))?;
    /// # let (bob, _bobs_node, ()) = cluster.add(describe(2).peers(alice.addresses()))?;
    /// let peers = cluster.run_until(bob.wait_for_peers(1))?; // bob was told of alice at start
    /// assert_eq!(peers[0].peer, alice.peer_id());
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    ///
    /// # Errors
    /// [`Stopped`] once the node has stopped.
    pub async fn wait_for_peers(&self, count: usize) -> Result<Vec<Peer>, Stopped> {
        let events = self.events();
        loop {
            let peers = self.peers().list().await?;
            if peers.len() >= count {
                return Ok(peers);
            }
            // Where events were missed, one of a peer may be among them.
            while !matches!(events.next().await.ok_or(Stopped)?, Event::PeerUp { .. }) && events.missed() == 0
            {
            }
        }
    }

    /// What this node can do for others from now on, in place of what it said before; all peers are told, at most once a
    /// second.
    ///
    /// ```
    /// # use weir::testing::Cluster;
    /// # use weir::{Keypair, Network, NetworkId};
    /// # let cluster = Cluster::new(7);
    /// # let describe = |n| Network::builder(Keypair::ed25519_from_seed([n; 32]), NetworkId([1; 32]));
    /// # let (alice, node, ()) = cluster.add(describe(1))?;
    /// # let (bob, _bobs_node, ()) = cluster.add(describe(2).peers(alice.addresses()))?;
    /// use weir::{Bytes, Service};
    ///
    /// const ARCHIVE: u32 = 1; // this network's number for nodes that keep everything
    /// let archive = Service { id: ARCHIVE, version: 1, payload: Bytes::new() };
    /// cluster.run_until(alice.set_services(vec![archive]))?;
    ///
    /// let peers = cluster.run_until(bob.wait_for_peers(1))?;
    /// assert_eq!(peers[0].services[0].id, ARCHIVE);
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    ///
    /// # Errors
    /// [`PeerError::Refused`] above 16 services, where an id comes twice, or where a payload has more than 64 bytes.
    pub async fn set_services(&self, services: Vec<Service>) -> Result<(), PeerError> {
        self.peers()
            .tell(Command::Pull(weir_pull::Command::Control(control::Command::Services(services))))
            .await
    }

    /// Where others reach this node from now on, in place of what it said before, which is where it listens. Peers on libp2p's connections
    /// are told at once, with a signed record, others when they ask ([`Peers::identify`](crate::Peers::identify)). For a node behind a router,
    /// whose own addresses lead nowhere.
    ///
    /// ```
    /// # use weir::testing::Cluster;
    /// # use weir::{Keypair, Network, NetworkId};
    /// # let cluster = Cluster::new(7);
    /// # let describe = |n| Network::builder(Keypair::ed25519_from_seed([n; 32]), NetworkId([1; 32]));
    /// # let (alice, node, ()) = cluster.add(describe(1))?;
    /// # let (bob, _bobs_node, ()) = cluster.add(describe(2).peers(alice.addresses()))?;
    /// cluster.run_until(alice.announce(["203.0.113.7:4001", "/dns4/node.example/tcp/4001"]))?;
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    ///
    /// # Errors
    /// [`PeerError::Refused`] above 64 addresses, or 3 KiB of them; [`PeerError::Address`] where one is no address.
    pub async fn announce<A: ToAddress>(
        &self,
        addresses: impl IntoIterator<Item = A>,
    ) -> Result<(), PeerError> {
        let addresses = addresses.into_iter().map(|address| address.to_address().map(Multiaddr::without_p2p));
        let addresses = addresses.collect::<Result<Vec<_>, _>>().map_err(PeerError::Address)?;
        self.peers().tell(Command::Announce(addresses)).await
    }

    // ---- what happens ----

    /// What happens from now on: peers that come and go, faults, dials that fail. Each call gives a queue of its own with
    /// `mailboxes.events` places; where it is not emptied the oldest events are dropped and counted.
    ///
    /// ```
    /// # use weir::testing::Cluster;
    /// # use weir::{Keypair, Network, NetworkId};
    /// # let cluster = Cluster::new(7);
    /// # let describe = |n| Network::builder(Keypair::ed25519_from_seed([n; 32]), NetworkId([1; 32]));
    /// # let (alice, node, ()) = cluster.add(describe(1))?;
    /// # let (bob, _bobs_node, ()) = cluster.add(describe(2).peers(alice.addresses()))?;
    /// use weir::Event;
    ///
    /// let events = bob.events();
    /// let up = std::iter::from_fn(|| events.next_blocking()).find_map(|event| match event {
    ///     Event::PeerUp { peer, .. } => Some(peer),
    ///     _ => None,
    /// });
    /// assert_eq!(up, Some(alice.peer_id()));
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    pub fn events(&self) -> Events {
        Events::new(&self.lease)
    }

    /// The counters of the whole node, at one moment.
    ///
    /// ```
    /// # use weir::testing::Cluster;
    /// # use weir::{Keypair, Network, NetworkId};
    /// # let cluster = Cluster::new(7);
    /// # let describe = |n| Network::builder(Keypair::ed25519_from_seed([n; 32]), NetworkId([1; 32]));
    /// # let (alice, node, ()) = cluster.add(describe(1))?;
    /// # let (bob, _bobs_node, ()) = cluster.add(describe(2).peers(alice.addresses()))?;
    /// cluster.run_until(bob.wait_for_peers(1))?;
    /// let stats = cluster.run_until(bob.stats())?;
    /// assert_eq!(stats.stack.peers, 1);
    /// assert!(stats.stack.windows_hold(), "a sum of what may be in transit is bounded");
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    ///
    /// # Errors
    /// [`Stopped`] once the node has stopped.
    pub async fn stats(&self) -> Result<Stats, Stopped> {
        self.lease.ask(Op::Stats).await
    }

    // ---- time ----

    /// The host's clock. It starts at zero with the node, or with the cluster.
    pub fn now(&self) -> Instant {
        self.shared().now()
    }

    /// Waits for so long, on the host's clock.
    ///
    /// ```
    /// # use weir::testing::Cluster;
    /// # use weir::{Keypair, Network, NetworkId};
    /// # let cluster = Cluster::new(7);
    /// # let describe = |n| Network::builder(Keypair::ed25519_from_seed([n; 32]), NetworkId([1; 32]));
    /// # let (alice, node, ()) = cluster.add(describe(1))?;
    /// # let (bob, _bobs_node, ()) = cluster.add(describe(2).peers(alice.addresses()))?;
    /// use std::time::Duration;
    ///
    /// let (begun, hour) = (alice.now(), Duration::from_secs(3600));
    /// cluster.run_until(alice.sleep(hour))?; // in a cluster an hour is over at once
    /// assert!(alice.now() >= begun + hour);
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    ///
    /// # Errors
    /// [`Stopped`] as soon as the node stops, so that loops end.
    pub async fn sleep(&self, pause: Duration) -> Result<(), Stopped> {
        time::sleep_until(self.shared(), self.now() + pause).await
    }

    /// Waits for any future at most so long, on the host's clock; the future is dropped then.
    ///
    /// ```
    /// # use weir::testing::Cluster;
    /// # use weir::{Keypair, Network, NetworkId};
    /// # let cluster = Cluster::new(7);
    /// # let describe = |n| Network::builder(Keypair::ed25519_from_seed([n; 32]), NetworkId([1; 32]));
    /// # let (alice, node, ()) = cluster.add(describe(1))?;
    /// # let (bob, _bobs_node, ()) = cluster.add(describe(2).peers(alice.addresses()))?;
    /// use std::time::Duration;
    ///
    /// use weir::WithinError;
    ///
    /// let second = Duration::from_secs(1);
    /// assert_eq!(cluster.run_until(alice.within(second, async { 7 })), Ok(7));
    /// let never = std::future::pending::<()>();
    /// assert_eq!(cluster.run_until(alice.within(second, never)), Err(WithinError::Elapsed(second)));
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    ///
    /// # Errors
    /// [`WithinError`] when the time was up first, or as soon as the node stops.
    pub async fn within<F: Future>(&self, limit: Duration, future: F) -> Result<F::Output, WithinError> {
        time::within(self.shared(), limit, future).await
    }

    /// Waits for any future on this thread: natively the thread sleeps, in a cluster it drives the simulation.
    ///
    /// ```
    /// # use weir::testing::Cluster;
    /// # use weir::{Keypair, Network, NetworkId};
    /// # let cluster = Cluster::new(7);
    /// # let describe = |n| Network::builder(Keypair::ed25519_from_seed([n; 32]), NetworkId([1; 32]));
    /// # let (alice, node, ()) = cluster.add(describe(1))?;
    /// # let (bob, _bobs_node, ()) = cluster.add(describe(2).peers(alice.addresses()))?;
    /// let peers = bob.block_on(bob.wait_for_peers(1))?;
    /// assert_eq!(peers[0].peer, alice.peer_id());
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.shared().block_on(future)
    }
}
