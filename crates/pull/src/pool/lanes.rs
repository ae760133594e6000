//! Links come and go, streams open and end, bytes move.

use weir_base::stream::{Ask, Incoming, LinkInfo, OpenError};
use weir_base::{Instant, LinkId, Rope, StreamKey};

use super::Pool;
use super::client::{Delivered, Intake, Lost, Record, renew_permit, write_gets};
use super::links::{ITEMS, Link, OFFERS, Opening, Ready, Role, Slot};
use super::server::Flow;
use super::timer::Timer;
use crate::framing::{STALLED, code, pour};
use crate::machine::{Negotiated, Opened};

impl Pool {
    pub(crate) fn add_link(&mut self, now: Instant, id: LinkId, info: &LinkInfo) {
        if self.common.links.slot(id).is_some() {
            return;
        }
        let resumed = self.client.receipts.take(&info.peer);
        let outlet = self.offers.outlet(&info.peer);
        let intake = Intake::new(self.common.config.entries, resumed);
        let Some(slot) = self.join(now, Link::new(id, *info, intake, outlet)) else { return };
        if !self.client.demand.paused {
            self.common.open_lane(slot, Role::Intake);
        }
    }

    pub(crate) fn ready_link(&mut self, now: Instant, id: LinkId, negotiated: &Negotiated) {
        let Some(slot) = self.common.links.slot(id) else { return };
        let Some(link) = self.common.links.get_mut(slot) else { return };
        let max_item = negotiated.max_answer.min(self.common.config.max_item);
        link.ready = Some(Ready { max_item, key: negotiated.peer_key });
        if let Some(stream) = link.intake.lane.stream {
            self.common.asks.push_back(Ask::Resume(StreamKey { link: id, stream }));
        }
        self.offers.more(&mut self.common, now, slot);
    }

    pub(crate) fn drop_link(&mut self, now: Instant, id: LinkId) {
        let Some(slot) = self.common.links.slot(id) else { return };
        let receipt = self
            .common
            .links
            .get_mut(slot)
            .and_then(|link| link.intake.receipt(&self.client.asking.candidates));
        let Some(link) = self.common.links.get_mut(slot) else { return };
        link.ready = None;
        link.gets.lane.opening = Opening::Never;
        let peer = link.peer();
        let undecided: Vec<_> = if link.intake.rewound {
            self.client.asking.candidates.all()
        } else {
            link.intake.undecided().chain(self.client.asking.candidates.released()).collect()
        };
        if let Some((epoch, through)) = receipt {
            let through = if self.common.inventory.deferred.lost_at(slot) { 0 } else { through };
            self.client.receipts.keep(peer, epoch, through);
        }
        self.client.lose_gets(&mut self.common, now, slot, Lost::ForGood);
        for id in undecided {
            if let Some(candidate) = self.client.asking.candidates.get_mut(id) {
                candidate.heard.remove(slot);
                candidate.gone.remove(slot);
                self.client.cannot_deliver(&mut self.common, now, id, slot);
            }
        }
        self.client.asking.fetch.recorded(&mut self.common.links, slot, |record| *record = Record::new());
        self.common.clear_timers(slot);
        self.common.inventory.known.forget(slot);
        self.client.asking.given_up.forget(slot);
        self.common.inventory.deferred.forget(slot);
        self.depart(now, slot);
    }

    pub(crate) fn opened(&mut self, key: StreamKey, opened: Opened) {
        let Some(slot) = self.common.links.slot(key.link) else { return };
        let role = match opened {
            Opened::Local { tag } if tag % 2 == 0 => Role::Intake,
            Opened::Local { .. } => Role::Gets,
            Opened::Peer { lane: OFFERS } => Role::Outlet,
            Opened::Peer { lane: ITEMS } => Role::Serving,
            Opened::Peer { .. } => return self.common.refuse(key, code::UNKNOWN_CHANNEL),
        };
        let Some(link) = self.common.links.get_mut(slot) else { return };
        let lane = link.lane_mut(role);
        if lane.stream.is_some() || lane.opening == Opening::Never {
            return self.common.refuse(key, code::LIMIT);
        }
        lane.stream = Some(key.stream);
        match role {
            Role::Intake => renew_permit(&mut self.common, slot),
            Role::Gets => lane.ask_write(key.link, &mut self.common.asks),
            Role::Outlet | Role::Serving => {}
        }
    }

    /// A stream of this node's own could not be opened.
    pub(super) fn refused(&mut self, now: Instant, tag: u64, error: OpenError) {
        let role = if tag.is_multiple_of(2) { Role::Intake } else { Role::Gets };
        let Some(slot) = self.common.links.slot(LinkId(tag / 2)) else { return };
        self.common.lane_refused(now, slot, role, error);
    }

