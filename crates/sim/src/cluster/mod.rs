//! Whole networks in one process and in virtual time: the same handles, no socket, no real sleep.
//!
//! A [`Cluster`] hosts nodes made by the same [`Builder`] that starts native ones, on the simulator's model of a network:
//! regions, latencies, lines with rates. Its executor is deterministic: the same seed gives the same run, up to the
//! [trace hash](Cluster::trace_hash).
//!
//! - [`spawn`](Cluster::spawn) starts a task; tasks use handles, and [`Network::sleep`](weir_node::Network::sleep) for time.
//! - [`run_until`](Cluster::run_until) drives everything until a future is ready, [`run_for`](Cluster::run_for) for a time.
//! - `next_blocking` and its like drive the simulation too. Where nothing could ever wake them they panic, with a message.
//!
//! ```
//! # mod weir {
//! #     pub use weir_node::*;
//! #     pub use weir_sim::cluster as testing;
//! # }
//! use weir::testing::Cluster;
//! use weir::{Keypair, Method, Network, NetworkId};
//!
//! const ECHO: Method<String, String> = Method::new(1, "echo");
//! let cluster = Cluster::new(7);
//! let key = |n| Keypair::ed25519_from_seed([n; 32]);
//! let describe = |n| Network::builder(key(n), NetworkId([1; 32]));
//! let (server, _node, requests) = cluster.add(describe(1).channels(ECHO.serve()))?;
//! let (client, _node, echo) = cluster.add(describe(2).channels(ECHO))?;
//!
//! cluster.spawn(async move {
//!     while let Some(request) = requests.next().await {
//!         request.answer(request.query().to_uppercase());
//!     }
//! });
//! let answer = cluster.run_until(async move {
//!     let peer = client.connect(&server.addresses()[0]).await?;
//!     Ok::<_, Box<dyn std::error::Error + Send + Sync>>(echo.call(peer, "hello".to_owned()).await?)
//! })?;
//! assert_eq!(answer, "HELLO");
//! # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
//! ```

mod driver;
mod executor;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, atomic::Ordering};
use std::time::Duration;

use weir_base::identity::PeerId;
use weir_base::multiaddr::Multiaddr;
use weir_base::{Instant, Rng};
use weir_node::host::{Setup, assemble};
use weir_node::{Builder, Network, Node, StartError};

use crate::host::{Birth, Host, Udp};
pub use crate::model::{Line, Place, Region};
use crate::model::{Model, Processor};
use driver::{Inner, NodeHost, World};
pub use executor::Task;
use executor::{Executor, lock};

/// How long the driver waits, in virtual time, for a future that nothing seems to wake, before it gives up.
pub const PATIENCE: Duration = Duration::from_secs(3600);

/// What carries the links of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// Frames in memory, without cryptography: the fastest, and the same run to the byte.
    Frames,
    /// QUIC datagrams, which the network may lose and reorder.
    Quic,
}

/// See the module. Belongs to one thread.
#[derive(Debug)]
pub struct Cluster {
    inner: Arc<Inner>,
    carrier: Carrier,
}

impl Cluster {
    /// No node yet; links will be frames. The same seed gives the same run.
    pub fn new(seed: u64) -> Self {
        Self::over(Carrier::Frames, seed)
    }

    /// As [`new`](Self::new), with links of another kind.
    pub fn over(carrier: Carrier, seed: u64) -> Self {
        let mut rng = Rng::from_number(seed);
        let places = rng.child("places");
        // applications' sleeps end when they should; native ones end later
        let processor = Processor { timer: Duration::ZERO, ..Processor::default() };
        let world = World::new(Host::new(seed, Model { processor, ..Model::default() }), places);
        let inner = Inner {
            world: Mutex::new(world),
            executor: Executor::default(),
            clock: Arc::new(AtomicU64::new(0)),
            thread: std::thread::current().id(),
        };
        Self { inner: Arc::new(inner), carrier }
    }

    /// Starts a node at a place drawn from the seed. A node that was here before, by its key, and has stopped comes back at
    /// the same place and address.
    ///
    /// # Errors
    /// As `weir::start`, but for sockets, which there are none of.
    pub fn add<H>(&self, builder: Builder<H>) -> Result<(Network, Node, H), StartError> {
        let place = Place::random(&mut lock(&self.inner.world).places);
        self.add_at(place, builder)
    }

    /// As [`add`](Self::add), at a place of its own.
    pub fn add_at<H>(&self, place: Place, builder: Builder<H>) -> Result<(Network, Node, H), StartError> {
        let plan = builder.plan()?;
        if !plan.listen().is_empty() {
            tracing::debug!(asked = ?plan.listen(), "a cluster gives its nodes their addresses");
        }
        let peer = plan.peer_id();
        let inner = &self.inner;
        let carrier = self.carrier;
        let mut world = lock(&inner.world);
        let world = &mut *world;
        let woken = Arc::clone(&world.woken);
        let mut made = None;
        let make = |birth: Birth| {
            let host = NodeHost::new(birth.id, woken, inner);
            let address = match carrier {
                Carrier::Frames => Multiaddr::from_memory(birth.endpoint),
                Carrier::Quic => Multiaddr::from_quic(birth.udp),
            };
            let setup = Setup {
                seed: birth.seed,
                start: birth.start,
                now: birth.now,
                addresses: vec![address],
                bound: Vec::new(), // the simulated network tells the stack of its socket
            };
            let (core, network, node, handles) = assemble(plan, Arc::new(host), setup)?;
            core.listen();
            made = Some((network, node, handles));
            Ok((core, peer))
        };
        let udp = match carrier {
            Carrier::Frames => Udp::None,
            Carrier::Quic => Udp::Bound,
        };
        let known = world.peers.get(&peer).copied();
        match known {
            Some(id) if !world.is_running(id) => {
                world.host.computer(id).crash();
                world.host.computer(id).restart::<StartError>(make)?;
            }
            Some(_) => return Err(StartError::DuplicateKey { peer }),
            None => {
                let id = world.host.add(place, udp, make)?;
                world.peers.insert(peer, id);
            }
        }
        made.ok_or(StartError::DuplicateKey { peer })
    }

