//! The two clocks: ours, and the standard library's that QUIC's state machine counts in. The only file that names the latter.

/// The standard library's monotonic clock, as read by the host at its origin.
#[allow(clippy::disallowed_types)] // QUIC's state machine is written in it; nothing here reads it
pub type Anchor = std::time::Instant;
