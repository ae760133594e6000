//! Gets that are over their time: another source is asked, the loser is told, who never answers is not asked any more.

use std::cmp::Reverse;
use std::time::Duration;

use weir_base::Instant;

use super::candidates::{CandId, MAX_SOURCES, Source};
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
    /// Takes back what is asked of others for a candidate.
    pub(super) fn cancel_sources(&mut self, id: CandId) {
        let Some(candidate) = self.candidates.get_mut(id) else { return };
        let sources = std::mem::replace(&mut candidate.sources, [None; MAX_SOURCES]);
        for source in sources.into_iter().flatten() {
            self.cancel(source, id);
        }
    }

    /// Takes back what is asked of one source. It may be asked again once it has answered, and what it delivers is taken.
    pub(super) fn take_back(&mut self, source: Source, id: CandId) {
        if let Some(candidate) = self.candidates.get_mut(id) {
            candidate.drop_source(source.slot);
        }
        self.cancel(source, id);
    }

    fn cancel(&mut self, source: Source, id: CandId) {
        let Some(link) = self.links.get_mut(source.slot) else { return };
        let gets = &mut link.gets;
        let Some(get) = gets.flight.get_mut(&source.index).filter(|get| get.candidate == id) else { return };
        get.cancelled = true;
        if gets.out.contains(&source.index) {
            self.fetch.finish(&mut self.links, source.slot, source.index);
        } else {
            gets.cancels.insert(source.index);
            gets.lane.ask_write(link.id, &mut self.asks);
        }
    }

    /// Looks at gets that are over their time.
    pub(super) fn late_gets(&mut self, now: Instant) {
        while let Some(Reverse((due, slot, index, serial))) = self.fetch.late.peek().copied() {
            if due > now {
                return;
            }
            self.fetch.late.pop();
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
                self.fetch.late.push(again(PATIENCE));
            }
            Patience::Fresh(_) => {
                place.patience = Patience::Overdue;
                gets.overdue += 1;
                self.fetch.late.push(again(time.saturating_sub(now.since(get.since))));
                self.fetch.leave_share(get.newcomer);
                self.fetch.recorded(&mut self.links, slot, Record::late);
                if !get.cancelled {
                    self.stats.late += 1;
                    self.ask_another(now, id);
                }
            }
            Patience::Overdue => {
                let blamed = heard.throughout(now, get.since, time);
                place.patience = Patience::Expired { blamed };
                self.fetch.late.push(again(time));
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

    /// A source is over its time: asks another besides, as soon as one may be asked.
    fn ask_another(&mut self, now: Instant, id: CandId) {
        if let Some(candidate) = self.candidates.get_mut(id) {
            candidate.overdue = true;
            self.wanted(now, id);
        }
    }

    /// A candidate has lost a source: another is asked, where the other source it has is over its time, or there is none.
    pub(super) fn source_lost(&mut self, now: Instant, id: CandId) {
        let Some(candidate) = self.candidates.get_mut(id) else { return };
        let fresh = |source: &Source| {
            let get = self.links.get(source.slot).and_then(|link| link.gets.flight.get(&source.index));
            get.is_some_and(|get| matches!(get.patience, Patience::Fresh(_)))
        };
        candidate.overdue = !candidate.sources.iter().flatten().any(fresh);
        self.wanted(now, id);
    }

    /// The stream of a link's items is no more: nothing asked there will come.
    pub(super) fn lose_gets(&mut self, now: Instant, slot: Slot, lost: Lost) {
        let Some(link) = self.links.get_mut(slot) else { return };
        link.gets.restart();
        let open: Vec<u64> = link.gets.flight.keys().copied().collect(); // at most MAX_GETS
        for get in open
            .into_iter()
            .filter_map(|index| self.fetch.finish(&mut self.links, slot, index))
            .collect::<Vec<_>>()
        {
            let id = get.candidate;
            let Some(candidate) = self.candidates.get_mut(id) else { continue };
            match lost {
                Lost::ForGood => self.cannot_deliver(now, id, slot),
                Lost::Again => {
                    candidate.drop_source(slot);
                    if candidate.body().is_none() {
                        self.source_lost(now, id);
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
            if self.candidates.get(id).is_some_and(|candidate| candidate.body().is_none()) {
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
