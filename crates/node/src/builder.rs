//! Describing a node before it runs.

use std::any::{TypeId, type_name};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use weir_base::NetworkId;
use weir_base::codec;
use weir_base::identity::{Keypair, PeerId};
use weir_base::multiaddr::Multiaddr;
use weir_pull::pool::{Rules, Summary};
use weir_pull::{ChannelId, Service, Shape, call, pool, tip};
use weir_stack::{Known, Role};

use crate::Config;
use crate::channel::{Declared, Method, Pool, Raw, Tip};
use crate::error::StartError;
use crate::mailbox::Outbox;
use crate::message::{Message, PoolItem, TipValue};
use crate::network::ToAddress;
use crate::shared::{Channel, Mail};

/// A node to be: who it is, what it speaks, where it listens. Made by [`Network::builder`](crate::Network::builder); a host
/// starts it: `weir::start` on real sockets, `weir::testing::Cluster::add` in virtual time.
#[derive(Debug)]
pub struct Builder {
    keypair: Keypair,
    network: NetworkId,
    config: Config,
    agent: Option<String>,
    services: Vec<Service>,
    listen: Vec<Result<Multiaddr, String>>,
    peers: Vec<Result<Multiaddr, String>>,
    channels: Vec<Declaration>,
}

#[derive(Debug)]
struct Declaration {
    declared: Declared,
    types: TypeId,
    shape: Shape,
    served: bool,
}

/// A checked description, ready for a host ([`host::assemble`](crate::host::assemble)).
#[derive(Debug)]
pub struct Plan {
    pub(crate) keypair: Keypair,
    pub(crate) config: Config,
    pub(crate) stack: Arc<weir_stack::Config>,
    pub(crate) listen: Vec<Multiaddr>,
    pub(crate) peers: Vec<Known>,
    pub(crate) channels: BTreeMap<ChannelId, Channel>,
}

/// A type that panics ends its item, not the node: such bytes count as malformed.
fn summarize<T: PoolItem>(bytes: &Bytes) -> Result<Summary, codec::Malformed> {
    let summary = caught::<T, _>("summary_of", || T::summary_of(bytes));
    summary.and_then(Result::ok).ok_or(codec::Malformed::Value)
}

/// As [`summarize`]: an item without a priority is not wanted.
fn judge<T: PoolItem>(summary: &Summary) -> Option<u64> {
    caught::<T, _>("priority", || T::priority(summary)).flatten()
}

/// What a function of the application returns; `None` where it panics. Nothing of ours is borrowed for change meanwhile.
fn caught<T, R>(function: &'static str, run: impl FnOnce() -> R) -> Option<R> {
    let result = catch_unwind(AssertUnwindSafe(run));
    if result.is_err() {
        tracing::error!(item = type_name::<T>(), function, "a function of the application has panicked");
    }
    result.ok()
}

impl Builder {
    pub(crate) fn new(keypair: Keypair, network: NetworkId) -> Self {
        Self {
            keypair,
            network,
            config: Config::default(),
            agent: None,
            services: Vec::new(),
            listen: Vec::new(),
            peers: Vec::new(),
            channels: Vec::new(),
        }
    }

    /// Listens on this address too: `IP:PORT` or `/ip4/…/udp/…/quic-v1`; port 0 takes a free one. A node without any binds a
    /// port of its own for dialling, in each family; so does, in the other family, one that listens on every address of one
    /// only (`0.0.0.0`, `[::]`). In a cluster addresses are given, and this is not needed.
    #[must_use]
    pub fn listen(mut self, address: impl ToAddress) -> Self {
        self.listen.push(address.to_address());
        self
    }

    /// Keeps a link to this peer: it is dialled from the start, and again whenever the link is lost.
    #[must_use]
    pub fn peer(mut self, address: impl ToAddress) -> Self {
        self.peers.push(address.to_address());
        self
    }

    /// Keeps links to all of these; see [`peer`](Self::peer).
    #[must_use]
    pub fn peers<A: ToAddress>(mut self, addresses: impl IntoIterator<Item = A>) -> Self {
        self.peers.extend(addresses.into_iter().map(ToAddress::to_address));
        self
    }

    /// Takes part in a pool: offers what it has, and asks for what others have.
    #[must_use]
    pub fn pool<T: PoolItem>(mut self, pool: &Pool<T>) -> Self {
        let rules = Rules { summarize: summarize::<T>, judge: judge::<T> };
        let mut config = pool::Config::new(rules);
        let limits = pool.limits;
        config.class = pool.declared.class;
        config.max_item = limits.max_item.unwrap_or(config.max_item);
        config.max_items = limits.max_items.unwrap_or(config.max_items);
        config.max_bytes = limits.max_bytes.unwrap_or(config.max_bytes);
        config.offer_delay = limits.offer_delay.unwrap_or(config.offer_delay);
        config.checking = limits.candidates.unwrap_or(config.checking);
        let item = u64::from(config.max_item);
        config.deferred_bytes = config.deferred_bytes.max(item);
        self.declare(pool.declared, TypeId::of::<T>(), Shape::Pool(config), false);
        self
    }

