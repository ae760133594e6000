//! How links come up and go down: slots, one link per peer, wires.

use std::collections::BTreeMap;
use std::net::IpAddr;

use weir_base::identity::PeerId;
use weir_base::stream::{Goodbye, Group, LinkInfo, Side};
use weir_base::{Instant, LinkId};

use super::duplicates::{Candidate, Decider, Pair};
use super::{Links, Timer};
use crate::event::{DialFailure, DialId, DownReason, WireId};
use crate::frames::FrameLink;
use crate::link::{Life, Transport};
use crate::window::Window;
use crate::{Event, Link};

/// Who turned out to be at the other end of a link.
#[derive(Clone, Copy, Debug)]
pub(super) struct Confirmed {
    pub(super) peer: PeerId,
    pub(super) dialler: bool,
    pub(super) group: Group,
}

impl Links {
    pub(super) fn wire_opened(
        &mut self,
        now: Instant,
        wire: WireId,
        peer: PeerId,
        dialled: Option<DialId>,
        group: Group,
    ) {
        let id = self.work.next_link();
        let carrier = FrameLink::new(wire, dialled.is_some(), &self.config.streams);
        let deadline = now + self.config.dial.timeout;
        let mut link = self.new_link(now, id, Life::HalfOpen(deadline), Transport::Frames(Box::new(carrier)));
        link.origin.dial = dialled;
        self.links.insert(id, link);
        if let Some(dial) = dialled {
            self.dialler.wire_opened(dial, id);
        }
        self.wires.links.insert(wire, id);
        self.confirm(now, id, Confirmed { peer, dialler: dialled.is_some(), group });
    }

    pub(super) fn wire_closed(&mut self, now: Instant, wire: WireId) {
        let Some(link) = self.wires.links.get(&wire).and_then(|id| self.links.get_mut(id)) else { return };
        match &mut link.transport {
            Transport::Frames(carrier) => carrier.wire_closed(),
            #[cfg(not(target_family = "wasm"))]
            Transport::Quic(_) => return, // no wire is one
        }
        link.end(now, DownReason::Lost);
        self.work.touched.mark(link.id());
    }

    pub(super) fn new_link(&self, now: Instant, id: LinkId, life: Life, transport: Transport) -> Link {
        let budget = &self.config.budget;
        let window = Window::new(budget.base_window, budget.max_lent, budget.patience, now);
        Link::new(id, life, window, transport, self.config.dial.linger)
    }

    /// A handshake is complete: takes the link up, or closes it with a reason.
    pub(super) fn confirm(&mut self, now: Instant, id: LinkId, confirmed: Confirmed) {
        self.work.touched.mark(id);
        if let Some(mut link) = self.links.remove(&id) {
            self.half_open_over(&mut link);
            self.links.insert(id, link);
        }
        let (side, pair) = match self.admit(now, id, confirmed) {
            Ok(admitted) => admitted,
            Err(why) => return self.refuse(now, id, why),
        };
        let Some(link) = self.links.get_mut(&id) else { return };
        let Confirmed { peer, dialler, group } = confirmed;
        let info = LinkInfo { peer, side, dialler, group };
        link.info = Some(info);
        link.up(now);
        let (address, dial, ip) = (link.origin.address.clone(), link.origin.dial, link.origin.ip);
        let goodbye = link.origin.goodbye.take();
        self.stats.links += 1;
        if !dialler {
            self.admission.enter(ip);
            self.stats.inbound += 1;
        }
        let preferred = pair.map_or(id, |pair| pair.winner);
        tracing::debug!(link = id.0, %peer, dialler, ?pair, "link up");
        self.work.events.push_back(Event::Up { link: id, info, address, dial, preferred });
        self.peers.insert(peer, preferred);
        if let Some(pair) = pair {
            self.pair_up(now, peer, pair);
        }
        if let Some((why, link)) = goodbye.zip(self.links.get_mut(&id)) {
            link.close(now, why);
        }
    }

