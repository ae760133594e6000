//! Links that are up, as nodes tell of them.

use std::collections::BTreeMap;

use crate::id::NodeId;

/// Counts links at both ends.
#[derive(Debug, Default)]
pub(crate) struct Links {
    up: BTreeMap<(NodeId, NodeId), u32>, // how many a node has with another
    missing: bool,
}

impl Links {
    /// A node has one more with another.
    pub(crate) fn came_up(&mut self, one: NodeId, other: NodeId) {
        *self.up.entry((one, other)).or_default() += 1;
    }

    /// A node has one less.
    pub(crate) fn ended(&mut self, one: NodeId, other: NodeId) {
        if let Some(links) = self.up.get_mut(&(one, other)) {
            *links -= 1;
            if *links == 0 {
                self.up.remove(&(one, other));
            }
        }
    }

    /// Ends of links, of several between the same nodes one.
    pub(crate) fn up(&self) -> u64 {
        self.up.len() as u64
    }

    /// As many were waited for; whether they are there.
    pub(crate) fn were_waited_for(&mut self, wanted: u64) -> bool {
        let there = self.up() >= wanted;
        self.missing |= !there;
        there
    }

    /// Whether any that were waited for were not there.
    pub(crate) const fn are_missing(&self) -> bool {
        self.missing
    }
}
