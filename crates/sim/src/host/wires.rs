//! Wires of frames, as the systems of both ends keep them: set up by a handshake of three, never lossy, always in order, at
//! the pace that TCP would allow. Each node has its own end; nothing else is shared.
//!
//! What a network does to packets shows as delay: a lost frame comes a round trip later and all behind it with it, and the
//! sender's window is halved. Handshakes are lost like anything else, and tried again after 1, 2, 4 … seconds (RFC 6298).

use std::collections::VecDeque;
use std::time::Duration;

use weir_base::Instant;
use weir_base::stream::Group;
use weir_base::time::nanos;
use weir_stack::{DialId, Frame, WireChange, WireId};

use super::paths::Path;
use super::system::{Arrived, System};
use super::world::{Due, Echo, Signal, World};
use super::{NodeId, Power, index};
use crate::model::{Draws, Losses, Pace, jitter, line_time};
use crate::queue::Key;
use crate::trace::{Kind, Traced};

/// How long a system waits before it looks again whether a node has taken what came before an end.
const UNTAKEN: Duration = Duration::from_millis(1);

/// Arrivals of distant nodes fall on multiples of this, as a network card gathers interrupts: 262 µs. What left together
/// arrives together.
const TICK: u64 = 1 << 18;
/// As far away as that a node is for this to matter, in nanoseconds; arrivals of nearer ones fall on multiples of 8 µs.
const DISTANT: u64 = 5_000_000;
const SHORT_TICK: u64 = 1 << 13;

/// A queue before a line that is shorter than this, in time, costs no delay.
pub(super) const SHORT_QUEUE: Duration = Duration::from_millis(1);

/// Bytes of headers of a packet: IP (20) and TCP with timestamps (32).
const HEADERS: u64 = 52;

/// The least time after which something unacknowledged is sent again, in nanoseconds (Linux).
const RESEND: u64 = 200_000_000;

/// The longest pause between two such attempts, in nanoseconds.
const RESEND_MOST: u64 = 60_000_000_000;

/// Pause after the first attempt of a handshake (RFC 6298).
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Attempts of a handshake; then the wire is refused, after 63 s.
const ATTEMPTS: u32 = 6;

/// This bit of a wire's number marks the listener's end: a node may dial itself.
const LISTENER: u64 = 1 << 63;

/// One node's end of a wire.
#[derive(Debug)]
pub(super) struct End {
    pub(super) peer: NodeId,
    state: State,
    dial: Option<DialId>, // of its dialler
    one_way: u64,
    sends: Sends,
    receives: Receives,
}

/// The direction from this end.
#[derive(Debug)]
struct Sends {
    pace: Pace,
    draws: Draws,
    losses: Losses,
    waiting: VecDeque<Frame>, // for the window, or for a path that is silent
    releasing: bool,          // a `Due::Release` stands for the first of `waiting`
    stuck: Option<Instant>,   // since when the path swallows what is sent
    beyond: u64,              // bytes sent while no acknowledgement can come
    last_due: Instant,        // what is sent next arrives no sooner
    packet: (Instant, u64),   // the last packet: when it left, and bytes it has room for
    queue: u32,               // microseconds before the peer's line, as it told
}

/// The direction to this end.
#[derive(Debug, Default)]
struct Receives {
    echo: Echo,          // to tell the peer
    resume: Instant,     // what arrives before waits for something that was dropped
    unacknowledged: u64, // packets received since the last acknowledgement
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The dialler asked.
    Asked,
    /// The listener accepted.
    Accepted,
    Open,
    /// This node has closed it; what waits is still sent.
    Closing,
    /// Everything was sent; what still comes is swallowed.
    Closed,
}

/// A frame that arrives.
pub(super) struct Incoming {
    pub(super) wire: u64,
    pub(super) frame: Frame,
    pub(super) echo: Echo,
    pub(super) lined: bool,
}

impl End {
    fn new(world: &World, me: NodeId, peer: NodeId, wire: u64, state: State) -> Self {
        Self {
            peer,
            state,
            dial: None,
            one_way: nanos(world.round_trip(me, peer)) / 2,
            sends: Sends {
                pace: Pace::new(&world.model),
                draws: world.draws(me, peer, 1 + wire),
                losses: Losses::default(),
                waiting: VecDeque::new(),
                releasing: false,
                stuck: None,
                beyond: 0,
                last_due: Instant::ZERO,
                packet: (Instant::ZERO, 0),
                queue: 0,
            },
            receives: Receives::default(),
        }
    }

    /// A round trip as its sender would measure it, queues included.
    const fn rtt(&self) -> u64 {
        2 * self.one_way + self.sends.queue as u64 * 1_000
    }

