//! Deferred items: nobody's fault, they come again after a time, or when the application reconsiders.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use weir_base::Instant;

use super::Pool;
use super::Summary;
use super::candidates::{Body, Candidate, Claim, Deliverer, State};
use super::known::LinkSet;
use super::link::Slot;
use super::places::Place;
use super::time::Timer;

/// The longest time an item may be deferred for.
const LONGEST: Duration = Duration::from_secs(3_600);
/// After items were lost here, servers are asked to begin anew at most so often.
const LOST_PAUSE: Duration = Duration::from_secs(60);

/// One deferred item.
#[derive(Clone, Debug)]
pub(super) struct Penned {
    pub(super) id: [u8; 32],
    bytes: Bytes,
    summary: Summary,
    priority: u64,
    /// Links that offered it.
    pub(super) heard: LinkSet,
    from: Deliverer,
    due: Instant,
}

/// All deferred items; those that come again last are dropped for others.
#[derive(Debug)]
pub(super) struct Pen {
    slab: Vec<Option<Penned>>,
    free: Vec<u32>,
    due: BTreeSet<(Instant, u32)>,
    bytes: u64,
    max_items: usize,
    max_bytes: u64,
}

impl Pen {
    pub(super) fn new(max_items: u32, max_bytes: u64) -> Self {
        let (slab, free, due) = (Vec::new(), Vec::new(), BTreeSet::new());
        Self { slab, free, due, bytes: 0, max_items: max_items as usize, max_bytes }
    }

    pub(super) fn get(&self, at: u32) -> Option<&Penned> {
        self.slab.get(at as usize)?.as_ref()
    }

    fn insert(&mut self, item: Penned) -> u32 {
        let at = self.free.pop().unwrap_or_else(|| {
            self.slab.push(None);
            u32::try_from(self.slab.len() - 1).unwrap_or(u32::MAX)
        });
        self.due.insert((item.due, at));
        self.bytes += item.bytes.len() as u64;
        if let Some(place) = self.slab.get_mut(at as usize) {
            *place = Some(item);
        }
        at
    }

    pub(super) fn remove(&mut self, at: u32) -> Option<Penned> {
        let item = self.slab.get_mut(at as usize)?.take()?;
        self.due.remove(&(item.due, at));
        self.bytes -= item.bytes.len() as u64;
        self.free.push(at);
        if self.due.is_empty() {
            (self.slab, self.free) = (Vec::new(), Vec::new());
        }
        Some(item)
    }

    /// The place of an item too many, the one that comes again last.
    fn excess(&self) -> Option<u32> {
        let over = self.due.len() > self.max_items || self.bytes > self.max_bytes;
        self.due.last().filter(|_| over).map(|(_, at)| *at)
    }

    /// A link offers a deferred item: whether it says the same of it.
    pub(super) fn heard(&mut self, at: u32, slot: Slot, size: u32, summary: &Summary) -> bool {
        let item = self.slab.get_mut(at as usize).and_then(Option::as_mut);
        let same =
            |item: &&mut Penned| item.bytes.len() as u64 == u64::from(size) && item.summary == *summary;
        item.filter(same).map(|item| item.heard.insert(slot)).is_some()
    }

    /// The link is gone; its place may be taken by another.
    pub(super) fn forget(&mut self, slot: Slot) {
        self.slab.iter_mut().flatten().for_each(|item| item.heard.remove(slot));
    }

    /// All ids and places.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8; 32], Place)> {
        self.due.iter().filter_map(|(_, at)| Some((&self.get(*at)?.id, Place::Penned(*at))))
    }

    pub(super) fn next_timeout(&self) -> Option<(Instant, &'static str)> {
        self.due.first().map(|(due, _)| (*due, "a deferred item comes again"))
    }
}

impl Pool {
    /// Puts a decided candidate into the pen.
    pub(super) fn defer(&mut self, now: Instant, candidate: Candidate, body: Body, pause: Duration) {
        if self.place_of(&body.id).is_some() {
            return;
        }
        let due = now + pause.min(LONGEST);
        let id = body.id;
        let at = self.pen.insert(Penned {
            id,
            bytes: body.bytes,
            summary: candidate.claim.summary,
            priority: candidate.priority,
            heard: candidate.heard,
            from: body.from,
            due,
        });
        self.places.insert(&id, Place::Penned(at));
        while let Some(at) = self.pen.excess() {
            if let Some(lost) = self.pen.remove(at) {
                self.places.remove(&lost.id, Place::Penned(at));
            }
            if self.timers.get(Timer::Resync).is_none() {
                self.timers.set(Timer::Resync, Some(now + LOST_PAUSE));
            }
        }
    }

    /// Deferred items whose time has come are candidates again.
    pub(super) fn pen_due(&mut self, now: Instant) {
        while let Some((_, at)) = self.pen.due.first().copied().filter(|(due, _)| *due <= now) {
            self.release(at);
        }
    }

    /// All deferred items are candidates again.
    pub(super) fn reconsider(&mut self, _now: Instant) {
        while let Some((_, at)) = self.pen.due.first().copied() {
            self.release(at);
        }
    }

    fn release(&mut self, at: u32) {
        let Some(item) = self.pen.remove(at) else { return };
        self.places.remove(&item.id, Place::Penned(at));
        let size = u32::try_from(item.bytes.len()).unwrap_or(u32::MAX);
        let short = self.places.short(&item.id);
        let claim = Claim { key: self.places.number(), short, size, summary: item.summary };
        let mut candidate = Candidate::new(claim, item.priority, None);
        candidate.heard = item.heard;
        candidate.state = State::Held(Body { id: item.id, bytes: item.bytes, from: item.from });
        self.fetch.hold(u64::from(size));
        let id = self.candidates.insert(candidate);
        self.checking.orphan(std::iter::once(id));
    }
}
