//! A node's process: its turns, what they take, and what they send at their end.

use std::time::Duration;

use bytes::BytesMut;
use weir_base::Instant;
use weir_stack::{Action, Datagrams, Frame, Input, PipeId, SocketId, Stack, WireId};

use super::bridge::{Bridge, Scope};
use super::carry::{Output, Tampering};
use super::clock::Clock;
use super::node::{Node, earliest};
use super::pipes::Flows;
use super::system::{Arrived, System};
use super::world::{World, udp_of};
use crate::model::Draws;
use crate::trace::{Kind, Traced};

/// Runs of datagrams of one sender, or frames of one wire, that a turn takes: as the native host does, which makes at most 4
/// receiving system calls of 8 buffers each.
const BUFFERS: u32 = 32;
/// How many such a run has at most: what the kernel joins.
const RUN: u32 = 64;
/// A node that has so many turns within [`IDLE_SPAN`] in which nothing came, left or happened never ends.
const IDLE_TURNS: u32 = 1_000;
const IDLE_SPAN: Duration = Duration::from_millis(10);
/// As often as an application may act in one turn.
const ROUNDS: u32 = 100_000;

/// See the module.
pub(super) struct Process<N> {
    pub(super) node: Option<Box<N>>,
    pub(super) lives: u32,
    pub(super) clock: Clock,
    pub(super) turn_at: Instant,     // of the next turn; FAR: none
    pub(super) busy_until: Instant,  // the last turn ends
    pub(super) leaving: Vec<Output>, // at `busy_until`
    pub(super) tamper: Option<Tampering>,
    pub(super) pipes: Flows,
    pub(super) turned: bool, // in this window
    pub(super) work: Work,
    draws: Draws,
    pub(super) idle: Idle,
}

/// Turns without effect.
#[derive(Debug, Default)]
pub(super) struct Idle {
    since: Instant,
    turns: u32,
    pub(super) endless: bool, // they never end
}

/// What nodes' turns had to do, whatever it took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Turns.
    pub turns: u64,
    /// Frames and datagrams, in and out.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Work {
    /// What came on top of what there was before.
    #[must_use]
    pub const fn since(self, before: Self) -> Self {
        Self {
            turns: self.turns - before.turns,
            packets: self.packets - before.packets,
            bytes: self.bytes - before.bytes,
        }
    }
}

/// What a turn had to do.
#[derive(Clone, Copy, Debug, Default)]
struct Load {
    packets: u64,
    bytes: u64,
    acted: bool,
}

impl Load {
    const fn packet(&mut self, len: usize) {
        self.packets += 1;
        self.bytes += len as u64;
    }
}

impl Work {
    const fn add(&mut self, load: Load) {
        self.turns += 1;
        self.packets += load.packets;
        self.bytes += load.bytes;
    }
}

impl<N: Node> Process<N> {
    pub(super) fn new(draws: Draws) -> Self {
        Self {
            node: None,
            lives: 0,
            clock: Clock::new(),
            turn_at: Instant::FAR,
            busy_until: Instant::ZERO,
            leaving: Vec::new(),
            tamper: None,
            pipes: Flows::default(),
            turned: false,
            work: Work { turns: 0, packets: 0, bytes: 0 },
            draws,
            idle: Idle::default(),
        }
    }

    /// The node gets a turn as soon as it has time.
    pub(super) fn wake(&mut self, now: Instant) {
        self.turn_at = self.turn_at.min(now.max(self.busy_until));
    }

    /// A turn: what arrived, what is due, what follows of both.
    pub(super) fn turn(&mut self, world: &World, system: &mut System) {
        self.turn_at = Instant::FAR;
        let Some(mut node) = self.node.take() else { return };
        let local = self.clock.local(system.now);
        let mut load = Load::default();
        self.receive(world, system, node.as_mut(), &mut load);
        if earliest(node.stack().poll_timeout().map(|(due, _)| due), node.poll_timeout())
            .is_some_and(|due| due <= local)
        {
            node.stack().handle_timeout(local);
            system.note(Traced::timeout());
        }
        if let Some(tamper) = &mut self.tamper {
            tamper.handle_timeout(local, node.stack(), &mut self.leaving);
        }
        self.pipes.hands.handle_timeout(local, &mut self.leaving);
        let mut rounds = 0;
        while self.drain(system, node.as_mut(), local, &mut load) {
            rounds += 1;
            if rounds > ROUNDS {
                self.idle.endless = true;
                break;
            }
        }
        self.work.add(load);
        let verdicts = node.verdicts();
        if verdicts > 0 {
            system.note(Traced::number(Kind::Verdicts, verdicts));
        }
        let cost = world.model.processor.cost(&mut self.draws, load.packets, load.bytes, verdicts);
        self.busy_until = system.now + cost;
        self.watch_idle(system.now, load);
        let due = earliest(node.stack().poll_timeout().map(|(due, _)| due), node.poll_timeout());
        let due = earliest(due, self.tamper.as_ref().and_then(Tampering::poll_timeout));
        let due = earliest(due, self.pipes.hands.poll_timeout());
        self.node = Some(node);
        if !system.inbox.is_empty() {
            self.turn_at = self.busy_until;
        } else if let Some(due) = due {
            let due = self.clock.global(due).max(system.now) + world.model.processor.late(&mut self.draws);
            self.turn_at = due.max(self.busy_until);
        }
        if self.idle.endless {
            self.turn_at = Instant::FAR;
        }
        if cost.is_zero() {
            self.leave(world, system);
        }
    }

