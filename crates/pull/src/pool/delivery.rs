//! Answers to gets: items and *gone*, and what becomes of candidates that a link can not deliver.

use std::cmp::Reverse;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use weir_base::Instant;

use super::candidates::{Announcer, Body, CandId, Candidate, Deliverer, State};
use super::link::{Account, Slot};
use super::places::Place;
use super::record::{More, Record};
use super::{FALSE_ITEM, Pool};

impl Pool {
    /// An item came, of the size that was offered.
    pub(super) fn item(&mut self, now: Instant, slot: Slot, index: u64, bytes: Bytes) {
        self.counters.messages_in += 1;
        self.stats.bodies += 1;
        self.stats.body_bytes += bytes.len() as u64;
        let Some(get) = self.asking.fetch.finish(&mut self.links, slot, index) else { return };
        if let Some(link) = self.links.get_mut(slot) {
            link.gets.lane.works();
        }
        self.answered(now, slot, index, get.candidate);
        let more = self.links.get(slot).is_some_and(|link| !link.gets.flight.is_empty());
        let more = if more { More::Expected } else { More::Idle };
        let size = bytes.len() as u64;
        let id = get.candidate;
        let waits = |candidate: &&Candidate| matches!(candidate.state, State::Wanted);
        let Some(candidate) = self.asking.candidates.get(id).filter(waits) else {
            self.stats.duplicates += 1;
            return self.asking.fetch.recorded(&mut self.links, slot, |record| record.item(now, size, more));
        };
        let claim = candidate.claim;
        let summary = (self.config.rules.summarize)(&bytes);
        let full: [u8; 32] = Sha256::digest(&bytes).into();
        let short = self.inventory.places.key(claim.key).map(|key| key.short(&full));
        if summary != Ok(claim.summary) || short.is_some_and(|short| short != claim.short) {
            self.asking.fetch.recorded(&mut self.links, slot, Record::false_item);
            self.blame(slot, FALSE_ITEM);
            return self.cannot_deliver(now, id, slot);
        }
        self.asking.fetch.recorded(&mut self.links, slot, |record| record.item(now, size, more));
        let Some(link) = self.links.get(slot) else { return };
        let from = Deliverer { link: link.id, account: Account::of(&link.info) };
        self.asking.cancel_sources(&mut self.links, &mut self.asks, id);
        self.asking.fetch.hold(size);
        let known = self.inventory.place_of(&full);
        if let Some(candidate) = self.asking.candidates.get_mut(id) {
            candidate.state = State::Held(Body { id: full, bytes, from });
        }
        if claim.key != self.inventory.places.number() {
            self.asking.candidates.alias(
                id,
                self.inventory.places.number(),
                self.inventory.places.short(&full),
            );
        }
        if let Some(place) = known {
            self.stats.duplicates += 1;
            return self.known_already(now, id, place);
        }
        self.checking.hold(slot, id, claim.size);
    }

    /// An index was answered for this candidate: another that is offered under it now may be asked for.
    fn answered(&mut self, now: Instant, slot: Slot, index: u64, id: CandId) {
        let now_there = self.links.get(slot).and_then(|link| link.intake.candidate_at(index));
        if let Some(other) = now_there.filter(|other| *other != id) {
            self.asking.wanted(&mut self.links, &mut self.asks, now, other);
        }
    }

    /// What a candidate turned out to be is here already, under another key.
    fn known_already(&mut self, now: Instant, id: CandId, place: Place) {
        let Some(candidate) = self.close(now, id) else { return };
        if let Place::Live(index) = place {
            for slot in self.links.slots() {
                if candidate.heard.contains(slot) {
                    self.inventory.known.insert(index, slot);
                }
            }
        }
    }

    /// An index is gone at the peer.
    pub(super) fn gone(&mut self, now: Instant, slot: Slot, index: u64) {
        self.stats.gone += 1;
        let Some(get) = self.asking.fetch.finish(&mut self.links, slot, index) else { return };
        self.answered(now, slot, index, get.candidate);
        let id = get.candidate;
        if get.cancelled {
            return self.asking.wanted(&mut self.links, &mut self.asks, now, id); // no answer about the item: it may be asked again
        }
        if let Some(candidate) = self.asking.candidates.get_mut(id) {
            candidate.gone.insert(slot);
            if candidate.charged == Some(slot) {
                self.count_gone(now, slot);
            }
        }
        self.cannot_deliver(now, id, slot);
    }

    /// `slot` can not deliver a candidate: the best other announcer pays for it, and is asked.
    pub(super) fn cannot_deliver(&mut self, now: Instant, id: CandId, slot: Slot) {
        let Some(candidate) = self.asking.candidates.get_mut(id) else { return };
        candidate.drop_source(slot);
        candidate.drop_announcer(slot);
        self.asking.promote_reserve(&mut self.links, id);
        let Some(candidate) = self.asking.candidates.get_mut(id) else { return };
        let delivered = candidate.body().is_some_and(|body| self.links.slot(body.from.link) == Some(slot));
        if candidate.charged == Some(slot) && !delivered {
            let score = |a: &Announcer| {
                self.links.get(a.slot).map(|link| (link.gets.record.score(), Reverse(a.slot)))
            };
            let best = candidate.announcers().iter().filter_map(score).max();
            candidate.charged = best.map(|(_, Reverse(best))| best);
            if let Some(payer) = candidate.charged
                && let Some(link) = self.links.get_mut(payer)
            {
                link.intake.grant.charge();
                self.want.lent.add(link.info.side, 1);
            }
            self.give_back(now, slot);
        }
        let Some(candidate) = self.asking.candidates.get(id) else { return };
        if !matches!(candidate.state, State::Wanted) {
            return;
        }
        if candidate.announcers().is_empty() && !candidate.is_asked() {
            if let Some(candidate) = self.close(now, id) {
                self.asking.remember_gone(candidate); // given up
            }
        } else {
            self.asking.source_lost(&mut self.links, &mut self.asks, now, id);
        }
    }
}
