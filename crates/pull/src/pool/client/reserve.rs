//! Announcers beyond those that are kept for a candidate: each link remembers its own, under the index that it offered.
//!
//! A candidate keeps nine announcers, which are asked. Whoever finds no place among them stands in the reserve at its link, with how often
//! it was asked. Where none of the kept can be asked for the first time now, those in the reserve take places: so an item is given
//! up only when all who announced it have failed. A link's reserve is no larger than its undecided entries, which its credit
//! bounds; what is there for a candidate is forgotten when that is decided.

use std::cmp::Reverse;

use super::asking::Asking;
use super::candidates::{Announcer, CandId, Candidate, MAX_ANNOUNCERS};
use crate::pool::inventory::LinkSet;
use crate::pool::links::{Links, Opening, Slot};

impl Asking {
    /// `announcer` finds no place among those kept.
    pub(crate) fn put_in_reserve(&mut self, links: &mut Links, id: CandId, announcer: Announcer) {
        let (Some(link), Some(candidate)) = (links.get_mut(announcer.slot), self.candidates.get_mut(id))
        else {
            return;
        };
        if link.gets.lane.opening != Opening::Never {
            candidate.has_reserve = true;
            link.intake.reserve.insert(id, announcer);
        }
    }

    /// A candidate of whom nobody may be asked waits also at those in the reserve.
    pub(crate) fn wait_in_reserve(&mut self, links: &mut Links, id: CandId) {
        let Some(candidate) = self.candidates.get(id).filter(|candidate| candidate.has_reserve) else {
            return;
        };
        let reserve =
            |slot: &Slot| links.get(*slot).is_some_and(|link| link.intake.reserve.contains_key(&id));
        let slots: Vec<Slot> = candidate.heard.iter().filter(reserve).collect();
        slots.into_iter().for_each(|slot| self.wait_in_reserve_at(links, slot, id));
    }

    /// The same, at one of them.
    pub(crate) fn wait_in_reserve_at(&mut self, links: &mut Links, slot: Slot, id: CandId) {
        let Some(link) = links.get_mut(slot) else { return };
        let Some(announcer) = link.intake.reserve.get_mut(&id) else { return };
        if !std::mem::replace(&mut announcer.listed, true) {
            self.fetch.wait_at(links, &self.candidates, slot, id);
        }
    }

    /// A candidate is decided: the links that announced it need not remember it.
    pub(crate) fn forget_reserve(links: &mut Links, id: CandId, heard: &LinkSet) {
        for slot in heard.iter() {
            if let Some(link) = links.get_mut(slot) {
                link.intake.reserve.remove(&id);
            }
        }
    }

    /// Keeps a further announcer, where there is a place, one with a worse record, or one that it may be asked before.
    /// Whether it is kept.
    pub(crate) fn admit(&mut self, links: &mut Links, id: CandId, announcer: Announcer) -> bool {
        let Some(candidate) = self.candidates.get_mut(id) else { return false };
        if candidate.add(announcer) {
            return true;
        }
        let Some(candidate) = self.candidates.get(id) else { return false };
        let worst = Self::spare(candidate).map(|other| (links.score(other.slot), other.slot)).min();
        let worse = worst.filter(|(score, _)| *score < links.score(announcer.slot)).map(|(_, slot)| slot);
        let exhausted =
            || self.exhausted(links, candidate) && self.fetch.may_ask(links, candidate, &announcer);
        let Some(out) = worse.or_else(|| exhausted().then(|| self.behind(links, candidate, &announcer))?)
        else {
            return false;
        };
        self.replace(links, id, out, announcer);
        true
    }

    /// Where none of the announcers kept can be asked for the first time now, those in the reserve take their places. Whether any did.
    pub(crate) fn promote_reserve(&mut self, links: &mut Links, id: CandId) -> bool {
        let wants = |candidate: &&Candidate| candidate.has_reserve && candidate.wants_source();
        let Some(candidate) = self.candidates.get(id).filter(wants) else { return false };
        if !self.exhausted(links, candidate) {
            return false;
        }
        let rank = |slot: Slot| {
            let link = links.get(slot).filter(|link| link.gets.lane.opening != Opening::Never)?;
            let announcer = *link.intake.reserve.get(&id)?;
            let blocked = !self.fetch.may_ask(links, candidate, &announcer);
            Some((blocked, announcer.tried, Reverse(links.score(slot)), slot))
        };
        let mut reserve: Vec<_> = candidate.heard.iter().filter_map(rank).collect();
        reserve.sort_unstable();
        let mut any = false;
        for (blocked, .., slot) in reserve {
            let found = links.get(slot).and_then(|link| link.intake.reserve.get(&id)).copied();
            if !found.is_some_and(|announcer| self.take_place(links, id, announcer, blocked)) {
                break;
            }
            any = true;
            if let Some(link) = links.get_mut(slot) {
                link.intake.reserve.remove(&id);
            }
        }
        any
    }

    /// Gives an announcer of the reserve a free place, or that of one that it may be asked before.
    fn take_place(&mut self, links: &mut Links, id: CandId, announcer: Announcer, blocked: bool) -> bool {
        let Some(candidate) = self.candidates.get_mut(id) else { return false };
        if candidate.add(announcer) {
            return true;
        }
        let Some(candidate) = self.candidates.get(id).filter(|_| !blocked) else { return false };
        let Some(out) = self.behind(links, candidate, &announcer) else { return false };
        self.replace(links, id, out, announcer);
        true
    }

    fn replace(&mut self, links: &mut Links, id: CandId, out: Slot, announcer: Announcer) {
        let Some(candidate) = self.candidates.get_mut(id) else { return };
        let dropped = candidate.drop_announcer(out);
        candidate.add(announcer);
        if let Some(dropped) = dropped {
            self.put_in_reserve(links, id, dropped);
        }
    }

    /// Whether none of those kept can be asked for the first time now.
    fn exhausted(&self, links: &Links, candidate: &Candidate) -> bool {
        candidate
            .announcers()
            .iter()
            .all(|kept| kept.tried > 0 || !self.fetch.may_ask(links, candidate, kept))
    }

    /// Of those kept, the one that should be asked last, where that is after `announcer`.
    fn behind(&self, links: &Links, candidate: &Candidate, announcer: &Announcer) -> Option<Slot> {
        let rank = |kept: &Announcer| {
            let blocked = !self.fetch.may_ask(links, candidate, kept);
            let behind = blocked || kept.tried > announcer.tried;
            behind.then_some((blocked, kept.tried, Reverse(links.score(kept.slot)), kept.slot))
        };
        Self::spare(candidate).filter_map(rank).max().map(|(.., slot)| slot)
    }

    /// Those kept who may lose their place: who is asked now has to answer, who is charged pays.
    fn spare(candidate: &Candidate) -> impl Iterator<Item = &Announcer> {
        let free = |kept: &&Announcer| Some(kept.slot) != candidate.charged && !candidate.asks(kept.slot);
        candidate.announcers().iter().filter(free)
    }
}

const _: () = assert!(MAX_ANNOUNCERS > 1 + super::candidates::MAX_SOURCES, "somebody can lose a place");
