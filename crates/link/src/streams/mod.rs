//! What the streams of every muxer have in common: two halves each, opens that wait for the peer's limit, and classes that share
//! what is below. Frames and QUIC keep beside it what is theirs alone: their credit, their heads.

mod halves;
mod opens;
mod outbox;
mod scheduler;

pub(crate) use halves::{After, Next, ReceiveEnd, ReceiveHalf, SendEnd, SendHalf};
pub(crate) use opens::Opens;
pub(crate) use outbox::Outbox;
