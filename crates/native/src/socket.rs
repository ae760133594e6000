//! UDP sockets: several datagrams per system call both ways, with the marks of ECN.

use std::collections::VecDeque;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::BytesMut;
use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};
use quinn_udp::{EcnCodepoint, RecvMeta, UdpSockRef, UdpSocketState};
use weir_base::multiaddr::{Multiaddr, Transport};
use weir_base::{Instant, KIB};
use weir_node::host::Core;
use weir_node::{AddressError, Config, StartError};
use weir_stack::{Datagrams, Ecn, HostChange, Input, SocketId, Transmit};

use crate::allowance::Allowance;
use crate::backlog::{Backlog, Budget, count, piece};

/// Buffers per receiving system call. Each takes up to 64 datagrams that the kernel joined.
const BUFFERS: usize = 8;
/// Bytes of each: the largest UDP payload, joined or not.
const BUFFER: usize = 64 * KIB;
/// Receiving system calls in a row while there is a backlog: they empty the sockets into it.
const INTAKE: usize = 16;
/// Datagrams of the backlog that a turn hands over at most.
const WORKED_OFF: usize = 256;
/// Bytes of one segmented send: the kernel builds one UDP datagram of them first.
const SEND_MAX: usize = 65_507;
/// The longest accepted batch to send, in segments.
const SEGMENTS_MAX: usize = 64;

/// Datagrams from one sender that lie in memory and were not handed over yet.
#[derive(Clone, Copy)]
struct Received {
    socket: SocketId,
    meta: RecvMeta,
    start: usize,
    end: usize,
}

impl Received {
    /// Bytes of each datagram but the last.
    fn stride(&self) -> usize {
        if self.meta.stride == 0 { self.meta.len } else { self.meta.stride }
    }
}

struct Socket {
    id: SocketId,
    io: UdpSocket,
    state: UdpSocketState,
    local: SocketAddr,
    readable: bool,                      // until it would block
    blocked: bool, // the last send would have blocked, and the system has not said that there is room
    unsent: Option<(Transmit, Vec<u8>)>, // what it was; then the stack makes nothing for this socket
}

/// All sockets of a node.
pub(crate) struct Sockets {
    list: Vec<Socket>,
    registry: Registry,
    listening: usize, // of them, the first, others may know of
    next: usize,      // whose turn it is to be read
    segments: usize,
    memory: Vec<u8>,             // BUFFERS * BUFFER
    waiting: VecDeque<Received>, // in `memory`, of the last receiving call; <= BUFFERS
    backlog: Backlog,            // what came faster than it could be handed over
    out: Vec<u8>,                // scratch
}

impl Sockets {
    /// Binds all addresses that are QUIC's, or none. Without any, a port for dialling in each family that the system has; where one of them
    /// is every address of its family (`0.0.0.0`, `::`), a port for dialling in the other, as a socket carries one family.
    pub(crate) fn bind(
        listen: &[Multiaddr],
        config: &Config,
        registry: &Registry,
    ) -> Result<Self, StartError> {
        let mut list = Vec::new();
        for address in listen {
            match address.socket_addr() {
                Some((Transport::Quic, socket)) => {
                    list.push(Socket::bind(list.len(), socket, config, registry)?);
                }
                Some((Transport::Tcp, _)) => {} // of the other kind
                _ => {
                    let reason = "this host listens on QUIC and TCP, at an IP address";
                    return Err(StartError::ListenAddress(AddressError::new(address, reason)));
                }
            }
        }
        let told = list.len();
        let everywhere = list.is_empty() || list.iter().any(|socket| socket.local.ip().is_unspecified());
        for any in [IpAddr::from(Ipv4Addr::UNSPECIFIED), IpAddr::from(Ipv6Addr::UNSPECIFIED)] {
            if !everywhere || list.iter().any(|socket| socket.local.is_ipv4() == any.is_ipv4()) {
                continue;
            }
            match Socket::bind(list.len(), SocketAddr::new(any, 0), config, registry) {
                Ok(socket) => list.push(socket),
                Err(error) if list.is_empty() && any.is_ipv6() => return Err(error),
                Err(error) => tracing::debug!(%error, %any, "no port for dialling in this family"),
            }
        }
        let fits = SEND_MAX / usize::from(config.node.quic.max_mtu).max(1);
        let offload = list.iter().map(|socket| socket.state.max_gso_segments()).min().unwrap_or(1);
        let registry =
            registry.try_clone().map_err(|source| StartError::System { what: "no event queue", source })?;
        Ok(Self {
            listening: if listen.is_empty() { list.len() } else { told },
            list,
            registry,
            next: 0,
            segments: offload.min(fits).clamp(1, SEGMENTS_MAX),
            memory: vec![0; BUFFERS * BUFFER],
            waiting: VecDeque::with_capacity(BUFFERS),
            backlog: Backlog::new((config.sockets.receive_buffer as usize).max(BUFFER)),
            out: Vec::new(),
        })
    }

