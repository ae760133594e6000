//! Nodes come, crash and come back; paths between them break and heal.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use weir_base::Instant;
use weir_base::identity::PeerId;
use weir_stack::{HostChange, Input, SocketId};

use super::{Birth, Host, Node, NodeId, NodeTraffic, Seat, Udp, index};
use crate::model::Place;

/// The UDP port of every node.
const PORT: u16 = 9000;

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
        self.seats.push(Seat {
            node: Some(Box::new(node)),
            peer,
            place,
            udp,
            lives: 0,
            scheduled: Instant::FAR,
            uplink_free: Instant::ZERO,
            downlink_free: Instant::ZERO,
            wires: BTreeSet::new(),
            tamper: None,
            traffic: NodeTraffic::default(),
        });
        if udp == Udp::Bound {
            self.addresses.insert(self.udp_of(id), id);
        }
        self.begin(id);
        Ok(id)
    }

    /// Stops a node between two turns, without goodbye or flush: what has not left its line is lost, its wires are reset by
    /// its system, datagrams to it vanish. Returns what it was.
    pub fn crash(&mut self, id: NodeId) -> Option<N> {
        let seat = self.seat(id)?;
        let node = seat.node.take()?;
        (seat.scheduled, seat.uplink_free) = (Instant::FAR, Instant::ZERO);
        for wire in std::mem::take(&mut seat.wires) {
            self.break_wire(wire, id);
        }
        Some(*node)
    }

    /// Starts a crashed node again, at the same place and addresses, with another seed.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn restart<E>(
        &mut self,
        id: NodeId,
        make: impl FnOnce(Birth) -> Result<(N, PeerId), E>,
    ) -> Result<(), E> {
        let Some(seat) = self.seat(id).filter(|seat| seat.node.is_none()) else { return Ok(()) };
        seat.lives += 1;
        let lives = seat.lives;
        let (node, peer) = make(self.birth(id, lives))?;
        if let Some(seat) = self.seat(id) {
            (seat.node, seat.peer) = (Some(Box::new(node)), peer);
        }
        self.begin(id);
        Ok(())
    }

    /// Nothing from `from` reaches `to` any more; the other way still works. Frames wait, datagrams are lost.
    pub fn block(&mut self, from: NodeId, to: NodeId) {
        self.net.blocked.insert((from, to));
    }

    /// What [`block`](Self::block) did ends.
    pub fn heal(&mut self, from: NodeId, to: NodeId) {
        if self.net.blocked.remove(&(from, to)) {
            self.heal_wires(from, to);
        }
    }

    /// Where a node is.
    pub fn place(&self, id: NodeId) -> Option<Place> {
        self.seats.get(index(id)).map(|seat| seat.place)
    }

    /// Who a node is, or was before it crashed.
    pub fn peer(&self, id: NodeId) -> Option<PeerId> {
        self.seats.get(index(id)).map(|seat| seat.peer)
    }

    /// A round trip between two nodes, without queues and jitter.
    pub fn round_trip(&self, one: NodeId, other: NodeId) -> Duration {
        let region = |id: NodeId| self.seats.get(index(id)).map(|seat| seat.place.region);
        region(one).zip(region(other)).map_or(Duration::ZERO, |(one, other)| one.round_trip(other))
    }

    /// The address of a node's UDP socket. Neighbours in number are in different /16 networks.
    pub fn udp_of(&self, id: NodeId) -> SocketAddr {
        let [_, high, middle, low] = id.0.to_be_bytes();
        let ip = Ipv4Addr::new(128 + (middle & 0x3f), low, high, 1 + (middle >> 6));
        SocketAddr::new(IpAddr::V4(ip), PORT)
    }

    fn birth(&self, id: NodeId, lives: u32) -> Birth {
        Birth {
            id,
            seed: self.seed_of(id, lives),
            start: self.start,
            endpoint: u64::from(id.0),
            udp: self.udp_of(id),
            now: self.now,
        }
    }

    fn begin(&mut self, id: NodeId) {
        self.hand(id, Input::Host(HostChange::Wall(self.wall())));
        if self.seats.get(index(id)).is_some_and(|seat| seat.udp == Udp::Bound) {
            let local = self.udp_of(id);
            let bound = HostChange::Bound { socket: SocketId(0), local, may_fragment: false };
            self.hand(id, Input::Host(bound));
        }
        self.turn(id);
    }
}
