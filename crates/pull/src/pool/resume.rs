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

#[cfg(test)]
mod tests {
    use weir_base::identity::Keypair;

    use super::*;

    #[test]
    fn the_receipts_of_the_last_1024_peers_are_kept() {
        let peers: Vec<PeerId> = (0..1_026_u32)
            .map(|number| {
                let mut seed = [0; 32];
                seed.iter_mut().zip(number.to_le_bytes()).for_each(|(to, from)| *to = from);
                Keypair::ed25519_from_seed(seed).peer_id()
            })
            .collect();
        let mut resume = Resume::new([1; 32]);
        peers.iter().for_each(|peer| resume.keep(*peer, Epoch([2; 8]), 3));
        assert_eq!((resume.take(&peers[0]), resume.take(&peers[1])), (None, None));
        assert_eq!(resume.take(&peers[2]), Some((Epoch([2; 8]), 3)));
        assert_eq!(resume.receipts.len(), 1_023);
    }
}
