//! Deferred items: nobody's fault, they come again after a time, or when the application reconsiders.
//!
//! Bounds: so many items and bytes. Beyond it, who has most of them here loses the one that comes again last; the links that had
//! offered it are asked to begin anew. What comes again is dealt to the account of who delivered it.

use std::collections::{BTreeMap, BTreeSet};

use weir_base::Instant;

use super::id_index::Location;
use super::known::LinkSet;
use crate::pool::links::{Account, Deliverer, Slot};
use crate::pool::types::{Item, Summary};

/// One deferred item.
#[derive(Clone, Debug)]
pub(crate) struct DeferredItem {
    pub(crate) item: Item,
    /// Links that offered it.
    pub(crate) heard: LinkSet,
    pub(crate) from: Deliverer,
    /// When it comes again.
    pub(crate) due: Instant,
}

/// All deferred items.
#[derive(Debug)]
pub(crate) struct Deferred {
    slab: Vec<Option<DeferredItem>>,
    free: Vec<u32>,
    due: BTreeSet<(Instant, u32)>,
    by_account: BTreeMap<Account, Share>,
    bytes: u64,
    max_items: usize,
    max_bytes: u64,
    pub(crate) lost: LinkSet, // links that had offered what was dropped for others
}

/// What one account has here.
#[derive(Debug, Default)]
struct Share {
    due: BTreeSet<(Instant, u32)>,
    bytes: u64,
}

impl Deferred {
    pub(crate) fn new(max_items: u32, max_bytes: u64) -> Self {
        Self {
            slab: Vec::new(),
            free: Vec::new(),
            due: BTreeSet::new(),
            by_account: BTreeMap::new(),
            bytes: 0,
            max_items: max_items as usize,
            max_bytes,
            lost: LinkSet::default(),
        }
    }

    pub(crate) fn get(&self, at: u32) -> Option<&DeferredItem> {
        self.slab.get(at as usize)?.as_ref()
    }

    pub(crate) fn insert(&mut self, item: DeferredItem) -> u32 {
        let at = self.free.pop().unwrap_or_else(|| {
            self.slab.push(None);
            u32::try_from(self.slab.len() - 1).unwrap_or(u32::MAX)
        });
        self.due.insert((item.due, at));
        let share = self.by_account.entry(item.from.account).or_default();
        share.due.insert((item.due, at));
        share.bytes += item.item.0.bytes.len() as u64;
        self.bytes += item.item.0.bytes.len() as u64;
        if let Some(place) = self.slab.get_mut(at as usize) {
            *place = Some(item);
        }
        at
    }

    pub(crate) fn remove(&mut self, at: u32) -> Option<DeferredItem> {
        let item = self.slab.get_mut(at as usize)?.take()?;
        self.due.remove(&(item.due, at));
        if let Some(share) = self.by_account.get_mut(&item.from.account) {
            share.due.remove(&(item.due, at));
            share.bytes -= item.item.0.bytes.len() as u64;
            if share.due.is_empty() {
                self.by_account.remove(&item.from.account);
            }
        }
        self.bytes -= item.item.0.bytes.len() as u64;
        self.free.push(at);
        if self.due.is_empty() {
            (self.slab, self.free) = (Vec::new(), Vec::new());
        }
        Some(item)
    }

    /// The place of an item too many: of whom has most of what there is too much of, the one that comes again last.
    pub(crate) fn excess(&self) -> Option<u32> {
        let shares = self.by_account.values();
        let largest = if self.due.len() > self.max_items {
            shares.max_by_key(|share| share.due.len())
        } else if self.bytes > self.max_bytes {
            shares.max_by_key(|share| share.bytes)
        } else {
            None
        };
        largest.and_then(|share| share.due.last()).map(|(_, at)| *at)
    }

    /// Whether something that this link had offered was dropped for others.
    pub(crate) fn lost_at(&self, slot: Slot) -> bool {
        self.lost.contains(slot)
    }

    /// A link offers a deferred item: whether it says the same of it.
    pub(crate) fn heard(&mut self, at: u32, slot: Slot, size: u32, summary: &Summary) -> bool {
        let item = self.slab.get_mut(at as usize).and_then(Option::as_mut);
        let same = |item: &&mut DeferredItem| {
            item.item.0.bytes.len() as u64 == u64::from(size) && item.item.0.summary == *summary
        };
        item.filter(same).map(|item| item.heard.insert(slot)).is_some()
    }

