//! Whom this node asks for what: its candidates, who announced them, and what is under way.
//!
//! - a candidate is new, or has lost its source → [`wanted`](Asking::wanted): the best who may be asked is, or it waits at all of them;
//! - an answer, a verdict or a new record made room → [`start_fetches`](Asking::start_fetches): links at which candidates wait have
//!   their turns;
//! - a source is over its time → [`ask_another`](Asking::ask_another); it can not deliver → [`source_lost`](Asking::source_lost);
//! - its body has come, or it is decided → [`cancel_sources`](Asking::cancel_sources).

use std::cmp::Reverse;
use std::collections::VecDeque;

use weir_base::stream::Ask;
use weir_base::{Instant, Rng};

use super::candidates::{Announcer, CandId, Candidate, Candidates, MAX_ANNOUNCERS, MAX_SOURCES, Source};
use super::fetch::{Choice, Fetch, MAX_DOUBLED, Obstacle};
use super::gets::{Get, Patience};
use super::gone::GivenUp;
use crate::channel::ChannelId;
use crate::pool::links::{Links, Opening, Role, Slot};
use crate::pool::types::Config;

/// See the module.
#[derive(Debug)]
pub(crate) struct Asking {
    channel: ChannelId,
    pub(crate) candidates: Candidates,
    pub(crate) fetch: Fetch,
    pub(crate) given_up: GivenUp,
}

impl Asking {
    pub(crate) fn new(channel: ChannelId, config: &Config, rng: &mut Rng) -> Self {
        Self {
            channel,
            candidates: Candidates::new(rng),
            fetch: Fetch::new(config),
            given_up: GivenUp::default(),
        }
    }

    /// A candidate should be asked for: it is new, has a new announcer, lost its source, or its source is over its time.
    pub(crate) fn wanted(&mut self, links: &mut Links, asks: &mut VecDeque<Ask>, now: Instant, id: CandId) {
        self.promote_reserve(links, id);
        if self.try_ask(links, asks, now, id) {
            return;
        }
        let Some(candidate) = self.candidates.get_mut(id).filter(|candidate| candidate.wants_source()) else {
            return;
        };
        // Nobody may be asked now: it waits at each who could be.
        let sources = candidate.sources;
        let asked = |slot: Slot| sources.iter().flatten().any(|source| source.slot == slot);
        let others = candidate.announcers_mut().iter_mut().filter(|announcer| !asked(announcer.slot));
        let mut slots = [None; MAX_ANNOUNCERS];
        for (place, announcer) in slots.iter_mut().zip(others) {
            *place = (!std::mem::replace(&mut announcer.listed, true)).then_some(announcer.slot);
        }
        for slot in slots.into_iter().flatten() {
            self.fetch.wait_at(links, &self.candidates, slot, id);
        }
        self.wait_in_reserve(links, id);
    }

    /// Gives free fetch slots to links at which candidates wait, by the dealer.
    pub(crate) fn start_fetches(&mut self, links: &mut Links, asks: &mut VecDeque<Ask>, now: Instant) {
        let mut wakes = self.fetch.take_wakes();
        while self.fetch.has_room(1) {
            if wakes > 0 && self.fetch.has_share() {
                wakes -= 1;
                self.fetch.wake_newcomer(links);
            }
            let Some(slot) = self.fetch.whose_turn() else {
                if wakes > 0 && self.fetch.has_share() {
                    continue;
                }
                return;
            };
            let first = links.get(slot).and_then(|link| link.gets.waiting.front().copied());
            let Some(id) = first else {
                self.fetch.is_idle(slot);
                continue;
            };
            if !self.try_ask(links, asks, now, id) {
                if self.promote_reserve(links, id) {
                    self.wanted(links, asks, now, id);
                    continue;
                }
                let size = self.candidates.get(id).map_or(0, |candidate| u64::from(candidate.claim.size));
                match self.obstacle_at(links, slot, id) {
                    Some(Obstacle::Load) => {
                        self.fetch.stall(links, slot);
                        continue;
                    }
                    Some(Obstacle::Share) => {
                        self.fetch.stall(links, slot);
                        self.fetch.wait_in_line(links, slot);
                        continue;
                    }
                    None if !self.fetch.has_room(size) => return, // an answer or a verdict makes room
                    None | Some(Obstacle::Answer | Obstacle::Never) => {}
                }
            }
            let Some(link) = links.get_mut(slot) else { continue };
            link.gets.pop_waiting();
            let kept = self.candidates.get_mut(id).map(Candidate::announcers_mut).unwrap_or_default();
            let kept = kept.iter_mut().find(|announcer| announcer.slot == slot);
            if let Some(announcer) = kept.or_else(|| link.intake.reserve.get_mut(&id)) {
                announcer.listed = false;
            }
        }
    }

