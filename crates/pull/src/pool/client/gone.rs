//! Who called what gone: a fault where it is most of a peer's answers, of items that were then accepted from others.

use std::collections::VecDeque;

use crate::ShortId;

use super::candidates::Claim;
use crate::pool::inventory::LinkSet;
use crate::pool::links::Slot;

/// Candidates given up because all who offered them called them gone that are remembered, the oldest dropped first. The item may be
/// offered by an honest peer only then.
const MAX_GIVEN_UP: usize = 1_024;

/// Candidates that were given up, and who had called them gone.
#[derive(Debug, Default)]
pub(crate) struct GivenUp {
    claims: VecDeque<(u32, ShortId, LinkSet)>, // number of the key, short id; <= MAX_GIVEN_UP
}

impl GivenUp {
    pub(crate) fn insert(&mut self, claim: &Claim, gone: LinkSet) {
        if self.claims.len() == MAX_GIVEN_UP {
            self.claims.pop_front();
        }
        self.claims.push_back((claim.key, claim.short, gone));
    }

    /// All who had called an item gone under this claim.
    pub(crate) fn take(&mut self, claim: &Claim) -> LinkSet {
        let mut all = LinkSet::default();
        self.claims.retain(|(key, short, gone)| {
            let same = *key == claim.key && *short == claim.short;
            if same {
                gone.iter().for_each(|slot| all.insert(slot));
            }
            !same
        });
        all
    }

    /// The link is gone; its place may be taken by another.
    pub(crate) fn forget(&mut self, slot: Slot) {
        self.claims.iter_mut().for_each(|(.., gone)| gone.remove(slot));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::Summary;

    fn claim(number: u64) -> Claim {
        Claim { key: 1, short: ShortId(number), size: 1, summary: Summary::EMPTY }
    }

    fn who(slot: u16) -> LinkSet {
        let mut links = LinkSet::default();
        links.insert(Slot(slot));
        links
    }

    #[test]
    fn who_called_the_last_1024_gone_is_known_until_it_leaves() {
        let mut given_up = GivenUp::default();
        for number in 0..1_025 {
            given_up.insert(&claim(number), who(1));
        }
        assert!(given_up.take(&claim(0)).is_empty());
        given_up.insert(&claim(9), who(2));
        assert_eq!(given_up.take(&claim(9)).iter().collect::<Vec<_>>(), [Slot(1), Slot(2)]);
        assert!(given_up.take(&claim(9)).is_empty(), "taken");
        let other_key = Claim { key: 2, ..claim(2) };
        assert!(given_up.take(&other_key).is_empty());
        given_up.forget(Slot(1));
        assert!(given_up.take(&claim(2)).is_empty());
    }
}
