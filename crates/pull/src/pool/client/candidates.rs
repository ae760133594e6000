//! Items that were offered and are not decided: who announced them, who is charged, who was asked.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use crate::ShortId;
use crate::table::{Table, table};
use weir_base::{Instant, Rng};

use crate::machine::Ticket;
use crate::pool::inventory::LinkSet;
use crate::pool::links::{Deliverer, Slot};
use crate::pool::types::{Item, Summary};

/// Names a candidate; never names another one later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CandId {
    at: u32,
    serial: u32,
}

/// What announcers must agree on to be merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Claim {
    /// The number of the key of the short id.
    pub(crate) key: u32,
    pub(crate) short: ShortId,
    pub(crate) size: u32,
    pub(crate) summary: Summary,
}

/// A link that can deliver, and under which index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Announcer {
    pub(crate) index: u64,
    pub(crate) slot: Slot,
    /// How often it was asked.
    pub(crate) tried: u8,
    /// Whether the candidate waits in its queue.
    pub(crate) listed: bool,
}

impl Announcer {
    pub(crate) const fn new(slot: Slot, index: u64) -> Self {
        Self { index, slot, tried: 0, listed: false }
    }
}

/// A link that is asked, and for which index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) slot: Slot,
    pub(crate) index: u64,
}

/// The charged announcer and up to 8 more.
pub(crate) const MAX_ANNOUNCERS: usize = 9;
/// Candidates for which memory is kept.
const FEW: usize = 64;
/// Sources asked at once.
pub(crate) const MAX_SOURCES: usize = 2;

/// Where a candidate stands. A body's description is larger than all else, and most candidates have none.
#[derive(Clone, Debug)]
pub(crate) enum State {
    /// Its body has not come.
    Wanted,
    /// Its body has come, and waits to be handed over.
    Held(Box<Body>),
    /// The application has it.
    Checking {
        /// Its body.
        body: Box<Body>,
        /// Its name there.
        ticket: Ticket,
        /// Since when.
        since: Instant,
    },
}

/// A body that matched what was offered.
#[derive(Clone, Debug)]
pub(crate) struct Body {
    pub(crate) item: Item,
    pub(crate) from: Deliverer,
}

/// An item that was offered and is not decided.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) claim: Claim,
    /// The same under another key, where the id is known.
    alias: Option<Claim>,
    pub(crate) priority: u64,
    /// Who pays for it with its permit.
    pub(crate) charged: Option<Slot>,
    /// Links that offered it.
    pub(crate) heard: LinkSet,
    /// Links that called it gone.
    pub(crate) gone: LinkSet,
    /// Links of which it is asked now; the first was asked first.
    pub(crate) sources: [Option<Source>; MAX_SOURCES],
    pub(crate) state: State,
    /// Whether its last source is over its time: the next announcer is asked as soon as one may be.
    pub(crate) overdue: bool,
    /// Whether announcers may stand in the reserve at their links.
    pub(crate) has_reserve: bool,
    announcers: [Announcer; MAX_ANNOUNCERS],
    count: u8, // of `announcers`
}

impl Candidate {
    /// Takes its body, where that waits to be handed over. The caller says at once where it stands now.
    pub(crate) fn take_held(&mut self) -> Option<Box<Body>> {
        match std::mem::replace(&mut self.state, State::Wanted) {
            State::Held(body) => Some(body),
            other => {
                self.state = other;
                None
            }
        }
    }

    pub(crate) fn new(claim: Claim, priority: u64, charged: Option<Announcer>) -> Self {
        let mut candidate = Self {
            claim,
            alias: None,
            priority,
            charged: charged.map(|announcer| announcer.slot),
            heard: LinkSet::default(),
            gone: LinkSet::default(),
            sources: [None; MAX_SOURCES],
            state: State::Wanted,
            overdue: false,
            has_reserve: false,
            announcers: [Announcer::new(Slot(0), 0); MAX_ANNOUNCERS],
            count: 0,
        };
        if let Some(announcer) = charged {
            candidate.heard.insert(announcer.slot);
            candidate.add(announcer);
        }
        candidate
    }

    /// Who can deliver it, as far as they are kept.
    pub(crate) fn announcers(&self) -> &[Announcer] {
        self.announcers.get(..usize::from(self.count)).unwrap_or_default()
    }

    /// The same, to change.
    pub(crate) fn announcers_mut(&mut self) -> &mut [Announcer] {
        self.announcers.get_mut(..usize::from(self.count)).unwrap_or_default()
    }

