//! QUIC.

pub(crate) mod time;