    /// Why nothing can be sent to an address: it is of a family in which this node has no socket, because it listens on addresses of
    /// the other family alone. A family that the system has not is no mistake of the configuration.
    pub(crate) fn cannot_reach(&self, address: &Multiaddr) -> Option<&'static str> {
        let (transport, to) = address.socket_addr()?;
        if transport != Transport::Quic {
            return None; // each connection of TCP has a socket of its own
        }
        let serves =
            |socket: &Socket| socket.local.ip().is_unspecified() || socket.local.is_ipv4() == to.is_ipv4();
        let reason = if to.is_ipv4() {
            "this node has no IPv4 socket: let it listen on an IPv4 address too, or on [::]"
        } else {
            "this node has no IPv6 socket: let it listen on an IPv6 address too, or on 0.0.0.0"
        };
        (!self.list.iter().any(serves)).then_some(reason)
    }

    /// Where this node listens; of a node that only dials, where it is bound.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.list.iter().take(self.listening).map(|socket| socket.local)
    }

    /// What the stack should know of them.
    pub(crate) fn bound(&self) -> Vec<HostChange> {
        let bound = |socket: &Socket| HostChange::Bound {
            socket: socket.id,
            local: socket.local,
            may_fragment: socket.state.may_fragment(),
        };
        self.list.iter().map(bound).collect()
    }

    /// The system says that something has changed.
    pub(crate) fn ready(&mut self, event: &mio::event::Event) {
        let token = event.token().0;
        if let Some(socket) = self.list.iter_mut().find(|socket| socket.id.0 as usize == token) {
            socket.readable |= event.is_readable();
            if socket.blocked && event.is_writable() {
                socket.blocked = false;
                socket.watch(&self.registry, Interest::READABLE);
            }
        }
    }

    /// Receives at most `batches` times, sockets in turn, and hands over as much as the budget allows. True where there may be more.
    pub(crate) fn receive(
        &mut self,
        now: Instant,
        batches: usize,
        mut budget: Budget,
        core: &mut Core,
    ) -> bool {
        let mut is_behind = !self.backlog.is_empty();
        for _ in 0..batches {
            is_behind = is_behind || self.hand_over(now, &mut budget, core);
            if is_behind || !self.receive_once(core) {
                break;
            }
        }
        if is_behind || self.hand_over(now, &mut budget, core) {
            self.take_in(now, core);
            self.work_off(now, budget, core);
        }
        !self.waiting.is_empty() || !self.backlog.is_empty() || self.list.iter().any(|socket| socket.readable)
    }

    /// One receiving system call, of the socket whose turn it is. False where none has anything.
    fn receive_once(&mut self, core: &mut Core) -> bool {
        let count = self.list.len();
        let Some(index) = (0..count)
            .map(|step| (self.next + step) % count)
            .find(|index| self.list.get(*index).is_some_and(|socket| socket.readable))
        else {
            return false;
        };
        self.next = (index + 1) % count;
        if let Some(socket) = self.list.get_mut(index) {
            socket.receive(&mut self.memory, &mut self.waiting, core);
        }
        true
    }

    /// Hands over the datagrams in memory, with a copy for each sender. True where the budget has none left for the next: then all that is
    /// left waits in the backlog, because a sender's datagrams must not overtake each other (those that follow a handshake cannot be
    /// opened before it).
    fn hand_over(&mut self, now: Instant, budget: &mut Budget, core: &mut Core) -> bool {
        while let Some(data) = self.first_in_memory() {
            let left = budget.left(data);
            if left == 0 {
                return true;
            }
            let Some(datagrams) = self.next_in_memory(left) else { return false };
            budget.spend(&datagrams);
            give(now, datagrams, core);
        }
        false
    }

    /// The bytes of the first sender in memory.
    fn first_in_memory(&self) -> Option<&[u8]> {
        let first = self.waiting.front()?;
        self.memory.get(first.start..first.end)
    }

    /// Moves the first datagrams in memory to the backlog. False where there are none.
    fn move_to_backlog(&mut self, now: Instant, core: &mut Core) -> bool {
        let Some(first) = self.waiting.front() else { return false };
        let stride = first.stride();
        let many = self.first_in_memory().map_or(1, |data| piece(data, stride));
        if let Some(datagrams) = self.next_in_memory(many) {
            core.counters().overrun += self.backlog.push(now, datagrams) as u64;
        }
        true
    }

    /// At most `most` of the datagrams in memory, of one sender.
    fn next_in_memory(&mut self, most: usize) -> Option<Datagrams> {
        let next = self.waiting.front_mut()?;
        let stride = next.stride();
        let end = next.end.min(next.start.saturating_add(most.saturating_mul(stride)));
        let data = self.memory.get(next.start..end).unwrap_or_default();
        let datagrams = Datagrams {
            socket: next.socket,
            remote: next.meta.addr,
            local_ip: next.meta.dst_ip,
            ecn: next.meta.ecn.map(from_codepoint),
            stride,
            data: BytesMut::from(data),
        };
        next.start = end;
        if next.start >= next.end {
            self.waiting.pop_front();
        }
        Some(datagrams)
    }

    /// Empties memory and sockets into the backlog.
    fn take_in(&mut self, now: Instant, core: &mut Core) {
        for _ in 0..INTAKE {
            while self.move_to_backlog(now, core) {}
            if !self.receive_once(core) {
                return;
            }
        }
    }

    /// Hands over datagrams of the backlog, sender by sender, as many as the budget allows.
    fn work_off(&mut self, now: Instant, mut budget: Budget, core: &mut Core) {
        budget.datagrams = budget.datagrams.min(WORKED_OFF);
        while let Some(datagrams) = self.backlog.pop(now, budget) {
            budget.spend(&datagrams);
            give(now, datagrams, core);
        }
    }

    /// Sends what the stack has, as much as is allowed, until it has nothing for sockets that are not blocked. Whether anything was
    /// sent.
    pub(crate) fn send(&mut self, now: Instant, allowance: &mut Allowance, core: &mut Core) -> bool {
        let mut any = self.resend(now, allowance, core);
        while !allowance.is_spent() {
            self.out.clear();
            let Some(transmit) = core.stack().poll_datagrams(now, self.segments, &mut self.out) else {
                break;
            };
            let Some(socket) = self.list.iter_mut().find(|socket| socket.id == transmit.socket) else {
                continue;
            };
            if socket.unsent.is_some() {
                core.counters().unsent += 1; // its stack knows that it is blocked: never more than an answer to a stranger
                continue;
            }
            if socket.send(&transmit, &self.out, core) {
                any = true;
                allowance.spend(transmit.len);
                continue;
            }
            socket.blocked = true;
            socket.unsent = Some((transmit, std::mem::take(&mut self.out)));
            socket.watch(&self.registry, Interest::READABLE | Interest::WRITABLE);
            core.handle(now, Input::Host(HostChange::Blocked(socket.id)));
        }
        any
    }

    /// Sends what could not be sent before, on sockets that have room again. Whether it tried.
    fn resend(&mut self, now: Instant, allowance: &mut Allowance, core: &mut Core) -> bool {
        let mut any = false;
        for socket in self.list.iter_mut().filter(|socket| !socket.blocked) {
            let Some((transmit, bytes)) = socket.unsent.take() else { continue };
            any = true;
            allowance.spend(transmit.len);
            if socket.send(&transmit, &bytes, core) {
                core.handle(now, Input::Host(HostChange::Writable(socket.id)));
            } else {
                socket.blocked = true;
                socket.unsent = Some((transmit, bytes));
                socket.watch(&self.registry, Interest::READABLE | Interest::WRITABLE);
            }
        }
        any
    }
}

