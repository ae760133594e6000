//! Wires of frames, and the byte streams (`pipes`) beside them, as the systems of both ends keep them: set up by a handshake of three, never lossy, always in order, at
//! the pace that TCP would allow. Each node has its own end; nothing else is shared.
//!
//! What a network does to packets shows as delay: a lost frame comes a round trip later and all behind it with it, and the
//! sender's window is halved. Handshakes are lost like anything else, and tried again after 1, 2, 4 … seconds (RFC 6298).

use std::time::Duration;

use weir_base::Instant;
use weir_base::time::nanos;
use weir_stack::{Frame, PipeChange, WireId};

use super::drops::Reason;
use super::end::{End, LISTENER, Purpose, RESEND, RESEND_MOST, State, every_second};
use super::node::Power;
use super::paths::Path;
use super::system::{Arrived, System};
use super::world::{Cargo, Due, Echo, Signal, World};
use crate::id::NodeId;
use crate::model::line_time;
use crate::queue::Key;

/// Arrivals of distant nodes fall on multiples of this, as a network card gathers interrupts: 262 µs. What left together
/// arrives together.
const TICK: u64 = 1 << 18;
/// As far away as that a node is for this to matter, in nanoseconds; arrivals of nearer ones fall on multiples of 8 µs.
const DISTANT: u64 = 5_000_000;
const SHORT_TICK: u64 = 1 << 13;

/// A queue before a line that is shorter than this, in time, costs no delay.
pub(super) const SHORT_QUEUE: Duration = Duration::from_millis(1);

/// Bytes of headers of a packet: IP (20) and TCP with timestamps (32).
pub(super) const HEADERS: u64 = 52;

/// A frame, or bytes, that arrive.
pub(super) struct Incoming {
    pub(super) wire: u64,
    pub(super) cargo: Cargo,
    pub(super) echo: Echo,
    pub(super) packets: u32,
    pub(super) lined: bool,
}

impl System {
    /// The node sends a frame.
    pub(super) fn send(&mut self, world: &World, WireId(wire): WireId, frame: Frame) {
        let Some(end) = self.wires.ends.get(&wire).filter(|end| end.state == State::Open) else { return };
        if let Some(watch) = self.record.watch.as_mut().filter(|_| world.checks(end.peer)) {
            let begun = world.stopwatch();
            let change = watch.sent(self.now, wire, &frame);
            self.record.changes.push((self.now, end.peer, change));
            self.record.checking += world.since(begun);
        }
        self.record.grants.iter_mut().for_each(|grants| grants.sent(wire, &frame));
        self.send_cargo(world, wire, Cargo::Frame(frame));
    }

    pub(super) fn send_cargo(&mut self, world: &World, wire: u64, cargo: Cargo) {
        let Some(end) = self.wires.ends.get_mut(&wire).filter(|end| end.state == State::Open) else { return };
        self.record.traffic.sent(cargo.wire_len());
        let opens = end.sends.pace.opens(end.rtt());
        let (peer, waits) = (end.peer, !end.sends.waiting.is_empty());
        let stuck = self.is_stuck(wire, peer);
        if !stuck && !waits && opens <= self.now {
            return self.depart(world, wire, cargo);
        }
        let at = opens.max(self.now);
        let Some(end) = self.wires.ends.get_mut(&wire) else { return };
        end.sends.waiting.push_back(cargo);
        if stuck {
            self.is_swallowed(wire);
        } else if !end.sends.releasing {
            end.sends.releasing = true;
            self.agenda.plan(at, Due::Release { wire });
        }
    }

    /// Whether nothing of this wire gets through, or so much went that acknowledgements would have to come first.
    fn is_stuck(&self, wire: u64, peer: NodeId) -> bool {
        self.paths.to(peer) == Path::Silent
            || (self.paths.is_deaf_to(peer)
                && self.wires.ends.get(&wire).is_some_and(|end| end.sends.beyond >= end.sends.pace.window()))
    }

