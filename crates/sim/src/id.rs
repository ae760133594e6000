//! Nodes by their numbers.

/// A node's number within its host: from 0, in the order of [`Host::add`](crate::Host::add).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u32);

impl NodeId {
    /// Its place in a list of all nodes.
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}