    /// Why a link may not be asked for the first candidate that waits at it. [`Obstacle::Never`] where that wants nobody.
    fn obstacle_at(&self, links: &Links, slot: Slot, id: CandId) -> Option<Obstacle> {
        let candidate = self.candidates.get(id).filter(|candidate| candidate.wants_source());
        let found = candidate.and_then(|candidate| {
            let link = links.get(slot)?;
            let kept = candidate.announcers().iter().find(|announcer| announcer.slot == slot);
            Some((candidate, link, kept.or_else(|| link.intake.reserve.get(&id))?))
        });
        let Some((candidate, link, announcer)) = found.filter(|(candidate, ..)| !candidate.asks(slot)) else {
            return Some(Obstacle::Never);
        };
        let choice = if candidate.is_asked() { Choice::Record } else { Choice::Delivery };
        self.fetch.obstacle(link, announcer, u64::from(candidate.claim.size), choice)
    }

    /// Asks the best announcer who may be asked. Whether there was one.
    fn try_ask(&mut self, links: &mut Links, asks: &mut VecDeque<Ask>, now: Instant, id: CandId) -> bool {
        let Some(candidate) = self.candidates.get(id).filter(|candidate| candidate.wants_source()) else {
            return false;
        };
        let size = u64::from(candidate.claim.size);
        let choice = if candidate.is_asked() { Choice::Record } else { Choice::Delivery };
        if !self.fetch.has_room(size) {
            return false;
        }
        let rank = |announcer: &Announcer| {
            let link = links.get(announcer.slot)?;
            let may = !candidate.asks(announcer.slot)
                && self.fetch.obstacle(link, announcer, size, choice).is_none();
            let record = &link.gets.record;
            let expected = record.expected(link.rtt(), size, link.gets.bytes);
            let score = if choice == Choice::Record { record.score() } else { 0 };
            may.then_some((announcer.tried, Reverse(score), expected, announcer.slot, announcer.index))
        };
        let Some((.., slot, index)) = candidate.announcers().iter().filter_map(rank).min() else {
            return false;
        };
        if let [Some(first), Some(_)] = candidate.sources {
            self.take_back(links, asks, first, id); // two at a time
        }
        self.ask(links, asks, now, id, slot, index);
        true
    }

    fn ask(
        &mut self,
        links: &mut Links,
        asks: &mut VecDeque<Ask>,
        now: Instant,
        id: CandId,
        slot: Slot,
        index: u64,
    ) {
        let (Some(link), Some(candidate)) = (links.get_mut(slot), self.candidates.get_mut(id)) else {
            return;
        };
        let Some(place) = candidate.sources.iter_mut().find(|place| place.is_none()) else { return };
        *place = Some(Source { slot, index });
        candidate.overdue = false;
        let (size, rtt) = (candidate.claim.size, link.rtt());
        let gets = &mut link.gets;
        let newcomer = !gets.record.proven();
        let mut patience = gets.record.patience(rtt, gets.bytes);
        if let Some(announcer) = candidate.announcers_mut().iter_mut().find(|a| a.slot == slot) {
            patience = patience.saturating_mul(1 << announcer.tried.min(MAX_DOUBLED));
            announcer.tried = announcer.tried.saturating_add(1);
        }
        let serial = self.fetch.begin(now + patience, slot, index, (size, newcomer));
        gets.flight.insert(index, Get::new(id, size, gets.bytes, now, serial, newcomer));
        gets.out.insert(index);
        gets.bytes += u64::from(size);
        if gets.lane.opening == Opening::No {
            links.open_lane(asks, self.channel, slot, Role::Gets);
        } else {
            gets.lane.ask_write(link.id, asks);
        }
    }