    /// Packets that a frame of `len` bytes adds at `now`: frames that leave together share packets.
    fn packets(&mut self, packet: u64, now: Instant, len: u64) -> u64 {
        if self.sends.packet.0 != now {
            self.sends.packet = (now, 0);
        }
        let more = len.saturating_sub(self.sends.packet.1);
        let packets = more.div_ceil(packet);
        self.sends.packet.1 = self.sends.packet.1 + packets * packet - len;
        packets
    }

    /// How much later something arrives that crosses the network now: jitter, and a resending for each loss in a row.
    fn delay(&mut self, world: &World, now: Instant, packets: u64) -> u64 {
        let (model, rtt) = (&world.model, self.rtt());
        let mut late = jitter(model, &mut self.sends.draws, self.one_way);
        let (mut packets, mut pause, mut resent) = (packets, rtt, 0);
        while pause <= RESEND_MOST
            && self.sends.losses.lost(model, &mut self.sends.draws, now.as_nanos() + resent, packets)
        {
            if resent == 0 {
                self.sends.pace.lost(model, now, rtt);
            } else {
                self.sends.pace.lost_all(model);
            }
            resent += pause;
            (packets, pause) = (1, (2 * pause).max(RESEND));
        }
        late += resent;
        late
    }
}

impl System {
    /// The node wants a wire to an endpoint.
    pub(super) fn dial_wire(&mut self, world: &World, dial: DialId, endpoint: u64) {
        self.dialled += 1;
        let wire = (u64::from(self.id.0) << 32) | u64::from(self.dialled);
        let peer = u32::try_from(endpoint).ok().map(NodeId).filter(|id| index(*id) < world.places.len());
        let (listener, resets) = match peer {
            Some(peer) => (peer, self.paths.to(peer) == Path::Resetting),
            None => (self.id, true),
        };
        let mut end = End::new(world, self.id, listener, wire, State::Asked);
        end.dial = Some(dial);
        let refused = self.now + Duration::from_nanos(end.rtt());
        self.ends.insert(wire, Box::new(end));
        if resets {
            return self.agenda.plan(refused, Due::Signal { wire, from: listener, signal: Signal::Reset });
        }
        self.signal(world, wire, Signal::Ask);
        let again = self.now + ASK_AGAIN;
        self.agenda.plan(again, Due::Retry { wire, tries: 1 });
    }

    /// Nothing was heard of a handshake for a while.
    pub(super) fn retry(&mut self, world: &World, wire: u64, tries: u32) {
        let Some(end) = self.ends.get(&wire) else { return };
        let signal = match end.state {
            State::Asked => Signal::Ask,
            State::Accepted => Signal::Accept,
            State::Open | State::Closing | State::Closed => return,
        };
        if tries >= ATTEMPTS {
            return self.signal_due(world, wire, end.peer, Signal::Reset);
        }
        self.signal(world, wire, signal);
        let again = self.now + ASK_AGAIN * (1 << tries);
        self.agenda.plan(again, Due::Retry { wire, tries: tries + 1 });
    }

    /// Says something to the system at the other end; it may be lost but for a close, which is sent until it arrives.
    fn signal(&mut self, world: &World, wire: u64, signal: Signal) {
        let Some(end) = self.ends.get_mut(&wire) else { return };
        let (to, one_way) = (end.peer, end.one_way);
        let resent = signal == Signal::Close;
        let late = if resent {
            end.delay(world, self.now, 1)
        } else if end.sends.losses.lost(&world.model, &mut end.sends.draws, self.now.as_nanos(), 1) {
            return;
        } else {
            jitter(&world.model, &mut end.sends.draws, one_way)
        };
        let due = (self.now + Duration::from_nanos(one_way + late)).max(end.sends.last_due);
        end.sends.last_due = due;
        self.signal_at(wire, to, due, signal);
    }

    /// Resets a wire at its other end, overtaking what is still before this node's line.
    fn reset(&mut self, world: &World, wire: u64, to: NodeId) {
        let one_way = nanos(world.round_trip(self.id, to)) / 2;
        self.signal_at(wire, to, self.now + Duration::from_nanos(one_way), Signal::Reset);
    }

    fn signal_at(&mut self, wire: u64, to: NodeId, due: Instant, signal: Signal) {
        if self.paths.to(to) == Path::Silent {
            return;
        }
        let (key, from) = (self.agenda.key(due), self.id);
        self.agenda.post(to, key, Due::Signal { wire: wire ^ LISTENER, from, signal });
    }

