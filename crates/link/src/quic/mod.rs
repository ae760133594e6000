//! QUIC: quinn-proto's state machine behind links, with libp2p's TLS certificate both ways. On ALPN `weir/1` streams begin with a
//! number, on ALPN `libp2p` with multistream-select (`naming`); one socket serves both.
//!
//! - a datagram goes to its socket's endpoint, which names the connection or asks about a new one (admission decides);
//! - the connection reports (`link`); `muxer` and `events` turn what concerns streams into events of the link;
//! - a link with something to send waits in `outputs`; only those are asked.
//!
//! Threat: strangers send first packets from any address. Until an address is proven it gets at most three times its bytes;
//! under load it must prove itself before anything is kept (retry). Source: RFC 9000–9002, libp2p `quic`, `tls`.

mod config;
mod connection;
mod credit;
mod early;
mod endpoint;
mod events;
mod link;
mod muxer;
mod naming;
mod negotiating;
mod parts;
mod phase;
mod pins;
mod receiving;
mod refused_writers;
mod send_memory;
mod sending;
mod stream;
mod stream_limit;
pub(crate) mod time;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use quinn_proto::{ConnectionHandle, EcnCodepoint, Endpoint};
use weir_base::identity::{Keypair, PeerId};
use weir_base::{Deadlines, Instant, LinkId, Rng, UnixTime};
use weir_libp2p::tls::{WallClock, server_name};

pub(crate) use link::QuicLink;
#[cfg(test)]
pub(crate) use muxer::Muxer;

use crate::carrier::EndpointId;
use crate::event::{DialFailure, Ecn, SocketId, Transmit};
use crate::outputs::Outputs;
use crate::{Config, LimitError, Start};
use config::Configs;
use connection::{Connection, to_send};
use time::Clock;

/// Answers that need no connection (retry, refusal, stateless reset) and wait to be sent. More are dropped: their senders
/// try again.
const ANSWERS_MAX: usize = 64;

/// All sockets, and what links share.
pub(crate) struct Quic {
    id: EndpointId,
    configs: Configs,
    rng: Rng,
    clock: Clock,
    wall: WallClock,
    wall_offset: (Instant, UnixTime), // what the wall clock showed when it was set last
    sockets: BTreeMap<SocketId, Socket>,
    outputs: Outputs,
    closing: Closing,
    hoarders: BTreeSet<LinkId>, // links that keep too much of the receive buffers alive
    answers: VecDeque<(Transmit, Vec<u8>)>,
    scratch: Vec<u8>,
}

/// Connections of links that are down; their last words are repeated for three round trips.
#[derive(Default)]
struct Closing {
    links: BTreeMap<LinkId, Box<QuicLink>>,
    due: Deadlines<LinkId>,
}

impl Closing {
    fn take(&mut self, id: LinkId) -> Option<Box<QuicLink>> {
        self.due.set(id, None);
        self.links.remove(&id)
    }

    fn keep(&mut self, now: Instant, id: LinkId, mut link: Box<QuicLink>) {
        self.due.set(id, link.muxer.conn.poll_timeout().map(|due| due.max(now)));
        self.links.insert(id, link);
    }

    /// Those of a socket that is gone have nobody to talk to.
    fn forget(&mut self, socket: SocketId) {
        let of_socket = self.links.iter().filter(|(_, link)| link.muxer.conn.socket == socket);
        for id in of_socket.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.take(id);
        }
    }
}

struct Socket {
    endpoint: Endpoint,
    local: SocketAddr,
    links: Vec<Option<LinkId>>,     // by connection handle
    held: Option<BTreeSet<LinkId>>, // while it is blocked: links that have something to send on it
}

impl Quic {
    pub(crate) fn new(
        id: EndpointId,
        config: &Arc<Config>,
        keypair: &Arc<Keypair>,
        seed: [u8; 32],
        start: Start,
    ) -> Result<Self, LimitError> {
        Ok(Self {
            id,
            configs: Configs::new(config, keypair)?,
            rng: Rng::new(seed).child("quic"),
            clock: Clock::new(start.anchor),
            wall: WallClock::new(start.wall),
            wall_offset: (Instant::ZERO, start.wall),
            sockets: BTreeMap::new(),
            outputs: Outputs::default(),
            closing: Closing::default(),
            hoarders: BTreeSet::new(),
            answers: VecDeque::new(),
            scratch: Vec::new(),
        })
    }

    fn bind(&mut self, socket: SocketId, local: SocketAddr, may_fragment: bool) {
        let (config, server) = match self.configs.endpoint(local, &mut self.rng, &self.wall) {
            Ok(configs) => configs,
            Err(error) => return tracing::error!(%error, "a socket is not used"),
        };
        let seed = Some(self.rng.bytes());
        let endpoint = Endpoint::new(Arc::new(config), Some(server), !may_fragment, seed);
        self.sockets.insert(socket, Socket { endpoint, local, links: Vec::new(), held: None });
    }

    /// Forgets a socket; returns its links.
    fn unbind(&mut self, socket: SocketId) -> Vec<LinkId> {
        self.closing.forget(socket);
        self.sockets.remove(&socket).into_iter().flat_map(|socket| socket.links).flatten().collect()
    }

