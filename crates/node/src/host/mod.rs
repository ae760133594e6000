//! The contract between a node and whatever runs it: threads and sockets, a simulation, a browser, a loop of one's own.
//!
//! 1. [`Builder::plan`](crate::Builder::plan) checks a description.
//! 2. [`assemble`] builds a node of the plan: the [`Core`], which the host drives, and the handles, which it gives to the
//!    application.
//! 3. The host drives the core. One turn, as often as it likes:
//!    what arrived ([`Core::handle`]; of byte streams [`Stack::read_pipe`]) → [`Core::commands`] → [`Core::handle_timeout`] → [`Core::settle`], which hands events
//!    to the handles and wakes their tasks → [`Core::poll_action`] until `None` → datagrams, frames and bytes of
//!    byte streams of [`Core::stack`] until `None`; again from `settle` while any of it brought something.
//! 4. Then it may sleep until [`Core::poll_timeout`], but for what [`Core::sleep`] says.
//! 5. When [`Core::stopped`], the host drops the core: every handle ends.
//!
//! Handles reach the host through the [`Host`] it gave to `assemble`, from any thread.

mod contract;

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use weir_base::Instant;
use weir_base::multiaddr::Multiaddr;
use weir_stack::{Command, Refused};

#[doc(inline)]
pub use weir_base::stream::Group;
#[doc(inline)]
pub use weir_stack::{
    Action, Anchor, Cipher, Datagrams, DialId, Ecn, FRAME_MAX, Family, Frame, FrameError, HostChange, Input,
    PipeChange, PipeId, PipeTransmit, SocketId, Stack, Start, Transmit, WireChange, WireId,
};

pub use contract::Host;

pub use crate::builder::Plan;
pub use crate::core::Core;
use crate::error::{AddressError, StartError};
use crate::mailbox::{Bell, Inbox, Listed};
use crate::network::Network;
use crate::node::Node;
use crate::shared::{Lease, Shared};

/// What a node gets of its host at birth.
#[derive(Debug)]
pub struct Setup {
    /// Unpredictable to everybody else, and another one for each start. In a simulation, derived from the run's.
    pub seed: [u8; 32],
    /// The zero of the host's clock, and wall time then.
    pub start: Start,
    /// The time of the birth.
    pub now: Instant,
    /// Where others reach the node. Its peer id is appended to each.
    pub addresses: Vec<Multiaddr>,
    /// Sockets that are bound already.
    pub bound: Vec<HostChange>,
}

/// Builds a node: the core for the host to drive; and for the application the two ends of the node, and the handles of its
/// channels.
///
/// # Errors
/// [`StartError`]: the configuration does not hold, or an address of a peer cannot be used.
pub fn assemble<H>(
    plan: Plan<H>,
    host: Arc<dyn Host>,
    setup: Setup,
) -> Result<(Core, Network, Node, H), StartError> {
    let Setup { seed, start, now, addresses, bound } = setup;
    let Plan { keypair, config, stack, peers, channels, named: protocols, bind, .. } = plan;
    let peer_id = keypair.peer_id();
    let named = addresses.into_iter().filter_map(|address| address.with_p2p(peer_id).ok());
    let bell = Arc::new(Bell::new(host));
    let shared = Arc::new(Shared {
        peer_id,
        inbox: Inbox::new(
            config.mailboxes.commands as usize,
            config.mailboxes.batches as usize,
            Arc::clone(&bell),
        ),
        listed: Arc::new(Listed::new(bell)),
        limits: config.mailboxes,
        channels,
        protocols,
        addresses: named.collect(),
        listeners: Mutex::default(),
        numbers: AtomicU64::new(1),
    });
    let mut stack = Stack::new(stack, keypair, seed, start).map_err(StartError::stack)?;
    for change in bound {
        stack.handle(now, Input::Host(change));
    }
    for known in peers {
        let named = known.addresses.first().cloned().unwrap_or_default();
        stack.command(now, Command::AddPeer(known)).map_err(|refused| match refused {
            Refused::Book(source) => StartError::Book { peer: named, source },
            other => StartError::PeerAddress(AddressError::new(named, other)),
        })?;
    }
    announce(&mut stack, now, &shared.addresses);
    let core = Core::new(stack, Arc::clone(&shared));
    let lease = Arc::new(Lease { shared });
    let handles = bind.handles(&lease);
    Ok((core, Network::of(&lease), Node::new(lease), handles))
}

/// Tells libp2p's peers where the node is reached: not at addresses that lead nowhere from elsewhere.
fn announce(stack: &mut Stack, now: Instant, addresses: &[Multiaddr]) {
    let leads = |address: &&Multiaddr| match address.socket_addr() {
        Some((_, socket)) => !socket.ip().is_unspecified(),
        None => address.memory().is_none(),
    };
    let leading = addresses.iter().filter(leads).map(|address| address.clone().without_p2p()).collect();
    if let Err(refused) = stack.command(now, Command::Announce(leading)) {
        tracing::warn!(%refused, "peers are not told where this node is reached");
    }
}

impl Shared {
    /// Waits for `future` on this thread, the host's way.
    pub(crate) fn block_on<F: Future>(&self, future: F) -> F::Output {
        let mut output = None;
        self.host().block_on(pin!(async { output = Some(future.await) }));
        match output {
            Some(output) => output,
            None => unreachable!("a host returns from `block_on` once the future is ready"),
        }
    }
}
