//! Streams that are over at this side, while their peer may still write: it is told only if it does. A reset right behind this
//! side's end would take the last of an answer from peers that drop what they have not read.

use std::collections::{BTreeMap, VecDeque};

/// Streams that are over at this side and may be told so later.
const UNWANTED_MAX: usize = 1_024;

/// Streams that are over at this side, of which the peer has not ended its direction, each with what it is told then.
#[derive(Debug)]
pub(crate) struct Unwanted<Id, Word> {
    words: BTreeMap<Id, Word>, // <= UNWANTED_MAX
    order: VecDeque<Id>,       // the first to be over first; some may be gone
}

impl<Id, Word> Default for Unwanted<Id, Word> {
    fn default() -> Self {
        Self { words: BTreeMap::new(), order: VecDeque::new() }
    }
}

impl<Id: Copy + Ord, Word> Unwanted<Id, Word> {
    pub(crate) fn add(&mut self, id: Id, word: Word) {
        self.words.insert(id, word);
        self.order.push_back(id);
        while self.order.len() > UNWANTED_MAX {
            let oldest = self.order.pop_front();
            oldest.and_then(|oldest| self.words.remove(&oldest));
        }
    }

    /// The peer has ended, or sends more: what it is to be told. It is told once.
    pub(crate) fn take(&mut self, id: Id) -> Option<Word> {
        if self.words.is_empty() {
            return None;
        }
        self.words.remove(&id)
    }

    /// Whether the peer has not ended this stream.
    pub(crate) fn holds(&self, id: Id) -> bool {
        self.words.contains_key(&id)
    }
}
