//! Whose item the application is handed next: checking time is dealt among links, and those that have ended have one part together
//! (`docs/spec/fairness.md`).
//!
//! - a link joins, ends, comes back → [`add`](Turns::add), [`depart`](Turns::depart), [`come_back`](Turns::come_back);
//! - it has bodies that wait, or none → [`set_waiting`](Turns::set_waiting);
//! - one may be handed over → [`whose_turn`](Turns::whose_turn), then [`begin`](Turns::begin); its cost is known →
//!   [`charge`](Turns::charge).
//!
//! What links of one origin delivered before they ended is dealt as if it were one link's: beside the links of its group, or, where the group
//! has none, beside all such groups in one group. So who leaves is not served sooner than if it had stayed, and many that leave
//! at once take one group's part from those that are there. A group owes what was served so in its place: it has no second part when it
//! comes back. Within an origin the accounts take turns.
//!
//! Threat: items that take long, delivered by many links that end at once; a peer that leaves to be served sooner, or to owe nothing when it
//! comes back: what it was served meanwhile is charged to its account too.

use std::collections::{BTreeMap, VecDeque};

use weir_base::Dealer;
use weir_base::stream::{Group, Side};

use super::links::Slot;

/// Nanoseconds of one turn: none. With more, who delivers little would wait for as much of everybody who has not had so much since.
const QUANTUM: u64 = 0;
/// Nanoseconds that a deliverer keeps of what it leaves to others: less than a millisecond more than usual, while the system lets
/// something else run, does not put one that delivers little behind all others. If all others use theirs at once it waits for so long each.
const CREDIT: u64 = 1_000_000;
/// Nanoseconds that a link may be behind.
const DEBT: u64 = 10_000_000_000;
/// The group of all origins without links. No peer has an address there: 0.0.0.0/8 is never a source (RFC 1122, 3.2.1.3).
const WITHOUT_LINKS: Group = Group::V4([0, 0]);

/// The turns of all accounts.
#[derive(Debug)]
pub(crate) struct Turns {
    dealer: Dealer<Member>,
    accounts: BTreeMap<Slot, Account>,
    origins: BTreeMap<Member, Place>, // of these, by what has departed
}

/// Who has a part: a link (once it has ended, what it owes), or what links of an origin delivered that have ended. One number, as it is
/// compared several times for each item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Member(u64);

/// Where links are from: accounts of one origin have the same equals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Own,
    Inbound(Group),
}

/// Whether an account has a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// It has.
    Linked,
    /// Its link has ended.
    Departed,
}

#[derive(Clone, Copy, Debug)]
struct Account {
    origin: Origin,
    presence: Presence,
    quarters: u8, // of its share
    has_work: bool,
}

/// The accounts of an origin.
#[derive(Debug, Default)]
struct Place {
    links: usize,
    departed: usize,
    waiting: VecDeque<Slot>, // departed ones with work, the next first
    dealt: Option<Group>,    // where what the departed ones delivered is dealt, since there were any
}

impl Member {
    const fn link(Slot(slot): Slot) -> Self {
        Self(slot as u64)
    }

    /// What links of this origin delivered that have ended.
    const fn departed(origin: Origin) -> Self {
        match origin {
            Origin::Own => Self(1 << 40),
            Origin::Inbound(group) => Self(2 << 40 | group.number()),
        }
    }

    /// The link; `None` for what links delivered that have ended.
    fn as_link(self) -> Option<Slot> {
        u16::try_from(self.0).ok().map(Slot)
    }
}

impl Origin {
    const fn of(side: Side, group: Group) -> Self {
        match side {
            Side::Inbound => Self::Inbound(group),
            Side::Dialled | Side::Pinned => Self::Own,
        }
    }

