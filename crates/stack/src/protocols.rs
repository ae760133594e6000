//! The numbers of protocols that are no channel of the network.
//!
//! A [`ProtocolId`] is opaque to everybody but its owner. On `weir/1` (QUIC, frames) a stream's head is the number itself, as
//! one varint (`docs/spec/streams.md`, "The head"). Pull numbers its channels from 0 to 65,535; what else a node speaks has
//! its number here, beside the name that it has on libp2p.

use weir_base::ProtocolId;
use weir_libp2p::{identify, perf, ping};

/// [`ping::NAME`].
pub(crate) const PING: ProtocolId = ProtocolId(0x1_0000);
/// [`identify::NAME`].
pub(crate) const IDENTIFY: ProtocolId = ProtocolId(0x1_0001);
/// [`identify::PUSH_NAME`].
pub(crate) const IDENTIFY_PUSH: ProtocolId = ProtocolId(0x1_0002);
/// [`perf::NAME`].
pub(crate) const PERF: ProtocolId = ProtocolId(0x1_0003);

/// What a node of Weir's says by identify that it speaks: it will say hello.
pub(crate) const VERSION: &str = "weir/1";

/// Their names on libp2p.
pub(crate) const NAMES: [(ProtocolId, &str); 4] = [
    (PING, ping::NAME),
    (IDENTIFY, identify::NAME),
    (IDENTIFY_PUSH, identify::PUSH_NAME),
    (PERF, perf::NAME),
];

/// Those of `names` that have a number here, in order.
pub(crate) fn known<'a>(names: impl Iterator<Item = &'a str>) -> Vec<ProtocolId> {
    let number = |name: &str| NAMES.iter().find(|(_, known)| *known == name).map(|(id, _)| *id);
    let mut known: Vec<ProtocolId> = names.filter_map(number).collect();
    known.sort_unstable();
    known.dedup();
    known
}
