//! One node's place in its host: its queue of what comes, its ends of wires, and its turns.
//!
//! A seat is carried out by itself: what it does to others it leaves in `out`, due no sooner than a path takes. So the order in
//! which nodes are carried out, within the shortest latency, decides nothing.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use bytes::BytesMut;
use weir_base::Instant;
use weir_stack::{
    Action, Datagrams, DialId, Ecn, Frame, HostChange, Input, SocketId, Transmit, WireChange, WireId,
};

use super::carry::{Captured, NodeTraffic, Tampering};
use super::clock::Clock;
use super::datagrams::Lane;
use super::paths::Paths;
use super::wires::End;
use super::world::{Due, Parcel, World};
use super::{Node, NodeId, Outcome, Power, Udp, earliest};
use crate::check::{Change, Watch};
use crate::model::Draws;
use crate::queue::{Key, Queue};
use crate::trace::{Kind, Trace, Traced};

/// Runs of datagrams of one sender, or frames of one wire, that a turn takes: as the native host does, which makes at most 4
/// receiving system calls of 8 buffers each.
const BUFFERS: u32 = 32;
/// How many such a run has at most: what the kernel joins.
const RUN: u32 = 64;
/// Bytes of frames that may wait for a turn. They are within the credit of the node's links, so that only a peer that
/// breaks its word comes this far; its wire is reset.
const FRAMES_HELD: usize = 256 << 20;
/// A node that has so many turns within [`IDLE_SPAN`] in which nothing came, left or happened never ends.
const IDLE_TURNS: u32 = 1_000;
const IDLE_SPAN: std::time::Duration = std::time::Duration::from_millis(10);
/// As often as an application may act in one turn.
const ROUNDS: u32 = 100_000;

/// See the module.
pub(super) struct Seat<N> {
    pub(super) id: NodeId,
    pub(super) node: Option<Box<N>>,
    pub(super) power: Power,
    pub(super) udp: Udp,
    pub(super) lives: u32,
    pub(super) now: Instant,
    pub(super) clock: Clock,
    pub(super) queue: Queue<Due>,
    pub(super) out: Vec<Parcel>,
    pub(super) sequence: u64,
    pub(super) turn_at: Instant,    // of the next turn; FAR: none
    pub(super) busy_until: Instant, // the last turn ends
    pub(super) inbox: Inbox,
    pub(super) leaving: Vec<Output>, // at `busy_until`
    pub(super) ends: BTreeMap<u64, Box<End>>,
    pub(super) dialled: u32, // wires
    pub(super) lanes: BTreeMap<NodeId, Lane>,
    pub(super) paths: BTreeMap<NodeId, Paths>, // those that are not as they should be
    pub(super) uplink_free: Instant,
    pub(super) downlink_free: Instant,
    pub(super) lined: u32, // pieces that wait for the downlink
    pub(super) draws: Draws,
    pub(super) trace: Trace,
    pub(super) traffic: NodeTraffic,
    pub(super) tamper: Option<Tampering>,
    pub(super) captured: Option<Vec<Captured>>,
    pub(super) watch: Option<Watch>,
    pub(super) changes: Vec<(Instant, NodeId, Change)>,
    idle: (Instant, u32), // turns without effect since
    pub(super) endless: bool,
    pub(super) turned: bool, // in this window
}

/// What has arrived and was not handed over.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    list: VecDeque<(u64, Arrived)>, // with where it came from
    datagram_bytes: usize,
    frame_bytes: usize,
}

#[derive(Debug)]
pub(super) enum Arrived {
    Frame(u64, Frame),
    Wire(u64, WireChange),
    Datagram { remote: SocketAddr, ecn: Option<Ecn>, data: BytesMut },
    Host(HostChange),
    Planned(u64),
}

/// What a turn sends and asks for, when it ends.
#[derive(Debug)]
pub(super) enum Output {
    Frame(WireId, Frame),
    Datagrams { transmit: Transmit, bytes: BytesMut },
    Dial { dial: DialId, endpoint: u64 },
    Close(WireId),
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

impl Inbox {
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

impl<N: Node> Seat<N> {
    pub(super) fn new(world: &World, id: NodeId, udp: Udp) -> Self {
        Self {
            id,
            node: None,
            power: Power::Stopped,
            udp,
            lives: 0,
            now: Instant::ZERO,
            clock: Clock::default(),
            queue: Queue::new(),
            out: Vec::new(),
            sequence: 0,
            turn_at: Instant::FAR,
            busy_until: Instant::ZERO,
            inbox: Inbox::default(),
            leaving: Vec::new(),
            ends: BTreeMap::new(),
            dialled: 0,
            lanes: BTreeMap::new(),
            paths: BTreeMap::new(),
            uplink_free: Instant::ZERO,
            downlink_free: Instant::ZERO,
            lined: 0,
            draws: world.draws(id, id, 0),
            trace: Trace::new(),
            traffic: NodeTraffic::default(),
            tamper: None,
            captured: None,
            watch: None,
            changes: Vec::new(),
            idle: (Instant::ZERO, 0),
            endless: false,
            turned: false,
        }
    }

