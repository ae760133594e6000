//! [`Network`]: the handle to a running node.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument as _;
use weir_base::identity::{Keypair, PeerId};
use weir_base::multiaddr::Multiaddr;
use weir_base::{Fault, Instant, NetworkId};
use weir_pull::{ChannelId, Service, control};
use weir_stack::{Command, Known, Record, Refused, Role};

use crate::builder::Builder;
use crate::call::{self, Answer, Target, Targets};
use crate::channel::{Method, Pool, Raw, Tip};
use crate::core::Op;
use crate::error::{CallError, ChannelError, ConnectError, OpenError, Stopped, WithinError};
use crate::events::Events;
use crate::mailbox::{Pending, Promise, promise};
use crate::message::{Message, PoolItem, TipValue};
use crate::peers::{Peer, PeerError};
use crate::pool::PoolHandle;
use crate::shared::{Lease, Shared};
use crate::stats::Stats;
use crate::stream::RawStream;
use crate::time;
use crate::tip::TipHandle;

/// A running node, to be used from any thread or task. Cheap to clone. The node stops when its last handle is dropped, of
/// whatever kind, or by [`Node::shutdown`](crate::Node::shutdown).
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

    // ---- channels ----

    /// The handle of a declared pool.
    ///
    /// # Errors
    /// [`ChannelError`]: the builder was not told of it, or of another one with this id.
    pub fn pool<T: PoolItem>(&self, pool: &Pool<T>) -> Result<PoolHandle<T>, ChannelError> {
        PoolHandle::new(&self.lease, pool)
    }

    /// The handle of a declared tip.
    ///
    /// # Errors
    /// As [`pool`](Self::pool).
    pub fn tip<T: TipValue>(&self, tip: &Tip<T>) -> Result<TipHandle<T>, ChannelError> {
        TipHandle::new(&self.lease, tip)
    }

    /// Asks one peer, any peer with a service, or this node itself, and waits for the response, at most the method's
    /// deadline. A call to a peer that is being dialled waits for the link. Dropping the future gives the call up and
    /// cancels the server's work.
    ///
    /// # Errors
    /// [`CallError`]; its [`retry`](CallError::retry) says whether, when and where to try again.
    pub async fn call<Req: Message, Resp: Message>(
        &self,
        method: &Method<Req, Resp>,
        target: impl Into<Target>,
        request: Req,
    ) -> Result<Resp, CallError> {
        let target = target.into();
        let span = when_enabled(|| tracing::debug_span!("call", channel = method.name(), ?target));
        call::call(&self.lease, method, target, request, None).instrument(span).await
    }

    /// As [`call`](Self::call) with a deadline of its own, counted from now, if that is shorter than the method's.
    pub async fn call_within<Req: Message, Resp: Message>(
        &self,
        method: &Method<Req, Resp>,
        target: impl Into<Target>,
        request: Req,
        deadline: Duration,
    ) -> Result<Resp, CallError> {
        let target = target.into();
        let span = when_enabled(|| tracing::debug_span!("call", channel = method.name(), ?target));
        call::call(&self.lease, method, target, request, Some(deadline)).instrument(span).await
    }

    /// Asks several peers at once and waits for all their answers, at most the method's deadline. The request is encoded
    /// once. Answers come in the order of their arrival, one for each peer that was asked.
    ///
    /// # Errors
    /// [`CallError`] where nobody was asked: no such peer is connected, or too much is under way. What goes wrong with one
    /// peer is in its [`Answer`].
    pub async fn call_many<Req: Message, Resp: Message>(
        &self,
        method: &Method<Req, Resp>,
        targets: Targets,
        request: Req,
    ) -> Result<Vec<Answer<Resp>>, CallError> {
        let span = tracing::debug_span!("call", channel = method.name(), ?targets);
        call::call_many(&self.lease, method, targets, request, None).instrument(span).await
    }

    /// Opens a raw stream to a connected peer; waits while the peer's limit is reached, at most
    /// `mailboxes.open_deadline_ms` of the configuration.
    ///
    /// # Errors
    /// [`OpenError`]; its [`retry`](OpenError::retry) says whether to try again.
    pub async fn open(&self, raw: &Raw, peer: PeerId) -> Result<RawStream, OpenError> {
        self.shared()
            .channel(&raw.declared, std::any::TypeId::of::<Raw>())
            .map_err(|_| OpenError::NotDeclared)?;
        let channel = ChannelId(raw.declared.id);
        let span = tracing::debug_span!("open", channel = raw.name(), %peer);
        let opened = self.ask(|reply| Op::Open(channel, peer, reply)).instrument(span);
        match self.within(self.shared().limits.open_deadline(), opened).await {
            Ok(Ok(opened)) => Ok(opened?.into_stream(&self.lease)),
            Ok(Err(Stopped)) | Err(WithinError::Stopped) => Err(OpenError::Stopped),
            Err(WithinError::Elapsed(_)) => Err(OpenError::Deadline),
        }
    }

    // ---- peers ----

    /// Connects to a peer, once; waits until both sides have said hello. The address may name the peer (`…/p2p/…`): then
    /// only that peer will do.
    ///
    /// # Errors
    /// [`ConnectError`]. A dial ends after `node.dial.timeout` of the configuration at the latest, hello after
    /// `node.control.hello_timeout` more: that is [`ConnectError::Failed`].
    pub async fn connect(&self, address: impl ToAddress) -> Result<PeerId, ConnectError> {
        let address = address.to_address().map_err(ConnectError::Address)?;
        let span = tracing::debug_span!("connect", peer = ?address.peer_id());
        let dialled = self.ask(|reply| Op::Connect(address.peer_id(), vec![address], reply));
        dialled.instrument(span).await.map_err(|Stopped| ConnectError::Stopped)?
    }

    /// Says goodbye to a peer. One that is kept ([`keep`](Self::keep)) is dialled again after its pause.
    ///
    /// # Errors
    /// [`PeerError::Refused`] where there is no link to this peer; `Stopped`, as of all commands about peers.
    pub async fn disconnect(&self, peer: PeerId) -> Result<(), PeerError> {
        self.tell(Command::Disconnect(peer)).await
    }

    /// Keeps a link to this peer: it is dialled now, and again whenever the link is lost, with growing pauses. It is not
    /// exempt from what follows from its faults: while it is banned it is not dialled.
    ///
    /// # Errors
    /// [`PeerError::Address`] where it is no address, [`PeerError::Refused`] where the address book is full.
    pub async fn keep(&self, address: impl ToAddress) -> Result<(), PeerError> {
        let address = address.to_address().map_err(PeerError::Address)?;
        let known = Known { peer: address.peer_id(), addresses: vec![address], role: Role::Pinned };
        self.tell(Command::AddPeer(known)).await
    }

    /// Tells the address book of a peer: it is dialled when links are wanted (`node.peers.target`), and forgotten when it
    /// cannot be reached (`node.peers.candidate_tries`).
    ///
    /// # Errors
    /// As [`keep`](Self::keep).
    pub async fn suggest(&self, address: impl ToAddress) -> Result<(), PeerError> {
        let address = address.to_address().map_err(PeerError::Address)?;
        let known = Known { peer: address.peer_id(), addresses: vec![address], role: Role::Candidate };
        self.tell(Command::AddPeer(known)).await
    }

    /// Takes a peer out of the address book. Its link stays.
    pub async fn forget(&self, peer: PeerId) -> Result<(), PeerError> {
        self.tell(Command::RemovePeer(peer)).await
    }

    /// Closes the link to a peer, where there is one, and refuses and does not dial it for this time.
    pub async fn ban(&self, peer: PeerId, duration: Duration) -> Result<(), PeerError> {
        self.tell(Command::Ban { peer, duration }).await
    }

    /// Ends a ban.
    pub async fn unban(&self, peer: PeerId) -> Result<(), PeerError> {
        self.tell(Command::Unban(peer)).await
    }

    /// Forgets everything held against a peer: its faults and its bans.
    pub async fn forgive(&self, peer: PeerId) -> Result<(), PeerError> {
        self.tell(Command::Forgive(peer)).await
    }

    /// Says what a peer did wrong that only the application can see: it counts as a fault that the node found itself.
    /// [`Event::Fault`](crate::Event::Fault) follows, with what the node did about it; a peer without a link is reported just
    /// as well. [`Blame::Invalid`](crate::Blame::Invalid) and [`Blame::Unreliable`](crate::Blame::Unreliable) are usual.
    ///
    /// A rejected item or tip is a fault already: this is for answers to calls, and for raw streams.
    ///
    /// # Errors
    /// [`PeerError::Stopped`].
    pub async fn report(&self, peer: PeerId, fault: Fault) -> Result<(), PeerError> {
        self.tell(Command::Report { peer, fault }).await
    }

    /// Takes a peer's standing as an earlier run told it ([`Event::Standing`](crate::Event::Standing)).
    pub async fn restore(&self, record: Record) -> Result<(), PeerError> {
        self.tell(Command::Restore(record)).await
    }

    /// The peers that are connected, in the order of their ids.
    ///
    /// # Errors
    /// [`Stopped`] once the node has stopped.
    pub async fn peers(&self) -> Result<Vec<Peer>, Stopped> {
        self.ask(Op::Peers).await
    }

    /// What this node can do for others from now on, in place of what it said before; all peers are told, at most once a
    /// second.
    ///
    /// # Errors
    /// [`PeerError::Refused`] above 16 services, where an id comes twice, or where a payload has more than 64 bytes.
    pub async fn set_services(&self, services: Vec<Service>) -> Result<(), PeerError> {
        self.tell(Command::Pull(weir_pull::Command::Control(control::Command::Services(services)))).await
    }

    // ---- what happens ----

    /// What happens from now on: peers that come and go, faults, dials. Each call gives a queue of its own with
    /// `mailboxes.events` places; where it is not emptied the oldest events are dropped and counted.
    pub fn events(&self) -> Events {
        Events::new(&self.lease)
    }

    /// The counters of the whole node, at one moment.
    ///
    /// # Errors
    /// [`Stopped`] once the node has stopped.
    pub async fn stats(&self) -> Result<Stats, Stopped> {
        self.ask(Op::Stats).await
    }

    // ---- time ----

    /// The host's clock. It starts at zero with the node, or with the cluster.
    pub fn now(&self) -> Instant {
        self.shared().now()
    }

    /// Waits for so long, on the host's clock.
    ///
    /// # Errors
    /// [`Stopped`] as soon as the node stops, so that loops end.
    pub async fn sleep(&self, pause: Duration) -> Result<(), Stopped> {
        time::sleep_until(self.shared(), self.now() + pause).await
    }

    /// Waits for any future at most so long, on the host's clock; the future is dropped then.
    ///
    /// # Errors
    /// [`WithinError`] when the time was up first, or as soon as the node stops.
    pub async fn within<F: Future>(&self, limit: Duration, future: F) -> Result<F::Output, WithinError> {
        time::within(self.shared(), limit, future).await
    }

    /// Waits for any future on this thread: natively the thread sleeps, in a cluster it drives the simulation.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.shared().block_on(future)
    }

    /// Sends an op that is answered, waiting for room.
    async fn ask<T>(&self, op: impl FnOnce(Promise<T>) -> Op) -> Result<T, Stopped> {
        let (promise, pending): (_, Pending<T>) = promise();
        if !self.shared().inbox.room(op(promise)).await {
            return Err(Stopped);
        }
        pending.await.ok_or(Stopped)
    }

    async fn tell(&self, command: Command) -> Result<(), PeerError> {
        let told: Result<Result<(), Refused>, Stopped> =
            self.ask(|reply| Op::Stack(Box::new(command), reply)).await;
        told.map_err(|Stopped| PeerError::Stopped)?.map_err(PeerError::Refused)
    }
}