    /// Hands over what has arrived, at most as much as the native host does in a turn.
    fn receive(&mut self, world: &World, system: &mut System, node: &mut N, load: &mut Load) {
        let (mut buffers, mut run, mut last) = (0, 0, None);
        while let Some(source) = system.inbox.source() {
            if last != Some(source) || run == RUN {
                (buffers, run, last) = (buffers + 1, 0, Some(source));
            }
            if buffers > BUFFERS {
                return;
            }
            run += 1;
            let Some(what) = system.inbox.pop() else { return };
            self.hand(world, system, node, what, load);
        }
    }

    fn hand(&mut self, world: &World, system: &mut System, node: &mut N, what: Arrived, load: &mut Load) {
        let local = self.clock.local(system.now);
        match what {
            Arrived::Frame(wire, frame) => {
                load.packet(frame.wire_len());
                system.note(Traced::frame(wire, &frame));
                system.was_read(world, wire, &frame);
                let Some(tamper) = &mut self.tamper else {
                    return node.stack().handle(local, Input::Frame(WireId(wire), frame));
                };
                for frame in tamper.incoming(local, WireId(wire), frame, &mut self.leaving) {
                    node.stack().handle(local, Input::Frame(WireId(wire), frame));
                }
            }
            Arrived::Wire(wire, change) => {
                load.packet(0);
                system.note(Traced::wire(wire, &change));
                node.stack().handle(local, Input::Wire(WireId(wire), change));
            }
            Arrived::Datagram { remote, ecn, data } => {
                load.packet(data.len());
                system.note(Traced::datagram(data.len()));
                let stride = data.len();
                let (socket, local_ip) = (SocketId(0), Some(udp_of(system.id).ip()));
                let datagrams = Datagrams { socket, remote, local_ip, ecn, stride, data };
                node.stack().handle(local, Input::Datagrams(datagrams));
            }
            Arrived::Bytes(pipe, bytes) => {
                load.packet(bytes.len());
                system.note(Traced::bytes(pipe.0, &bytes));
                if self.on_bridge(node.stack(), local, pipe, |bridge, scope| bridge.arrived(scope, &bytes)) {
                    return system.read_bytes(pipe, bytes.len() as u64);
                }
                if self.pipes.hands.has(pipe) {
                    if self.pipes.hands.bytes(local, pipe, &bytes, &mut self.leaving) {
                        system.read_bytes(pipe, bytes.len() as u64);
                    }
                    return;
                }
                self.pipes.arrived(pipe, bytes);
                self.pipes.give(system, node.stack(), local, pipe);
            }
            Arrived::Pipe(pipe, change) => {
                load.packet(0);
                system.note(Traced::pipe(pipe.0, change));
                if let Some(tamper) = &mut self.tamper {
                    tamper.connected(system, local, pipe, change);
                }
                if self.on_bridge(node.stack(), local, pipe, |bridge, scope| bridge.changed(scope, change)) {
                    return;
                }
                if self.pipes.hands.has(pipe) {
                    return self.pipes.hands.changed(local, pipe, change, &mut self.leaving);
                }
                self.pipes.changed(pipe, change);
                self.pipes.give(system, node.stack(), local, pipe);
            }
            Arrived::Taken(pipe, len) => self.pipes.taken(node.stack(), local, pipe, len),
            Arrived::Host(change) => node.stack().handle(local, Input::Host(change)),
            Arrived::Planned(number) => {
                system.note(Traced::driver(&number.to_le_bytes()));
                node.planned(local, number);
            }
        }
    }

