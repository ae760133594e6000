//! Offers in: what becomes of the entries that come.

use weir_base::codec::varint_len;
use weir_base::{Chunk, Fault, Instant};

use super::Client;
use super::candidates::{Announcer, CandId, Candidate, Claim, State};
use super::demand::move_to;
use crate::framing::{MALFORMED, Message};
use crate::pool::codec::{self, Entry};
use crate::pool::common::Common;
use crate::pool::faults::{OUT_OF_PLACE, OVERSIZED};
use crate::pool::inventory::Location;
use crate::pool::links::{Opening, Role, Slot};

impl Client {
    /// Bytes came on the stream that carries offers.
    pub(crate) fn read_offers(&mut self, common: &mut Common, now: Instant, slot: Slot, chunk: Chunk) {
        common.stats.control_bytes += chunk.len() as u64;
        let Some(link) = common.links.get_mut(slot) else { return };
        link.intake.inbox.push(chunk);
        loop {
            let Some(link) = common.links.get_mut(slot) else { return };
            let done = match link.intake.inbox.next(now) {
                Ok(Some(message)) => self.offers_message(common, now, slot, &message),
                Ok(None) => break,
                Err(_) => Err(MALFORMED),
            };
            if let Err(fault) = done {
                return common.break_off(slot, Role::Intake, fault);
            }
        }
        common.watch(slot, Role::Intake);
        self.credit(common, now, slot);
    }

    fn offers_message(
        &mut self,
        common: &mut Common,
        now: Instant,
        slot: Slot,
        message: &Message,
    ) -> Result<(), Fault> {
        common.counters.messages_in += 1;
        let body = varint_len(message.kind) + message.body.len();
        let bytes = varint_len(body as u64) + body;
        match message.kind {
            codec::OFFER | codec::FIRST => self.offer(common, now, slot, message, bytes as u64),
            _ => {
                self.demand.use_permit(common, slot, 0, bytes as u64)?;
                common.skip(now, slot, message)
            }
        }
    }

    fn offer(
        &mut self,
        common: &mut Common,
        now: Instant,
        slot: Slot,
        message: &Message,
        bytes: u64,
    ) -> Result<(), Fault> {
        let (head, entries) = codec::decode_offer(message.kind, &message.body).map_err(|_| MALFORMED)?;
        self.demand.use_permit(common, slot, 0, bytes)?;
        common.stats.offers += 1;
        let Some(link) = common.links.get_mut(slot) else { return Ok(()) };
        if !link.intake.follows(&head) {
            return Err(OUT_OF_PLACE);
        }
        let taken = common.inventory.ids.takes(head.key);
        let mut count = 0;
        for entry in entries {
            let entry = entry.map_err(|_| MALFORMED)?;
            count += 1;
            self.demand.use_permit(common, slot, 1, 0)?;
            if taken {
                self.entry(common, now, slot, head.key, entry)?;
            }
        }
        common.stats.entries += count;
        if let Some(link) = common.links.get_mut(slot).filter(|_| count > 0) {
            link.intake.lane.works();
        }
        if !taken {
            move_to(common, now, slot, head.from);
        }
        self.demand.use_permit(common, slot, u64::from(count == 0), 0)
    }

    fn entry(
        &mut self,
        common: &mut Common,
        now: Instant,
        slot: Slot,
        key: u32,
        entry: Entry,
    ) -> Result<(), Fault> {
        let Entry { index, short, size, summary } = entry;
        if is_known(common, slot, key, &entry) {
            return Ok(());
        }
        if common.links.get(slot).is_none_or(|link| link.gets.lane.opening == Opening::Never) {
            return Ok(()); // it could not be asked for it
        }
        let announcer = Announcer::new(slot, index);
        let claim = Claim { key, short, size, summary };
        if let Some(id) = self.asking.candidates.find(&claim) {
            self.announced(common, now, id, announcer);
            return Ok(());
        }
        let Some(link) = common.links.get_mut(slot) else { return Ok(()) };
        if size > link.max_item() {
            return Err(OVERSIZED);
        }
        let priority = (common.config.rules.judge)(&summary);
        let floor = self.demand.least();
        let Some(priority) = priority.filter(|priority| *priority >= floor) else { return Ok(()) };
        let id = self.asking.candidates.insert(Candidate::new(claim, priority, Some(announcer)));
        link.intake.add(index, id);
        self.demand.charge(common, slot);
        self.asking.wanted(&mut common.links, &mut common.asks, now, id);
        Ok(())
    }

    /// A candidate was announced once more.
    fn announced(&mut self, common: &mut Common, now: Instant, id: CandId, mut announcer: Announcer) {
        let slot = announcer.slot;
        let (Some(link), Some(candidate)) = (common.links.get_mut(slot), self.asking.candidates.get_mut(id))
        else {
            return;
        };
        candidate.heard.insert(slot);
        link.intake.add(announcer.index, id);
        let State::Wanted = candidate.state else { return };
        if candidate.asks(slot) {
            return; // under its index of before; it will be answered
        }
        if let Some(before) = link.intake.reserve.remove(&id).filter(|_| candidate.has_reserve) {
            announcer.listed = before.listed;
        }
        if self.asking.admit(&mut common.links, id, announcer) {
            return self.asking.wanted(&mut common.links, &mut common.asks, now, id);
        }
        self.asking.put_in_reserve(&mut common.links, id, announcer);
        if self.asking.candidates.get(id).is_some_and(Candidate::wants_source) {
            self.asking.wait_in_reserve_at(&mut common.links, slot, id);
        }
    }
}

/// Whether this node has the item, or has decided on it. Notes that the peer has it too.
fn is_known(common: &mut Common, slot: Slot, key: u32, entry: &Entry) -> bool {
    match common.inventory.ids.find(key, entry.short) {
        Some(Location::Live(index)) => {
            let same = common.inventory.log.get(index).is_some_and(|item| {
                item.0.bytes.len() as u64 == u64::from(entry.size) && item.0.summary == entry.summary
            });
            if same {
                common.inventory.known.insert(index, slot);
            }
            same
        }
        Some(Location::Deferred(at)) => common.inventory.deferred.heard(at, slot, entry.size, &entry.summary),
        Some(Location::Seen(_)) => true,
        None => false,
    }
}
