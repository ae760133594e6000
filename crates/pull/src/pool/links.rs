//! Links come and go, streams open and end, bytes move.

use weir_base::stream::{Ask, Incoming, LinkInfo, OpenError};
use weir_base::time::nanos;
use weir_base::{Instant, LinkId, Rope, StreamKey};

use super::Pool;
use super::codec::{MAX_LIST, MAX_OFFER, MAX_OFFER_HEAD, MAX_WANT};
use super::intake::Intake;
use super::link::{ITEMS, Link, OFFERS, Opening, Ready, Role, Slot};
use super::outlet::Outlet;
use super::overdue::Lost;
use super::time::{REOPEN, Timer};
use crate::framing::{STALLED, code, pour};
use crate::machine::{Negotiated, Opened};

impl Role {
    /// Bytes that its longest message can take, but for items.
    const fn longest(self) -> usize {
        match self {
            Self::Intake => MAX_WANT + 2,
            Self::Outlet => MAX_OFFER + MAX_OFFER_HEAD,
            Self::Gets => MAX_LIST + 2,
            Self::Serving => 1, // looks itself at what fits
        }
    }
}

impl Pool {
    pub(super) fn add_link(&mut self, now: Instant, id: LinkId, info: &LinkInfo) {
        if self.links.slot(id).is_some() {
            return;
        }
        let resumed = self.resume.take(&info.peer);
        let phase = self.rng.below(2 * nanos(self.config.offer_delay));
        let intake = Intake::new(self.config.entries, resumed);
        let Some(slot) =
            self.join(now, Link::new(id, *info, intake, Outlet::new(phase, self.resume.epoch(&info.peer))))
        else {
            return;
        };
        if !self.want.paused {
            self.links.open_lane(&mut self.asks, self.channel, slot, Role::Intake);
        }
    }

    pub(super) fn ready_link(&mut self, id: LinkId, negotiated: &Negotiated) {
        let Some(slot) = self.links.slot(id) else { return };
        let Some(link) = self.links.get_mut(slot) else { return };
        let max_item = negotiated.max_answer.min(self.config.max_item);
        link.ready = Some(Ready { max_item, key: negotiated.peer_key });
        if let Some(stream) = link.intake.lane.stream {
            self.asks.push_back(Ask::Resume(StreamKey { link: id, stream }));
        }
        self.offer_more(slot);
    }

    pub(super) fn drop_link(&mut self, now: Instant, id: LinkId) {
        let Some(slot) = self.links.slot(id) else { return };
        let receipt = self.links.get_mut(slot).and_then(|link| link.intake.receipt(&self.asking.candidates));
        let Some(link) = self.links.get_mut(slot) else { return };
        link.ready = None;
        link.gets.lane.opening = Opening::Never;
        let peer = link.peer();
        let undecided: Vec<_> = if link.intake.rewound {
            self.asking.candidates.all()
        } else {
            link.intake.undecided().chain(self.inventory.deferred.released()).collect()
        };
        if let Some((epoch, through)) = receipt {
            let through = if self.inventory.deferred.lost_at(slot) { 0 } else { through };
            self.resume.keep(peer, epoch, through);
        }
        self.lose_gets(now, slot, Lost::ForGood);
        for id in undecided {
            if let Some(candidate) = self.asking.candidates.get_mut(id) {
                candidate.heard.remove(slot);
                candidate.gone.remove(slot);
                self.cannot_deliver(now, id, slot);
            }
        }
        self.asking.fetch.recorded(&mut self.links, slot, |record| *record = super::record::Record::new());
        self.clear_timers(slot);
        self.inventory.known.forget(slot);
        self.asking.given_up.forget(slot);
        self.inventory.deferred.forget(slot);
        self.depart(now, slot);
    }

    pub(super) fn opened(&mut self, _now: Instant, key: StreamKey, opened: Opened) {
        let Some(slot) = self.links.slot(key.link) else { return };
        let role = match opened {
            Opened::Local { tag } if tag % 2 == 0 => Role::Intake,
            Opened::Local { .. } => Role::Gets,
            Opened::Peer { lane: OFFERS } => Role::Outlet,
            Opened::Peer { lane: ITEMS } => Role::Serving,
            Opened::Peer { .. } => return self.refuse(key, code::UNKNOWN_CHANNEL),
        };
        let Some(link) = self.links.get_mut(slot) else { return };
        let lane = link.lane_mut(role);
        if lane.stream.is_some() || lane.opening == Opening::Never {
            return self.refuse(key, code::LIMIT);
        }
        lane.stream = Some(key.stream);
        match role {
            Role::Intake => self.renew(slot),
            Role::Gets => lane.ask_write(key.link, &mut self.asks),
            Role::Outlet | Role::Serving => {}
        }
    }

    fn refuse(&mut self, key: StreamKey, code: u32) {
        self.asks.extend([Ask::Reset(key, code), Ask::Stop(key, code)]);
    }

    pub(super) fn refused(&mut self, now: Instant, tag: u64, why: OpenError) {
        let role = if tag.is_multiple_of(2) { Role::Intake } else { Role::Gets };
        let Some(slot) = self.links.slot(LinkId(tag / 2)) else { return };
        let Some(link) = self.links.get_mut(slot) else { return };
        link.lane_mut(role).opening = Opening::No;
        if why == OpenError::Limit {
            self.timers.set(Timer::Open(slot, role), Some(now + REOPEN));
        }
    }

    pub(super) fn room_of(&self, key: StreamKey) -> usize {
        let Some((slot, role)) = self.links.locate(key) else { return 0 };
        match role {
            Role::Intake => self.links.get(slot).map_or(0, Link::offers_room),
            Role::Outlet => MAX_WANT + 2,
            Role::Gets => self.links.get(slot).map_or(0, |link| link.gets.room()),
            Role::Serving => MAX_LIST + 2,
        }
    }

