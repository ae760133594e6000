//! Channels and their lanes: how this protocol numbers what its streams speak.
//!
//! Below, a [`ProtocolId`] is an opaque number. Here it is `channel × 4 + lane` (`docs/spec/streams.md`, "The head").

use weir_base::ProtocolId;

/// Lanes per channel: a pool has offers on lane 0 and items on lane 1.
const LANES: u8 = 4;

/// A declared protocol of a network: tip, pool, call or raw. 0 is control; a user's channels are 1 to 16,383.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct ChannelId(pub u16);

impl ChannelId {
    /// The control channel.
    pub const CONTROL: Self = Self(0);
    /// The largest id a profile may declare.
    pub const MAX: Self = Self(0x3fff);

    /// What a stream of this channel speaks on `lane`: 0 to 3, higher lanes wrap.
    pub const fn protocol(self, lane: u8) -> ProtocolId {
        ProtocolId(self.0 as u32 * LANES as u32 + (lane % LANES) as u32)
    }

    /// The channel and the lane (0 to 3) of a stream that speaks `protocol`; `None` where the number is beyond
    /// [`MAX`](Self::MAX).
    pub fn of(protocol: ProtocolId) -> Option<(Self, u8)> {
        let channel = Self(u16::try_from(protocol.0 / u32::from(LANES)).ok()?);
        let lane = u8::try_from(protocol.0 % u32::from(LANES)).ok()?;
        (channel <= Self::MAX).then_some((channel, lane))
    }

    /// What the streams of this channel can speak: one protocol a lane.
    pub fn protocols(self) -> impl Iterator<Item = ProtocolId> {
        (0..LANES).map(move |lane| self.protocol(lane))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_protocol_number_splits_into_channel_and_lane() {
        assert_eq!(ChannelId(5).protocol(1), ProtocolId(21));
        assert_eq!(ChannelId::of(ProtocolId(21)), Some((ChannelId(5), 1)));
        assert_eq!(ChannelId::of(ProtocolId(0)), Some((ChannelId::CONTROL, 0)));
        assert_eq!(ChannelId::of(ChannelId::MAX.protocol(3)), Some((ChannelId::MAX, 3)));
        assert_eq!(ChannelId::of(ProtocolId(65_536)), None);
        assert_eq!(ChannelId::of(ProtocolId(u32::MAX)), None);
    }
}
