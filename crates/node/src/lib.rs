//! A Weir node without a host: its description ([`Builder`]), the handles of the application, and what joins them to a
//! [`Stack`](weir_stack::Stack).
//!
//! Applications depend on `weir-net` (the library `weir`), which re-exports the handles and brings a host. This crate is for
//! those who write another host: see [`host`].
//!
//! No clock, socket or thread is named here. Handles are shared between threads of the application and of the host: that is
//! what the mailboxes and their locks are for.
#![forbid(unsafe_code)]

mod address;
mod builder;
pub mod call;
pub mod channel;
mod channels;
pub mod codec;
pub mod config;
mod core;
mod declarations;
pub mod error;
mod event;
mod events;
pub mod exchange;
pub mod host;
mod mailbox;
mod message;
mod names;
mod network;
mod node;
mod peer;
mod peers;
pub mod pool;
mod report;
mod shared;
pub mod stats;
pub mod stream;
mod time;
pub mod tip;

/// Who a node is: keys, ids, and what can be wrong with them.
pub mod identity {
    #[doc(inline)]
    pub use weir_base::identity::{
        BadSignature, KeyKind, Keypair, ParsePeerIdError, PeerId, PeerIdError, PrivateKeyError, PublicKey,
        PublicKeyError, SecretBytes,
    };
}

/// Where a node is: addresses, their components, and what can be wrong with them.
pub mod multiaddr {
    #[doc(inline)]
    pub use weir_base::multiaddr::{
        DecodeMultiaddrError, DnsName, DnsNameError, Host, Multiaddr, ParseMultiaddrError, Protocol,
        PushError, Target, Transport,
    };
    #[doc(inline)]
    pub use weir_stack::{Network as Prefix, ParseNetworkError as ParsePrefixError};
}

pub use bytes::Bytes;
pub use futures_core::Stream;
#[doc(inline)]
pub use weir_base::identity::{Keypair, PeerId, PublicKey};
#[doc(inline)]
pub use weir_base::multiaddr::Multiaddr;
#[doc(inline)]
pub use weir_base::stream::{Class, Goodbye, Side};
#[doc(inline)]
pub use weir_base::{Blame, Fault, Instant, NetworkId, ProtocolId, UnixTime};
#[doc(inline)]
pub use weir_pull::pool::{MAX_SUMMARY, Summary};
#[doc(inline)]
pub use weir_pull::tip::SlotKey;
#[doc(inline)]
pub use weir_pull::{ChannelId, Service};
#[doc(inline)]
pub use weir_stack::{
    Attempt, BannedBy, DialProblem, DownReason, Network as Prefix, NetworkBan as PrefixBan, Reaction, Record,
    Refused,
};

pub use address::ToAddress;
pub use builder::Builder;
pub use call::{Answer, Caller, Request, Requests, Target, Targets};
pub use channel::{Method, Pool, Protocol, Raw, RequestResponse, Served, ServedRequests, Tip};
pub use channels::Channels;
pub use config::{Config, Mailboxes, Sockets};
pub use error::{
    AddressError, CallError, CommandError, ConnectError, OpenError, PublishError, RequestError, Retry,
    StartError, Stopped, StreamError, WithinError,
};
pub use event::Event;
pub use events::Events;
pub use exchange::{Framing, InboundRequest, Requester, Responder, Response};
pub use message::{ItemId, Malformed, Message, PoolItem, TipValue};
pub use names::NameError;
pub use network::Network;
pub use node::Node;
pub use peer::{Ban, Banned, Peer, SharedChannel};
pub use peers::{PeerError, Peers};
pub use pool::{Candidate, PoolHandle, Undecided};
pub use report::ShutdownReport;
pub use stats::{HostStats, Stats};
pub use stream::{BlockingStream, RawReader, RawStream, RawWriter, Streams};
pub use tip::{Received, TipHandle};
