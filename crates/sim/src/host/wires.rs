//! Wires of frames: never lost, always in order. A loss delays a frame and all behind it by a round trip.

use std::collections::VecDeque;
use std::time::Duration;

use weir_base::Instant;
use weir_base::stream::Group;
use weir_base::time::nanos;
use weir_stack::{DialId, Frame, Input, WireChange, WireId};

use super::{Due, Host, Net, Node, NodeId, Outcome, Seat, Step, index};
use crate::check::Passing;
use crate::model::{Pace, line_time};
use crate::trace::Traced;

/// Arrivals fall on multiples of this, as a network card gathers interrupts: 262 µs. What left together arrives together.
const TICK: u64 = 1 << 18;

/// A queue before a line that is shorter than this, in time, costs no delay.
pub(super) const SHORT_QUEUE: Duration = Duration::from_millis(1);

/// Frames that are handed over before the receiver has its turn.
const BATCH: usize = 64;

/// One wire between two nodes. Way 0 leads from the dialler to the listener.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) ends: [NodeId; 2],
    dial: DialId,
    open: [bool; 2],  // this end was told that it is open, and has not closed it
    ended: [bool; 2], // this end has closed it or died
    rtt: u64,
    ways: [Way; 2],
}

#[derive(Debug)]
struct Way {
    pace: Pace,
    waiting: VecDeque<Frame>, // for the window, or for a partition to heal
    flying: VecDeque<Piece>,
    last_due: Instant,
    closing: bool,   // its sender has closed the wire; the other end hears of it after `waiting`
    armed: bool,     // a `Due::Frames` stands for the first of `flying`
    releasing: bool, // a `Due::Release` stands for the first of `waiting`
}

#[derive(Debug)]
struct Piece {
    left: Instant, // the sender's line
    due: Instant,
    queued: bool, // has its place on the receiver's line already
    what: What,
}

#[derive(Debug)]
enum What {
    Frame(Frame),
    Closed,
}

impl Wire {
    /// Which end a node has.
    pub(super) fn end_of(&self, node: NodeId) -> usize {
        usize::from(self.ends[0] != node)
    }

    fn one_way(&self) -> Duration {
        Duration::from_nanos(self.rtt / 2)
    }

    /// The other end hears that `end` has closed, after all that flies already.
    fn fly_closed(&mut self, queue: &mut crate::queue::Queue<Due>, now: Instant, wire: u64, end: usize) {
        let due = now + self.one_way();
        let way = &mut self.ways[end];
        let piece = Piece { left: now, due: due.max(way.last_due), queued: false, what: What::Closed };
        way.fly(queue, wire, end as u8, piece);
    }
}

impl Way {
    const fn new(pace: Pace) -> Self {
        Self {
            pace,
            waiting: VecDeque::new(),
            flying: VecDeque::new(),
            last_due: Instant::ZERO,
            closing: false,
            armed: false,
            releasing: false,
        }
    }

    fn fly(&mut self, queue: &mut crate::queue::Queue<Due>, wire: u64, way: u8, piece: Piece) {
        self.last_due = piece.due;
        if !self.armed {
            self.armed = true;
            queue.push(piece.due, Due::Frames { wire, way });
        }
        self.flying.push_back(piece);
    }
}

impl Net {
    fn wire(&mut self, wire: u64) -> Option<&mut Wire> {
        self.wires.get_mut(usize::try_from(wire).ok()?)?.as_deref_mut()
    }

    fn blocks(&self, from: NodeId, to: NodeId) -> bool {
        !self.blocked.is_empty() && self.blocked.contains(&(from, to))
    }
}