    /// Takes what the node has to say; whether it may have more.
    fn drain(&mut self, system: &mut System, node: &mut N, local: Instant, load: &mut Load) -> bool {
        let again = node.turned(local);
        let stack = node.stack();
        while let Some((wire, frame)) = stack.poll_frame(local) {
            load.packet(frame.wire_len());
            self.put_out(local, wire, frame);
        }
        let mut buffer = Vec::new();
        while let Some(transmit) = stack.poll_datagrams(local, 1, &mut buffer) {
            load.packet(transmit.len);
            let bytes = BytesMut::from(buffer.get(..transmit.len).unwrap_or(&buffer));
            match &mut self.tamper {
                Some(tamper) => tamper.datagram(local, transmit, bytes, &mut self.leaving),
                None => self.leaving.push(Output::Datagrams { transmit, bytes, pause: Duration::ZERO }),
            }
            buffer.clear();
        }
        let (mut bytes, mut acted) = (BytesMut::new(), false);
        while let Some(transmit) = stack.poll_pipe(local, &mut bytes) {
            load.packet(transmit.len);
            let (pipe, finish) = (transmit.pipe, transmit.finish);
            if self.tamper.as_ref().is_some_and(|tamper| tamper.has_bridge(pipe)) {
                let sent = bytes.split();
                acted |= self.on_bridge(stack, local, pipe, |bridge, scope| bridge.sent(scope, sent, finish));
                continue;
            }
            self.pipes.given(stack, local, pipe, transmit.len);
            if let Some(tamper) = &mut self.tamper {
                tamper.stream(local, &mut bytes);
            }
            self.leaving.push(Output::Bytes { pipe, bytes: bytes.split().freeze(), finish });
        }
        acted |= self.tamper.as_mut().is_some_and(|tamper| tamper.hand_back(local, stack));
        while let Some(action) = node.stack().poll_action() {
            acted = true;
            match action {
                Action::DialWire { dial, endpoint } => self.leaving.push(Output::Dial { dial, endpoint }),
                Action::CloseWire(wire) => self.leaving.push(Output::Close(wire)),
                Action::DialPipe { pipe, remote } => self.leaving.push(Output::DialPipe { pipe, remote }),
                Action::ReadPipe(pipe) => {
                    if !self.on_bridge(node.stack(), local, pipe, Bridge::pump) {
                        self.pipes.give(system, node.stack(), local, pipe);
                    }
                }
                Action::ClosePipe(pipe) => {
                    self.pipes.forget(pipe);
                    self.tamper.iter_mut().for_each(|tamper| tamper.forget(pipe));
                    self.leaving.push(Output::ClosePipe(pipe));
                }
                other => node.action(local, other),
            }
        }
        load.acted |= again || acted;
        again || acted
    }

    /// Lets the bridge of a byte stream act, where it goes over one. Whether it does.
    fn on_bridge(
        &mut self,
        stack: &mut Stack,
        local: Instant,
        pipe: PipeId,
        act: impl FnOnce(&mut Bridge, &mut Scope<'_>),
    ) -> bool {
        let Self { tamper, leaving, .. } = self;
        tamper.as_mut().is_some_and(|tamper| tamper.on_bridge((local, stack), pipe, leaving, act))
    }

    fn put_out(&mut self, local: Instant, wire: WireId, frame: Frame) {
        match &mut self.tamper {
            Some(tamper) => tamper.outgoing(local, wire, frame, &mut self.leaving),
            None => self.leaving.push(Output::Frame(wire, frame)),
        }
    }

    /// The last turn has ended: what it made leaves.
    pub(super) fn leave(&mut self, world: &World, system: &mut System) {
        for output in std::mem::take(&mut self.leaving) {
            match output {
                Output::Frame(wire, frame) => system.send(world, wire, frame),
                Output::Datagrams { transmit, bytes, pause } => {
                    system.datagrams_out(world, &transmit, &bytes, pause);
                }
                Output::Dial { dial, endpoint } => system.dial_wire(world, dial, endpoint),
                Output::Close(WireId(wire)) => system.close_wire(world, wire),
                Output::DialPipe { pipe, remote } => system.dial_pipe(world, pipe, remote),
                Output::Bytes { pipe, bytes, finish } => system.send_bytes(world, pipe, bytes, finish),
                Output::ClosePipe(pipe) => system.close_pipe(world, pipe),
            }
        }
        system.record.has_granted(system.now, system.id);
    }

    /// Counts turns in which nothing came, left or happened.
    fn watch_idle(&mut self, now: Instant, load: Load) {
        if load.packets > 0 || load.acted || now.since(self.idle.since) > IDLE_SPAN {
            (self.idle.since, self.idle.turns) = (now, 0);
            return;
        }
        self.idle.turns += 1;
        self.idle.endless |= self.idle.turns > IDLE_TURNS;
    }
}
