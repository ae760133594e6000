//! The address book: whom this node knows how to dial, and when it may try again.
//!
//! *Persistent* peers are those the operator named: each failure makes the pause before the next try longer, up to a cap,
//! and none is ever the last. *Candidates* are peers this node once heard of: they are forgotten after
//! [`Config::candidate_tries`] failures in a row. An entry waits, is dialled, or is up; a link that a peer opened towards this
//! node counts as up just the same, and makes the next pause short: it is a sign of life.
//!
//! A persistent peer whose link was lost probably restarts: for [`QUICK_FOR`] it is tried again and again after the shortest
//! pause, each try given up after [`QUICK_TRY`].

use std::collections::BTreeMap;
use std::time::Duration;

use weir_base::identity::PeerId;
use weir_base::multiaddr::Multiaddr;
use weir_base::{Deadlines, Instant, LinkId, Rng};
use weir_link::DialId;

use super::Config;
use super::backoff::Backoff;
use super::known::{Known, Role};

/// A link that lived this long counts as a success: the next pause starts small again.
const STABLE: Duration = Duration::from_secs(60);

/// The loss of a link that lived this long is worth quick tries; one that ends sooner is perhaps not wanted at the other end.
const SETTLED: Duration = Duration::from_secs(10);

/// So long after a link was lost its peer is tried again quickly: a restart takes seconds.
const QUICK_FOR: Duration = Duration::from_secs(30);

/// So long a quick try may take. A handshake's first packet is sent again after one second, then after two: a peer that is
/// there answers one of the first two, and a fresh try begins before the third.
const QUICK_TRY: Duration = Duration::from_secs(2);

/// That an entry cannot be reached is told at most this often.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// One entry's name within the book.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BookId(u64);

/// An entry of the book that could not be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unreached {
    /// Who, where the entry names one.
    pub(crate) peer: Option<PeerId>,
    /// Where it was looked for.
    pub(crate) addresses: Vec<Multiaddr>,
    /// When it will be tried again; `None` where it was forgotten.
    pub(crate) next: Option<Instant>,
}

/// Why a peer does not enter the book.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BookError {
    /// No address, or more than the limit.
    #[error(
        "a peer needs at least one address, and no more than the configuration of peers allows (`max_addresses`)"
    )]
    Addresses,
    /// The addresses name another peer, or different ones.
    #[error("the addresses end in different peer ids")]
    OtherPeer,
    /// The book is full of peers that are not to be forgotten.
    #[error("the address book is full; raise `peers.max_known`")]
    Full,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing under way; to be dialled once the deadline of the entry has passed.
    Waiting,
    /// Its pause is over.
    Due,
    Dialling(DialId),
    Up {
        link: LinkId,
        since: Instant,
    },
}

#[derive(Debug)]
struct Entry {
    known: Known,
    failures: u32,         // in a row
    lost: Option<Instant>, // its last link, until then `QUICK_FOR` has passed
    told: Option<Instant>, // when it was last told that it cannot be reached
    state: State,
}

