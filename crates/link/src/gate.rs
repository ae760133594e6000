//! A node's own rule about connections, and how a refusal is put. Lists of networks and limits are `admission`'s.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use weir_base::identity::PeerId;
use weir_base::multiaddr::Multiaddr;
use weir_base::stream::Goodbye;

use crate::Network;

/// A connection that is about to be made, or used. Each is asked about at every step that it comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt<'a> {
    /// An address is about to be dialled.
    Dial {
        /// Who is expected there; `None`: whoever is.
        peer: Option<&'a PeerId>,
        /// The address. Names are resolved by now.
        remote: SocketAddr,
    },
    /// Somebody connects. Before a handshake is answered, and before it is known who it is. A first packet of QUIC may bear the
    /// address of somebody else.
    Accept {
        /// From where.
        from: IpAddr,
    },
    /// The other end has proven who it is. No byte of an application has moved, but for 0-RTT: replay-safe calls of a peer that had a
    /// link in this run may be served before. `quic.early = false` rules that out.
    Secured {
        /// Who.
        peer: &'a PeerId,
        /// Whether this side dialled.
        dialler: bool,
        /// Where it is; `None` for a wire.
        address: Option<&'a Multiaddr>,
    },
}

/// The type of a rule.
type Rule = dyn Fn(&Attempt<'_>) -> Result<(), Cow<'static, str>> + Send + Sync;

/// A node's own rule about connections: it is asked before each dial, at each accept and after each handshake, and says why
/// where it refuses. It is asked on the thread that drives the node, so it must not wait for anything.
#[derive(Clone)]
pub struct Gate(Arc<Rule>);

impl Gate {
    /// The rule that `rule` states.
    pub fn new(rule: impl Fn(&Attempt<'_>) -> Result<(), Cow<'static, str>> + Send + Sync + 'static) -> Self {
        Self(Arc::new(rule))
    }

    /// What it says of a connection.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn ask(&self, attempt: &Attempt<'_>) -> Result<(), Cow<'static, str>> {
        (self.0)(attempt)
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gate")
    }
}

/// Why this node refused a connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// There is no place for one more link (`admission.max_links`).
    #[error("{count} of {limit} links")]
    Links {
        /// How many there are.
        count: u32,
        /// How many there may be.
        limit: u32,
    },
    /// There is no place for one more that a peer dialled (`admission.max_inbound`).
    #[error("{count} of {limit} inbound links")]
    Inbound {
        /// How many there are.
        count: u32,
        /// How many there may be.
        limit: u32,
    },
    /// Too many come from there (`admission.inbound_per_ip`, `inbound_per_prefix`, `inbound_per_group`).
    #[error("{count} of {limit} inbound links from {network}")]
    Crowded {
        /// How many there are.
        count: u32,
        /// How many there may be.
        limit: u32,
        /// From where.
        network: Network,
    },
    /// Too many handshakes began there lately (`admission.handshakes_per_link`, `handshake_interval`).
    #[error("handshakes from {network} come too fast")]
    TooFast {
        /// From where.
        network: Network,
    },
    /// The peer is banned.
    #[error("the peer is banned for {} s more", .left.as_secs())]
    BannedPeer {
        /// For how long.
        left: Duration,
    },
    /// The address is in a network that is banned.
    #[error("{network} is banned for {} s more", .left.as_secs())]
    BannedNetwork {
        /// Which.
        network: Network,
        /// For how long.
        left: Duration,
    },
    /// It is in a network of `admission.deny`.
    #[error("{0} is in `admission.deny`")]
    Denied(Network),
    /// It is in no network of `admission.allow`.
    #[error("{0} is in no network of `admission.allow`")]
    NotAllowed(IpAddr),
    /// The node's own rule says so.
    #[error("{0}")]
    Gate(Cow<'static, str>),
}

impl Refusal {
    /// What the peer is told, where it has proven who it is.
    pub(crate) fn goodbye(&self) -> Goodbye {
        match self {
            Self::Links { .. } | Self::Inbound { .. } | Self::Crowded { .. } => Goodbye::Full,
            Self::BannedPeer { .. } | Self::BannedNetwork { .. } => Goodbye::Banned,
            Self::TooFast { .. } | Self::Denied(_) | Self::NotAllowed(_) | Self::Gate(_) => Goodbye::Asked,
        }
    }
}