impl<N: Node> Host<N> {
    /// A node wants a wire to an endpoint.
    pub(super) fn dial_wire(&mut self, dialler: NodeId, dial: DialId, endpoint: u64) {
        let number = self.net.wires.len() as u64;
        let listener = u32::try_from(endpoint).ok().map(NodeId).filter(|id| index(*id) < self.seats.len());
        let rtt = listener.map_or(0, |listener| nanos(self.round_trip(dialler, listener)));
        let pace = Pace::new(&self.net.model);
        let wire = Wire {
            ends: [dialler, listener.unwrap_or(dialler)],
            dial,
            open: [false; 2],
            ended: [false; 2],
            rtt,
            ways: [Way::new(pace), Way::new(pace)],
        };
        let (half, whole) = (self.now + wire.one_way(), self.now + Duration::from_nanos(rtt));
        self.net.wires.push(Some(Box::new(wire)));
        match listener {
            Some(listener) if self.net.blocks(dialler, listener) => self.net.wires[number as usize] = None,
            Some(listener) if self.seats[index(listener)].node.is_some() => {
                self.net.queue.push(half, Due::Connect { wire: number, way: 0 });
            }
            _ => self.net.queue.push(whole, Due::Refused { wire: number }),
        }
    }

    pub(super) fn connect_due(&mut self, number: u64, way: u8) -> Step {
        let now = self.now;
        let Some(wire) = self.net.wire(number) else { return Step::Network };
        let [dialler, listener] = wire.ends;
        let later = now + wire.one_way();
        let (me, other, dialled) =
            if way == 0 { (listener, dialler, None) } else { (dialler, listener, Some(wire.dial)) };
        let end = 1 - usize::from(way);
        if self.seats[index(me)].node.is_none() || self.net.wire(number).is_none_or(|wire| wire.ended[end]) {
            if way == 0 {
                self.net.queue.push(later, Due::Refused { wire: number });
            }
            return Step::Network;
        }
        if let Some(wire) = self.net.wire(number) {
            wire.open[end] = true;
            if way == 0 {
                wire.ways[1].last_due = later;
                self.net.queue.push(later, Due::Connect { wire: number, way: 1 });
            }
        }
        self.seats[index(me)].wires.insert(number);
        let peer = self.seats[index(other)].peer;
        let change = WireChange::Opened { peer, dialled, group: Group::Local(other.0) };
        self.change(me, number, change)
    }

    pub(super) fn refused_due(&mut self, number: u64) -> Step {
        let slot = usize::try_from(number).ok().and_then(|slot| self.net.wires.get_mut(slot));
        let Some(wire) = slot.and_then(Option::take) else { return Step::Network };
        self.change(wire.ends[0], number, WireChange::Refused(wire.dial))
    }

    fn change(&mut self, id: NodeId, number: u64, change: WireChange) -> Step {
        self.trace.add(self.now, id.0, Traced::wire(number, &change));
        self.hand(id, Input::Wire(WireId(number), change));
        self.turn(id);
        Step::Turned(id)
    }

    /// A stack sends a frame.
    pub(super) fn frame_out(&mut self, from: NodeId, wire: WireId, frame: Frame) {
        let now = self.now;
        let Some(tamper) = self.seat(from).and_then(|seat| seat.tamper.as_mut()) else {
            return self.send(from, wire, frame);
        };
        let mut out = Outcome::default();
        tamper.by.outgoing(now, wire, frame, &mut out);
        tamper.back.extend(out.receive.into_iter().map(|frame| (wire, frame)));
        out.send.into_iter().for_each(|frame| self.send(from, wire, frame));
    }

    fn send(&mut self, from: NodeId, WireId(number): WireId, frame: Frame) {
        let now = self.now;
        let Some(wire) = self.net.wire(number) else { return };
        let end = wire.end_of(from);
        if wire.ended[end] {
            return;
        }
        let (to, rtt) = (wire.ends[1 - end], wire.rtt);
        self.seats[index(from)].traffic.sent(frame.wire_len());
        if let Some(checker) = &mut self.checker {
            let passing = Passing { wire: number, way: end, from, to };
            checker.sent(now, passing, &frame);
        }
        let blocked = self.net.blocks(from, to);
        let Some(wire) = self.net.wire(number) else { return };
        let way = &mut wire.ways[end];
        let opens = way.pace.opens(rtt);
        if blocked || !way.waiting.is_empty() || opens > now {
            way.waiting.push_back(frame);
            if !blocked && !way.releasing {
                way.releasing = true;
                self.net.queue.push(opens.max(now), Due::Release { wire: number, way: end as u8 });
            }
            return;
        }
        self.depart(number, end, frame);
    }