    /// Takes back what is asked of others for a candidate.
    pub(crate) fn cancel_sources(&mut self, links: &mut Links, asks: &mut VecDeque<Ask>, id: CandId) {
        let Some(candidate) = self.candidates.get_mut(id) else { return };
        let sources = std::mem::replace(&mut candidate.sources, [None; MAX_SOURCES]);
        for source in sources.into_iter().flatten() {
            self.cancel(links, asks, source, id);
        }
    }

    /// Takes back what is asked of one source. It may be asked again once it has answered, and what it delivers is taken.
    pub(crate) fn take_back(
        &mut self,
        links: &mut Links,
        asks: &mut VecDeque<Ask>,
        source: Source,
        id: CandId,
    ) {
        if let Some(candidate) = self.candidates.get_mut(id) {
            candidate.drop_source(source.slot);
        }
        self.cancel(links, asks, source, id);
    }

    fn cancel(&mut self, links: &mut Links, asks: &mut VecDeque<Ask>, source: Source, id: CandId) {
        let Some(link) = links.get_mut(source.slot) else { return };
        let gets = &mut link.gets;
        let Some(get) = gets.flight.get_mut(&source.index).filter(|get| get.candidate == id) else { return };
        get.cancelled = true;
        if gets.out.contains(&source.index) {
            self.fetch.finish(links, source.slot, source.index);
        } else {
            gets.cancels.insert(source.index);
            gets.lane.ask_write(link.id, asks);
        }
    }

    /// A source is over its time: asks another besides, as soon as one may be asked.
    pub(crate) fn ask_another(
        &mut self,
        links: &mut Links,
        asks: &mut VecDeque<Ask>,
        now: Instant,
        id: CandId,
    ) {
        if let Some(candidate) = self.candidates.get_mut(id) {
            candidate.overdue = true;
            self.wanted(links, asks, now, id);
        }
    }

    /// A candidate has lost a source: another is asked, where the other source it has is over its time, or there is none.
    pub(crate) fn source_lost(
        &mut self,
        links: &mut Links,
        asks: &mut VecDeque<Ask>,
        now: Instant,
        id: CandId,
    ) {
        let Some(candidate) = self.candidates.get_mut(id) else { return };
        let fresh = |source: &Source| {
            let get = links.get(source.slot).and_then(|link| link.gets.flight.get(&source.index));
            get.is_some_and(|get| matches!(get.patience, Patience::Fresh(_)))
        };
        candidate.overdue = !candidate.sources.iter().flatten().any(fresh);
        self.wanted(links, asks, now, id);
    }

    /// Nobody has a candidate any more.
    pub(crate) fn remember_gone(&mut self, candidate: Candidate) {
        if !candidate.gone.is_empty() {
            self.given_up.insert(&candidate.claim, candidate.gone);
        }
    }

    /// An item was accepted that `from` delivered: others that had called it gone are judged by it. Who is to blame.
    pub(crate) fn judge_gone(
        &mut self,
        links: &mut Links,
        candidate: &Candidate,
        from: Option<Slot>,
    ) -> Vec<Slot> {
        let mut gone = self.given_up.take(&candidate.claim);
        candidate.gone.iter().for_each(|slot| gone.insert(slot));
        let mut judged = |slot: &Slot| {
            Some(*slot) != from && links.get_mut(*slot).is_some_and(|link| link.gets.record.bad_gone())
        };
        gone.iter().filter(|slot| judged(slot)).collect()
    }
}
