//! The operator's view of one node's computer: it stops, starts and moves the computer.

use std::net::SocketAddr;

use weir_base::identity::PeerId;
use weir_base::{Instant, Rng, UnixTime};
use weir_stack::{HostChange, SocketId};

use super::Host;
use super::bridges::{Bridges, Inside};
use super::by_hand::ByHand;
use super::carry::{Output, Tampering};
use super::computer::{Computer, Turned};
use super::lane::Lane;
use super::node::{Birth, Node, Power, Tamper, Udp};
use super::pipes::Flows;
use super::system::Arrived;
use super::world::{Due, PORT, Public, World};
use crate::id::NodeId;
use crate::model::Place;
use crate::trace::{Kind, Traced};

impl<N: Node> Host<N> {
    /// The computer of one node. It can be stopped, started and moved.
    pub fn computer(&mut self, id: NodeId) -> ComputerMut<'_, N> {
        ComputerMut { host: self, id }
    }
}

/// One node's computer in its host: [`Host::computer`]. Of a node that is not there nothing happens.
pub struct ComputerMut<'a, N> {
    host: &'a mut Host<N>,
    id: NodeId,
}

/// What [`Kind::Life`] tells of others.
const CRASHED: u64 = 2;
const POWERED_OFF: u64 = 3;
const HUNG: u64 = 4;
const WENT_ON: u64 = 5;
const MOVED: u64 = 6;

impl<'a, N: Node> ComputerMut<'a, N> {
    /// Stops the node between two turns, without goodbye or flush: what has not left its line is lost, its wires are reset by
    /// its system, datagrams to it vanish, dials are refused. Returns what it was.
    pub fn crash(self) -> Option<N> {
        self.stop(Power::Stopped, CRASHED)
    }

    /// The machine loses its power: nobody is told anything, and nothing answers until it is started again.
    pub fn power_off(self) -> Option<N> {
        self.stop(Power::Off, POWERED_OFF)
    }

    fn stop(mut self, power: Power, told: u64) -> Option<N> {
        let (world, computer) = self.parts()?;
        let node = computer.process.node.take()?;
        let Computer { system, process } = computer;
        (system.power, process.turn_at) = (power, Instant::FAR);
        (system.line.uplink_free, process.busy_until) = (Instant::ZERO, system.now);
        system.inbox.clear();
        process.pipes = Flows::default();
        process.tamper.iter_mut().for_each(Tampering::clear);
        process.leaving.clear();
        system.note(Traced::number(Kind::Life, told));
        system.drop_wires(world);
        self.host.settle(self.id);
        Some(*node)
    }

    /// The process hangs: its system goes on, accepts wires and takes what comes, but it has no turns until
    /// [`go_on`](Self::go_on).
    pub fn hang(self) {
        self.set_power(Power::Running, Power::Hung, HUNG);
    }

    /// A node that hung goes on with what arrived meanwhile.
    pub fn go_on(self) {
        self.set_power(Power::Hung, Power::Running, WENT_ON);
    }

    fn set_power(mut self, from: Power, to: Power, told: u64) {
        let Some((_, Computer { system, process })) = self.parts() else { return };
        if system.power != from {
            return;
        }
        system.power = to;
        process.wake(system.now);
        system.note(Traced::number(Kind::Life, told));
        self.host.settle(self.id);
    }