    /// A frame enters its sender's line.
    fn depart(&mut self, number: u64, end: usize, frame: Frame) {
        let (now, model) = (self.now, self.net.model);
        let Net { wires, rng, queue, .. } = &mut self.net;
        let Some(Some(wire)) = wires.get_mut(number as usize) else { return };
        let Some(seat) = self.seats.get_mut(index(wire.ends[end])) else { return };
        let (len, rtt) = (frame.wire_len() as u64, wire.rtt);
        let way = &mut wire.ways[end];
        let up = seat.place.line.up;
        let most = up / 8 * (rtt / 1_000_000) / 1_000;
        way.pace.take(now, len, rtt, most);
        let left = seat.uplink_free.max(now) + Duration::from_nanos(line_time(len, up));
        seat.uplink_free = left;
        let (jitter, lost) = model.draw(rng, rtt / 2, len.div_ceil(model.packet));
        let mut due = left.as_nanos() + rtt / 2 + jitter;
        if lost {
            due += rtt;
            way.pace.halve(now, rtt);
        }
        let due = Instant::from_nanos(due.next_multiple_of(TICK)).max(way.last_due);
        way.fly(queue, number, end as u8, Piece { left, due, queued: false, what: What::Frame(frame) });
    }

    pub(super) fn release(&mut self, number: u64, way: u8) -> Step {
        let (now, end) = (self.now, usize::from(way));
        loop {
            let Some(wire) = self.net.wire(number) else { return Step::Network };
            let (from, to, rtt) = (wire.ends[end], wire.ends[1 - end], wire.rtt);
            let blocked = self.net.blocks(from, to);
            let Some(wire) = self.net.wire(number) else { return Step::Network };
            let way = &mut wire.ways[end];
            way.releasing = false;
            if blocked || way.waiting.is_empty() {
                if std::mem::take(&mut way.closing) {
                    let Net { wires, queue, .. } = &mut self.net;
                    if let Some(Some(wire)) = wires.get_mut(number as usize) {
                        wire.fly_closed(queue, now, number, end);
                    }
                }
                return Step::Network;
            }
            let opens = way.pace.opens(rtt);
            if opens > now {
                way.releasing = true;
                self.net.queue.push(opens, Due::Release { wire: number, way: end as u8 });
                return Step::Network;
            }
            let Some(frame) = way.waiting.pop_front() else { return Step::Network };
            self.depart(number, end, frame);
        }
    }

    pub(super) fn frames_due(&mut self, number: u64, way: u8) -> Step {
        let end = usize::from(way);
        let Some(wire) = self.net.wire(number) else { return Step::Network };
        let to = wire.ends[1 - end];
        wire.ways[end].armed = false;
        if !wire.open[1 - end] {
            wire.ways[end].flying.clear();
            return Step::Network;
        }
        let mut delivered = 0;
        while delivered < BATCH {
            let Some(piece) = self.arrived(number, end, to) else { break };
            delivered += 1;
            match piece {
                What::Frame(frame) => self.deliver(number, end, to, frame),
                What::Closed => {
                    self.close_end(number, to);
                    return self.change(to, number, WireChange::Closed);
                }
            }
        }
        let Net { wires, queue, .. } = &mut self.net;
        if let Some(Some(wire)) = wires.get_mut(number as usize) {
            let way = &mut wire.ways[end];
            if let Some(piece) = way.flying.front() {
                way.armed = true;
                queue.push(piece.due, Due::Frames { wire: number, way: end as u8 });
            }
        }
        if delivered == 0 {
            return Step::Network;
        }
        self.turn(to);
        Step::Turned(to)
    }

    /// Takes the first piece that has arrived, once the receiver's line has had time for it.
    fn arrived(&mut self, number: u64, end: usize, to: NodeId) -> Option<What> {
        let now = self.now;
        let Net { wires, .. } = &mut self.net;
        let way = &mut wires.get_mut(number as usize)?.as_mut()?.ways[end];
        let seat = self.seats.get_mut(index(to))?;
        let piece = way.flying.front_mut().filter(|piece| piece.due <= now)?;
        if let What::Frame(frame) = &piece.what
            && !piece.queued
        {
            seat.downlink_free = line_free(seat, now, frame.wire_len());
            if seat.downlink_free > now + SHORT_QUEUE {
                (piece.due, piece.queued) = (seat.downlink_free, true);
                return None;
            }
        }
        way.flying.pop_front().map(|piece| piece.what)
    }

