//! What peers say of themselves by libp2p's identify.

use weir_base::multiaddr::Multiaddr;
use weir_base::{LinkId, ProtocolId};

use super::{Linked, Peers, Speaks};

/// What a peer said by libp2p's identify, as far as this node uses it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Name and version of its program, as it says: at most 256 bytes; empty where it does not.
    pub agent: String,
    /// Those of its protocols that have a number here, in order.
    pub protocols: Vec<ProtocolId>,
    /// Where it sees this node, as it says.
    pub observed: Option<Multiaddr>,
}

impl Heard {
    /// A later word replaces what it says, and leaves the rest.
    fn replace(&mut self, later: Self) {
        if !later.agent.is_empty() {
            self.agent = later.agent;
        }
        if !later.protocols.is_empty() {
            self.protocols = later.protocols;
        }
        self.observed = later.observed.or(self.observed.take());
    }

    /// Adds it to what is known otherwise.
    pub(super) fn add_to(&self, known: &mut Speaks) {
        known.protocols.extend(&self.protocols);
        known.protocols.sort_unstable();
        known.protocols.dedup();
        if known.agent.is_empty() {
            known.agent.clone_from(&self.agent);
        }
    }
}

/// Notes what the peer of a link said.
pub(crate) fn hear(peers: &mut Peers, link: LinkId, heard: Heard) -> Option<&Linked> {
    let linked = peers.links.get_mut(&link)?;
    let all = linked.heard.get_or_insert_default();
    all.replace(heard);
    if let Some(known) = &mut linked.known {
        all.add_to(known);
    }
    Some(linked)
}

/// Notes that the peer of a link says no hello.
pub(crate) fn note_no_hello(peers: &mut Peers, link: LinkId) -> Option<&Linked> {
    let linked = peers.links.get_mut(&link)?;
    linked.no_hello = true;
    Some(linked)
}