    /// The path swallows what the wire has to send now, where it does not wait for that already.
    fn is_swallowed(&mut self, wire: u64) {
        let Some(end) = self.wires.ends.get_mut(&wire).filter(|end| end.sends.stuck.is_none()) else {
            return;
        };
        end.sends.stuck = Some(self.now);
        let len = end.sends.waiting.front().map_or(0, Cargo::wire_len);
        self.dropped(Reason::Path, wire, len);
    }

    /// A frame, or bytes, enter this node's line.
    fn depart(&mut self, world: &World, wire: u64, cargo: Cargo) {
        let (now, model) = (self.now, &world.model);
        let Some(place) = world.place(self.id) else { return };
        let Some(end) = self.wires.ends.get(&wire) else { return };
        let deaf = self.paths.is_deaf_to(end.peer);
        let Some(end) = self.wires.ends.get_mut(&wire) else { return };
        let (len, up) = (cargo.wire_len() as u64, place.line.up);
        let queue = self.line.uplink_free.since(now);
        let rtt = end.rtt() + nanos(queue);
        let most = up / 8 * (rtt / 1_000_000) / 1_000;
        end.sends.pace.take(model, now, len, rtt, most);
        end.sends.beyond = if deaf { end.sends.beyond + len } else { 0 };
        let packets = end.packets(model.packet, now, len);
        let acknowledgements = if deaf { 0 } else { end.sends.acknowledgements(packets) };
        let headers = packets * HEADERS;
        self.record.traffic.headers_out += headers;
        // of what is sent now, and come a round trip later: by then as much room is taken by what is sent then
        self.record.traffic.headers_in += acknowledgements * HEADERS;
        self.line.downlink_free = self.line.downlink_free.max(now)
            + Duration::from_nanos(line_time(acknowledgements * HEADERS, place.line.down));
        let left = self.line.uplink_free.max(now) + Duration::from_nanos(line_time(len + headers, up));
        self.line.uplink_free = left;
        let (mut late, lost) = end.delay(world, now, packets);
        let full = queue > model.queue;
        if full {
            // its own line dropped it
            late += rtt;
            end.sends.pace.lost(model, now, rtt);
        }
        let tick = if end.one_way >= DISTANT { TICK } else { SHORT_TICK };
        let due = (left.as_nanos() + end.one_way + late).next_multiple_of(tick);
        let due = Instant::from_nanos(due).max(end.sends.last_due);
        end.sends.last_due = due;
        let (to, echo) = (end.peer, std::mem::take(&mut end.receives.echo));
        (0..lost).for_each(|_| self.dropped(Reason::Lost, wire, cargo.wire_len()));
        if full {
            self.dropped(Reason::Uplink, wire, cargo.wire_len());
        }
        let key = self.agenda.key(due);
        let packets = u32::try_from(packets).unwrap_or(u32::MAX);
        let due = Due::Cargo { wire: wire ^ LISTENER, cargo, echo, packets, lined: false };
        self.agenda.post(to, key, due);
    }

    /// The window of a wire has room again, or its path carries again.
    pub(super) fn release(&mut self, world: &World, wire: u64) {
        loop {
            let Some(end) = self.wires.ends.get_mut(&wire) else { return };
            end.sends.releasing = false;
            let peer = end.peer;
            let opens = end.sends.pace.opens(end.rtt());
            if self.is_stuck(wire, peer) {
                return self.is_swallowed(wire);
            }
            let Some(end) = self.wires.ends.get_mut(&wire) else { return };
            end.sends.stuck = None;
            if end.sends.waiting.is_empty() {
                if end.state == State::Closing {
                    self.say_closed(world, wire);
                }
                return;
            }
            if opens > self.now {
                end.sends.releasing = true;
                return self.agenda.plan(opens, Due::Release { wire });
            }
            let Some(cargo) = end.sends.waiting.pop_front() else { return };
            self.depart(world, wire, cargo);
        }
    }

