//! Accounts of links that ended: who delivered pays, whether it is still linked or not (`docs/spec/fairness.md`).
//!
//! A link's slot stays its account's when it ends: a peer that comes back from where it was finds what it owes, its queue, and
//! the candidates charged to it. What it had delivered is handed over in the turns of those that left (`turns`).
//!
//! Bounds: 1,024 accounts; beyond it, what the first to leave had delivered joins the queue of another of its group. Of what
//! they delivered at most an eighth of all grants, and of all bytes in flight; beyond it, the longest queue loses its last half.

use std::time::Duration;

use weir_base::Instant;

use super::Pool;
use super::client::{CandId, State};
use super::links::{Account, Joined, Link, Slot};
use super::turns::Presence;

/// How long an account is kept once its link has ended and nothing of it waits: as long as the largest debt.
const REMEMBERED: Duration = Duration::from_secs(10);
/// Accounts kept without a link.
const MAX_DEPARTED: usize = 1_024;
/// The part of all grants, and of all bytes in flight, that what they delivered may take.
const DEPARTED_PART: u64 = 8;

impl Pool {
    /// A new link takes its place, that of its account where it has one. `None` where no place is left.
    pub(crate) fn join(&mut self, now: Instant, link: Link) -> Option<Slot> {
        self.forget_departed(now);
        let info = link.info;
        let slot = match self.common.links.insert(link)? {
            Joined::New(slot) => {
                self.add_account(slot, &Account::of(&info), Presence::Linked);
                slot
            }
            Joined::Back(slot) => {
                let charged = self.common.links.get(slot).map_or(0, |link| link.intake.grant.charged());
                self.client.demand.lent.add(info.side, charged);
                self.checking.come_back(slot);
                slot
            }
        };
        self.client.demand.parts.add(slot, info.side, info.group);
        Some(slot)
    }

    fn add_account(&mut self, slot: Slot, account: &Account, presence: Presence) {
        let (side, group) = (account.side(), account.group());
        self.client.asking.fetch.add(slot, side, group);
        self.checking.add(slot, (side, group), presence);
        self.uploads.add(slot, side, group);
    }

    /// A link has ended, and all of it is settled but what it delivered.
    pub(crate) fn depart(&mut self, now: Instant, slot: Slot) {
        self.client.asking.fetch.depart(slot);
        self.checking.depart(slot);
        self.uploads.depart(slot);
        self.client.demand.parts.remove(slot);
        if let Some(link) = self.common.links.get(slot) {
            self.client.demand.lent.take(link.info.side, link.intake.grant.outstanding());
        }
        self.common.links.depart(now, slot);
        self.forget_departed(now);
        self.trim_departed(now);
    }

    /// The slot of an account, whose link may have ended long ago.
    pub(crate) fn slot_of(&mut self, now: Instant, account: &Account) -> Option<Slot> {
        if let Some(slot) = self.common.links.find(account) {
            return Some(slot);
        }
        let slot = self.common.links.open(now, *account)?;
        self.add_account(slot, account, Presence::Departed);
        Some(slot)
    }

    fn forget_departed(&mut self, now: Instant) {
        let due = self.common.links.all_departed().take_while(|(since, _)| *since + REMEMBERED <= now);
        for slot in due.map(|(_, slot)| slot).collect::<Vec<_>>() {
            if self.checking.has_work(slot) {
                self.common.links.prolong(now, slot);
            } else {
                self.release(slot);
            }
        }
        let many = self.common.links.all_departed().count().saturating_sub(MAX_DEPARTED);
        for slot in self.common.links.all_departed().take(many).map(|(_, slot)| slot).collect::<Vec<_>>() {
            self.bequeath(slot);
            self.release(slot);
        }
    }

    fn release(&mut self, slot: Slot) {
        self.client.asking.fetch.remove(slot);
        self.checking.remove(slot);
        self.uploads.remove(slot);
        self.common.links.release(slot);
    }

    /// What an account delivered is another's from now on, one of its group where there is one.
    fn bequeath(&mut self, slot: Slot) {
        let Some(heir) = self.common.links.heir(slot).filter(|_| self.checking.has_work(slot)) else {
            return;
        };
        let all: Vec<CandId> = self.checking.held_of(slot).chain(self.checking.open_of(slot)).collect();
        for id in all {
            let charged =
                self.client.asking.candidates.get_mut(id).and_then(|candidate| candidate.charged.as_mut());
            if let Some(charged) = charged.filter(|charged| **charged == slot) {
                *charged = heir;
                self.common.links.charge_departed(heir);
            }
        }
        self.checking.give_to(slot, heir);
    }

    /// Keeps what accounts without a link delivered within its bounds: the longest queue loses its last half. Others that
    /// announced the same are asked for it.
    fn trim_departed(&mut self, now: Instant) {
        let (most, most_bytes) = (
            u64::from(self.common.config.max_grants) / DEPARTED_PART,
            self.common.config.in_flight / DEPARTED_PART,
        );
        loop {
            let waiting =
                self.common.links.all_departed().map(|(_, slot)| (self.checking.waiting(slot), slot));
            let (mut items, mut bytes, mut longest, mut largest) = (0, 0, None, None);
            for ((count, size), slot) in waiting {
                (items, bytes) = (items + count as u64, bytes + size);
                longest = longest.max(Some((count, slot)));
                largest = largest.max(Some((size, slot)));
            }
            let slot = match (longest, largest) {
                (Some((_, slot)), _) if items > most => slot,
                (_, Some((_, slot))) if bytes > most_bytes => slot,
                _ => return,
            };
            for _ in 0..self.checking.waiting(slot).0.div_ceil(2) {
                if let Some(id) = self.checking.last(slot) {
                    self.drop_body(now, id, slot);
                }
            }
        }
    }

    fn drop_body(&mut self, now: Instant, id: CandId, slot: Slot) {
        let Some(candidate) = self.client.asking.candidates.get_mut(id) else { return };
        if let State::Held(body) = &candidate.state {
            self.client.asking.fetch.decided(body.item.0.bytes.len() as u64);
            candidate.state = State::Wanted;
            self.client.cannot_deliver(&mut self.common, now, id, slot);
        }
    }
}
