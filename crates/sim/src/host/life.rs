//! Nodes are put in, and what they are born with.

use sha2::{Digest as _, Sha256};
use weir_base::Instant;
use weir_base::identity::PeerId;

use super::Host;
use super::computer::Computer;
use super::node::{Birth, Node, Udp};
use super::world::{Public, World, udp_of};
use crate::id::NodeId;
use crate::model::Place;

impl<N: Node> Host<N> {
    /// Puts a node in, and lets it have its first turn. `make` builds it and says who it is; where it fails nothing happened.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn add<E>(
        &mut self,
        place: Place,
        udp: Udp,
        make: impl FnOnce(Birth) -> Result<(N, PeerId), E>,
    ) -> Result<NodeId, E> {
        let id = NodeId(u32::try_from(self.computers.len()).unwrap_or(u32::MAX));
        let (node, peer) = make(self.world.birth(id, 0, self.now))?;
        self.world.places.push(place);
        self.world.peers.push(peer);
        self.world.public.push(Public::new(udp_of(id), id));
        let mut computer = Computer::new(&self.world, id, udp);
        computer.watch(self.checker.as_ref());
        computer.system.record.captured = self.capturing.then(Vec::new);
        self.computers.push(computer);
        self.windows.next.push(self.now);
        self.world.addresses.insert(udp_of(id), id);
        let wall = self.wall();
        if let Some(computer) = self.computers.get_mut(id.index()) {
            computer.begin(&self.world, (self.now, wall), node);
        }
        self.settle(id);
        Ok(id)
    }
}

impl World {
    /// What a node is born with at `now`, that was started so many times before.
    pub(super) fn birth(&self, id: NodeId, lives: u32, now: Instant) -> Birth {
        let (start, endpoint, udp) = (self.start, u64::from(id.0), udp_of(id));
        Birth { id, seed: self.seed_of(id, lives), start, endpoint, udp, now }
    }

    /// The seed of a node's life: the run's, its number, and how often it was started.
    fn seed_of(&self, id: NodeId, lives: u32) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.seed.to_le_bytes());
        hash.update(b"node");
        hash.update(id.0.to_le_bytes());
        hash.update(lives.to_le_bytes());
        hash.finalize().into()
    }
}
