//! Peers as an operator sees them.

use std::time::Duration;

use weir_base::Instant;
use weir_base::identity::PeerId;
use weir_base::multiaddr::Multiaddr;
use weir_base::stream::Side;
use weir_pull::Service;
use weir_stack::Refused;

use crate::error::Retry;

/// A connected peer.
#[derive(Clone, Debug)]
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
}

/// Why a wish about a peer was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// The address cannot be parsed.
    #[error("not an address: {0}")]
    Address(String),
    /// The node refused; nothing has happened.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The node has stopped.
    #[error("the node has stopped")]
    Stopped,
}

impl PeerError {
    /// Whether to try again.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Refused(Refused::Limit) => Retry::Soon,
            Self::Refused(_) | Self::Address(_) | Self::Stopped => Retry::Never,
        }
    }
}
