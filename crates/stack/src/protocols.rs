//! The numbers of protocols that are no channel of the network.
//!
//! A [`ProtocolId`] is opaque to everybody but its owner. On `weir/1` (QUIC, frames) a stream's head is the number itself, as
//! one varint (`docs/spec/streams.md`, "The head"). Pull numbers its channels from 0 to 65,535; what else a node speaks has
//! its number here, beside the name that it has on libp2p.

use weir_base::ProtocolId;

/// [`weir_libp2p::ping::NAME`].
pub(crate) const PING: ProtocolId = ProtocolId(0x1_0000);
