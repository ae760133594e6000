//! After a link was touched: its credit, its deadline, its output, its end.

use weir_base::{Instant, LinkId};

use super::{Links, Timer};
use crate::Frame;
use crate::event::{DownReason, WireId};
use crate::link::{Life, Transport, transport};
use crate::window::Window;

/// How long a shortage of credit lasts before links are looked through again, after one was closed for it.
const RECLAIM_PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

/// How often links are looked through while others wait for credit.
const RECLAIM_CHECK: std::time::Duration = std::time::Duration::from_secs(1);

/// What a stalled raw stream is reset with (`docs/spec/streams.md`, "Codes").
pub(crate) const STALLED: u32 = 7;

impl Links {
    /// Brings every touched link in order, and deals what credit came back.
    pub(super) fn settle(&mut self, now: Instant) {
        if self.work.touched.is_empty() && !self.credit.receive.is_short() {
            return;
        }
        loop {
            while let Some(id) = self.work.touched.pop() {
                self.settle_link(now, id);
            }
            let Some(id) = self.credit.receive.next_waiting() else { break };
            self.lend(now, id, true);
        }
        self.stats.receive = self.credit.receive.stats();
        self.stats.send = self.credit.send.stats();
    }

    pub(super) fn settle_link(&mut self, now: Instant, id: LinkId) {
        #[cfg(not(target_family = "wasm"))]
        self.quic_events(now, id);
        let Some(link) = self.links.get(&id) else { return };
        let ended = matches!(link.life, Life::Ending { deadline, .. } if deadline <= now);
        let over = match &link.transport {
            Transport::Frames(carrier) => carrier.is_over(),
            #[cfg(not(target_family = "wasm"))]
            Transport::Quic(carrier) => carrier.is_over(),
        };
        if over || ended {
            return self.remove(now, id);
        }
        if !self.duplicates.is_empty()
            && let Some(info) = link.info
        {
            self.settle_duplicate(now, &info.peer);
        }
        self.lend(now, id, false);
        self.mark_output(id);
    }

    /// Settles a link's account with the receive ledger.
    fn lend(&mut self, now: Instant, id: LinkId, turn: bool) {
        let Some(link) = self.links.get_mut(&id) else { return };
        if matches!(link.life, Life::HalfOpen(_)) {
            return; // what comes with a handshake has the base window
        }
        let ledger = &mut self.credit.receive;
        ledger.give_back(link.window.take_repaid());
        let short = link.window.deficit();
        if short == 0 {
            return ledger.forget(id);
        }
        let lent = ledger.lend(id, short, turn);
        if lent > 0 {
            link.window.grow(now, lent);
            match &mut link.transport {
                Transport::Frames(_) => self.wires.ready.mark(id), // the credit goes out with the next frame
                #[cfg(not(target_family = "wasm"))]
                Transport::Quic(carrier) => carrier.window_changed(&link.window),
            }
        }
        if lent < short && self.work.timers.get(Timer::Credit).is_none() {
            self.work.timers.set(Timer::Credit, Some(now + self.config.budget.patience));
        }
        self.reset_stalled_raw(now, id);
    }

    /// Resets the latest raw streams, while they are past their cap or occupy the base window where no credit is left.
    fn reset_stalled_raw(&mut self, now: Instant, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let cap = self.config.budget.max_raw;
        let over = |window: &Window| window.backlog() > cap || window.base_is_occupied();
        while over(&link.window) {
            let stream = match &link.transport {
                Transport::Frames(carrier) => carrier.stalled_raw(),
                #[cfg(not(target_family = "wasm"))]
                Transport::Quic(carrier) => carrier.stalled_raw(),
            };
            let Some(stream) = stream else { return };
            self.stats.raw_resets += 1;
            let events = &mut self.work.events;
            transport!(link, carrier => carrier.reset_stalled(now, id, &mut link.window, stream, STALLED, events));
            self.work.touched.mark(id);
        }
    }

    /// While links wait for credit: of those that hold lent credit and were silent or slow for too long, one whose peer still has
    /// to deliver the rest of an answer is closed, or else one with surplus credit. The one that was silent longest.
    pub(super) fn reclaim(&mut self, now: Instant) {
        if !self.credit.receive.is_short() {
            return;
        }
        let patience = self.config.budget.patience;
        let mut victims = [None, None];
        for link in self.links.values_mut().filter(|link| link.is_up() && link.window.lent() > 0) {
            let overdue = link.window.last_read() + patience <= now || link.window.is_slow(now);
            let kind = match (link.window.is_expecting(), link.window.surplus()) {
                (true, _) => 0,
                (false, 0) => continue,
                (false, _) => 1,
            };
            let candidate = (link.window.last_read(), link.id());
            if let Some(victim) = victims.get_mut(kind).filter(|_| overdue) {
                *victim = Some(victim.map_or(candidate, |victim: (Instant, LinkId)| victim.min(candidate)));
            }
        }
        let victim = victims.into_iter().flatten().next();
        if let Some((_, victim)) = victim {
            tracing::info!(link = victim.0, "closed to take lent credit back");
            self.stats.credit_closed += 1;
            self.work.touched.mark(victim);
            if let Some(link) = self.links.get_mut(&victim) {
                let why = weir_base::stream::Goodbye::Credit;
                link.abort(now, why, DownReason::Closed(why));
            }
            self.work.timers.set(Timer::Credit, Some(now + RECLAIM_PAUSE));
            return;
        }
        self.work.timers.set(Timer::Credit, Some(now + RECLAIM_CHECK));
    }

    /// A link may have something to send, and its deadline may have moved.
    fn mark_output(&mut self, id: LinkId) {
        let Some(link) = self.links.get(&id) else { return };
        let life = Self::life_deadline(link.life);
        match &link.transport {
            Transport::Frames(_) => {
                self.wires.ready.mark(id);
                self.work.timers.set(Timer::Link(id), life);
            }
            #[cfg(not(target_family = "wasm"))]
            // Its deadline moves with what it sends, and is set when it has nothing more to send.
            Transport::Quic(_) => self.quic.mark(id),
        }
    }

    pub(super) fn link_timeout(&mut self, now: Instant, id: LinkId) {
        #[cfg(not(target_family = "wasm"))]
        self.quic_timeout(now, id);
        let Some(link) = self.links.get_mut(&id) else { return };
        if matches!(link.life, Life::HalfOpen(deadline) if deadline <= now) {
            let why = weir_base::stream::Goodbye::Idle;
            link.abort(now, why, DownReason::Lost);
        }
        self.work.touched.mark(id);
    }

    pub(super) fn frame_out(&mut self, now: Instant) -> Option<(WireId, Frame)> {
        while let Some(id) = self.wires.ready.pop() {
            let Some(link) = self.links.get_mut(&id) else { continue };
            #[cfg(not(target_family = "wasm"))]
            let Transport::Frames(carrier) = &mut link.transport else { continue };
            #[cfg(target_family = "wasm")]
            let Transport::Frames(carrier) = &mut link.transport;
            let Some(frame) = carrier.poll(now, id, &link.window, &mut self.work.events) else { continue };
            if carrier.is_over() {
                self.work.touched.mark(id);
            }
            self.wires.ready.mark(id);
            return Some((carrier.wire(), frame));
        }
        None
    }
}