    pub(super) fn incoming(&mut self, now: Instant, key: StreamKey, input: Incoming) {
        let Some((slot, role)) = self.links.locate(key) else { return };
        let Some(link) = self.links.get_mut(slot) else { return };
        link.heard.read(now);
        match input {
            Incoming::Data(chunk) => match role {
                Role::Intake => self.read_offers(now, slot, chunk),
                Role::Outlet => self.read_wants(now, slot, chunk),
                Role::Gets => self.read_items(now, slot, chunk),
                Role::Serving => self.read_gets(now, slot, chunk),
            },
            Incoming::End | Incoming::Reset(_) => {
                self.asks.push_back(Ask::Reset(key, code::CANCELLED));
                self.end_lane(now, slot, role);
            }
            Incoming::Stopped(_) => {
                self.asks.push_back(Ask::Stop(key, code::CANCELLED));
                self.end_lane(now, slot, role);
            }
        }
    }

    /// Breaks both directions of a stream off.
    pub(super) fn close_lane(&mut self, slot: Slot, role: Role, code: u32) {
        let Some(link) = self.links.get_mut(slot) else { return };
        let id = link.id;
        let lane = link.lane_mut(role);
        lane.opening = Opening::Never;
        lane.unsent = Rope::new();
        if let Some(stream) = lane.stream.take() {
            self.refuse(StreamKey { link: id, stream }, code);
        }
        self.timers.set(Timer::Message(slot, role), None);
    }

    /// A stream has ended at the peer's side.
    fn end_lane(&mut self, now: Instant, slot: Slot, role: Role) {
        if let Some(link) = self.links.get_mut(slot) {
            let lane = link.lane_mut(role);
            (lane.stream, lane.unsent) = (None, Rope::new());
        }
        self.timers.set(Timer::Message(slot, role), None);
        self.pause_lane(now, slot, role);
    }

    /// A message on a stream did not end in time.
    pub(super) fn stalled(&mut self, now: Instant, slot: Slot, role: Role) {
        self.blame(slot, STALLED);
        self.close_lane(slot, role, code::TIMEOUT);
        self.pause_lane(now, slot, role);
    }

    /// A stream has ended early: this node opens its own again after a pause, and lets the peer do so with its own.
    pub(super) fn pause_lane(&mut self, now: Instant, slot: Slot, role: Role) {
        let window = self.config.entries;
        let Some(link) = self.links.get_mut(slot) else { return };
        let receipt = if role == Role::Intake { link.intake.receipt(&self.asking.candidates) } else { None };
        match role {
            Role::Intake | Role::Gets => {
                let pause = link.lane_mut(role).pause();
                self.timers.set(Timer::Open(slot, role), Some(now + pause));
            }
            Role::Outlet => {
                link.outlet.restart();
                self.timers.set(Timer::Offers(slot), None);
            }
            Role::Serving => self.restart_serving(slot),
        }
        if role == Role::Gets {
            self.lose_gets(now, slot, Lost::Again);
        } else if role == Role::Intake
            && let Some(link) = self.links.get_mut(slot)
        {
            let lost = link.intake.restart(window, receipt);
            self.want.lent.take(link.info.side, lost);
            self.timers.set(Timer::Permit(slot), None);
            self.timers.set(Timer::Move(slot), None);
        }
    }

    /// The pause of a stream is over.
    pub(super) fn reopen(&mut self, slot: Slot, role: Role) {
        let Some(link) = self.links.get_mut(slot) else { return };
        let lane = link.lane_mut(role);
        if lane.opening == Opening::Paused {
            lane.opening = Opening::No;
        }
        match role {
            Role::Gets if link.gets.flight.is_empty() => self.asking.fetch.unstall(&mut self.links, slot), // opened with the first get
            Role::Intake if self.want.paused => {}
            _ => self.links.open_lane(&mut self.asks, self.channel, slot, role),
        }
    }

    /// Writes what waits on a stream: what is encoded already, then one message after another.
    pub(super) fn write(&mut self, now: Instant, key: StreamKey, room: usize, out: &mut Rope) {
        let Some((slot, role)) = self.links.locate(key) else { return };
        let start = out.len();
        let bodies = self.stats.body_bytes_sent;
        loop {
            let Some(link) = self.links.get_mut(slot) else { return };
            let lane = link.lane_mut(role);
            pour(&mut lane.unsent, room.saturating_sub(out.len() - start), out);
            let left = room.saturating_sub(out.len() - start);
            if left == 0 || !lane.unsent.is_empty() {
                break;
            }
            let before = out.len();
            if left >= role.longest() {
                self.produce(now, slot, role, left, out);
                if out.len() > before {
                    continue;
                }
            }
            let mut message = Rope::new();
            self.produce(now, slot, role, usize::MAX, &mut message);
            let Some(link) = self.links.get_mut(slot) else { return };
            if message.is_empty() {
                break;
            }
            link.lane_mut(role).unsent = message;
        }
        let written = (out.len() - start) as u64;
        let bodies = self.stats.body_bytes_sent - bodies;
        self.stats.control_bytes_sent += written.saturating_sub(bodies);
        if written == 0
            && let Some(link) = self.links.get_mut(slot)
        {
            link.lane_mut(role).found_nothing();
        }
    }

    /// Encodes the next message of a stream, of at most `left` bytes.
    fn produce(&mut self, now: Instant, slot: Slot, role: Role, left: usize, out: &mut Rope) {
        match role {
            Role::Intake => self.write_wants(now, slot, out),
            Role::Outlet => self.write_offers(now, slot, out),
            Role::Gets => self.write_gets(slot, out),
            Role::Serving => self.write_answers(now, slot, left, out),
        }
    }
}