    /// Starts a task. It runs while the cluster is driven; tasks that became ready first run first.
    pub fn spawn<F>(&self, future: F) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.inner.executor.spawn(future)
    }

    /// Drives tasks, nodes and the network until `future` is ready.
    ///
    /// # Panics
    /// Where nothing could ever wake the future, nothing did for [`PATIENCE`] of virtual time, or a node's turns never end.
    #[track_caller]
    pub fn run_until<F: Future>(&self, future: F) -> F::Output {
        self.inner.block_on(future)
    }

    /// Drives everything for so long in virtual time.
    pub fn run_for(&self, pause: Duration) {
        let limit = self.now() + pause;
        while self.inner.step(limit) {}
    }

    /// Virtual time, the same at all nodes. It starts at zero.
    pub fn now(&self) -> Instant {
        Instant::from_nanos(self.inner.clock.load(Ordering::Relaxed))
    }

    /// A hash over everything the network carried and every turn of a node: equal runs have equal hashes.
    ///
    /// ```
    /// # mod weir {
    /// #     pub use weir_node::*;
    /// #     pub use weir_sim::cluster as testing;
    /// # }
    /// use weir::testing::Cluster;
    /// use weir::{Keypair, Network, NetworkId};
    ///
    /// let run = |seed| {
    ///     let cluster = Cluster::new(seed);
    ///     let describe = |n| Network::builder(Keypair::ed25519_from_seed([n; 32]), NetworkId([1; 32]));
    ///     let (alice, _node, ()) = cluster.add(describe(1))?;
    ///     let (bob, _node, ()) = cluster.add(describe(2).peers(alice.addresses()))?;
    ///     cluster.run_until(bob.wait_for_peers(1))?;
    ///     Ok::<_, Box<dyn std::error::Error + Send + Sync>>(cluster.trace_hash())
    /// };
    /// assert_eq!(run(7)?, run(7)?);
    /// assert_ne!(run(7)?, run(8)?);
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    pub fn trace_hash(&self) -> String {
        lock(&self.inner.world).host.trace_hash()
    }

    /// Nothing between these nodes gets through any more, in neither direction, until [`heal`](Self::heal).
    ///
    /// ```
    /// # mod weir {
    /// #     pub use weir_node::*;
    /// #     pub use weir_sim::cluster as testing;
    /// # }
    /// # use weir::testing::Cluster;
    /// # use weir::{Keypair, Network, NetworkId};
    /// # let cluster = Cluster::new(7);
    /// # let describe = |n| Network::builder(Keypair::ed25519_from_seed([n; 32]), NetworkId([1; 32]));
    /// # let (alice, node, ()) = cluster.add(describe(1))?;
    /// # let (bob, _bobs_node, ()) = cluster.add(describe(2).peers(alice.addresses()))?;
    /// use std::time::Duration;
    ///
    /// cluster.run_until(bob.wait_for_peers(1))?;
    /// cluster.cut(alice.peer_id(), bob.peer_id());
    /// cluster.run_for(Duration::from_secs(120)); // in virtual time
    /// assert!(cluster.run_until(bob.peers().list())?.is_empty());
    /// cluster.heal(alice.peer_id(), bob.peer_id());
    /// cluster.run_until(bob.wait_for_peers(1))?; // bob keeps a link to alice: he has dialled her again
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    pub fn cut(&self, one: PeerId, other: PeerId) {
        let mut world = lock(&self.inner.world);
        if let (Some(one), Some(other)) = (world.id(one), world.id(other)) {
            world.host.block(one, other);
            world.host.block(other, one);
        }
    }

    /// What [`cut`](Self::cut) did ends.
    pub fn heal(&self, one: PeerId, other: PeerId) {
        let mut world = lock(&self.inner.world);
        if let (Some(one), Some(other)) = (world.id(one), world.id(other)) {
            world.host.heal(one, other);
            world.host.heal(other, one);
        }
    }

    /// Stops a node between two turns, without goodbye or flush; its handles end. False where it is not running.
    ///
    /// ```
    /// # mod weir {
    /// #     pub use weir_node::*;
    /// #     pub use weir_sim::cluster as testing;
    /// # }
    /// # use weir::testing::Cluster;
    /// # use weir::{Keypair, Network, NetworkId};
    /// # let cluster = Cluster::new(7);
    /// # let describe = |n| Network::builder(Keypair::ed25519_from_seed([n; 32]), NetworkId([1; 32]));
    /// # let (alice, node, ()) = cluster.add(describe(1))?;
    /// # let (bob, _bobs_node, ()) = cluster.add(describe(2).peers(alice.addresses()))?;
    /// assert!(cluster.crash(alice.peer_id()));
    /// assert!(cluster.run_until(alice.stats()).is_err(), "its handles have ended");
    /// assert!(!cluster.crash(alice.peer_id()), "it is not running any more");
    /// let (alice, _node, ()) = cluster.add(describe(1))?; // the same key: the same node, started again
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    pub fn crash(&self, peer: PeerId) -> bool {
        self.inner.crash(peer)
    }
}
