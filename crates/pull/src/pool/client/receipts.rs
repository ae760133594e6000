//! Where links left off: the receipts of those that ended.

use std::collections::BTreeMap;

use weir_base::identity::PeerId;

use crate::pool::codec::Epoch;

/// Peers whose receipts are kept.
const MAX_RECEIPTS: usize = 1_024;

/// What outlives a link.
#[derive(Debug, Default)]
pub(crate) struct Receipts {
    by_peer: BTreeMap<PeerId, (u64, Epoch, u64)>, // when it was kept, the peer's epoch, through
    ages: BTreeMap<u64, PeerId>,
    kept: u64,
}

impl Receipts {
    /// A link with `peer` ended here; the oldest is forgotten beyond 1,024.
    pub(crate) fn keep(&mut self, peer: PeerId, epoch: Epoch, through: u64) {
        self.take(&peer);
        self.kept += 1;
        self.by_peer.insert(peer, (self.kept, epoch, through));
        self.ages.insert(self.kept, peer);
        if self.ages.len() > MAX_RECEIPTS
            && let Some((_, oldest)) = self.ages.pop_first()
        {
            self.by_peer.remove(&oldest);
        }
    }

    /// Where the last link with `peer` ended.
    pub(crate) fn take(&mut self, peer: &PeerId) -> Option<(Epoch, u64)> {
        let (age, epoch, through) = self.by_peer.remove(peer)?;
        self.ages.remove(&age);
        Some((epoch, through))
    }

    /// Nothing that was decided counts any more: all links begin at 0.
    pub(crate) fn forget(&mut self) {
        self.by_peer.clear();
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
        let mut kept = Receipts::default();
        peers.iter().for_each(|peer| kept.keep(*peer, Epoch([2; 8]), 3));
        assert_eq!((kept.take(&peers[0]), kept.take(&peers[1])), (None, None));
        assert_eq!(kept.take(&peers[2]), Some((Epoch([2; 8]), 3)));
        assert_eq!(kept.by_peer.len(), 1_023);
    }

    #[test]
    fn none_is_left_once_all_links_begin_anew() {
        let peer = Keypair::ed25519_from_seed([1; 32]).peer_id();
        let mut kept = Receipts::default();
        kept.keep(peer, Epoch([2; 8]), 3);
        kept.forget();
        assert_eq!((kept.take(&peer), kept.ages.len()), (None, 0));
    }
}
