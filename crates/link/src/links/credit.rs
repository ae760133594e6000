//! The two ledgers, and how credit of them is lent to links and taken back. `docs/spec/links.md`, "Windows".

use std::time::Duration;

use weir_base::stream::Goodbye;
use weir_base::{Instant, LinkId};

use crate::budget::Budget;
use crate::carrier::Scope;
use crate::endpoint::Context;
use crate::event::DownReason;
use crate::link::{Life, Link};
use crate::table::{Table, Timer};
use crate::window::Window;
use crate::{BudgetConfig, Config, Stats};

/// How long a shortage of credit lasts before links are looked through again, after one was closed for it.
const RECLAIM_PAUSE: Duration = Duration::from_millis(100);

/// How often links are looked through while others wait for credit.
const RECLAIM_CHECK: Duration = Duration::from_secs(1);

/// What a stalled raw stream is reset with (`docs/spec/streams.md`, "Codes").
const STALLED: u32 = 7;

/// Both ledgers.
pub(super) struct Credit {
    receive: Budget,
    send: Budget,
}

impl Credit {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            receive: Budget::new(config.budget.receive_total, config.reserved_receive()),
            send: Budget::new(config.budget.send_total, config.reserved_send()),
        }
    }

    /// The link that waits longest, where something came back that it can be lent.
    pub(super) fn next_waiting(&mut self) -> Option<LinkId> {
        self.receive.next_waiting()
    }

    /// Brings the counters up to date.
    pub(super) fn count(&self, stats: &mut Stats) {
        stats.receive = self.receive.stats();
        stats.send = self.send.stats();
    }

    /// Settles a link's account with the receive ledger; `turn`: it is the link that waits longest. Where its window grew it has
    /// credit to advertise.
    pub(super) fn lend(&mut self, context: &mut Context<'_>, id: LinkId, turn: bool) {
        let (now, budget) = (context.now, &context.config.budget);
        let Some(link) = context.table.get_mut(id) else { return };
        if matches!(link.life, Life::HalfOpen(_)) {
            return; // what comes with a handshake has the base window
        }
        self.receive.give_back(link.window.take_repaid());
        let deficit = link.window.deficit();
        if deficit == 0 {
            self.receive.forget(id);
            return;
        }
        let lent = self.receive.lend(id, deficit, turn);
        if lent > 0 {
            link.window.grow(now, lent);
            if link.carrier.window_grew(&link.window) {
                context.table.touch(id); // nothing else may ever touch it: what is read next may be what its readers wait for
            }
        }
        if lent < deficit && context.table.timers.get(Timer::Credit).is_none() {
            context.table.timers.set(Timer::Credit, Some(now + budget.patience));
        }
        reset_stalled_raw(context, id);
    }

    /// Send memory: as much as the carrier wants, or back what it does not need.
    pub(super) fn lend_send(&mut self, context: &mut Context<'_>, id: LinkId) {
        let now = context.now;
        let Some(link) = context.table.get_mut(id) else { return };
        let demand = link.carrier.send_demand(now);
        self.send.give_back(demand.back);
        if demand.more > 0 {
            let lent = self.send.take(demand.more);
            let mut scope = Scope { now, link: id, window: &mut link.window, events: context.events };
            link.carrier.lend_send(&mut scope, lent);
        }
    }

    /// A link is gone: all that it was lent comes back.
    pub(super) fn take_back(&mut self, link: &mut Link) {
        let lent = link.carrier.lent();
        self.receive.give_back(link.window.close());
        self.receive.give_back(lent.receive);
        self.receive.forget(link.id());
        self.send.give_back(lent.send);
    }

    /// While links wait for credit: of those that hold lent credit and were silent or slow for too long, one whose peer still has
    /// to deliver the rest of an answer is closed, or else one with surplus credit. The one that was silent longest.
    pub(super) fn reclaim(&mut self, context: &mut Context<'_>) {
        if !self.receive.is_short() {
            return;
        }
        let now = context.now;
        let Some(victim) = hoarder(context.table, &context.config.budget, now) else {
            context.table.timers.set(Timer::Credit, Some(now + RECLAIM_CHECK));
            return;
        };
        tracing::info!(link = victim.0, "closed to take lent credit back");
        context.stats.credit_closed += 1;
        context.table.touch(victim);
        if let Some(link) = context.table.get_mut(victim) {
            link.abort(now, Goodbye::Credit, DownReason::Closed(Goodbye::Credit));
        }
        context.table.timers.set(Timer::Credit, Some(now + RECLAIM_PAUSE));
    }
}

/// Which link keeps lent credit without using it.
fn hoarder(table: &mut Table, budget: &BudgetConfig, now: Instant) -> Option<LinkId> {
    let mut victims = [None, None];
    for link in table.all_mut().filter(|link| link.is_up() && link.window.lent() > 0) {
        let overdue = link.window.last_read() + budget.patience <= now || link.window.is_slow(now);
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
    victims.into_iter().flatten().next().map(|(_, victim)| victim)
}

/// Resets the latest raw streams, while they are past their cap or occupy the base window where no credit is left.
fn reset_stalled_raw(context: &mut Context<'_>, id: LinkId) {
    let cap = context.config.budget.max_raw;
    let over = |window: &Window| window.backlog() > cap || window.base_is_occupied();
    while let Some(link) = context.table.get_mut(id).filter(|link| over(&link.window)) {
        let Some(stream) = link.carrier.streams().stalled_raw() else { return };
        context.stats.raw_resets += 1;
        let mut scope =
            Scope { now: context.now, link: id, window: &mut link.window, events: context.events };
        link.carrier.streams().reset_stalled(&mut scope, stream, STALLED);
        context.table.touch(id);
    }
}
