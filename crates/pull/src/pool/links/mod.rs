//! The links of a pool, and the accounts of those that ended.

mod account;
mod lane;
mod link;
mod peer;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use litemap::LiteMap;
use weir_base::stream::{Ask, Class};
use weir_base::{Instant, LinkId, StreamKey};

pub(crate) use account::{Account, Deliverer, Departed, Slot};
pub(crate) use lane::{ITEMS, Lane, OFFERS, Opening, Role};
pub(crate) use link::Link;
pub(crate) use peer::Ready;

use crate::channel::ChannelId;

/// Who holds a slot.
#[derive(Debug)]
enum Holder {
    Nobody,
    Link(Box<Link>),
    Departed(Departed),
}

/// The slot of a new link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Joined {
    /// One that nobody held.
    New(Slot),
    /// The one that its account held.
    Back(Slot),
}

/// All links of this pool, and the accounts of those that ended.
#[derive(Debug, Default)]
pub(crate) struct Links {
    slots: Vec<Holder>,
    by_id: LiteMap<LinkId, Slot>,
    accounts: BTreeMap<Account, Slot>, // where two links have one account, one of them
    departed: BTreeSet<(Instant, Slot)>,
}

impl Links {
    /// Adds a link. `None` where all 65,535 slots are held.
    pub(crate) fn insert(&mut self, mut link: Link) -> Option<Joined> {
        let (id, account) = (link.id, Account::of(&link.info));
        let held = self.accounts.get(&account).copied();
        let back = held.and_then(|slot| Some((slot, *self.departed(slot)?)));
        let joined = match back {
            Some((slot, departed)) => {
                self.departed.remove(&(departed.since, slot));
                (0..departed.charged).for_each(|_| link.intake.grant.charge());
                Joined::Back(slot)
            }
            None => Joined::New(self.free()?),
        };
        let (Joined::New(slot) | Joined::Back(slot)) = joined;
        self.by_id.insert(id, slot);
        self.accounts.entry(account).or_insert(slot);
        *self.slots.get_mut(usize::from(slot.0))? = Holder::Link(Box::new(link));
        Some(joined)
    }

    fn free(&mut self) -> Option<Slot> {
        let nobody = |holder: &Holder| matches!(holder, Holder::Nobody);
        let free = self.slots.iter().position(nobody).unwrap_or(self.slots.len());
        let slot = Slot(u16::try_from(free).ok()?);
        if free == self.slots.len() {
            self.slots.push(Holder::Nobody);
        }
        Some(slot)
    }

    pub(crate) fn slot(&self, id: LinkId) -> Option<Slot> {
        self.by_id.get(&id).copied()
    }

    pub(crate) fn get(&self, slot: Slot) -> Option<&Link> {
        match self.slots.get(usize::from(slot.0))? {
            Holder::Link(link) => Some(link),
            Holder::Nobody | Holder::Departed(_) => None,
        }
    }

    pub(crate) fn get_mut(&mut self, slot: Slot) -> Option<&mut Link> {
        match self.slots.get_mut(usize::from(slot.0))? {
            Holder::Link(link) => Some(link),
            Holder::Nobody | Holder::Departed(_) => None,
        }
    }

    /// A link has ended. Its account keeps the slot.
    pub(crate) fn depart(&mut self, now: Instant, slot: Slot) {
        let Some(link) = self.get(slot) else { return };
        let (id, account) = (link.id, Account::of(&link.info));
        let departed = Departed { account, since: now, charged: link.intake.grant.charged() };
        self.by_id.remove(&id);
        self.hold(slot, departed);
    }

    fn hold(&mut self, slot: Slot, departed: Departed) {
        self.accounts.entry(departed.account).or_insert(slot);
        self.departed.insert((departed.since, slot));
        if let Some(holder) = self.slots.get_mut(usize::from(slot.0)) {
            *holder = Holder::Departed(departed);
        }
    }

    pub(crate) fn departed(&self, slot: Slot) -> Option<&Departed> {
        match self.slots.get(usize::from(slot.0))? {
            Holder::Departed(departed) => Some(departed),
            Holder::Nobody | Holder::Link(_) => None,
        }
    }

    pub(crate) fn departed_mut(&mut self, slot: Slot) -> Option<&mut Departed> {
        match self.slots.get_mut(usize::from(slot.0))? {
            Holder::Departed(departed) => Some(departed),
            Holder::Nobody | Holder::Link(_) => None,
        }
    }

    /// The accounts whose links ended, the first to end first.
    pub(crate) fn all_departed(&self) -> impl Iterator<Item = (Instant, Slot)> {
        self.departed.iter().copied()
    }

