//! What this node has: the items of its log, those deferred, and the ids of those decided and not kept. And who else has what.

mod deferred;
mod heads;
mod id_index;
mod known;
mod log;

use weir_base::{Instant, Rng};

pub(crate) use deferred::{Deferred, DeferredItem};
pub(crate) use heads::{Heads, Phase};
pub(crate) use id_index::{IdIndex, Location};
pub(crate) use known::{Known, LinkSet};
pub(crate) use log::Log;

use super::types::{Config, Item};
use crate::keys::Keys;

/// Each item is at one place at most: in the log, deferred, or remembered.
#[derive(Debug)]
pub(crate) struct Inventory {
    pub(crate) log: Log,
    pub(crate) heads: Heads,
    pub(crate) ids: IdIndex,
    pub(crate) known: Known,
    pub(crate) deferred: Deferred,
}

impl Inventory {
    pub(crate) fn new(keys: &Keys, config: &Config, rng: Rng) -> Self {
        Self {
            log: Log::default(),
            heads: Heads::new(config.offer_delay),
            ids: IdIndex::new(keys, config.remembered, rng),
            known: Known::new(),
            deferred: Deferred::new(config.deferred_items, config.deferred_bytes),
        }
    }

    /// Where the item with this id is.
    pub(crate) fn location_of(&self, id: &[u8; 32]) -> Option<Location> {
        self.ids.find_id(id, |place| {
            let found = match place {
                Location::Live(index) => self.log.get(index).map(|item| &item.0.id),
                Location::Deferred(at) => self.deferred.get(at).map(|deferred| &deferred.item.0.id),
                Location::Seen(number) => self.ids.seen(number),
            };
            found == Some(id)
        })
    }

    /// Puts an item into the log, from the place where it is. These links have it.
    pub(crate) fn append(&mut self, now: Instant, item: Item, place: Option<Location>, links: &LinkSet) {
        let id = item.0.id;
        place.into_iter().for_each(|place| self.forget(&id, place));
        self.heads.note(now, self.log.head());
        let index = self.log.append(item);
        self.ids.insert(&id, Location::Live(index));
        self.known.append(index, links);
    }

    /// Takes an item out of the log without remembering it; its id.
    pub(crate) fn evict(&mut self, index: u64) -> Option<[u8; 32]> {
        let item = self.log.remove(index)?;
        self.ids.remove(&item.0.id, Location::Live(index));
        Some(item.0.id)
    }

    /// Takes an item from its place.
    fn forget(&mut self, id: &[u8; 32], place: Location) {
        match place {
            Location::Live(index) => drop(self.log.remove(index)),
            Location::Deferred(at) => drop(self.deferred.remove(at)),
            Location::Seen(_) => {}
        }
        self.ids.remove(id, place);
    }

    /// Takes an item from where it is, and remembers its id.
    pub(crate) fn take_out(&mut self, id: &[u8; 32]) {
        let place = self.location_of(id);
        if matches!(place, Some(Location::Seen(_))) {
            return;
        }
        place.into_iter().for_each(|place| self.forget(id, place));
        self.ids.remember(id);
    }

    /// An item was decided and is not kept: it is not fetched again for a while.
    pub(crate) fn remember(&mut self, id: &[u8; 32]) {
        if self.location_of(id).is_none() {
            self.ids.remember(id);
        }
    }

    /// An item is nowhere, and comes again later. The deferred items that lost their place for it.
    pub(crate) fn defer(&mut self, item: DeferredItem) -> Vec<DeferredItem> {
        let id = item.item.0.id;
        let at = self.deferred.insert(item);
        self.ids.insert(&id, Location::Deferred(at));
        let mut all = Vec::new();
        while let Some(at) = self.deferred.excess() {
            let Some(lost) = self.deferred.remove(at) else { break };
            self.ids.remove(&lost.item.0.id, Location::Deferred(at));
            lost.heard.iter().for_each(|slot| self.deferred.lost.insert(slot));
            all.push(lost);
        }
        all
    }

    /// The first deferred item that comes again by `now` is nowhere any more.
    pub(crate) fn undefer(&mut self, now: Instant) -> Option<DeferredItem> {
        let (_, at) = self.deferred.first().filter(|(due, _)| *due <= now)?;
        let item = self.deferred.remove(at)?;
        self.ids.remove(&item.item.0.id, Location::Deferred(at));
        Some(item)
    }

    /// This node's keys for short ids changed.
    pub(crate) fn rotate(&mut self, keys: &Keys) {
        let mut next = 0;
        let live = std::iter::from_fn(|| {
            let (index, item) = self.log.next_from(next)?;
            next = index + 1;
            Some((&item.0.id, Location::Live(index)))
        });
        self.ids.rotate(keys, live.chain(self.deferred.iter()));
    }
}

#[cfg(test)]
mod tests {
    use crate::ShortKey;
    use bytes::Bytes;

    use super::super::{Rules, Summary};
    use super::*;
    use crate::keys::NumberedKey;

    fn keys(number: u32) -> Keys {
        let key = ShortKey([u8::try_from(number).unwrap(); 16]);
        Keys { current: NumberedKey { number, key }, previous: None }
    }

    fn item(number: u8) -> Item {
        Item::with_id([number; 32], Bytes::from(vec![number]), Summary::EMPTY, 1)
    }

    #[test]
    fn an_item_is_at_one_place() {
        let rules = Rules { summarize: |_| Ok(Summary::EMPTY), judge: |_| Some(1) };
        let config = Config::new(rules);
        let mut inventory = Inventory::new(&keys(1), &config, Rng::from_number(1));
        inventory.append(Instant::ZERO, item(1), None, &LinkSet::default());
        inventory.append(Instant::ZERO, item(2), None, &LinkSet::default());
        assert_eq!(inventory.location_of(&[1; 32]), Some(Location::Live(0)));
        inventory.take_out(&[1; 32]);
        inventory.remember(&[2; 32]); // it is in the log
        assert_eq!(
            [1, 2].map(|id| inventory.location_of(&[id; 32])),
            [Some(Location::Seen(0)), Some(Location::Live(1))]
        );
        let place = inventory.location_of(&[1; 32]);
        inventory.append(Instant::ZERO, item(1), place, &LinkSet::default());
        assert_eq!((inventory.evict(1), inventory.evict(1)), (Some([2; 32]), None));
        inventory.rotate(&keys(2));
        assert_eq!([1, 2].map(|id| inventory.location_of(&[id; 32])), [Some(Location::Live(2)), None]);
        assert_eq!(inventory.log.len(), 1);
    }
}