impl Entry {
    fn is_quick(&self, now: Instant) -> bool {
        self.known.role != Role::Candidate && self.lost.is_some_and(|lost| now < lost + QUICK_FOR)
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Book {
    backoff: Backoff,
    max_known: usize,
    max_addresses: usize,
    candidate_tries: u32,
    rng: Rng,
    next: u64,
    entries: BTreeMap<BookId, Entry>, // <= max_known
    by_peer: BTreeMap<PeerId, BookId>,
    by_dial: BTreeMap<DialId, BookId>,
    waiting: Deadlines<BookId>,
    tries: Deadlines<BookId>, // when dials that should be quick are given up
    due: [Vec<BookId>; 2],    // whose pause is over: persistent ones, candidates; in order of id
}

impl Book {
    pub(crate) fn new(config: &Config, rng: Rng) -> Self {
        Self {
            backoff: Backoff { first: config.backoff, cap: config.backoff_max },
            max_known: config.max_known as usize,
            max_addresses: config.max_addresses as usize,
            candidate_tries: config.candidate_tries,
            rng,
            next: 0,
            entries: BTreeMap::new(),
            by_peer: BTreeMap::new(),
            by_dial: BTreeMap::new(),
            waiting: Deadlines::default(),
            tries: Deadlines::default(),
            due: [Vec::new(), Vec::new()],
        }
    }

    /// Puts a peer in, due at once; or gives a known one these addresses and this role.
    pub(crate) fn add(
        &mut self,
        now: Instant,
        mut known: Known,
        up: Option<LinkId>,
    ) -> Result<(), BookError> {
        if known.addresses.is_empty() || known.addresses.len() > self.max_addresses {
            return Err(BookError::Addresses);
        }
        for named in known.addresses.iter().filter_map(Multiaddr::peer_id) {
            if *known.peer.get_or_insert(named) != named {
                return Err(BookError::OtherPeer);
            }
        }
        let present = known.peer.and_then(|peer| self.by_peer.get(&peer).copied()).or_else(|| {
            let same = |entry: &Entry| known.peer.is_none() && entry.known.addresses == known.addresses;
            self.entries.iter().find(|(_, entry)| same(entry)).map(|(id, _)| *id)
        });
        if let Some(id) = present {
            self.renew(now, id, known);
            return Ok(());
        }
        if self.entries.len() >= self.max_known && !self.forget_one() {
            return Err(BookError::Full);
        }
        let id = BookId(self.next);
        self.next += 1;
        if let Some(peer) = known.peer {
            self.by_peer.insert(peer, id);
        }
        let state = up.map_or(State::Waiting, |link| State::Up { link, since: now });
        self.entries.insert(id, Entry { known, failures: 0, lost: None, told: None, state });
        if up.is_none() {
            self.waiting.set(id, Some(now));
        }
        Ok(())
    }

    fn renew(&mut self, now: Instant, id: BookId, known: Known) {
        self.undue(id);
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let role = known.role.max(entry.known.role);
        entry.known = Known { role, peer: known.peer.or(entry.known.peer), ..known };
        if matches!(entry.state, State::Waiting | State::Due) {
            entry.state = State::Waiting;
            entry.failures = 0;
            self.waiting.set(id, Some(now));
        }
    }

    /// Whether `peer` is being dialled, or will be as soon as dials are free.
    pub(crate) fn is_dialling(&self, peer: &PeerId) -> bool {
        let entry = self.by_peer.get(peer).and_then(|id| self.entries.get(id));
        entry.is_some_and(|entry| match entry.state {
            State::Dialling(_) => true,
            State::Due => entry.known.role != Role::Candidate,
            State::Waiting | State::Up { .. } => false,
        })
    }

    /// Takes a peer out; returns the dial under way, to be cancelled.
    pub(crate) fn remove(&mut self, peer: &PeerId) -> Option<DialId> {
        let id = *self.by_peer.get(peer)?;
        self.forget(id)
    }

    /// What the operator said about `peer`, if it is in the book.
    pub(crate) fn role(&self, peer: &PeerId) -> Option<Role> {
        self.by_peer.get(peer).and_then(|id| self.entries.get(id)).map(|entry| entry.known.role)
    }

    /// Marks entries whose pause is over.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        while let Some(id) = self.waiting.pop_due(now) {
            let Some(entry) = self.entries.get_mut(&id) else { continue };
            entry.state = State::Due;
            let due = &mut self.due[usize::from(entry.known.role == Role::Candidate)];
            let at = due.partition_point(|other| *other < id);
            due.insert(at, id);
        }
    }

    /// A dial that should have been quick and was not: to be cancelled; its peer is tried again after a pause.
    pub(crate) fn pop_slow(&mut self, now: Instant) -> Option<(DialId, Option<Unreached>)> {
        while let Some(id) = self.tries.pop_due(now) {
            let state = self.entries.get(&id).map(|entry| entry.state);
            let Some(State::Dialling(dial)) = state else { continue };
            if self.by_dial.remove(&dial).is_some() {
                let unreached = self.fail(now, id);
                return Some((dial, unreached));
            }
        }
        None
    }

