//! What is wrong between two nodes: one state per direction, which handshakes, data, closing and crashing obey alike.

use std::collections::btree_map::Entry;

use super::seat::Seat;
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

/// Both directions, as one of the two nodes has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Paths {
    pub(super) to: Path,
    pub(super) from: Path,
}

impl<N: Node> Seat<N> {
    /// How the path to a node fares.
    pub(super) fn path_to(&self, peer: NodeId) -> Path {
        if self.paths.is_empty() {
            return Path::Open;
        }
        self.paths.get(&peer).map(|paths| paths.to).unwrap_or_default()
    }

    /// Whether acknowledgements of a node do not arrive.
    pub(super) fn is_deaf_to(&self, peer: NodeId) -> bool {
        !self.paths.is_empty() && self.paths.get(&peer).is_some_and(|paths| paths.from == Path::Silent)
    }

    fn set_paths(&mut self, peer: NodeId, change: impl FnOnce(&mut Paths)) {
        let mut paths = self.paths.get(&peer).copied().unwrap_or_default();
        change(&mut paths);
        match self.paths.entry(peer) {
            Entry::Occupied(entry) if paths == Paths::default() => drop(entry.remove()),
            Entry::Occupied(mut entry) => *entry.get_mut() = paths,
            Entry::Vacant(entry) => drop(entry.insert(paths)),
        }
    }
}

impl<N: Node> Host<N> {
    /// From now on the path from one node to another fares like this; the way back is as it was.
    pub fn set_path(&mut self, from: NodeId, to: NodeId, path: Path) {
        if index(from).max(index(to)) >= self.seats.len() {
            return;
        }
        let state = (u64::from(to.0) << 8) | path as u64;
        self.seats[index(from)].now = self.now;
        self.seats[index(to)].now = self.now;
        self.seats[index(from)].note(Traced::number(Kind::Path, state));
        self.seats[index(from)].set_paths(to, |paths| paths.to = path);
        self.seats[index(to)].set_paths(from, |paths| paths.from = path);
        match path {
            Path::Open => {
                self.seats[index(from)].path_opened(&self.world, to);
                self.seats[index(to)].path_opened(&self.world, from); // acknowledgements come again
            }
            Path::Silent => {}
            Path::Resetting => {
                self.seats[index(from)].reset_wires(to);
                self.seats[index(to)].reset_wires(from);
            }
        }
        self.settle(from);
        self.settle(to);
    }

    /// How the path from one node to another fares.
    pub fn path(&self, from: NodeId, to: NodeId) -> Path {
        self.seats.get(index(from)).map(|seat| seat.path_to(to)).unwrap_or_default()
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