    /// Whether a confirmed link may come up; on whose side it counts, and the pair that it makes with one of the same peer.
    fn admit(
        &mut self,
        now: Instant,
        id: LinkId,
        confirmed: Confirmed,
    ) -> Result<(Side, Option<Pair>), Goodbye> {
        let Confirmed { peer, dialler, .. } = confirmed;
        let Some(link) = self.links.get(&id) else { return Err(Goodbye::Asked) };
        let (dial, ip) = (link.origin.dial, link.origin.ip);
        if peer == self.local_peer {
            self.dial_failed(now, dial, id, DialFailure::OtherPeer);
            return Err(Goodbye::Asked);
        }
        if dialler && dial.is_none() {
            return Err(Goodbye::Asked); // the dial was given up meanwhile
        }
        if let Some(dial) = dial {
            let Some(accepted) = self.dialler.accepts(dial, peer) else { return Err(Goodbye::Asked) };
            if !accepted {
                self.dial_failed(now, Some(dial), id, DialFailure::OtherPeer);
                return Err(Goodbye::Asked);
            }
        }
        self.make_room_for_third(now, &peer);
        let older = self.candidate(&peer);
        let pair = older.map(|older| {
            let newer = Candidate { link: id, dialler, up: now };
            Pair::judge(self.local_peer, peer, self.config.dial.timeout, older, newer)
        });
        if self.has_lost(id, pair)
            && let Some(dial) = dial
        {
            self.dialler.fail(dial, DialFailure::Superseded);
            self.drive_dials(now);
            return Err(Goodbye::Duplicate);
        }
        if !self.has_slot(now, confirmed, ip, older) {
            self.stats.refused += 1;
            self.dial_failed(now, dial, id, DialFailure::Refused(Goodbye::Full));
            return Err(Goodbye::Full);
        }
        let Some(dial) = dial else { return Ok((Side::Inbound, pair)) };
        let Some(success) = self.dialler.succeeded(dial, id) else { return Err(Goodbye::Asked) };
        self.give_up(success.others);
        self.stats.dials = self.dialler.len() as u64;
        Ok((if success.pinned { Side::Pinned } else { Side::Dialled }, pair))
    }

    /// Whether a new link may be refused at once, because the other one of its pair stays and is proven.
    fn has_lost(&self, id: LinkId, pair: Option<Pair>) -> bool {
        pair.is_some_and(|pair| {
            pair.loser == id && pair.decider == Decider::Here && self.is_proven(pair.winner)
        })
    }

    /// Whether a confirmed link has a place. The one of the same peer that it is a pair with gives up its own soon, so its place
    /// counts for the new one as far as both are of the same kind. Where all inbound places are taken, another link may give way.
    fn has_slot(
        &mut self,
        now: Instant,
        confirmed: Confirmed,
        ip: Option<IpAddr>,
        older: Option<Candidate>,
    ) -> bool {
        let links = self.stats.links.saturating_sub(u64::from(older.is_some()));
        let links = u32::try_from(links).unwrap_or(u32::MAX);
        if confirmed.dialler {
            return links < self.config.admission.max_links;
        }
        let inbound = older.filter(|older| !older.dialler).and_then(|older| self.links.get(&older.link));
        let place = inbound.map(|older| older.origin.ip);
        if let Some(place) = place {
            self.admission.leave(place);
        }
        let limits = &self.config.admission;
        let within = self.admission.is_pinned(&confirmed.peer) || self.admission.is_within(limits, ip);
        let free = self.admission.is_free(limits, links);
        if let Some(place) = place {
            self.admission.enter(place);
        }
        within && (free || self.make_way(now, confirmed, older))
    }

