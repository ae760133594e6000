//! Nodes come, stop and come back: by a crash of their process, by a loss of power, by hanging; clocks drift and step.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use weir_base::identity::PeerId;
use weir_base::{Instant, UnixTime};
use weir_stack::{HostChange, SocketId};

use super::seat::{Arrived, Seat};
use super::world::Public;
use super::{Birth, Host, Node, NodeId, Power, Udp, index};
use crate::check::Watch;
use crate::model::Place;
use crate::trace::{Kind, Traced};

/// The UDP port of every node, as it knows itself.
const PORT: u16 = 9000;

/// What [`Kind::Life`] tells.
const STARTED: u64 = 1;
const CRASHED: u64 = 2;
const POWERED_OFF: u64 = 3;
const HUNG: u64 = 4;
const WENT_ON: u64 = 5;

impl<N: Node> Host<N> {
    /// Puts a node in, and lets it have its first turn. `make` builds it and says who it is; where it fails nothing happened.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn add<E>(
        &mut self,
        place: Place,
        udp: Udp,
        make: impl FnOnce(Birth) -> Result<(N, PeerId), E>,
    ) -> Result<NodeId, E> {
        let id = NodeId(u32::try_from(self.seats.len()).unwrap_or(u32::MAX));
        let (node, peer) = make(self.birth(id, 0))?;
        self.world.places.push(place);
        self.world.peers.push(peer);
        self.world.public.push(Public::new(udp_of(id)));
        let mut seat = Seat::new(&self.world, id, udp);
        seat.watch = self.checker.as_ref().map(|checker| Watch::new(id, checker.channels.clone()));
        seat.captured = self.capturing.then(Vec::new);
        self.seats.push(seat);
        if udp == Udp::Bound {
            self.world.addresses.insert(udp_of(id), id);
        }
        self.begin(id, node);
        Ok(id)
    }

    /// Stops a node between two turns, without goodbye or flush: what has not left its line is lost, its wires are reset by
    /// its system, datagrams to it vanish, dials are refused. Returns what it was.
    pub fn crash(&mut self, id: NodeId) -> Option<N> {
        self.stop(id, Power::Stopped, CRASHED)
    }

    /// A node's machine loses its power: nobody is told anything, and nothing answers until it is started again.
    pub fn power_off(&mut self, id: NodeId) -> Option<N> {
        self.stop(id, Power::Off, POWERED_OFF)
    }

    fn stop(&mut self, id: NodeId, power: Power, told: u64) -> Option<N> {
        let now = self.now;
        let seat = self.seats.get_mut(index(id))?;
        let node = seat.node.take()?;
        (seat.now, seat.power, seat.turn_at) = (now, power, Instant::FAR);
        (seat.uplink_free, seat.busy_until) = (Instant::ZERO, now);
        seat.inbox.clear();
        seat.leaving.clear();
        seat.note(Traced::number(Kind::Life, told));
        seat.drop_wires(&self.world);
        self.settle(id);
        Some(*node)
    }

    /// A node's process hangs: its system goes on, accepts wires and takes what comes, but it has no turns until
    /// [`go_on`](Self::go_on).
    pub fn hang(&mut self, id: NodeId) {
        self.set_power(id, Power::Running, Power::Hung, HUNG);
    }

    /// A node that hung goes on with what arrived meanwhile.
    pub fn go_on(&mut self, id: NodeId) {
        self.set_power(id, Power::Hung, Power::Running, WENT_ON);
        if let Some(seat) = self.seats.get_mut(index(id)) {
            seat.wake();
        }
        self.settle(id);
    }

    fn set_power(&mut self, id: NodeId, from: Power, to: Power, told: u64) {
        let now = self.now;
        let Some(seat) = self.seats.get_mut(index(id)).filter(|seat| seat.power == from) else { return };
        (seat.now, seat.power) = (now, to);
        seat.note(Traced::number(Kind::Life, told));
        self.settle(id);
    }

    /// Starts a stopped node again, at the same place and addresses, with another seed.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn restart<E>(
        &mut self,
        id: NodeId,
        make: impl FnOnce(Birth) -> Result<(N, PeerId), E>,
    ) -> Result<(), E> {
        let Some(seat) = self.seats.get_mut(index(id)).filter(|seat| seat.node.is_none()) else {
            return Ok(());
        };
        seat.lives += 1;
        let lives = seat.lives;
        let (node, peer) = make(self.birth(id, lives))?;
        self.world.peers[index(id)] = peer;
        self.begin(id, node);
        Ok(())
    }

    /// From now on a node's clock is this much too fast, in parts per million: its timers and its wall time.
    pub fn set_drift(&mut self, id: NodeId, parts_per_million: i32) {
        let now = self.now;
        if let Some(seat) = self.seats.get_mut(index(id)) {
            seat.now = now;
            seat.clock.set_drift(now, parts_per_million);
            seat.wake();
        }
        self.settle(id);
    }

    /// A node's wall clock is set to this; its timers go on.
    pub fn set_wall(&mut self, id: NodeId, wall: UnixTime) {
        self.arrive(id, Arrived::Host(HostChange::Wall(wall)));
    }

    /// The device before a node forgets the flows that the node began, as NAT devices do: what the node sends on them from now
    /// on comes from another port, and what is sent to the port before is lost. What it listens on is forwarded as before.
    /// The node is not told.
    pub fn rebind(&mut self, id: NodeId) {
        let Some(public) = self.world.public.get_mut(index(id)) else { return };
        let before = public.mapped;
        public.mapped.set_port(before.port().checked_add(1).unwrap_or(PORT + 1));
        let (listens, mapped) = (public.listens, public.mapped);
        if before != listens {
            self.world.addresses.remove(&before);
        }
        self.world.addresses.insert(mapped, id);
    }

    /// A node moves to another place: its address there is a new one, its wires are reset, and it is told that its socket was
    /// bound again. Returns its address.
    pub fn relocate(&mut self, id: NodeId, place: Place) -> Option<SocketAddr> {
        let now = self.now;
        let public = self.world.public.get_mut(index(id))?;
        let before = *public;
        let mut source = public.mapped;
        source.set_port(source.port().checked_add(1).unwrap_or(PORT + 1));
        *public = Public::new(source);
        self.world.addresses.remove(&before.listens);
        self.world.addresses.remove(&before.mapped);
        self.world.addresses.insert(source, id);
        *self.world.places.get_mut(index(id))? = place;
        let seat = self.seats.get_mut(index(id))?;
        seat.now = now;
        seat.lose_wires(&self.world);
        self.settle(id);
        if self.seats.get(index(id))?.udp == Udp::Bound {
            self.arrive(id, Arrived::Host(HostChange::Unbound(SocketId(0))));
            let bound = HostChange::Bound { socket: SocketId(0), local: source, may_fragment: false };
            self.arrive(id, Arrived::Host(bound));
        }
        Some(source)
    }

    /// Where a node is.
    pub fn place(&self, id: NodeId) -> Option<Place> {
        self.world.place(id)
    }

    /// Who a node is, or was before it crashed.
    pub fn peer(&self, id: NodeId) -> Option<PeerId> {
        self.world.peers.get(index(id)).copied()
    }

    /// A round trip between two nodes, without queues and jitter.
    pub fn round_trip(&self, one: NodeId, other: NodeId) -> std::time::Duration {
        self.world.round_trip(one, other)
    }

    /// The address at which others reach a node. Neighbours in number are in different /16 networks.
    pub fn udp_of(&self, id: NodeId) -> SocketAddr {
        self.world.public.get(index(id)).map_or_else(|| udp_of(id), |public| public.listens)
    }

    fn birth(&self, id: NodeId, lives: u32) -> Birth {
        Birth {
            id,
            seed: self.seed_of(id, lives),
            start: self.world.start,
            endpoint: u64::from(id.0),
            udp: udp_of(id),
            now: self.now,
        }
    }

    fn begin(&mut self, id: NodeId, node: N) {
        let (now, wall) = (self.now, self.wall());
        let Some(seat) = self.seats.get_mut(index(id)) else { return };
        (seat.now, seat.node, seat.power) = (now, Some(Box::new(node)), Power::Running);
        seat.note(Traced::number(Kind::Life, STARTED));
        self.arrive(id, Arrived::Host(HostChange::Wall(wall)));
        if self.seats.get(index(id)).is_some_and(|seat| seat.udp == Udp::Bound) {
            let local = udp_of(id);
            let bound = HostChange::Bound { socket: SocketId(0), local, may_fragment: false };
            self.arrive(id, Arrived::Host(bound));
        }
        self.turn(id);
    }

    fn arrive(&mut self, id: NodeId, what: Arrived) {
        let now = self.now;
        let Some(seat) = self.seats.get_mut(index(id)) else { return };
        seat.now = now;
        seat.arrive(u64::MAX, what);
        self.settle(id);
    }
}

/// The address of a node's UDP socket as it knows it itself.
pub(super) fn udp_of(id: NodeId) -> SocketAddr {
    let [_, high, middle, low] = id.0.to_be_bytes();
    let ip = Ipv4Addr::new(128 + (middle & 0x3f), low, high, 1 + (middle >> 6));
    SocketAddr::new(IpAddr::V4(ip), PORT)
}
