//! How links come up and go down: what carriers report, who is admitted, what a link leaves behind.

use weir_base::stream::{Goodbye, LinkInfo, Side};
use weir_base::{Instant, LinkId};

use super::Links;
use super::peers::{Candidate, Pair, Peers};
use crate::Event;
use crate::admission::{Newcomer, Place};
use crate::carrier::{Early, Remote, Report, Scope};
use crate::event::{DialFailure, DialId, DownReason};
use crate::gate::Refusal;
use crate::link::Life;

impl Links {
    /// Takes what a link's carrier reports.
    pub(super) fn take_reports(&mut self, now: Instant, id: LinkId) {
        loop {
            let Some(link) = self.table.get_mut(id) else { return };
            if let Some(endpoint) = self.endpoints.of(link.endpoint) {
                endpoint.exchange(id, link.carrier.as_mut());
            }
            let mut scope = Scope { now, link: id, window: &mut link.window, events: &mut self.events };
            let Some(report) = link.carrier.poll(&mut scope) else { break };
            match report {
                Report::Connected(remote) => self.connected(now, id, remote),
                Report::Lost(reason) => link.end(now, reason),
                Report::Fault(fault) => self.context(now).2.fault(id, fault),
            }
        }
        let (credit, _, mut context) = self.context(now);
        credit.lend_send(&mut context, id);
    }

    /// A handshake is complete: takes the link up, or closes it with a reason.
    fn connected(&mut self, now: Instant, id: LinkId, remote: Remote) {
        self.table.touch(id);
        let mut context = self.context(now).2;
        context.note_proven(id);
        context.half_open_over(id);
        let (side, pair) = match self.admit(now, id, remote) {
            Ok(admitted) => admitted,
            Err(reason) => return self.context(now).2.refuse(id, reason),
        };
        let Some(link) = self.table.get_mut(id) else { return };
        let Remote { peer, group } = remote;
        let info = LinkInfo { peer, side, dialler: link.origin.dialler, group };
        link.info = Some(info);
        link.up(now);
        if let Some(endpoint) = self.endpoints.of(link.endpoint) {
            endpoint.join(id, &info);
        }
        link.named.up(&self.names, self.config.streams.max_negotiating);
        let (address, dial, ip) = (link.origin.address.clone(), link.origin.dial, link.origin.ip);
        let goodbye = link.origin.goodbye.take();
        self.stats.links += 1;
        if !info.dialler {
            self.admission.enter(ip);
            self.stats.inbound += 1;
        }
        let (_, peers, mut context) = self.context(now);
        let preferred = peers.link_up(&mut context, peer, id, pair);
        tracing::debug!(link = id.0, %peer, dialler = info.dialler, ?pair, "link up");
        context.events.push_back(Event::Up { link: id, info, address, dial, preferred });
        let cut = peers.settle(&mut context, &peer);
        self.settle_cut(now, cut);
        if let Some((reason, link)) = goodbye.zip(self.table.get_mut(id)) {
            link.close(now, reason);
        }
        self.confirm(now, id);
    }

    /// Tells a carrier that its link was admitted.
    fn confirm(&mut self, now: Instant, id: LinkId) {
        let Some(link) = self.table.get_mut(id).filter(|link| link.is_up()) else { return };
        let mut scope = Scope { now, link: id, window: &mut link.window, events: &mut self.events };
        match link.carrier.confirmed(&mut scope) {
            Ok(early) => {
                self.stats.early_accepted += u64::from(early == Early::Accepted);
                self.stats.early_refused += u64::from(early == Early::Refused);
            }
            Err(fault) => self.context(now).2.fault(id, fault),
        }
    }