    pub(crate) fn incoming(&mut self, now: Instant, key: StreamKey, input: Incoming) {
        let Some((slot, role)) = self.common.links.locate(key) else { return };
        let Some(link) = self.common.links.get_mut(slot) else { return };
        link.heard.read(now);
        match input {
            Incoming::Data(chunk) => match role {
                Role::Intake => self.client.read_offers(&mut self.common, now, slot, chunk),
                Role::Outlet => self.offers.read(&mut self.common, now, slot, chunk),
                Role::Gets => {
                    self.client.read_items(&mut self.common, now, slot, chunk);
                    self.take_delivered();
                }
                Role::Serving => self.uploads.read(&mut self.common, now, slot, chunk),
            },
            Incoming::End | Incoming::Reset(_) => {
                self.common.asks.push_back(Ask::Reset(key, code::CANCELLED));
                self.end_lane(now, slot, role);
            }
            Incoming::Stopped(_) => {
                self.common.asks.push_back(Ask::Stop(key, code::CANCELLED));
                self.end_lane(now, slot, role);
            }
        }
    }

    /// Bodies that have come wait to be handed over.
    fn take_delivered(&mut self) {
        for Delivered { slot, candidate, size } in self.client.delivered.drain(..) {
            self.checking.hold(slot, candidate, size);
        }
    }

    /// A stream has ended at the peer's side.
    fn end_lane(&mut self, now: Instant, slot: Slot, role: Role) {
        if let Some(link) = self.common.links.get_mut(slot) {
            let lane = link.lane_mut(role);
            (lane.stream, lane.unsent) = (None, Rope::new());
        }
        self.common.timers.set(Timer::Message(slot, role), None);
        self.pause_lane(now, slot, role);
    }

    /// A message on a stream did not end in time.
    pub(crate) fn stalled(&mut self, now: Instant, slot: Slot, role: Role) {
        self.common.blame(slot, STALLED);
        self.common.close_lane(slot, role, code::TIMEOUT);
        self.pause_lane(now, slot, role);
    }

    /// A stream has ended early: this node opens its own again after a pause, and lets the peer do so with its own.
    pub(crate) fn pause_lane(&mut self, now: Instant, slot: Slot, role: Role) {
        match role {
            Role::Intake => self.client.pause_offers(&mut self.common, now, slot),
            Role::Gets => self.client.pause_gets(&mut self.common, now, slot),
            Role::Outlet => {
                if let Some(link) = self.common.links.get_mut(slot) {
                    link.outlet.restart();
                    self.common.timers.set(Timer::Offers(slot), None);
                }
                self.uploads.offered(&mut self.common, now, slot, 0);
            }
            Role::Serving => self.uploads.restart(&mut self.common, slot),
        }
    }

    /// Writes what waits on a stream: what is encoded already, then one message after another.
    pub(crate) fn write(&mut self, now: Instant, key: StreamKey, room: usize, out: &mut Rope) {
        let Some((slot, role)) = self.common.links.locate(key) else { return };
        let start = out.len();
        let bodies = self.common.stats.body_bytes_sent;
        loop {
            let Some(link) = self.common.links.get_mut(slot) else { return };
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
                if role != Role::Serving {
                    break; // there was room for whatever it is; only an item may be longer
                }
            }
            let mut message = Rope::new();
            self.produce(now, slot, role, usize::MAX, &mut message);
            let Some(link) = self.common.links.get_mut(slot) else { return };
            if message.is_empty() {
                break;
            }
            link.lane_mut(role).unsent = message;
        }
        let written = (out.len() - start) as u64;
        let bodies = self.common.stats.body_bytes_sent - bodies;
        self.common.stats.control_bytes_sent += written.saturating_sub(bodies);
        if written == 0
            && let Some(link) = self.common.links.get_mut(slot)
        {
            link.lane_mut(role).found_nothing();
        }
    }

    /// Encodes the next message of a stream, of at most `left` bytes.
    fn produce(&mut self, now: Instant, slot: Slot, role: Role, left: usize, out: &mut Rope) {
        match role {
            Role::Intake => self.client.write_wants(&mut self.common, now, slot, out),
            Role::Outlet => {
                let before = out.len();
                let again = self.offers.write(&mut self.common, now, slot, out);
                self.uploads.offered(&mut self.common, now, slot, again);
                let may_write = |link: &Link| link.outlet.flow() == Flow::Writing;
                if out.len() == before && self.common.links.get(slot).is_some_and(may_write) {
                    // It got the turn that it needed.
                    let again = self.offers.write(&mut self.common, now, slot, out);
                    self.uploads.offered(&mut self.common, now, slot, again);
                }
            }
            Role::Gets => write_gets(&mut self.common, slot, out),
            Role::Serving => self.uploads.write(&mut self.common, now, slot, left, out),
        }
    }
}
