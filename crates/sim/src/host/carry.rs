//! What nodes carried, and who stands between a node and the network.

use std::net::SocketAddr;

use weir_base::Instant;
use weir_stack::{Frame, Input, Stack, WireId};

use super::seat::{Output, Seat};
use super::{Host, Node, NodeId, Outcome, Tamper, index};

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
    /// Bytes of IP's, UDP's and TCP's headers that went out, acknowledgements of frames included. They are not in `bytes_out`.
    pub headers_out: u64,
    /// Datagrams dropped because a queue before one of its lines or its socket's buffer was full, and frames that had to be
    /// sent again for that.
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

    pub(super) const fn headers(&mut self, bytes: u64) {
        self.headers_out += bytes;
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
    back: Vec<(WireId, Frame)>, // for its own stack
}

impl<N: Node> Host<N> {
    /// What a node's lines carried so far.
    pub fn traffic(&self, id: NodeId) -> NodeTraffic {
        self.seats.get(index(id)).map(|seat| seat.traffic).unwrap_or_default()
    }

    /// From now on `by` stands between a node's stack and its wires.
    pub fn tamper(&mut self, id: NodeId, by: Box<dyn Tamper>) {
        if let Some(seat) = self.seats.get_mut(index(id)) {
            seat.tamper = Some(Tampering { by, back: Vec::new() });
        }
    }
}

impl<N: Node> Seat<N> {
    /// The stack has a frame for a wire.
    pub(super) fn put_out(&mut self, local: Instant, wire: WireId, frame: Frame) {
        let Some(tamper) = &mut self.tamper else { return self.leaving.push(Output::Frame(wire, frame)) };
        let mut out = Outcome::default();
        tamper.by.outgoing(local, wire, frame, &mut out);
        tamper.back.extend(out.receive.into_iter().map(|frame| (wire, frame)));
        self.leaving.extend(out.send.into_iter().map(|frame| Output::Frame(wire, frame)));
        self.leaving.extend(out.on.into_iter().map(|(wire, frame)| Output::Frame(wire, frame)));
    }

    /// Hands a stack what its tamperer has for it.
    pub(super) fn tampered(&mut self, local: Instant, stack: &mut Stack) -> bool {
        let Some(tamper) = &mut self.tamper else { return false };
        let back = std::mem::take(&mut tamper.back);
        let any = !back.is_empty();
        back.into_iter().for_each(|(wire, frame)| stack.handle(local, Input::Frame(wire, frame)));
        any
    }

    /// A tamperer's timer.
    pub(super) fn tamper_due(&mut self, local: Instant) {
        let Some(tamper) = &mut self.tamper else { return };
        if tamper.by.poll_timeout().is_some_and(|due| due <= local) {
            let mut out = Outcome::default();
            tamper.by.handle_timeout(local, &mut out);
            self.leaving.extend(out.on.into_iter().map(|(wire, frame)| Output::Frame(wire, frame)));
        }
    }

    pub(super) fn tamper_timeout(&self) -> Option<Instant> {
        self.tamper.as_ref().and_then(|tamper| tamper.by.poll_timeout())
    }
}
