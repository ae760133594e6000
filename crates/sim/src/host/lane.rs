//! The direction from one node to another, as the node that sends datagrams there keeps it.

use weir_base::Instant;

use super::world::World;
use crate::id::NodeId;
use crate::model::{Draws, Losses};

/// What is special about the direction to one node.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) draws: Draws,
    pub(super) losses: Losses,
    pub(super) last: Instant, // arrival of the latest datagram in order
    pub(super) newest: u64,   // of the peer's datagrams that came, the one that it sent last
    pub(super) began: Began,
}

/// Who sent the first datagram between two nodes: what the device before a node keeps of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Began {
    Us,
    Them,
}

impl Lane {
    pub(super) fn new(world: &World, from: NodeId, to: NodeId, began: Began) -> Self {
        Self {
            draws: world.draws(from, to, 0),
            losses: Losses::default(),
            last: Instant::ZERO,
            newest: 0,
            began,
        }
    }
}
