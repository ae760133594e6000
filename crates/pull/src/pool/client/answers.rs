//! Answers to gets: items and *gone*, and what becomes of candidates that a link can not deliver.

use std::cmp::Reverse;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use weir_base::codec::put_varint;
use weir_base::{Chunk, Fault, Instant, Rope};

use super::Client;
use super::asking::Asking;
use super::candidates::{Announcer, Body, CandId, Candidate, State};
use super::gets::Answer;
use super::record::{More, Record};
use crate::framing::MALFORMED;
use crate::pool::codec::{self, MAX_INDICES, MAX_ITEM_HEAD, MAX_LIST, put_len};
use crate::pool::common::Common;
use crate::pool::faults::{FALSE_ITEM, UNASKED};
use crate::pool::inventory::Location;
use crate::pool::links::{Account, Deliverer, Role, Slot};
use crate::pool::types::Item;

/// A body that has come and waits to be handed over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delivered {
    /// Who delivered it.
    pub(crate) slot: Slot,
    pub(crate) candidate: CandId,
    /// Its bytes.
    pub(crate) size: u32,
}

impl Client {
    /// Bytes came on the stream that carries items.
    pub(crate) fn read_items(&mut self, common: &mut Common, now: Instant, slot: Slot, mut chunk: Chunk) {
        common.stats.control_bytes += chunk.len() as u64;
        loop {
            let Some(link) = common.links.get_mut(slot) else { return };
            let max = link.max_item() as usize + MAX_ITEM_HEAD;
            let done = match link.gets.read(&mut chunk, max.max(MAX_LIST)) {
                Ok(Some(Answer::Item(index, bytes))) => {
                    self.item(common, now, slot, index, bytes);
                    Ok(())
                }
                Ok(Some(Answer::Skipped(bytes))) => link.skipped.take(now, bytes),
                Ok(Some(Answer::Gone(body))) => self.gone_message(common, now, slot, &body),
                Ok(None) => return,
                Err(fault) => Err(fault),
            };
            if let Err(fault) = done {
                if fault == FALSE_ITEM {
                    self.asking.fetch.recorded(&mut common.links, slot, Record::false_item);
                }
                common.break_off(slot, Role::Gets, fault);
                return self.give_up(common, now, slot);
            }
        }
    }

    fn gone_message(
        &mut self,
        common: &mut Common,
        now: Instant,
        slot: Slot,
        body: &[u8],
    ) -> Result<(), Fault> {
        common.counters.messages_in += 1;
        for index in codec::decode_indices(body) {
            let index = index.map_err(|_| MALFORMED)?;
            let link = common.links.get(slot);
            if !link
                .is_some_and(|link| link.gets.flight.contains_key(&index) && !link.gets.out.contains(&index))
            {
                return Err(UNASKED);
            }
            self.gone(common, now, slot, index);
        }
        Ok(())
    }

    /// An item came, of the size that was offered.
    pub(crate) fn item(&mut self, common: &mut Common, now: Instant, slot: Slot, index: u64, bytes: Bytes) {
        common.counters.messages_in += 1;
        common.stats.bodies += 1;
        common.stats.body_bytes += bytes.len() as u64;
        let Some(get) = self.asking.fetch.finish(&mut common.links, slot, index) else { return };
        if let Some(link) = common.links.get_mut(slot) {
            link.gets.lane.works();
        }
        self.answered(common, now, slot, index, get.candidate);
        let more = common.links.get(slot).is_some_and(|link| !link.gets.flight.is_empty());
        let more = if more { More::Expected } else { More::Idle };
        let size = bytes.len() as u64;
        let id = get.candidate;
        let waits = |candidate: &&Candidate| matches!(candidate.state, State::Wanted);
        let Some(candidate) = self.asking.candidates.get(id).filter(waits) else {
            common.stats.duplicates += 1;
            return self
                .asking
                .fetch
                .recorded(&mut common.links, slot, |record| record.item(now, size, more));
        };
        let claim = candidate.claim;
        let summary = (common.config.rules.summarize)(&bytes);
        let full: [u8; 32] = Sha256::digest(&bytes).into();
        let short = common.inventory.ids.key(claim.key).map(|key| key.short(&full));
        if summary != Ok(claim.summary) || short.is_some_and(|short| short != claim.short) {
            self.asking.fetch.recorded(&mut common.links, slot, Record::false_item);
            common.blame(slot, FALSE_ITEM);
            return self.cannot_deliver(common, now, id, slot);
        }
        self.asking.fetch.recorded(&mut common.links, slot, |record| record.item(now, size, more));
        let Some(link) = common.links.get(slot) else { return };
        let from = Deliverer { link: link.id, account: Account::of(&link.info) };
        self.asking.cancel_sources(&mut common.links, &mut common.asks, id);
        self.asking.fetch.hold(size);
        let known = common.inventory.location_of(&full);
        if let Some(candidate) = self.asking.candidates.get_mut(id) {
            let item = Item::with_id(full, bytes, claim.summary, candidate.priority);
            candidate.state = State::Held(Box::new(Body { item, from }));
        }
        if claim.key != common.inventory.ids.number() {
            self.asking.candidates.alias(
                id,
                common.inventory.ids.number(),
                common.inventory.ids.short(&full),
            );
        }
        if let Some(place) = known {
            common.stats.duplicates += 1;
            return self.known_already(common, now, id, place);
        }
        self.delivered.push(Delivered { slot, candidate: id, size: claim.size });
    }