    /// Where what was delivered by links that ended is dealt, while so many are left.
    const fn of_departed(self, links: usize) -> (Side, Group) {
        match self {
            Self::Own => (Side::Dialled, WITHOUT_LINKS), // one group
            Self::Inbound(group) if links > 0 => (Side::Inbound, group),
            Self::Inbound(_) => (Side::Inbound, WITHOUT_LINKS),
        }
    }
}

impl Turns {
    pub(crate) fn new() -> Self {
        let mut dealer = Dealer::new(QUANTUM, DEBT).with_credit(CREDIT);
        // what the group of those without links owes stays while it is empty
        dealer.add(Member::departed(Origin::Inbound(WITHOUT_LINKS)), Side::Inbound, WITHOUT_LINKS);
        Self { dealer, accounts: BTreeMap::new(), origins: BTreeMap::new() }
    }

    /// An account is opened.
    pub(crate) fn add(&mut self, slot: Slot, (side, group): (Side, Group), presence: Presence) {
        self.remove(slot);
        let account = Account { origin: Origin::of(side, group), presence, quarters: 4, has_work: false };
        self.dealer.add(Member::link(slot), side, group);
        self.put(slot, account);
    }

    /// An account is closed.
    pub(crate) fn remove(&mut self, slot: Slot) {
        if let Some(account) = self.take(slot) {
            self.dealer.remove(Member::link(slot));
            self.settle(account.origin);
        }
    }

    /// A link has ended.
    pub(crate) fn depart(&mut self, slot: Slot) {
        self.set_presence(slot, Presence::Departed);
    }

    /// An account has a link again.
    pub(crate) fn come_back(&mut self, slot: Slot) {
        self.set_presence(slot, Presence::Linked);
    }

    fn set_presence(&mut self, slot: Slot, presence: Presence) {
        if let Some(account) = self.take(slot) {
            self.put(slot, Account { presence, ..account });
        }
    }

    pub(crate) fn set_share(&mut self, slot: Slot, quarters: u8) {
        if let Some(account) = self.accounts.get_mut(&slot) {
            account.quarters = quarters;
            self.dealer.set_share(Member::link(slot), quarters);
        }
    }

    /// Whether bodies of an account wait.
    pub(crate) fn set_waiting(&mut self, slot: Slot, waiting: bool) {
        let Some(account) = self.accounts.get_mut(&slot).filter(|account| account.has_work != waiting) else {
            return;
        };
        account.has_work = waiting;
        let Account { origin, presence, .. } = *account;
        match presence {
            Presence::Linked => {
                self.dealer.set_waiting(Member::link(slot), waiting);
            }
            Presence::Departed => {
                let Some(place) = self.origins.get_mut(&Member::departed(origin)) else { return };
                place.waiting.retain(|other| *other != slot);
                place.waiting.extend(waiting.then_some(slot));
                self.settle(origin);
            }
        }
    }

    /// Whose body is next; `None` where none waits. The same one's until [`begin`](Self::begin) or a change.
    pub(crate) fn whose_turn(&mut self) -> Option<Slot> {
        let member = self.dealer.whose_turn()?;
        member.as_link().or_else(|| self.origins.get(&member)?.waiting.front().copied())
    }

    /// A body of an account is handed over: others have their turn. What it costs is known later.
    pub(crate) fn begin(&mut self, slot: Slot) {
        let Some(Account { origin, presence: Presence::Departed, .. }) = self.charge_account(slot, 1) else {
            return;
        };
        let place = self
            .origins
            .get_mut(&Member::departed(origin))
            .filter(|place| place.waiting.front() == Some(&slot));
        place.into_iter().for_each(|place| place.waiting.rotate_left(1));
    }

    /// For so many nanoseconds nothing was checked, though something waited.
    pub(crate) fn leave_over(&mut self, nanos: u64) {
        self.dealer.leave_over(nanos);
    }

    /// A body that an account delivered has cost so many nanoseconds.
    pub(crate) fn charge(&mut self, slot: Slot, cost: u64) {
        self.charge_account(slot, cost);
    }

