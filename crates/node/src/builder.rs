//! Describing a node before it runs.

use std::any::type_name;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use weir_base::identity::{Keypair, PeerId};
use weir_base::multiaddr::Multiaddr;
use weir_base::{NetworkId, ProtocolId};
use weir_pull::{ChannelId, Service};
use weir_stack::{Attempt, Cipher, Gate, Known, Role, Security};

use crate::Config;
use crate::address::{ToAddress, dialable};
use crate::channels::Channels;
use crate::declarations::{Bind, Checked, Declarations, DeclareOnce};
use crate::error::{AddressError, StartError};
use crate::shared::{Channel, Named};

/// A node to be: who it is, what it speaks, where it listens. Made by [`Network::builder`](crate::Network::builder); a host
/// starts it: `weir::start` on real sockets, `weir::testing::Cluster::add` in virtual time. `H` is what start returns for its
/// [channels](Self::channels).
///
/// ```
/// # let keypair = weir::Keypair::ed25519_from_seed([1; 32]);
/// use weir::{Network, NetworkId, Pool};
///
/// const TXS: Pool<String> = Pool::new(4, "tx");
/// let builder = Network::builder(keypair, NetworkId([1; 32]))
///     .agent("my-node/1.0")
///     .listen("0.0.0.0:4001")
///     .peers(["203.0.113.7:4001", "/dns4/seed.example/udp/4001/quic-v1"])
///     .channels(TXS);
/// let plan = builder.plan()?; // what a host does first: all that can be wrong without it is said here
/// assert_eq!(plan.peers().count(), 2);
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
#[derive(Debug)]
pub struct Builder<H = ()> {
    node: Description,
    channels: Declare<H>,
}

/// All but the channels.
#[derive(Debug)]
struct Description {
    keypair: Keypair,
    network: NetworkId,
    config: Config,
    agent: Option<String>,
    gate: Option<Gate>,
    services: Vec<Service>,
    listen: Vec<Result<Multiaddr, AddressError>>,
    peers: Vec<Result<Multiaddr, AddressError>>,
}

/// Declares channels, once their limits are known.
struct Declare<H>(DeclareOnce<H>);

impl<H> std::fmt::Debug for Declare<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(type_name::<H>())
    }
}

/// A checked description, ready for a host ([`host::assemble`](crate::host::assemble)).
pub struct Plan<H = ()> {
    pub(crate) keypair: Keypair,
    pub(crate) config: Config,
    pub(crate) stack: Arc<weir_stack::Config>,
    pub(crate) listen: Vec<Multiaddr>,
    pub(crate) peers: Vec<Known>,
    pub(crate) channels: BTreeMap<ChannelId, Channel>,
    pub(crate) named: BTreeMap<ProtocolId, Named>,
    pub(crate) bind: Bind<H>,
}

impl<H> std::fmt::Debug for Plan<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plan")
            .field("peer", &self.peer_id())
            .field("listen", &self.listen)
            .finish_non_exhaustive()
    }
}

impl Builder {
    pub(crate) fn new(keypair: Keypair, network: NetworkId) -> Self {
        let node = Description {
            keypair,
            network,
            config: Config::default(),
            agent: None,
            gate: None,
            services: Vec::new(),
            listen: Vec::new(),
            peers: Vec::new(),
        };
        Self { node, channels: Declare(Box::new(|node| ().declare(node))) }
    }

    /// Takes part in these [channels](crate::channel): one, or a tuple of them. Start returns a handle for each, in the same
    /// shape.
    ///
    /// ```
    /// # use weir_node as weir;
    /// # use weir::{Keypair, Method, Network, NetworkId, Pool};
    /// const TXS: Pool<String> = Pool::new(4, "tx");
    /// const BLOCK: Method<u64, String> = Method::new(5, "block");
    ///
    /// # let keypair = Keypair::ed25519_from_seed([1; 32]);
    /// let builder = Network::builder(keypair, NetworkId([1; 32])).channels((TXS, BLOCK.serve()));
    /// // let (net, node, (txs, blocks)) = weir::start(builder)?;
    /// # let _ = builder;
    /// ```
    #[must_use]
    pub fn channels<C: Channels>(self, channels: C) -> Builder<C::Handles> {
        Builder { node: self.node, channels: Declare(Box::new(|node| channels.declare(node))) }
    }
}