    /// Another account whose link ended, of the same group where there is one.
    pub(crate) fn heir(&self, slot: Slot) -> Option<Slot> {
        let account = self.departed(slot)?.account;
        let may = |(_, other): &(&Account, &Slot)| **other != slot && self.departed(**other).is_some();
        let after = self.accounts.range(account..).find(may);
        let before = self.accounts.range(..account).rev().find(may);
        let both = [after, before].into_iter().flatten();
        both.min_by_key(|(other, _)| !other.has_group_of(&account)).map(|(_, slot)| *slot)
    }

    /// A candidate is charged to an account whose link has ended.
    pub(crate) fn charge_departed(&mut self, slot: Slot) {
        if let Some(departed) = self.departed_mut(slot) {
            departed.charged += 1;
        }
    }

    /// Candidates charged to accounts of this group whose links have ended.
    pub(crate) fn departed_charges(&self, account: &Account) -> u64 {
        if self.departed.is_empty() {
            return 0;
        }
        let of_group = |(other, _): &(&Account, &Slot)| other.has_group_of(account);
        let after = self.accounts.range(account..).take_while(of_group);
        let before = self.accounts.range(..account).rev().take_while(of_group);
        after.chain(before).filter_map(|(_, slot)| Some(self.departed(*slot)?.charged)).sum()
    }

    /// The slot that an account holds.
    pub(crate) fn find(&self, account: &Account) -> Option<Slot> {
        self.accounts.get(account).copied()
    }

    /// Gives an account that holds none a slot, as if its link had ended now.
    pub(crate) fn open(&mut self, now: Instant, account: Account) -> Option<Slot> {
        let slot = self.free()?;
        self.hold(slot, Departed { account, since: now, charged: 0 });
        Some(slot)
    }

    /// An account whose link ended is kept for another while.
    pub(crate) fn prolong(&mut self, now: Instant, slot: Slot) {
        if let Some(departed) = self.departed_mut(slot) {
            let since = std::mem::replace(&mut departed.since, now);
            self.departed.remove(&(since, slot));
            self.departed.insert((now, slot));
        }
    }

    /// An account whose link ended gives up its slot.
    pub(crate) fn release(&mut self, slot: Slot) {
        let Some(Departed { account, since, .. }) = self.departed(slot).copied() else { return };
        self.departed.remove(&(since, slot));
        if self.accounts.get(&account) == Some(&slot) {
            self.accounts.remove(&account);
        }
        if let Some(holder) = self.slots.get_mut(usize::from(slot.0)) {
            *holder = Holder::Nobody;
        }
        while matches!(self.slots.last(), Some(Holder::Nobody)) {
            self.slots.pop();
        }
    }

    /// Opens one of this node's own streams, of this channel.
    pub(crate) fn open_lane(&mut self, asks: &mut VecDeque<Ask>, channel: ChannelId, slot: Slot, role: Role) {
        let Some(link) = self.get_mut(slot) else { return };
        let id = link.id;
        let lane = link.lane_mut(role);
        if lane.opening != Opening::No {
            return;
        }
        lane.opening = Opening::Yes;
        let protocol = channel.protocol(role.lane());
        let tag = id.0 * 2 + u64::from(role.lane());
        asks.push_back(Ask::Open { link: id, protocol, class: Class::Control, tag });
    }

    /// How well a link delivers; 0 where it is gone.
    pub(crate) fn score(&self, slot: Slot) -> u32 {
        self.get(slot).map_or(0, |link| link.gets.record.score())
    }

    /// Whose stream it is, and what for.
    pub(crate) fn locate(&self, key: StreamKey) -> Option<(Slot, Role)> {
        let slot = self.slot(key.link)?;
        Some((slot, self.get(slot)?.role(key.stream)?))
    }

    /// The lowest cursor of all links that take offers.
    pub(crate) fn lowest_cursor(&self) -> u64 {
        self.iter().map(|(_, link)| link.outlet.cursor()).min().unwrap_or(u64::MAX)
    }

