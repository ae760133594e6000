//! Peers as an operator sees them.

use std::sync::Arc;
use std::time::Duration;

use weir_base::Fault;
use weir_base::identity::PeerId;
use weir_stack::{Command, Known, Record, Refused, Role};

use crate::PrefixBan;
use crate::address::{ToAddress, dialable};
use crate::core::Op;
use crate::error::{AddressError, Retry, Stopped};
use crate::peer::{Ban, Banned, Peer};
use crate::shared::Lease;

/// The peers of a node, for whoever runs it. Made by [`Network::peers`](crate::Network::peers); cheap to clone.
#[derive(Clone, Debug)]
pub struct Peers {
    lease: Arc<Lease>,
}

impl Peers {
    pub(crate) fn of(lease: &Arc<Lease>) -> Self {
        Self { lease: Arc::clone(lease) }
    }

    /// The peers that are connected, in the order of their ids.
    ///
    /// ```
    /// # use weir::testing::Cluster;
    /// # use weir::{Keypair, Network, NetworkId};
    /// # let cluster = Cluster::new(7);
    /// # let describe = |n| Network::builder(Keypair::ed25519_from_seed([n; 32]), NetworkId([1; 32]));
    /// # let (alice, node, ()) = cluster.add(describe(1))?;
    /// # let (bob, _bobs_node, ()) = cluster.add(describe(2).peers(alice.addresses()))?;
    /// cluster.run_until(bob.wait_for_peers(1))?;
    /// for peer in cluster.run_until(bob.peers().list())? {
    ///     println!("{} by {:?}, round trip {:?}, runs {}", peer.peer, peer.address, peer.rtt, peer.agent);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    ///
    /// # Errors
    /// [`Stopped`] once the node has stopped.
    pub async fn list(&self) -> Result<Vec<Peer>, Stopped> {
        self.lease.ask(Op::Peers).await
    }

    /// Says goodbye to a peer. One that is kept ([`keep`](Self::keep)) is dialled again after its pause.
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
    /// cluster.run_until(bob.wait_for_peers(1))?;
    /// let events = bob.events();
    /// cluster.run_until(alice.peers().disconnect(bob.peer_id()))?;
    /// let down = std::iter::from_fn(|| events.next_blocking()).find(|event| matches!(event, Event::PeerDown { .. }));
    /// println!("{down:?}"); // which says why, too; bob, who keeps a link to alice, dials her again after a pause
    /// # assert!(down.is_some());
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    ///
    /// # Errors
    /// [`PeerError::Refused`] where there is no link to this peer; `Stopped`, as of all commands about peers.
    pub async fn disconnect(&self, peer: PeerId) -> Result<(), PeerError> {
        self.tell(Command::Disconnect(peer)).await
    }

    /// Asks a peer who it is, by libp2p's identify. [`Event::Identified`](crate::Event::Identified) follows, unless it does not
    /// speak it. On libp2p's connections (TCP) every peer is asked once without this.
    ///
    /// # Errors
    /// [`PeerError::Refused`] where there is no link to this peer.
    pub async fn identify(&self, peer: PeerId) -> Result<(), PeerError> {
        self.tell(Command::Identify(peer)).await
    }

    /// Sends so many bytes to a peer, asks for so many back, and says how long it took, by libp2p's perf. `None` where the peer
    /// does not serve it (`node.perf.max_inbound`), or the link ended meanwhile. It may take as long as the link lasts: bound it
    /// with [`Network::within`](crate::Network::within).
    ///
    /// # Errors
    /// [`PeerError::Refused`] where there is no link to this peer, or 64 measurements are under way.
    pub async fn measure(
        &self,
        peer: PeerId,
        upload: u64,
        download: u64,
    ) -> Result<Option<Duration>, PeerError> {
        let asked = self.lease.ask(|reply| Op::Measure { peer, upload, download, reply }).await;
        asked.map_err(|Stopped| PeerError::Stopped)?.map_err(PeerError::Refused)
    }

    /// Keeps a link to this peer: it is dialled now, and again whenever the link is lost, with growing pauses. It is not
    /// exempt from what follows from its faults: while it is banned it is not dialled.
    ///
    /// ```
    /// # use weir::testing::Cluster;
    /// # use weir::{Keypair, Network, NetworkId};
    /// # let cluster = Cluster::new(7);
    /// # let describe = |n| Network::builder(Keypair::ed25519_from_seed([n; 32]), NetworkId([1; 32]));
    /// # let (alice, node, ()) = cluster.add(describe(1))?;
    /// # let (bob, _bobs_node, ()) = cluster.add(describe(2))?;
    /// cluster.run_until(bob.peers().keep(&alice.addresses()[0]))?;
    /// assert_eq!(cluster.run_until(bob.wait_for_peers(1))?[0].peer, alice.peer_id());
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    ///
    /// # Errors
    /// [`PeerError::Address`] where it is no address, [`PeerError::Refused`] where the address book is full.
    pub async fn keep(&self, address: impl ToAddress) -> Result<(), PeerError> {
        self.add(address, Role::Pinned).await
    }

