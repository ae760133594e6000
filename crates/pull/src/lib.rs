//! The pull protocol: nothing is sent that was not asked for.
//!
//! [`Pull`] is one machine per node. It speaks on streams it is given ([`StreamUser`](weir_base::stream::StreamUser)) and
//! knows no transport. Inside it, one machine per concern:
//! - [`control`]: hello, keep-alive, services, short-id keys, goodbye, on one stream per link;
//! - [`tip`]: one current value, the newest wins;
//! - [`pool`]: a set that all nodes should come to share;
//! - [`call`]: one request, one response.
//!
//! A channel's machine hears of a link when it comes up (permits and calls may share the first flight), and again when
//! both hellos have matched it; until then what the peer sends on it stays unread.
//! The bytes are defined in `docs/spec/` (`control.md`, `tip.md`, `pool.md`, `call.md`).
#![forbid(unsafe_code)]
#![warn(clippy::indexing_slicing)]

mod bucket;
pub mod call;
pub mod channel;
pub mod config;
pub mod control;
pub mod framing;
pub mod hex;
mod keys;
mod machine;
mod meter;
pub mod pool;
mod pull;
mod short;
mod table;
pub mod tip;

pub use channel::ChannelId;
pub use config::{Channel, Config, ConfigError, Shape};
pub use control::{PeerHello, Service};
pub use keys::{Keys, NumberedKey};
pub use machine::{Negotiated, Refused, Ticket};
pub use pull::{ChannelStats, Command, Event, Pull};
pub use short::{ShortId, ShortKey};
