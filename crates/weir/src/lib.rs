//! A pull-based peer-to-peer network stack for blockchain nodes: **nothing is sent that was not asked for**.
//!
//! # Quick start
//!
//! A node is described, started, and used through handles. Everything that arrives lies in bounded queues which the
//! application empties at its own pace, from any thread or async executor; there are no callbacks and there is no runtime.
//!
#![cfg_attr(feature = "native", doc = "```")]
#![cfg_attr(not(feature = "native"), doc = "```ignore")]
//! use weir::{Method, Network, NetworkId, Pool};
//!
//! const TXS: Pool<String> = Pool::new(4, "tx");
//! const BLOCK: Method<u64, String> = Method::new(5, "block");
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! let (net, node, (txs, blocks)) = weir::start(
//!     Network::builder(weir::random_keypair()?, NetworkId([1; 32]))
//!         .listen("127.0.0.1:0")
//!         .channels((TXS, BLOCK.serve())),
//! )?;
//! println!("others reach this node at {}", net.addresses()[0]);
//!
//! txs.publish(&"alice pays bob".to_owned())?;
//! let caller = blocks.caller();
//! std::thread::spawn(move || {
//!     while let Some(request) = blocks.next_blocking() {
//!         request.answer(format!("block {}", request.query()));
//!     }
//! });
//! let block = weir::block_on(caller.call(weir::Target::Local, 7))?;
//! assert_eq!(block, "block 7");
//! # weir::block_on(node.shutdown(std::time::Duration::from_secs(1)));
//! # Ok(())
//! # }
//! ```
//!
//! # The book
//!
//! | page | about | reference | example |
//! |---|---|---|---|
//! | `book::start` | a node, its handles, and its end | [`Builder`], [`Network`], [`Node`] | `pool.rs` |
//! | `book::channels` | what nodes agree on, and how types travel | [`channel`], [`Message`], [`codec`] | |
//! | `book::verdicts` | what arrives, and what you make of it | [`pool`], [`tip`] | `pool.rs`, `tip.rs` |
//! | `book::calls` | a question, and one answer | [`call`] | `call.rs` |
//! | `book::streams` | bytes of your own | [`stream`] | `raw.rs` |
//! | `book::protocols` | other people's protocols, by name | [`Protocol`], [`RequestResponse`], [`exchange`] | `protocol.rs`, `request.rs` |
//! | `book::testing` | whole networks in virtual time | `testing`, with the feature of this name | `cluster.rs` |
//! | `book::operating` | peers, limits, what happens | [`Peers`], [`Config`], [`Event`], [`Stats`], [`error`] | `events.rs` |
//! | `book::own_loop` | a node without a thread of its own, on your runtime | `EventLoop`, with the feature `native` | `on_tokio.rs` |
//! | `book::own_host` | a host of your own | [`host`] | `own_host.rs` |
//!
//! Examples are in `crates/weir/examples`; `cargo run -p weir-net --example pool`.
//!
//! A type travels by implementing [`Message`]; in a pool also [`PoolItem`], in a tip [`TipValue`]. Decoding runs on the thread
//! that takes the message.
//!
//! # Rules that hold everywhere
//!
//! - *Bounded.* Every queue has a limit by name and a policy when full: `publish` is [`Busy`](PublishError::Busy), requests are
//!   refused with a time to retry, events drop the oldest and count, raw streams stop their peer. Pools and tips need none: peers
//!   may send only what was granted, and a verdict grants the next.
//! - *Every wait ends.* Calls, opens and dials have deadlines; [`Network::within`] gives one to any future, on the host's clock.
//!   When a node stops, its queues give what is in them and then `None`, and everything else says that it has stopped.
//! - *Handles are cheap to clone and may be shared* between tasks and threads; each item goes to one taker. A future that is
//!   dropped takes its wish back: a dropped call cancels the server's work.
//! - *Dropped is decided*: a [`Candidate`] is deferred, a [`Request`] refused with a retry, a [`Received`] ignored. The last handle
//!   that is dropped stops the node, with goodbye, within a second.
//! - *Native or simulated*: the same [`Builder`] and the same handles; [`Network::now`], [`sleep`](Network::sleep) and
//!   [`block_on`](Network::block_on) are the host's. Another host is written against [`host`].
//!
//! # Features
//!
//! `native` (default): UDP and TCP sockets, and a network thread per node or an event loop that the application runs. `testing`: clusters in
//! virtual time. `serde`: `Postcard<T>`,
//! which makes a message of any type that serde writes. With neither of the first two, what is
//! written against the handles compiles, and whoever uses it chooses the host: one of these, or one of its own ([`host`]).
#![forbid(unsafe_code)]

#[cfg(feature = "serde")]
mod postcard;

#[cfg(feature = "serde")]
pub use crate::postcard::Postcard;
#[cfg(feature = "native")]
#[doc(inline)]
pub use weir_native::{EventLoop, KeyFile, KeyFileError, Turn, Woken, block_on, random_keypair, start};
#[doc(inline)]
pub use weir_node::*;
#[cfg(feature = "testing")]
#[doc(inline)]
pub use weir_sim::cluster as testing;

#[cfg(all(any(doc, doctest), feature = "native", feature = "testing"))]
pub mod book;

/// The README's example, compiled and run.
#[cfg(all(doctest, feature = "testing"))]
#[doc = include_str!("../../../README.md")]
struct Readme;
