//! What all nodes of a host may look at while one of them is carried out, and what they leave for each other.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use weir_base::identity::PeerId;
use weir_stack::{Ecn, Frame, Start};

use super::lane::FLOWS;
use crate::id::NodeId;
use crate::model::{Draws, Model, Place};
use crate::queue::Key;
use crate::report::Stopwatch;

/// The last bytes of addresses in a node's /24 that are nobody's at first: [`udp_of`] gives 1 to 4.
const GUESTS: std::ops::RangeInclusive<u8> = 5..=254;

/// The UDP port of every node, as it knows itself.
pub(super) const PORT: u16 = 9000;

/// What is around the nodes. Nothing here changes while they are carried out.
pub struct World {
    pub(super) seed: u64,
    pub(super) start: Start,
    pub(super) model: Model,
    pub(super) places: Vec<Place>,
    pub(super) peers: Vec<PeerId>,
    pub(super) addresses: BTreeMap<SocketAddr, NodeId>,
    pub(super) sample: u32, // what is granted is checked at one node of so many
    pub(super) public: Vec<Public>,
    pub(super) stopwatch: Option<Stopwatch>,
}

impl World {
    /// Where a node is.
    pub fn place(&self, id: NodeId) -> Option<Place> {
        self.places.get(id.index()).copied()
    }

    /// Who a node is, or was before it crashed.
    pub fn peer(&self, id: NodeId) -> Option<PeerId> {
        self.peers.get(id.index()).copied()
    }

    /// The UDP address at which others reach a node. Neighbours in number are in different /16 networks.
    pub fn udp_of(&self, id: NodeId) -> SocketAddr {
        self.public.get(id.index()).map_or_else(|| udp_of(id), |public| public.listens)
    }

    /// A round trip between two nodes, without queues and jitter.
    pub fn round_trip(&self, one: NodeId, other: NodeId) -> Duration {
        let places = self.place(one).zip(self.place(other));
        places.map_or(Duration::ZERO, |(one, other)| one.round_trip(other))
    }

    /// What is granted is checked at one node of so many.
    pub const fn sample(&self) -> u32 {
        self.sample
    }

    /// Whether what this node grants is checked.
    pub const fn checks(&self, id: NodeId) -> bool {
        id.0.is_multiple_of(self.sample)
    }

    /// The node in whose network a node is: itself, unless it moved there ([`ComputerMut::move_beside`](super::ComputerMut::move_beside)).
    pub fn network_of(&self, id: NodeId) -> NodeId {
        self.public.get(id.index()).map_or(id, |public| public.network)
    }

    /// An address that nobody has in the /24 of a node's, the lowest; `None` where all are taken.
    pub(super) fn free_beside(&self, id: NodeId) -> Option<SocketAddr> {
        let IpAddr::V4(ip) = udp_of(self.network_of(id)).ip() else { return None };
        let [first, second, third, _] = ip.octets();
        let is_free = |address: &IpAddr| !self.addresses.keys().any(|taken| taken.ip() == *address);
        let all = GUESTS.map(|last| IpAddr::V4(Ipv4Addr::new(first, second, third, last)));
        all.into_iter().find(is_free).map(|ip| SocketAddr::new(ip, PORT))
    }

    /// The node that an address leads to.
    pub(super) fn node_at(&self, address: SocketAddr) -> Option<NodeId> {
        let flow = || self.behind(address.ip()).filter(|_| address.port() >= FLOWS);
        self.addresses.get(&address).copied().or_else(flow)
    }

    /// The node at this IP address, where it has not had another port.
    fn behind(&self, ip: IpAddr) -> Option<NodeId> {
        let moved = || self.addresses.get(&SocketAddr::new(ip, PORT)).copied();
        node_of(ip).filter(|id| id.index() < self.places.len()).or_else(moved)
    }

    /// Real time on the host's clock; 0 where none was handed in.
    pub(super) fn stopwatch(&self) -> Duration {
        self.stopwatch.map_or(Duration::ZERO, |read| read())
    }

    /// Real time since then.
    pub(super) fn since(&self, begun: Duration) -> Duration {
        self.stopwatch().saturating_sub(begun)
    }