    fn charge_account(&mut self, slot: Slot, cost: u64) -> Option<Account> {
        let account = *self.accounts.get(&slot)?;
        let Account { origin, presence, quarters, .. } = account;
        match presence {
            Presence::Linked => self.dealer.charge(Member::link(slot), cost),
            Presence::Departed => {
                let departed = Member::departed(origin);
                self.dealer.set_share(departed, quarters);
                self.dealer.charge(departed, cost);
                self.dealer.charge_alone(Member::link(slot), cost);
                if self.origins.get(&departed).is_some_and(|place| place.links == 0) {
                    self.dealer.charge_group(Member::link(slot), cost); // it comes back to one part, not to a second
                }
            }
        }
        Some(account)
    }

    /// Takes an account off its place.
    fn take(&mut self, slot: Slot) -> Option<Account> {
        let account = self.accounts.remove(&slot)?;
        let place = self.origins.get_mut(&Member::departed(account.origin))?;
        match account.presence {
            Presence::Linked => {
                place.links -= 1;
                self.dealer.set_waiting(Member::link(slot), false);
            }
            Presence::Departed => {
                place.departed -= 1;
                place.waiting.retain(|other| *other != slot);
            }
        }
        Some(account)
    }

    /// Gives an account its place.
    fn put(&mut self, slot: Slot, account: Account) {
        let place = self.origins.entry(Member::departed(account.origin)).or_default();
        match account.presence {
            Presence::Linked => {
                place.links += 1;
                self.dealer.set_waiting(Member::link(slot), account.has_work);
            }
            Presence::Departed => {
                place.departed += 1;
                place.waiting.extend(account.has_work.then_some(slot));
            }
        }
        self.accounts.insert(slot, account);
        self.settle(account.origin);
    }

