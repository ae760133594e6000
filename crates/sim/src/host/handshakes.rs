//! How wires begin and end: what the systems of both ends say to each other beside what the wires carry.

use std::time::Duration;

use weir_base::Instant;
use weir_base::stream::Group;
use weir_base::time::nanos;
use weir_stack::{DialId, PipeChange, WireChange};

use super::drops::Reason;
use super::end::{End, LISTENER, Pipe, Purpose, State};
use super::node::Power;
use super::paths::Path;
use super::pipes::accepted;
use super::system::{Arrived, System};
use super::wires::HEADERS;
use super::world::{Carries, Due, Signal, World};
use crate::id::NodeId;
use crate::model::jitter;

/// How long a system waits before it looks again whether a node has taken what came before an end.
const UNTAKEN: Duration = Duration::from_millis(1);

/// Pause after the first attempt of a handshake (RFC 6298).
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Attempts of a handshake; then the wire is refused, after 63 s.
const ATTEMPTS: u32 = 6;

impl System {
    /// The node wants a wire to an endpoint.
    pub(super) fn dial_wire(&mut self, world: &World, dial: DialId, endpoint: u64) {
        let peer = u32::try_from(endpoint).ok().map(NodeId).filter(|id| id.index() < world.places.len());
        self.connect(world, peer, Purpose::Frames(Some(dial)));
    }

    /// Begins a handshake with the system of a node; `None`: nobody is there.
    pub(super) fn connect(&mut self, world: &World, peer: Option<NodeId>, carries: Purpose) {
        self.wires.dialled += 1;
        let wire = (u64::from(self.id.0) << 32) | u64::from(self.wires.dialled);
        let (listener, resets) = match peer {
            Some(peer) => (peer, self.paths.to(peer) == Path::Resetting),
            None => (self.id, true),
        };
        if let Purpose::Bytes(pipe) = &carries {
            self.wires.pipes.insert(pipe.id, wire);
        }
        let signal = Signal::Ask(carries.carries());
        let end = End::new(world, (self.id, listener), wire, State::Asked, carries);
        let refused = self.now + Duration::from_nanos(end.rtt());
        self.wires.ends.insert(wire, Box::new(end));
        if resets {
            return self.agenda.plan(refused, Due::Signal { wire, from: listener, signal: Signal::Reset });
        }
        self.signal(world, wire, signal);
        let again = self.now + ASK_AGAIN;
        self.agenda.plan(again, Due::Retry { wire, tries: 1 });
    }

    /// Nothing was heard of a handshake for a while.
    pub(super) fn retry(&mut self, world: &World, wire: u64, tries: u32) {
        let Some(end) = self.wires.ends.get(&wire) else { return };
        let signal = match end.state {
            State::Asked => Signal::Ask(end.carries.carries()),
            State::Accepted => Signal::Accept,
            State::Open | State::Closing | State::Closed => return,
        };
        if tries >= ATTEMPTS {
            return self.signal_due(world, wire, end.peer, Signal::Reset);
        }
        self.signal(world, wire, signal);
        let again = self.now + ASK_AGAIN * (1 << tries);
        self.agenda.plan(again, Due::Retry { wire, tries: tries + 1 });
    }

    /// Says something to the system at the other end; it may be lost but for a close, which is sent until it arrives.
    pub(super) fn signal(&mut self, world: &World, wire: u64, signal: Signal) {
        let Some(end) = self.wires.ends.get_mut(&wire) else { return };
        let (to, one_way) = (end.peer, end.one_way);
        let resent = signal == Signal::Close;
        let (late, lost) = if resent {
            end.delay(world, self.now, 1)
        } else if end.sends.losses.lost(&world.model, &mut end.sends.draws, self.now.as_nanos(), 1) {
            self.record.traffic.headers_out += HEADERS;
            return self.dropped(Reason::Lost, wire, 0);
        } else {
            (jitter(&world.model, &mut end.sends.draws, one_way), 0)
        };
        let due = (self.now + Duration::from_nanos(one_way + late)).max(end.sends.last_due);
        end.sends.last_due = due;
        (0..lost).for_each(|_| self.dropped(Reason::Lost, wire, 0));
        self.signal_at(wire, to, due, signal);
    }

    /// Resets a wire at its other end, overtaking what is still before this node's line.
    pub(super) fn reset(&mut self, world: &World, wire: u64, to: NodeId) {
        let one_way = nanos(world.round_trip(self.id, to)) / 2;
        self.signal_at(wire, to, self.now + Duration::from_nanos(one_way), Signal::Reset);
    }

