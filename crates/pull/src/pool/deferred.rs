//! Deferred items: nobody's fault, they come again after a time, or when the application reconsiders.
//!
//! Bounds: so many items and bytes. Beyond it, who has most of them here loses the one that comes again last; the links that had
//! offered it are asked to begin anew. What comes again is dealt to the account of who delivered it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use weir_base::Instant;

use super::Pool;
use super::Summary;
use super::candidates::{Body, CandId, Candidate, Claim, Deliverer, State};
use super::known::LinkSet;
use super::link::{Account, Slot};
use super::places::Place;
use super::time::Timer;

/// The longest time an item may be deferred for.
const LONGEST: Duration = Duration::from_secs(3_600);
/// After items were lost here, the servers that had offered them are asked to begin anew at most so often.
const LOST_PAUSE: Duration = Duration::from_secs(60);

/// One deferred item.
#[derive(Clone, Debug)]
pub(super) struct DeferredItem {
    pub(super) id: [u8; 32],
    bytes: Bytes,
    summary: Summary,
    priority: u64,
    /// Links that offered it.
    pub(super) heard: LinkSet,
    from: Deliverer,
    due: Instant,
}

/// All deferred items.
#[derive(Debug)]
pub(super) struct Deferred {
    slab: Vec<Option<DeferredItem>>,
    free: Vec<u32>,
    due: BTreeSet<(Instant, u32)>,
    by_account: BTreeMap<Account, Share>,
    bytes: u64,
    max_items: usize,
    max_bytes: u64,
    released: BTreeSet<CandId>, // candidates that were deferred before; no link may have them among its undecided
    lost: LinkSet,              // links that had offered what was dropped for others
}

/// What one account has here.
#[derive(Debug, Default)]
struct Share {
    due: BTreeSet<(Instant, u32)>,
    bytes: u64,
}

impl Deferred {
    pub(super) fn new(max_items: u32, max_bytes: u64) -> Self {
        Self {
            slab: Vec::new(),
            free: Vec::new(),
            due: BTreeSet::new(),
            by_account: BTreeMap::new(),
            bytes: 0,
            max_items: max_items as usize,
            max_bytes,
            released: BTreeSet::new(),
            lost: LinkSet::default(),
        }
    }

    pub(super) fn get(&self, at: u32) -> Option<&DeferredItem> {
        self.slab.get(at as usize)?.as_ref()
    }

    fn insert(&mut self, item: DeferredItem) -> u32 {
        let at = self.free.pop().unwrap_or_else(|| {
            self.slab.push(None);
            u32::try_from(self.slab.len() - 1).unwrap_or(u32::MAX)
        });
        self.due.insert((item.due, at));
        let share = self.by_account.entry(item.from.account).or_default();
        share.due.insert((item.due, at));
        share.bytes += item.bytes.len() as u64;
        self.bytes += item.bytes.len() as u64;
        if let Some(place) = self.slab.get_mut(at as usize) {
            *place = Some(item);
        }
        at
    }

    pub(super) fn remove(&mut self, at: u32) -> Option<DeferredItem> {
        let item = self.slab.get_mut(at as usize)?.take()?;
        self.due.remove(&(item.due, at));
        if let Some(share) = self.by_account.get_mut(&item.from.account) {
            share.due.remove(&(item.due, at));
            share.bytes -= item.bytes.len() as u64;
            if share.due.is_empty() {
                self.by_account.remove(&item.from.account);
            }
        }
        self.bytes -= item.bytes.len() as u64;
        self.free.push(at);
        if self.due.is_empty() {
            (self.slab, self.free) = (Vec::new(), Vec::new());
        }
        Some(item)
    }

    /// The place of an item too many: of whom has most of what there is too much of, the one that comes again last.
    fn excess(&self) -> Option<u32> {
        let shares = self.by_account.values();
        let largest = if self.due.len() > self.max_items {
            shares.max_by_key(|share| share.due.len())
        } else if self.bytes > self.max_bytes {
            shares.max_by_key(|share| share.bytes)
        } else {
            None
        };
        largest.and_then(|share| share.due.last()).map(|(_, at)| *at)
    }

    /// Candidates that were deferred before.
    pub(super) fn released(&self) -> impl Iterator<Item = CandId> {
        self.released.iter().copied()
    }

    /// A candidate is decided.
    pub(super) fn decided(&mut self, id: CandId) {
        self.released.remove(&id);
    }

