//! What goes on at a node's computer without the node: its operating system keeps wires and sockets, its line carries what
//! leaves and arrives, and what is due at it stands in its agenda.
//!
//! A computer is carried out by itself: what it does to others it leaves in its agenda, due no sooner than a path takes. So the
//! order in which computers are carried out, within the shortest latency, decides nothing.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use litemap::LiteMap;
use weir_base::Instant;
use weir_stack::{Ecn, Frame, HostChange, PipeChange, PipeId, WireChange};

use super::drops::Drops;
use super::end::End;
use super::lane::Lane;
use super::node::{Power, Udp};
use super::paths::Paths;
use super::traffic::{Captured, NodeTraffic};
use super::wires::HEADERS;
use super::world::{Due, Parcel, World};
use crate::check::{Change, Grants, Watch};
use crate::id::NodeId;
use crate::queue::{Key, Queue};
use crate::trace::{Trace, Traced};

/// Bytes of frames that may wait for a turn. They are within the credit of the node's links, so that only a peer that
/// breaks its word comes this far; its wire is reset.
const FRAMES_HELD: usize = 256 << 20;

/// See the module.
pub(super) struct System {
    pub(super) id: NodeId,
    pub(super) now: Instant,
    pub(super) power: Power,
    pub(super) udp: Udp,
    pub(super) agenda: Agenda,
    pub(super) line: Queues,
    pub(super) paths: Paths,
    pub(super) wires: Wires,
    pub(super) lanes: BTreeMap<NodeId, Lane>,
    pub(super) inbox: Inbox,
    pub(super) record: Record,
}

/// This node's ends of wires.
#[derive(Debug, Default)]
pub(super) struct Wires {
    pub(super) ends: LiteMap<u64, Box<End>>,
    pub(super) pipes: BTreeMap<PipeId, u64>, // those of `ends` that carry bytes
    pub(super) dialled: u32,
}

/// What is due here, and what this computer has for others.
#[derive(Debug)]
pub(super) struct Agenda {
    id: NodeId,
    queue: Queue<Due>,
    out: Vec<Parcel>,
    sequence: u64,
}

/// The queues before both directions of the line.
#[derive(Debug, Default)]
pub(super) struct Queues {
    pub(super) uplink_free: Instant,
    pub(super) downlink_free: Instant,
    pub(super) waiting: u32, // pieces, for the downlink
}

/// What was seen of a node.
pub(super) struct Record {
    pub(super) trace: Trace,
    pub(super) traffic: NodeTraffic,
    pub(super) captured: Option<Vec<Captured>>,
    pub(super) watch: Option<Watch>,
    pub(super) grants: Option<Grants>,
    pub(super) drops: Drops,
    pub(super) changes: Vec<(Instant, NodeId, Change)>,
    pub(super) checking: Duration, // real time that the watch took
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
    Bytes(PipeId, Bytes),
    Pipe(PipeId, PipeChange),
    /// The other end has read so many bytes more.
    Taken(PipeId, u64),
    Datagram {
        remote: SocketAddr,
        ecn: Option<Ecn>,
        data: BytesMut,
    },
    Host(HostChange),
    Planned(u64),
}

impl Agenda {
    const fn new(id: NodeId) -> Self {
        Self { id, queue: Queue::new(), out: Vec::new(), sequence: 0 }
    }

    /// When something comes next.
    pub(super) fn next(&self) -> Option<Instant> {
        self.queue.peek().map(|key| key.due)
    }

    pub(super) fn pop(&mut self) -> Option<(Key, Due)> {
        self.queue.pop()
    }

    pub(super) fn push(&mut self, key: Key, due: Due) {
        self.queue.push(key, due);
    }

    /// Something of this node's own comes at `at`.
    pub(super) fn plan(&mut self, at: Instant, due: Due) {
        let key = self.key(at);
        self.queue.push(key, due);
    }

    /// Something for another node.
    pub(super) fn post(&mut self, to: NodeId, key: Key, due: Due) {
        self.out.push(Parcel { to, key, due });
    }

    pub(super) const fn key(&mut self, due: Instant) -> Key {
        self.sequence += 1;
        Key { due, from: self.id.0, sequence: self.sequence }
    }

    /// What there is for others.
    pub(super) fn take_out(&mut self) -> Vec<Parcel> {
        std::mem::take(&mut self.out)
    }

    /// What there will be for others goes to this memory, behind what there is.
    pub(super) fn lend(&mut self, mut memory: Vec<Parcel>) {
        memory.append(&mut self.out);
        self.out = memory;
    }
}

impl Inbox {
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Where what comes next is from.
    pub(super) fn source(&self) -> Option<u64> {
        self.list.front().map(|(source, _)| *source)
    }

