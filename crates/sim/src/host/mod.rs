//! The simulated host: nodes, the network between them, and virtual time, on one thread.
//!
//! - [`Host::add`] puts a node in; it gets its [`Birth`]: a seed derived from the run's, where time starts, its addresses;
//! - the driver gives a node's stack commands by [`Host::with`], which then lets the node have its turn;
//! - [`Host::step`] delivers what comes next: a frame, a datagram, a timeout, a change of a wire, or a timer of the driver;
//! - a **turn** drains the node: its events ([`Node::turned`]), then frames and datagrams into the network, then actions.
//!
//! A node costs work only when something happens to it: it has one entry for its next timeout in the queue, moved lazily.
//! Everything random comes from the run's seed, in the order of events, so that the same seed gives the same run.

mod carry;
mod datagrams;
mod life;
mod wires;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use weir_base::identity::PeerId;
use weir_base::{Instant, Rng, UnixTime};
use weir_stack::{Action, Anchor, Frame, Input, Stack, Start, Transmit, WireId};

use crate::check::Checker;
use crate::model::{Model, Place};
use crate::queue::Queue;
use crate::trace::{Trace, Traced};

pub use carry::{Captured, NodeTraffic};
use wires::Wire;

/// Wall time at which every run starts: 2026-01-01 00:00 UTC.
pub const WALL: UnixTime = UnixTime::from_secs(1_767_225_600);

/// A node's number within its host: from 0, in the order of [`Host::add`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u32);

/// What a simulated node is, to its host.
pub trait Node {
    /// Its stack.
    fn stack(&mut self) -> &mut Stack;
    /// Something happened: takes the stack's events and does what follows. `true`: it gave the stack anything, so that the
    /// stack is drained and this is called again. Must return `false` in the end.
    fn turned(&mut self, now: Instant) -> bool;
    /// What the stack wants of its host, but for wires, which the network sets up by itself.
    fn action(&mut self, _now: Instant, _action: Action) {}
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
}

/// What a [`Tamper`] makes of one frame.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Frames for the network.
    pub send: Vec<Frame>,
    /// Frames for its own stack.
    pub receive: Vec<Frame>,
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

/// Nodes, the network between them, and virtual time.
pub struct Host<N> {
    now: Instant,
    seed: u64,
    start: Start,
    seats: Vec<Seat<N>>,
    addresses: BTreeMap<SocketAddr, NodeId>,
    net: Net,
    trace: Trace,
    checker: Option<Checker>,
}

/// The network: what is under way, and what can go wrong.
struct Net {
    model: Model,
    rng: Rng,
    queue: Queue<Due>,
    wires: Vec<Option<Box<Wire>>>, // by WireId, never reused
    blocked: BTreeSet<(NodeId, NodeId)>,
    flying: datagrams::Flying,
    capture: Option<Vec<Captured>>,
}

/// One node's place in the host.
struct Seat<N> {
    node: Option<Box<N>>,
    peer: PeerId,
    place: Place,
    udp: Udp,
    lives: u32,
    scheduled: Instant, // of its one entry in the queue; FAR: none
    uplink_free: Instant,
    downlink_free: Instant,
    wires: BTreeSet<u64>,
    tamper: Option<carry::Tampering>,
    traffic: NodeTraffic,
}

/// What is due.
#[derive(Clone, Copy, Debug)]
enum Due {
    /// The first frames of a direction arrive.
    Frames {
        wire: u64,
        way: u8,
    },
    /// A direction that its window held back may send again.
    Release {
        wire: u64,
        way: u8,
    },
    /// A wire is heard of at the listener (`way` 0) or the dialler (1).
    Connect {
        wire: u64,
        way: u8,
    },
    Refused {
        wire: u64,
    },
    Datagram {
        slot: u32,
    },
    Timeout {
        node: NodeId,
    },
    Timer {
        number: u64,
    },
}

impl<N: Node> Host<N> {
    /// No node yet. The same `seed` gives the same run.
    pub fn new(seed: u64, model: Model) -> Self {
        let start = Start { anchor: Anchor::now(), wall: WALL };
        let mut rng = Rng::from_number(seed);
        Self {
            now: Instant::ZERO,
            seed,
            start,
            seats: Vec::new(),
            addresses: BTreeMap::new(),
            net: Net {
                model,
                rng: rng.child("network"),
                queue: Queue::new(),
                wires: Vec::new(),
                blocked: BTreeSet::new(),
                flying: datagrams::Flying::default(),
                capture: None,
            },
            trace: Trace::new(),
            checker: None,
        }
    }

    /// Watches every frame from now on: see [`Checker`].
    pub fn check(&mut self, checker: Checker) {
        self.checker = Some(checker);
    }

    /// The checker.
    pub fn checker(&self) -> Option<&Checker> {
        self.checker.as_ref()
    }

    /// The checker, to change what it watches.
    pub fn checker_mut(&mut self) -> Option<&mut Checker> {
        self.checker.as_mut()
    }

    /// Virtual time.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Wall time that goes with virtual time.
    pub fn wall(&self) -> UnixTime {
        self.start.wall + self.now.since(Instant::ZERO)
    }

    /// The trace hash so far (`docs/simulator.md`), 64 hexadecimal digits.
    pub fn trace_hash(&self) -> String {
        self.trace.hex()
    }

    /// Events delivered so far.
    pub fn events(&self) -> u64 {
        self.trace.events()
    }

    /// How many nodes there are, running or not.
    pub fn len(&self) -> usize {
        self.seats.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }

    /// All nodes' numbers, running or not.
    pub fn ids(&self) -> impl Iterator<Item = NodeId> + use<N> {
        (0..u32::try_from(self.seats.len()).unwrap_or(u32::MAX)).map(NodeId)
    }