    /// All links, in the order of their ids.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Slot, &Link)> {
        self.by_id.values().filter_map(|slot| Some((*slot, self.get(*slot)?)))
    }

    /// The slots of all links, in the order of their ids.
    pub(crate) fn slots(&self) -> Vec<Slot> {
        self.by_id.values().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use weir_base::identity::Keypair;
    use weir_base::stream::{Group, LinkInfo, Side};

    use super::*;
    use crate::pool::client::Intake;
    use crate::pool::codec::Epoch;
    use crate::pool::inventory::Heads;
    use crate::pool::server::Outlet;

    const NOW: Instant = Instant::from_millis(1_000);

    fn account(seed: u8, group: u32) -> Account {
        let peer = Keypair::ed25519_from_seed([seed; 32]).peer_id();
        Account::of(&LinkInfo { peer, side: Side::Inbound, dialler: false, group: Group::Local(group) })
    }

    /// A link of this peer and group.
    fn link(id: u64, seed: u8, group: u32) -> Link {
        let peer = Keypair::ed25519_from_seed([seed; 32]).peer_id();
        let info = LinkInfo { peer, side: Side::Inbound, dialler: false, group: Group::Local(group) };
        let outlet = Outlet::new(Heads::phase(0), Epoch([1; 8]));
        Link::new(LinkId(id), info, Intake::new(16, None), outlet)
    }

    /// Accounts of these groups whose links have ended, and their slots.
    fn departed(groups: &[u32]) -> (Links, Vec<Slot>) {
        let mut links = Links::default();
        let slots =
            groups.iter().zip(1..).map(|(group, seed)| links.open(NOW, account(seed, *group)).unwrap());
        let slots = slots.collect();
        (links, slots)
    }

    #[test]
    fn the_heir_of_an_account_is_of_its_group_where_one_is() {
        let (links, slots) = departed(&[1, 2, 3, 1]);
        assert_eq!(links.heir(slots[0]), Some(slots[3]));
        assert_eq!(links.heir(slots[3]), Some(slots[0]));
        let other = links.heir(slots[1]);
        assert!(other.is_some() && other != Some(slots[1]), "or another");
        assert_eq!(departed(&[7]).0.heir(Slot(0)), None);
    }

    #[test]
    fn a_group_is_charged_for_those_of_it_that_left() {
        let (mut links, slots) = departed(&[1, 2, 1]);
        for (slot, times) in [(slots[0], 3), (slots[1], 5), (slots[2], 4)] {
            (0..times).for_each(|_| links.charge_departed(slot));
        }
        let charges = [1, 2, 3].map(|group| links.departed_charges(&account(9, group)));
        assert_eq!(charges, [7, 5, 0]);
    }

    #[test]
    fn an_account_is_found_until_it_is_released() {
        let (mut links, slots) = departed(&[1, 2]);
        assert_eq!((slots[0], slots[1]), (Slot(0), Slot(1)));
        assert_eq!(links.find(&account(2, 2)), Some(slots[1]));
        links.release(slots[1]);
        assert_eq!(links.find(&account(2, 2)), None);
        assert_eq!(links.find(&account(1, 1)), Some(slots[0]));
        assert_eq!(links.all_departed().count(), 1);
    }

    #[test]
    fn an_account_that_is_kept_for_another_while_is_the_last_to_go() {
        let (mut links, slots) = departed(&[1, 2]);
        let later = Instant::from_millis(5_000);
        links.prolong(later, slots[0]);
        let all: Vec<_> = links.all_departed().collect();
        assert_eq!(all, [(NOW, slots[1]), (later, slots[0])]);
        links.release(slots[0]);
        assert_eq!(links.all_departed().count(), 1);
    }

    #[test]
    fn the_tag_of_a_stream_names_its_link_and_lane() {
        let (mut links, mut asks) = (Links::default(), VecDeque::new());
        assert_eq!(links.insert(link(7, 1, 1)), Some(Joined::New(Slot(0))));
        for role in [Role::Intake, Role::Gets] {
            links.open_lane(&mut asks, ChannelId(3), Slot(0), role);
        }
        let tags = asks
            .iter()
            .map(|ask| if let Ask::Open { link, tag, .. } = ask { (link.0, *tag) } else { (0, 0) });
        assert_eq!(tags.collect::<Vec<_>>(), [(7, 14), (7, 15)]);
    }

    #[test]
    fn who_comes_back_takes_its_slot_and_what_it_is_charged_for() {
        let mut links = Links::default();
        links.insert(link(7, 1, 1));
        links.depart(NOW, Slot(0));
        (0..3).for_each(|_| links.charge_departed(Slot(0)));
        assert_eq!(links.insert(link(8, 2, 1)), Some(Joined::New(Slot(1))), "another peer");
        assert_eq!(links.insert(link(9, 1, 1)), Some(Joined::Back(Slot(0))));
        assert_eq!(links.get(Slot(0)).map(|link| link.intake.grant.charged()), Some(3));
        assert_eq!(links.all_departed().count(), 0);
    }
}
