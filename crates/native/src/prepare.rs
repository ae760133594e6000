//! From a description to a node that nothing drives yet: its sockets are bound, and it knows where it is reached.

use std::net::{IpAddr, UdpSocket};
use std::sync::Arc;

use weir_base::Instant;
use weir_base::multiaddr::{Multiaddr, Transport};
use weir_node::host::{Host, Setup, assemble};
use weir_node::{AddressError, Builder, Network, Node, StartError};
use weir_stack::{Cipher, Command, HostChange, Security, Start};

use crate::engine::{Engine, wall_time};
use crate::pipes::Pipes;
use crate::queue::WAKE;
use crate::random::random_seed;
use crate::resolver::Resolver;
use crate::socket::Sockets;

/// A node that nothing drives yet, and the host that is to drive it.
pub(crate) struct Parts<D, H> {
    pub(crate) driver: Arc<D>,
    pub(crate) poll: mio::Poll,
    pub(crate) engine: Engine,
    pub(crate) application: (Network, Node, H),
}

/// A node that `host` makes a host for: of the zero of its clock, and of what wakes its event queue.
pub(crate) fn prepare<D: Host + 'static, H>(
    node: Builder<H>,
    host: impl FnOnce(std::time::Instant, Arc<mio::Waker>) -> D,
) -> Result<Parts<D, H>, StartError> {
    let mut plan = node.plan()?;
    let (security, cipher) = if has_aes() {
        ([Security::Tls, Security::Noise], Cipher::AesGcm)
    } else {
        ([Security::Noise, Security::Tls], Cipher::ChaCha20Poly1305)
    };
    plan.secure_with(security, cipher);
    if let Some(address) = plan.peers().find(|address| address.memory().is_some()) {
        let reason = "memory addresses lead nowhere outside a cluster";
        return Err(StartError::PeerAddress(AddressError::new(address, reason)));
    }
    let system = |what| move |source| StartError::System { what, source };
    let poll = mio::Poll::new().map_err(system("no event queue"))?;
    let waker = Arc::new(mio::Waker::new(poll.registry(), WAKE).map_err(system("no waker"))?);
    let sockets = Sockets::bind(plan.listen(), plan.config(), poll.registry())?;
    if let Some((address, reason)) =
        plan.peers().find_map(|address| Some((address, sockets.cannot_reach(address)?)))
    {
        return Err(StartError::PeerAddress(AddressError::new(address, reason)));
    }
    let pipes = Pipes::bind(plan.listen(), poll.registry())?;
    let resolver = Resolver::new(plan.config().sockets.max_queries as usize, Arc::clone(&waker));

    let (anchor, wall) = (std::time::Instant::now(), wall_time());
    let driver = Arc::new(host(anchor, waker));
    let setup = Setup {
        seed: random_seed()?,
        start: Start { anchor, wall },
        now: Instant::ZERO,
        addresses: sockets
            .addresses()
            .map(Multiaddr::from_quic)
            .chain(pipes.addresses().map(Multiaddr::from_tcp))
            .collect(),
        bound: sockets.bound().into_iter().chain([HostChange::Pipes]).collect(),
    };
    let everywhere = setup.addresses.iter().any(listens_everywhere);
    let outer: Vec<Multiaddr> = setup.addresses.iter().filter_map(reached_at).collect();
    let (mut core, network, node, handles) = assemble(plan, Arc::clone(&driver) as Arc<dyn Host>, setup)?;
    if everywhere && let Err(refused) = core.stack().command(Instant::ZERO, Command::Announce(outer)) {
        tracing::warn!(%refused, "peers are not told where this node is reached");
    }
    let engine = Engine::new(core, (sockets, pipes), resolver, anchor, wall);
    Ok(Parts { driver, poll, engine, application: (network, node, handles) })
}

/// Whether a node listens there on every address of the computer.
fn listens_everywhere(address: &Multiaddr) -> bool {
    address.socket_addr().is_some_and(|(_, local)| local.ip().is_unspecified())
}

/// Where others reach a node that listens there: of every address of the computer, the one by which it reaches others.
fn reached_at(address: &Multiaddr) -> Option<Multiaddr> {
    let (transport, mut local) = address.socket_addr()?;
    if local.ip().is_unspecified() {
        local.set_ip(outward(local.is_ipv4())?);
    }
    Some(match transport {
        Transport::Quic => Multiaddr::from_quic(local),
        Transport::Tcp => Multiaddr::from_tcp(local),
    })
}

/// The address of this computer from which the system would send to others; `None` where it has no way to them. Nothing is sent.
fn outward(ipv4: bool) -> Option<IpAddr> {
    // RFC 5737 and RFC 3849: addresses for documents, so of nobody, which are reached as anybody is.
    let (any, somebody) = if ipv4 { ("0.0.0.0:0", "192.0.2.1:9") } else { ("[::]:0", "[2001:db8::1]:9") };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(somebody).ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_unspecified())
}

/// Whether the processor has instructions for AES, which make TLS's cipher faster than Noise's.
fn has_aes() -> bool {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    return std::arch::is_x86_feature_detected!("aes");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}
