//! Deficit round robin on three levels: who is served next (`docs/spec/fairness.md`).
//!
//! Half to links this node dialled or the operator pinned, half to inbound ones; these by address group; then by link.
//! - a member has work → [`set_waiting`](Dealer::set_waiting); it has none left → the same;
//! - something is free → [`whose_turn`](Dealer::whose_turn) names who gets it;
//! - its true cost is known → [`charge`](Dealer::charge), which may be much later.
//!
//! The bound is on members: whoever talks more is not served more. A call looks a member up in the logarithm of their number and
//! moves those of its level that come before it in memory: none for who is first and goes to the end.

use std::cmp::Reverse;
use std::collections::VecDeque;

use litemap::LiteMap;

use crate::stream::{Group, Side};

/// Deals one resource among members of type `K`. The unit of cost (bytes, nanoseconds) is the owner's.
#[derive(Clone, Debug)]
pub struct Dealer<K> {
    limits: Limits,
    members: Vec<(K, Member)>, // ascending
    sides: Level<Half>,
    own: Level<K>,
    groups: Level<u64>, // by their numbers
    inbound: LiteMap<u64, Level<K>>,
}

#[derive(Clone, Copy, Debug)]
struct Limits {
    quantum: i64,
    debt: i64,
    credit: i64,
}

/// The two sides of the first level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Half {
    Own,
    Inbound,
}

/// Where a member stands, and how many quarters of its share it has: 1 to 4.
#[derive(Clone, Copy, Debug)]
struct Member {
    place: Place,
    quarters: u8,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Own,
    Inbound(u64), // the number of its group
}

impl<K: Copy + Ord> Dealer<K> {
    /// A turn is worth `quantum`; nobody's deficit falls below -`debt`. Both in the unit of cost. With a quantum of 0 who was served
    /// least comes first, and of equals who was served least recently.
    pub fn new(quantum: u64, debt: u64) -> Self {
        let mut sides = Level::default();
        sides.add(Half::Own);
        sides.add(Half::Inbound);
        Self {
            limits: Limits { quantum: signed(quantum), debt: signed(debt), credit: 0 },
            members: Vec::new(),
            sides,
            own: Level::default(),
            groups: Level::default(),
            inbound: LiteMap::new(),
        }
    }

    /// Who has no work keeps so much of what it left to others, at most, and is served before them when work comes. Without it
    /// a member that asks for little, often, waits for those that have not had their turn since its last one.
    #[must_use]
    pub fn with_credit(mut self, credit: u64) -> Self {
        self.limits.credit = signed(credit);
        self
    }

    /// A member joins, with nothing waiting. One that is in already begins anew.
    pub fn add(&mut self, member: K, side: Side, group: Group) {
        self.remove(member);
        let Err(at) = position(&self.members, member) else { return };
        let place = match side {
            Side::Inbound => {
                let group = group.number();
                self.groups.add(group);
                self.inbound.entry(group).or_default().add(member);
                Place::Inbound(group)
            }
            Side::Dialled | Side::Pinned => {
                self.own.add(member);
                Place::Own
            }
        };
        self.members.insert(at, (member, Member { place, quarters: 4 }));
    }

    /// From now on `member` gets so many quarters of what it would get among its equals: 1 to 4, and 4 is the share it
    /// joins with.
    pub fn set_share(&mut self, member: K, quarters: u8) {
        if let Some(member) = find(&mut self.members, member) {
            member.quarters = quarters.clamp(1, 4);
        }
    }

    fn member(&self, member: K) -> Option<Member> {
        Some(self.members.get(position(&self.members, member).ok()?)?.1)
    }

    /// A member leaves.
    pub fn remove(&mut self, member: K) {
        let Ok(at) = position(&self.members, member) else { return };
        self.set_waiting(member, false);
        let Place::Inbound(group) = self.members.remove(at).1.place else { return self.own.remove(member) };
        let Some(level) = self.inbound.get_mut(&group) else { return };
        level.remove(member);
        if level.queues.is_empty() {
            self.inbound.remove(&group);
            self.groups.remove(group);
        }
    }

    /// Whether something waits for `member`. Returns whether it is a member.
    pub fn set_waiting(&mut self, member: K, waiting: bool) -> bool {
        let Some(Member { place, .. }) = self.member(member) else { return false };
        let credit = self.limits.credit;
        match place {
            Place::Own => {
                if self.own.set_waiting(member, waiting, credit) {
                    self.sides.set_waiting(Half::Own, !self.own.waiting.is_empty(), credit);
                }
            }
            Place::Inbound(group) => {
                if let Some(level) = self.inbound.get_mut(&group)
                    && level.set_waiting(member, waiting, credit)
                    && self.groups.set_waiting(group, !level.waiting.is_empty(), credit)
                {
                    self.sides.set_waiting(Half::Inbound, !self.groups.waiting.is_empty(), credit);
                }
            }
        }
        true
    }