    pub(super) fn signal_at(&mut self, wire: u64, to: NodeId, due: Instant, signal: Signal) {
        self.record.traffic.headers_out += HEADERS;
        if self.paths.to(to) == Path::Silent {
            return self.dropped(Reason::Path, wire, 0);
        }
        let (key, from) = (self.agenda.key(due), self.id);
        self.agenda.post(to, key, Due::Signal { wire: wire ^ LISTENER, from, signal });
    }

    /// When a close is due that came while frames sent before it stand before this node's line, or wait for its turn: a system
    /// tells of an end once what came before it was taken. `None`: now.
    pub(super) fn behind_the_line(&self, wire: u64, signal: Signal) -> Option<Instant> {
        let end = self.wires.ends.get(&wire).filter(|_| signal == Signal::Close)?;
        let untaken = self.power == Power::Running && !self.inbox.is_empty();
        let taken = if untaken { self.now + UNTAKEN } else { self.now };
        let due = self.line.downlink_free.max(end.receives.resume).max(taken);
        (due > self.now).then_some(due)
    }

    /// The system of the other end says something.
    pub(super) fn signal_due(&mut self, world: &World, wire: u64, from: NodeId, signal: Signal) {
        if self.power == Power::Off {
            return self.dropped(Reason::Down, wire, 0);
        }
        let state = self.wires.ends.get(&wire).map(|end| end.state);
        match (signal, state) {
            (Signal::Ask(carries), None) if self.power.is_up() => {
                let carries = match carries {
                    Carries::Frames => Purpose::Frames(None),
                    Carries::Bytes => Purpose::Bytes(Pipe::new(accepted(wire ^ LISTENER))),
                };
                if let Purpose::Bytes(pipe) = &carries {
                    self.wires.pipes.insert(pipe.id, wire);
                }
                let end = End::new(world, (self.id, from), wire, State::Accepted, carries);
                self.wires.ends.insert(wire, Box::new(end));
                self.signal(world, wire, Signal::Accept);
                let again = self.now + ASK_AGAIN;
                self.agenda.plan(again, Due::Retry { wire, tries: 1 });
            }
            (Signal::Ask(_) | Signal::Accept, None) => self.reset(world, wire, from),
            (Signal::Ask(_), Some(State::Accepted)) => self.signal(world, wire, Signal::Accept),
            (Signal::Accept, Some(State::Asked)) => {
                self.signal(world, wire, Signal::Confirm);
                self.open(world, wire);
            }
            (Signal::Accept, Some(_)) => self.signal(world, wire, Signal::Confirm),
            (Signal::Confirm, Some(State::Accepted)) => self.open(world, wire),
            (Signal::Close | Signal::Reset, Some(_)) => self.dead(wire),
            (Signal::Read(total), Some(_)) => self.was_taken(wire, total),
            (Signal::Ask(_) | Signal::Confirm | Signal::Read(_), _)
            | (Signal::Close | Signal::Reset, None) => {}
        }
    }

    /// A wire has ended without this node's doing: it is told.
    pub(super) fn dead(&mut self, wire: u64) {
        let Some(end) = self.remove(wire) else { return };
        let told = match (end.state, end.carries) {
            (State::Open, Purpose::Frames(_)) => Arrived::Wire(wire, WireChange::Closed),
            (State::Asked, Purpose::Frames(Some(dial))) => Arrived::Wire(wire, WireChange::Refused(dial)),
            (State::Open, Purpose::Bytes(pipe)) => Arrived::Pipe(pipe.id, PipeChange::Closed),
            (State::Asked, Purpose::Bytes(pipe)) => Arrived::Pipe(pipe.id, PipeChange::Failed),
            _ => return,
        };
        self.arrive(wire, told);
    }

    /// The handshake is complete at this end.
    pub(super) fn open(&mut self, world: &World, wire: u64) {
        let Some(end) = self.wires.ends.get_mut(&wire) else { return };
        let asked = std::mem::replace(&mut end.state, State::Open) == State::Asked;
        let peer = end.peer;
        let dialled = match &end.carries {
            Purpose::Frames(dialled) => *dialled,
            Purpose::Bytes(pipe) => {
                let remote = world.udp_of(peer);
                let change = if asked { PipeChange::Connected } else { PipeChange::Accepted { remote } };
                let told = Arrived::Pipe(pipe.id, change);
                return self.arrive(wire, told);
            }
        };
        if let Some(watch) = self.record.watch.as_mut().filter(|_| world.checks(peer)) {
            let change = watch.opened(wire, peer);
            self.record.changes.push((self.now, peer, change));
        }
        if world.checks(self.id) {
            self.record.grants.iter_mut().for_each(|grants| grants.opened(wire));
        }
        let Some(identity) = world.peers.get(peer.index()).copied() else { return };
        let change =
            WireChange::Opened { peer: identity, dialled, group: Group::Local(world.network_of(peer).0) };
        self.arrive(wire, Arrived::Wire(wire, change));
    }
}
