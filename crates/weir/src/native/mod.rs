//! The native host: one thread per node, `mio` and UDP sockets with segmentation offload.
//!
//! A round: look for work (sleeping until the next timeout where there is none) → receive, at most 4 batches → carry out at
//! most 256 commands → timeouts → events into mailboxes, tasks woken → actions → send until the sockets block. Where a budget
//! ran out the next round begins without sleeping. While the thread sleeps, one that makes or answers a call may carry out a
//! bounded turn in its place ([`seat`]); no thread of a user ever waits for a lock that is held across a system call.

mod engine;
mod resolver;
mod seat;
mod socket;

use std::io;
use std::sync::{Arc, Mutex};

use weir_base::Instant;
use weir_base::identity::Keypair;
use weir_base::multiaddr::Multiaddr;
use weir_stack::{Command, Input, Stack, Start};

use crate::builder::Plan;
use crate::core::Core;
use crate::error::StartError;
use crate::mailbox::{Bell, Wakeup};
use crate::shared::{Clock, Driver, Lease, Shared};
use crate::{Network, Node};
use engine::{Engine, wall_time};
use resolver::Resolver;
use seat::Seat;
pub(crate) use seat::is_driving;
use socket::Sockets;

/// The token of the waker; sockets have their numbers.
const WAKE: mio::Token = mio::Token(usize::MAX);

/// A new identity, Ed25519, from the system's randomness. Keep [`Keypair::to_protobuf`] secret and safe: peers know the node
/// by it.
///
/// # Errors
/// [`StartError::System`] where the system has no randomness.
pub fn random_keypair() -> Result<Keypair, StartError> {
    random_seed().map(Keypair::ed25519_from_seed)
}

fn random_seed() -> Result<[u8; 32], StartError> {
    let mut seed = [0; 32];
    let failed = |error| StartError::System { what: "no randomness", source: io::Error::other(error) };
    getrandom::fill(&mut seed).map_err(failed)?;
    Ok(seed)
}

/// Binds, and starts the thread.
pub(crate) fn start(mut plan: Plan) -> Result<(Network, Node), StartError> {
    let system = |what| move |source| StartError::System { what, source };
    let poll = mio::Poll::new().map_err(system("no event queue"))?;
    let waker = Arc::new(mio::Waker::new(poll.registry(), WAKE).map_err(system("no waker"))?);
    let sockets = Sockets::bind(&plan.listen, &plan.config, poll.registry())?;
    let me = plan.keypair.peer_id();
    let addresses =
        sockets.addresses().map(Multiaddr::from_quic).filter_map(|address| address.with_p2p(me).ok());
    let addresses = addresses.collect();

    let anchor = std::time::Instant::now();
    let wall = wall_time();
    let seed = random_seed()?;
    let seat = Arc::new(Seat::new(Arc::clone(&waker)));
    let bell = Bell::new(Arc::clone(&seat) as Arc<dyn Wakeup>);
    let shared = plan.share(bell, Clock::Native(anchor), Driver::Thread, addresses);
    let mut stack = Stack::new(plan.stack, plan.keypair, seed, Start { anchor, wall })?;
    for bound in sockets.bound() {
        stack.handle(Instant::ZERO, Input::Host(bound));
    }
    for known in plan.peers {
        stack
            .command(Instant::ZERO, Command::AddPeer(known))
            .map_err(|refused| StartError::Address { address: refused.to_string() })?;
    }
    let resolver = Resolver::new(plan.config.sockets.max_queries as usize, waker);
    let core = Core::new(stack, Arc::clone(&shared));
    let engine = Engine::new(core, sockets, resolver, wall);
    let guard = CloseOnDrop(Arc::clone(&shared));
    let thread = std::thread::Builder::new()
        .name("weir-net".into())
        .spawn(move || {
            let guard = guard; // also after a panic: no handle may wait for ever
            seat.run(poll, engine);
            drop(guard);
        })
        .map_err(system("no thread"))?;
    let lease = Arc::new(Lease { shared, thread: Mutex::new(Some(thread)) });
    Ok((Network::of(&lease), Node::new(lease)))
}

struct CloseOnDrop(Arc<Shared>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}
