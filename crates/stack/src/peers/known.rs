//! Peers that may be dialled, as the configuration and the address book name them.

use serde::{Deserialize, Serialize};
use weir_base::identity::PeerId;
use weir_base::multiaddr::Multiaddr;

/// What a known peer is to this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// One that may be dialled when links are wanted, and forgotten when it does not answer.
    Candidate,
    /// One that is always dialled and never given up.
    Persistent,
    /// A persistent one that counts as this node's own choice in all that is shared, whoever dialled.
    Pinned,
}

/// A peer to be dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Who it should be; `None` takes whoever answers at the addresses.
    pub peer: Option<PeerId>,
    /// Where it may be: 1 to [`Config::max_addresses`](super::Config::max_addresses), in the order of preference.
    pub addresses: Vec<Multiaddr>,
    /// What it is to this node.
    pub role: Role,
}
