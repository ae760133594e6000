//! What a node is to its host, and what stands between a node and the network.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use weir_base::Instant;
use weir_stack::{Action, Frame, Stack, Start, WireId};

use crate::id::NodeId;

/// What a simulated node is, to its host.
pub trait Node {
    /// Its stack.
    fn stack(&mut self) -> &mut Stack;
    /// Something happened: takes the stack's events and does what follows. `true`: it gave the stack anything, so that the
    /// stack is drained and this is called again. Must return `false` in the end.
    fn turned(&mut self, now: Instant) -> bool;
    /// What the stack wants of its host, but for wires, which the network sets up by itself.
    fn action(&mut self, _now: Instant, _action: Action) {}
    /// What its computer planned for it is due.
    fn planned(&mut self, _now: Instant, _number: u64) {}
    /// Verdicts that its application gave since the last call, each of which takes the processor time of one.
    fn verdicts(&mut self) -> u64 {
        0
    }
    /// When it wants a turn of its own; the stack's timeouts are the host's matter.
    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}

/// What comes between a stack and the network: how misbehaving peers are made of honest ones.
pub trait Tamper: Send {
    /// A frame of the stack; puts what the network is to carry instead into `out`.
    fn outgoing(&mut self, now: Instant, wire: WireId, frame: Frame, out: &mut Outcome);
    /// A frame of the peer; puts what the stack is to see instead into `out`.
    fn incoming(&mut self, now: Instant, wire: WireId, frame: Frame, out: &mut Outcome);
    /// A datagram of the stack: what the network is to carry instead, each after so long.
    fn datagram(&mut self, _now: Instant, bytes: BytesMut) -> Vec<(Duration, BytesMut)> {
        vec![(Duration::ZERO, bytes)]
    }
    /// Bytes of the stack for a byte stream; it may change them.
    fn stream(&mut self, _now: Instant, _bytes: &mut [u8]) {}
    /// When it wants to act by itself.
    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
    /// It is time; only [`Outcome::on`] counts.
    fn handle_timeout(&mut self, _now: Instant, _out: &mut Outcome) {}
}

/// What a [`Tamper`] makes of one frame.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Frames for the network.
    pub send: Vec<Frame>,
    /// Frames for its own stack.
    pub receive: Vec<Frame>,
    /// Frames for the network, on any wire.
    pub on: Vec<(WireId, Frame)>,
}

/// What a node is born with.
#[derive(Clone, Copy, Debug)]
pub struct Birth {
    /// Its number.
    pub id: NodeId,
    /// A seed of its own, derived from the run's. After a restart another one.
    pub seed: [u8; 32],
    /// For `Stack::new`.
    pub start: Start,
    /// The endpoint others dial for a wire of frames: `/memory/N`.
    pub endpoint: u64,
    /// The address of its UDP socket, `SocketId(0)`.
    pub udp: SocketAddr,
    /// Virtual time at its birth.
    pub now: Instant,
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// This node had a turn.
    Turned(NodeId),
    /// A timer of the driver is due; its number.
    Timer(u64),
    /// Something moved inside the network.
    Network,
}

/// Whether nodes have a UDP socket beside their wires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Udp {
    /// They have; QUIC works.
    Bound,
    /// They have none; only frames work.
    None,
}

/// Whether a node and its machine run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Power {
    /// Both do.
    Running,
    /// The process does nothing; its system does.
    Hung,
    /// There is no process; the system resets what comes for it.
    Stopped,
    /// Nothing answers.
    Off,
}

impl Power {
    /// Whether the process is there.
    pub(super) const fn is_up(self) -> bool {
        matches!(self, Self::Running | Self::Hung)
    }
}

/// The earlier of the two, or the one there is.
pub(super) fn earliest(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
