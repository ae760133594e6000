//! Gets that are over their time: another source is asked, the loser is told, who never answers is not asked any more.

use std::cmp::Reverse;
use std::time::Duration;

use weir_base::Instant;

use super::Client;
use super::gets::Patience;
use super::record::{PATIENCE, Record};
use crate::framing::{allowed, code};
use crate::pool::common::Common;
use crate::pool::faults::WITHHELD;
use crate::pool::links::{Role, Slot};

/// What becomes of gets whose stream is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// They are asked for again, here or elsewhere.
    Again,
    /// This link does not deliver them.
    ForGood,
}

impl Client {
    /// Looks at gets that are over their time.
    pub(crate) fn late_gets(&mut self, common: &mut Common, now: Instant) {
        while let Some(Reverse((due, slot, index, serial))) = self.asking.fetch.late.peek().copied() {
            if due > now {
                return;
            }
            self.asking.fetch.late.pop();
            self.late_get(common, now, slot, index, serial);
        }
    }

    fn late_get(&mut self, common: &mut Common, now: Instant, slot: Slot, index: u64, serial: u32) {
        let Some(link) = common.links.get_mut(slot) else { return };
        let heard = link.heard;
        let gets = &mut link.gets;
        let Some(get) = gets.flight.get(&index).filter(|get| get.serial == serial).copied() else { return };
        let progress = match get.patience {
            Patience::Fresh(before) if !get.cancelled => gets.progress(now, index, before),
            _ => None,
        };
        let Some(place) = gets.flight.get_mut(&index) else { return };
        let (id, time) = (get.candidate, allowed(get.queued.saturating_add(get.size.into())));
        let again = |wait: Duration| Reverse((now + wait, slot, index, serial));
        match get.patience {
            Patience::Fresh(_) if let Some(come) = progress => {
                place.patience = Patience::Fresh(come);
                self.asking.fetch.late.push(again(PATIENCE));
            }
            Patience::Fresh(_) => {
                place.patience = Patience::Overdue;
                gets.overdue += 1;
                self.asking.fetch.late.push(again(time.saturating_sub(now.since(get.since))));
                self.asking.fetch.leave_share(get.newcomer);
                self.asking.fetch.recorded(&mut common.links, slot, Record::late);
                if !get.cancelled {
                    common.stats.late += 1;
                    self.asking.ask_another(&mut common.links, &mut common.asks, now, id);
                }
            }
            Patience::Overdue => {
                let blamed = heard.throughout(now, get.since, time);
                place.patience = Patience::Expired { blamed };
                self.asking.fetch.late.push(again(time));
                if blamed {
                    common.blame(slot, WITHHELD);
                    self.cannot_deliver(common, now, id, slot);
                }
            }
            Patience::Expired { blamed } => {
                if !blamed && heard.throughout(now, get.since, time) {
                    common.blame(slot, WITHHELD);
                    self.cannot_deliver(common, now, id, slot);
                }
                common.close_lane(slot, Role::Gets, code::TIMEOUT);
                self.pause_gets(common, now, slot);
            }
        }
    }

    /// The stream of a link's items is no more: nothing asked there will come.
    pub(crate) fn lose_gets(&mut self, common: &mut Common, now: Instant, slot: Slot, lost: Lost) {
        let Some(link) = common.links.get_mut(slot) else { return };
        link.gets.restart();
        let open: Vec<u64> = link.gets.flight.keys().copied().collect(); // at most MAX_GETS
        for get in open
            .into_iter()
            .filter_map(|index| self.asking.fetch.finish(&mut common.links, slot, index))
            .collect::<Vec<_>>()
        {
            let id = get.candidate;
            let Some(candidate) = self.asking.candidates.get_mut(id) else { continue };
            match lost {
                Lost::ForGood => self.cannot_deliver(common, now, id, slot),
                Lost::Again => {
                    candidate.drop_source(slot);
                    if candidate.body().is_none() {
                        self.asking.source_lost(&mut common.links, &mut common.asks, now, id);
                    }
                }
            }
        }
    }

    /// A link's items can not be asked for any more. What it announced is fetched from others or given up, so that its credit
    /// returns.
    pub(crate) fn give_up(&mut self, common: &mut Common, now: Instant, slot: Slot) {
        self.lose_gets(common, now, slot, Lost::ForGood);
        let Some(link) = common.links.get(slot) else { return };
        for id in link.intake.undecided().collect::<Vec<_>>() {
            if self.asking.candidates.get(id).is_some_and(|candidate| candidate.body().is_none()) {
                self.cannot_deliver(common, now, id, slot);
            }
        }
    }
}
