//! Which links are known to have which items: sets of links, and what they know of the end of this node's log.

use std::collections::VecDeque;

use crate::pool::links::Slot;

/// A set of links, a bit each. Bounded by the number of links.
#[derive(Clone, Debug, Default)]
pub(crate) struct LinkSet {
    low: u64,
    high: Vec<u64>, // empty where there are at most 64 links
}

impl LinkSet {
    pub(crate) fn insert(&mut self, slot: Slot) {
        let (word, bit) = place(slot);
        let Some(word) = word.checked_sub(1) else {
            self.low |= bit;
            return;
        };
        if self.high.len() <= word {
            self.high.resize(word + 1, 0);
        }
        if let Some(word) = self.high.get_mut(word) {
            *word |= bit;
        }
    }

    pub(crate) fn remove(&mut self, slot: Slot) {
        let (word, bit) = place(slot);
        match word.checked_sub(1) {
            None => self.low &= !bit,
            Some(word) => {
                if let Some(word) = self.high.get_mut(word) {
                    *word &= !bit;
                }
            }
        }
    }

    pub(crate) fn contains(&self, slot: Slot) -> bool {
        let (word, bit) = place(slot);
        let word = match word.checked_sub(1) {
            None => self.low,
            Some(word) => self.high.get(word).copied().unwrap_or(0),
        };
        word & bit != 0
    }

    /// All of them, in the order of their slots.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Slot> {
        let bits = |(word, bits): (u16, u64)| {
            (0..64).filter(move |bit| bits >> bit & 1 == 1).map(move |bit| Slot(word * 64 + bit))
        };
        (0..=u16::MAX / 64).zip(self.words()).flat_map(bits)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.words().all(|word| word == 0)
    }

    /// The bits in words of 64 links, the first links first.
    fn words(&self) -> impl Iterator<Item = u64> {
        std::iter::once(self.low).chain(self.high.iter().copied())
    }
}

const fn place(slot: Slot) -> (usize, u64) {
    (slot.0 as usize / 64, 1 << (slot.0 % 64))
}

/// Indices of the log's end that are remembered, as the specification has it.
const MAX_KNOWN: usize = 4_096;

/// Of the last indices of the log, which links know the item: some words of bits for each.
/// Holds at most 4,096 indices, and none that every link's cursor has passed once [`trim`](Self::trim) was called.
#[derive(Debug)]
pub(crate) struct Known {
    base: u64,
    words_each: usize, // >= 1
    words: VecDeque<u64>,
}

impl Known {
    pub(crate) const fn new() -> Self {
        Self { base: 0, words_each: 1, words: VecDeque::new() }
    }

    /// The item at `index`, the log's newest, is known to these links.
    pub(crate) fn append(&mut self, index: u64, links: &LinkSet) {
        let needed = 1 + links.high.len();
        if needed > self.words_each {
            self.widen(needed);
        }
        if self.end() != index {
            self.words.clear(); // all that is remembered was trimmed, or the log goes on elsewhere
            self.base = index;
        }
        self.push(links);
        if self.len() > MAX_KNOWN {
            self.drop_front(1);
        }
    }

    /// `slot` knows the item at `index`. Forgotten where that is too far back.
    pub(crate) fn insert(&mut self, index: u64, slot: Slot) {
        let (word, bit) = place(slot);
        if word >= self.words_each {
            self.widen(word + 1);
        }
        if let Some(word) = self.at(index, word).and_then(|at| self.words.get_mut(at)) {
            *word |= bit;
        }
    }

    pub(crate) fn contains(&self, index: u64, slot: Slot) -> bool {
        let (word, bit) = place(slot);
        let word = self.at(index, word).and_then(|at| self.words.get(at));
        word.is_some_and(|word| word & bit != 0)
    }

    /// The link is gone; its place may be taken by another.
    pub(crate) fn forget(&mut self, slot: Slot) {
        let (word, bit) = place(slot);
        self.words.iter_mut().skip(word).step_by(self.words_each).for_each(|word| *word &= !bit);
    }

    /// Forgets what is before `lowest`, the lowest cursor of all links.
    pub(crate) fn trim(&mut self, lowest: u64) {
        let passed = usize::try_from(lowest.saturating_sub(self.base)).unwrap_or(usize::MAX);
        self.drop_front(passed.min(self.len()));
        if self.words.capacity() > 4 * self.words.len().max(64) {
            self.words.shrink_to(self.words.len());
        }
    }

    /// Bytes of its memory.
    pub(crate) fn table_bytes(&self) -> usize {
        self.words.capacity() * size_of::<u64>()
    }

    /// How many indices are remembered.
    pub(crate) fn len(&self) -> usize {
        self.words.len() / self.words_each
    }

    fn end(&self) -> u64 {
        self.base + self.len() as u64
    }

    fn at(&self, index: u64, word: usize) -> Option<usize> {
        let offset = usize::try_from(index.checked_sub(self.base)?).ok()?;
        (word < self.words_each && offset < self.len()).then_some(offset * self.words_each + word)
    }

    fn push(&mut self, links: &LinkSet) {
        let each = self.words_each;
        self.words.extend(links.words().chain(std::iter::repeat(0)).take(each));
    }

    fn drop_front(&mut self, indices: usize) {
        self.words.drain(..indices * self.words_each);
        self.base += indices as u64;
    }

