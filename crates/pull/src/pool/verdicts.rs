//! The application's verdicts, and deferred items that come again.

use weir_base::Instant;
use weir_base::stream::Ask;

use super::Pool;
use super::client::{Body, CandId, Candidate, Claim, State};
use super::faults::{MOSTLY_GONE, REJECTED};
use super::inventory::{DeferredItem, Location};
use super::types::{Contents, Event, Item, Verdict};
use crate::machine::{Refused, Ticket};

impl Pool {
    /// Candidates taken long ago come again later.
    pub(super) fn verdicts_due(&mut self, now: Instant) {
        while let Some(ticket) = self.checking.pop_overdue(now) {
            let pause = self.common.config.verdict_time;
            let _ = self.verdict(now, ticket, now, Verdict::Defer(pause)); // the ticket is open
        }
    }

    /// The application has decided, at a time not after now.
    pub(crate) fn verdict(
        &mut self,
        now: Instant,
        ticket: Ticket,
        at: Instant,
        verdict: Verdict,
    ) -> Result<(), Refused> {
        let id = self.checking.candidate(ticket).ok_or(Refused::UnknownTicket)?;
        let Some(State::Checking { body, since, .. }) =
            self.client.asking.candidates.get(id).map(|c| c.state.clone())
        else {
            return Err(Refused::UnknownTicket);
        };
        self.client.demand.decided(now.since(since));
        self.checking.end(at, ticket);
        let Some(candidate) = self.close(now, id) else { return Err(Refused::UnknownTicket) };
        match verdict {
            Verdict::Accept => self.accept(now, &candidate, *body),
            Verdict::Reject => {
                self.common.stats.faults += 1;
                self.common.asks.push_back(Ask::Blame(body.from.link, REJECTED)); // the stack knows whose link it was, linked or not
                self.common.inventory.remember(&body.item.0.id);
            }
            Verdict::Ignore => self.common.inventory.remember(&body.item.0.id),
            Verdict::Defer(pause) => self.client.defer(&mut self.common, now, candidate, *body, pause),
        }
        Ok(())
    }

    /// The application has the item of a candidate already.
    pub(super) fn share(&mut self, ticket: Ticket, item: Item) -> Result<(), Refused> {
        let id = self.checking.candidate(ticket).ok_or(Refused::UnknownTicket)?;
        let candidate = self.client.asking.candidates.get_mut(id);
        let Some(State::Checking { body, .. }) = candidate.map(|candidate| &mut candidate.state) else {
            return Err(Refused::UnknownTicket);
        };
        let (came, has) = (&*body.item.0, &*item.0);
        if (came.id, came.summary, came.priority) != (has.id, has.summary, has.priority) {
            return Err(Refused::Invalid);
        }
        body.item = item;
        Ok(())
    }

    fn accept(&mut self, now: Instant, candidate: &Candidate, body: Body) {
        let from = self.common.links.slot(body.from.link);
        for slot in self.client.asking.judge_gone(&mut self.common.links, candidate, from) {
            self.common.blame(slot, MOSTLY_GONE);
        }
        let id = body.item.0.id;
        let place = self.common.inventory.location_of(&id);
        if let Some(Location::Seen(_)) = place {
            return; // removed while it was being checked
        }
        if !self.append(now, body.item, place, &candidate.heard) {
            self.common.events.push_back(Event::Evicted { id });
        }
    }

    /// A candidate is decided or given up: the application needs it no more; credit and reservations return.
    pub(super) fn close(&mut self, now: Instant, id: CandId) -> Option<Candidate> {
        let candidate = self.client.drop_candidate(&mut self.common, now, id)?;
        if let State::Checking { ticket, .. } = candidate.state {
            self.checking.end(now, ticket);
        }
        Some(candidate)
    }

    /// Deferred items that come again by `due` are candidates again.
    pub(super) fn release_deferred(&mut self, now: Instant, due: Instant) {
        while let Some(DeferredItem { item, heard, from, .. }) = self.common.inventory.undefer(due) {
            let Some(slot) = self.slot_of(now, &from.account) else { continue }; // 65,535 links are up
            let Contents { id, bytes, priority, summary } = &*item.0;
            let size = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            let ids = &self.common.inventory.ids;
            let claim = Claim { key: ids.number(), short: ids.short(id), size, summary: *summary };
            let mut candidate = Candidate::new(claim, *priority, None);
            candidate.heard = heard;
            candidate.state = State::Held(Box::new(Body { item, from }));
            self.client.asking.fetch.hold(u64::from(size));
            let id = self.client.asking.candidates.insert_released(candidate);
            self.checking.hold(slot, id, size);
        }
    }
}
