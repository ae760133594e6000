//! One pool channel of one link, seen at its server: what the client granted on each stream, and what the server sent there.

use std::collections::{BTreeMap, VecDeque};

use weir_base::codec::{Malformed, Reader};

use super::cut::Part;
use super::{Credit, PoolTraffic, Sums, signed};

/// Types of lane 0: `Want` of the client; `Offer` and `First` of the server.
const WANT: u64 = 0;
const OFFER: u64 = 0;
const FIRST: u64 = 2;
/// Types of lane 1: `Get` of the client, `Gone` of the server.
const GET: u64 = 0;
const GONE: u64 = 2;

/// The fewest bytes an entry takes: head, short id, size.
const ENTRY: u64 = 10;

/// An item on its way whose size was never offered, or is not known any more: taken as it comes.
const UNKNOWN: u64 = u64::MAX;

/// Sizes for which memory is kept.
const FEW: usize = 64;

/// What its server offered on this link, on whatever streams.
#[derive(Debug, Default)]
pub(super) struct PoolWatch {
    sizes: Sizes, // offered and not decided
    covered: u64, // of the server's log
    dry: bool,    // its last entry was used before more were granted
}

/// Lane 0 on one stream: wants and offers. Another stream after it begins anew.
#[derive(Debug)]
pub(super) struct OfferLane {
    bytes: Credit,
    entries: Credit, // its sums but the excess are left out: bytes cover them
    last_move: u64,
}

/// Lane 1 on one stream: gets and items. What was asked for here is answered here or not at all.
#[derive(Debug, Default)]
pub(super) struct ItemLane {
    gets: BTreeMap<u64, u64>, // asked and not answered: the size offered
    coming: Option<Coming>,
    over: u64,
}

/// Sizes by index, ascending. Offers come in this order but where a cursor was moved back, and the lowest go first: a list is
/// a third of a map's size.
#[derive(Debug, Default)]
struct Sizes {
    indices: VecDeque<u64>,
    sizes: VecDeque<u32>, // as many
}

impl Sizes {
    fn insert(&mut self, index: u64, size: u32) {
        if self.indices.back().is_none_or(|last| *last < index) {
            self.indices.push_back(index);
            self.sizes.push_back(size);
            return;
        }
        match self.indices.binary_search(&index) {
            Ok(at) => self.sizes.get_mut(at).into_iter().for_each(|known| *known = size),
            Err(at) => {
                self.indices.insert(at, index);
                self.sizes.insert(at, size);
            }
        }
    }

    fn get(&self, index: u64) -> Option<u32> {
        let at = self.indices.binary_search(&index).ok()?;
        self.sizes.get(at).copied()
    }

    fn forget_below(&mut self, index: u64) {
        let count = self.indices.partition_point(|known| *known < index);
        self.indices.drain(..count);
        self.sizes.drain(..count);
        if self.indices.capacity() > 4 * self.indices.len().max(FEW) {
            self.indices.shrink_to(2 * self.indices.len());
            self.sizes.shrink_to(2 * self.sizes.len());
        }
    }
}

/// The item under way.
#[derive(Debug)]
struct Coming {
    size: u64,
    granted: u64,
    asked: u64, // of what is counted as asked
    come: u64,
}

/// A message of lane 0: type, fields, and its length in all.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offered<'a> {
    pub(super) kind: u64,
    pub(super) body: &'a [u8],
    pub(super) len: u64,
}

impl PoolWatch {
    /// How far in its log the server has offered, and whether the permit was ever used up.
    pub(super) const fn served(&self) -> (u64, bool) {
        (self.covered, self.dry)
    }
}

impl Default for OfferLane {
    fn default() -> Self {
        Self { bytes: Credit::new(0), entries: Credit::new(0), last_move: 0 }
    }
}

impl OfferLane {
    /// The client writes.
    pub(super) fn want(
        &mut self,
        pool: &mut PoolWatch,
        (kind, body): (u64, &[u8]),
        sums: &mut Sums,
    ) -> Result<(), Malformed> {
        if kind != WANT {
            return Ok(());
        }
        let mut reader = Reader::new(body);
        let mut number = || reader.varint(u64::MAX);
        let (entries, bytes, through) = (number()?, number()?, number()?);
        self.entries.granted = self.entries.granted.max(entries);
        self.bytes.grant(bytes, sums);
        pool.sizes.forget_below(through);
        number()?; // the floor
        if !reader.is_empty() {
            self.last_move = self.last_move.max(reader.varint(u64::MAX)?);
        }
        Ok(())
    }

    /// The highest number of a move that the client made.
    pub(super) const fn last_move(&self) -> u64 {
        self.last_move
    }

