//! Transports turned into one thing: a **link**, an authenticated connection to one peer with byte streams.
//!
//! [`Links`] holds all links of a node and routes between the host and them; it does no input or output of its own.
//! - the host hands in what happened: datagrams ([`Links::handle_datagrams`]), frames of a foreign wire
//!   ([`Links::handle_frame`]), a wire's life ([`Links::handle_wire`]), a byte stream's life and bytes
//!   ([`Links::handle_pipe`], [`Links::read_pipe`]), its sockets and clock ([`Links::handle_host`]);
//! - the stack asks: [`Links::dial`], and on one link ([`Links::link`]) open, read, write, finish, reset, stop, close;
//! - after each of these the host drains: [`Links::poll_event`], [`Links::poll_datagrams`], [`Links::poll_frame`],
//!   [`Links::poll_pipe`], each until `None`, and then asks [`Links::poll_timeout`].
//!
//! Streams have half-close, reset and stop with codes, flow control both ways and a class of service each. What a peer
//! may send is bounded by windows that grow from one node-wide budget, and only by what this node has asked for
//! (`docs/spec/links.md`). A peer's bad input becomes [`Event::Blame`] and the end of its link, never an error here.
#![forbid(unsafe_code)]
#![warn(clippy::indexing_slicing)]

mod admission;
mod bans;
mod budget;
mod carrier;
mod config;
mod dial;
mod endpoint;
mod event;
mod frames;
mod gate;
mod link;
mod links;
mod named;
mod network;
mod origins;
mod outputs;
#[cfg(not(target_family = "wasm"))]
mod quic;
mod rates;
mod stats;
mod streams;
mod table;
mod tcp;
#[cfg(test)]
mod tests;
mod transports;
mod window;

pub use bans::Ban;
pub use carrier::{LinkStats, Read};
pub use config::{
    AdmissionConfig, Alpn, BudgetConfig, Config, DialConfig, QuicConfig, Security, StreamsConfig, TcpConfig,
};
pub use dial::check_dialable;
pub use event::{
    Datagrams, Dial, DialError, DialFailure, DialId, DownReason, Ecn, Event, Family, HostChange, PipeChange,
    PipeId, PipeTransmit, SocketId, Transmit, WireChange, WireId,
};
pub use frames::{
    DATA_MAX, FRAME_MAX, Frame, FrameError, LINK_INITIAL, NUMBER_MAX, STREAM_INITIAL, STREAMS_INITIAL,
};
pub use gate::{Attempt, Gate, Refusal};
pub use link::Link;
pub use links::{Drain, Links};
pub use network::{Network, ParseNetworkError};
pub use stats::{BudgetStats, Stats};
pub use streams::{BY_NAME, NAMED};
pub use transports::{Anchor, Start};
pub use weir_base::LimitError;
pub use weir_libp2p::Cipher;
pub use weir_libp2p::pnet::{KeyFileError as SharedKeyError, SharedKey};
