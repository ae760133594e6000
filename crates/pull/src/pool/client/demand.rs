//! What this node wants at all, and how much it lets each server offer.

use std::time::Duration;

use bytes::BytesMut;
use weir_base::codec::put_varint;
use weir_base::stream::Side;
use weir_base::time::nanos;
use weir_base::{Dealer, Fault, Instant, Rope};

use super::candidates::Candidates;
use super::grant::Renew;
use crate::pool::codec;
use crate::pool::common::Common;
use crate::pool::faults::BEYOND_PERMIT;
use crate::pool::links::{Account, Links, Slot};
use crate::pool::timer::Timer;

/// How long a link waits for a permit when all that may be granted to its side is.
const LENT_PAUSE: Duration = Duration::from_secs(1);
/// How long the credit of what a server called gone takes to return, at most: it can offer no more than its window of such items
/// in that time.
const GONE_PAUSE: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(crate) struct Demand {
    /// Grants nothing while true.
    pub(crate) paused: bool,
    /// The application's floor.
    pub(crate) floor: u64,
    /// The lowest priority that finds a place, while the pool is full.
    pub(crate) full: u64,
    pub(crate) lent: Lent,
    /// Whose part of all grants is how large.
    pub(crate) parts: Dealer<Slot>,
    /// Nanoseconds from hand-over to the verdict, moving mean.
    verdict_time: u64,
}

/// Entries granted that have not returned, to links of this node's own choice and to inbound ones. Each side has half of
/// what may be granted at all, also while the other has no links: grants can not be taken back.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lent {
    own: u64,
    inbound: u64,
}

impl Lent {
    pub(crate) const fn of(&self, side: Side) -> u64 {
        match side {
            Side::Inbound => self.inbound,
            Side::Dialled | Side::Pinned => self.own,
        }
    }

    const fn place(&mut self, side: Side) -> &mut u64 {
        match side {
            Side::Inbound => &mut self.inbound,
            Side::Dialled | Side::Pinned => &mut self.own,
        }
    }

    pub(crate) const fn add(&mut self, side: Side, entries: u64) {
        *self.place(side) += entries;
    }

    pub(crate) const fn take(&mut self, side: Side, entries: u64) {
        let place = self.place(side);
        *place = place.saturating_sub(entries);
    }
}

impl Demand {
    pub(crate) fn new() -> Self {
        let (lent, parts) = (Lent::default(), Dealer::new(1, 1));
        Self { paused: false, floor: 0, full: 0, lent, parts, verdict_time: 0 }
    }

    /// The lowest priority that is wanted.
    pub(crate) fn least(&self) -> u64 {
        self.floor.max(self.full)
    }

    /// The application has decided on an item, so long after it was handed over.
    pub(crate) fn decided(&mut self, after: Duration) {
        self.verdict_time = self.verdict_time / 8 * 7 + nanos(after) / 8;
    }

    /// The part of `total` grants that a link may have: less what those of its group that left still have undecided.
    fn part(&self, links: &Links, slot: Slot, total: u64) -> u64 {
        let departed = links.get(slot).map_or(0, |link| links.departed_charges(&Account::of(&link.info)));
        self.parts.part(slot, total).saturating_sub(departed)
    }

    /// A server uses its permit. A fault where that is more than it has.
    pub(crate) fn use_permit(
        &mut self,
        common: &mut Common,
        slot: Slot,
        entries: u64,
        bytes: u64,
    ) -> Result<(), Fault> {
        let Some(link) = common.links.get_mut(slot) else { return Ok(()) };
        if !link.intake.grant.take(entries, bytes) {
            return Err(BEYOND_PERMIT);
        }
        self.lent.take(link.info.side, entries);
        Ok(())
    }

    /// A server pays for a candidate until it is decided.
    pub(crate) fn charge(&mut self, common: &mut Common, slot: Slot) {
        let Some(link) = common.links.get_mut(slot) else { return };
        link.intake.grant.charge();
        self.lent.add(link.info.side, 1);
    }

    /// Credit may have returned on this link: tells the peer, if it is time.
    pub(crate) fn credit(&self, common: &mut Common, candidates: &Candidates, now: Instant, slot: Slot) {
        let Some(link) = common.links.get_mut(slot) else { return };
        if self.paused || link.intake.due || link.intake.lane.stream.is_none() {
            return;
        }
        if link.intake.is_crowded() {
            link.intake.through(candidates);
        }
        let lent_out = self.lent.of(link.info.side) >= u64::from(common.config.max_grants) / 2;
        let renew = link.intake.grant.renew(link.intake.extra());
        if lent_out {
            if renew != Renew::No && common.timers.get(Timer::Permit(slot)).is_none() {
                common.timers.set(Timer::Permit(slot), Some(now + LENT_PAUSE));
            }
            return;
        }
        match renew {
            Renew::Now => renew_permit(common, slot),
            Renew::Soon if common.timers.get(Timer::Permit(slot)).is_none() => {
                common.timers.set(Timer::Permit(slot), Some(now + link.rtt()));
            }
            _ => {}
        }
    }

