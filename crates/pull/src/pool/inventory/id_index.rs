//! Where an item is, by its short id: one table for all peers, under this node's key, and for a while under the one before.
//!
//! The table stores neither ids nor bodies: who finds a location checks there that it is the right item.

use std::collections::{BTreeMap, VecDeque};

use crate::table::{Table, table};
use crate::{ShortId, ShortKey};
use weir_base::Rng;

use crate::keys::{Keys, NumberedKey};

/// Where an item with a known full id is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Location {
    /// In the log, at this index.
    Live(u64),
    /// Deferred, under this number.
    Deferred(u32),
    /// Decided and not kept: this number among the ids remembered.
    Seen(u64),
}

impl Location {
    const fn pack(self) -> u64 {
        match self {
            Self::Live(index) => index << 2,
            Self::Deferred(at) => (at as u64) << 2 | 1,
            Self::Seen(number) => number << 2 | 2,
        }
    }

    fn unpack(word: u64) -> Self {
        match word & 3 {
            0 => Self::Live(word >> 2),
            1 => Self::Deferred(u32::try_from(word >> 2).unwrap_or(u32::MAX)),
            _ => Self::Seen(word >> 2),
        }
    }
}

/// Items whose short ids collide that are still found by their full id; beyond it, the later is not.
const MAX_COLLIDED: usize = 1_024;

/// Where all items are, and the ids of the latest items that were decided and not kept.
#[derive(Debug)]
pub(crate) struct IdIndex {
    current: Keyed,
    previous: Option<Keyed>,
    retired: Option<NumberedKey>, // the last key that expired: what was asked for under it is still checked
    collided: BTreeMap<[u8; 32], Location>,
    seen: VecDeque<[u8; 32]>,
    forgotten: u64, // ids dropped from the front of `seen`
    remembered: usize,
    rng: Rng,
}

struct Keyed {
    key: NumberedKey,
    table: Table<ShortId, u64>,
}

impl std::fmt::Debug for Keyed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keyed({}, {} items)", self.key.number, self.table.len())
    }
}

impl IdIndex {
    pub(crate) fn new(keys: &Keys, remembered: u32, mut rng: Rng) -> Self {
        let current = Keyed { key: keys.current, table: table(&mut rng) };
        let previous = keys.previous.map(|key| Keyed { key, table: table(&mut rng) });
        Self {
            current,
            previous,
            retired: None,
            collided: BTreeMap::new(),
            seen: VecDeque::new(),
            forgotten: 0,
            remembered: remembered as usize,
            rng,
        }
    }

    /// The number of the key that peers should use.
    pub(crate) const fn number(&self) -> u32 {
        self.current.key.number
    }

    /// The short id under the current key.
    pub(crate) fn short(&self, id: &[u8; 32]) -> ShortId {
        self.current.key.key.short(id)
    }

    /// Whether offers under this key are taken.
    pub(crate) fn takes(&self, number: u32) -> bool {
        number == self.current.key.number
            || self.previous.as_ref().is_some_and(|keyed| keyed.key.number == number)
    }

    /// The key of this number, also the one that expired last.
    pub(crate) fn key(&self, number: u32) -> Option<ShortKey> {
        let previous = self.previous.as_ref().map(|keyed| keyed.key);
        [Some(self.current.key), previous, self.retired]
            .into_iter()
            .flatten()
            .find_map(|key| (key.number == number).then_some(key.key))
    }

    /// What an offer under this key names.
    pub(crate) fn find(&self, number: u32, short: ShortId) -> Option<Location> {
        let keyed = [Some(&self.current), self.previous.as_ref()]
            .into_iter()
            .flatten()
            .find(|keyed| keyed.key.number == number)?;
        keyed.table.get(short).map(|word| Location::unpack(*word))
    }

    /// Where the item with this id is. `is_it` says whether the item there has the id.
    pub(crate) fn find_id(&self, id: &[u8; 32], is_it: impl Fn(Location) -> bool) -> Option<Location> {
        let found = self.current.table.get(self.short(id)).map(|word| Location::unpack(*word));
        found.filter(|location| is_it(*location)).or_else(|| self.collided.get(id).copied())
    }

    /// Adds an item.
    pub(crate) fn insert(&mut self, id: &[u8; 32], location: Location) {
        if !put(&mut self.current, id, location) && self.collided.len() < MAX_COLLIDED {
            self.collided.insert(*id, location);
        }
        if let Some(previous) = &mut self.previous {
            put(previous, id, location);
        }
    }