    /// Tells the address book of a peer: it is dialled when links are wanted (`node.peers.target`), and forgotten when it
    /// cannot be reached (`node.peers.candidate_tries`).
    ///
    /// ```
    /// # use weir::testing::Cluster;
    /// # use weir::{Keypair, Network, NetworkId};
    /// # let cluster = Cluster::new(7);
    /// # let describe = |n| Network::builder(Keypair::ed25519_from_seed([n; 32]), NetworkId([1; 32]));
    /// # let (alice, node, ()) = cluster.add(describe(1))?;
    /// # let (bob, _bobs_node, ()) = cluster.add(describe(2))?;
    /// cluster.run_until(bob.peers().suggest(&alice.addresses()[0]))?; // bob wants links, so he dials her
    /// assert_eq!(cluster.run_until(bob.wait_for_peers(1))?[0].peer, alice.peer_id());
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    ///
    /// # Errors
    /// As [`keep`](Self::keep).
    pub async fn suggest(&self, address: impl ToAddress) -> Result<(), PeerError> {
        self.add(address, Role::Candidate).await
    }

    async fn add(&self, address: impl ToAddress, role: Role) -> Result<(), PeerError> {
        let address = dialable(address.to_address()).map_err(PeerError::Address)?;
        let known = Known { peer: address.peer_id(), addresses: vec![address], role };
        self.tell(Command::AddPeer(known)).await
    }

    /// Takes a peer out of the address book. Its link stays.
    ///
    /// # Errors
    /// [`PeerError::Stopped`].
    pub async fn forget(&self, peer: PeerId) -> Result<(), PeerError> {
        self.tell(Command::RemovePeer(peer)).await
    }

    /// Closes the links to a peer, or to all peers of an address or a prefix; refuses and does not dial them for this time.
    ///
    /// ```
    /// # use weir_node as weir;
    /// # async fn example(net: weir::Network, peer: weir::PeerId) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::net::IpAddr;
    /// use std::time::Duration;
    ///
    /// use weir::Prefix;
    ///
    /// let hour = Duration::from_secs(3600);
    /// net.peers().ban(peer, hour).await?;
    /// net.peers().ban("192.0.2.7".parse::<IpAddr>()?, hour).await?;
    /// net.peers().ban("2001:db8::/32".parse::<Prefix>()?, hour).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`PeerError::Refused`] where as many prefixes are banned as can be; `Stopped`.
    pub async fn ban(&self, whom: impl Into<Banned>, duration: Duration) -> Result<(), PeerError> {
        let command = match whom.into() {
            Banned::Peer(peer) => Command::Ban { peer, duration },
            Banned::Prefix(network) => Command::BanNetwork { network, duration },
        };
        self.tell(command).await
    }

    /// The bans that hold now, the operator's and the node's own: of peers in the order of their ids, then of prefixes. At most as many
    /// as there can be (`node.peers.standing.max_peers`, and 1,024 prefixes).
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
    /// use weir::Banned;
    ///
    /// let (peer, hour) = (alice.peer_id(), Duration::from_secs(3600));
    /// cluster.run_until(bob.peers().ban(peer, hour))?;
    /// let bans = cluster.run_until(bob.peers().bans())?;
    /// assert_eq!(bans[0].whom, Banned::Peer(peer));
    /// assert!(bans[0].until <= bob.now() + hour);
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    ///
    /// # Errors
    /// [`Stopped`] once the node has stopped.
    pub async fn bans(&self) -> Result<Vec<Ban>, Stopped> {
        self.lease.ask(Op::Bans).await
    }

    /// Ends a ban, the node's own too. A prefix has to be named as it was banned.
    ///
    /// ```
    /// # use weir::testing::Cluster;
    /// # use weir::{Keypair, Network, NetworkId};
    /// # let cluster = Cluster::new(7);
    /// # let describe = |n| Network::builder(Keypair::ed25519_from_seed([n; 32]), NetworkId([1; 32]));
    /// # let (alice, node, ()) = cluster.add(describe(1))?;
    /// # let (bob, _bobs_node, ()) = cluster.add(describe(2).peers(alice.addresses()))?;
    /// # use std::time::Duration;
    /// # cluster.run_until(bob.peers().ban(alice.peer_id(), Duration::from_secs(3600)))?;
    /// cluster.run_until(bob.peers().unban(alice.peer_id()))?;
    /// assert!(cluster.run_until(bob.peers().bans())?.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    ///
    /// # Errors
    /// [`PeerError::Stopped`].
    pub async fn unban(&self, whom: impl Into<Banned>) -> Result<(), PeerError> {
        let command = match whom.into() {
            Banned::Peer(peer) => Command::Unban(peer),
            Banned::Prefix(network) => Command::UnbanNetwork(network),
        };
        self.tell(command).await
    }

