//! Signed envelopes and peer records: what a peer says about itself, carried by others.
//!
//! - [`seal`] signs a payload under a domain and a type; [`open`] checks all three and gives the payload back.
//! - [`PeerRecord`] is one such payload: a peer's addresses, with a number that grows with each issue.
//!
//! Threat: envelopes come from third parties, who may replay, mix and mangle them. A payload is never visible before its
//! signature is checked for the caller's domain and type; sizes and counts are bounded before anything is copied; a record is
//! only taken for the peer whose key signed it. Old records verify forever: whoever keeps records compares
//! [`PeerRecord::seq`].
//!
//! Source: libp2p specs, RFC 0002 and RFC 0003; `docs/spec/identity.md`.

mod envelope;
mod peer;
#[cfg(test)]
mod tests;

pub use envelope::{ENVELOPE_MAX, EnvelopeError, Opened, SealError, open, seal};
pub use peer::{ADDRESSES_MAX, PeerRecord, RecordError};