    /// All inbound places are taken: the youngest link of the most crowded group is closed for a newcomer whose own group stays
    /// smaller than that one, and for a pinned peer in any case. Pinned peers never give way. Whether one did.
    fn make_way(&mut self, now: Instant, confirmed: Confirmed, older: Option<Candidate>) -> bool {
        let mut groups: BTreeMap<Group, (u64, (Instant, LinkId))> = BTreeMap::new(); // how many, and the youngest
        for link in self.links.values() {
            let (Some(info), Some(since)) = (link.info, link.up_since()) else { continue };
            let stays = info.dialler || self.admission.is_pinned(&info.peer);
            if stays || older.is_some_and(|older| older.link == link.id()) {
                continue;
            }
            let (count, youngest) = groups.entry(info.group).or_insert((0, (since, link.id())));
            *count += 1;
            *youngest = (*youngest).max((since, link.id()));
        }
        let own = groups.get(&confirmed.group).map_or(0, |(count, _)| *count);
        let Some((count, (_, victim))) = groups.into_values().max() else { return false };
        if count < own + 2 && !self.admission.is_pinned(&confirmed.peer) {
            return false;
        }
        self.stats.gave_way += 1;
        if let Some(link) = self.links.get_mut(&victim) {
            link.abort(now, Goodbye::Full, DownReason::Closed(Goodbye::Full));
            self.settle_link(now, victim); // its place is free at once
        }
        true
    }

    fn dial_failed(&mut self, now: Instant, dial: Option<DialId>, link: LinkId, error: DialFailure) {
        if let Some(dial) = dial {
            self.dialler.attempt_failed(now, dial, Some(link), error, &self.config.dial);
            self.drive_dials(now);
        }
    }

    pub(super) fn refuse(&mut self, now: Instant, id: LinkId, why: Goodbye) {
        tracing::debug!(link = id.0, ?why, "link refused");
        if let Some(link) = self.links.get_mut(&id) {
            link.origin.dial = None; // the dial knows already
            link.abort(now, why, DownReason::Closed(why));
        }
    }

    /// A link is over: frees what it held and tells.
    pub(super) fn remove(&mut self, now: Instant, id: LinkId) {
        let Some(mut link) = self.links.remove(&id) else { return };
        self.work.timers.set(Timer::Link(id), None);
        self.credit.receive.give_back(link.window.close());
        self.credit.receive.forget(id);
        self.credit.send.forget(id);
        let why = match link.life {
            Life::Ending { why, .. } => why,
            Life::HalfOpen(_) | Life::Up(_) => DownReason::Lost,
        };
        self.half_open_over(&mut link);
        let was_early = link.was_early();
        let other_peer = match link.transport {
            Transport::Frames(carrier) => {
                self.wires.links.remove(&carrier.wire());
                self.wires.ready.remove(id);
                self.work.events.push_back(Event::CloseWire(carrier.wire()));
                false
            }
            #[cfg(not(target_family = "wasm"))]
            Transport::Quic(carrier) => {
                self.credit.receive.give_back(carrier.debt());
                self.credit.send.give_back(carrier.send_lent());
                let goodbye = match why {
                    DownReason::Closed(goodbye) => goodbye,
                    _ => Goodbye::Shutdown,
                };
                let other_peer = carrier.met_other_peer();
                self.quic.remove(now, id, carrier, goodbye);
                other_peer
            }
        };
        if let Some(info) = link.info {
            self.forget_duplicate(now, id, info.peer, why);
            self.stats.links = self.stats.links.saturating_sub(1);
            if !info.dialler {
                self.admission.leave(link.origin.ip);
                self.stats.inbound = self.stats.inbound.saturating_sub(1);
            }
            tracing::debug!(link = id.0, ?why, "link down");
            self.work.events.push_back(Event::Down { link: id, why });
        } else {
            if was_early {
                self.work.events.push_back(Event::Down { link: id, why });
            }
            let error = match why {
                _ if other_peer => DialFailure::OtherPeer,
                DownReason::ByPeer(why) => DialFailure::Refused(why),
                DownReason::Lost | DownReason::Closed(_) => DialFailure::Unreachable,
                DownReason::Reset | DownReason::Rejected | DownReason::Fault(_) => DialFailure::Handshake,
            };
            self.dial_failed(now, link.origin.dial, id, error);
        }
    }
}
