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

#[cfg(test)]
mod tests {
    use crate::ShortId;
    use weir_base::{Instant, Rng};

    use super::super::candidates::{Claim, Source};
    use super::super::record::{More, Record};
    use super::*;
    use crate::channel::ChannelId;
    use crate::pool::links::Link;
    use crate::pool::{Config, Rules, Summary};

    /// So many links, and a candidate that is charged to the first of those that announced it.
    fn scene(links: u16, kept: u16) -> (Asking, Links, CandId) {
        let rules = Rules { summarize: |_| Ok(Summary::EMPTY), judge: |_| Some(1) };
        let mut asking = Asking::new(ChannelId(3), &Config::new(rules), &mut Rng::from_number(1));
        let mut all = Links::default();
        (0..links).for_each(|slot| _ = all.insert(Link::fresh(u64::from(slot) + 1, true)));
        let claim = Claim { key: 1, short: ShortId(1), size: 100, summary: Summary::EMPTY };
        let mut candidate = Candidate::new(claim, 0, Some(Announcer::new(Slot(0), 0)));
        for slot in 1..kept {
            candidate.heard.insert(Slot(slot));
            assert!(candidate.add(Announcer::new(Slot(slot), 0)));
        }
        let id = asking.candidates.insert(candidate);
        (asking, all, id)
    }

    /// A link has as much to answer as it may.
    fn block(links: &mut Links, slot: u16) {
        links.get_mut(Slot(slot)).unwrap().gets.bytes = u64::MAX / 2;
    }

    fn candidate(asking: &mut Asking, id: CandId) -> &mut Candidate {
        asking.candidates.get_mut(id).unwrap()
    }

    #[test]
    fn those_kept_are_exhausted_when_each_was_asked_or_may_not_be() {
        let (mut asking, mut links, id) = scene(3, 3);
        let exhausted =
            |asking: &Asking, links: &Links| asking.exhausted(links, asking.candidates.get(id).unwrap());
        assert!(!exhausted(&asking, &links));
        block(&mut links, 0);
        candidate(&mut asking, id).announcers_mut()[1].tried = 1;
        assert!(!exhausted(&asking, &links), "the third can be asked for the first time");
        candidate(&mut asking, id).announcers_mut()[2].tried = 1;
        assert!(exhausted(&asking, &links));
    }

    #[test]
    fn who_may_be_asked_and_was_asked_no_more_often_keeps_its_place() {
        let (mut asking, mut links, id) = scene(4, 3);
        let newcomer = Announcer::new(Slot(3), 0);
        let behind = |asking: &Asking, links: &Links, newcomer: &Announcer| {
            asking.behind(links, asking.candidates.get(id).unwrap(), newcomer)
        };
        assert_eq!(behind(&asking, &links, &newcomer), None);
        candidate(&mut asking, id).announcers_mut()[1].tried = 2;
        assert_eq!(behind(&asking, &links, &newcomer), Some(Slot(1)));
        assert_eq!(behind(&asking, &links, &Announcer { tried: 2, ..newcomer }), None);
        block(&mut links, 2);
        assert_eq!(behind(&asking, &links, &newcomer), Some(Slot(2)), "who may not be asked goes first");
    }

    #[test]
    fn who_is_charged_or_asked_keeps_its_place() {
        let (mut asking, _, id) = scene(4, 4);
        let candidate = candidate(&mut asking, id);
        candidate.charged = Some(Slot(0));
        candidate.sources[0] = Some(Source { slot: Slot(2), index: 0 });
        assert!(candidate.asks(Slot(2)) && !candidate.asks(Slot(1)));
        let spare: Vec<Slot> = Asking::spare(candidate).map(|kept| kept.slot).collect();
        assert_eq!(spare, [Slot(1), Slot(3)]);
    }

    #[test]
    fn a_further_announcer_takes_no_place_while_one_of_those_kept_can_be_asked() {
        let kept = u16::try_from(MAX_ANNOUNCERS).unwrap();
        let (mut asking, mut links, id) = scene(kept + 1, kept);
        block(&mut links, 4);
        let newcomer = Announcer::new(Slot(kept), 0);
        assert!(!asking.admit(&mut links, id, newcomer));
        (0..kept).filter(|slot| *slot != 4).for_each(|slot| {
            candidate(&mut asking, id).announcers_mut()[usize::from(slot)].tried = 1;
        });
        assert!(asking.admit(&mut links, id, newcomer));
        let kept_slots =
            candidate(&mut asking, id).announcers().iter().map(|kept| kept.slot).collect::<Vec<_>>();
        assert!(kept_slots.contains(&Slot(kept)) && !kept_slots.contains(&Slot(4)), "{kept_slots:?}");
    }

    #[test]
    fn a_further_announcer_with_a_better_record_takes_the_place_of_the_worst() {
        let kept = u16::try_from(MAX_ANNOUNCERS).unwrap();
        let (mut asking, mut links, id) = scene(kept + 1, kept);
        let newcomer = Announcer::new(Slot(kept), 0);
        asking.fetch.recorded(&mut links, Slot(3), Record::late);
        asking.fetch.recorded(&mut links, Slot(kept), |record| record.item(Instant::ZERO, 1, More::Idle));
        assert!(asking.admit(&mut links, id, newcomer));
        assert!(candidate(&mut asking, id).announcers().iter().all(|kept| kept.slot != Slot(3)));
    }

    #[test]
    fn nobody_of_the_reserve_takes_a_place_of_a_candidate_that_wants_no_source() {
        let (mut asking, mut links, id) = scene(2, 1);
        asking.put_in_reserve(&mut links, id, Announcer::new(Slot(1), 0));
        candidate(&mut asking, id).heard.insert(Slot(1));
        candidate(&mut asking, id).announcers_mut()[0].tried = 1;
        candidate(&mut asking, id).sources[0] = Some(Source { slot: Slot(0), index: 0 });
        assert!(!asking.promote_reserve(&mut links, id), "it is asked of one");
        candidate(&mut asking, id).overdue = true;
        assert!(asking.promote_reserve(&mut links, id));
        assert_eq!(candidate(&mut asking, id).announcers().len(), 2);
    }
}
