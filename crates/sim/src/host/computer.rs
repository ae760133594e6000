//! The computer that one node runs on: the operating system and the process of the node.

use weir_base::{Instant, UnixTime};
use weir_stack::{HostChange, SocketId};

use super::clock::Clock;
use super::node::{Node, Power, Udp};
use super::process::Process;
use super::system::{Arrived, System};
use super::world::{World, udp_of};
use crate::check::{Checker, Grants, Watch};
use crate::id::NodeId;
use crate::trace::{Kind, Traced};

/// See the module.
pub(super) struct Computer<N> {
    pub(super) system: System,
    pub(super) process: Process<N>,
}

/// A node that had a turn in a window.
pub struct Turned<'a, N> {
    /// Its number.
    pub id: NodeId,
    /// The node.
    pub node: &'a mut N,
    pub(super) clock: &'a Clock,
}

impl<N> Turned<'_, N> {
    /// A time on its clock as the host's time.
    pub fn time_of(&self, local: Instant) -> Instant {
        self.clock.global(local)
    }
}

/// What [`Kind::Life`] tells of a node that is put in.
const STARTED: u64 = 1;

impl<N: Node> Computer<N> {
    pub(super) fn new(world: &World, id: NodeId, udp: Udp) -> Self {
        Self { system: System::new(id, udp), process: Process::new(world.draws(id, id, 0)) }
    }

    /// What it sends is watched from now on, where there is a checker.
    pub(super) fn watch(&mut self, checker: Option<&Checker>) {
        let id = self.system.id;
        self.system.record.watch = checker.map(|checker| Watch::new(id, checker.declared.clone()));
        self.system.record.grants = checker.map(|checker| Grants::new(&checker.declared));
    }

    /// The node is put in, and has its first turn.
    pub(super) fn begin(&mut self, world: &World, (now, wall): (Instant, UnixTime), node: N) {
        let Self { system, process } = self;
        system.now = now;
        (process.node, system.power) = (Some(Box::new(node)), Power::Running);
        system.note(Traced::number(Kind::Life, STARTED));
        system.arrive(u64::MAX, Arrived::Host(HostChange::Wall(wall)));
        system.arrive(u64::MAX, Arrived::Host(HostChange::Pipes));
        if system.udp == Udp::Bound {
            let local = udp_of(system.id);
            let bound = HostChange::Bound { socket: SocketId(0), local, may_fragment: false };
            system.arrive(u64::MAX, Arrived::Host(bound));
        }
        self.turn_now(world);
    }

    /// When something comes here next; [`Instant::FAR`] where nothing ever will.
    pub(super) fn next(&self) -> Instant {
        let queued = self.system.agenda.next().unwrap_or(Instant::FAR);
        let leaves = if self.process.leaving.is_empty() { Instant::FAR } else { self.process.busy_until };
        queued.min(leaves).min(self.turn_due())
    }

    /// The node, as it is told of after a turn.
    pub(super) fn turned(&mut self) -> Option<Turned<'_, N>> {
        let Self { system, process } = self;
        let node = process.node.as_deref_mut()?;
        Some(Turned { id: system.id, node, clock: &process.clock })
    }

    fn turn_due(&self) -> Instant {
        if self.system.power == Power::Running { self.process.turn_at } else { Instant::FAR }
    }

    /// Lets the next thing happen. Whether the node had a turn.
    pub(super) fn advance(&mut self, world: &World) -> bool {
        let (next, queued) = (self.next(), self.system.agenda.next());
        let Self { system, process } = self;
        system.now = system.now.max(next);
        if queued == Some(next) {
            if let Some((key, due)) = system.agenda.pop() {
                system.due(world, key, due);
                self.arrived();
            }
            return false;
        }
        if !process.leaving.is_empty() && process.busy_until <= next {
            process.leave(world, system);
            return false;
        }
        process.turn(world, system);
        true
    }

    /// Where something waits for the node, it gets a turn as soon as it has time.
    pub(super) fn arrived(&mut self) {
        if !self.system.inbox.is_empty() {
            self.process.wake(self.system.now);
        }
    }

    /// A turn right now, or as soon as the node has time.
    pub(super) fn turn_now(&mut self, world: &World) {
        self.process.wake(self.system.now);
        if self.turn_due() <= self.system.now && self.process.leaving.is_empty() {
            self.process.turn(world, &mut self.system);
        }
    }
}
