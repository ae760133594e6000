//! What nodes carried, and what wishes of theirs the network fulfils.

use std::net::SocketAddr;

use weir_base::Instant;
use weir_stack::{Action, Frame, Input, Stack, WireId};

use super::{Host, Node, NodeId, Tamper};

/// What a node's lines carried, as the network counted it: payload of UDP, or frames with their length prefix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeTraffic {
    /// Bytes that came in.
    pub bytes_in: u64,
    /// Bytes that went out, lost ones included.
    pub bytes_out: u64,
    /// Frames and datagrams that came in.
    pub packets_in: u64,
    /// Frames and datagrams that went out.
    pub packets_out: u64,
    /// Datagrams dropped because a queue before one of its lines was full.
    pub dropped: u64,
}

impl NodeTraffic {
    pub(super) const fn sent(&mut self, len: usize) {
        self.bytes_out += len as u64;
        self.packets_out += 1;
    }

    pub(super) const fn received(&mut self, len: usize) {
        self.bytes_in += len as u64;
        self.packets_in += 1;
    }

    pub(super) const fn dropped(&mut self) {
        self.dropped += 1;
    }
}

/// A datagram as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captured {
    /// When.
    pub at: Instant,
    /// From which address.
    pub from: SocketAddr,
    /// To which node.
    pub to: NodeId,
    /// What.
    pub bytes: Vec<u8>,
}

/// A tampering peer between its stack and the network.
pub(super) struct Tampering {
    pub(super) by: Box<dyn Tamper>,
    pub(super) back: Vec<(WireId, Frame)>, // for its own stack
}

impl<N: Node> Host<N> {
    /// What a node's lines carried so far.
    pub fn traffic(&self, id: NodeId) -> NodeTraffic {
        self.seats.get(super::index(id)).map(|seat| seat.traffic).unwrap_or_default()
    }

    /// From now on `by` stands between a node's stack and its wires.
    pub fn tamper(&mut self, id: NodeId, by: Box<dyn Tamper>) {
        if let Some(seat) = self.seat(id) {
            seat.tamper = Some(Tampering { by, back: Vec::new() });
        }
    }

    /// Hands a stack what its tamperer has for it.
    pub(super) fn tampered(&mut self, id: NodeId, stack: &mut Stack) -> bool {
        let now = self.now;
        let Some(tamper) = self.seat(id).and_then(|seat| seat.tamper.as_mut()) else { return false };
        let back = std::mem::take(&mut tamper.back);
        let any = !back.is_empty();
        back.into_iter().for_each(|(wire, frame)| stack.handle(now, Input::Frame(wire, frame)));
        any
    }

    pub(super) fn act(&mut self, id: NodeId, action: Action, node: &mut N) {
        match action {
            Action::DialWire { dial, endpoint } => self.dial_wire(id, dial, endpoint),
            Action::CloseWire(wire) => self.close_wire(id, wire),
            other => node.action(self.now, other),
        }
    }
}
