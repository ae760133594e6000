//! The native host: one thread per node, or an event loop that the application drives; `mio`, UDP sockets with segmentation offload, and TCP.
//!
//! A turn: look for work (sleeping until the next timeout where there is none) → receive, at most 4 batches, and at most
//! 16 reads → carry out at most 256 commands → timeouts → events into mailboxes, tasks woken → actions → send until the sockets
//! block. Where a budget ran out the next turn begins without sleeping. No thread of a handle ever waits for a lock that is held
//! across a system call.
#![forbid(unsafe_code)]

mod allowance;
mod backlog;
mod driver;
mod engine;
mod event_loop;
mod keyfile;
mod lock;
mod park;
mod pipes;
mod prepare;
mod queue;
mod random;
mod read_queue;
mod resolver;
mod socket;
mod turns;

use weir_node::{Builder, Network, Node, StartError};

use driver::Driver;
pub use event_loop::{EventLoop, Woken};
pub use keyfile::{KeyFile, KeyFileError};
pub use park::block_on;
use prepare::{Parts, prepare};
pub use random::random_keypair;
pub use turns::Turn;

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