    /// Whether something that this link had offered was dropped for others.
    pub(super) fn lost_at(&self, slot: Slot) -> bool {
        self.lost.contains(slot)
    }

    /// A link offers a deferred item: whether it says the same of it.
    pub(super) fn heard(&mut self, at: u32, slot: Slot, size: u32, summary: &Summary) -> bool {
        let item = self.slab.get_mut(at as usize).and_then(Option::as_mut);
        let same =
            |item: &&mut DeferredItem| item.bytes.len() as u64 == u64::from(size) && item.summary == *summary;
        item.filter(same).map(|item| item.heard.insert(slot)).is_some()
    }

    /// The link is gone; its place may be taken by another.
    pub(super) fn forget(&mut self, slot: Slot) {
        self.slab.iter_mut().flatten().for_each(|item| item.heard.remove(slot));
        self.lost.remove(slot);
    }

    /// All ids and places.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8; 32], Place)> {
        self.due.iter().filter_map(|(_, at)| Some((&self.get(*at)?.id, Place::Deferred(*at))))
    }

    pub(super) fn next_timeout(&self) -> Option<(Instant, &'static str)> {
        self.due.first().map(|(due, _)| (*due, "a deferred item comes again"))
    }
}

impl Pool {
    /// A candidate comes again later.
    pub(super) fn defer(&mut self, now: Instant, candidate: Candidate, body: Body, pause: Duration) {
        if self.inventory.place_of(&body.id).is_some() {
            return;
        }
        let due = now + pause.min(LONGEST);
        let id = body.id;
        let at = self.inventory.deferred.insert(DeferredItem {
            id,
            bytes: body.bytes,
            summary: candidate.claim.summary,
            priority: candidate.priority,
            heard: candidate.heard,
            from: body.from,
            due,
        });
        self.inventory.places.insert(&id, Place::Deferred(at));
        while let Some(at) = self.inventory.deferred.excess() {
            self.lose(now, at);
        }
    }

    /// A deferred item is dropped for others. Who had offered it is asked for it again.
    fn lose(&mut self, now: Instant, at: u32) {
        let Some(lost) = self.inventory.deferred.remove(at) else { return };
        self.inventory.places.remove(&lost.id, Place::Deferred(at));
        lost.heard.iter().for_each(|slot| self.inventory.deferred.lost.insert(slot));
        self.resume.take(&lost.from.account.peer()); // where it is linked, it writes another at its end
        if self.timers.get(Timer::Lost).is_none() {
            self.timers.set(Timer::Lost, Some(now + LOST_PAUSE));
        }
    }

    /// Servers that had offered what was lost begin anew.
    pub(super) fn regain(&mut self, now: Instant) {
        for slot in std::mem::take(&mut self.inventory.deferred.lost).iter() {
            self.move_to(now, slot, 0);
        }
    }

    /// Deferred items whose time has come are candidates again.
    pub(super) fn deferred_due(&mut self, now: Instant) {
        while let Some((_, at)) = self.inventory.deferred.due.first().copied().filter(|(due, _)| *due <= now)
        {
            self.release_deferred(now, at);
        }
    }

    /// All deferred items are candidates again.
    pub(super) fn reconsider(&mut self, now: Instant) {
        while let Some((_, at)) = self.inventory.deferred.due.first().copied() {
            self.release_deferred(now, at);
        }
    }

    fn release_deferred(&mut self, now: Instant, at: u32) {
        let Some(item) = self.inventory.deferred.remove(at) else { return };
        self.inventory.places.remove(&item.id, Place::Deferred(at));
        let Some(slot) = self.slot_of(now, &item.from.account) else { return }; // 65,535 links are up
        let size = u32::try_from(item.bytes.len()).unwrap_or(u32::MAX);
        let short = self.inventory.places.short(&item.id);
        let claim = Claim { key: self.inventory.places.number(), short, size, summary: item.summary };
        let mut candidate = Candidate::new(claim, item.priority, None);
        candidate.heard = item.heard;
        candidate.state = State::Held(Body { id: item.id, bytes: item.bytes, from: item.from });
        self.asking.fetch.hold(u64::from(size));
        let id = self.asking.candidates.insert(candidate);
        self.inventory.deferred.released.insert(id);
        self.checking.hold(slot, id, size);
    }
}