    /// Forgets everything held against a peer: its faults and its bans.
    ///
    /// # Errors
    /// [`PeerError::Stopped`].
    pub async fn clear_faults(&self, peer: PeerId) -> Result<(), PeerError> {
        self.tell(Command::Forgive(peer)).await
    }

    /// Says what a peer did wrong that only the application can see: it counts as a fault that the node found itself.
    /// [`Event::Fault`](crate::Event::Fault) follows, with what the node did about it; a peer without a link is reported just
    /// as well. [`Blame::Invalid`](crate::Blame::Invalid) and [`Blame::Unreliable`](crate::Blame::Unreliable) are usual.
    ///
    /// A rejected item or tip is a fault already: this is for answers to calls, and for raw streams.
    ///
    /// ```
    /// # use weir::testing::Cluster;
    /// # use weir::{Keypair, Network, NetworkId};
    /// # let cluster = Cluster::new(7);
    /// # let describe = |n| Network::builder(Keypair::ed25519_from_seed([n; 32]), NetworkId([1; 32]));
    /// # let (alice, node, ()) = cluster.add(describe(1))?;
    /// # let (bob, _bobs_node, ()) = cluster.add(describe(2).peers(alice.addresses()))?;
    /// use weir::{Event, Fault};
    ///
    /// const NO_BLOCK: Fault = Fault::invalid("what it sent for a block is none");
    ///
    /// cluster.run_until(bob.wait_for_peers(1))?;
    /// let events = bob.events();
    /// cluster.run_until(bob.peers().report(alice.peer_id(), NO_BLOCK))?;
    /// let fault = std::iter::from_fn(|| events.next_blocking()).find_map(|event| match event {
    ///     Event::Fault { fault, reaction, .. } => Some((fault, reaction)),
    ///     _ => None,
    /// });
    /// println!("{fault:?}"); // the reaction says whether the peer was disconnected or banned for it
    /// # assert_eq!(fault.map(|(fault, _)| fault), Some(NO_BLOCK));
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    ///
    /// # Errors
    /// [`PeerError::Stopped`].
    pub async fn report(&self, peer: PeerId, fault: Fault) -> Result<(), PeerError> {
        self.tell(Command::Report { peer, fault }).await
    }

    /// Takes a peer's standing as an earlier run told it ([`Event::Standing`](crate::Event::Standing)).
    ///
    /// ```
    /// # use weir::testing::Cluster;
    /// # use weir::{Keypair, Network, NetworkId};
    /// # let cluster = Cluster::new(7);
    /// # let describe = |n| Network::builder(Keypair::ed25519_from_seed([n; 32]), NetworkId([1; 32]));
    /// # let (alice, node, ()) = cluster.add(describe(1))?;
    /// # let (bob, _bobs_node, ()) = cluster.add(describe(2).peers(alice.addresses()))?;
    /// # use weir::{Event, Fault};
    /// # let (events, peer) = (bob.events(), alice.peer_id());
    /// # cluster.run_until(bob.peers().report(peer, Fault::invalid("nonsense")))?;
    /// let record = std::iter::from_fn(|| events.next_blocking()).find_map(|event| match event {
    ///     Event::Standing { record, .. } => record, // to be kept on the disk
    ///     _ => None,
    /// });
    /// let record = record.ok_or("nothing is held against her")?;
    /// cluster.run_until(bob.peers().restore(record))?; // in the next run
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    ///
    /// # Errors
    /// [`PeerError::Stopped`].
    pub async fn restore(&self, record: Record) -> Result<(), PeerError> {
        self.tell(Command::Restore(record)).await
    }

    /// Takes the ban of a prefix as an earlier run told it ([`Event::PrefixBan`](crate::Event::PrefixBan)). It ends at the same
    /// wall time.
    ///
    /// # Errors
    /// [`PeerError::Refused`] where as many prefixes are banned as can be; `Stopped`.
    pub async fn restore_ban(&self, ban: PrefixBan) -> Result<(), PeerError> {
        self.tell(Command::RestoreNetwork(ban)).await
    }

    /// Sends a command to the stack.
    pub(crate) async fn tell(&self, command: Command) -> Result<(), PeerError> {
        let told: Result<Result<(), Refused>, Stopped> =
            self.lease.ask(|reply| Op::Stack(Box::new(command), reply)).await;
        told.map_err(|Stopped| PeerError::Stopped)?.map_err(PeerError::Refused)
    }
}

/// Why a wish about a peer was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeerError {
    /// The address cannot be parsed, or this node has no transport for it.
    #[error("cannot dial {0}")]
    Address(#[source] AddressError),
    /// The node refused; nothing has happened.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The node has stopped.
    #[error("the node has stopped")]
    Stopped,
}

impl PeerError {
    /// Whether to try again.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Refused(Refused::Limit) => Retry::Soon,
            Self::Refused(_) | Self::Address(_) | Self::Stopped => Retry::Never,
        }
    }
}