    /// The link is gone; its place may be taken by another.
    pub(crate) fn forget(&mut self, slot: Slot) {
        self.slab.iter_mut().flatten().for_each(|item| item.heard.remove(slot));
        self.lost.remove(slot);
    }

    /// All ids, and where their items are.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8; 32], Location)> {
        self.due.iter().filter_map(|(_, at)| Some((&self.get(*at)?.item.0.id, Location::Deferred(*at))))
    }

    /// The one that comes again first, and when.
    pub(crate) fn first(&self) -> Option<(Instant, u32)> {
        self.due.first().copied()
    }

    pub(crate) fn next_timeout(&self) -> Option<(Instant, &'static str)> {
        self.due.first().map(|(due, _)| (*due, "a deferred item comes again"))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use weir_base::LinkId;
    use weir_base::identity::Keypair;
    use weir_base::stream::{Group, LinkInfo, Side};

    use super::*;

    fn item(from: u8, number: u8, size: usize, due: u64) -> DeferredItem {
        let peer = Keypair::ed25519_from_seed([from; 32]).peer_id();
        let info = LinkInfo { peer, side: Side::Inbound, dialler: false, group: Group::Local(0) };
        DeferredItem {
            item: Item::with_id(
                [number; 32],
                Bytes::from(vec![number; size]),
                Summary::new(&[number]).unwrap(),
                1,
            ),
            heard: LinkSet::default(),
            from: Deliverer { link: LinkId(1), account: Account::of(&info) },
            due: Instant::from_millis(due),
        }
    }

    #[test]
    fn beyond_its_bounds_who_has_most_loses_what_comes_again_last() {
        let mut deferred = Deferred::new(4, 1_000);
        for (from, number, size, due) in [(1, 1, 700, 10), (2, 2, 100, 40), (2, 3, 100, 30), (2, 4, 100, 20)]
        {
            deferred.insert(item(from, number, size, due));
            assert_eq!(deferred.excess(), None, "4 items and 1,000 bytes are allowed");
        }
        let at = deferred.insert(item(1, 5, 0, 50));
        assert_eq!(deferred.excess(), Some(1), "of items the second has most");
        deferred.remove(at);
        deferred.remove(3);
        let at = deferred.insert(item(2, 6, 101, 60));
        assert_eq!(deferred.excess(), Some(0), "of bytes the first has most");
        deferred.remove(at);
        assert_eq!((deferred.excess(), deferred.bytes), (None, 900));
    }

    #[test]
    fn an_account_that_took_its_bytes_back_has_none() {
        let mut deferred = Deferred::new(10, 100);
        let first = deferred.insert(item(1, 1, 90, 10));
        deferred.insert(item(1, 2, 10, 20));
        deferred.insert(item(2, 3, 60, 30));
        deferred.remove(first);
        deferred.insert(item(3, 4, 50, 40));
        assert_eq!(deferred.excess(), Some(2), "the second has 60 of 120 bytes");
    }

    #[test]
    fn only_who_says_the_same_of_an_item_has_offered_it() {
        let mut deferred = Deferred::new(10, 1_000);
        let at = deferred.insert(item(1, 7, 90, 10));
        let (same, other) = (Summary::new(&[7]).unwrap(), Summary::new(&[8]).unwrap());
        assert!(!deferred.heard(at, Slot(1), 91, &same) && !deferred.heard(at, Slot(2), 90, &other));
        assert!(!deferred.heard(at, Slot(3), 91, &other) && !deferred.heard(at + 1, Slot(4), 90, &same));
        assert!(deferred.heard(at, Slot(5), 90, &same));
        let heard = |deferred: &Deferred| deferred.get(at).unwrap().heard.iter().collect::<Vec<_>>();
        assert_eq!(heard(&deferred), [Slot(5)]);
        deferred.lost.insert(Slot(5));
        deferred.forget(Slot(5));
        assert_eq!((heard(&deferred), deferred.lost_at(Slot(5))), (vec![], false));
    }

    #[test]
    fn all_are_told_in_the_order_in_which_they_come_again() {
        let mut deferred = Deferred::new(10, 1_000);
        let numbers = [30, 10, 20].map(|due| deferred.insert(item(1, due, 5, due.into())));
        let all: Vec<_> = deferred.iter().map(|(id, place)| (id[0], place)).collect();
        assert_eq!(
            all,
            [
                (10, Location::Deferred(numbers[1])),
                (20, Location::Deferred(numbers[2])),
                (30, Location::Deferred(numbers[0]))
            ]
        );
        assert_eq!(deferred.first(), Some((Instant::from_millis(10), numbers[1])));
    }
}
