//! Who this node is, and what it says of its addresses.

use std::sync::Arc;

use weir_base::multiaddr::Multiaddr;
use weir_base::{KIB, Keypair, PeerId, UnixTime};
use weir_libp2p::record::{ADDRESSES_MAX, PeerRecord};

use crate::types::Refused;

/// Bytes of a record of this node's: so it fits into one identify message beside the rest.
const RECORD_MAX: usize = 3 * KIB;

/// Who this node is: whom its peer records name, and which number the next one has.
#[derive(Debug)]
pub(super) struct Own {
    keypair: Arc<Keypair>,
    peer: PeerId,
    next: u64,
}

impl Own {
    /// Numbers of records grow from one run to the next because they begin at wall time, in milliseconds.
    pub(super) fn new(keypair: Arc<Keypair>, wall: UnixTime) -> Self {
        Self { peer: keypair.peer_id(), keypair, next: wall.as_millis() }
    }

    pub(super) const fn peer(&self) -> PeerId {
        self.peer
    }

    /// The next record, which says that this node is reached at `addresses`.
    pub(super) fn record(&mut self, addresses: &[Multiaddr]) -> Result<Vec<u8>, Refused> {
        let record = PeerRecord::seal(&self.keypair, self.next, addresses).ok();
        let record = record.filter(|record| addresses.len() <= ADDRESSES_MAX && record.len() <= RECORD_MAX);
        self.next += 1;
        record.ok_or(Refused::Addresses)
    }
}
