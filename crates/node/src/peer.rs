//! A connected peer, and a ban: as an operator sees them.

use std::net::IpAddr;
use std::time::Duration;

use weir_base::Instant;
use weir_base::identity::PeerId;
use weir_base::multiaddr::Multiaddr;
use weir_base::stream::Side;
use weir_pull::{PeerHello, Service};

use crate::Prefix;

/// Whom a ban is for: a peer, whatever its address; an address, or a prefix of addresses, whoever is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Banned {
    /// This peer.
    Peer(PeerId),
    /// Every peer at an address that begins so.
    Prefix(Prefix),
}

impl From<PeerId> for Banned {
    fn from(peer: PeerId) -> Self {
        Self::Peer(peer)
    }
}

impl From<Prefix> for Banned {
    fn from(prefix: Prefix) -> Self {
        Self::Prefix(prefix)
    }
}

impl From<IpAddr> for Banned {
    fn from(ip: IpAddr) -> Self {
        let address = ip.to_canonical();
        Self::Prefix(Prefix { address, bits: if address.is_ipv4() { 32 } else { 128 } })
    }
}

/// A ban that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ban {
    /// Whom it is for.
    pub whom: Banned,
    /// When it ends, on the clock of [`Network::now`](crate::Network::now).
    pub until: Instant,
}

/// A connected peer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Peer {
    /// Who.
    pub peer: PeerId,
    /// Who set the link up.
    pub side: Side,
    /// The address the link was set up over; `None` for a memory link.
    pub address: Option<Multiaddr>,
    /// When the link came up, on the clock of [`Network::now`](crate::Network::now).
    pub since: Instant,
    /// The last round trip measured, writing and answering included; `None` before the first.
    pub rtt: Option<Duration>,
    /// Name and version of its program, as it says.
    pub agent: String,
    /// What it can do for others, as it says.
    pub services: Vec<Service>,
    /// The channels that both have, by id. None where the peer says no hello of the pull protocol.
    pub channels: Vec<SharedChannel>,
}

/// A channel that this node and a peer both have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct SharedChannel {
    /// Its id.
    pub id: u16,
    /// The version that both use: the highest that both have. Where it decides how a request, an answer or a raw stream is written, the
    /// application looks here first.
    pub version: u16,
}

impl SharedChannel {
    /// Those that a hello agreed on.
    pub(crate) fn all(hello: Option<&PeerHello>) -> Vec<Self> {
        let both = hello.into_iter().flat_map(|hello| hello.channels.iter().zip(&hello.limits));
        both.map(|(id, agreed)| Self { id: id.0, version: agreed.version }).collect()
    }
}
