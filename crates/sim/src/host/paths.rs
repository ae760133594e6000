//! What is wrong between two nodes: one state per direction, which handshakes, data, closing and crashing obey alike.

use std::collections::BTreeMap;

use super::{Host, Node, NodeId, index};
use crate::trace::{Kind, Traced};

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

    fn set_to(&mut self, peer: NodeId, to: Path) {
        self.set(peer, Both { to, ..self.both(peer) });
    }

    fn set_from(&mut self, peer: NodeId, from: Path) {
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

impl<N: Node> Host<N> {
    /// From now on the path from one node to another fares like this; the way back is as it was.
    pub fn set_path(&mut self, from: NodeId, to: NodeId, path: Path) {
        if index(from).max(index(to)) >= self.computers.len() {
            return;
        }
        let state = (u64::from(to.0) << 8) | path as u64;
        let world = &self.world;
        self.computers[index(from)].system.now = self.now;
        self.computers[index(to)].system.now = self.now;
        let sender = &mut self.computers[index(from)].system;
        sender.note(Traced::number(Kind::Path, state));
        sender.paths.set_to(to, path);
        match path {
            Path::Open => sender.path_opened(world, to),
            Path::Silent => {}
            Path::Resetting => sender.reset_wires(to),
        }
        let receiver = &mut self.computers[index(to)].system;
        receiver.paths.set_from(from, path);
        match path {
            Path::Open => receiver.path_opened(world, from), // acknowledgements come again
            Path::Silent => {}
            Path::Resetting => receiver.reset_wires(from),
        }
        self.settle(from);
        self.settle(to);
    }

    /// Nothing from `from` reaches `to` any more; the other way still works: [`Path::Silent`].
    pub fn block(&mut self, from: NodeId, to: NodeId) {
        self.set_path(from, to, Path::Silent);
    }

    /// What [`block`](Self::block) did ends.
    pub fn heal(&mut self, from: NodeId, to: NodeId) {
        self.set_path(from, to, Path::Open);
    }
}