    /// Whose turn it is; `None` where nothing waits. The same member until something is charged or changes.
    pub fn whose_turn(&mut self) -> Option<K> {
        let quantum = self.limits.quantum;
        match self.sides.next(quantum)? {
            Half::Own => self.own.next(quantum),
            Half::Inbound => {
                let group = self.groups.next(quantum)?;
                self.inbound.get_mut(&group)?.next(quantum)
            }
        }
    }

    /// Members with work in the order in which they would be served if none of them were charged. For an owner that may have to
    /// pass over some: nobody rises before [`whose_turn`](Self::whose_turn), so who is passed over keeps its place.
    pub fn in_turn(&self) -> impl Iterator<Item = K> + '_ {
        let inbound = || self.groups.in_turn().filter_map(|group| self.inbound.get(&group));
        self.sides.in_turn().flat_map(move |half| {
            let (own, inbound) = match half {
                Half::Own => (Some(&self.own), None),
                Half::Inbound => (None, Some(inbound())),
            };
            own.into_iter().chain(inbound.into_iter().flatten()).flat_map(Level::in_turn)
        })
    }

    /// `member` was served at this cost. Where it has left, nobody is charged.
    pub fn charge(&mut self, member: K, cost: u64) {
        let Some(Member { place, .. }) = self.member(member) else { return };
        let half = if let Place::Own = place { Half::Own } else { Half::Inbound };
        self.sides.charge(half, signed(cost), self.limits);
        self.charge_group(member, cost);
        self.charge_alone(member, cost);
    }

    /// As [`charge`](Self::charge), but its group and side are not charged: `member` owes this, and another was served in its place.
    pub fn charge_alone(&mut self, member: K, cost: u64) {
        let Some(Member { place, quarters }) = self.member(member) else { return };
        let cost = signed(cost.saturating_mul(4) / u64::from(quarters)); // who has a smaller share pays more among its equals
        let level = match place {
            Place::Inbound(group) => self.inbound.get_mut(&group),
            Place::Own => Some(&mut self.own),
        };
        if let Some(level) = level {
            level.charge(member, cost, self.limits);
        }
    }

    /// This amount of the resource went unused although somebody had work. On each level the members with work share it equally, and each member's
    /// debt beyond its [credit](Self::with_credit) falls by such a share. Otherwise a member with a debt would wait until the others have used as much,
    /// even while nobody uses the resource. Smaller debts stay, so that whoever was served less still goes first.
    pub fn leave_over(&mut self, amount: u64) {
        let kept = self.limits.credit;
        let half = self.sides.leave_over(signed(amount), kept);
        self.own.leave_over(half, kept);
        let group = self.groups.leave_over(half, kept);
        self.inbound.iter_mut().for_each(|(_, level)| _ = level.leave_over(group, kept));
    }

    /// Whether `member` is one.
    pub fn contains(&self, member: K) -> bool {
        position(&self.members, member).is_ok()
    }

    /// As [`charge`](Self::charge), but only its group is charged: another member, of no such group, was served in the group's place.
    pub fn charge_group(&mut self, member: K, cost: u64) {
        if let Some(Place::Inbound(group)) = self.member(member).map(|member| member.place) {
            self.groups.charge(group, signed(cost), self.limits);
        }
    }

    /// How many members there are.
    pub fn members(&self) -> usize {
        self.members.len()
    }

    /// The part of `total` that is `member`'s where it is cut in advance: half to each side, equal parts to
    /// its groups, equal parts to a group's links. 0 for who is no member.
    pub fn part(&self, member: K, total: u64) -> u64 {
        let (own, inbound) = (self.own.queues.len() as u64, self.groups.queues.len() as u64);
        let half = total / 2;
        let Some(Member { place, quarters }) = self.member(member) else { return 0 };
        let whole = match place {
            Place::Own => half / own.max(1),
            Place::Inbound(group) => {
                let links = self.inbound.get(&group).map_or(1, |level| level.queues.len() as u64);
                half / inbound.max(1) / links.max(1)
            }
        };
        let quarters = u64::from(quarters);
        whole / 4 * quarters + whole % 4 * quarters / 4
    }
}

/// The members of one level. Deficits are stored less what all have risen by, so that all rise at once at no cost.
#[derive(Clone, Debug)]
struct Level<C> {
    risen: i64,
    served: u64,
    queues: Vec<(C, Queue)>, // ascending; most groups have one member, and a map has room for eleven
    waiting: VecDeque<Rank<C>>, // ascending; a set would take and give back a node each time the only one comes and goes
}

