//! All links, which of them are to be settled, and when each is due.

use litemap::LiteMap;
use weir_base::identity::PeerId;
use weir_base::{Deadlines, Instant, LinkId, Ready};

use crate::link::Link;

/// Links by id. Who changes one marks it as touched.
#[derive(Default)]
pub(crate) struct Table {
    links: LiteMap<LinkId, Box<Link>>,
    last: u64, // the last id that was given out
    touched: Ready<LinkId>,
    urgent: Vec<LinkId>, // to be settled before the next input, <= a few for each datagram of a batch
    pub(crate) timers: Deadlines<Timer>,
}

/// What a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// A link's own: handshake, loss detection, idle, end.
    Link(LinkId),
    /// Links that wait for credit.
    Credit,
    /// A peer has two links.
    Duplicate(PeerId),
}

impl Table {
    /// The id of the next link. Never given out again.
    pub(crate) fn reserve_id(&mut self) -> LinkId {
        self.last += 1;
        LinkId(self.last)
    }

    pub(crate) fn insert(&mut self, link: Link) {
        self.touched.mark(link.id());
        self.links.insert(link.id(), Box::new(link));
    }

    pub(crate) fn get(&self, id: LinkId) -> Option<&Link> {
        self.links.get(&id).map(Box::as_ref)
    }

    pub(crate) fn get_mut(&mut self, id: LinkId) -> Option<&mut Link> {
        self.links.get_mut(&id).map(Box::as_mut)
    }

    /// A link that its user may use. Marks it as touched.
    pub(crate) fn for_use(&mut self, id: LinkId) -> Option<&mut Link> {
        let found = self.links.get_mut(&id).filter(|found| found.was_up() || found.is_early())?;
        self.touched.mark(id);
        Some(found)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Link> {
        self.links.values().map(Box::as_ref)
    }

    pub(crate) fn all_mut(&mut self) -> impl Iterator<Item = &mut Link> {
        self.links.iter_mut().map(|(_, link)| link.as_mut())
    }

    /// Takes a link out, with its deadline.
    pub(crate) fn remove(&mut self, id: LinkId) -> Option<Link> {
        let link = self.links.remove(&id)?;
        self.timers.set(Timer::Link(id), None);
        Some(*link)
    }

    /// Something happened on a link, or it was used: it is to be settled.
    pub(crate) fn touch(&mut self, id: LinkId) {
        self.touched.mark(id);
    }

    /// The same, before the next input.
    pub(crate) fn touch_urgently(&mut self, id: LinkId) {
        self.touched.mark(id); // what that changes is counted with the rest
        self.urgent.push(id);
    }

    pub(crate) fn take_urgent(&mut self) -> Option<LinkId> {
        self.urgent.pop()
    }

    pub(crate) fn take_touched(&mut self) -> Option<LinkId> {
        self.touched.pop()
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.touched.is_empty()
    }

    /// A link has nothing more to send for now: its deadline is what its life and its carrier say.
    pub(crate) fn sent_all(&mut self, now: Instant, id: LinkId) {
        if let Some(link) = self.links.get_mut(&id) {
            let dues = [link.life.deadline(), link.carrier.poll_timeout(), link.named.next_due()];
            let due = dues.into_iter().flatten().min();
            self.timers.set(Timer::Link(id), due.map(|due| due.max(now)));
        }
    }
}
