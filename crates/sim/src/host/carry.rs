//! What nodes carried, and who stands between a node and the network.

use std::net::SocketAddr;

use bytes::BytesMut;
use weir_base::Instant;
use weir_stack::{Frame, Input, Stack, Transmit, WireId};

use super::process::Output;
use super::{NodeId, Outcome, Tamper};

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
    /// Datagrams that came in after one that the same node had sent later.
    pub overtaken: u64,
    /// Datagrams and pieces of byte streams that went out, of which the path turned a bit.
    pub altered: u64,
    /// Datagrams that came in marked (ECN): they waited long before a line.
    pub marked: u64,
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
    by: Box<dyn Tamper>,
    back: Vec<(WireId, Frame)>, // for its own stack
}

impl Tampering {
    pub(super) fn new(by: Box<dyn Tamper>) -> Self {
        Self { by, back: Vec::new() }
    }

    /// A frame of the stack for a wire: what leaves instead.
    pub(super) fn outgoing(&mut self, now: Instant, wire: WireId, frame: Frame, leaving: &mut Vec<Output>) {
        let mut out = Outcome::default();
        self.by.outgoing(now, wire, frame, &mut out);
        self.back.extend(out.receive.into_iter().map(|frame| (wire, frame)));
        leave(wire, out.send, out.on, leaving);
    }

    /// A frame of a wire for the stack: what it is given instead.
    pub(super) fn incoming(
        &mut self,
        now: Instant,
        wire: WireId,
        frame: Frame,
        leaving: &mut Vec<Output>,
    ) -> Vec<Frame> {
        let mut out = Outcome::default();
        self.by.incoming(now, wire, frame, &mut out);
        leave(wire, out.send, out.on, leaving);
        out.receive
    }

    /// A datagram of the stack: what leaves instead.
    pub(super) fn datagram(
        &mut self,
        now: Instant,
        transmit: Transmit,
        bytes: BytesMut,
        leaving: &mut Vec<Output>,
    ) {
        let instead = self.by.datagram(now, bytes);
        leaving.extend(instead.into_iter().map(|(pause, bytes)| {
            let transmit = Transmit { len: bytes.len(), segment: None, ..transmit };
            Output::Datagrams { transmit, bytes, pause }
        }));
    }

    /// Bytes of the stack for a byte stream, to be changed.
    pub(super) fn stream(&mut self, now: Instant, bytes: &mut [u8]) {
        self.by.stream(now, bytes);
    }

    /// Hands a stack what there is for it.
    pub(super) fn hand_back(&mut self, now: Instant, stack: &mut Stack) -> bool {
        let back = std::mem::take(&mut self.back);
        let any = !back.is_empty();
        back.into_iter().for_each(|(wire, frame)| stack.handle(now, Input::Frame(wire, frame)));
        any
    }

    /// Lets it act where its time has come.
    pub(super) fn handle_timeout(&mut self, now: Instant, leaving: &mut Vec<Output>) {
        if self.by.poll_timeout().is_some_and(|due| due <= now) {
            let mut out = Outcome::default();
            self.by.handle_timeout(now, &mut out);
            leaving.extend(out.on.into_iter().map(|(wire, frame)| Output::Frame(wire, frame)));
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.by.poll_timeout()
    }
}

fn leave(wire: WireId, send: Vec<Frame>, on: Vec<(WireId, Frame)>, leaving: &mut Vec<Output>) {
    leaving.extend(send.into_iter().map(|frame| Output::Frame(wire, frame)));
    leaving.extend(on.into_iter().map(|(wire, frame)| Output::Frame(wire, frame)));
}