    /// Starts a stopped node again, at the same place and addresses, with another seed.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn restart<E>(mut self, make: impl FnOnce(Birth) -> Result<(N, PeerId), E>) -> Result<(), E> {
        let Some((_, Computer { process, .. })) = self.parts() else { return Ok(()) };
        if process.node.is_some() {
            return Ok(());
        }
        process.lives += 1;
        let lives = process.lives;
        let (node, peer) = make(self.host.world.birth(self.id, lives, self.host.now))?;
        self.host.world.peers[self.id.index()] = peer;
        self.begin(node);
        Ok(())
    }

    /// From now on its clock is this much too fast, in parts per million: its timers and its wall time.
    pub fn set_drift(mut self, parts_per_million: i32) {
        let Some((_, Computer { system, process })) = self.parts() else { return };
        process.clock.set_drift(system.now, parts_per_million);
        process.wake(system.now);
        self.host.settle(self.id);
    }

    /// Its wall clock is set to this; its timers go on.
    pub fn set_wall(mut self, wall: UnixTime) {
        self.arrive(Arrived::Host(HostChange::Wall(wall)));
    }

    /// The device before it forgets the flows that the node began, as NAT devices do: what the node sends on them from now on
    /// comes from another port, and what is sent to the port before is lost. What it listens on is forwarded as before. The node
    /// is not told.
    pub fn rebind(mut self) {
        let world = &mut self.host.world;
        let Some(public) = world.public.get_mut(self.id.index()) else { return };
        let before = public.mapped;
        public.mapped = another_port(before);
        let (listens, mapped) = (public.listens, public.mapped);
        if before != listens {
            world.addresses.remove(&before);
        }
        world.addresses.insert(mapped, self.id);
        self.forget_flows();
    }

    /// The device before it has other ports for flows that the node goes on with.
    fn forget_flows(&mut self) {
        if let Some((_, computer)) = self.parts() {
            computer.system.lanes.values_mut().for_each(Lane::forget);
        }
    }

    /// It moves to another place: its address there is a new one, its wires are reset, and the node is told that its socket was
    /// bound again. Returns its address.
    pub fn relocate(self, place: Place) -> Option<SocketAddr> {
        let world = &mut self.host.world;
        let public = *world.public.get(self.id.index())?;
        *world.places.get_mut(self.id.index())? = place;
        self.readdress(Public::new(another_port(public.mapped), public.network))
    }

    /// It moves into the network of another node: its address is one of the same /24 that nobody has, each time another one, and over
    /// wires of frames it is of the same group. Otherwise as [`relocate`](Self::relocate). `None`: all addresses there are taken, and
    /// it stays.
    pub fn move_beside(self, other: NodeId) -> Option<SocketAddr> {
        let world = &self.host.world;
        let address = world.free_beside(other)?;
        let network = world.network_of(other);
        self.readdress(Public::new(address, network))
    }

    fn readdress(mut self, public: Public) -> Option<SocketAddr> {
        let world = &mut self.host.world;
        let before = std::mem::replace(world.public.get_mut(self.id.index())?, public);
        let address = public.listens;
        world.addresses.remove(&before.listens);
        world.addresses.remove(&before.mapped);
        world.addresses.insert(address, self.id);
        self.forget_flows();
        let (world, computer) = self.parts()?;
        let udp = computer.system.udp;
        computer.system.note(Traced::number(Kind::Life, MOVED));
        computer.system.lose_wires(world);
        self.host.settle(self.id);
        if udp == Udp::Bound {
            self.arrive(Arrived::Host(HostChange::Unbound(SocketId(0))));
            let bound = HostChange::Bound { socket: SocketId(0), local: address, may_fragment: false };
            self.arrive(Arrived::Host(bound));
        }
        Some(address)
    }

    /// From now on `by` stands between its stack and its wires.
    pub fn tamper(mut self, by: Box<dyn Tamper>) {
        if let Some((_, computer)) = self.parts() {
            computer.process.tamper = Some(Tampering::new(by));
        }
    }

    /// From now on `by` stands between its stack and the network, and inside the encryption of the byte streams that are connected
    /// from then on: it is given what streams carry as frames, with the number of the byte stream for a wire. Credit and windows are not
    /// told, and what it makes of them is dropped.
    pub fn tamper_inside(mut self, by: Box<dyn Tamper>, inside: Inside) {
        let (id, now) = (self.id, self.host.now);
        if let Some((world, Computer { process, .. })) = self.parts() {
            let rng = Rng::new(world.birth(id, process.lives, now).seed).child("bridges");
            process.tamper = Some(Tampering::inside(by, Bridges::new(inside, id, rng)));
        }
    }

    /// Connects a byte stream to another node, whose end here `by` holds instead of the stack.
    pub fn dial_by_hand(mut self, to: NodeId, by: Box<dyn ByHand>) {
        let remote = self.host.world.udp_of(to);
        let Some((_, Computer { process, .. })) = self.parts() else { return };
        let pipe = process.pipes.hands.add(by);
        process.leaving.push(Output::DialPipe { pipe, remote });
        self.host.settle(self.id);
    }

    /// [`Node::planned`] with this number is called at `due`, in a turn of this node; not where it does not run then.
    pub fn plan(mut self, due: Instant, number: u64) {
        let Some((_, computer)) = self.parts() else { return };
        let due = due.max(computer.system.now);
        computer.system.agenda.plan(due, Due::Planned { number });
        self.host.settle(self.id);
    }

    /// A time on its clock as the host's time.
    pub fn time_of(mut self, local: Instant) -> Instant {
        self.parts().map_or(local, |(_, computer)| computer.process.clock.global(local))
    }

    /// What a caller may see of the node after its turn, while nodes run in windows.
    pub fn turned(self) -> Option<Turned<'a, N>> {
        self.host.computers.get_mut(self.id.index())?.turned()
    }

    /// Puts bytes of the driver into the trace: what it did that the network cannot see.
    pub fn trace_driver(mut self, bytes: &[u8]) {
        if let Some((_, computer)) = self.parts() {
            computer.system.note(Traced::driver(bytes));
        }
    }

    pub(super) fn begin(mut self, node: N) {
        let (now, wall) = (self.host.now, self.host.wall());
        let Some((world, computer)) = self.parts() else { return };
        computer.begin(world, (now, wall), node);
        self.host.settle(self.id);
    }

    fn arrive(&mut self, what: Arrived) {
        let Some((_, computer)) = self.parts() else { return };
        computer.system.arrive(u64::MAX, what);
        self.host.settle(self.id);
    }

    /// The computer, at the host's time, and what is around it.
    fn parts(&mut self) -> Option<(&World, &mut Computer<N>)> {
        let computer = self.host.computers.get_mut(self.id.index())?;
        computer.system.now = self.host.now;
        Some((&self.host.world, computer))
    }
}

/// Where a device before a node maps it next.
fn another_port(before: SocketAddr) -> SocketAddr {
    let mut address = before;
    address.set_port(before.port().checked_add(1).unwrap_or(PORT + 1));
    address
}
