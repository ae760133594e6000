//! Quotas for what peers have open here, or bytes that they make this node hold: so many in all, so many of one link, and who gives way
//! where all are taken (`docs/spec/fairness.md`).

use std::collections::BTreeMap;

use weir_base::LinkId;
use weir_base::stream::{Group, LinkInfo, Side};

/// See the module.
#[derive(Debug)]
pub(crate) struct Quotas {
    per_link: u64,
    total: u64,
    taken: u64, // <= total, but while who gives way does so
    links: BTreeMap<LinkId, Holder>,
}

#[derive(Debug)]
struct Holder {
    chosen: bool,         // by this node: dialled or pinned
    group: Option<Group>, // of those that were not
    held: u64,            // <= per_link
}

/// What there is for one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Free,
    /// This other link has more than its share: one of its places can be given away.
    Of(LinkId),
    /// The link has as many as it may, or as its share is.
    Full,
}

impl Quotas {
    pub(crate) const fn new(per_link: u64, total: u64) -> Self {
        Self { per_link, total, taken: 0, links: BTreeMap::new() }
    }

    pub(crate) fn link_up(&mut self, link: LinkId, info: &LinkInfo) {
        let chosen = info.side != Side::Inbound;
        let group = (!chosen).then_some(info.group);
        self.links.insert(link, Holder { chosen, group, held: 0 });
    }

    /// Gives back all that a link holds.
    pub(crate) fn link_down(&mut self, link: LinkId) {
        if let Some(holder) = self.links.remove(&link) {
            self.taken -= holder.held;
        }
    }

    /// Looks for a place for one more of a link.
    pub(crate) fn find(&self, newcomer: LinkId) -> Place {
        match self.links.get(&newcomer) {
            Some(holder) if holder.held < self.per_link => {}
            _ => return Place::Full,
        }
        if self.taken < self.total {
            return Place::Free;
        }
        match self.greediest(Some(newcomer)) {
            Some(most) if most != newcomer => Place::Of(most),
            _ => Place::Full,
        }
    }

    /// A link takes one, which was [found](Self::find) free.
    pub(crate) fn take(&mut self, link: LinkId) {
        if let Some(holder) = self.links.get_mut(&link) {
            holder.held += 1;
            self.taken += 1;
        }
    }

    /// A link gives one back.
    pub(crate) fn give_back(&mut self, link: LinkId) {
        if let Some(holder) = self.links.get_mut(&link).filter(|holder| holder.held > 0) {
            holder.held -= 1;
            self.taken -= 1;
        }
    }

    /// What a link holds has become more or less by one part of it, whether there is room or not.
    pub(crate) fn change(&mut self, link: LinkId, before: u64, after: u64) {
        if let Some(holder) = self.links.get_mut(&link) {
            holder.held = holder.held.saturating_sub(before).saturating_add(after);
            self.taken = self.taken.saturating_sub(before).saturating_add(after);
        }
    }

    /// The link that gives way, while more is held than there is.
    pub(crate) fn over(&self) -> Option<LinkId> {
        if self.taken <= self.total { None } else { self.greediest(None) }
    }

    /// Those that each link holds, in order.
    #[cfg(test)]
    pub(crate) fn held(&self) -> Vec<u64> {
        self.links.values().map(|holder| holder.held).collect()
    }

    /// Who has most, or would if `newcomer` had one more: of the side with the most, its address group with the most, and of that
    /// the link.
    fn greediest(&self, newcomer: Option<LinkId>) -> Option<LinkId> {
        let wanted = |id: LinkId, holder: &Holder| holder.held + u64::from(Some(id) == newcomer);
        let (mut sides, mut groups) = ([0_u64; 2], BTreeMap::<(bool, Option<Group>), u64>::new());
        for (id, holder) in &self.links {
            let held = wanted(*id, holder);
            if let Some(side) = sides.get_mut(usize::from(holder.chosen)) {
                *side += held;
            }
            *groups.entry((holder.chosen, holder.group)).or_default() += held;
        }
        let rank = |(id, holder): &(&LinkId, &Holder)| {
            let side = sides.get(usize::from(holder.chosen)).copied();
            let group = groups.get(&(holder.chosen, holder.group)).copied();
            (side, group, wanted(**id, holder), Some(**id) == newcomer) // among equals the newcomer
        };
        self.links.iter().max_by_key(rank).map(|(id, _)| *id)
    }
}
