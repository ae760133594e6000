//! Who pays: the accounts of links, which outlive them.

use weir_base::identity::PeerId;
use weir_base::stream::{Group, LinkInfo, Side};
use weir_base::{Instant, LinkId};

/// A link's place among those of this pool. A link that has ended keeps it for a while; then another link takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Slot(pub(crate) u16);

/// To whom something is charged: a peer, at one side, in one group of addresses. It outlives the peer's link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Account {
    inbound: bool,
    group: Group,
    peer: PeerId,
}

impl Account {
    pub(crate) const fn of(info: &LinkInfo) -> Self {
        match info.side {
            Side::Inbound => Self { inbound: true, group: info.group, peer: info.peer },
            Side::Dialled | Side::Pinned => Self { inbound: false, group: Group::Local(0), peer: info.peer },
        }
    }

    pub(crate) const fn side(&self) -> Side {
        if self.inbound { Side::Inbound } else { Side::Dialled }
    }

    pub(crate) const fn group(&self) -> Group {
        self.group
    }

    pub(crate) const fn peer(&self) -> PeerId {
        self.peer
    }

    pub(crate) fn has_group_of(&self, other: &Self) -> bool {
        self.inbound == other.inbound && self.group == other.group
    }
}

/// An account whose link has ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Departed {
    pub(crate) account: Account,
    pub(crate) since: Instant,
    /// Undecided candidates that it delivered and that are charged to it.
    pub(crate) charged: u64,
}

/// Who delivered a body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deliverer {
    /// Which link; it may be gone by now.
    pub(crate) link: LinkId,
    /// Who pays for what it costs.
    pub(crate) account: Account,
}

#[cfg(test)]
mod tests {
    use weir_base::identity::Keypair;

    use super::*;

    #[test]
    fn an_account_is_of_a_group_on_one_side() {
        let account = |seed: u8, side, group| {
            let peer = Keypair::ed25519_from_seed([seed; 32]).peer_id();
            Account::of(&LinkInfo { peer, side, dialler: false, group: Group::Local(group) })
        };
        let one = account(1, Side::Inbound, 7);
        assert!(one.has_group_of(&account(2, Side::Inbound, 7)));
        assert!(!one.has_group_of(&account(1, Side::Inbound, 8)));
        assert!(!account(1, Side::Inbound, 0).has_group_of(&account(1, Side::Dialled, 0)));
        assert!(
            account(1, Side::Dialled, 3).has_group_of(&account(2, Side::Pinned, 4)),
            "all that are its own"
        );
        assert_eq!((one.side(), account(1, Side::Pinned, 0).side()), (Side::Inbound, Side::Dialled));
    }
}
