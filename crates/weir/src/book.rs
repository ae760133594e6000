//! The book: what this library is used for, a page each, in the order in which a node is built.
//!
//! [start] · [channels] · [verdicts] · [calls] · [streams] · [protocols] · [testing] · [operating] · [an event loop of your own](own_loop) ·
//! [a host of your own](own_host)
//!
//! Each page has an example that runs as it stands. Most of them run in virtual time, so that they need no sockets; the crate needs the
//! feature `testing` for that:
//!
//! ```toml
//! [dependencies]
//! weir = { package = "weir-net", version = "0.1", features = ["testing"] }
//! ```
//!
//! On sockets the same code begins with `weir::start(builder)` in place of `cluster.add(builder)`, and waits with `.await` or
//! `weir::block_on` in place of `cluster.run_until`.

#[doc = include_str!("book/start.md")]
pub mod start {}

#[doc = include_str!("book/channels.md")]
pub mod channels {}

#[doc = include_str!("book/verdicts.md")]
pub mod verdicts {}

#[doc = include_str!("book/calls.md")]
pub mod calls {}

#[doc = include_str!("book/streams.md")]
pub mod streams {}

#[doc = include_str!("book/protocols.md")]
pub mod protocols {}

#[doc = include_str!("book/testing.md")]
pub mod testing {}

#[doc = include_str!("book/operating.md")]
pub mod operating {}

#[doc = include_str!("book/own_loop.md")]
pub mod own_loop {}

#[doc = include_str!("book/own_host.md")]
pub mod own_host {}