    /// Chance of what flows from one node to another; `what` tells flows apart.
    pub(super) fn draws(&self, from: NodeId, to: NodeId, what: u64) -> Draws {
        Draws::of(self.seed, [from.0.into(), to.0.into(), what])
    }
}

/// The UDP addresses under which others know a node, as the device before it maps them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Public {
    /// Forwarded to the node, whoever sends. What the node answers to flows that came here leaves from here.
    pub(super) listens: SocketAddr,
    /// Flows that the node began leave from here.
    pub(super) mapped: SocketAddr,
    /// The node whose network it is in: wires have no address, so that this is their group.
    pub(super) network: NodeId,
}

impl Public {
    pub(super) const fn new(address: SocketAddr, network: NodeId) -> Self {
        Self { listens: address, mapped: address, network }
    }
}

/// Something one node has for another.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) to: NodeId,
    pub(super) key: Key,
    pub(super) due: Due,
}

/// What comes at a node.
#[derive(Debug)]
pub(super) enum Due {
    /// A frame, or bytes, arrive.
    Cargo {
        wire: u64,
        cargo: Cargo,
        echo: Echo,
        packets: u32, // that begin with it; it may be the rest of one that came before
        lined: bool,  // it has its place on the receiver's line already
    },
    /// The systems of both ends have something to say about a wire.
    Signal { wire: u64, from: NodeId, signal: Signal },
    /// A datagram arrives, at this port of the device before the node.
    Datagram { remote: SocketAddr, port: u16, ecn: Option<Ecn>, data: BytesMut, lined: bool },
    /// A direction that its window held back may send again.
    Release { wire: u64 },
    /// The other end has not answered a handshake.
    Retry { wire: u64, tries: u32 },
    /// Nothing more can come of a closed wire.
    Forget { wire: u64 },
    /// The driver planned something.
    Planned { number: u64 },
}

/// What one piece on a wire is.
#[derive(Clone, Debug)]
pub(super) enum Cargo {
    Frame(Frame),
    Bytes(Bytes),
    /// This direction of a byte stream ends here.
    End,
}

impl Cargo {
    pub(super) fn wire_len(&self) -> usize {
        match self {
            Self::Frame(frame) => frame.wire_len(),
            Self::Bytes(bytes) => bytes.len(),
            Self::End => 0,
        }
    }
}

/// What a frame tells of the other direction, as acknowledgements do.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Echo {
    pub(super) queue: u32, // that what came last met before this node's line, in microseconds
    pub(super) lost: bool, // something was dropped there
}

/// What the system of one end says to that of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    /// Asks for a wire that carries this.
    Ask(Carries),
    /// Takes it.
    Accept,
    /// Has heard that it was taken.
    Confirm,
    /// Will send nothing more, after everything it sent.
    Close,
    /// Knows no such wire, or nobody listens.
    Reset,
    /// Its node has read so many bytes since the wire began.
    Read(u64),
}

/// What a wire carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carries {
    Frames,
    Bytes,
}

/// The address of a node's UDP socket as it knows it itself.
pub(super) fn udp_of(id: NodeId) -> SocketAddr {
    let [_, high, middle, low] = id.0.to_be_bytes();
    let ip = Ipv4Addr::new(128 + (middle & 0x3f), low, high, 1 + (middle >> 6));
    SocketAddr::new(IpAddr::V4(ip), PORT)
}

/// The node at this IP address: the inverse of [`udp_of`].
fn node_of(ip: IpAddr) -> Option<NodeId> {
    let IpAddr::V4(ip) = ip else { return None };
    let [first, low, high, last] = ip.octets();
    let middle = first.checked_sub(128).filter(|part| *part < 64)?
        | (last.checked_sub(1).filter(|part| *part < 4)? << 6);
    Some(NodeId(u32::from_be_bytes([0, high, middle, low])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_leads_to_its_node() {
        for id in [0, 1, 255, 256, 16_383, 16_384, 70_000, 1 << 20].map(NodeId) {
            assert_eq!(node_of(udp_of(id).ip()), Some(id));
        }
        for other in [[9, 9, 9, 9], [192, 0, 0, 1], [128, 0, 0, 0], [128, 0, 0, 5]] {
            assert_eq!(node_of(IpAddr::V4(Ipv4Addr::from(other))), None, "{other:?}");
        }
    }
}