    /// Adds an announcer; `false` where all places are taken.
    pub(crate) fn add(&mut self, announcer: Announcer) -> bool {
        if let Some(same) =
            self.announcers.iter_mut().take(usize::from(self.count)).find(|a| a.slot == announcer.slot)
        {
            (same.index, same.tried) = (announcer.index, announcer.tried);
            return true;
        }
        let Some(place) = self.announcers.get_mut(usize::from(self.count)) else { return false };
        *place = announcer;
        self.count += 1;
        true
    }

    /// `slot` is not among its announcers any more. As what it was.
    pub(crate) fn drop_announcer(&mut self, slot: Slot) -> Option<Announcer> {
        let at = self.announcers().iter().position(|announcer| announcer.slot == slot)?;
        let last = usize::from(self.count) - 1;
        self.announcers.swap(at, last);
        self.count -= 1;
        self.announcers.get(last).copied()
    }

    /// Whether it is asked of `slot`.
    pub(crate) fn asks(&self, slot: Slot) -> bool {
        self.sources.iter().flatten().any(|source| source.slot == slot)
    }

    /// Whether it is asked of anybody.
    pub(crate) fn is_asked(&self) -> bool {
        self.sources.iter().any(Option::is_some)
    }

    /// Whether another announcer should be asked.
    pub(crate) fn wants_source(&self) -> bool {
        matches!(self.state, State::Wanted) && (self.overdue || !self.is_asked())
    }

    /// `slot` is not asked any more.
    pub(crate) fn drop_source(&mut self, slot: Slot) {
        for source in &mut self.sources {
            source.take_if(|source| source.slot == slot);
        }
        if self.sources.first().is_some_and(Option::is_none) {
            self.sources.rotate_left(1);
        }
    }

    /// The body, where it has come.
    pub(crate) const fn body(&self) -> Option<&Body> {
        match &self.state {
            State::Wanted => None,
            State::Held(body) | State::Checking { body, .. } => Some(&**body),
        }
    }
}

/// A place of the slab: the serial number of the candidate that has it or had it last, and the candidate. A candidate takes some 350
/// bytes. It has an allocation of its own, so that a free place costs 16 bytes and a slab that grows moves no candidate.
type Location = (u32, Option<Box<Candidate>>);

/// All candidates of a pool. As many as are granted; further announcements of one find it by its claim.
pub(crate) struct Candidates {
    slab: Vec<Location>,            // the last is taken
    free: BinaryHeap<Reverse<u32>>, // lowest first, so that the end becomes free; some are taken or gone
    count: usize,
    serial: u32,
    claims: Table<Claim, CandId>,
    released: BTreeSet<CandId>, // those that were deferred before; no link may have them among its undecided
}

impl std::fmt::Debug for Candidates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Candidates({})", self.len())
    }
}