    /// When a close is due that came while frames sent before it stand before this node's line, or wait for its turn: a system
    /// tells of an end once what came before it was taken. `None`: now.
    pub(super) fn behind_the_line(&self, wire: u64, signal: Signal) -> Option<Instant> {
        let end = self.ends.get(&wire).filter(|_| signal == Signal::Close)?;
        let untaken = self.power == Power::Running && !self.inbox.is_empty();
        let taken = if untaken { self.now + UNTAKEN } else { self.now };
        let due = self.line.downlink_free.max(end.receives.resume).max(taken);
        (due > self.now).then_some(due)
    }

    /// The system of the other end says something.
    pub(super) fn signal_due(&mut self, world: &World, wire: u64, from: NodeId, signal: Signal) {
        if self.power == Power::Off {
            return;
        }
        let state = self.ends.get(&wire).map(|end| end.state);
        match (signal, state) {
            (Signal::Ask, None) if self.power.is_up() => {
                let end = End::new(world, self.id, from, wire, State::Accepted);
                self.ends.insert(wire, Box::new(end));
                self.signal(world, wire, Signal::Accept);
                let again = self.now + ASK_AGAIN;
                self.agenda.plan(again, Due::Retry { wire, tries: 1 });
            }
            (Signal::Ask | Signal::Accept, None) => self.reset(world, wire, from),
            (Signal::Ask, Some(State::Accepted)) => self.signal(world, wire, Signal::Accept),
            (Signal::Accept, Some(State::Asked)) => {
                self.signal(world, wire, Signal::Confirm);
                self.open(world, wire);
            }
            (Signal::Accept, Some(_)) => self.signal(world, wire, Signal::Confirm),
            (Signal::Confirm, Some(State::Accepted)) => self.open(world, wire),
            (Signal::Close | Signal::Reset, Some(state)) => {
                let dial = self.remove(wire).and_then(|end| end.dial);
                match (state, dial) {
                    (State::Open, _) => self.arrive(wire, Arrived::Wire(wire, WireChange::Closed)),
                    (State::Asked, Some(dial)) => {
                        self.arrive(wire, Arrived::Wire(wire, WireChange::Refused(dial)));
                    }
                    _ => {}
                }
            }
            (Signal::Ask | Signal::Confirm, _) | (Signal::Close | Signal::Reset, None) => {}
        }
    }

    /// The handshake is complete at this end.
    fn open(&mut self, world: &World, wire: u64) {
        let Some(end) = self.ends.get_mut(&wire) else { return };
        end.state = State::Open;
        let (peer, dialled) = (end.peer, end.dial);
        if let Some(watch) = self.record.watch.as_mut().filter(|_| world.checks(peer)) {
            let change = watch.opened(wire, peer);
            self.record.changes.push((self.now, peer, change));
        }
        let Some(identity) = world.peers.get(index(peer)).copied() else { return };
        let change = WireChange::Opened { peer: identity, dialled, group: Group::Local(peer.0) };
        self.arrive(wire, Arrived::Wire(wire, change));
    }

    /// The node sends a frame.
    pub(super) fn send(&mut self, world: &World, WireId(wire): WireId, frame: Frame) {
        let Some(end) = self.ends.get_mut(&wire).filter(|end| end.state == State::Open) else { return };
        self.record.traffic.sent(frame.wire_len());
        if let Some(watch) = self.record.watch.as_mut().filter(|_| world.checks(end.peer)) {
            let change = watch.sent(self.now, wire, &frame);
            self.record.changes.push((self.now, end.peer, change));
        }
        let opens = end.sends.pace.opens(end.rtt());
        let (peer, waits) = (end.peer, !end.sends.waiting.is_empty());
        let stuck = self.is_stuck(wire, peer);
        if !stuck && !waits && opens <= self.now {
            return self.depart(world, wire, frame);
        }
        let at = opens.max(self.now);
        let Some(end) = self.ends.get_mut(&wire) else { return };
        end.sends.waiting.push_back(frame);
        if stuck {
            end.sends.stuck.get_or_insert(self.now);
        } else if !end.sends.releasing {
            end.sends.releasing = true;
            self.agenda.plan(at, Due::Release { wire });
        }
    }

    /// Whether nothing of this wire gets through, or so much went that acknowledgements would have to come first.
    fn is_stuck(&self, wire: u64, peer: NodeId) -> bool {
        self.paths.to(peer) == Path::Silent
            || (self.paths.is_deaf_to(peer)
                && self.ends.get(&wire).is_some_and(|end| end.sends.beyond >= end.sends.pace.window()))
    }