    /// An index was answered for this candidate: another that is offered under it now may be asked for.
    fn answered(&mut self, common: &mut Common, now: Instant, slot: Slot, index: u64, id: CandId) {
        let now_there = common.links.get(slot).and_then(|link| link.intake.candidate_at(index));
        if let Some(other) = now_there.filter(|other| *other != id) {
            self.asking.wanted(&mut common.links, &mut common.asks, now, other);
        }
    }

    /// A candidate that the application does not have is decided or given up: credit and reservations return.
    pub(crate) fn drop_candidate(
        &mut self,
        common: &mut Common,
        now: Instant,
        id: CandId,
    ) -> Option<Candidate> {
        self.asking.cancel_sources(&mut common.links, &mut common.asks, id);
        let candidate = self.asking.candidates.remove(id)?;
        if candidate.has_reserve {
            Asking::forget_reserve(&mut common.links, id, &candidate.heard);
        }
        if let Some(body) = candidate.body() {
            self.asking.fetch.decided(body.item.0.bytes.len() as u64);
        }
        if let Some(slot) = candidate.charged {
            self.give_back(common, now, slot);
        }
        Some(candidate)
    }

    /// What a candidate turned out to be is here already, under another key.
    fn known_already(&mut self, common: &mut Common, now: Instant, id: CandId, place: Location) {
        let Some(candidate) = self.drop_candidate(common, now, id) else { return };
        if let Location::Live(index) = place {
            for slot in common.links.slots() {
                if candidate.heard.contains(slot) {
                    common.inventory.known.insert(index, slot);
                }
            }
        }
    }

    /// An index is gone at the peer.
    pub(crate) fn gone(&mut self, common: &mut Common, now: Instant, slot: Slot, index: u64) {
        common.stats.gone += 1;
        let Some(get) = self.asking.fetch.finish(&mut common.links, slot, index) else { return };
        self.answered(common, now, slot, index, get.candidate);
        let id = get.candidate;
        if get.cancelled {
            return self.asking.wanted(&mut common.links, &mut common.asks, now, id); // no answer about the item: it may be asked again
        }
        if let Some(candidate) = self.asking.candidates.get_mut(id) {
            candidate.gone.insert(slot);
            if candidate.charged == Some(slot) {
                self.demand.count_gone(common, now, slot);
            }
        }
        self.cannot_deliver(common, now, id, slot);
    }

    /// `slot` can not deliver a candidate: the best other announcer pays for it, and is asked.
    pub(crate) fn cannot_deliver(&mut self, common: &mut Common, now: Instant, id: CandId, slot: Slot) {
        let Some(candidate) = self.asking.candidates.get_mut(id) else { return };
        candidate.drop_source(slot);
        candidate.drop_announcer(slot);
        self.asking.promote_reserve(&mut common.links, id);
        let Some(candidate) = self.asking.candidates.get_mut(id) else { return };
        let delivered = candidate.body().is_some_and(|body| common.links.slot(body.from.link) == Some(slot));
        if candidate.charged == Some(slot) && !delivered {
            let score = |a: &Announcer| {
                common.links.get(a.slot).map(|link| (link.gets.record.score(), Reverse(a.slot)))
            };
            let best = candidate.announcers().iter().filter_map(score).max();
            candidate.charged = best.map(|(_, Reverse(best))| best);
            if let Some(payer) = candidate.charged {
                self.demand.charge(common, payer);
            }
            self.give_back(common, now, slot);
        }
        let Some(candidate) = self.asking.candidates.get(id) else { return };
        if !matches!(candidate.state, State::Wanted) {
            return;
        }
        if candidate.announcers().is_empty() && !candidate.is_asked() {
            if let Some(candidate) = self.drop_candidate(common, now, id) {
                self.asking.remember_gone(candidate); // given up
            }
        } else {
            self.asking.source_lost(&mut common.links, &mut common.asks, now, id);
        }
    }
}

/// Writes gets and cancels, in the order of the peer's log.
pub(crate) fn write_gets(common: &mut Common, slot: Slot, out: &mut Rope) {
    let Some(link) = common.links.get_mut(slot) else { return };
    let gets = &mut link.gets;
    for (kind, indices) in [(codec::GET, &mut gets.out), (codec::CANCEL, &mut gets.cancels)] {
        if indices.is_empty() {
            continue;
        }
        common.scratch.clear();
        put_varint(&mut common.scratch, kind);
        let beyond = indices.iter().nth(MAX_INDICES).copied();
        let later = beyond.map(|index| indices.split_off(&index));
        codec::encode_indices(indices.iter().copied(), &mut common.scratch);
        let count = indices.len() as u64;
        *indices = later.unwrap_or_default();
        put_len(common.scratch.len(), out);
        out.put(&common.scratch);
        common.counters.messages_out += 1;
        match kind {
            codec::GET => common.stats.gets_sent += count,
            _ => common.stats.cancels_sent += count,
        }
        return;
    }
}
