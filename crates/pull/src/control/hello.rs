//! What hello says, as the application and the other machines see it, and what two of them have in common.

use crate::channel::ChannelId;
use bytes::Bytes;
use weir_base::ShortKey;

use super::VERSION;
use super::codec::{ChannelOffer, Hello, Preamble};
use crate::config::{Channel, Config, Shape};
use crate::machine::Negotiated;

/// Channels in a hello, at most.
pub const MAX_CHANNELS: usize = 64;
/// Bytes of a channel's name, at most.
pub const MAX_NAME: usize = 32;
/// Bytes of the agent, at most.
pub const MAX_AGENT: usize = 64;
/// Services of a node, at most.
pub const MAX_SERVICES: usize = 16;
/// Bytes of a service's payload, at most.
pub const MAX_SERVICE_PAYLOAD: usize = 64;

/// Something a node can do for others: a typed descriptor. What the payload says is defined by the service's id and version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Service {
    /// Which service; unique within a node.
    pub id: u32,
    /// The version of its descriptor.
    pub version: u16,
    /// At most [`MAX_SERVICE_PAYLOAD`] bytes.
    pub payload: Bytes,
}

/// A short-id key and its number. Numbers of one node count up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NumberedKey {
    /// Names the key in offers.
    pub number: u32,
    /// The key.
    pub key: ShortKey,
}

/// This node's keys for short ids: what peers should use, and what they may still use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys {
    /// Told to the peers.
    pub current: NumberedKey,
    /// Valid for 60 s after a rotation.
    pub previous: Option<NumberedKey>,
}

/// What a peer said of itself, and what both have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerHello {
    /// The protocol version both speak.
    pub version: u16,
    /// The peer's features, a bit each; unknown bits mean nothing.
    pub features: u64,
    /// What it can do for others.
    pub services: Vec<Service>,
    /// Name and version of its program.
    pub agent: String,
    /// Streams this side may have open at once, as the peer told.
    pub max_streams: u32,
    /// The key it wants short ids under.
    pub key: NumberedKey,
    /// The channels both have, ascending.
    pub channels: Vec<ChannelId>,
    /// The limits of those channels, in the same order.
    pub limits: Vec<Negotiated>,
}

impl PeerHello {
    /// What was agreed for a channel; `None` where the two do not share it.
    pub fn negotiated(&self, channel: ChannelId) -> Option<Negotiated> {
        self.limits.get(self.channels.binary_search(&channel).ok()?).cloned()
    }
}

/// Whether a channel may be called so: 1 to [`MAX_NAME`] bytes of `a-z 0-9 . _ - /`.
pub fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-/".contains(&byte);
    (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(allowed)
}

/// Whether a list of services is within its limits: count, payloads, ids unique.
pub fn services_hold(services: &[Service]) -> bool {
    let unique: std::collections::BTreeSet<u32> = services.iter().map(|service| service.id).collect();
    services.len() <= MAX_SERVICES
        && unique.len() == services.len()
        && services.iter().all(|service| service.payload.len() <= MAX_SERVICE_PAYLOAD)
}

/// This node's hello.
pub(super) fn mine(config: &Config, key: NumberedKey) -> Hello {
    let mut services = config.services.clone();
    services.sort_unstable();
    let mut channels: Vec<ChannelOffer> = config.channels.iter().map(offer).collect();
    channels.sort_unstable_by_key(|channel| channel.id);
    Hello {
        preamble: Preamble { oldest: VERSION, newest: VERSION, network: config.network },
        features: 0,
        agent: config.agent.clone(),
        services,
        max_streams: config.control.max_streams,
        key,
        channels,
    }
}

fn offer(channel: &Channel) -> ChannelOffer {
    let (max_request, max_answer, at_once) = match &channel.shape {
        Shape::Raw => (0, 0, 0),
        Shape::Tip(config) => (0, config.max_value, 0),
        Shape::Pool(config) => (0, config.max_item, 0),
        Shape::Call(config) => (config.max_request, config.max_response, config.concurrency),
    };
    ChannelOffer {
        id: channel.id,
        name: channel.name.clone(),
        version: channel.version,
        shape: channel.shape.number(),
        max_request,
        max_answer,
        at_once,
    }
}

/// What two hellos have in common: channels that match in id, name, version and shape, with the smaller limits.
pub(super) fn shared(mine: &Hello, theirs: Hello, version: u16) -> PeerHello {
    let (mut channels, mut limits) = (Vec::new(), Vec::new());
    for channel in &theirs.channels {
        let found = mine.channels.binary_search_by_key(&channel.id, |mine| mine.id);
        let Some(own) = found.ok().and_then(|index| mine.channels.get(index)) else { continue };
        if own.name == channel.name && own.version == channel.version && own.shape == channel.shape {
            channels.push(channel.id);
            limits.push(Negotiated {
                max_request: own.max_request.min(channel.max_request),
                max_answer: own.max_answer.min(channel.max_answer),
                at_once: own.at_once.min(channel.at_once),
                peer_key: theirs.key,
            });
        }
    }
    PeerHello {
        version,
        features: theirs.features,
        services: theirs.services,
        agent: theirs.agent,
        max_streams: theirs.max_streams,
        key: theirs.key,
        channels,
        limits,
    }
}