    /// A frame, or bytes, arrive at this node's system.
    pub(super) fn cargo_due(&mut self, world: &World, key: Key, incoming: Incoming) {
        let Incoming { wire, cargo, echo, packets, lined } = incoming;
        let (now, headers) = (self.now, u64::from(packets) * HEADERS);
        if self.power == Power::Off {
            self.line.waiting -= u32::from(lined);
            return self.dropped(Reason::Down, wire, cargo.wire_len());
        }
        let Some(place) = world.place(self.id) else { return };
        let again = |due, lined| {
            (Key { due, ..key }, Due::Cargo { wire, cargo: cargo.clone(), echo, packets, lined })
        };
        let Some(end) = self.wires.ends.get_mut(&wire) else {
            self.line.waiting -= u32::from(lined);
            return self.reset(world, wire, NodeId(key.from));
        };
        if lined {
            self.line.waiting -= 1;
        } else if now < end.receives.resume {
            let (key, due) = again(end.receives.resume, false);
            return self.agenda.push(key, due);
        } else {
            let free = self.line.downlink_free.max(now)
                + Duration::from_nanos(line_time(cargo.wire_len() as u64 + headers, place.line.down));
            end.receives.echo.queue = u32::try_from(free.since(now).as_micros()).unwrap_or(u32::MAX);
            if self.line.downlink_free > now + world.model.queue {
                // dropped before this node's line: it comes again, and what is behind it waits
                end.receives.echo.lost = true;
                end.receives.resume = now + Duration::from_nanos(end.rtt());
                let (key, due) = again(end.receives.resume, false);
                self.dropped(Reason::Downlink, wire, cargo.wire_len());
                return self.agenda.push(key, due);
            }
            self.line.downlink_free = free;
            if free > now + SHORT_QUEUE || self.line.waiting > 0 {
                self.line.waiting += 1;
                let (key, due) = again(free, true);
                return self.agenda.push(key, due);
            }
        }
        self.record.traffic.headers_in += headers;
        self.acknowledge(world, wire, packets, echo, place.line.up);
        if self.wires.ends.get(&wire).is_some_and(|end| end.state == State::Accepted) {
            self.open(world, wire); // the confirmation was lost, and this stands for it
        }
        let Some(end) = self.wires.ends.get(&wire).filter(|end| end.state == State::Open) else { return };
        self.record.traffic.received(cargo.wire_len());
        let what = match (cargo, &end.carries) {
            (Cargo::Frame(frame), _) => Arrived::Frame(wire, frame),
            (Cargo::Bytes(bytes), Purpose::Bytes(pipe)) => Arrived::Bytes(pipe.id, bytes),
            (Cargo::End, Purpose::Bytes(pipe)) => Arrived::Pipe(pipe.id, PipeChange::Finished),
            (Cargo::Bytes(_) | Cargo::End, Purpose::Frames(_)) => return,
        };
        self.arrive(wire, what);
        if self.inbox.is_overrun() {
            self.dropped(Reason::Buffer, wire, 0);
            self.reset(world, wire, NodeId(key.from));
            self.dead(wire);
        }
    }

    /// The node reads a frame: what it grants counts for this node's peer from now on.
    pub(super) fn was_read(&mut self, world: &World, wire: u64, frame: &Frame) {
        self.record.grants.iter_mut().for_each(|grants| grants.received(wire, frame));
        let (Some(watch), Some(end)) = (&mut self.record.watch, self.wires.ends.get(&wire)) else { return };
        if world.checks(end.peer) {
            let begun = world.stopwatch();
            let change = watch.received(wire, frame);
            self.record.changes.push((self.now, end.peer, change));
            self.record.checking += world.since(begun);
        }
    }

    /// The system acknowledges every second packet, and hears what the other end told.
    fn acknowledge(&mut self, world: &World, wire: u64, packets: u32, echo: Echo, up: u64) {
        let Some(end) = self.wires.ends.get_mut(&wire) else { return };
        end.sends.queue = echo.queue;
        if echo.lost {
            let rtt = end.rtt();
            end.sends.pace.lost(&world.model, self.now, rtt);
        }
        let acknowledgements = every_second(&mut end.receives.unacknowledged, packets.into());
        if acknowledgements > 0 {
            let bytes = acknowledgements * HEADERS;
            self.record.traffic.headers_out += bytes;
            self.line.uplink_free =
                self.line.uplink_free.max(self.now) + Duration::from_nanos(line_time(bytes, up));
        }
    }