    /// Takes an item out.
    pub(crate) fn remove(&mut self, id: &[u8; 32], location: Location) {
        if self.collided.get(id) == Some(&location) {
            self.collided.remove(id);
        }
        for keyed in [Some(&mut self.current), self.previous.as_mut()].into_iter().flatten() {
            let short = keyed.key.key.short(id);
            if keyed.table.get(short) == Some(&location.pack()) {
                keyed.table.remove(short);
            }
        }
    }

    /// Remembers the id of an item that is nowhere any more; the oldest is forgotten for it.
    pub(crate) fn remember(&mut self, id: &[u8; 32]) {
        if self.remembered == 0 {
            return;
        }
        if self.seen.len() >= self.remembered
            && let Some(oldest) = self.seen.pop_front()
        {
            self.remove(&oldest, Location::Seen(self.forgotten));
            self.forgotten += 1;
        }
        self.insert(id, Location::Seen(self.forgotten + self.seen.len() as u64));
        self.seen.push_back(*id);
    }

    /// The id remembered under this number.
    pub(crate) fn seen(&self, number: u64) -> Option<&[u8; 32]> {
        self.seen.get(usize::try_from(number.checked_sub(self.forgotten)?).ok()?)
    }

    /// This node's keys changed: `items` are all that are in the log or deferred. Hashes them all, once per rotation.
    pub(crate) fn rotate<'a>(&mut self, keys: &Keys, items: impl Iterator<Item = (&'a [u8; 32], Location)>) {
        if keys.current.number != self.current.key.number {
            let mut next = Keyed { key: keys.current, table: table(&mut self.rng) };
            self.collided.clear();
            for (id, location) in items {
                if !put(&mut next, id, location) && self.collided.len() < MAX_COLLIDED {
                    self.collided.insert(*id, location);
                }
            }
            for (id, number) in self.seen.iter().zip(self.forgotten..) {
                put(&mut next, id, Location::Seen(number)); // an item that came back stands where it is now
            }
            let before = std::mem::replace(&mut self.current, next);
            self.retired = self.previous.replace(before).map(|keyed| keyed.key).or(self.retired);
        }
        let still = |keyed: &Keyed| keys.previous.is_some_and(|key| key.number == keyed.key.number);
        if let Some(expired) = self.previous.take_if(|keyed| !still(keyed)) {
            self.retired = Some(expired.key);
        }
    }
}