    pub(super) fn pop(&mut self) -> Option<Arrived> {
        let (_, what) = self.list.pop_front()?;
        match &what {
            Arrived::Frame(_, frame) => self.frame_bytes -= frame.wire_len(),
            Arrived::Bytes(_, bytes) => self.frame_bytes -= bytes.len(),
            Arrived::Datagram { data, .. } => self.datagram_bytes -= data.len(),
            _ => {}
        }
        Some(what)
    }

    fn push(&mut self, source: u64, what: Arrived) {
        match &what {
            Arrived::Frame(_, frame) => self.frame_bytes += frame.wire_len(),
            Arrived::Bytes(_, bytes) => self.frame_bytes += bytes.len(),
            Arrived::Datagram { data, .. } => self.datagram_bytes += data.len(),
            _ => {}
        }
        self.list.push_back((source, what));
    }

    /// Whether a datagram of this length finds room.
    pub(super) fn has_room(&self, world: &World, len: usize) -> bool {
        self.datagram_bytes + len <= world.model.processor.receive_buffer
    }

    pub(super) fn is_overrun(&self) -> bool {
        self.frame_bytes > FRAMES_HELD
    }
}

impl Record {
    /// A wire is closed: nothing on it is granted any more.
    pub(super) fn unwatch(&mut self, now: Instant, wire: u64) {
        if let Some((peer, change)) = self.watch.as_mut().and_then(|watch| watch.closed(wire)) {
            self.changes.push((now, peer, change));
        }
        self.grants.iter_mut().for_each(|grants| grants.closed(wire));
    }

    /// A turn of the node has ended: what it advertised in it is compared with what it may.
    pub(super) fn has_granted(&mut self, now: Instant, id: NodeId) {
        if let Some(change) = self.grants.as_mut().and_then(Grants::take) {
            self.changes.push((now, id, change));
        }
    }
}

impl System {
    pub(super) fn new(id: NodeId, udp: Udp) -> Self {
        Self {
            id,
            now: Instant::ZERO,
            power: Power::Stopped,
            udp,
            agenda: Agenda::new(id),
            line: Queues::default(),
            paths: Paths::default(),
            wires: Wires::default(),
            lanes: BTreeMap::new(),
            inbox: Inbox::default(),
            record: Record {
                trace: Trace::new(),
                traffic: NodeTraffic::default(),
                captured: None,
                watch: None,
                grants: None,
                drops: Drops::default(),
                changes: Vec::new(),
                checking: Duration::ZERO,
            },
        }
    }

    /// What comes next happens.
    pub(super) fn due(&mut self, world: &World, key: Key, due: Due) {
        match due {
            Due::Cargo { wire, cargo, echo, packets, lined } => {
                self.cargo_due(world, key, super::wires::Incoming { wire, cargo, echo, packets, lined });
            }
            Due::Signal { wire, from, signal } => {
                if let Some(due) = self.behind_the_line(wire, signal) {
                    return self.agenda.push(Key { due, ..key }, Due::Signal { wire, from, signal });
                }
                self.record.traffic.headers_in += if self.power == Power::Off { 0 } else { HEADERS };
                self.signal_due(world, wire, from, signal);
            }
            Due::Datagram { remote, port, ecn, data, lined } => {
                self.datagram_due(world, key, super::datagrams::Incoming { remote, port, ecn, data, lined });
            }
            Due::Release { wire } => self.release(world, wire),
            Due::Retry { wire, tries } => self.retry(world, wire, tries),
            Due::Forget { wire } => drop(self.remove(wire)),
            Due::Planned { number } => self.arrive(u64::MAX, Arrived::Planned(number)),
        }
    }

    /// Something arrived for the node, which gets a turn for it as soon as it has time.
    pub(super) fn arrive(&mut self, source: u64, what: Arrived) {
        if self.power.is_up() {
            self.inbox.push(source, what);
        }
    }

    pub(super) fn note(&mut self, event: Traced) {
        self.record.trace.add(self.now, self.id.0, event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_is_for_others_stays_when_memory_is_lent() {
        let mut agenda = Agenda::new(NodeId(0));
        let post = |agenda: &mut Agenda, wire| {
            let key = agenda.key(Instant::ZERO);
            agenda.post(NodeId(1), key, Due::Forget { wire });
        };
        post(&mut agenda, 7);
        agenda.lend(Vec::with_capacity(100));
        post(&mut agenda, 8);
        let out = agenda.take_out();
        let wires = out.iter().map(|parcel| matches!(parcel.due, Due::Forget { wire: 7 | 8 }));
        assert_eq!(wires.collect::<Vec<_>>(), [true, true]);
        assert!(out.capacity() >= 100, "the memory that was lent is used");
    }
}