    /// A frame enters this node's line.
    fn depart(&mut self, world: &World, wire: u64, frame: Frame) {
        let (now, model) = (self.now, &world.model);
        let Some(place) = world.place(self.id) else { return };
        let Some(end) = self.ends.get(&wire) else { return };
        let deaf = self.paths.is_deaf_to(end.peer);
        let Some(end) = self.ends.get_mut(&wire) else { return };
        let (len, up) = (frame.wire_len() as u64, place.line.up);
        let queue = self.line.uplink_free.since(now);
        let rtt = end.rtt() + nanos(queue);
        let most = up / 8 * (rtt / 1_000_000) / 1_000;
        end.sends.pace.take(model, now, len, rtt, most);
        end.sends.beyond = if deaf { end.sends.beyond + len } else { 0 };
        let packets = end.packets(model.packet, now, len);
        let headers = packets * HEADERS;
        self.record.traffic.headers(headers);
        let left = self.line.uplink_free.max(now) + Duration::from_nanos(line_time(len + headers, up));
        self.line.uplink_free = left;
        let mut late = end.delay(world, now, packets);
        if queue > model.queue {
            // its own line dropped it
            late += rtt;
            end.sends.pace.lost(model, now, rtt);
            self.record.traffic.dropped();
        }
        let tick = if end.one_way >= DISTANT { TICK } else { SHORT_TICK };
        let due = (left.as_nanos() + end.one_way + late).next_multiple_of(tick);
        let due = Instant::from_nanos(due).max(end.sends.last_due);
        end.sends.last_due = due;
        let (to, echo) = (end.peer, std::mem::take(&mut end.receives.echo));
        let key = self.agenda.key(due);
        let due = Due::Frame { wire: wire ^ LISTENER, frame, echo, lined: false };
        self.agenda.post(to, key, due);
    }

    /// The window of a wire has room again, or its path carries again.
    pub(super) fn release(&mut self, world: &World, wire: u64) {
        loop {
            let Some(end) = self.ends.get_mut(&wire) else { return };
            end.sends.releasing = false;
            let peer = end.peer;
            let opens = end.sends.pace.opens(end.rtt());
            if self.is_stuck(wire, peer) {
                return;
            }
            let Some(end) = self.ends.get_mut(&wire) else { return };
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
            let Some(frame) = end.sends.waiting.pop_front() else { return };
            self.depart(world, wire, frame);
        }
    }

    /// A frame arrives at this node's system.
    pub(super) fn frame_due(&mut self, world: &World, key: Key, incoming: Incoming) {
        let Incoming { wire, frame, echo, lined } = incoming;
        let now = self.now;
        if self.power == Power::Off {
            self.line.waiting -= u32::from(lined);
            return;
        }
        let Some(place) = world.place(self.id) else { return };
        let again = |due, lined| (Key { due, ..key }, Due::Frame { wire, frame: frame.clone(), echo, lined });
        let Some(end) = self.ends.get_mut(&wire) else {
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
                + Duration::from_nanos(line_time(frame.wire_len() as u64, place.line.down));
            end.receives.echo.queue = u32::try_from(free.since(now).as_micros()).unwrap_or(u32::MAX);
            if self.line.downlink_free > now + world.model.queue {
                // dropped before this node's line: it comes again, and what is behind it waits
                end.receives.echo.lost = true;
                end.receives.resume = now + Duration::from_nanos(end.rtt());
                let (key, due) = again(end.receives.resume, false);
                self.record.traffic.dropped();
                self.note(Traced::number(Kind::Drop, wire));
                return self.agenda.push(key, due);
            }
            self.line.downlink_free = free;
            if free > now + SHORT_QUEUE || self.line.waiting > 0 {
                self.line.waiting += 1;
                let (key, due) = again(free, true);
                return self.agenda.push(key, due);
            }
        }
        self.acknowledge(world, wire, frame.wire_len(), echo, place.line.up);
        if self.ends.get(&wire).is_some_and(|end| end.state == State::Accepted) {
            self.open(world, wire); // the confirmation was lost, and this stands for it
        }
        if self.ends.get(&wire).is_none_or(|end| end.state != State::Open) {
            return;
        }
        self.record.traffic.received(frame.wire_len());
        self.arrive(wire, Arrived::Frame(wire, frame));
        if self.inbox.is_overrun() {
            let peer = NodeId(key.from);
            self.remove(wire);
            self.reset(world, wire, peer);
            self.arrive(wire, Arrived::Wire(wire, WireChange::Closed));
        }
    }