    /// A node; `None` where it is not running. What it is given so has no effect until it has a turn: see [`with`](Self::with).
    pub fn node(&mut self, id: NodeId) -> Option<&mut N> {
        self.seat(id)?.node.as_deref_mut()
    }

    /// Gives a node something to do, and then a turn. `None` where it is not running.
    pub fn with<R>(&mut self, id: NodeId, act: impl FnOnce(&mut N, Instant) -> R) -> Option<R> {
        let now = self.now;
        let done = act(self.node(id)?, now);
        self.turn(id);
        Some(done)
    }

    /// [`Step::Timer`] with this number comes at `due`.
    pub fn timer(&mut self, due: Instant, number: u64) {
        self.net.queue.push(due.max(self.now), Due::Timer { number });
    }

    /// Puts bytes of the driver into the trace: what it did that the network cannot see.
    pub fn trace_driver(&mut self, id: NodeId, bytes: &[u8]) {
        self.trace.add(self.now, id.0, Traced::driver(bytes));
    }

    /// When the next thing comes; `None` where nothing ever will.
    pub fn next(&self) -> Option<Instant> {
        self.net.queue.next()
    }

    /// Lets the next thing happen, at its time. `None` where nothing is due up to `limit`; then time is `limit`.
    pub fn step(&mut self, limit: Instant) -> Option<Step> {
        if self.net.queue.next().is_none_or(|due| due > limit) {
            self.now = self.now.max(limit);
            return None;
        }
        let (due, what) = self.net.queue.pop()?;
        self.now = self.now.max(due);
        Some(match what {
            Due::Frames { wire, way } => self.frames_due(wire, way),
            Due::Release { wire, way } => self.release(wire, way),
            Due::Connect { wire, way } => self.connect_due(wire, way),
            Due::Refused { wire } => self.refused_due(wire),
            Due::Datagram { slot } => self.datagram_due(slot),
            Due::Timeout { node } => self.timeout_due(node, due),
            Due::Timer { number } => Step::Timer(number),
        })
    }

    /// Lets everything happen that comes within `pause`, timers of the driver left out.
    pub fn run(&mut self, pause: Duration) {
        let limit = self.now + pause;
        while self.step(limit).is_some() {}
    }

    /// Lets things happen until `done` says so, at most for `pause`. Asked after each step, with the node that had a turn.
    pub fn run_until(&mut self, pause: Duration, mut done: impl FnMut(&mut Self, Step) -> bool) -> bool {
        let limit = self.now + pause;
        while let Some(step) = self.step(limit) {
            if done(self, step) {
                return true;
            }
        }
        false
    }

    /// A turn of one node, outside of events: after a command was given to it directly.
    pub fn turn(&mut self, id: NodeId) {
        let now = self.now;
        let Some(mut node) = self.seat(id).and_then(|seat| seat.node.take()) else { return };
        let mut buffer = Vec::new();
        loop {
            let again = node.turned(now);
            let stack = node.stack();
            while let Some((wire, frame)) = stack.poll_frame(now) {
                self.frame_out(id, wire, frame);
            }
            while let Some(transmit) = poll_datagrams(stack, now, &mut buffer) {
                self.datagrams_out(id, &transmit, &buffer);
            }
            let mut acted = self.tampered(id, stack);
            while let Some(action) = node.stack().poll_action() {
                acted = true;
                self.act(id, action, node.as_mut());
            }
            if !again && !acted {
                break;
            }
        }
        let due = earliest(node.stack().poll_timeout().map(|(due, _)| due), node.poll_timeout());
        if let Some(seat) = self.seats.get_mut(index(id)) {
            seat.node = Some(node);
            let due = due.map_or(Instant::FAR, |due| due.max(now));
            if due < seat.scheduled {
                seat.scheduled = due;
                self.net.queue.push(due, Due::Timeout { node: id });
            }
        }
    }

    fn timeout_due(&mut self, id: NodeId, at: Instant) -> Step {
        let now = self.now;
        let Some(seat) = self.seats.get_mut(index(id)) else { return Step::Network };
        let Some(node) = seat.node.as_deref_mut().filter(|_| seat.scheduled == at) else {
            return Step::Network;
        };
        seat.scheduled = Instant::FAR;
        match earliest(node.stack().poll_timeout().map(|(due, _)| due), node.poll_timeout()) {
            Some(due) if due <= now => {
                node.stack().handle_timeout(now);
                self.trace.add(now, id.0, Traced::timeout());
                self.turn(id);
                Step::Turned(id)
            }
            Some(due) => {
                seat.scheduled = due;
                self.net.queue.push(due, Due::Timeout { node: id });
                Step::Network
            }
            None => Step::Network,
        }
    }

    /// Hands an input to a node's stack; the caller lets it have its turn.
    fn hand(&mut self, id: NodeId, input: Input) {
        let now = self.now;
        if let Some(node) = self.node(id) {
            node.stack().handle(now, input);
        }
    }

    fn seat(&mut self, id: NodeId) -> Option<&mut Seat<N>> {
        self.seats.get_mut(index(id))
    }

    /// The seed of a node's life: the run's, its number, and how often it was started.
    fn seed_of(&self, id: NodeId, lives: u32) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.seed.to_le_bytes());
        hash.update(b"node");
        hash.update(id.0.to_le_bytes());
        hash.update(lives.to_le_bytes());
        hash.finalize().into()
    }
}

fn poll_datagrams(stack: &mut Stack, now: Instant, buffer: &mut Vec<u8>) -> Option<Transmit> {
    buffer.clear();
    stack.poll_datagrams(now, 1, buffer)
}

fn earliest(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

const fn index(id: NodeId) -> usize {
    id.0 as usize
}