    fn deliver(&mut self, number: u64, end: usize, to: NodeId, frame: Frame) {
        let now = self.now;
        self.trace.add(now, to.0, Traced::frame(number, &frame));
        if let Some(checker) = &mut self.checker {
            let from = self.net.wires[number as usize].as_ref().map_or(to, |wire| wire.ends[end]);
            checker.delivered(now, Passing { wire: number, way: end, from, to }, &frame);
        }
        let Some(seat) = self.seat(to) else { return };
        seat.traffic.received(frame.wire_len());
        let Some(tamper) = &mut seat.tamper else {
            return self.hand(to, Input::Frame(WireId(number), frame));
        };
        let mut out = Outcome::default();
        tamper.by.incoming(now, WireId(number), frame, &mut out);
        out.send.into_iter().for_each(|frame| self.send(to, WireId(number), frame));
        out.receive.into_iter().for_each(|frame| self.hand(to, Input::Frame(WireId(number), frame)));
    }

    /// This end closes a wire; the other hears of it after what was sent.
    pub(super) fn close_wire(&mut self, id: NodeId, WireId(number): WireId) {
        let now = self.now;
        let Net { wires, queue, blocked, .. } = &mut self.net;
        let Some(Some(wire)) = wires.get_mut(number as usize) else { return };
        let end = wire.end_of(id);
        if !wire.ended[end] {
            let held = blocked.contains(&(wire.ends[end], wire.ends[1 - end]));
            if wire.ways[end].waiting.is_empty() || held {
                wire.fly_closed(queue, now, number, end);
            } else {
                wire.ways[end].closing = true;
            }
        }
        self.close_end(number, id);
    }

    fn close_end(&mut self, number: u64, id: NodeId) {
        if let Some(seat) = self.seat(id) {
            seat.wires.remove(&number);
        }
        let Some(wire) = self.net.wire(number) else { return };
        let end = wire.end_of(id);
        (wire.open[end], wire.ended[end]) = (false, true);
        wire.ways[1 - end].flying.clear();
        wire.ways[1 - end].waiting.clear();
        if wire.ended == [true; 2] {
            self.net.wires[number as usize] = None;
            if let Some(checker) = &mut self.checker {
                checker.closed(number);
            }
        }
    }

    /// The node at this end is dead: what has not left its line never will, and its system resets the wire.
    pub(super) fn break_wire(&mut self, number: u64, id: NodeId) {
        let now = self.now;
        if let Some(wire) = self.net.wire(number) {
            let end = wire.end_of(id);
            let way = &mut wire.ways[end];
            way.waiting.clear();
            while way.flying.back().is_some_and(|piece| piece.left > now) {
                way.flying.pop_back();
            }
        }
        self.close_wire(id, WireId(number));
    }

    /// What waited for a partition between two nodes goes on, a round trip after it healed.
    pub(super) fn heal_wires(&mut self, from: NodeId, to: NodeId) {
        let now = self.now;
        let Some(seat) = self.seats.get(index(from)) else { return };
        let Net { wires, queue, .. } = &mut self.net;
        for number in seat.wires.iter().copied() {
            let Some(Some(wire)) = wires.get_mut(number as usize) else { continue };
            let end = wire.end_of(from);
            let later = now + Duration::from_nanos(wire.rtt);
            let way = &mut wire.ways[end];
            if wire.ends[1 - end] == to && !way.waiting.is_empty() && !way.releasing {
                way.releasing = true;
                queue.push(later, Due::Release { wire: number, way: end as u8 });
            }
        }
    }
}

/// When the receiver's line is free again if `len` bytes come now.
pub(super) fn line_free<N>(seat: &Seat<N>, now: Instant, len: usize) -> Instant {
    seat.downlink_free.max(now) + Duration::from_nanos(line_time(len as u64, seat.place.line.down))
}
