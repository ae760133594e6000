//! Datagrams: lost, reordered, delayed, duplicated, corrupted, and dropped where a line's queue or a socket's buffer is full.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use weir_base::time::nanos;
use weir_stack::{Ecn, Transmit};

use super::drops::Reason;
use super::lane::{Began, FLOWS, Lane};
use super::paths::Path;
use super::system::{Arrived, System};
use super::traffic::Captured;
use super::wires::SHORT_QUEUE;
use super::world::{Due, World};
use crate::id::NodeId;
use crate::model::{jitter, line_time, turn_bit};
use crate::queue::Key;

/// Bytes of headers of a datagram: IP (20) and UDP (8).
const HEADERS: u64 = 28;

/// Who sends what a driver injects, in the order of what is due at the same time: after all nodes.
pub(super) const DRIVER: u32 = u32::MAX;

/// A datagram that arrives.
pub(super) struct Incoming {
    pub(super) remote: SocketAddr,
    pub(super) port: u16, // of the device before the node
    pub(super) ecn: Option<Ecn>,
    pub(super) data: BytesMut,
    pub(super) lined: bool,
}

impl System {
    /// The node sends datagrams; those that it holds back by `pause` may be overtaken.
    pub(super) fn datagrams_out(
        &mut self,
        world: &World,
        transmit: &Transmit,
        bytes: &BytesMut,
        pause: Duration,
    ) {
        for datagram in bytes.chunks(transmit.segment.unwrap_or(transmit.len).max(1)) {
            self.datagram_out(world, transmit, datagram, pause);
        }
    }

    fn datagram_out(&mut self, world: &World, transmit: &Transmit, bytes: &[u8], pause: Duration) {
        let Transmit { remote, ecn, .. } = *transmit;
        let (now, model) = (self.now, &world.model);
        let Some(place) = world.place(self.id) else { return };
        let to = world.node_at(remote);
        let flow = to.map_or(u64::MAX, |to| to.0.into());
        if bytes.len() > model.mtu {
            self.record.traffic.too_long += 1;
            return self.dropped(Reason::TooLong, flow, bytes.len());
        }
        if self.line.uplink_free > now + model.queue {
            return self.dropped(Reason::Uplink, flow, bytes.len());
        }
        let on_line = bytes.len() as u64 + HEADERS;
        let left = self.line.uplink_free.max(now) + Duration::from_nanos(line_time(on_line, place.line.up));
        self.line.uplink_free = left;
        self.record.traffic.sent(bytes.len());
        self.record.traffic.headers_out += HEADERS;
        let (Some(to), Some(public)) = (to, world.public.get(self.id.index())) else {
            return self.dropped(Reason::Nobody, flow, bytes.len());
        };
        let (id, open) = (self.id, self.paths.to(to) == Path::Open);
        let lane = self.lanes.entry(to).or_insert_with(|| Lane::new(world, id, to, Began::Us));
        let source = match (lane.began, model.mapping) {
            (Began::Them, _) => public.listens,
            (Began::Us, None) => public.mapped,
            (Began::Us, Some(forgotten)) => {
                let (port, another) = lane.leave(forgotten, now);
                self.record.traffic.device.remapped += u64::from(another);
                SocketAddr::new(public.mapped.ip(), port)
            }
        };
        if let Some(captured) = &mut self.record.captured {
            captured.push(Captured { at: now, from: source, to, bytes: bytes.to_vec() });
        }
        let one_way = nanos(world.round_trip(self.id, to)) / 2;
        if lane.losses.lost(model, &mut lane.draws, now.as_nanos(), 1) || !open {
            let reason = if open { Reason::Lost } else { Reason::Path };
            return self.dropped(reason, flow, bytes.len());
        }
        let mut due = left + Duration::from_nanos(one_way + jitter(model, &mut lane.draws, one_way));
        let overtaken = lane.draws.per_million(model.reordered_per_million.into());
        if overtaken || !pause.is_zero() {
            due = due + pause;
        } else {
            // most datagrams keep their order: jitter is a queue's, and a queue has one
            due = due.max(lane.last);
            lane.last = due;
        }
        let mut data = BytesMut::from(bytes);
        let corrupted = lane.draws.per_million(model.corrupted_per_million.into());
        if corrupted {
            turn_bit(&mut data, lane.draws.up_to(bytes.len() as u64 * 8 - 1));
            self.record.traffic.altered += 1;
        }
        let twice = lane.draws.per_million(model.duplicated_per_million.into()).then(|| data.clone());
        let queue = left.since(now);
        let ecn = if ecn.is_some() && queue > model.queue / 4 { Some(Ecn::Ce) } else { ecn };
        if corrupted {
            self.dropped(Reason::Corrupted, flow, bytes.len());
        }
        for data in twice.into_iter().chain([data]) {
            let key = self.agenda.key(due);
            let due = Due::Datagram { remote: source, port: remote.port(), ecn, data, lined: false };
            self.agenda.post(to, key, due);
        }
    }

    /// A datagram arrives at this node's line, or has passed it.
    pub(super) fn datagram_due(&mut self, world: &World, key: Key, incoming: Incoming) {
        let Incoming { remote, port, mut ecn, data, lined } = incoming;
        let now = self.now;
        let Some(place) = world.place(self.id) else { return };
        let (flow, len) = (u64::from(key.from), data.len());
        if lined {
            self.line.waiting -= 1;
        } else {
            let on_line = data.len() as u64 + HEADERS;
            let free =
                self.line.downlink_free.max(now) + Duration::from_nanos(line_time(on_line, place.line.down));
            if self.line.downlink_free > now + world.model.queue {
                return self.dropped(Reason::Downlink, flow, len);
            }
            self.line.downlink_free = free;
            if ecn.is_some() && free > now + world.model.queue / 4 {
                ecn = Some(Ecn::Ce);
            }
            if free > now + SHORT_QUEUE || self.line.waiting > 0 {
                self.line.waiting += 1;
                let key = Key { due: free, ..key };
                return self.agenda.push(key, Due::Datagram { remote, port, ecn, data, lined: true });
            }
        }
        if !self.power.is_up() {
            return self.dropped(Reason::Down, flow, len);
        }
        if key.from != DRIVER {
            let (id, from) = (self.id, NodeId(key.from));
            let lane = self.lanes.entry(from).or_insert_with(|| Lane::new(world, id, from, Began::Them));
            self.record.traffic.overtaken += u64::from(key.sequence < lane.newest);
            lane.newest = lane.newest.max(key.sequence);
            let known = world.model.mapping.is_some_and(|forgotten| lane.lets_in(forgotten, now, port));
            if port >= FLOWS && !known {
                self.record.traffic.device.unmapped += 1;
                return self.dropped(Reason::Forgotten, flow, len);
            }
        }
        if !self.inbox.has_room(world, len) {
            return self.dropped(Reason::Buffer, flow, len);
        }
        self.record.traffic.received(data.len());
        self.record.traffic.headers_in += HEADERS;
        self.record.traffic.marked += u64::from(ecn == Some(Ecn::Ce));
        let source = u64::from(remote.port()) << 32 | u64::from(key.from);
        self.arrive(source, Arrived::Datagram { remote, ecn, data });
    }
}
