//! Announcers beyond those that are kept for a candidate: each link remembers its own, under the index that it offered.
//!
//! A candidate keeps nine announcers, which are asked. Whoever finds no place among them is set aside at its link, with how often
//! it was asked. Where none of the kept can be asked for the first time now, those set aside take places: so an item is given
//! up only when all who announced it have failed. A link sets no more aside than it has undecided entries, which its credit
//! bounds; what it had set aside for a candidate is forgotten when that is decided.

use std::cmp::Reverse;

use super::Pool;
use super::candidates::{Announcer, CandId, Candidate, MAX_ANNOUNCERS};
use super::known::LinkSet;
use super::link::{Opening, Slot};

impl Pool {
    /// `announcer` finds no place among those kept.
    pub(super) fn set_aside(&mut self, id: CandId, announcer: Announcer) {
        let (Some(link), Some(candidate)) = (self.links.get_mut(announcer.slot), self.candidates.get_mut(id))
        else {
            return;
        };
        if link.gets.lane.opening != Opening::Never {
            candidate.crowded = true;
            link.intake.aside.insert(id, announcer);
        }
    }

    /// A candidate of whom nobody may be asked waits also at those that were set aside.
    pub(super) fn wait_aside(&mut self, id: CandId) {
        let Some(candidate) = self.candidates.get(id).filter(|candidate| candidate.crowded) else { return };
        let aside =
            |slot: &Slot| self.links.get(*slot).is_some_and(|link| link.intake.aside.contains_key(&id));
        let slots: Vec<Slot> = candidate.heard.iter().filter(aside).collect();
        slots.into_iter().for_each(|slot| self.wait_aside_at(slot, id));
    }

    /// The same, at one of them.
    pub(super) fn wait_aside_at(&mut self, slot: Slot, id: CandId) {
        let Some(link) = self.links.get_mut(slot) else { return };
        let Some(announcer) = link.intake.aside.get_mut(&id) else { return };
        if !std::mem::replace(&mut announcer.listed, true) {
            self.wait_at(slot, id);
        }
    }

    /// A candidate is decided: the links that announced it need not remember it.
    pub(super) fn forget_aside(&mut self, id: CandId, heard: &LinkSet) {
        for slot in heard.iter() {
            if let Some(link) = self.links.get_mut(slot) {
                link.intake.aside.remove(&id);
            }
        }
    }

    /// Keeps a further announcer, where there is a place, one with a worse record, or one that it may be asked before.
    /// Whether it is kept.
    pub(super) fn admit(&mut self, id: CandId, announcer: Announcer) -> bool {
        let Some(candidate) = self.candidates.get_mut(id) else { return false };
        if candidate.add(announcer) {
            return true;
        }
        let Some(candidate) = self.candidates.get(id) else { return false };
        let worst = Self::spare(candidate).map(|other| (self.score(other.slot), other.slot)).min();
        let worse = worst.filter(|(score, _)| *score < self.score(announcer.slot)).map(|(_, slot)| slot);
        let exhausted = || self.exhausted(candidate) && self.may_ask(candidate, &announcer);
        let Some(out) = worse.or_else(|| exhausted().then(|| self.behind(candidate, &announcer))?) else {
            return false;
        };
        self.replace(id, out, announcer);
        true
    }

    /// Where none of the announcers kept can be asked for the first time now, those set aside take their places. Whether any did.
    pub(super) fn call_in(&mut self, id: CandId) -> bool {
        let wants = |candidate: &&Candidate| candidate.crowded && candidate.wants_source();
        let Some(candidate) = self.candidates.get(id).filter(wants) else { return false };
        if !self.exhausted(candidate) {
            return false;
        }
        let rank = |slot: Slot| {
            let link = self.links.get(slot).filter(|link| link.gets.lane.opening != Opening::Never)?;
            let announcer = *link.intake.aside.get(&id)?;
            let hindered = !self.may_ask(candidate, &announcer);
            Some((hindered, announcer.tried, Reverse(self.score(slot)), slot))
        };
        let mut aside: Vec<_> = candidate.heard.iter().filter_map(rank).collect();
        aside.sort_unstable();
        let mut any = false;
        for (hindered, .., slot) in aside {
            let found = self.links.get(slot).and_then(|link| link.intake.aside.get(&id)).copied();
            if !found.is_some_and(|announcer| self.seat(id, announcer, hindered)) {
                break;
            }
            any = true;
            if let Some(link) = self.links.get_mut(slot) {
                link.intake.aside.remove(&id);
            }
        }
        any
    }

    /// Gives an announcer that was set aside a free place, or that of one that it may be asked before.
    fn seat(&mut self, id: CandId, announcer: Announcer, hindered: bool) -> bool {
        let Some(candidate) = self.candidates.get_mut(id) else { return false };
        if candidate.add(announcer) {
            return true;
        }
        let Some(candidate) = self.candidates.get(id).filter(|_| !hindered) else { return false };
        let Some(out) = self.behind(candidate, &announcer) else { return false };
        self.replace(id, out, announcer);
        true
    }

    fn replace(&mut self, id: CandId, out: Slot, announcer: Announcer) {
        let Some(candidate) = self.candidates.get_mut(id) else { return };
        let dropped = candidate.drop_announcer(out);
        candidate.add(announcer);
        if let Some(dropped) = dropped {
            self.set_aside(id, dropped);
        }
    }

    /// Whether none of those kept can be asked for the first time now.
    fn exhausted(&self, candidate: &Candidate) -> bool {
        candidate.announcers().iter().all(|kept| kept.tried > 0 || !self.may_ask(candidate, kept))
    }

    /// Of those kept, the one that should be asked last, where that is after `announcer`.
    fn behind(&self, candidate: &Candidate, announcer: &Announcer) -> Option<Slot> {
        let rank = |kept: &Announcer| {
            let hindered = !self.may_ask(candidate, kept);
            let behind = hindered || kept.tried > announcer.tried;
            behind.then_some((hindered, kept.tried, Reverse(self.score(kept.slot)), kept.slot))
        };
        Self::spare(candidate).filter_map(rank).max().map(|(.., slot)| slot)
    }

    /// Those kept who may lose their place: who is asked now has to answer, who is charged pays.
    fn spare(candidate: &Candidate) -> impl Iterator<Item = &Announcer> {
        let free = |kept: &&Announcer| Some(kept.slot) != candidate.charged && !candidate.asks(kept.slot);
        candidate.announcers().iter().filter(free)
    }

    fn score(&self, slot: Slot) -> u32 {
        self.links.get(slot).map_or(0, |link| link.gets.record.score())
    }
}

const _: () = assert!(MAX_ANNOUNCERS > 1 + super::candidates::MAX_SOURCES, "somebody can lose a place");