impl<H: 'static> Builder<H> {
    /// Takes part in these [channels](Self::channels) as well: start returns a pair of the handles so far and of theirs.
    ///
    /// ```
    /// # let keypair = weir::Keypair::ed25519_from_seed([1; 32]);
    /// use weir::{Network, NetworkId, Pool};
    ///
    /// const TXS: Pool<String> = Pool::new(4, "tx");
    /// const VOTES: Pool<String> = Pool::new(6, "vote");
    /// let chain = Network::builder(keypair, NetworkId([1; 32])).channels(TXS); // by a library, say
    /// let node = chain.also(VOTES);
    /// // let (net, node, (txs, votes)) = weir::start(node)?;
    /// # let _ = node;
    /// ```
    #[must_use]
    pub fn also<C: Channels<Handles: 'static>>(self, channels: C) -> Builder<(H, C::Handles)> {
        let before = self.channels.0;
        let both = |node: &mut Declarations| {
            let (before, channels) = (before(node), channels.declare(node));
            before.both(channels)
        };
        Builder { node: self.node, channels: Declare(Box::new(both)) }
    }
}

impl<H> Builder<H> {
    /// Listens on this address too: `IP:PORT` (QUIC), `/ip4/…/udp/…/quic-v1` or `/ip4/…/tcp/…`; port 0 takes a free one. A node without any binds a
    /// port of its own for dialling, in each family; so does, in the other family, one that listens on every address of one
    /// only (`0.0.0.0`, `[::]`). In a cluster addresses are given, and this is not needed.
    #[must_use]
    pub fn listen(mut self, address: impl ToAddress) -> Self {
        self.node.listen.push(address.to_address());
        self
    }

    /// Keeps a link to this peer: it is dialled from the start, and again whenever the link is lost.
    #[must_use]
    pub fn peer(mut self, address: impl ToAddress) -> Self {
        self.node.peers.push(address.to_address());
        self
    }

    /// Keeps links to all of these; see [`peer`](Self::peer).
    #[must_use]
    pub fn peers<A: ToAddress>(mut self, addresses: impl IntoIterator<Item = A>) -> Self {
        self.node.peers.extend(addresses.into_iter().map(ToAddress::to_address));
        self
    }

    /// What this node can do for others, told to all peers: at most 16, ids unique, payloads of at most 64 bytes.
    /// [`Network::set_services`](crate::Network::set_services) changes it.
    ///
    /// ```
    /// # let keypair = weir::Keypair::ed25519_from_seed([1; 32]);
    /// use weir::{Bytes, Network, NetworkId, Service};
    ///
    /// const ARCHIVE: u32 = 1; // this network's number for nodes that keep everything
    /// let archive = Service { id: ARCHIVE, version: 1, payload: Bytes::from_static(b"from genesis") };
    /// let builder = Network::builder(keypair, NetworkId([1; 32])).service(archive);
    /// # let _ = builder;
    /// ```
    #[must_use]
    pub fn service(mut self, service: Service) -> Self {
        self.node.services.push(service);
        self
    }

    /// Name and version of the program, for people: at most 64 bytes. Default: `weir/` and this library's version.
    #[must_use]
    pub fn agent(mut self, agent: impl Into<String>) -> Self {
        self.node.agent = Some(agent.into());
        self
    }

