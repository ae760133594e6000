//! This node as a client: what it lets each link offer, and whom it asks for what.
//!
//! - `demand` over `grant` and `intake`: permits; `offers`: what comes of the entries of offers;
//! - `asking` over `candidates`, `reserve`, `fetch` and `record`: whom to ask;
//! - `gets`, `answers`, `overdue`, `gone`: what comes of it;
//! - `receipts`: where links left off.

mod answers;
mod asking;
mod candidates;
mod demand;
mod fetch;
mod gets;
mod gone;
pub(crate) mod grant;
mod intake;
mod offers;
mod overdue;
mod receipts;
mod record;
mod reserve;

use std::time::Duration;

use weir_base::{Instant, Rope};

pub(crate) use answers::{Delivered, write_gets};
pub(crate) use asking::Asking;
#[cfg(test)]
pub(crate) use candidates::MAX_ANNOUNCERS;
pub(crate) use candidates::{Body, CandId, Candidate, Candidates, Claim, State};
pub(crate) use demand::{Demand, move_due, move_to, renew_permit};
pub(crate) use gets::Gets;
pub(crate) use intake::Intake;
pub(crate) use overdue::Lost;
pub(crate) use receipts::Receipts;
pub(crate) use record::{MAX_RTT, Record};

use crate::pool::common::Common;
use crate::pool::inventory::DeferredItem;
use crate::pool::links::{Opening, Role, Slot};
use crate::pool::timer::Timer;

/// The longest time an item may be deferred for.
const LONGEST: Duration = Duration::from_secs(3_600);
/// After deferred items were lost, the servers that had offered them are asked to begin anew at most so often.
const LOST_PAUSE: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) demand: Demand,
    pub(crate) asking: Asking,
    pub(crate) receipts: Receipts,
    /// Bodies that have come and wait for the parent to take them.
    pub(crate) delivered: Vec<Delivered>, // a chunk's worth
}

impl Client {
    pub(crate) fn new(asking: Asking) -> Self {
        Self { demand: Demand::new(), asking, receipts: Receipts::default(), delivered: Vec::new() }
    }

    /// Credit may have returned on this link: tells the peer, if it is time.
    pub(crate) fn credit(&self, common: &mut Common, now: Instant, slot: Slot) {
        self.demand.credit(common, &self.asking.candidates, now, slot);
    }

    /// A candidate charged to this link is decided.
    fn give_back(&mut self, common: &mut Common, now: Instant, slot: Slot) {
        self.demand.give_back(common, &self.asking.candidates, now, slot);
    }

    /// What was gone at this link counts no more.
    pub(crate) fn forget_gone(&mut self, common: &mut Common, now: Instant, slot: Slot) {
        self.demand.forget_gone(common, &self.asking.candidates, now, slot);
    }

    /// Writes a permit, where one is due.
    pub(crate) fn write_wants(&mut self, common: &mut Common, now: Instant, slot: Slot, out: &mut Rope) {
        self.demand.write(common, &self.asking.candidates, now, slot, out);
    }

    /// Grants nothing from now on, or again.
    pub(crate) fn pause(&mut self, common: &mut Common, now: Instant, paused: bool) {
        self.demand.paused = paused;
        if paused {
            return;
        }
        for slot in common.links.slots() {
            common.open_lane(slot, Role::Intake);
            self.credit(common, now, slot);
        }
    }

    /// The application's floor changed.
    pub(crate) fn set_floor(&mut self, common: &mut Common, now: Instant, floor: u64) {
        let before = std::mem::replace(&mut self.demand.floor, floor);
        if floor < before {
            return self.resync(common, now);
        }
        if floor > before {
            common.links.slots().into_iter().for_each(|slot| renew_permit(common, slot));
        }
    }

    /// All servers begin at 0 again.
    pub(crate) fn resync(&mut self, common: &mut Common, now: Instant) {
        self.receipts.forget();
        for slot in common.links.slots() {
            move_to(common, now, slot, 0);
        }
    }

    /// This node's keys for short ids changed.
    pub(crate) fn rotate(&mut self, common: &Common) {
        let ids = &common.inventory.ids;
        for (id, full) in self.asking.candidates.delivered() {
            self.asking.candidates.alias(id, ids.number(), ids.short(&full));
        }
    }

    /// A candidate comes again later.
    pub(crate) fn defer(
        &mut self,
        common: &mut Common,
        now: Instant,
        candidate: Candidate,
        body: Body,
        pause: Duration,
    ) {
        if common.inventory.location_of(&body.item.0.id).is_some() {
            return;
        }
        let item = DeferredItem {
            item: body.item,
            heard: candidate.heard,
            from: body.from,
            due: now + pause.min(LONGEST),
        };
        for lost in common.inventory.defer(item) {
            // Who had offered it is asked for it again; where its deliverer is linked, it writes another receipt at its end.
            self.receipts.take(&lost.from.account.peer());
            if common.timers.get(Timer::Lost).is_none() {
                common.timers.set(Timer::Lost, Some(now + LOST_PAUSE));
            }
        }
    }

    /// The stream of permits has ended early: it is opened again after a pause, and begins where it left off.
    pub(crate) fn pause_offers(&mut self, common: &mut Common, now: Instant, slot: Slot) {
        let window = common.config.entries;
        let Some(link) = common.links.get_mut(slot) else { return };
        let receipt = link.intake.receipt(&self.asking.candidates);
        let pause = link.intake.lane.pause();
        let lost = link.intake.restart(window, receipt);
        self.demand.lent.take(link.info.side, lost);
        common.timers.set(Timer::Open(slot, Role::Intake), Some(now + pause));
        common.timers.set(Timer::Permit(slot), None);
        common.timers.set(Timer::Move(slot), None);
    }

    /// The stream of gets has ended early: it is opened again after a pause, and what was asked there is asked again.
    pub(crate) fn pause_gets(&mut self, common: &mut Common, now: Instant, slot: Slot) {
        let Some(link) = common.links.get_mut(slot) else { return };
        let pause = link.gets.lane.pause();
        common.timers.set(Timer::Open(slot, Role::Gets), Some(now + pause));
        self.lose_gets(common, now, slot, Lost::Again);
    }

    /// The pause of a stream is over.
    pub(crate) fn reopen(&mut self, common: &mut Common, slot: Slot, role: Role) {
        let Some(link) = common.links.get_mut(slot) else { return };
        let lane = link.lane_mut(role);
        if lane.opening == Opening::Paused {
            lane.opening = Opening::No;
        }
        match role {
            Role::Gets if link.gets.flight.is_empty() => self.asking.fetch.unstall(&mut common.links, slot), // opened with the first get
            Role::Intake if self.demand.paused => {}
            _ => common.open_lane(slot, role),
        }
    }
}

/// Servers that had offered what was lost begin anew.
pub(crate) fn regain(common: &mut Common, now: Instant) {
    for slot in std::mem::take(&mut common.inventory.deferred.lost).iter() {
        move_to(common, now, slot, 0);
    }
}
