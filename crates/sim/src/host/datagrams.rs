//! Datagrams: lost, reordered, delayed, and dropped where a line's queue is full.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use weir_base::Instant;
use weir_base::time::nanos;
use weir_stack::{Datagrams, Input, SocketId, Transmit};

use super::wires::{SHORT_QUEUE, line_free};
use super::{Captured, Due, Host, Node, NodeId, Step, index};
use crate::model::line_time;
use crate::trace::Traced;

/// Datagrams under way. Slots are used again.
#[derive(Debug, Default)]
pub(super) struct Flying {
    slots: Vec<Option<Parcel>>,
    free: Vec<u32>,
    last: BTreeMap<(NodeId, NodeId), Instant>, // arrival of the latest datagram in order
}

#[derive(Debug)]
struct Parcel {
    to: NodeId,
    remote: SocketAddr,
    queued: bool,
    data: BytesMut,
}

impl Flying {
    fn put(&mut self, parcel: Parcel) -> u32 {
        if let Some(slot) = self.free.pop() {
            self.slots[slot as usize] = Some(parcel);
            return slot;
        }
        self.slots.push(Some(parcel));
        u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
    }

    fn take(&mut self, slot: u32) -> Option<Parcel> {
        self.free.push(slot);
        self.slots.get_mut(slot as usize)?.take()
    }
}

impl<N: Node> Host<N> {
    /// A stack sends datagrams.
    pub(super) fn datagrams_out(&mut self, from: NodeId, transmit: &Transmit, bytes: &[u8]) {
        let bytes = bytes.get(..transmit.len).unwrap_or(bytes);
        for datagram in bytes.chunks(transmit.segment.unwrap_or(transmit.len).max(1)) {
            self.datagram_out(from, transmit.remote, datagram);
        }
    }

    fn datagram_out(&mut self, from: NodeId, remote: SocketAddr, bytes: &[u8]) {
        let (now, model) = (self.now, self.net.model);
        let to = self.addresses.get(&remote).copied();
        let Some(seat) = self.seats.get_mut(index(from)) else { return };
        let full = seat.uplink_free > now + model.queue;
        let left = seat.uplink_free.max(now)
            + Duration::from_nanos(line_time(bytes.len() as u64, seat.place.line.up));
        if full {
            return seat.traffic.dropped();
        }
        seat.uplink_free = left;
        seat.traffic.sent(bytes.len());
        let Some(to) = to else { return };
        let one_way = nanos(self.round_trip(from, to)) / 2;
        let source = self.udp_of(from);
        if let Some(captured) = &mut self.net.capture {
            captured.push(Captured { at: now, from: source, to, bytes: bytes.to_vec() });
        }
        let (jitter, lost) = model.draw(&mut self.net.rng, one_way, 1);
        if lost || self.net.blocked.contains(&(from, to)) {
            return;
        }
        let mut due = left + Duration::from_nanos(one_way + jitter);
        if !self.net.rng.chance(model.reordered_per_million.into(), 1_000_000) {
            // most datagrams keep their order: jitter is a queue's, and a queue has one
            let last = self.net.flying.last.entry((from, to)).or_default();
            due = due.max(*last);
            *last = due;
        }
        let parcel = Parcel { to, remote: source, queued: false, data: BytesMut::from(bytes) };
        let slot = self.net.flying.put(parcel);
        self.net.queue.push(due, Due::Datagram { slot });
    }

    /// A datagram from anywhere arrives at a node now: for attackers that replay or forge.
    pub fn inject(&mut self, from: SocketAddr, to: NodeId, bytes: &[u8]) {
        let parcel = Parcel { to, remote: from, queued: false, data: BytesMut::from(bytes) };
        let slot = self.net.flying.put(parcel);
        self.net.queue.push(self.now, Due::Datagram { slot });
    }

    /// Keeps a copy of every datagram sent from now on; what was captured before is returned.
    pub fn capture(&mut self) -> Vec<Captured> {
        self.net.capture.replace(Vec::new()).unwrap_or_default()
    }

    pub(super) fn datagram_due(&mut self, slot: u32) -> Step {
        let now = self.now;
        let Some(mut parcel) = self.net.flying.take(slot) else { return Step::Network };
        let longest = self.net.model.queue;
        let Some(seat) = self.seats.get_mut(index(parcel.to)) else { return Step::Network };
        if !parcel.queued {
            let free = line_free(seat, now, parcel.data.len());
            if free > now + longest {
                seat.traffic.dropped();
                return Step::Network;
            }
            seat.downlink_free = free;
            if free > now + SHORT_QUEUE {
                parcel.queued = true;
                let slot = self.net.flying.put(parcel);
                self.net.queue.push(free, Due::Datagram { slot });
                return Step::Network;
            }
        }
        if seat.node.is_none() {
            return Step::Network;
        }
        seat.traffic.received(parcel.data.len());
        let id = parcel.to;
        self.trace.add(now, id.0, Traced::datagram(parcel.data.len()));
        let datagrams = Datagrams {
            socket: SocketId(0),
            remote: parcel.remote,
            local_ip: Some(self.udp_of(id).ip()),
            ecn: None,
            stride: parcel.data.len(),
            data: parcel.data,
        };
        self.hand(id, Input::Datagrams(datagrams));
        self.turn(id);
        Step::Turned(id)
    }
}
