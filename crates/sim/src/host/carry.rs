//! What a node sends, and who stands between it and the network.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use weir_base::Instant;
use weir_stack::{DialId, Frame, Input, PipeId, Stack, Transmit, WireId};

use super::node::{Outcome, Tamper};

/// What a turn sends and asks for, when it ends.
#[derive(Debug)]
pub(super) enum Output {
    Frame(WireId, Frame),
    Datagrams { transmit: Transmit, bytes: BytesMut, pause: Duration },
    Dial { dial: DialId, endpoint: u64 },
    Close(WireId),
    DialPipe { pipe: PipeId, remote: SocketAddr },
    Bytes { pipe: PipeId, bytes: Bytes, finish: bool },
    ClosePipe(PipeId),
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