    /// A rule of the node's own about connections, asked before each dial, at each accept and after each handshake, beside limits and
    /// the lists of the configuration (`node.admission.allow`, `node.admission.deny`). It runs on the thread that drives the node, so it must not wait
    /// for anything. 0-RTT calls of a peer that had a link in this run may be served before it is asked about the new one. Each refusal is told as [`Event::ConnectionRefused`](crate::Event::ConnectionRefused).
    ///
    /// ```
    /// # use weir_node as weir;
    /// # use weir::{Attempt, Keypair, Network, NetworkId};
    /// # let keypair = Keypair::ed25519_from_seed([1; 32]);
    /// # let validators = vec![keypair.peer_id()];
    /// let builder = Network::builder(keypair, NetworkId([1; 32])).gate(move |attempt| match attempt {
    ///     Attempt::Secured { peer, .. } if !validators.contains(peer) => Err("not a validator".into()),
    ///     _ => Ok(()),
    /// });
    /// # let _ = builder;
    /// ```
    #[must_use]
    pub fn gate(
        mut self,
        rule: impl Fn(&Attempt<'_>) -> Result<(), Cow<'static, str>> + Send + Sync + 'static,
    ) -> Self {
        self.node.gate = Some(Gate::new(move |attempt| {
            let said = catch_unwind(AssertUnwindSafe(|| rule(attempt)));
            said.unwrap_or_else(|_| {
                tracing::error!(?attempt, "the rule about connections has panicked");
                Err("the rule about connections has panicked".into())
            })
        }));
        self
    }

    /// Limits other than the defaults.
    ///
    /// ```
    /// # let keypair = weir::Keypair::ed25519_from_seed([1; 32]);
    /// use weir::{Config, Network, NetworkId};
    ///
    /// let mut config = Config::default(); // or read from a file, by serde
    /// config.node.admission.max_links = 64;
    /// config.node.admission.max_inbound = 48;
    /// config.mailboxes.events = 4096;
    /// let builder = Network::builder(keypair, NetworkId([1; 32])).config(config);
    /// # builder.plan()?;
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.node.config = config;
        self
    }

    /// Checks everything that can be checked before there is a host. Hosts call this.
    ///
    /// # Errors
    /// [`StartError`], which names the field, channel or address and the remedy.
    pub fn plan(self) -> Result<Plan<H>, StartError> {
        let Description { keypair, network, config, agent, gate, services, listen, peers } = self.node;
        config.check()?;
        let mut declarations = Declarations::new(config);
        let bind = (self.channels.0)(&mut declarations);
        let Checked { mut config, channels: checked, named } = declarations.checked()?;
        let (mut channels, mut spoken) = (BTreeMap::new(), Vec::new());
        for (channel, said) in checked {
            channels.insert(said.id, channel);
            spoken.push(said);
        }
        let profile = &mut config.node.profile;
        profile.network = network;
        profile.services = services;
        profile.channels = spoken;
        if let Some(agent) = agent {
            profile.agent = agent;
        }
        config.node.gate = gate;
        config.node.validate().map_err(StartError::stack)?;
        let listen = listen.into_iter().collect::<Result<_, _>>().map_err(StartError::ListenAddress)?;
        let local = keypair.peer_id();
        let peers = peers.into_iter().map(|given| {
            let address = dialable(given).map_err(StartError::PeerAddress)?;
            let peer = address.peer_id();
            if peer == Some(local) {
                return Err(StartError::PeerAddress(AddressError::new(address, "it is this node's own")));
            }
            Ok(Known { peer, addresses: vec![address], role: Role::Pinned })
        });
        let peers = peers.collect::<Result<_, StartError>>()?;
        let stack = Arc::new(config.node.clone());
        Ok(Plan { keypair, config, stack, listen, peers, channels, named, bind })
    }
}

impl<H> Plan<H> {
    /// Who the node will be.
    pub fn peer_id(&self) -> PeerId {
        self.keypair.peer_id()
    }

    /// Whom it should keep links to, an address each.
    pub fn peers(&self) -> impl Iterator<Item = &Multiaddr> {
        self.peers.iter().flat_map(|known| &known.addresses)
    }

    /// What secures byte streams, the best first, where the configuration leaves that to the host, and what TLS prefers.
    pub fn secure_with(&mut self, security: impl IntoIterator<Item = Security>, cipher: Cipher) {
        let mut stack = (*self.stack).clone();
        if stack.tcp.security.is_empty() {
            stack.tcp.security = security.into_iter().collect();
        }
        stack.cipher = cipher;
        self.stack = Arc::new(stack);
    }

    /// Where it should listen.
    pub fn listen(&self) -> &[Multiaddr] {
        &self.listen
    }

    /// What it may use.
    pub fn config(&self) -> &Config {
        &self.config
    }
}