    /// Takes part in a tip.
    #[must_use]
    pub fn tip<T: TipValue>(mut self, tip: &Tip<T>) -> Self {
        let mut config = tip::Config { class: tip.declared.class, ..tip::Config::default() };
        config.max_value = tip.max_value.unwrap_or(config.max_value);
        self.declare(tip.declared, TypeId::of::<T>(), Shape::Tip(config), false);
        self
    }

    /// Calls a method, and does not answer it: peers that ask are told to retry after 1 s.
    #[must_use]
    pub fn call<Req: Message, Resp: Message>(self, method: &Method<Req, Resp>) -> Self {
        self.method(method, false)
    }

    /// Answers a method ([`Node::requests`](crate::Node::requests)), and may call it too.
    #[must_use]
    pub fn serve<Req: Message, Resp: Message>(self, method: &Method<Req, Resp>) -> Self {
        self.method(method, true)
    }

    fn method<Req: Message, Resp: Message>(mut self, method: &Method<Req, Resp>, served: bool) -> Self {
        let mut config = call::Config { class: method.declared.class, ..call::Config::default() };
        let limits = method.limits;
        config.max_request = limits.max_request.unwrap_or(config.max_request);
        config.max_response = limits.max_response.unwrap_or(config.max_response);
        config.concurrency = limits.concurrency.unwrap_or(config.concurrency);
        config.deadline = limits.deadline.unwrap_or(config.deadline);
        config.replay_safe = limits.replay_safe;
        self.declare(method.declared, TypeId::of::<(Req, Resp)>(), Shape::Call(config), served);
        self
    }

    /// Opens and accepts raw streams on a channel.
    #[must_use]
    pub fn raw(mut self, raw: &Raw) -> Self {
        self.declare(raw.declared, TypeId::of::<Raw>(), Shape::Raw, false);
        self
    }

    /// What this node can do for others, told to all peers: at most 16, ids unique, payloads of at most 64 bytes.
    /// [`Network::set_services`](crate::Network::set_services) changes it.
    #[must_use]
    pub fn service(mut self, service: Service) -> Self {
        self.services.push(service);
        self
    }

    /// Name and version of the program, for people: at most 64 bytes. Default: `weir/` and this library's version.
    #[must_use]
    pub fn agent(mut self, agent: impl Into<String>) -> Self {
        self.agent = Some(agent.into());
        self
    }

    /// Limits other than the defaults.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    fn declare(&mut self, declared: Declared, types: TypeId, shape: Shape, served: bool) {
        self.channels.push(Declaration { declared, types, shape, served });
    }

    /// Checks everything that can be checked before there is a host. Hosts call this.
    ///
    /// # Errors
    /// [`StartError`], which names the field, channel or address and the remedy.
    pub fn plan(self) -> Result<Plan, StartError> {
        let Self { keypair, network, mut config, agent, services, listen, peers, channels } = self;
        config.check()?;
        let (mut mailed, mut spoken) = (BTreeMap::new(), Vec::new());
        for Declaration { declared, types, shape, served } in channels {
            let id = ChannelId(declared.id);
            let mail = mail(&shape, served, &config);
            if mailed.insert(id, Channel { declared, types, mail }).is_some() {
                return Err(StartError::Declared { id: declared.id, name: declared.name });
            }
            let (name, version) = (declared.name.to_owned(), declared.version);
            spoken.push(weir_pull::Channel { id, name, version, oldest: version, shape });
        }
        let profile = &mut config.node.profile;
        profile.network = network;
        profile.services = services;
        profile.channels = spoken;
        if let Some(agent) = agent {
            profile.agent = agent;
        }
        config.node.validate()?;
        let address =
            |address: Result<Multiaddr, String>| address.map_err(|address| StartError::Address { address });
        let listen = listen.into_iter().map(address).collect::<Result<_, _>>()?;
        let peers = peers.into_iter().map(|given| {
            let address = address(given)?;
            Ok(Known { peer: address.peer_id(), addresses: vec![address], role: Role::Pinned })
        });
        let peers = peers.collect::<Result<_, StartError>>()?;
        let stack = Arc::new(config.node.clone());
        Ok(Plan { keypair, config, stack, listen, peers, channels: mailed })
    }
}

/// The mailboxes for a channel. A pool hands out at most `checking` candidates without a verdict, and a tip one value per
/// link and its evidence: their mailboxes hold what can come.
fn mail(shape: &Shape, served: bool, config: &Config) -> Mail {
    let links = config.node.admission.max_links as usize;
    let mailboxes = &config.mailboxes;
    match shape {
        Shape::Pool(pool) => {
            Mail::Pool { candidates: Outbox::new(pool.checking as usize), max_item: pool.max_item }
        }
        Shape::Tip(tip) => Mail::Tip {
            received: Outbox::new(links.saturating_mul(2)),
            withdrawn: Outbox::new(links),
            max_value: tip.max_value,
        },
        Shape::Call(call) => Mail::Call {
            requests: served.then(|| Outbox::new(mailboxes.requests as usize)),
            max_request: call.max_request,
            max_response: call.max_response,
            deadline: call.deadline,
        },
        Shape::Raw => Mail::Raw(Outbox::new(mailboxes.streams as usize)),
    }
}

impl Plan {
    /// Who the node will be.
    pub fn peer_id(&self) -> PeerId {
        self.keypair.peer_id()
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
