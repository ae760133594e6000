//! The append-only log of a pool: an index per live item, holes where items were. Only live items are stored.
//!
//! Items lie in segments of 64 indices, in order and without gaps, beside a word that says which indices live. So a hole
//! costs nothing, a lookup one step down a small tree, and walking on from a cursor touches neighbours.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use crate::pool::types::Item;

/// Indices per segment: the bits of a word.
const SEGMENT: u64 = 64;

#[derive(Debug, Default)]
struct Segment {
    live: u64,
    items: Vec<Item>, // as many as bits in `live`, in their order
}

impl Segment {
    /// Where the item of `bit` lies, or would lie.
    const fn rank(&self, bit: u64) -> usize {
        (self.live & ((1 << bit) - 1)).count_ones() as usize
    }
}

/// The log. Indices begin at 0 and are never used twice.
#[derive(Debug, Default)]
pub(crate) struct Log {
    segments: BTreeMap<u64, Segment>,
    head: u64,
    count: u64,
    bytes: u64,
    // Lowest priority first, of equals the newest. Built when first asked for; stale ones are skipped.
    lowest: Option<BinaryHeap<(Reverse<u64>, u64)>>,
}

impl Log {
    /// The index after the newest item's.
    pub(crate) const fn head(&self) -> u64 {
        self.head
    }

    /// Live items.
    pub(crate) const fn len(&self) -> u64 {
        self.count
    }

    /// Bytes of their bodies.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Appends an item and returns its index.
    pub(crate) fn append(&mut self, item: Item) -> u64 {
        let index = self.head;
        self.head += 1;
        self.count += 1;
        self.bytes += item.0.bytes.len() as u64;
        if let Some(lowest) = &mut self.lowest {
            lowest.push((Reverse(item.0.priority), index));
        }
        let segment = self.segments.entry(index / SEGMENT).or_default();
        segment.live |= 1 << (index % SEGMENT);
        if segment.items.len() == segment.items.capacity() {
            segment.items.reserve_exact(8);
        }
        segment.items.push(item);
        index
    }

    /// The item at `index`, if it lives.
    pub(crate) fn get(&self, index: u64) -> Option<&Item> {
        let segment = self.segments.get(&(index / SEGMENT))?;
        let bit = index % SEGMENT;
        (segment.live >> bit & 1 == 1).then(|| segment.items.get(segment.rank(bit)))?
    }

    /// Takes the item at `index` out.
    pub(crate) fn remove(&mut self, index: u64) -> Option<Item> {
        let number = index / SEGMENT;
        let segment = self.segments.get_mut(&number)?;
        let bit = index % SEGMENT;
        if segment.live >> bit & 1 == 0 {
            return None;
        }
        let rank = segment.rank(bit);
        segment.live &= !(1 << bit);
        let item = segment.items.remove(rank); // rank < items.len(), as the bit was set
        if segment.live == 0 {
            self.segments.remove(&number);
        } else if segment.items.capacity() >= 2 * segment.items.len() + 8 {
            segment.items.shrink_to(segment.items.len());
        }
        self.count -= 1;
        self.bytes -= item.0.bytes.len() as u64;
        self.tidy();
        Some(item)
    }

    /// The first live item at `index` or after it.
    pub(crate) fn next_from(&self, index: u64) -> Option<(u64, &Item)> {
        let number = index / SEGMENT;
        for (&found, segment) in self.segments.range(number..) {
            let live =
                if found == number { segment.live & (u64::MAX << (index % SEGMENT)) } else { segment.live };
            if live != 0 {
                let bit = u64::from(live.trailing_zeros());
                return Some((found * SEGMENT + bit, segment.items.get(segment.rank(bit))?));
            }
        }
        None
    }

