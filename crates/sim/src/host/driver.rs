//! What the driver of a run does between nodes: paths that fail, datagrams from anywhere.

use std::net::SocketAddr;

use bytes::BytesMut;

use super::Host;
use super::datagrams::DRIVER;
use super::node::Node;
use super::paths::Path;
use super::traffic::Captured;
use super::world::Due;
use crate::id::NodeId;
use crate::queue::Key;
use crate::trace::{Kind, Traced};

impl<N: Node> Host<N> {
    /// From now on the path from one node to another fares like this; the way back is as it was.
    pub fn set_path(&mut self, from: NodeId, to: NodeId, path: Path) {
        if from.index().max(to.index()) >= self.computers.len() {
            return;
        }
        let state = (u64::from(to.0) << 8) | path as u64;
        let world = &self.world;
        self.computers[from.index()].system.now = self.now;
        self.computers[to.index()].system.now = self.now;
        let sender = &mut self.computers[from.index()].system;
        sender.note(Traced::number(Kind::Path, state));
        sender.paths.set_to(to, path);
        match path {
            Path::Open => sender.path_opened(world, to),
            Path::Silent => {}
            Path::Resetting => sender.reset_wires(to),
        }
        let receiver = &mut self.computers[to.index()].system;
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

    /// A datagram from anywhere arrives at a node now: for attackers that replay or forge.
    pub fn inject(&mut self, from: SocketAddr, to: NodeId, bytes: &[u8]) {
        self.injected += 1;
        let key = Key { due: self.now, from: DRIVER, sequence: self.injected };
        let (port, data) = (self.world.udp_of(to).port(), BytesMut::from(bytes));
        let due = Due::Datagram { remote: from, port, ecn: None, data, lined: false };
        if let Some(computer) = self.computers.get_mut(to.index()) {
            computer.system.agenda.push(key, due);
        }
        self.settle(to);
    }

    /// Keeps a copy of every datagram sent from now on; what was captured before is returned, in the order of sending.
    pub fn capture(&mut self) -> Vec<Captured> {
        let records = self.computers.iter_mut().map(|computer| &mut computer.system.record);
        let mut all: Vec<Captured> =
            records.filter_map(|record| record.captured.replace(Vec::new())).flatten().collect();
        all.sort_by_key(|captured| captured.at);
        self.capturing = true;
        all
    }
}
