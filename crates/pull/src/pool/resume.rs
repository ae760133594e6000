//! Where links left off: this node's secret epoch, and the receipts of links that ended.

use std::collections::BTreeMap;

use weir_base::identity::PeerId;

use super::codec::Epoch;
use super::outlet::epoch_for;

/// Peers whose receipts are kept.
const MAX_RECEIPTS: usize = 1_024;

/// What outlives a link.
#[derive(Debug)]
pub(super) struct Resume {
    secret: [u8; 32],
    receipts: BTreeMap<PeerId, (u64, Epoch, u64)>, // when it was kept, the peer's epoch, through
    ages: BTreeMap<u64, PeerId>,
    kept: u64,
}

impl Resume {
    /// `secret` must be drawn anew whenever the log begins at 0.
    pub(super) const fn new(secret: [u8; 32]) -> Self {
        Self { secret, receipts: BTreeMap::new(), ages: BTreeMap::new(), kept: 0 }
    }

    /// What this node shows of its log's life to a peer.
    pub(super) fn epoch(&self, peer: &PeerId) -> Epoch {
        epoch_for(&self.secret, peer)
    }

    /// A link with `peer` ended here; the oldest is forgotten beyond 1,024.
    pub(super) fn keep(&mut self, peer: PeerId, epoch: Epoch, through: u64) {
        self.take(&peer);
        self.kept += 1;
        self.receipts.insert(peer, (self.kept, epoch, through));
        self.ages.insert(self.kept, peer);
        if self.ages.len() > MAX_RECEIPTS
            && let Some((_, oldest)) = self.ages.pop_first()
        {
            self.receipts.remove(&oldest);
        }
    }

    /// Where the last link with `peer` ended.
    pub(super) fn take(&mut self, peer: &PeerId) -> Option<(Epoch, u64)> {
        let (age, epoch, through) = self.receipts.remove(peer)?;
        self.ages.remove(&age);
        Some((epoch, through))
    }

    /// Nothing that was decided counts any more: all links begin at 0.
    pub(super) fn forget(&mut self) {
        self.receipts.clear();
        self.ages.clear();
    }
}
