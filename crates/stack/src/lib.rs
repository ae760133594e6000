//! A whole Weir node as one pure machine: [`Stack`].
//!
//! The stack joins transports ([`weir_link::Links`]) and the pull protocol ([`weir_pull::Pull`]), and adds what neither
//! should know: who the peers are, how much they are trusted, when to dial, raw streams of the application, and how a node
//! ends. A host gives it time, datagrams and frames, and takes events, actions, datagrams and frames.
//!
//! After any `handle`, `command`, `handle_timeout` or use of `raw_streams` (or up to 64 of them) the host drains
//! `poll_action`, `poll_event`, `poll_datagrams`, `poll_frame` and `poll_pipe`, each until `None`, and then asks `poll_timeout`.
#![forbid(unsafe_code)]

pub mod budget;
pub mod config;
mod config_error;
mod dials;
mod ending;
pub mod exchange;
mod named;
pub mod peers;
mod profile;
mod protocols;
mod pump;
mod quotas;
pub mod raw;
mod refused;
mod stack;
mod targets;
mod types;
mod users;

pub use budget::Stats;
pub use config::{Config, ConfigError, Profile};
pub use named::{NAME_MAX, NAMES_BYTES_MAX, NAMES_MAX, NamedProtocol, NamedShape, numbered};
pub use peers::{
    BannedBy, BookError, Heard, Known, Linked, NetworkBan, Peers, Reaction, Record, Role, Speaks, TooManyBans,
};
pub use stack::{Stack, permits_used_up};
pub use types::{Action, Command, DialProblem, Event, Input, Refused, Report, Target, Timeout};
pub use weir_libp2p::identify::Info;
pub use weir_link::{
    Alpn, Anchor, Attempt, Cipher, Datagrams, DialError, DialFailure, DialId, DownReason, Ecn, FRAME_MAX,
    Family, Frame, FrameError, Gate, HostChange, NAMED, Network, ParseNetworkError, PipeChange, PipeId,
    PipeTransmit, Refusal, Security, SharedKey, SharedKeyError, SocketId, Start, Transmit, WireChange,
    WireId, check_dialable,
};
pub use weir_pull::{Channel, PeerHello, Service, Shape, Ticket, call, pool, tip};
