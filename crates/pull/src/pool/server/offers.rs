//! Offers out: permits come, offers go when a link's clock strikes.

use sha2::{Digest as _, Sha256};
use weir_base::identity::PeerId;
use weir_base::{Chunk, Fault, Instant, Rope};

use super::outlet::{Flow, Outlet, Recipient};
use crate::framing::{MALFORMED, Message};
use crate::pool::codec::{self, Epoch};
use crate::pool::common::Common;
use crate::pool::inventory::{Heads, Phase};
use crate::pool::links::{Role, Slot};
use crate::pool::timer::Timer;

/// What this node offers, on all links.
#[derive(Debug)]
pub(crate) struct Offers {
    secret: [u8; 32],
    idle: Vec<Slot>, // links whose cursors are at the head of the log
}

impl Offers {
    /// `secret` must be drawn anew whenever the log begins at 0.
    pub(crate) const fn new(secret: [u8; 32]) -> Self {
        Self { secret, idle: Vec::new() }
    }

    /// The state of a new link.
    pub(crate) fn outlet(&self, peer: &PeerId) -> Outlet {
        Outlet::new(phase_for(&self.secret, peer), epoch_for(&self.secret, peer))
    }

    /// Bytes came on the stream that carries the peer's permits.
    pub(crate) fn read(&mut self, common: &mut Common, now: Instant, slot: Slot, chunk: Chunk) {
        common.stats.control_bytes += chunk.len() as u64;
        let Some(link) = common.links.get_mut(slot) else { return };
        link.outlet.inbox.push(chunk);
        loop {
            let Some(link) = common.links.get_mut(slot) else { return };
            let done = match link.outlet.inbox.next(now) {
                Ok(Some(message)) => want(common, now, slot, &message),
                Ok(None) => break,
                Err(_) => Err(MALFORMED),
            };
            if let Err(fault) = done {
                return common.break_off(slot, Role::Outlet, fault);
            }
        }
        common.watch(slot, Role::Outlet);
        self.more(common, now, slot);
    }

    /// The permit, the cursor or the hello changed: what came before the link's clock last struck is offered at once.
    pub(crate) fn more(&mut self, common: &mut Common, now: Instant, slot: Slot) {
        let Some(link) = common.links.get(slot) else { return };
        let waits = matches!(link.outlet.flow(), Flow::Permit | Flow::Items);
        if waits && link.ready.is_some() && link.outlet.may_offer() {
            self.go_on(common, now, slot);
        }
    }

    /// There is a permit: offers what may be, or waits for the clock or for items.
    fn go_on(&mut self, common: &mut Common, now: Instant, slot: Slot) {
        let (head, heads) = (common.inventory.log.head(), &common.inventory.heads);
        let Some(link) = common.links.get_mut(slot) else { return };
        let outlet = &mut link.outlet;
        let cursor = outlet.cursor();
        if cursor < heads.struck(now, outlet.phase(), head) {
            outlet.wait_for(Flow::Writing); // a link that is still in the list is skipped there
            outlet.lane.ask_write(link.id, &mut common.asks);
        } else if cursor < head {
            outlet.wait_for(Flow::Clock);
            let strike = now + heads.until_strike(now, outlet.phase());
            common.timers.set(Timer::Offers(slot), Some(strike));
        } else if outlet.wait_for_items() {
            self.idle.push(slot);
        }
    }

    /// An item was appended: sets the clocks of the links that wait for one.
    pub(crate) fn appended(&mut self, common: &mut Common, now: Instant) {
        for slot in std::mem::take(&mut self.idle) {
            if common.links.get_mut(slot).is_some_and(|link| link.outlet.unlist()) {
                self.go_on(common, now, slot);
            }
        }
    }

    /// Writes the next offer, where there is one. Returns the bytes of entries that were offered before: within the link's turn of
    /// upload.
    pub(crate) fn write(&mut self, common: &mut Common, now: Instant, slot: Slot, out: &mut Rope) -> u64 {
        let Some(link) = common.links.get_mut(slot) else { return 0 };
        let (Flow::Writing, Some(ready)) = (link.outlet.flow(), link.ready) else { return 0 };
        let left = link.serving.turn.map_or(0, |turn| turn.left());
        let to = Recipient { slot, ready };
        let offered = link.outlet.offer(now, &common.inventory, (&to, left), out, &mut common.scratch);
        if offered.entries > 0 {
            common.stats.offers_sent += 1;
            common.stats.entries_sent += offered.entries;
            common.counters.messages_out += 1;
            return offered.again;
        }
        if !link.outlet.may_offer() {
            link.outlet.wait_for(Flow::Permit);
        } else if offered.needs_turn {
            link.outlet.wait_for(Flow::Turn);
        } else if offered.too_much {
            common.timers.set(Timer::Offers(slot), Some(link.outlet.waits_until()));
            link.outlet.wait_for(Flow::Pause);
        } else if link.outlet.cursor()
            < common.inventory.heads.struck(now, link.outlet.phase(), common.inventory.log.head())
        {
            // Much was skipped; the rest in another call.
            common.timers.set(Timer::Offers(slot), Some(Instant::ZERO));
            link.outlet.wait_for(Flow::Pause);
        } else {
            self.go_on(common, now, slot);
        }
        0
    }
}

/// A permit, or what is skipped.
fn want(common: &mut Common, now: Instant, slot: Slot, message: &Message) -> Result<(), Fault> {
    common.counters.messages_in += 1;
    if message.kind != codec::WANT {
        return common.skip(now, slot, message);
    }
    let want = codec::decode_want(&message.body).map_err(|_| MALFORMED)?;
    let head = common.inventory.log.head();
    let Some(link) = common.links.get_mut(slot) else { return Ok(()) };
    if link.outlet.take(now, &want, head)? {
        common.inventory.known.forget(slot); // it may have lost what it had
    }
    Ok(())
}

/// A link's clock struck, or its pause is over.
pub(crate) fn strike(common: &mut Common, slot: Slot) {
    let waits = |flow| matches!(flow, Flow::Clock | Flow::Pause);
    let link = common.links.get_mut(slot).filter(|link| waits(link.outlet.flow()));
    let Some(link) = link else { return };
    link.outlet.wait_for(Flow::Writing);
    link.outlet.lane.ask_write(link.id, &mut common.asks);
}

/// What this node shows of its log's life to one peer.
pub(crate) fn epoch_for(secret: &[u8; 32], peer: &PeerId) -> Epoch {
    Epoch(number_for(secret, b"", peer))
}

/// When the clock of a peer's links strikes: the same for all of them, and for those with which it comes back, so that a second
/// link tells it no more of when an item came.
fn phase_for(secret: &[u8; 32], peer: &PeerId) -> Phase {
    Heads::phase(u64::from_le_bytes(number_for(secret, b"clock", peer)))
}

/// Eight bytes that only this node can tell, for one use and peer.
fn number_for(secret: &[u8; 32], purpose: &[u8], peer: &PeerId) -> [u8; 8] {
    let hash =
        Sha256::new().chain_update(secret).chain_update(purpose).chain_update(peer.as_bytes()).finalize();
    let mut number = [0; 8];
    number.iter_mut().zip(hash.iter()).for_each(|(to, from)| *to = *from);
    number
}