    /// Whether a confirmed link may come up; on whose side it counts, and the pair that it makes with one of the same peer.
    fn admit(&mut self, now: Instant, id: LinkId, remote: Remote) -> Result<(Side, Option<Pair>), Goodbye> {
        let peer = remote.peer;
        let Some(link) = self.table.get(id) else { return Err(Goodbye::Asked) };
        let (dialler, dial, ip) = (link.origin.dialler, link.origin.dial, link.origin.ip);
        if peer == self.peers.local() {
            self.attempt_failed(now, dial, id, DialFailure::OtherPeer);
            return Err(Goodbye::Asked);
        }
        if dialler && dial.is_none() {
            return Err(Goodbye::Asked); // the dial was given up meanwhile
        }
        if let Some(dial) = dial {
            let Some(accepted) = self.dialler.accepts(dial, peer) else { return Err(Goodbye::Asked) };
            if !accepted {
                self.attempt_failed(now, Some(dial), id, DialFailure::OtherPeer);
                return Err(Goodbye::Asked);
            }
        }
        let (_, peers, mut context) = self.context(now);
        let cut = peers.make_room_for_third(&mut context, &peer);
        self.settle_cut(now, cut);
        let older = self.peers.candidate(&self.table, &peer);
        let newer = Candidate { link: id, dialler, up: now };
        let pair = older.map(|older| self.peers.pair(self.config.dial.timeout, peer, older, newer));
        if Peers::has_lost(&self.table, id, pair)
            && let Some(dial) = dial
        {
            self.dialler.fail(dial, DialFailure::Superseded);
            self.drive_dials(now);
            return Err(Goodbye::Duplicate);
        }
        let context = self.context(now).2;
        if let Err(refusal) = context.may_use(id, &peer) {
            let goodbye = refusal.goodbye();
            self.context(now).2.tell_refused(id, peer, refusal);
            self.attempt_failed(now, dial, id, DialFailure::Gated);
            return Err(goodbye);
        }
        let newcomer =
            Newcomer { peer, group: remote.group, ip, dialler, older: older.map(|older| older.link) };
        if let Err(refusal) = self.has_place(now, newcomer) {
            self.context(now).2.tell_refused(id, peer, refusal);
            self.attempt_failed(now, dial, id, DialFailure::Refused(Goodbye::Full));
            return Err(Goodbye::Full);
        }
        let Some(dial) = dial else { return Ok((Side::Inbound, pair)) };
        let Some(success) = self.dialler.succeeded(dial, id) else { return Err(Goodbye::Asked) };
        self.give_up(success.others);
        self.stats.dials = self.dialler.len() as u64;
        Ok((if success.pinned { Side::Pinned } else { Side::Dialled }, pair))
    }

    /// Whether a confirmed link has a place. Where all inbound places are taken, another link may give way.
    fn has_place(&mut self, now: Instant, newcomer: Newcomer) -> Result<(), Refusal> {
        match self.admission.place(&self.config.admission, &self.table, newcomer) {
            Place::Free => Ok(()),
            Place::Refused(refusal) => Err(refusal),
            Place::Of(victim) => {
                self.stats.gave_way += 1;
                if let Some(link) = self.table.get_mut(victim) {
                    link.abort(now, Goodbye::Full, DownReason::Closed(Goodbye::Full));
                }
                self.settle_cut(now, Some(victim));
                Ok(())
            }
        }
    }

    fn attempt_failed(&mut self, now: Instant, dial: Option<DialId>, link: LinkId, error: DialFailure) {
        if let Some(dial) = dial {
            self.dialler.attempt_failed(now, dial, Some(link), error, &self.config.dial);
            self.drive_dials(now);
        }
    }

    /// A link is over: frees what it held and tells.
    pub(super) fn remove(&mut self, now: Instant, id: LinkId) {
        self.context(now).2.half_open_over(id);
        let Some(mut link) = self.table.remove(id) else { return };
        self.credit.take_back(&mut link);
        let reason = match link.life {
            Life::Ending { reason, .. } => reason,
            Life::HalfOpen(_) | Life::Up(_) => DownReason::Lost,
        };
        let goodbye = match reason {
            DownReason::Closed(goodbye) => goodbye,
            _ => Goodbye::Shutdown,
        };
        let was_early = link.carrier.was_early();
        let (endpoints, mut context) = self.endpoints(now);
        if let Some(endpoint) = endpoints.of(link.endpoint) {
            endpoint.remove(&mut context, id, link.carrier, goodbye);
        }
        if let Some(info) = link.info {
            let (_, peers, mut context) = self.context(now);
            peers.link_down(&mut context, id, info.peer, reason);
            self.stats.links = self.stats.links.saturating_sub(1);
            if !info.dialler {
                self.admission.leave(link.origin.ip);
                self.stats.inbound = self.stats.inbound.saturating_sub(1);
            }
            tracing::debug!(link = id.0, ?reason, "link down");
            self.events.push_back(Event::Down { link: id, reason });
        } else {
            if was_early {
                self.events.push_back(Event::Down { link: id, reason });
            }
            self.attempt_failed(now, link.origin.dial, id, DialFailure::of(reason));
        }
    }
}
