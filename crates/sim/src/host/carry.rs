//! What a node sends, and who stands between it and the network.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use weir_base::Instant;
use weir_stack::{DialId, Frame, Input, PipeChange, PipeId, Stack, Transmit, WireId};

use super::bridge::{Bridge, Scope};
use super::bridges::Bridges;
use super::node::{Outcome, Tamper, earliest};
use super::system::System;

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
    bridges: Option<Bridges>,   // where it stands inside the encryption of byte streams
}

impl Tampering {
    pub(super) fn new(by: Box<dyn Tamper>) -> Self {
        Self { by, back: Vec::new(), bridges: None }
    }

    /// Byte streams that are connected from now on go over bridges.
    pub(super) fn inside(by: Box<dyn Tamper>, bridges: Bridges) -> Self {
        Self { by, back: Vec::new(), bridges: Some(bridges) }
    }

    /// A byte stream may be connected now: then it goes over a bridge.
    pub(super) fn connected(&mut self, system: &System, now: Instant, pipe: PipeId, change: PipeChange) {
        let dialled = match change {
            PipeChange::Connected => true,
            PipeChange::Accepted { .. } => false,
            _ => return,
        };
        let end = system.wires.pipes.get(&pipe).and_then(|wire| system.wires.ends.get(wire));
        if let (Some(bridges), Some(end)) = (&mut self.bridges, end) {
            bridges.begin(pipe, end.peer, dialled, now);
        }
    }

    /// Whether a byte stream goes over a bridge.
    pub(super) fn has_bridge(&self, pipe: PipeId) -> bool {
        self.bridges.as_ref().is_some_and(|bridges| bridges.has(pipe))
    }

    /// Lets the bridge of a byte stream act, where it goes over one. Whether it does.
    pub(super) fn on_bridge(
        &mut self,
        (now, stack): (Instant, &mut Stack),
        pipe: PipeId,
        leaving: &mut Vec<Output>,
        act: impl FnOnce(&mut Bridge, &mut Scope<'_>),
    ) -> bool {
        let Some(bridges) = &mut self.bridges else { return false };
        let by = self.by.as_mut();
        bridges.act(pipe, &mut Scope { now, by, stack, leaving }, act)
    }

    /// The stack has closed a byte stream.
    pub(super) fn forget(&mut self, pipe: PipeId) {
        self.bridges.iter_mut().for_each(|bridges| bridges.forget(pipe));
    }

    /// The node is gone.
    pub(super) fn clear(&mut self) {
        self.bridges.iter_mut().for_each(Bridges::clear);
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
    pub(super) fn handle_timeout(&mut self, now: Instant, stack: &mut Stack, leaving: &mut Vec<Output>) {
        if self.by.poll_timeout().is_some_and(|due| due <= now) {
            let mut out = Outcome::default();
            self.by.handle_timeout(now, &mut out);
            for (wire, frame) in out.on {
                if self.has_bridge(PipeId(wire.0)) {
                    self.on_bridge((now, &mut *stack), PipeId(wire.0), leaving, |bridge, scope| {
                        bridge.release(scope, frame);
                    });
                } else {
                    leaving.push(Output::Frame(wire, frame));
                }
            }
        }
        if let Some(bridges) = &mut self.bridges {
            bridges.handle_timeout(&mut Scope { now, by: self.by.as_mut(), stack, leaving });
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        earliest(self.by.poll_timeout(), self.bridges.as_ref().and_then(Bridges::poll_timeout))
    }
}

fn leave(wire: WireId, send: Vec<Frame>, on: Vec<(WireId, Frame)>, leaving: &mut Vec<Output>) {
    leaving.extend(send.into_iter().map(|frame| Output::Frame(wire, frame)));
    leaving.extend(on.into_iter().map(|(wire, frame)| Output::Frame(wire, frame)));
}
