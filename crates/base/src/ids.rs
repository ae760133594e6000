//! Names of links, streams, protocols and networks.

use std::fmt;

/// One authenticated connection of this node. Counts up from 1, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// One stream of one link. `stream` is the transport's own number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamKey {
    /// The link it belongs to.
    pub link: LinkId,
    /// The transport's number for it, unique on that link for the link's life.
    pub stream: u64,
}

/// What a stream speaks: an opaque number. Who owns a protocol gives its number a meaning; who carries streams gives it
/// a name: the number itself as one varint at the head of a stream (`docs/spec/streams.md`, "The head"), or a libp2p protocol name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct ProtocolId(pub u32);

/// Which network a node belongs to: 32 bytes, usually the hash of its genesis. Links between different ones are refused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkId(pub [u8; 32]);

impl fmt::Display for NetworkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for NetworkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(4).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