    /// The server writes.
    pub(super) fn offer(
        &mut self,
        pool: &mut PoolWatch,
        offered: Offered<'_>,
        sums: &mut Sums,
        traffic: &mut PoolTraffic,
        seen: &mut impl FnMut(u64),
    ) -> Result<(), Malformed> {
        let Offered { kind, body, len } = offered;
        if kind != OFFER && kind != FIRST {
            return Ok(());
        }
        let mut reader = Reader::new(body);
        if kind == FIRST {
            reader.varint(u64::MAX)?;
            reader.take(8)?;
        }
        reader.varint(u64::MAX)?;
        let (mut index, span) = (reader.varint(u64::MAX)?, reader.varint(u64::MAX)?);
        pool.covered = pool.covered.max(index.saturating_add(span));
        let mut count = 0;
        while !reader.is_empty() {
            let head = reader.varint(u64::MAX)?;
            reader.take(8)?;
            let size = reader.varint(u32::MAX.into())?;
            reader.take(usize::try_from(head % 16).unwrap_or(0))?;
            index += head / 16;
            seen(index);
            pool.sizes.insert(index, u32::try_from(size).unwrap_or(u32::MAX));
            (index, count) = (index + 1, count + 1);
        }
        traffic.entries += count;
        self.bytes.come(len, 1, sums);
        let mut alone = Sums::default();
        self.entries.come(count.max(1), ENTRY, &mut alone);
        sums.over += alone.over;
        pool.dry |= self.entries.come >= self.entries.granted;
        Ok(())
    }

    /// The server writes no more: what this held and granted is gone.
    pub(super) fn leave(&self, sums: &mut Sums) {
        self.bytes.leave(sums);
        sums.over -= signed(self.entries.over);
    }
}

impl ItemLane {
    /// The client writes. A cancelled get keeps its reservation until it is answered.
    pub(super) fn get(
        &mut self,
        pool: &PoolWatch,
        (kind, body): (u64, &[u8]),
        sums: &mut Sums,
    ) -> Result<(), Malformed> {
        if kind != GET {
            return Ok(());
        }
        for index in indices(body) {
            let index = index?;
            let size = pool.sizes.get(index).map_or(UNKNOWN, u64::from);
            if self.gets.insert(index, size).is_none() && size != UNKNOWN {
                sums.granted += signed(size);
                sums.asked += signed(size);
            }
        }
        Ok(())
    }

    /// The server writes.
    pub(super) fn item(
        &mut self,
        part: Part<'_>,
        sums: &mut Sums,
        traffic: &mut PoolTraffic,
    ) -> Result<(), Malformed> {
        match part {
            Part::Begins { index, size } => {
                let (granted, asked) = match self.gets.remove(&index) {
                    Some(UNKNOWN) => {
                        sums.granted += signed(size);
                        (size, 0)
                    }
                    Some(granted) => (granted, granted),
                    None => (0, 0),
                };
                self.coming = Some(Coming { size, granted, asked, come: 0 });
            }
            Part::Bytes(more) => {
                let Some(item) = &mut self.coming else { return Ok(()) };
                item.come += more;
                sums.held += signed(more);
                sums.over -= signed(self.over);
                self.over = item.come.saturating_sub(item.granted);
                sums.over += signed(self.over);
                sums.item_over = sums.item_over.max(self.over);
            }
            Part::Ends => {
                let Some(item) = self.coming.take() else { return Ok(()) };
                traffic.bodies += 1;
                traffic.body_bytes += item.size;
                sums.held -= signed(item.come);
                sums.granted -= signed(item.granted);
                sums.asked -= signed(item.asked);
                sums.over -= signed(std::mem::take(&mut self.over));
            }
            Part::Other { kind: GONE, body } => {
                for index in indices(body) {
                    if let Some(size) = self.gets.remove(&index?).filter(|size| *size != UNKNOWN) {
                        sums.granted -= signed(size);
                        sums.asked -= signed(size);
                    }
                }
            }
            Part::Other { .. } => {}
        }
        Ok(())
    }

    /// The server writes no more: what this held and granted is gone.
    pub(super) fn leave(&self, sums: &mut Sums) {
        sums.over -= signed(self.over);
        let asked: u64 = self.gets.values().filter(|size| **size != UNKNOWN).sum();
        sums.granted -= signed(asked);
        sums.asked -= signed(asked);
        if let Some(item) = &self.coming {
            sums.held -= signed(item.come);
            sums.granted -= signed(item.granted);
            sums.asked -= signed(item.asked);
        }
    }
}

/// Ascending indices: the first, then differences less one.
fn indices(body: &[u8]) -> impl Iterator<Item = Result<u64, Malformed>> + '_ {
    let mut reader = Reader::new(body);
    let mut next = 0_u64;
    std::iter::from_fn(move || {
        if reader.is_empty() {
            return None;
        }
        let index = reader.varint(u64::MAX).map(|gap| next.saturating_add(gap));
        if let Ok(index) = index {
            next = index.saturating_add(1);
        }
        Some(index)
    })
}

#[cfg(test)]
mod tests {
    use weir_base::Rng;

    use super::*;

    #[test]
    fn sizes_are_found_like_in_a_map_in_whatever_order_they_came() {
        let (mut sizes, mut model, mut rng) = (Sizes::default(), BTreeMap::new(), Rng::from_number(5));
        let mut next = 0;
        for step in 0..4_000 {
            let index = if rng.chance(1, 20) { rng.below(next + 1) } else { next };
            next = next.max(index + 1 + rng.below(3));
            sizes.insert(index, step);
            model.insert(index, step);
            if rng.chance(1, 50) {
                let below = rng.below(next + 1);
                sizes.forget_below(below);
                model = model.split_off(&below);
            }
            let asked = rng.below(next + 1);
            assert_eq!(sizes.get(asked), model.get(&asked).copied());
        }
        assert!(sizes.indices.iter().zip(&sizes.sizes).eq(model.iter()));
    }
}