    fn widen(&mut self, each: usize) {
        let mut wider = VecDeque::with_capacity(self.len() * each);
        for (at, word) in self.words.iter().enumerate() {
            wider.push_back(*word);
            if at % self.words_each == self.words_each - 1 {
                wider.extend(std::iter::repeat_n(0, each - self.words_each));
            }
        }
        self.words = wider;
        self.words_each = each;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_goes_on_elsewhere_costs_nothing_for_what_it_left_out() {
        let (mut known, mut links) = (Known::new(), LinkSet::default());
        links.insert(Slot(3));
        known.append(0, &links);
        known.append(1 << 60, &links);
        assert_eq!(
            (known.len(), known.contains(0, Slot(3)), known.contains(1 << 60, Slot(3))),
            (1, false, true)
        );
        known.append((1 << 60) + 1, &LinkSet::default());
        assert_eq!((known.len(), known.contains(1 << 60, Slot(3))), (2, true));
    }

    #[test]
    fn a_link_is_known_to_have_what_was_said_and_nothing_else() {
        let mut known = Known::new();
        let mut links = LinkSet::default();
        links.insert(Slot(3));
        known.append(10, &links);
        links.insert(Slot(130));
        known.append(11, &links);
        known.append(12, &LinkSet::default());
        known.insert(12, Slot(70));
        known.insert(9, Slot(1));
        let all: Vec<(u64, u16)> = (8..14)
            .flat_map(|index| (0..200).map(move |slot| (index, slot)))
            .filter(|(index, slot)| known.contains(*index, Slot(*slot)))
            .collect();
        assert_eq!(all, [(10, 3), (11, 3), (11, 130), (12, 70)]);
        known.forget(Slot(130));
        known.trim(11);
        assert!(
            !known.contains(11, Slot(130)) && !known.contains(10, Slot(3)) && known.contains(11, Slot(3))
        );
        assert_eq!(known.len(), 2);
        assert!(links.contains(Slot(130)) && !links.contains(Slot(131)));
        assert_eq!(links.iter().collect::<Vec<_>>(), [Slot(3), Slot(130)]);
        links.remove(Slot(130));
        assert!(!links.contains(Slot(130)));
    }

    #[test]
    fn the_oldest_is_forgotten_beyond_4096() {
        let mut known = Known::new();
        let mut links = LinkSet::default();
        links.insert(Slot(0));
        for index in 0..5_000 {
            known.append(index, &links);
        }
        assert_eq!(known.len(), MAX_KNOWN);
        assert!(!known.contains(5_000 - 4_097, Slot(0)) && known.contains(5_000 - 4_096, Slot(0)));
    }

    fn set(slots: &[u16]) -> LinkSet {
        let mut links = LinkSet::default();
        slots.iter().for_each(|slot| links.insert(Slot(*slot)));
        links
    }

    #[test]
    fn a_set_is_empty_when_all_its_links_are_removed() {
        let mut links = set(&[0, 63, 64, 127, 128, 65_000]);
        assert!(!links.is_empty());
        assert_eq!(links.high.len(), 1_015, "as many words as the highest needs");
        assert_eq!(links.iter().map(|slot| slot.0).collect::<Vec<_>>(), [0, 63, 64, 127, 128, 65_000]);
        for slot in [0, 63, 64, 127, 128] {
            links.remove(Slot(slot));
            assert!(!links.contains(Slot(slot)) && !links.is_empty());
        }
        links.remove(Slot(9_999));
        links.remove(Slot(65_000));
        assert!(links.is_empty() && !links.contains(Slot(9_999)));
    }

    #[test]
    fn what_is_known_stays_when_later_links_need_more_words() {
        let mut known = Known::new();
        for index in 0..5 {
            known.append(index, &set(&[u16::try_from(index).unwrap()]));
        }
        assert_eq!(known.words_each, 1);
        known.insert(2, Slot(64));
        assert_eq!((known.words_each, known.len()), (2, 5));
        known.append(5, &set(&[5, 200]));
        assert_eq!((known.words_each, known.len()), (4, 6));
        let all: Vec<(u64, u16)> = (0..7)
            .flat_map(|index| (0..260).map(move |slot| (index, slot)))
            .filter(|(index, slot)| known.contains(*index, Slot(*slot)))
            .collect();
        assert_eq!(all, [(0, 0), (1, 1), (2, 2), (2, 64), (3, 3), (4, 4), (5, 5), (5, 200)]);
        known.insert(4, Slot(255));
        assert_eq!(known.words_each, 4, "255 is the last of four words");
        known.forget(Slot(64));
        assert!(!known.contains(2, Slot(64)) && known.contains(2, Slot(2)) && known.contains(4, Slot(255)));
    }

    #[test]
    fn what_all_cursors_have_passed_is_forgotten_and_its_memory_too() {
        let mut known = Known::new();
        (100..3_100).for_each(|index| known.append(index, &set(&[1])));
        known.trim(50);
        assert_eq!(known.len(), 3_000);
        known.trim(3_050);
        assert_eq!((known.len(), known.base), (50, 3_050));
        assert!(!known.contains(3_049, Slot(1)) && known.contains(3_050, Slot(1)));
        assert!(known.words.capacity() < 256, "{}", known.words.capacity());
        known.trim(9_999);
        assert_eq!(known.len(), 0);
        let mut small = Known::new();
        (0..100).for_each(|index| small.append(index, &set(&[1])));
        let before = small.words.capacity();
        small.trim(99);
        assert_eq!(small.words.capacity(), before, "little is not worth it");
    }
}