    /// Priority and index of the item to go first: the lowest priority, of equals the newest.
    pub(crate) fn lowest(&mut self) -> Option<(u64, u64)> {
        if self.lowest.is_none() {
            let mut heap = BinaryHeap::new();
            let mut next = 0;
            while let Some((index, item)) = self.next_from(next) {
                heap.push((Reverse(item.0.priority), index));
                next = index + 1;
            }
            self.lowest = Some(heap);
        }
        loop {
            let (Reverse(priority), index) = *self.lowest.as_ref()?.peek()?;
            if self.get(index).is_some() {
                return Some((priority, index));
            }
            self.lowest.as_mut()?.pop();
        }
    }

    /// Lets go of an order of eviction that is mostly stale; it is built again when it is needed.
    fn tidy(&mut self) {
        if self.lowest.as_ref().is_some_and(|heap| heap.len() as u64 > 2 * self.count + 64) {
            self.lowest = None;
        }
    }
}

#[cfg(test)]
impl Log {
    /// As if so many items had been appended and removed.
    pub(crate) const fn skip_to(&mut self, head: u64) {
        self.head = head;
    }
}

#[cfg(test)]
mod tests {
    use weir_base::Rng;

    use bytes::Bytes;

    use super::*;
    use crate::pool::types::{Contents, Summary};

    fn item(number: u64, priority: u64) -> Item {
        let bytes = Bytes::from(number.to_le_bytes().to_vec());
        Item::with_id([0; 32], bytes, Summary::EMPTY, priority)
    }

    #[test]
    fn it_behaves_like_an_ordered_map_with_holes() {
        let (mut log, mut model) = (Log::default(), BTreeMap::new());
        let mut rng = Rng::from_number(3);
        for step in 0..5_000 {
            if rng.chance(3, 5) {
                let priority = rng.below(50);
                let index = log.append(item(step, priority));
                model.insert(index, (step, priority));
            } else {
                let index = rng.below(log.head() + 2);
                assert_eq!(log.remove(index).is_some(), model.remove(&index).is_some());
            }
            let at = rng.below(log.head() + 2);
            let next = log.next_from(at).map(|(index, item)| (index, item.0.bytes.to_vec()));
            let expected =
                model.range(at..).next().map(|(index, (step, _))| (*index, step.to_le_bytes().to_vec()));
            assert_eq!(next, expected);
            assert_eq!(log.get(at).is_some(), model.contains_key(&at));
            if step % 7 == 0 {
                let lowest = model.iter().map(|(index, (_, priority))| (*priority, Reverse(*index))).min();
                assert_eq!(log.lowest(), lowest.map(|(priority, Reverse(index))| (priority, index)));
            }
            assert_eq!((log.len(), log.bytes()), (model.len() as u64, model.len() as u64 * 8));
        }
    }

    #[test]
    fn an_item_takes_8_bytes_and_what_its_clones_share_88() {
        assert_eq!((size_of::<Item>(), size_of::<Contents>()), (8, 88));
    }

    #[test]
    fn a_segment_keeps_little_more_memory_than_its_items_need() {
        let mut log = Log::default();
        let capacity = |log: &Log| log.segments[&0].items.capacity();
        log.append(item(0, 1));
        assert_eq!(capacity(&log), 8);
        (1..64).for_each(|number| _ = log.append(item(number, 1)));
        let sizes: Vec<usize> = (0..54)
            .map(|index| {
                log.remove(index);
                capacity(&log)
            })
            .collect();
        assert_eq!((sizes[34], sizes[35]), (64, 28), "29 and 28 items are left");
        assert_eq!((sizes[52], sizes[53]), (28, 10), "11 and 10");
    }

    #[test]
    fn the_order_of_eviction_goes_when_most_of_it_is_stale() {
        let mut log = Log::default();
        (0..100).for_each(|number| _ = log.append(item(number, 1)));
        assert_eq!(log.lowest(), Some((1, 99)));
        (0..82).for_each(|index| _ = log.remove(index));
        assert!(log.lowest.is_some(), "100 for 18 items and 64");
        log.remove(82);
        assert!(log.lowest.is_none());
        assert_eq!(log.lowest(), Some((1, 99)));
    }
}