    /// The node reads a frame: what it grants counts for this node's peer from now on.
    pub(super) fn was_read(&mut self, world: &World, wire: u64, frame: &Frame) {
        let (Some(watch), Some(end)) = (&mut self.record.watch, self.ends.get(&wire)) else { return };
        if world.checks(end.peer) {
            let change = watch.received(wire, frame);
            self.record.changes.push((self.now, end.peer, change));
        }
    }

    /// The system acknowledges every second packet, and hears what the other end told.
    fn acknowledge(&mut self, world: &World, wire: u64, len: usize, echo: Echo, up: u64) {
        let Some(end) = self.ends.get_mut(&wire) else { return };
        end.sends.queue = echo.queue;
        if echo.lost {
            let rtt = end.rtt();
            end.sends.pace.lost(&world.model, self.now, rtt);
        }
        end.receives.unacknowledged += (len as u64).div_ceil(world.model.packet);
        let acknowledgements = end.receives.unacknowledged / 2;
        end.receives.unacknowledged %= 2;
        if acknowledgements > 0 {
            let bytes = acknowledgements * HEADERS;
            self.record.traffic.headers(bytes);
            self.line.uplink_free =
                self.line.uplink_free.max(self.now) + Duration::from_nanos(line_time(bytes, up));
        }
    }

    /// This node closes a wire; the other end hears of it after what was sent.
    pub(super) fn close_wire(&mut self, world: &World, wire: u64) {
        let Some(end) = self.ends.get_mut(&wire) else { return };
        if !matches!(end.state, State::Open) {
            return;
        }
        end.state = State::Closing;
        let (peer, waits) = (end.peer, !end.sends.waiting.is_empty());
        self.unwatch(wire);
        if self.is_stuck(wire, peer) {
            if let Some(end) = self.ends.get_mut(&wire) {
                end.sends.stuck.get_or_insert(self.now);
            }
        } else if !waits {
            self.say_closed(world, wire);
        }
    }

    fn say_closed(&mut self, world: &World, wire: u64) {
        self.signal(world, wire, Signal::Close);
        let Some(end) = self.ends.get_mut(&wire) else { return };
        end.state = State::Closed;
        let at = end.sends.last_due + Duration::from_nanos(end.rtt());
        self.agenda.plan(at, Due::Forget { wire });
    }

    pub(super) fn forget(&mut self, wire: u64) {
        self.remove(wire);
    }

    fn remove(&mut self, wire: u64) -> Option<End> {
        self.unwatch(wire);
        self.ends.remove(&wire).map(|end| *end)
    }

    fn unwatch(&mut self, wire: u64) {
        if let Some((peer, change)) = self.record.watch.as_mut().and_then(|watch| watch.closed(wire)) {
            self.record.changes.push((self.now, peer, change));
        }
    }

    /// The path to a node, or back, carries again: what waited goes on at its system's next attempt.
    pub(super) fn path_opened(&mut self, world: &World, peer: NodeId) {
        let now = self.now.as_nanos();
        let mut due = Vec::new();
        for (wire, end) in &mut self.ends {
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
    }

    /// Somebody between the nodes resets their wires: this end hears it now.
    pub(super) fn reset_wires(&mut self, peer: NodeId) {
        let ends = self.ends.iter().filter(|(_, end)| end.peer == peer);
        let dead: Vec<(u64, State, Option<DialId>)> =
            ends.map(|(wire, end)| (*wire, end.state, end.dial)).collect();
        for (wire, state, dial) in dead {
            self.remove(wire);
            match (state, dial) {
                (State::Open, _) => self.arrive(wire, Arrived::Wire(wire, WireChange::Closed)),
                (State::Asked, Some(dial)) => {
                    self.arrive(wire, Arrived::Wire(wire, WireChange::Refused(dial)));
                }
                _ => {}
            }
        }
    }

    /// This node's address is another one: all its wires are dead, at both ends.
    pub(super) fn lose_wires(&mut self, world: &World) {
        let mut peers: Vec<NodeId> = self.ends.values().map(|end| end.peer).collect();
        peers.sort_unstable();
        peers.dedup();
        for peer in peers {
            let wires: Vec<u64> =
                self.ends.iter().filter(|(_, end)| end.peer == peer).map(|(wire, _)| *wire).collect();
            self.reset_wires(peer);
            wires.into_iter().for_each(|wire| self.reset(world, wire, peer));
        }
    }

    /// The node is gone; where its system lives on, it resets all wires.
    pub(super) fn drop_wires(&mut self, world: &World) {
        let ends: Vec<(u64, NodeId)> = self.ends.iter().map(|(wire, end)| (*wire, end.peer)).collect();
        for (wire, peer) in ends {
            self.remove(wire);
            if self.power != Power::Off {
                self.reset(world, wire, peer);
            }
        }
    }
}
