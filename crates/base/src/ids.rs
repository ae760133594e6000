//! Names of links, streams, channels and networks.

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

/// A declared protocol of a network: tip, pool, call or feed. 0 is control; a user's channels are 1 to 16,383.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelId(pub u16);

impl ChannelId {
    /// The control channel.
    pub const CONTROL: Self = Self(0);
    /// The largest id a profile may declare.
    pub const MAX: Self = Self(0x3fff);
}

/// What a stream speaks: a channel and its lane. Written as one varint at the head of a stream where the transport
/// has no names (`docs/spec/streams.md`); a table in the stack gives each its libp2p name elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProtocolId(pub u32);

impl ProtocolId {
    /// Lanes per channel: a pool has offers on lane 0 and items on lane 1.
    pub const LANES: u32 = 4;

    /// The protocol of `channel` on `lane` (below [`LANES`](Self::LANES); higher lanes wrap).
    pub const fn new(channel: ChannelId, lane: u8) -> Self {
        Self(channel.0 as u32 * Self::LANES + lane as u32 % Self::LANES)
    }

    /// The channel, `None` where the number is beyond [`ChannelId::MAX`].
    pub fn channel(self) -> Option<ChannelId> {
        let channel = ChannelId(u16::try_from(self.0 / Self::LANES).ok()?);
        (channel <= ChannelId::MAX).then_some(channel)
    }

    /// The lane within the channel, 0 to 3.
    pub const fn lane(self) -> u8 {
        (self.0 % Self::LANES) as u8
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_protocol_number_splits_into_channel_and_lane() {
        let protocol = ProtocolId::new(ChannelId(5), 1);
        assert_eq!((protocol.channel(), protocol.lane()), (Some(ChannelId(5)), 1));
        assert_eq!(ProtocolId(u32::MAX).channel(), None);
        assert_eq!(ProtocolId(0).channel(), Some(ChannelId::CONTROL));
    }
}
