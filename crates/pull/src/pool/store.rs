//! What enters and leaves this node's own log, and what it wants at all.

use bytes::Bytes;
use weir_base::Instant;

use super::candidates::Claim;
use super::known::LinkSet;
use super::link::Role;
use super::places::Place;
use super::types::Item;
use super::{Event, MAX_BATCH, Pool};
use crate::keys::Keys;
use crate::machine::{Refused, Ticket};

impl Pool {
    /// Bytes of an item of this node's own.
    pub(super) fn insert(&mut self, now: Instant, bytes: Bytes) -> Result<(), Refused> {
        if bytes.len() > self.config.max_item as usize {
            return Err(Refused::TooLarge);
        }
        let summary = (self.config.rules.summarize)(&bytes).map_err(|_| Refused::Invalid)?;
        let priority = (self.config.rules.judge)(&summary).ok_or(Refused::Invalid)?;
        self.publish(now, Item::new(bytes, summary, priority))
    }

    /// An item of this node's own.
    pub(super) fn publish(&mut self, now: Instant, item: Item) -> Result<(), Refused> {
        let size = u32::try_from(item.bytes.len()).map_err(|_| Refused::TooLarge)?;
        if size > self.config.max_item {
            return Err(Refused::TooLarge);
        }
        if size == 0 {
            return Err(Refused::Invalid);
        }
        let (id, summary) = (item.id, item.summary);
        let claim = Claim {
            key: self.inventory.places.number(),
            short: self.inventory.places.short(&id),
            size,
            summary,
        };
        let heard = match (self.inventory.place_of(&id), self.asking.candidates.find(&claim)) {
            (Some(Place::Live(_)), _) => return Ok(()),
            (Some(Place::Deferred(at)), _) => self.inventory.deferred.get(at).map(|item| item.heard.clone()),
            (_, Some(candidate)) => {
                self.asking.candidates.get(candidate).map(|candidate| candidate.heard.clone())
            }
            _ => None,
        };
        if !self.append(now, item, &heard.unwrap_or_default()) {
            return Err(Refused::Busy);
        }
        if let Some(candidate) = self.asking.candidates.find(&claim) {
            self.close(now, candidate);
        }
        Ok(())
    }

    /// Puts an item into the log and offers it on; lower ones leave for it. `false` where it finds no place.
    pub(super) fn append(&mut self, now: Instant, item: Item, heard: &LinkSet) -> bool {
        let size = item.bytes.len() as u64;
        let id = item.id;
        if let Some(Place::Live(_)) = self.inventory.place_of(&id) {
            return true;
        }
        while self.inventory.log.len() >= u64::from(self.config.max_items)
            || self.inventory.log.bytes() + size > self.config.max_bytes
        {
            let Some((lowest, index)) = self.inventory.log.lowest() else { return false };
            self.want.full = self.want.full.max(lowest.saturating_add(1));
            if lowest >= item.priority {
                return false;
            }
            let evicted = self.inventory.evict(index);
            self.events.extend(evicted.map(|id| Event::Evicted { id }));
        }
        self.inventory.append(item, heard);
        if self.inventory.known.len().is_multiple_of(64) {
            self.inventory.known.trim(self.links.lowest_cursor());
        }
        self.stats.accepted += 1;
        self.offer_new(now);
        true
    }

    /// The application is done with an item.
    pub(super) fn remove(&mut self, now: Instant, id: &[u8; 32]) {
        self.inventory.take_out(id);
        self.lower_floor(now);
    }

    /// The application is done with these, and has checked those.
    pub(super) fn batch(
        &mut self,
        now: Instant,
        ticket: Ticket,
        remove: &[[u8; 32]],
        insert: Vec<Item>,
    ) -> Result<(), Refused> {
        if remove.len() + insert.len() > MAX_BATCH {
            return Err(Refused::TooLarge);
        }
        remove.iter().for_each(|id| self.inventory.take_out(id));
        let inserts = insert.into_iter().map(|item| self.publish(now, item)).collect();
        self.events.push_back(Event::BatchDone { ticket, inserts });
        self.lower_floor(now);
        Ok(())
    }

    /// Where the pool was full and is not any more, what had found no place is asked for again.
    fn lower_floor(&mut self, now: Instant) {
        let roomy = self.inventory.log.len() < u64::from(self.config.max_items) / 4 * 3
            && self.inventory.log.bytes() < self.config.max_bytes / 4 * 3;
        if self.want.full > 0 && roomy {
            self.want.full = 0;
            self.resync(now); // what was below the floor is wanted now
        }
    }

    /// Grants nothing from now on, or again.
    pub(super) fn pause(&mut self, now: Instant, paused: bool) {
        self.want.paused = paused;
        if paused {
            return;
        }
        for slot in self.links.slots() {
            self.links.open_lane(&mut self.asks, self.channel, slot, Role::Intake);
            self.credit(now, slot);
        }
    }

    pub(super) fn set_floor(&mut self, now: Instant, floor: u64) {
        let before = std::mem::replace(&mut self.want.floor, floor);
        if floor < before {
            return self.resync(now);
        }
        if floor > before {
            self.links.slots().into_iter().for_each(|slot| self.renew(slot));
        }
    }

    /// All servers begin at 0 again.
    pub(super) fn resync(&mut self, now: Instant) {
        self.resume.forget();
        for slot in self.links.slots() {
            self.move_to(now, slot, 0);
        }
    }

    /// This node's keys for short ids changed.
    pub(super) fn rotate(&mut self, keys: &Keys) {
        self.inventory.rotate(keys);
        for (id, full) in self.asking.candidates.delivered() {
            self.asking.candidates.alias(
                id,
                self.inventory.places.number(),
                self.inventory.places.short(&full),
            );
        }
    }
}