/// A span where somebody listens. One that is off still costs at every poll.
fn when_enabled(span: impl FnOnce() -> tracing::Span) -> tracing::Span {
    if tracing::enabled!(tracing::Level::DEBUG) { span() } else { tracing::Span::none() }
}

/// What can stand for an address: a [`Multiaddr`], its text, or an IP address and UDP port (QUIC).
pub trait ToAddress {
    /// The address; the text and what is wrong with it where it is none.
    fn to_address(self) -> Result<Multiaddr, String>;
}

impl ToAddress for Multiaddr {
    fn to_address(self) -> Result<Multiaddr, String> {
        Ok(self)
    }
}

impl ToAddress for &Multiaddr {
    fn to_address(self) -> Result<Multiaddr, String> {
        Ok(self.clone())
    }
}

impl ToAddress for std::net::SocketAddr {
    fn to_address(self) -> Result<Multiaddr, String> {
        Ok(Multiaddr::from_quic(self))
    }
}

impl ToAddress for &str {
    fn to_address(self) -> Result<Multiaddr, String> {
        match self.parse::<std::net::SocketAddr>() {
            Ok(socket) => Ok(Multiaddr::from_quic(socket)),
            Err(_) => self.parse().map_err(|error| format!("{self}: {error}")),
        }
    }
}

impl ToAddress for String {
    fn to_address(self) -> Result<Multiaddr, String> {
        self.as_str().to_address()
    }
}
