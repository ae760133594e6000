//! The native host: one thread per node, or an event loop that the application drives; `mio`, UDP sockets with segmentation offload, and TCP.
//!
//! A turn: look for work (sleeping until the next timeout where there is none) → receive, at most 4 batches, and at most
//! 16 reads → carry out at
//! most 256 commands → timeouts → events into mailboxes, tasks woken → actions → send until the sockets block. Where a budget
//! ran out the next turn begins without sleeping. While the thread sleeps, one that makes or answers a call may carry out a
//! bounded turn in its place; no thread of a handle ever waits for a lock that is held across a system call.
#![forbid(unsafe_code)]

mod driver;
mod engine;
mod event_loop;
mod keyfile;
mod park;
mod pipes;
mod resolver;
mod socket;
mod turns;

use std::io;
use std::net::{IpAddr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use weir_base::Instant;
use weir_base::identity::Keypair;
use weir_base::multiaddr::{Multiaddr, Transport};
use weir_node::host::{Host, Setup, assemble};
use weir_node::{AddressError, Builder, Network, Node, StartError};
use weir_stack::{Command, HostChange, Security, Start};

use driver::Driver;
use engine::{Engine, wall_time};
pub use event_loop::{EventLoop, Woken};
pub use keyfile::{KeyFile, KeyFileError};
pub use park::block_on;
use pipes::Pipes;
use resolver::Resolver;
use socket::Sockets;
pub use turns::Turn;

/// The token of the waker; sockets have their numbers.
const WAKE: mio::Token = mio::Token(usize::MAX);
/// What the system says of sockets at once.
const EVENTS: usize = 64;

/// A new identity, Ed25519, from the system's randomness, for a node whose peers need not know it again. One that they should
/// is kept in a file: [`KeyFile::load_or_create`].
///
/// # Errors
/// [`StartError::System`] where the system has no randomness.
pub fn random_keypair() -> Result<Keypair, StartError> {
    random_seed().map(Keypair::ed25519_from_seed)
}

fn random_seed() -> Result<[u8; 32], StartError> {
    random_bytes().map_err(|source| StartError::System { what: "no randomness", source })
}

fn random_bytes<const LEN: usize>() -> io::Result<[u8; LEN]> {
    let mut bytes = [0; LEN];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

/// Starts a node on real sockets, with a thread of its own: the handle to its network, the end that stops it, and the handles
/// of its [channels](Builder::channels).
///
/// # Errors
/// [`StartError`], which names the field, address or port and the remedy. Nothing is left behind.
pub fn start<H>(node: Builder<H>) -> Result<(Network, Node, H), StartError> {
    let Parts { driver, poll, engine, application: (network, node, handles) } = prepare(node, Driver::new)?;
    let thread = std::thread::Builder::new()
        .name("weir-net".into())
        .spawn(move || driver::run(poll, engine))
        .map_err(|source| StartError::System { what: "no thread", source })?;
    driver.runs_on(thread);
    tracing::info!(peer = %network.peer_id(), addresses = ?network.addresses(), "the node has started");
    Ok((network, node, handles))
}

/// A node that nothing drives yet, and the host that is to drive it.
struct Parts<D, H> {
    driver: Arc<D>,
    poll: mio::Poll,
    engine: Engine,
    application: (Network, Node, H),
}

/// A node that `host` makes a host for: of the zero of its clock, and of what wakes its event queue.
fn prepare<D: Host + 'static, H>(
    node: Builder<H>,
    host: impl FnOnce(std::time::Instant, Arc<mio::Waker>) -> D,
) -> Result<Parts<D, H>, StartError> {
    let mut plan = node.plan()?;
    plan.secure_with(if has_aes() {
        [Security::Tls, Security::Noise]
    } else {
        [Security::Noise, Security::Tls]
    });
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

/// Waits for what the system says of sockets, at most so long.
fn look(poll: &mut mio::Poll, events: &mut mio::Events, pause: Option<Duration>) -> io::Result<()> {
    match poll.poll(events, pause) {
        Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
        _ => Ok(()),
    }
}

fn wake(waker: &mio::Waker) {
    if let Err(error) = waker.wake() {
        tracing::warn!(%error, "cannot wake the event queue");
    }
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

/// Locks, also after a panic of another holder: every critical section leaves its data whole at each step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