impl Candidates {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        let (slab, free) = (Vec::new(), BinaryHeap::new());
        Self { slab, free, count: 0, serial: 0, claims: table(rng), released: BTreeSet::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Bytes of its memory, without bodies.
    pub(crate) fn table_bytes(&self) -> usize {
        self.slab.capacity() * size_of::<Location>()
            + self.free.capacity() * size_of::<u32>()
            + self.count * size_of::<Candidate>()
            + self.claims.len() * size_of::<(Claim, CandId)>()
    }

    pub(crate) fn find(&self, claim: &Claim) -> Option<CandId> {
        self.claims.get(claim).copied()
    }

    pub(crate) fn insert(&mut self, candidate: Candidate) -> CandId {
        self.serial = self.serial.wrapping_add(1);
        let slab = &self.slab;
        let is_free = |at: &u32| slab.get(*at as usize).is_some_and(|(_, taken)| taken.is_none());
        let free = std::iter::from_fn(|| self.free.pop()).map(|Reverse(at)| at).find(is_free);
        let at = free.unwrap_or_else(|| {
            self.slab.push((0, None));
            u32::try_from(self.slab.len() - 1).unwrap_or(u32::MAX)
        });
        self.count += 1;
        let id = CandId { at, serial: self.serial };
        self.claims.insert(candidate.claim, id);
        if let Some(place) = self.slab.get_mut(at as usize) {
            *place = (self.serial, Some(Box::new(candidate)));
        }
        id
    }

    /// A candidate that was deferred before.
    pub(crate) fn insert_released(&mut self, candidate: Candidate) -> CandId {
        let id = self.insert(candidate);
        self.released.insert(id);
        id
    }

    /// Candidates that were deferred before.
    pub(crate) fn released(&self) -> impl Iterator<Item = CandId> {
        self.released.iter().copied()
    }

    /// A candidate whose body has come is from now on also found under this key.
    pub(crate) fn alias(&mut self, id: CandId, key: u32, short: ShortId) {
        let Some(candidate) = self.get_mut(id) else { return };
        let alias = Claim { key, short, ..candidate.claim };
        if let Some(before) = candidate.alias.replace(alias) {
            self.unclaim(&before, id);
        }
        self.claims.insert(alias, id);
    }

    fn unclaim(&mut self, claim: &Claim, id: CandId) {
        if self.claims.get(claim) == Some(&id) {
            self.claims.remove(claim);
        }
    }

    /// All candidates.
    pub(crate) fn all(&self) -> Vec<CandId> {
        let found = |(at, (serial, candidate)): (u32, &Location)| {
            candidate.as_ref().map(|_| CandId { at, serial: *serial })
        };
        (0..).zip(&self.slab).filter_map(found).collect()
    }

    /// All candidates whose bodies have come, with their ids.
    pub(crate) fn delivered(&self) -> Vec<(CandId, [u8; 32])> {
        let found = |(at, (serial, candidate)): (u32, &Location)| {
            Some((CandId { at, serial: *serial }, candidate.as_ref()?.body()?.item.0.id))
        };
        (0..).zip(&self.slab).filter_map(found).collect()
    }

    pub(crate) fn get(&self, id: CandId) -> Option<&Candidate> {
        let (serial, candidate) = self.slab.get(id.at as usize)?;
        candidate.as_deref().filter(|_| *serial == id.serial)
    }

    pub(crate) fn get_mut(&mut self, id: CandId) -> Option<&mut Candidate> {
        let (serial, candidate) = self.slab.get_mut(id.at as usize)?;
        candidate.as_deref_mut().filter(|_| *serial == id.serial)
    }

    pub(crate) fn remove(&mut self, id: CandId) -> Option<Candidate> {
        let (serial, candidate) = self.slab.get_mut(id.at as usize)?;
        if *serial != id.serial {
            return None;
        }
        let candidate = candidate.take()?;
        self.released.remove(&id);
        self.count -= 1;
        self.free.push(Reverse(id.at));
        self.unclaim(&candidate.claim, id);
        if let Some(alias) = &candidate.alias {
            self.unclaim(alias, id);
        }
        while self.slab.last().is_some_and(|(_, taken)| taken.is_none()) {
            self.slab.pop();
        }
        if self.slab.capacity() > 4 * self.slab.len().max(FEW) {
            self.slab.shrink_to(2 * self.slab.len());
        }
        if self.slab.is_empty() {
            self.free = BinaryHeap::new(); // names go on counting, so old ones find nothing
        }
        Some(*candidate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(number: u64) -> Candidate {
        Candidate::new(Claim { key: 1, short: ShortId(number), size: 1, summary: Summary::EMPTY }, 0, None)
    }

    #[test]
    fn memory_is_given_back_though_some_candidates_stay() {
        let mut candidates = Candidates::new(&mut Rng::from_number(1));
        let ids: Vec<CandId> = (0..20_000).map(|number| candidates.insert(candidate(number))).collect();
        for id in ids.iter().skip(100) {
            assert!(candidates.remove(*id).is_some());
        }
        assert_eq!((candidates.len(), candidates.slab.len()), (100, 100));
        assert!(candidates.slab.capacity() <= 400, "{}", candidates.slab.capacity());
        // what is put in then is found, and is nobody else's
        let more: Vec<CandId> = (30_000..50_000).map(|number| candidates.insert(candidate(number))).collect();
        let short = |id: &CandId| candidates.get(*id).map(|candidate| candidate.claim.short.0);
        assert!(more.iter().zip(30_000..).all(|(id, number)| short(id) == Some(number)));
        assert!(ids.iter().take(100).zip(0..).all(|(id, number)| short(id) == Some(number)));
        assert!(ids.iter().skip(100).all(|id| short(id).is_none()));
        assert_eq!((candidates.len(), candidates.slab.len()), (20_100, 20_100));
    }

    #[test]
    fn it_is_shown_as_how_many_there_are() {
        let mut candidates = Candidates::new(&mut Rng::from_number(1));
        candidates.insert(candidate(1));
        assert_eq!(format!("{candidates:?}"), "Candidates(1)");
    }
}