    /// This node closes a wire; the other end hears of it after what was sent.
    pub(super) fn close_wire(&mut self, world: &World, wire: u64) {
        let Some(end) = self.wires.ends.get_mut(&wire) else { return };
        if !matches!(end.state, State::Open) {
            return;
        }
        end.state = State::Closing;
        let (peer, waits) = (end.peer, !end.sends.waiting.is_empty());
        self.record.unwatch(self.now, wire);
        if self.is_stuck(wire, peer) {
            self.is_swallowed(wire);
        } else if !waits {
            self.say_closed(world, wire);
        }
    }

    fn say_closed(&mut self, world: &World, wire: u64) {
        self.signal(world, wire, Signal::Close);
        let Some(end) = self.wires.ends.get_mut(&wire) else { return };
        end.state = State::Closed;
        let at = end.sends.last_due + Duration::from_nanos(end.rtt());
        self.agenda.plan(at, Due::Forget { wire });
    }

    pub(super) fn remove(&mut self, wire: u64) -> Option<End> {
        self.record.unwatch(self.now, wire);
        let end = self.wires.ends.remove(&wire)?;
        if let Purpose::Bytes(pipe) = &end.carries {
            self.wires.pipes.remove(&pipe.id);
        }
        Some(*end)
    }

    /// The path to a node, or back, carries again: what waited goes on at its system's next attempt.
    pub(super) fn path_opened(&mut self, world: &World, peer: NodeId) {
        let now = self.now.as_nanos();
        let mut due = Vec::new();
        for (wire, end) in self.wires.ends.iter_mut() {
            let Some(stuck) = end.sends.stuck.filter(|_| end.peer == peer && !end.sends.releasing) else {
                continue;
            };
            let (mut at, mut pause) = (stuck.as_nanos(), end.rtt().max(RESEND));
            while at < now {
                (at, pause) = (at + pause, (2 * pause).min(RESEND_MOST));
            }
            (end.sends.releasing, end.sends.beyond) = (true, 0);
            end.sends.pace.lost_all(&world.model);
            due.push((*wire, Instant::from_nanos(at)));
        }
        due.into_iter().for_each(|(wire, at)| self.agenda.plan(at, Due::Release { wire }));
        let ends = self.wires.ends.iter().filter(|(_, end)| end.peer == peer);
        let wires: Vec<u64> = ends.map(|(wire, _)| *wire).collect();
        wires.into_iter().for_each(|wire| self.tell_read(wire)); // it may have been lost
    }

    /// Somebody between the nodes resets their wires: this end hears it now.
    pub(super) fn reset_wires(&mut self, peer: NodeId) {
        let dead: Vec<u64> =
            self.wires.ends.iter().filter(|(_, end)| end.peer == peer).map(|(wire, _)| *wire).collect();
        dead.into_iter().for_each(|wire| self.dead(wire));
    }

    /// This node's address is another one: all its wires are dead, at both ends.
    pub(super) fn lose_wires(&mut self, world: &World) {
        let mut peers: Vec<NodeId> = self.wires.ends.values().map(|end| end.peer).collect();
        peers.sort_unstable();
        peers.dedup();
        for peer in peers {
            let wires: Vec<u64> =
                self.wires.ends.iter().filter(|(_, end)| end.peer == peer).map(|(wire, _)| *wire).collect();
            self.reset_wires(peer);
            wires.into_iter().for_each(|wire| self.reset(world, wire, peer));
        }
    }

    /// The node is gone; where its system lives on, it resets all wires.
    pub(super) fn drop_wires(&mut self, world: &World) {
        let ends: Vec<(u64, NodeId)> = self.wires.ends.iter().map(|(wire, end)| (*wire, end.peer)).collect();
        for (wire, peer) in ends {
            self.remove(wire);
            if self.power != Power::Off {
                self.reset(world, wire, peer);
            }
        }
    }
}

#[cfg(test)]
mod tests;
