//! What the streams of every muxer have in common: two halves each, opens that wait for the peer's limit, classes that share
//! what is below, and protocols that are agreed on by name. Each transport keeps beside it what is its own: its credit, its heads.

mod halves;
mod names;
pub(crate) mod negotiation;
mod opens;
mod outbox;
mod scheduler;
mod writers;

/// Streams that a peer may have open before its hello (`docs/spec/streams.md`, "Limits").
pub(crate) const BEFORE_HELLO: u32 = 32;

pub(crate) use halves::{After, Next, ReceiveEnd, ReceiveHalf, SendEnd, SendHalf};
pub(crate) use names::ProtocolNames;
pub use names::{BY_NAME, NAMED};
pub(crate) use negotiation::{Negotiating, Negotiation, Outcome};
pub(crate) use opens::Opens;
pub(crate) use outbox::Outbox;
pub(crate) use writers::{Backlog, Writer, Writers};