    /// When something comes here next; [`Instant::FAR`] where nothing ever will.
    pub(super) fn next(&self) -> Instant {
        let queued = self.queue.next().unwrap_or(Instant::FAR);
        let leaves = if self.leaving.is_empty() { Instant::FAR } else { self.busy_until };
        queued.min(leaves).min(self.turn_due())
    }

    fn turn_due(&self) -> Instant {
        if self.power == Power::Running { self.turn_at } else { Instant::FAR }
    }

    /// Lets the next thing happen. Whether the node had a turn.
    pub(super) fn advance(&mut self, world: &World) -> bool {
        let next = self.next();
        self.now = self.now.max(next);
        if self.queue.next() == Some(next) {
            if let Some((key, due)) = self.queue.pop() {
                self.due(world, key, due);
            }
            return false;
        }
        if !self.leaving.is_empty() && self.busy_until <= next {
            self.leave(world);
            return false;
        }
        self.turn(world);
        true
    }

    fn due(&mut self, world: &World, key: Key, due: Due) {
        match due {
            Due::Frame { wire, frame, echo, lined } => {
                self.frame_due(world, key, super::wires::Incoming { wire, frame, echo, lined });
            }
            Due::Signal { wire, from, signal } => match self.behind_the_line(wire, signal) {
                Some(due) => self.queue.push(Key { due, ..key }, Due::Signal { wire, from, signal }),
                None => self.signal_due(world, wire, from, signal),
            },
            Due::Datagram { remote, ecn, data, lined } => {
                self.datagram_due(world, key, super::datagrams::Incoming { remote, ecn, data, lined });
            }
            Due::Release { wire } => self.release(world, wire),
            Due::Retry { wire, tries } => self.retry(world, wire, tries),
            Due::Forget { wire } => self.forget(wire),
            Due::Planned { number } => self.arrive(u64::MAX, Arrived::Planned(number)),
        }
    }

    /// Something of this node's own comes at `at`.
    pub(super) fn plan(&mut self, at: Instant, due: Due) {
        let key = self.key(at);
        self.queue.push(key, due);
    }

    pub(super) const fn key(&mut self, due: Instant) -> Key {
        self.sequence += 1;
        Key { due, from: self.id.0, sequence: self.sequence }
    }

    /// Something arrived for the node, which gets a turn for it as soon as it has time.
    pub(super) fn arrive(&mut self, source: u64, what: Arrived) {
        if self.node.is_none() {
            return;
        }
        match &what {
            Arrived::Frame(_, frame) => self.inbox.frame_bytes += frame.wire_len(),
            Arrived::Datagram { data, .. } => self.inbox.datagram_bytes += data.len(),
            Arrived::Wire(..) | Arrived::Host(_) | Arrived::Planned(_) => {}
        }
        self.inbox.list.push_back((source, what));
        self.wake();
    }

    /// Whether a datagram of this length finds room.
    pub(super) fn has_room(&self, world: &World, len: usize) -> bool {
        self.inbox.datagram_bytes + len <= world.model.processor.receive_buffer
    }

    pub(super) fn is_overrun(&self) -> bool {
        self.inbox.frame_bytes > FRAMES_HELD
    }

    /// The node gets a turn as soon as it has time.
    pub(super) fn wake(&mut self) {
        self.turn_at = self.turn_at.min(self.now.max(self.busy_until));
    }

    /// Whether it would have that turn right now.
    pub(super) fn is_awake(&self) -> bool {
        self.turn_due() <= self.now && self.leaving.is_empty()
    }

    /// A turn: what arrived, what is due, what follows of both.
    pub(super) fn turn(&mut self, world: &World) {
        self.turn_at = Instant::FAR;
        let Some(mut node) = self.node.take() else { return };
        let local = self.clock.local(self.now);
        let mut load = Load::default();
        self.receive(world, node.as_mut(), local, &mut load);
        if earliest(node.stack().poll_timeout().map(|(due, _)| due), node.poll_timeout())
            .is_some_and(|due| due <= local)
        {
            node.stack().handle_timeout(local);
            self.note(Traced::timeout());
        }
        self.tamper_due(local);
        let mut rounds = 0;
        while self.drain(node.as_mut(), local, &mut load) {
            rounds += 1;
            if rounds > ROUNDS {
                self.endless = true;
                break;
            }
        }
        let verdicts = node.verdicts();
        if verdicts > 0 {
            self.note(Traced::number(Kind::Verdicts, verdicts));
        }
        let cost = world.model.processor.cost(&mut self.draws, load.packets, load.bytes, verdicts);
        self.busy_until = self.now + cost;
        self.watch_idle(load);
        let due = earliest(node.stack().poll_timeout().map(|(due, _)| due), node.poll_timeout());
        let due = earliest(due, self.tamper_timeout());
        self.node = Some(node);
        if !self.inbox.is_empty() {
            self.turn_at = self.busy_until;
        } else if let Some(due) = due {
            let due = self.clock.global(due).max(self.now) + world.model.processor.late(&mut self.draws);
            self.turn_at = due.max(self.busy_until);
        }
        if self.endless {
            self.turn_at = Instant::FAR;
        }
        if cost.is_zero() {
            self.leave(world);
        }
    }