    /// Deals what links of an origin delivered that ended where it belongs now.
    fn settle(&mut self, origin: Origin) {
        let departed = Member::departed(origin);
        let Some(place) = self.origins.get_mut(&departed) else { return };
        let (side, group) = origin.of_departed(place.links);
        let was_dealt = place.links > 0 && place.dealt.is_some(); // what it owes stays while none has departed
        let dealt = (place.departed > 0 || was_dealt).then_some(group);
        if dealt != std::mem::replace(&mut place.dealt, dealt) {
            match dealt {
                Some(group) => self.dealer.add(departed, side, group),
                None => self.dealer.remove(departed),
            }
        }
        self.dealer.set_waiting(departed, !place.waiting.is_empty());
        if place.links == 0 && place.departed == 0 {
            self.origins.remove(&departed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INBOUND: Side = Side::Inbound;
    const COST: u64 = 5_000_000;

    /// Accounts of links, numbered from 0, that all have work.
    fn linked(origins: &[(Side, Group)]) -> Turns {
        let mut turns = Turns::new();
        for (slot, origin) in (0..).map(Slot).zip(origins) {
            turns.add(slot, *origin, Presence::Linked);
            turns.set_waiting(slot, true);
        }
        turns
    }

    /// Serves so often, at the same cost: how often each was.
    fn serve(turns: &mut Turns, times: usize) -> BTreeMap<u16, usize> {
        let mut served = BTreeMap::new();
        for _ in 0..times {
            let slot = turns.whose_turn().unwrap();
            turns.begin(slot);
            turns.charge(slot, COST);
            *served.entry(slot.0).or_default() += 1;
        }
        served
    }

    fn leave(turns: &mut Turns, slots: std::ops::Range<u16>) {
        slots.for_each(|slot| turns.depart(Slot(slot)));
    }

    #[test]
    fn many_that_left_their_groups_have_one_groups_part() {
        let origins: Vec<_> = (0..26).map(|group| (INBOUND, Group::Local(group))).collect();
        let mut turns = linked(&origins);
        leave(&mut turns, 2..26);
        let served = serve(&mut turns, 300);
        assert!([0, 1].iter().all(|slot| served[slot].abs_diff(100) <= 2), "{served:?}");
        assert!((2..26).all(|slot| served[&slot].abs_diff(4) <= 1), "groups share it: {served:?}");
    }

    #[test]
    fn many_that_left_a_group_with_links_have_one_links_part_of_it() {
        let mut origins = vec![(INBOUND, Group::Local(2))];
        origins.extend([(INBOUND, Group::Local(1)); 26]);
        let mut turns = linked(&origins);
        leave(&mut turns, 3..27);
        let served = serve(&mut turns, 600);
        assert!(served[&0].abs_diff(300) <= 2, "the other group: {served:?}");
        assert!([1, 2].iter().all(|slot| served[slot].abs_diff(100) <= 2), "{served:?}");
        assert!((3..27).all(|slot| served[&slot].abs_diff(4) <= 1), "accounts take turns: {served:?}");
    }

    #[test]
    fn many_that_left_of_those_this_node_dialled_have_one_links_part() {
        let mut origins = vec![(INBOUND, Group::Local(1)), (Side::Pinned, Group::Local(0))];
        origins.extend([(Side::Dialled, Group::Local(0)); 24]);
        let mut turns = linked(&origins);
        leave(&mut turns, 2..26);
        let served = serve(&mut turns, 400);
        assert!(served[&0].abs_diff(200) <= 2 && served[&1].abs_diff(100) <= 2, "{served:?}");
    }

    #[test]
    fn who_leaves_is_not_served_sooner_than_if_it_had_stayed() {
        for stays in [true, false] {
            let mut origins = vec![(INBOUND, Group::Local(2))];
            origins.extend([(INBOUND, Group::Local(1)); 4]);
            let mut turns = linked(&origins);
            if !stays {
                turns.depart(Slot(4));
            }
            let served = serve(&mut turns, 800);
            assert!(served[&4].abs_diff(100) <= 2, "{stays}: {served:?}");
        }
    }

    #[test]
    fn what_left_is_dealt_with_its_group_as_soon_and_as_long_as_that_has_links() {
        let group = |group| (INBOUND, Group::Local(group));
        let mut turns = linked(&[group(1), group(2), group(2), group(3), group(4)]);
        leave(&mut turns, 2..5);
        let served = serve(&mut turns, 300);
        assert!(
            [0, 1, 2, 3, 4]
                .map(|slot| served[&slot])
                .iter()
                .zip([100, 50, 50, 50, 50])
                .all(|(served, part)| served.abs_diff(part) <= 2),
            "{served:?}"
        );
        turns.depart(Slot(1));
        let served = serve(&mut turns, 600);
        assert!(served[&0].abs_diff(300) <= 2, "{served:?}");
        assert!((served[&1] + served[&2]).abs_diff(100) <= 3, "{served:?}");
        turns.add(Slot(9), group(3), Presence::Linked);
        turns.set_waiting(Slot(9), true);
        let served = serve(&mut turns, 600);
        assert!(served[&0].abs_diff(200) <= 3 && served[&9].abs_diff(100) <= 3, "{served:?}");
        assert!(served[&3].abs_diff(100) <= 3 && served[&4].abs_diff(100) <= 3, "{served:?}");
    }

    #[test]
    fn who_comes_back_has_its_own_part_again_and_owes_what_it_was_served_meanwhile() {
        let mut turns = linked(&[(INBOUND, Group::Local(1)); 20]);
        leave(&mut turns, 1..20);
        turns.charge(Slot(1), 10 * COST);
        turns.come_back(Slot(1));
        let served = serve(&mut turns, 30);
        assert!(served.get(&1).is_none_or(|served| *served <= 7), "{served:?}"); // the third part of 20
        let served = serve(&mut turns, 300);
        assert!([0, 1].iter().all(|slot| served[slot].abs_diff(100) <= 2), "{served:?}");
    }

    #[test]
    fn who_leaves_and_comes_back_for_each_item_has_no_more_than_its_part() {
        for other in
            [(INBOUND, Group::Local(1)), (INBOUND, Group::Local(2)), (Side::Dialled, Group::Local(0))]
        {
            let stays = if other.0 == INBOUND { (INBOUND, Group::Local(1)) } else { other };
            let mut turns = linked(&[stays, other]);
            let mut served = 0;
            for _ in 0..100 {
                turns.depart(Slot(1));
                served += serve(&mut turns, 1).get(&1).copied().unwrap_or_default();
                turns.come_back(Slot(1));
            }
            assert!(served <= 52, "{served} of 100 from {other:?}");
        }
    }

    #[test]
    fn a_group_that_leaves_whole_and_comes_back_between_items_has_one_groups_part() {
        let group = |group| (INBOUND, Group::Local(group));
        let mut turns = linked(&[group(2), group(1), group(1), group(1)]);
        let mut served = [0, 0];
        for number in 0..200 {
            if number % 2 == 0 {
                leave(&mut turns, 1..4);
            } else {
                (1..4).for_each(|slot| turns.come_back(Slot(slot)));
            }
            for (slot, times) in serve(&mut turns, 1) {
                served[usize::from(slot.min(1))] += times;
            }
        }
        assert!(served[0].abs_diff(100_usize) <= 2, "{served:?}");
    }

    #[test]
    fn a_group_owes_what_was_served_without_links_also_to_newcomers_of_it() {
        let group = |group| (INBOUND, Group::Local(group));
        let mut turns = linked(&[group(2), group(1)]);
        turns.depart(Slot(1));
        turns.charge(Slot(1), 10 * COST);
        turns.set_waiting(Slot(1), false);
        turns.add(Slot(2), group(1), Presence::Linked);
        turns.set_waiting(Slot(2), true);
        assert_eq!(serve(&mut turns, 9), [(0, 9)].into(), "another group of the same side owes nothing");
        let served = serve(&mut turns, 100);
        assert!(served[&0].abs_diff(50) <= 2, "{served:?}");
    }

    #[test]
    fn a_share_that_faults_lowered_stays_so() {
        let mut turns = linked(&[(INBOUND, Group::Local(1)); 2]);
        turns.set_share(Slot(1), 1);
        turns.depart(Slot(1));
        let served = serve(&mut turns, 500);
        assert!(served[&1].abs_diff(100) <= 2, "{served:?}");
        turns.add(Slot(2), (INBOUND, Group::Local(1)), Presence::Departed);
        turns.set_waiting(Slot(2), true);
        turns.set_waiting(Slot(1), false);
        let served = serve(&mut turns, 500);
        assert!(served[&2].abs_diff(250) <= 20, "it is that account's alone: {served:?}");
    }

    #[test]
    fn who_has_nothing_that_waits_has_no_turn() {
        let mut turns = linked(&[(INBOUND, Group::Local(1)), (INBOUND, Group::Local(2))]);
        leave(&mut turns, 0..2);
        turns.set_waiting(Slot(0), false);
        assert_eq!(serve(&mut turns, 4), [(1, 4)].into());
        turns.set_waiting(Slot(1), false);
        assert_eq!(turns.whose_turn(), None);
        turns.set_waiting(Slot(0), true);
        turns.come_back(Slot(0));
        assert_eq!(serve(&mut turns, 4), [(0, 4)].into());
    }

    #[test]
    fn an_account_that_is_closed_leaves_nothing() {
        let mut turns = linked(&[
            (INBOUND, Group::Local(1)),
            (INBOUND, Group::Local(1)),
            (Side::Dialled, Group::Local(0)),
        ]);
        leave(&mut turns, 0..3);
        (0..3).for_each(|slot| turns.remove(Slot(slot)));
        assert_eq!(
            (turns.whose_turn(), turns.dealer.members()),
            (None, 1),
            "the group of those without links"
        );
        assert!(turns.accounts.is_empty() && turns.origins.is_empty());
    }
}