    /// A candidate charged to this link is decided.
    pub(crate) fn give_back(
        &mut self,
        common: &mut Common,
        candidates: &Candidates,
        now: Instant,
        slot: Slot,
    ) {
        if let Some(departed) = common.links.departed_mut(slot) {
            departed.charged = departed.charged.saturating_sub(1);
        } else if let Some(link) = common.links.get_mut(slot) {
            self.lent.take(link.info.side, 1);
            link.intake.grant.give_back();
            self.credit(common, candidates, now, slot);
        }
    }

    /// A candidate charged to this link is gone at it: its credit returns later.
    pub(crate) fn count_gone(&mut self, common: &mut Common, now: Instant, slot: Slot) {
        let Some(link) = common.links.get_mut(slot) else { return };
        link.intake.grant.count_gone();
        self.lent.add(link.info.side, 1);
        if common.timers.get(Timer::Gone(slot)).is_none() {
            common.timers.set(Timer::Gone(slot), Some(now + GONE_PAUSE));
        }
    }

    /// What was gone at this link counts no more.
    pub(crate) fn forget_gone(
        &mut self,
        common: &mut Common,
        candidates: &Candidates,
        now: Instant,
        slot: Slot,
    ) {
        if let Some(link) = common.links.get_mut(slot) {
            self.lent.take(link.info.side, link.intake.grant.forget_gone());
            self.credit(common, candidates, now, slot);
        }
    }

    /// Writes a permit, where one is due.
    pub(crate) fn write(
        &mut self,
        common: &mut Common,
        candidates: &Candidates,
        now: Instant,
        slot: Slot,
        out: &mut Rope,
    ) {
        let Some(link) = common.links.get_mut(slot) else { return };
        let through = link.intake.through(candidates);
        let side = link.info.side;
        let (lent, total) = (self.lent.of(side), u64::from(common.config.max_grants));
        let (least, most) = (u64::from(common.config.entries), u64::from(common.config.max_entries));
        let most = if lent >= total / 8 * 3 { least } else { most };
        let most = most.min(self.part(&common.links, slot, total));
        let Some(link) = common.links.get_mut(slot) else { return };
        if !std::mem::take(&mut link.intake.due) {
            return;
        }
        let cycle = link.rtt() * 2 + Duration::from_nanos(self.verdict_time);
        let extra = link.intake.extra();
        let grant = &mut link.intake.grant;
        let before = grant.open();
        grant.adapt(now, cycle, least, most);
        let spare = if self.paused { 0 } else { (total / 2).saturating_sub(lent) };
        let (entries, bytes) = grant.give(extra, spare);
        self.lent.add(side, grant.open() - before);
        if spare == 0 && !self.paused {
            common.timers.set(Timer::Permit(slot), Some(now + LENT_PAUSE)); // until others have given back
        }
        let from = link.intake.take_move();
        let floor = self.least();
        let mut body = BytesMut::with_capacity(codec::MAX_WANT);
        put_varint(&mut body, codec::WANT);
        codec::encode_want(&codec::Want { entries, bytes, through, floor, from }, &mut body);
        let mut head = BytesMut::with_capacity(2);
        put_varint(&mut head, body.len() as u64);
        out.put(&head);
        out.put(&body);
        common.stats.wants_sent += 1;
        common.counters.messages_out += 1;
    }
}

/// A permit goes out with the next bytes on this link.
pub(crate) fn renew_permit(common: &mut Common, slot: Slot) {
    common.timers.set(Timer::Permit(slot), None);
    let Some(link) = common.links.get_mut(slot) else { return };
    link.intake.due = true;
    link.intake.lane.ask_write(link.id, &mut common.asks);
}

/// The peer should go on offering from `index`, as soon as that may be asked again.
pub(crate) fn move_to(common: &mut Common, now: Instant, slot: Slot, index: u64) {
    let Some(link) = common.links.get_mut(slot) else { return };
    match link.intake.move_to(now, index) {
        Ok(()) => renew_permit(common, slot),
        Err(allowed) => common.timers.set(Timer::Move(slot), Some(allowed)),
    }
}

/// The pause after a move is over.
pub(crate) fn move_due(common: &mut Common, now: Instant, slot: Slot) {
    let wished = common.links.get_mut(slot).and_then(|link| link.intake.take_wished());
    if let Some(index) = wished {
        move_to(common, now, slot, index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_to_a_verdict_is_a_mean_of_eighths() {
        let mut demand = Demand::new();
        for (after, mean) in [(16_000, 2_000), (16_000, 1_750 + 2_000), (800, 3_276 + 100)] {
            demand.decided(Duration::from_nanos(after));
            assert_eq!(demand.verdict_time, mean);
        }
    }

    #[test]
    fn what_is_lent_is_counted_by_side() {
        let mut lent = Lent::default();
        lent.add(Side::Inbound, 5);
        lent.add(Side::Dialled, 7);
        lent.add(Side::Pinned, 2);
        lent.take(Side::Dialled, 1);
        assert_eq!([Side::Inbound, Side::Dialled, Side::Pinned].map(|side| lent.of(side)), [5, 8, 8]);
        lent.take(Side::Inbound, 9);
        assert_eq!(lent.of(Side::Inbound), 0);
    }
}