    /// Hands over what has arrived, at most as much as the native host does in a turn.
    fn receive(&mut self, world: &World, node: &mut N, local: Instant, load: &mut Load) {
        let (mut buffers, mut run, mut last) = (0, 0, None);
        while let Some((source, _)) = self.inbox.list.front() {
            let source = *source;
            if last != Some(source) || run == RUN {
                (buffers, run, last) = (buffers + 1, 0, Some(source));
            }
            if buffers > BUFFERS {
                return;
            }
            run += 1;
            let Some((_, what)) = self.inbox.list.pop_front() else { return };
            self.hand(world, node, local, what, load);
        }
    }

    fn hand(&mut self, world: &World, node: &mut N, local: Instant, what: Arrived, load: &mut Load) {
        match what {
            Arrived::Frame(wire, frame) => {
                self.inbox.frame_bytes -= frame.wire_len();
                load.packet(frame.wire_len());
                self.note(Traced::frame(wire, &frame));
                if let (Some(watch), Some(end)) = (&mut self.watch, self.ends.get(&wire))
                    && world.checks(end.peer)
                {
                    let change = watch.received(wire, &frame);
                    self.changes.push((self.now, end.peer, change));
                }
                let Some(tamper) = &mut self.tamper else {
                    return node.stack().handle(local, Input::Frame(WireId(wire), frame));
                };
                let mut out = Outcome::default();
                tamper.by.incoming(local, WireId(wire), frame, &mut out);
                for frame in out.receive {
                    node.stack().handle(local, Input::Frame(WireId(wire), frame));
                }
                self.leaving.extend(out.send.into_iter().map(|frame| Output::Frame(WireId(wire), frame)));
                self.leaving.extend(out.on.into_iter().map(|(wire, frame)| Output::Frame(wire, frame)));
            }
            Arrived::Wire(wire, change) => {
                load.packet(0);
                self.note(Traced::wire(wire, &change));
                node.stack().handle(local, Input::Wire(WireId(wire), change));
            }
            Arrived::Datagram { remote, ecn, data } => {
                self.inbox.datagram_bytes -= data.len();
                load.packet(data.len());
                self.note(Traced::datagram(data.len()));
                let stride = data.len();
                let (socket, local_ip) = (SocketId(0), Some(super::udp_of(self.id).ip()));
                let datagrams = Datagrams { socket, remote, local_ip, ecn, stride, data };
                node.stack().handle(local, Input::Datagrams(datagrams));
            }
            Arrived::Host(change) => node.stack().handle(local, Input::Host(change)),
            Arrived::Planned(number) => {
                self.note(Traced::driver(&number.to_le_bytes()));
                node.planned(local, number);
            }
        }
    }

    /// Takes what the node has to say; whether it may have more.
    fn drain(&mut self, node: &mut N, local: Instant, load: &mut Load) -> bool {
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
            self.leaving.push(Output::Datagrams { transmit, bytes });
            buffer.clear();
        }
        let mut acted = self.tampered(local, stack);
        while let Some(action) = node.stack().poll_action() {
            acted = true;
            match action {
                Action::DialWire { dial, endpoint } => self.leaving.push(Output::Dial { dial, endpoint }),
                Action::CloseWire(wire) => self.leaving.push(Output::Close(wire)),
                other => node.action(local, other),
            }
        }
        load.acted |= again || acted;
        again || acted
    }

    /// The last turn has ended: what it made leaves.
    fn leave(&mut self, world: &World) {
        for output in std::mem::take(&mut self.leaving) {
            match output {
                Output::Frame(wire, frame) => self.send(world, wire, frame),
                Output::Datagrams { transmit, bytes } => self.datagrams_out(world, &transmit, &bytes),
                Output::Dial { dial, endpoint } => self.dial_wire(world, dial, endpoint),
                Output::Close(WireId(wire)) => self.close_wire(world, wire),
            }
        }
    }

    /// Counts turns in which nothing came, left or happened.
    fn watch_idle(&mut self, load: Load) {
        if load.packets > 0 || load.acted || self.now.since(self.idle.0) > IDLE_SPAN {
            self.idle = (self.now, 0);
            return;
        }
        self.idle.1 += 1;
        self.endless |= self.idle.1 > IDLE_TURNS;
    }

    pub(super) fn note(&mut self, event: Traced) {
        self.trace.add(self.now, self.id.0, event);
    }
}