    /// The next time an entry's pause is over, or a try has taken too long.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        [self.waiting.next(), self.tries.next()].into_iter().flatten().map(|(due, _)| due).min()
    }

    /// The next peer to dial: a persistent one, or else, if wanted, a candidate, drawn at random so that nobody can arrange
    /// the order.
    pub(crate) fn pop(&mut self, candidates: bool) -> Option<(BookId, &Known)> {
        let [persistent, others] = &mut self.due;
        let id = if !persistent.is_empty() {
            persistent.remove(0)
        } else if candidates && !others.is_empty() {
            others.remove(self.rng.index(others.len()))
        } else {
            return None;
        };
        self.entries.get(&id).map(|entry| (id, &entry.known))
    }

    /// Whether a candidate's pause is over.
    pub(crate) fn has_candidates(&self) -> bool {
        !self.due[1].is_empty()
    }

    /// A peer that was held back may be tried now.
    pub(crate) fn wake(&mut self, now: Instant, peer: &PeerId) {
        let Some(id) = self.by_peer.get(peer).copied() else { return };
        if self.entries.get(&id).is_some_and(|entry| entry.state == State::Waiting) {
            self.waiting.set(id, Some(now));
        }
    }

    /// Peers that were held back and have an address like that may be tried now.
    pub(crate) fn wake_at(&mut self, now: Instant, like: impl Fn(&Multiaddr) -> bool) {
        for (id, entry) in &self.entries {
            if entry.state == State::Waiting && entry.known.addresses.iter().any(&like) {
                self.waiting.set(*id, Some(now));
            }
        }
    }

    /// Dials under way.
    pub(crate) fn dials(&self) -> impl Iterator<Item = DialId> + '_ {
        self.by_dial.keys().copied()
    }

    /// What became of an entry that was popped: a dial, or the pause of a failure (`None`), where that is to be told.
    pub(crate) fn set_dial(&mut self, now: Instant, id: BookId, dial: Option<DialId>) -> Option<Unreached> {
        let Some(dial) = dial else { return self.fail(now, id) };
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.state = State::Dialling(dial);
            self.by_dial.insert(dial, id);
            let quick = entry.is_quick(now);
            self.tries.set(id, quick.then(|| now + QUICK_TRY));
        }
        None
    }

    /// An entry that was popped may not be tried before `until`.
    pub(crate) fn hold(&mut self, id: BookId, until: Instant) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.state = State::Waiting;
            self.waiting.set(id, Some(until));
        }
    }

    /// A dial failed, of the book where it is one of its own; what is to be told of that.
    pub(crate) fn handle_failed(
        &mut self,
        now: Instant,
        dial: DialId,
        up: Option<LinkId>,
    ) -> Option<Unreached> {
        let id = self.by_dial.remove(&dial)?;
        self.tries.set(id, None);
        let entry = self.entries.get_mut(&id).filter(|entry| entry.state == State::Dialling(dial))?;
        match up {
            Some(link) => {
                entry.state = State::Up { link, since: now };
                None
            }
            None => self.fail(now, id),
        }
    }

    /// The dial under way to an entry like that.
    pub(crate) fn dial_to(&self, like: impl Fn(&Known) -> bool) -> Option<DialId> {
        let of_entry = |id: &BookId| self.entries.get(id).is_some_and(|entry| like(&entry.known));
        self.by_dial.iter().find(|(_, id)| of_entry(id)).map(|(dial, _)| *dial)
    }

    /// Whether a dial is under way, and one of the book's.
    pub(crate) fn has_dial(&self, dial: DialId) -> bool {
        self.by_dial.contains_key(&dial)
    }

    /// The peer of a dial, where its entry names one.
    pub(crate) fn peer_of(&self, dial: DialId) -> Option<PeerId> {
        self.entries.get(self.by_dial.get(&dial)?)?.known.peer
    }

    /// A link is up, whoever dialled.
    /// Returns how many dials of the book this ended.
    pub(crate) fn handle_up(
        &mut self,
        now: Instant,
        peer: PeerId,
        link: LinkId,
        dial: Option<DialId>,
    ) -> u32 {
        let dialled = dial.and_then(|dial| self.by_dial.remove(&dial));
        let ended = u32::from(dialled.is_some());
        if let Some(id) = dialled.filter(|_| !self.by_peer.contains_key(&peer))
            && let Some(entry) = self.entries.get_mut(&id)
        {
            entry.known.peer = Some(peer);
            self.by_peer.insert(peer, id);
        }
        let Some(id) = self.by_peer.get(&peer).copied() else { return ended };
        self.undue(id);
        self.waiting.set(id, None);
        self.tries.set(id, None);
        if let Some(entry) = self.entries.get_mut(&id) {
            // A dial of its own that is still under way ends by itself, superseded by this link.
            entry.state = State::Up { link, since: now };
            if dial.is_none() {
                entry.failures = 0; // a sign of life
            }
        }
        // An entry that named no peer, and reached one that has an entry already, is the same peer.
        if let Some(twin) = dialled.filter(|twin| *twin != id) {
            let role = self.entries.remove(&twin).map(|entry| entry.known.role);
            if let (Some(entry), Some(role)) = (self.entries.get_mut(&id), role) {
                entry.known.role = entry.known.role.max(role);
            }
        }
        ended
    }

    /// A link is gone. Its peer has another one (`left`), or is tried again after a pause, longer where the link did not live
    /// long.
    pub(crate) fn handle_down(&mut self, now: Instant, peer: &PeerId, link: LinkId, left: Option<LinkId>) {
        let Some(id) = self.by_peer.get(peer).copied() else { return };
        let Some(entry) = self.entries.get_mut(&id) else { return };
        match entry.state {
            State::Up { link: up, since } if up == link => {
                if let Some(link) = left {
                    entry.state = State::Up { link, since };
                    return;
                }
                if now.since(since) >= STABLE {
                    entry.failures = 0;
                }
                if now.since(since) >= SETTLED {
                    entry.lost = Some(now);
                }
                self.pause(now, id);
            }
            _ => {}
        }
    }

    /// An entry could not be reached: it is tried again after a pause. What is to be told of that.
    fn fail(&mut self, now: Instant, id: BookId) -> Option<Unreached> {
        let Known { peer, addresses, .. } = self.entries.get(&id)?.known.clone();
        let next = self.pause(now, id);
        if let Some(entry) = self.entries.get_mut(&id) {
            if entry.told.is_some_and(|told| now < told + TOLD_EVERY) {
                return None;
            }
            entry.told = Some(now);
        }
        Some(Unreached { peer, addresses, next })
    }

    /// Sets the pause before an entry's next try, and says when it is over; `None` where the entry is forgotten.
    fn pause(&mut self, now: Instant, id: BookId) -> Option<Instant> {
        let entry = self.entries.get_mut(&id)?;
        let quick = entry.is_quick(now);
        entry.failures = if quick { 1 } else { entry.failures.saturating_add(1) };
        if entry.known.role == Role::Candidate && entry.failures >= self.candidate_tries {
            self.forget(id);
            return None;
        }
        entry.state = State::Waiting;
        let next = now + self.backoff.pause(entry.failures, &mut self.rng);
        self.waiting.set(id, Some(next));
        Some(next)
    }

    fn undue(&mut self, id: BookId) {
        self.due.iter_mut().for_each(|due| due.retain(|other| *other != id));
    }

    fn forget(&mut self, id: BookId) -> Option<DialId> {
        self.undue(id);
        self.waiting.set(id, None);
        self.tries.set(id, None);
        let entry = self.entries.remove(&id)?;
        if let Some(peer) = entry.known.peer {
            self.by_peer.remove(&peer);
        }
        let State::Dialling(dial) = entry.state else { return None };
        self.by_dial.remove(&dial).map(|_| dial)
    }

    /// Makes room: the waiting candidate with the most failures.
    fn forget_one(&mut self) -> bool {
        let idle = |entry: &Entry| {
            entry.known.role == Role::Candidate && matches!(entry.state, State::Waiting | State::Due)
        };
        let worst =
            self.entries.iter().filter(|(_, entry)| idle(entry)).max_by_key(|(_, entry)| entry.failures);
        let Some(id) = worst.map(|(id, _)| *id) else { return false };
        self.forget(id);
        true
    }
}

#[cfg(test)]
mod tests;
