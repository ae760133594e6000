//! Accounts of links in the turns of calls (`docs/spec/fairness.md`): a link that ends leaves its account, and a peer that comes back
//! from where it was finds it, with what it owes.
//!
//! Bounds: an account without a link is kept for 10 s, and 1,024 of them at most: beyond it the first to leave is forgotten.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use weir_base::identity::PeerId;
use weir_base::stream::{Group, LinkInfo, Side};
use weir_base::{Instant, LinkId};

/// How long an account is kept once its link has ended: as long as the largest debt.
pub(super) const REMEMBERED: Duration = Duration::from_secs(10);
/// Accounts kept without a link.
pub(super) const MAX_DEPARTED: usize = 1_024;

/// The number of an account. Never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Account(u64);

/// Which link has which account, and the accounts of links that ended.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    links: BTreeMap<LinkId, (Account, Owner)>,
    departed: VecDeque<(Instant, Owner, Account)>, // the first to leave first
    opened: u64,
}

/// Who owns an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Owner {
    peer: PeerId,
    side: Side,
    group: Group,
}

/// What a link finds when it joins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Joined {
    /// A new account.
    New(Account),
    /// That of a link of the same peer that ended.
    Back,
}

impl Accounts {
    /// A link joins.
    pub(super) fn join(&mut self, link: LinkId, info: &LinkInfo) -> Joined {
        let owner = Owner { peer: info.peer, side: info.side, group: info.group };
        let left = self.departed.iter().position(|(_, other, _)| *other == owner);
        if let Some((_, _, account)) = left.and_then(|at| self.departed.remove(at)) {
            self.links.insert(link, (account, owner));
            return Joined::Back;
        }
        self.opened += 1;
        let account = Account(self.opened);
        self.links.insert(link, (account, owner));
        Joined::New(account)
    }

    /// A link has ended. Its account is kept for a while.
    pub(super) fn depart(&mut self, now: Instant, link: LinkId) {
        if let Some((account, owner)) = self.links.remove(&link) {
            self.departed.push_back((now, owner, account));
        }
    }

    /// An account that is kept no longer.
    pub(super) fn forget(&mut self, now: Instant) -> Option<Account> {
        let (since, _, _) = self.departed.front()?;
        if *since + REMEMBERED > now && self.departed.len() <= MAX_DEPARTED {
            return None;
        }
        self.departed.pop_front().map(|(_, _, account)| account)
    }

    /// The account of a link.
    pub(super) fn of(&self, link: LinkId) -> Option<Account> {
        self.links.get(&link).map(|(account, _)| *account)
    }
}