    fn set_wall(&mut self, now: Instant, wall: UnixTime) {
        self.wall_offset = (now, wall);
        self.wall.set(wall);
    }

    /// Brings wall time up to `now`. Before anything that looks at it.
    fn advance_wall(&self, now: Instant) {
        let (since, wall) = self.wall_offset;
        self.wall.set(wall + now.since(since));
    }

    /// Starts a handshake.
    fn connect(
        &mut self,
        now: Instant,
        id: LinkId,
        remote: SocketAddr,
        peer: Option<PeerId>,
    ) -> Result<Connection, DialFailure> {
        self.advance_wall(now);
        let same_family = |socket: &Socket| socket.local.is_ipv4() == remote.is_ipv4();
        let found = self.sockets.iter_mut().find(|(_, socket)| same_family(socket));
        let (socket_id, socket) = found.ok_or(DialFailure::NoRoute)?;
        let client = self.configs.dial(&mut self.rng).ok_or(DialFailure::NoRoute)?;
        let name = server_name(peer.as_ref());
        let connected = socket.endpoint.connect(self.clock.to_quic(now), client, remote, &name);
        let (handle, quic) = connected.map_err(|_| DialFailure::NoRoute)?;
        socket.remember(handle, id);
        Ok(Connection::new(quic, (*socket_id, handle), self.clock))
    }

    /// Lets a connection and its socket talk. Returns whether the connection is over.
    fn talk(&mut self, id: LinkId, link: &mut QuicLink) -> bool {
        let Some(socket) = self.sockets.get_mut(&link.muxer.conn.socket) else { return true };
        let over = link.muxer.conn.exchange(&mut socket.endpoint);
        if over {
            socket.forget(link.muxer.conn.handle, id);
        }
        over
    }

    /// The system takes nothing on a socket now.
    fn block(&mut self, socket: SocketId) {
        if let Some(socket) = self.sockets.get_mut(&socket) {
            socket.held.get_or_insert_default();
        }
    }

    /// The system takes datagrams on a socket again: links that waited for that go on.
    fn unblock(&mut self, socket: SocketId) {
        let held = self.sockets.get_mut(&socket).and_then(|socket| socket.held.take());
        held.into_iter().flatten().for_each(|id| self.outputs.mark(id));
    }

    /// Whether a link has to wait because its socket is blocked. Then it is ready again once that is over.
    fn hold(&mut self, socket: SocketId, id: LinkId) -> bool {
        let held = self.sockets.get_mut(&socket).and_then(|socket| socket.held.as_mut());
        held.map(|held| held.insert(id)).is_some()
    }

    fn is_blocked(&self, socket: SocketId) -> bool {
        self.sockets.get(&socket).is_some_and(|socket| socket.held.is_some())
    }

    fn next_answer(&mut self, out: &mut Vec<u8>) -> Option<Transmit> {
        let next = self.answers.iter().position(|(answer, _)| !self.is_blocked(answer.socket))?;
        let (transmit, bytes) = self.answers.remove(next)?;
        out.extend_from_slice(&bytes);
        Some(transmit)
    }

    /// Keeps an answer of the endpoint, which is in `scratch`, to be sent.
    fn answer(&mut self, socket: SocketId, transmit: &quinn_proto::Transmit) {
        if self.answers.len() < ANSWERS_MAX
            && let Some(bytes) = self.scratch.get(..transmit.size)
        {
            self.answers.push_back((to_send(socket, transmit), bytes.to_vec()));
        }
    }

    /// A socket's endpoint, and a buffer for its answers.
    fn endpoint(&mut self, socket: SocketId) -> Option<(&mut Endpoint, &mut Vec<u8>)> {
        self.scratch.clear();
        let socket = self.sockets.get_mut(&socket)?;
        Some((&mut socket.endpoint, &mut self.scratch))
    }

    fn remember(&mut self, socket: SocketId, handle: ConnectionHandle, id: LinkId) {
        if let Some(socket) = self.sockets.get_mut(&socket) {
            socket.remember(handle, id);
        }
    }
}

impl Socket {
    fn link_of(&self, handle: ConnectionHandle) -> Option<LinkId> {
        self.links.get(handle.0).copied().flatten()
    }

    fn remember(&mut self, handle: ConnectionHandle, id: LinkId) {
        if self.links.len() <= handle.0 {
            self.links.resize(handle.0 + 1, None); // handles are small and used again
        }
        if let Some(slot) = self.links.get_mut(handle.0) {
            *slot = Some(id);
        }
    }

    fn forget(&mut self, handle: ConnectionHandle, id: LinkId) {
        if let Some(slot) = self.links.get_mut(handle.0).filter(|slot| **slot == Some(id)) {
            *slot = None;
        }
    }
}

/// A datagram's mark in QUIC's words.
fn to_mark(mark: Ecn) -> EcnCodepoint {
    match mark {
        Ecn::Ect0 => EcnCodepoint::Ect0,
        Ecn::Ect1 => EcnCodepoint::Ect1,
        Ecn::Ce => EcnCodepoint::Ce,
    }
}

/// Where an inbound handshake comes from.
fn source(incoming: &quinn_proto::Incoming) -> IpAddr {
    incoming.remote_address().ip().to_canonical()
}