fn give(now: Instant, datagrams: Datagrams, core: &mut Core) {
    core.counters().datagrams_in += count(&datagrams) as u64;
    core.handle(now, Input::Datagrams(datagrams));
}

impl Socket {
    fn bind(
        index: usize,
        address: SocketAddr,
        config: &Config,
        registry: &Registry,
    ) -> Result<Self, StartError> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => StartError::InUse { address },
            _ => StartError::Listen { address, source },
        };
        let domain = socket2::Domain::for_address(address);
        let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, Some(socket2::Protocol::UDP))
            .map_err(failed)?;
        if address.is_ipv6() {
            // Both families may have the same port; IPv4 peers never appear as mapped IPv6 addresses.
            socket.set_only_v6(true).map_err(failed)?;
        }
        socket.bind(&address.into()).map_err(failed)?;
        let state = UdpSocketState::new(UdpSockRef::from(&socket)).map_err(failed)?;
        // The system may give less, which costs speed and nothing else.
        for result in [
            state.set_send_buffer_size(UdpSockRef::from(&socket), config.sockets.send_buffer as usize),
            state.set_recv_buffer_size(UdpSockRef::from(&socket), config.sockets.receive_buffer as usize),
        ] {
            if let Err(error) = result {
                tracing::debug!(%error, "the socket keeps its buffer size");
            }
        }
        let mut io = UdpSocket::from_std(socket.into());
        let local = io.local_addr().map_err(failed)?;
        registry.register(&mut io, Token(index), Interest::READABLE).map_err(failed)?;
        let id = SocketId(u32::try_from(index).unwrap_or(u32::MAX));
        Ok(Self { id, io, state, local, readable: true, blocked: false, unsent: None })
    }

    /// What the system should tell of. Not of room to send while there is some: every datagram that its receiver took would
    /// wake this thread for nothing.
    fn watch(&mut self, registry: &Registry, interest: Interest) {
        let token = Token(self.id.0 as usize);
        if let Err(error) = registry.reregister(&mut self.io, token, interest) {
            tracing::warn!(%error, "the event queue cannot be told what to watch");
        }
    }

    /// One receiving system call; what it brings waits in `memory`.
    fn receive(&mut self, memory: &mut [u8], waiting: &mut VecDeque<Received>, core: &mut Core) {
        let mut metas = [RecvMeta::default(); BUFFERS];
        let mut slices = memory.chunks_exact_mut(BUFFER).map(IoSliceMut::new);
        let mut slices: [IoSliceMut<'_>; BUFFERS] =
            std::array::from_fn(|_| slices.next().unwrap_or_else(|| IoSliceMut::new(&mut [])));
        let received = self.state.recv(UdpSockRef::from(&self.io), &mut slices, &mut metas);
        core.counters().receives += 1;
        let count = match received {
            Ok(count) => count,
            Err(error) => {
                match error.kind() {
                    io::ErrorKind::WouldBlock => self.readable = false,
                    // Interrupted, or an earlier send was refused by its receiver: the next call gives data again.
                    io::ErrorKind::Interrupted
                    | io::ErrorKind::ConnectionReset
                    | io::ErrorKind::ConnectionRefused => {}
                    _ => {
                        tracing::debug!(%error, "receiving failed");
                        self.readable = false;
                    }
                }
                return;
            }
        };
        // Where one call can bring several and brought fewer, no more were there; the next ones raise readiness again.
        self.readable = count >= BUFFERS.min(quinn_udp::BATCH_SIZE);
        for (index, meta) in metas.iter().enumerate().take(count).filter(|(_, meta)| meta.len > 0) {
            let (start, len) = (index * BUFFER, meta.len.min(BUFFER));
            waiting.push_back(Received { socket: self.id, meta: *meta, start, end: start + len });
        }
    }

    /// One sending system call. False where it would block; other failures count as loss.
    fn send(&mut self, transmit: &Transmit, bytes: &[u8], core: &mut Core) -> bool {
        let Some(contents) = bytes.get(..transmit.len) else { return true };
        let packet = quinn_udp::Transmit {
            destination: transmit.remote,
            ecn: transmit.ecn.map(to_codepoint),
            contents,
            segment_size: transmit.segment,
            src_ip: transmit.local_ip,
        };
        let sent = self.state.try_send(UdpSockRef::from(&self.io), &packet);
        let datagrams = transmit.segment.map_or(1, |segment| transmit.len.div_ceil(segment.max(1))) as u64;
        let host = core.counters();
        host.sends += 1;
        match sent {
            Ok(()) => host.datagrams_out += datagrams,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return false;
            }
            Err(error) => {
                host.unsent += datagrams;
                tracing::trace!(%error, "a datagram was not sent");
            }
        }
        true
    }
}

fn from_codepoint(ecn: EcnCodepoint) -> Ecn {
    match ecn {
        EcnCodepoint::Ect0 => Ecn::Ect0,
        EcnCodepoint::Ect1 => Ecn::Ect1,
        EcnCodepoint::Ce => Ecn::Ce,
    }
}

fn to_codepoint(ecn: Ecn) -> EcnCodepoint {
    match ecn {
        Ecn::Ect0 => EcnCodepoint::Ect0,
        Ecn::Ect1 => EcnCodepoint::Ect1,
        Ecn::Ce => EcnCodepoint::Ce,
    }
}
