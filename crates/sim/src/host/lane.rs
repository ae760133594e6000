//! The direction from one node to another, as the node that sends datagrams there keeps it.

use std::time::Duration;

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
    mapping: Option<Mapping>, // of a flow that this node began, where its device forgets silent ones
}

/// The first port that a device gives to a flow, where it forgets silent ones; each time it forgets the flow has the next one.
pub(super) const FLOWS: u16 = 1 << 15;

/// What a device that forgets silent flows keeps of one.
#[derive(Clone, Copy, Debug)]
struct Mapping {
    port: u16,
    sent: Option<Instant>, // when the node did so last; none once that was forgotten
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
            mapping: None,
        }
    }

    /// The port that a datagram leaves from at a device that forgets a flow after so long, and whether it is another than before.
    pub(super) fn leave(&mut self, forgotten: Duration, now: Instant) -> (u16, bool) {
        let before = self.mapping.map(|mapping| mapping.port);
        let kept = before.filter(|port| self.lets_in(forgotten, now, *port));
        let port = kept.or_else(|| before.map_or(Some(FLOWS), |port| port.checked_add(1))).unwrap_or(FLOWS);
        self.mapping = Some(Mapping { port, sent: Some(now) });
        (port, before.is_some_and(|before| before != port))
    }

    /// Whether such a device knows a flow from this port.
    pub(super) fn lets_in(&self, forgotten: Duration, now: Instant, port: u16) -> bool {
        let sent = self.mapping.filter(|mapping| mapping.port == port).and_then(|mapping| mapping.sent);
        sent.is_some_and(|sent| now.since(sent) <= forgotten)
    }

    /// The device forgets the flow.
    pub(super) fn forget(&mut self) {
        if let Some(mapping) = &mut self.mapping {
            mapping.sent = None;
        }
    }
}
