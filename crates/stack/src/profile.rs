//! What a node speaks: code, not configuration.

use weir_base::NetworkId;
use weir_pull::{Channel, Service};

use crate::named::NamedProtocol;

/// What a node speaks and offers: the same on all nodes of a network, but for `agent` and `services`.
#[derive(Clone, Debug)]
pub struct Profile {
    /// The network; links to others are refused.
    pub network: NetworkId,
    /// Name and version of the program, for people: at most 64 bytes.
    pub agent: String,
    /// What this node can do for others: at most 16.
    pub services: Vec<Service>,
    /// The channels: at most 64, ids and names unique.
    pub channels: Vec<Channel>,
    /// Other people's protocols, by name: at most 64 names in all, each of one protocol.
    pub protocols: Vec<NamedProtocol>,
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            network: NetworkId([0; 32]),
            agent: concat!("weir/", env!("CARGO_PKG_VERSION")).into(),
            services: Vec::new(),
            channels: Vec::new(),
            protocols: Vec::new(),
        }
    }
}