/// Whether no other item has this short id.
fn put(keyed: &mut Keyed, id: &[u8; 32], location: Location) -> bool {
    let short = keyed.key.key.short(id);
    if keyed.table.contains(short) {
        return false;
    }
    keyed.table.insert(short, location.pack());
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(current: u32, previous: Option<u32>) -> Keys {
        let numbered =
            |number: u32| NumberedKey { number, key: ShortKey([u8::try_from(number).unwrap(); 16]) };
        Keys { current: numbered(current), previous: previous.map(numbered) }
    }

    #[test]
    fn an_item_is_found_under_both_keys_until_the_old_one_expires() {
        let mut index = IdIndex::new(&keys(1, None), 2, Rng::from_number(1));
        let (a, b) = ([1; 32], [2; 32]);
        index.insert(&a, Location::Live(7));
        index.remember(&b);
        let old = index.short(&a);
        index.rotate(&keys(2, Some(1)), std::iter::once((&a, Location::Live(7))));
        let new = index.short(&a);
        assert_eq!(
            (index.find(1, old), index.find(2, new)),
            (Some(Location::Live(7)), Some(Location::Live(7)))
        );
        assert_eq!(index.find_id(&b, |_| true), Some(Location::Seen(0)));
        assert!(index.takes(1) && index.takes(2) && !index.takes(3));
        index.rotate(&keys(2, None), std::iter::empty());
        assert!(!index.takes(1) && index.key(1).is_some() && index.find(1, old).is_none());
        assert_eq!(index.find(2, new), Some(Location::Live(7)));
        index.remove(&a, Location::Live(7));
        assert_eq!(index.find(2, new), None);
    }

    #[test]
    fn only_the_latest_ids_are_remembered() {
        let mut index = IdIndex::new(&keys(1, None), 2, Rng::from_number(1));
        for n in 0..3_u8 {
            index.remember(&[n; 32]);
        }
        let found = |n: u8| index.find_id(&[n; 32], |_| true);
        assert_eq!([found(0), found(1), found(2)], [None, Some(Location::Seen(1)), Some(Location::Seen(2))]);
        assert_eq!((index.seen(0), index.seen(2)), (None, Some(&[2; 32])));
    }

    #[test]
    fn items_whose_short_ids_collide_are_both_found_up_to_a_bound() {
        // the same id twice stands for two that collide
        let mut index = IdIndex::new(&keys(1, None), 2, Rng::from_number(1));
        let id = |number: u64| {
            let mut id = [7; 32];
            id.iter_mut().zip(number.to_le_bytes()).for_each(|(to, from)| *to = from);
            id
        };
        for number in 0..1_100 {
            index.insert(&id(number), Location::Live(number));
            index.insert(&id(number), Location::Deferred(9));
        }
        let deferred = |number: u64| index.find_id(&id(number), |location| location == Location::Deferred(9));
        assert_eq!(
            (deferred(0), deferred(1_023)),
            (Some(Location::Deferred(9)), Some(Location::Deferred(9)))
        );
        assert_eq!((deferred(1_024), index.collided.len()), (None, MAX_COLLIDED));
        assert_eq!(index.find_id(&id(5), |location| location == Location::Live(5)), Some(Location::Live(5)));
        index.remove(&id(5), Location::Live(5));
        assert_eq!(index.find_id(&id(5), |_| true), Some(Location::Deferred(9)), "the other one stays");
        index.remove(&id(5), Location::Deferred(9));
        assert_eq!(index.find_id(&id(5), |_| true), None);
    }

    #[test]
    fn a_place_is_what_it_was_when_it_was_packed() {
        for location in [
            Location::Live(0),
            Location::Live(1),
            Location::Live(1 << 61),
            Location::Deferred(0),
            Location::Deferred(5),
            Location::Deferred(u32::MAX),
            Location::Seen(0),
            Location::Seen(7),
        ] {
            assert_eq!(Location::unpack(location.pack()), location);
        }
    }

    #[test]
    fn an_item_is_taken_only_from_the_place_where_it_is() {
        let mut index = IdIndex::new(&keys(2, Some(1)), 2, Rng::from_number(1));
        let id = [5; 32];
        index.insert(&id, Location::Live(3));
        index.remove(&id, Location::Live(4));
        assert_eq!(index.find(2, index.short(&id)), Some(Location::Live(3)));
        let before = keys(1, None).current.key.short(&id);
        assert_eq!(index.find(1, before), Some(Location::Live(3)));
        index.remove(&id, Location::Live(3));
        assert_eq!((index.find(1, before), index.find(2, index.short(&id))), (None, None));
    }

    #[test]
    fn nothing_is_remembered_where_nothing_may_be() {
        let mut index = IdIndex::new(&keys(1, None), 0, Rng::from_number(1));
        index.remember(&[1; 32]);
        assert_eq!((index.find_id(&[1; 32], |_| true), index.seen.len()), (None, 0));
    }

    #[test]
    fn items_that_collide_under_a_new_key_are_both_found() {
        // the same id twice stands for two that collide
        let mut index = IdIndex::new(&keys(1, None), 2, Rng::from_number(1));
        let ids: Vec<[u8; 32]> = (0..1_100_u64)
            .map(|number| {
                let mut id = [7; 32];
                id.iter_mut().zip(number.to_le_bytes()).for_each(|(to, from)| *to = from);
                id
            })
            .collect();
        let twice =
            ids.iter().zip(0..).flat_map(|(id, at)| [(id, Location::Live(at)), (id, Location::Deferred(9))]);
        index.rotate(&keys(2, Some(1)), twice);
        let found = |at: usize| index.find_id(&ids[at], |location| location == Location::Deferred(9));
        assert_eq!(
            (found(0), found(1_023), found(1_024)),
            (Some(Location::Deferred(9)), Some(Location::Deferred(9)), None)
        );
        assert_eq!(index.find_id(&ids[1], |location| location == Location::Live(1)), Some(Location::Live(1)));
        assert_eq!((index.collided.len(), index.collided.contains_key(&ids[1_024])), (MAX_COLLIDED, false));
    }

    #[test]
    fn a_key_is_not_shown() {
        let current = NumberedKey { number: 3, key: ShortKey([77; 16]) };
        let keyed = Keyed { key: current, table: table(&mut Rng::from_number(1)) };
        assert_eq!(format!("{keyed:?}"), "Keyed(3, 0 items)");
    }
}
