//! What enters and leaves this node's own log.

use bytes::Bytes;
use weir_base::Instant;

use super::Pool;
use super::client::Claim;
use super::inventory::{LinkSet, Location};
use super::types::{Event, Item, MAX_BATCH};
use crate::keys::Keys;
use crate::machine::{Refused, Ticket};

impl Pool {
    /// Bytes of an item of this node's own.
    pub(crate) fn insert(&mut self, now: Instant, bytes: Bytes) -> Result<(), Refused> {
        if bytes.len() > self.common.config.max_item as usize {
            return Err(Refused::TooLarge);
        }
        let summary = (self.common.config.rules.summarize)(&bytes).map_err(|_| Refused::Invalid)?;
        let priority = (self.common.config.rules.judge)(&summary).ok_or(Refused::Invalid)?;
        self.publish(now, Item::new(bytes, summary, priority))
    }

    /// An item of this node's own.
    pub(crate) fn publish(&mut self, now: Instant, item: Item) -> Result<(), Refused> {
        let size = u32::try_from(item.0.bytes.len()).map_err(|_| Refused::TooLarge)?;
        if size > self.common.config.max_item {
            return Err(Refused::TooLarge);
        }
        if size == 0 {
            return Err(Refused::Invalid);
        }
        let (id, summary) = (item.0.id, item.0.summary);
        let claim = Claim {
            key: self.common.inventory.ids.number(),
            short: self.common.inventory.ids.short(&id),
            size,
            summary,
        };
        let place = self.common.inventory.location_of(&id);
        let heard = match (place, self.client.asking.candidates.find(&claim)) {
            (Some(Location::Deferred(at)), _) => {
                self.common.inventory.deferred.get(at).map(|item| item.heard.clone())
            }
            (_, Some(candidate)) => {
                self.client.asking.candidates.get(candidate).map(|candidate| candidate.heard.clone())
            }
            _ => None,
        };
        if !self.append(now, item, place, &heard.unwrap_or_default()) {
            return Err(Refused::Busy);
        }
        if let Some(candidate) = self.client.asking.candidates.find(&claim) {
            self.close(now, candidate);
        }
        Ok(())
    }

    /// Puts an item into the log, from the place where it is, and offers it on; lower ones leave for it. `false` where there is no
    /// room for it.
    pub(crate) fn append(
        &mut self,
        now: Instant,
        item: Item,
        place: Option<Location>,
        heard: &LinkSet,
    ) -> bool {
        let size = item.0.bytes.len() as u64;
        if let Some(Location::Live(_)) = place {
            return true;
        }
        while self.common.inventory.log.len() >= u64::from(self.common.config.max_items)
            || self.common.inventory.log.bytes() + size > self.common.config.max_bytes
        {
            let Some((lowest, index)) = self.common.inventory.log.lowest() else { return false };
            self.client.demand.full = self.client.demand.full.max(lowest.saturating_add(1));
            if lowest >= item.0.priority {
                return false;
            }
            let evicted = self.common.inventory.evict(index);
            self.common.events.extend(evicted.map(|id| Event::Evicted { id }));
        }
        self.common.inventory.append(now, item, place, heard);
        if self.common.inventory.known.len().is_multiple_of(64) {
            self.common.inventory.known.trim(self.common.links.lowest_cursor());
        }
        self.common.stats.accepted += 1;
        self.offers.appended(&mut self.common, now);
        true
    }

    /// The application is done with an item.
    pub(crate) fn remove(&mut self, now: Instant, id: &[u8; 32]) {
        self.common.inventory.take_out(id);
        self.lower_floor(now);
    }

    /// The application is done with these, and has checked those.
    pub(crate) fn batch(
        &mut self,
        now: Instant,
        ticket: Ticket,
        remove: &[[u8; 32]],
        insert: Vec<Item>,
    ) -> Result<(), Refused> {
        if remove.len() + insert.len() > MAX_BATCH {
            return Err(Refused::TooLarge);
        }
        remove.iter().for_each(|id| self.common.inventory.take_out(id));
        let inserts = insert.into_iter().map(|item| self.publish(now, item)).collect();
        self.common.events.push_back(Event::BatchDone { ticket, inserts });
        self.lower_floor(now);
        Ok(())
    }

    /// Where the pool was full and is not any more, what had found no place is asked for again.
    fn lower_floor(&mut self, now: Instant) {
        let roomy = self.common.inventory.log.len() < u64::from(self.common.config.max_items) / 4 * 3
            && self.common.inventory.log.bytes() < self.common.config.max_bytes / 4 * 3;
        if self.client.demand.full > 0 && roomy {
            self.client.demand.full = 0;
            self.client.resync(&mut self.common, now); // what was below the floor is wanted now
        }
    }

    /// This node's keys for short ids changed.
    pub(crate) fn rotate(&mut self, keys: &Keys) {
        self.common.inventory.rotate(keys);
        self.client.rotate(&self.common);
    }
}
