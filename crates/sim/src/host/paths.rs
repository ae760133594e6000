//! What is wrong between two nodes: one state per direction, which handshakes, data, closing and crashing obey alike.

use std::collections::BTreeMap;

use crate::id::NodeId;

/// How one direction between two nodes fares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Path {
    /// It carries.
    #[default]
    Open,
    /// It swallows everything, and nobody is told. Frames wait at their sender, whose system tries again after longer and
    /// longer pauses; datagrams are lost.
    Silent,
    /// Somebody between the nodes resets wires: those there are end at both ends, dials are refused. Datagrams are lost.
    Resetting,
}

/// Both directions to one other node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Both {
    to: Path,
    from: Path,
}

/// The paths of one node that are not as they should be.
#[derive(Debug, Default)]
pub(super) struct Paths(BTreeMap<NodeId, Both>);

impl Paths {
    /// How the path to a node fares.
    pub(super) fn to(&self, peer: NodeId) -> Path {
        self.both(peer).to
    }

    /// Whether acknowledgements of a node do not arrive.
    pub(super) fn is_deaf_to(&self, peer: NodeId) -> bool {
        self.both(peer).from == Path::Silent
    }

    fn both(&self, peer: NodeId) -> Both {
        if self.0.is_empty() { Both::default() } else { self.0.get(&peer).copied().unwrap_or_default() }
    }

    pub(super) fn set_to(&mut self, peer: NodeId, to: Path) {
        self.set(peer, Both { to, ..self.both(peer) });
    }

    pub(super) fn set_from(&mut self, peer: NodeId, from: Path) {
        self.set(peer, Both { from, ..self.both(peer) });
    }

    fn set(&mut self, peer: NodeId, both: Both) {
        if both == Both::default() {
            self.0.remove(&peer);
        } else {
            self.0.insert(peer, both);
        }
    }
}
