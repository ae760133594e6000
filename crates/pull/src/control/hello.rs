//! What hello says, as the application and the other machines see it, and what two of them have in common.

use crate::channel::ChannelId;
use bytes::Bytes;

use crate::keys::NumberedKey;
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
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Service {
    /// Which service; unique within a node.
    pub id: u32,
    /// The version of its descriptor.
    pub version: u16,
    /// At most [`MAX_SERVICE_PAYLOAD`] bytes. As text: hexadecimal.
    #[serde(with = "crate::hex")]
    pub payload: Bytes,
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
