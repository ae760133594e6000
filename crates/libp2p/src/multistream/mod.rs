//! multistream-select 1.0.0: which protocol a connection, or a stream, speaks.
//!
//! - both sides send the header `/multistream/1.0.0`; the dialler at once, with its first proposal behind it in the same write;
//! - the listener answers each proposal: the same name where it speaks it, else `na`;
//! - the dialler proposes its names in its order; `ls` asks for the listener's names instead;
//! - with a single name the dialler is *lazy*: what it writes may follow the proposal at once, which saves a round trip, and the
//!   answer is checked when it comes. The bytes on the wire are the same.
//!
//! A token is a varint length, a text, and a newline, which the length counts. Bytes after the answer belong to the protocol
//! and stay in the input.
//!
//! Threat: tokens without end, proposals without end, lists without end, and a peer that says nothing. A token is bounded before
//! anything of it is kept, proposals and names are counted, `ls` is answered once, and one deadline covers the whole.
//!
//! Source: multiformats `multistream-select`, libp2p specs `connections/README.md`; `docs/spec/multistream.md`.

mod dialer;
mod listener;
mod names;
mod token;

pub use dialer::Dialer;
pub use listener::Listener;
pub use names::{NAMES_MAX, NameError, Names};
pub use token::{HEADER, TOKEN_MAX};

use std::time::Duration;

use weir_base::Fault;

/// How long both sides together may take. Default of every deadline here: what other implementations give a stream.
pub const DEADLINE: Duration = Duration::from_secs(10);
/// What the deadline is for.
const NEGOTIATION: &str = "multistream negotiation";
/// Proposals on one stream. No dialler has more names for one purpose than this.
pub const PROPOSALS_MAX: usize = 64;
/// Bytes of an answer to `ls`.
pub const LIST_MAX: usize = 64 * weir_base::KIB;

/// A token that is longer than [`TOKEN_MAX`], empty, or without its newline.
pub const BAD_TOKEN: Fault = Fault::misbehaved("malformed multistream token");
/// The first token is not the header: another version, or another protocol.
pub const OTHER_HEADER: Fault = Fault::incompatible("another header than multistream 1.0.0");
/// An answer that is neither the proposal nor `na`.
pub const OTHER_ANSWER: Fault = Fault::misbehaved("an answer to something that was not proposed");
/// More than [`PROPOSALS_MAX`] proposals, or `ls` twice.
pub const TOO_MANY: Fault = Fault::misbehaved("too many protocol proposals on one stream");
/// A list that is longer than [`LIST_MAX`], has more than [`NAMES_MAX`] names, or is malformed.
pub const BAD_LIST: Fault = Fault::misbehaved("malformed list of protocols");
/// No agreement in time.
pub const LATE: Fault = Fault::unreliable("protocol negotiation not finished in time");

/// What a negotiation came to. After one of these the machine takes and gives nothing more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Both speak the name with this index in [`Names`].
    Selected(usize),
    /// The listener speaks none of the dialler's names. Nobody's fault.
    Refused,
    /// The listener's names, where `ls` asked for them. At most [`NAMES_MAX`].
    Listed(Vec<String>),
    /// The peer did something wrong.
    Faulted(Fault),
}

#[cfg(test)]
mod tests;
