//! Why a command, or what it began, came to nothing.

use weir_link::{DialError, DialFailure, DownReason};

use crate::peers::{BookError, TooManyBans};

/// Why a command was refused. Nothing has happened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// The node is shutting down.
    #[error("the node is shutting down")]
    Closing,
    /// A channel or control refused it.
    #[error(transparent)]
    Pull(#[from] weir_pull::Refused),
    /// No such peer is connected, or none offers the service.
    #[error("no such peer is connected, or none offers the service")]
    NoPeer,
    /// The peer, or every one of its addresses, is banned.
    #[error("the peer or its network is banned; unban it first")]
    Banned,
    /// As many networks are banned as can be.
    #[error(transparent)]
    TooManyBans(#[from] TooManyBans),
    /// The dial could not begin.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The address book refused it.
    #[error(transparent)]
    Book(#[from] BookError),
    /// As many calls to targets, or raw streams, as allowed are under way.
    #[error("as many as the limit allows are under way")]
    Limit,
    /// The message is larger than the protocol allows.
    #[error("the message is larger than the protocol allows")]
    TooLarge,
    /// The framing of the protocol refuses the message.
    #[error("the framing of the protocol refuses the message")]
    Unframed,
    /// More addresses than a signed record holds.
    #[error("more addresses than a signed record holds: 64, of 3 KiB together")]
    Addresses,
    /// There is no such stream, or this direction of it has ended.
    #[error("there is no such stream, or this direction of it has ended")]
    NoStream,
    /// Neither a channel of raw streams that the peer has, too, nor a protocol by name of this node.
    #[error("neither a raw channel that both sides have nor a protocol by name")]
    NotRaw,
    /// The ticket names nothing that still waits.
    #[error("the ticket names nothing that still waits")]
    UnknownTicket,
}

/// Why a dial brought no usable link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DialProblem {
    /// It could not begin.
    #[error(transparent)]
    Start(#[from] DialError),
    /// No link was set up.
    #[error(transparent)]
    Link(#[from] DialFailure),
    /// The link ended before both sides had said hello: another network or version, no slot, a ban.
    #[error("the link ended before hello: {0:?}")]
    Hello(DownReason),
}
