//! The vocabulary every part of Weir shares: time, ids, faults, bytes, codec primitives and the stream contract.
//!
//! Nothing here knows a clock, a socket, a thread or global randomness: time is an argument, randomness a seed.
//! The one interface between protocols and transports is [`stream::StreamUser`]; who implements it never sees a link,
//! who carries streams never sees a protocol.
#![forbid(unsafe_code)]
#![warn(clippy::indexing_slicing)]

pub mod chunk;
pub mod codec;
pub mod deadlines;
pub mod dealer;
pub mod fault;
pub mod identity;
pub mod ids;
pub mod limits;
pub mod multiaddr;
pub mod numbered;
pub mod pair;
pub mod ready;
pub mod rng;
pub mod stream;
pub mod table;
pub mod time;
pub mod units;

pub use chunk::{Chunk, Rope};
pub use deadlines::Deadlines;
pub use dealer::Dealer;
pub use fault::{Blame, Fault};
pub use identity::{KeyKind, Keypair, PeerId, PublicKey};
pub use ids::{LinkId, NetworkId, ProtocolId, StreamKey};
pub use limits::LimitError;
pub use multiaddr::Multiaddr;
pub use numbered::{Counted, Numbered};
pub use ready::Ready;
pub use rng::Rng;
pub use time::{Instant, UnixTime};

/// 1,024 bytes.
pub const KIB: usize = 1024;
/// 1,048,576 bytes.
pub const MIB: usize = 1024 * KIB;
