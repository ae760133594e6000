//! The numbers of protocols that are no channel of the network, and the names of all.
//!
//! A [`ProtocolId`] is opaque to everybody but its owner. On `weir/1` (QUIC, frames) a stream's head is the number itself, as
//! one varint (`docs/spec/streams.md`, "The head"). Pull numbers its channels from 0 to 65,535; what else a node speaks has
//! its number here. Where libp2p's connections carry a link, a stream says its protocol by name (`docs/spec/libp2p-links.md`,
//! "Names").

use weir_base::ProtocolId;
use weir_libp2p::{identify, perf, ping};
use weir_pull::{Channel, ChannelId};

use crate::config::Profile;
use crate::named;

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

/// What each of `protocols` is called. Those that go by name on every link come in addition.
pub(crate) fn names(
    profile: &Profile,
    protocols: impl Iterator<Item = ProtocolId>,
) -> Vec<(ProtocolId, Vec<String>)> {
    let own = protocols.filter_map(|protocol| Some((protocol, vec![name(&profile.channels, protocol)?])));
    let others = named::numbered(&profile.protocols).map(|(first, protocol)| (first, protocol.names.clone()));
    own.chain(others).collect()
}

/// A channel is called by its name, for its number may be another one elsewhere; `None`: nobody speaks it.
fn name(channels: &[Channel], protocol: ProtocolId) -> Option<String> {
    if let Some((_, name)) = NAMES.iter().find(|(id, _)| *id == protocol) {
        return Some((*name).to_owned());
    }
    let (id, lane) = ChannelId::of(protocol)?;
    if id == ChannelId::CONTROL {
        return (lane == 0).then(|| "/weir/control/1".to_owned());
    }
    let channel = channels.iter().find(|channel| channel.id == id && lane < channel.shape.lanes())?;
    Some(format!("/weir/{}/{lane}/1", channel.name))
}

#[cfg(test)]
mod tests {
    use weir_pull::{Shape, call, pool};

    use super::*;

    #[test]
    fn channels_have_names_by_lane_and_control_and_ping_their_own() {
        let channel = |id, name: &str, shape| Channel {
            id: ChannelId(id),
            name: name.into(),
            version: 1,
            oldest: 1,
            shape,
        };
        let rules = pool::Rules { summarize: |_| pool::Summary::new(&[]), judge: |_| None };
        let channels = [
            channel(3, "block", Shape::Call(call::Config::default())),
            channel(5, "tx", Shape::Pool(pool::Config::new(rules))),
        ];
        let lanes = [0, 3, 5].map(ChannelId).into_iter().flat_map(ChannelId::protocols);
        let asked: Vec<ProtocolId> = lanes.chain([ChannelId(4).protocol(0), PING]).collect();
        let profile = Profile { channels: channels.into(), ..Profile::default() };
        let found = names(&profile, asked.into_iter());
        let text: Vec<_> = found.iter().map(|(id, names)| (id.0, names[0].as_str())).collect();
        assert_eq!(
            text,
            [
                (0, "/weir/control/1"),
                (12, "/weir/block/0/1"),
                (20, "/weir/tx/0/1"),
                (21, "/weir/tx/1/1"),
                (0x1_0000, "/ipfs/ping/1.0.0")
            ]
        );
    }
}
