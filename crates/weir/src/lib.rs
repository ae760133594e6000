//! A pull-based peer-to-peer network stack for blockchain nodes.
#![forbid(unsafe_code)]

mod builder;
pub mod call;
pub mod channel;
mod config;
mod core;
pub mod error;
mod events;
mod mailbox;
mod message;
#[cfg(feature = "native")]
mod native;
mod network;
mod node;
mod peers;
pub mod pool;
mod shared;
mod stats;
pub mod stream;
#[cfg(feature = "testing")]
pub mod testing;
mod time;
pub mod tip;

pub use bytes::Bytes;
pub use weir_base::codec;
pub use weir_base::identity::{Keypair, PeerId, PublicKey};
pub use weir_base::multiaddr::Multiaddr;
pub use weir_base::stream::{Class, Goodbye, Side};
pub use weir_base::{Blame, ChannelId, Fault, Instant, NetworkId, UnixTime};
pub use weir_pull::Service;
pub use weir_pull::pool::{MAX_SUMMARY, Summary};
pub use weir_pull::tip::SlotKey;
pub use weir_stack::{DialProblem, DownReason, Reaction, Record, Refused};

pub use builder::Builder;
pub use call::{Answer, Request, Requests, Target, Targets};
pub use channel::{Method, Pool, Raw, Tip};
pub use config::{Config, Mailboxes, Sockets};
pub use error::{
    CallError, ChannelError, ConnectError, Elapsed, OpenError, PublishError, Retry, StartError, Stopped,
    StreamError,
};
pub use events::{Event, Events};
pub use mailbox::block_on;
pub use message::{ItemId, Malformed, Message, PoolItem, TipValue, Verdict};
#[cfg(feature = "native")]
pub use native::random_keypair;
pub use network::{Network, ToAddress};
pub use node::{Node, ShutdownReport, Streams};
pub use peers::{Peer, PeerError};
pub use pool::{Candidate, PoolHandle, Undecided};
pub use stats::{HostStats, Stats};
pub use stream::{BlockingStream, RawReader, RawStream, RawWriter};
pub use tip::{Received, TipHandle};