/// A member's place among those with work: highest deficit first, then least recently served.
type Rank<C> = (Reverse<i64>, u64, C);

#[derive(Clone, Copy, Debug, Default)]
struct Queue {
    deficit: i64, // plus `risen`
    turn: u64,
    waiting: bool,
}

impl<C> Default for Level<C> {
    fn default() -> Self {
        Self { risen: 0, served: 0, queues: Vec::new(), waiting: VecDeque::new() }
    }
}

impl<C: Copy + Ord> Level<C> {
    fn add(&mut self, member: C) {
        let Err(at) = position(&self.queues, member) else { return };
        if self.queues.is_empty() {
            self.queues.reserve_exact(1);
        }
        let fresh = Queue { deficit: -self.risen, turn: self.served, waiting: false };
        self.queues.insert(at, (member, fresh));
    }

    fn remove(&mut self, member: C) {
        self.set_waiting(member, false, 0);
        if let Ok(at) = position(&self.queues, member) {
            self.queues.remove(at);
        }
    }

    /// Returns whether that changed anything.
    fn set_waiting(&mut self, member: C, waiting: bool, credit: i64) -> bool {
        let Some(queue) = find(&mut self.queues, member).filter(|queue| queue.waiting != waiting) else {
            return false;
        };
        if waiting {
            queue.deficit = queue.deficit.min(credit - self.risen); // idle ones rose with the others, up to this
            enter(&mut self.waiting, (Reverse(queue.deficit), queue.turn, member));
        } else {
            leave(&mut self.waiting, (Reverse(queue.deficit), queue.turn, member));
            queue.deficit = queue.deficit.min(credit - self.risen);
        }
        queue.waiting = waiting;
        true
    }

    fn in_turn(&self) -> impl Iterator<Item = C> + '_ {
        self.waiting.iter().map(|(_, _, member)| *member)
    }

    fn next(&mut self, quantum: i64) -> Option<C> {
        let (Reverse(highest), _, member) = *self.waiting.front()?;
        if highest.saturating_add(self.risen) <= 0 {
            self.risen = quantum.saturating_sub(highest);
        }
        Some(member)
    }

    /// See [`Dealer::leave_over`]; returns the share of each.
    fn leave_over(&mut self, amount: i64, kept: i64) -> i64 {
        let part = amount / i64::try_from(self.waiting.len().max(1)).unwrap_or(i64::MAX);
        self.waiting.clear();
        for (member, queue) in &mut self.queues {
            let owed = (-self.risen).saturating_sub(queue.deficit);
            queue.deficit = queue.deficit.saturating_add(part.min(owed.saturating_sub(kept).max(0)));
            if queue.waiting {
                self.waiting.push_back((Reverse(queue.deficit), queue.turn, *member));
            }
        }
        self.waiting.make_contiguous().sort_unstable();
        part
    }

    fn charge(&mut self, member: C, cost: i64, limits: Limits) {
        let Some(queue) = find(&mut self.queues, member) else { return };
        if queue.waiting {
            leave(&mut self.waiting, (Reverse(queue.deficit), queue.turn, member));
        } else {
            queue.deficit = queue.deficit.min(limits.credit - self.risen);
        }
        self.served += 1;
        queue.turn = self.served;
        let lowest = (-self.risen).saturating_sub(limits.debt);
        queue.deficit = queue.deficit.saturating_sub(cost).max(lowest);
        if queue.waiting {
            enter(&mut self.waiting, (Reverse(queue.deficit), queue.turn, member));
        }
    }
}

fn enter<C: Copy + Ord>(ranks: &mut VecDeque<Rank<C>>, rank: Rank<C>) {
    if ranks.is_empty() {
        ranks.reserve_exact(1); // most levels have one member
    }
    let at = if ranks.back() < Some(&rank) { ranks.len() } else { ranks.partition_point(|it| *it < rank) };
    if at == ranks.len() { ranks.push_back(rank) } else { ranks.insert(at, rank) }
}

fn leave<C: Copy + Ord>(ranks: &mut VecDeque<Rank<C>>, rank: Rank<C>) -> Option<Rank<C>> {
    let at = if ranks.front() == Some(&rank) { 0 } else { ranks.partition_point(|it| *it < rank) };
    if at == 0 { ranks.pop_front() } else { ranks.remove(at) }
}

/// Where `member` is, or would be.
fn position<C: Copy + Ord, T>(members: &[(C, T)], member: C) -> Result<usize, usize> {
    members.binary_search_by_key(&member, |(other, _)| *other)
}

fn find<C: Copy + Ord, T>(members: &mut [(C, T)], member: C) -> Option<&mut T> {
    Some(&mut members.get_mut(position(members, member).ok()?)?.1)
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
