//! Gets that are over their time: another source is asked, the loser is told, who never answers is not asked any more.

use std::cmp::Reverse;
use std::time::Duration;

use weir_base::Instant;

use super::fetch::{Fetch, Late};
use super::gets::Patience;
use super::link::{Links, Role, Slot};
use super::record::{PATIENCE, Record};
use super::{Pool, WITHHELD};
use crate::framing::{allowed, code};

/// What becomes of gets whose stream is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lost {
    /// They are asked for again, here or elsewhere.
    Again,
    /// This link does not deliver them.
    ForGood,
}

impl Pool {
    /// Looks at gets that are over their time.
    pub(super) fn late_gets(&mut self, now: Instant) {
        while let Some(Reverse((due, slot, index, serial))) = self.asking.fetch.late.peek().copied() {
            if due > now {
                return;
            }
            self.asking.fetch.late.pop();
            self.late_get(now, slot, index, serial);
        }
    }

    fn late_get(&mut self, now: Instant, slot: Slot, index: u64, serial: u32) {
        let Some(link) = self.links.get_mut(slot) else { return };
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
                self.asking.fetch.recorded(&mut self.links, slot, Record::late);
                if !get.cancelled {
                    self.stats.late += 1;
                    self.asking.ask_another(&mut self.links, &mut self.asks, now, id);
                }
            }
            Patience::Overdue => {
                let blamed = heard.throughout(now, get.since, time);
                place.patience = Patience::Expired { blamed };
                self.asking.fetch.late.push(again(time));
                if blamed {
                    self.blame(slot, WITHHELD);
                    self.cannot_deliver(now, id, slot);
                }
            }
            Patience::Expired { blamed } => {
                if !blamed && heard.throughout(now, get.since, time) {
                    self.blame(slot, WITHHELD);
                    self.cannot_deliver(now, id, slot);
                }
                self.close_lane(slot, Role::Gets, code::TIMEOUT);
                self.pause_lane(now, slot, Role::Gets);
            }
        }
    }

    /// The stream of a link's items is no more: nothing asked there will come.
    pub(super) fn lose_gets(&mut self, now: Instant, slot: Slot, lost: Lost) {
        let Some(link) = self.links.get_mut(slot) else { return };
        link.gets.restart();
        let open: Vec<u64> = link.gets.flight.keys().copied().collect(); // at most MAX_GETS
        for get in open
            .into_iter()
            .filter_map(|index| self.asking.fetch.finish(&mut self.links, slot, index))
            .collect::<Vec<_>>()
        {
            let id = get.candidate;
            let Some(candidate) = self.asking.candidates.get_mut(id) else { continue };
            match lost {
                Lost::ForGood => self.cannot_deliver(now, id, slot),
                Lost::Again => {
                    candidate.drop_source(slot);
                    if candidate.body().is_none() {
                        self.asking.source_lost(&mut self.links, &mut self.asks, now, id);
                    }
                }
            }
        }
    }

    /// A link's items can not be asked for any more. What it announced is fetched from others or given up, so that its credit
    /// returns.
    pub(super) fn give_up(&mut self, now: Instant, slot: Slot) {
        self.lose_gets(now, slot, Lost::ForGood);
        let Some(link) = self.links.get(slot) else { return };
        for id in link.intake.undecided().collect::<Vec<_>>() {
            if self.asking.candidates.get(id).is_some_and(|candidate| candidate.body().is_none()) {
                self.cannot_deliver(now, id, slot);
            }
        }
    }
}

impl Fetch {
    /// Timers of gets that were answered are dropped, the next ones at once, the rest when they are many.
    pub(super) fn forget_stale(&mut self, links: &Links) {
        let lives = |(_, slot, index, serial): &Late| {
            let get = links.get(*slot).and_then(|link| link.gets.flight.get(index));
            get.is_some_and(|get| get.serial == *serial)
        };
        let most = 64 + 4 * self.gets() as usize;
        let late = &mut self.late;
        while late.peek().is_some_and(|Reverse(timer)| !lives(timer)) {
            late.pop();
        }
        if late.len() > most {
            late.retain(|Reverse(timer)| lives(timer));
        }
    }
}
