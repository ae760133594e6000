//! Byte streams between the nodes of the test network: what a system's TCP is to a host, in pieces of any size.

use std::collections::VecDeque;
use std::net::SocketAddr;

use bytes::Bytes;

use super::harness::{Flying, Net};
use crate::{PipeChange, PipeId, PipeTransmit};

/// Pieces are of all sizes up to this, in bytes.
const PIECE_MAX: usize = 1400;

/// One end of a byte stream.
pub(crate) struct Tube {
    other: (usize, PipeId),
    arrived: VecDeque<Piece>, // and not read by the node
    outstanding: usize,       // given to the system and not read at the other end
    rest: VecDeque<Piece>,    // what the system did not take
}

/// What moves on one.
pub(crate) enum Piece {
    Bytes(Bytes),
    Change(PipeChange),
}

impl Net {
    pub(super) fn connect_tube(&mut self, from: usize, mine: PipeId, remote: SocketAddr) {
        let Some(to) = self.nodes.iter().position(|node| node.address == remote) else {
            return self.fly(from, Flying::Piece(mine, Piece::Change(PipeChange::Failed)));
        };
        let theirs = PipeId(self.tubes * 2 + 1);
        self.tubes += 1;
        let tube = |other| Tube { other, arrived: VecDeque::new(), outstanding: 0, rest: VecDeque::new() };
        self.nodes[from].pipes.insert(mine, tube((to, theirs)));
        self.nodes[to].pipes.insert(theirs, tube((from, mine)));
        let remote = self.nodes[from].address;
        self.fly(to, Flying::Piece(theirs, Piece::Change(PipeChange::Accepted { remote })));
        self.fly(from, Flying::Piece(mine, Piece::Change(PipeChange::Connected)));
    }

    pub(super) fn close_tube(&mut self, node: usize, pipe: PipeId) {
        if let Some(tube) = self.nodes[node].pipes.remove(&pipe) {
            self.fly(tube.other.0, Flying::Piece(tube.other.1, Piece::Change(PipeChange::Closed)));
        }
    }

    /// The system takes what a node gives, as far as it has room.
    pub(super) fn tube_out(&mut self, node: usize, transmit: PipeTransmit, mut bytes: Bytes) {
        let mut serial = bytes.len();
        let Some(tube) = self.nodes[node].pipes.get_mut(&transmit.pipe) else { return };
        assert!(tube.rest.is_empty(), "nothing is given while it is blocked");
        while !bytes.is_empty() {
            serial += 1;
            let len = bytes.len().min(1 + serial * 577 % PIECE_MAX);
            tube.rest.push_back(Piece::Bytes(bytes.split_to(len)));
        }
        if transmit.finish {
            tube.rest.push_back(Piece::Change(PipeChange::Finished));
        }
        self.flush_tube(node, transmit.pipe);
        if self.nodes[node].pipes.get(&transmit.pipe).is_some_and(|tube| !tube.rest.is_empty()) {
            let now = self.now;
            self.nodes[node].links.handle_pipe(now, transmit.pipe, PipeChange::Blocked);
        }
    }

    fn flush_tube(&mut self, node: usize, pipe: PipeId) {
        while let Some(tube) = self.nodes[node].pipes.get_mut(&pipe)
            && tube.outstanding < self.system
            && let Some(piece) = tube.rest.pop_front()
        {
            if let Piece::Bytes(bytes) = &piece {
                tube.outstanding += bytes.len();
            }
            let (to, theirs) = tube.other;
            self.fly(to, Flying::Piece(theirs, piece));
        }
    }

    pub(super) fn arrived(&mut self, node: usize, pipe: PipeId, piece: Piece) {
        if let Piece::Change(PipeChange::Failed) = piece {
            let now = self.now;
            return self.nodes[node].links.handle_pipe(now, pipe, PipeChange::Failed);
        }
        let Some(tube) = self.nodes[node].pipes.get_mut(&pipe) else { return };
        tube.arrived.push_back(piece);
        self.tube_in(node, pipe);
    }

    /// A node reads as far as it has room.
    pub(super) fn tube_in(&mut self, node: usize, pipe: PipeId) {
        let now = self.now;
        loop {
            let node_ref = &mut self.nodes[node];
            let Some(tube) = node_ref.pipes.get_mut(&pipe) else { return };
            let Some(piece) = tube.arrived.pop_front() else { return };
            let Piece::Bytes(mut bytes) = piece else {
                let Piece::Change(change) = piece else { return };
                if change == PipeChange::Closed {
                    node_ref.pipes.remove(&pipe);
                }
                node_ref.links.handle_pipe(now, pipe, change);
                continue;
            };
            let other = tube.other;
            let mut len = 0;
            node_ref.links.read_pipe(now, pipe, &mut vec![0; self.system], &mut |memory| {
                len = memory.len().min(bytes.len());
                memory[..len].copy_from_slice(&bytes.split_to(len));
                len
            });
            if !bytes.is_empty() {
                tube.arrived.push_front(Piece::Bytes(bytes));
            }
            if len == 0 {
                return;
            }
            self.was_read(other, len);
        }
    }

    /// The other end read so much: the system takes more.
    fn was_read(&mut self, (node, pipe): (usize, PipeId), len: usize) {
        let Some(tube) = self.nodes[node].pipes.get_mut(&pipe) else { return };
        tube.outstanding -= len;
        if tube.rest.is_empty() {
            return;
        }
        self.flush_tube(node, pipe);
        if self.nodes[node].pipes.get(&pipe).is_some_and(|tube| tube.rest.is_empty()) {
            let now = self.now;
            self.nodes[node].links.handle_pipe(now, pipe, PipeChange::Writable);
        }
    }
}
