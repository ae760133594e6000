//! The bridges of one tampering node, a byte stream each.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_base::identity::Keypair;
use weir_base::{Instant, ProtocolId, Rng};
use weir_stack::PipeId;

use super::bridge::{Bridge, Ends, Protocols, Scope};
use crate::id::NodeId;

/// What a [`Tamper`](super::Tamper) needs that stands inside the encryption of byte streams: [`ComputerMut::tamper_inside`](super::ComputerMut::tamper_inside).
#[derive(Clone, Debug)]
pub struct Inside {
    /// Names of the protocols whose streams it is given, each with the number by which it knows it.
    pub protocols: BTreeMap<String, ProtocolId>,
    /// The keys of all nodes.
    pub key_of: fn(NodeId) -> Keypair,
}

/// See the module.
pub(super) struct Bridges {
    own: Keypair,
    key_of: fn(NodeId) -> Keypair,
    protocols: Protocols,
    rng: Rng,
    list: BTreeMap<PipeId, Bridge>,
}

impl Bridges {
    /// Those of node `me`.
    pub(super) fn new(inside: Inside, me: NodeId, rng: Rng) -> Self {
        let Inside { protocols, key_of } = inside;
        Self { own: key_of(me), key_of, protocols: Arc::new(protocols), rng, list: BTreeMap::new() }
    }

    /// A byte stream is connected.
    pub(super) fn begin(&mut self, pipe: PipeId, remote: NodeId, dialled: bool, now: Instant) {
        let remote = (self.key_of)(remote);
        let ends = Ends { own: &self.own, remote: &remote, dialled };
        let bridge = Bridge::new(pipe, Arc::clone(&self.protocols), &ends, &mut self.rng, now);
        self.list.extend(bridge.map(|bridge| (pipe, bridge)));
    }

    /// Whether a byte stream goes over one.
    pub(super) fn has(&self, pipe: PipeId) -> bool {
        self.list.contains_key(&pipe)
    }

    /// Lets one act. Whether there is one.
    pub(super) fn act<'a>(
        &mut self,
        pipe: PipeId,
        scope: &mut Scope<'a>,
        act: impl FnOnce(&mut Bridge, &mut Scope<'a>),
    ) -> bool {
        let Some(bridge) = self.list.get_mut(&pipe) else { return false };
        act(bridge, scope);
        if bridge.is_over() {
            self.list.remove(&pipe);
        }
        true
    }

    /// The stack has closed a byte stream.
    pub(super) fn forget(&mut self, pipe: PipeId) {
        self.list.remove(&pipe);
    }

    /// The node is gone.
    pub(super) fn clear(&mut self) {
        self.list.clear();
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.list.values().filter_map(Bridge::poll_timeout).min()
    }

    pub(super) fn handle_timeout(&mut self, scope: &mut Scope<'_>) {
        let now = scope.now;
        self.list.retain(|_, bridge| {
            if bridge.poll_timeout().is_some_and(|due| due <= now) {
                bridge.handle_timeout(scope);
            }
            !bridge.is_over()
        });
    }
}
