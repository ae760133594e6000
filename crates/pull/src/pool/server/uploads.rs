//! Answers out: upload is dealt in turns, by bytes.

use std::collections::BTreeMap;
use std::time::Duration;

use weir_base::stream::{Group, Side};
use weir_base::{Chunk, Dealer, Instant, Rope};

use super::outlet::Flow;
use super::serving::Turn;
use crate::framing::MALFORMED;
use crate::pool::codec::{self, MAX_ITEM_HEAD, MAX_LIST};
use crate::pool::common::Common;
use crate::pool::links::{Link, Role, Slot};

/// Bytes by which all links that wait rise together: none, so that a link that asks for less than its share has the next turn. How much a
/// turn carries is [`Turn`]'s.
const RISE: u64 = 0;
/// What a link may be behind.
const DEBT: u64 = 32 * 1024 * 1024;
/// Turns at once, of all links.
const TURNS: u64 = 8;
/// Turns of one link at once: half, so that one link of a side or group can use all that is its side's or group's.
const LINK_TURNS: u64 = 4;
/// A turn that the transport does not use for so long is not waited for.
const TURN_TIME: Duration = Duration::from_millis(20);

/// Who may answer now, over all links.
#[derive(Debug)]
pub(crate) struct Uploads {
    dealer: Dealer<Slot>,
    turns: BTreeMap<(Instant, Slot), u64>, // those still waited for: how many each link has
    open: u64,                             // their sum
}

impl Uploads {
    pub(crate) fn new() -> Self {
        Self { dealer: Dealer::new(RISE, DEBT), turns: BTreeMap::new(), open: 0 }
    }

    pub(crate) fn add(&mut self, slot: Slot, side: Side, group: Group) {
        self.dealer.add(slot, side, group);
    }

    pub(crate) fn set_share(&mut self, slot: Slot, quarters: u8) {
        self.dealer.set_share(slot, quarters);
    }

    /// The link is gone: nothing is sent there. What it owes the others stays.
    pub(crate) fn depart(&mut self, slot: Slot) {
        self.dealer.set_waiting(slot, false);
        self.turns.retain(|(_, other), _| *other != slot);
        self.open = self.turns.values().sum();
    }

    pub(crate) fn remove(&mut self, slot: Slot) {
        self.dealer.remove(slot);
    }

    /// One more turn for a link whose turns began at `since`.
    fn open(&mut self, since: Instant, slot: Slot) {
        *self.turns.entry((since, slot)).or_default() += 1;
        self.open += 1;
    }

    /// A link's turns are over, or no longer waited for.
    fn close(&mut self, since: Instant, slot: Slot) {
        self.open -= self.turns.remove(&(since, slot)).unwrap_or(0);
    }

    /// Turns that nobody uses: the link is blocked, and may use its turns later.
    pub(crate) fn turns_due(&mut self, now: Instant) {
        while let Some((&(since, slot), _)) = self.turns.first_key_value()
            && since + TURN_TIME <= now
        {
            self.close(since, slot);
            self.dealer.set_waiting(slot, false);
        }
    }

    pub(crate) fn next_timeout(&self) -> Option<(Instant, &'static str)> {
        let others_wait = self.open >= TURNS;
        let ((since, _), _) = self.turns.first_key_value().filter(|_| others_wait)?;
        Some((*since + TURN_TIME, "a turn of upload is not used"))
    }

    /// Bytes came on the stream that carries the peer's gets.
    pub(crate) fn read(&mut self, common: &mut Common, now: Instant, slot: Slot, chunk: Chunk) {
        common.stats.control_bytes += chunk.len() as u64;
        let Some(link) = common.links.get_mut(slot) else { return };
        link.serving.inbox.push(chunk);
        loop {
            let Some(link) = common.links.get_mut(slot) else { return };
            let done = match link.serving.inbox.next(now) {
                Ok(Some(message)) => {
                    common.counters.messages_in += 1;
                    match message.kind {
                        codec::GET | codec::CANCEL => link.serving.message(&message),
                        _ => common.skip(now, slot, &message),
                    }
                }
                Ok(None) => break,
                Err(_) => Err(MALFORMED),
            };
            if let Err(fault) = done {
                return common.break_off(slot, Role::Serving, fault);
            }
        }
        common.watch(slot, Role::Serving);
        let Some(link) = common.links.get(slot) else { return };
        if link.serving.has_work() {
            self.wait(common, slot);
        }
    }

    /// A link has something for a turn: it waits for one, or goes on with the one it has.
    fn wait(&mut self, common: &mut Common, slot: Slot) {
        let Some(link) = common.links.get_mut(slot) else { return };
        if link.serving.turn.is_none() {
            self.dealer.set_waiting(slot, true);
        } else if link.serving.has_work() {
            link.serving.lane.ask_write(link.id, &mut common.asks);
        }
    }

    /// Entries of so many bytes were offered again in a link's turn, or its offers wait for one.
    pub(crate) fn offered(&mut self, common: &mut Common, now: Instant, slot: Slot, again: u64) {
        let Some(link) = common.links.get_mut(slot) else { return };
        if let Some(turn) = &mut link.serving.turn {
            turn.used += again;
        }
        if link.outlet.flow() == Flow::Turn && link.serving.turn.is_none() {
            self.wait(common, slot);
            return self.give_turns(common, now);
        }
        let goes_on = again > 0 && link.outlet.flow() == Flow::Writing;
        self.end_turn(common, now, slot, goes_on);
    }

    /// A link's turn is over where it is used up, or nothing more is there for it.
    fn end_turn(&mut self, common: &mut Common, now: Instant, slot: Slot, goes_on: bool) {
        let Some(link) = common.links.get_mut(slot) else { return };
        let Some(turn) = link.serving.turn else { return };
        let waits = link.serving.has_work() || link.outlet.flow() == Flow::Turn;
        if turn.left() > 0 && (waits || goes_on) {
            return;
        }
        link.serving.turn = None;
        self.close(turn.since, slot);
        self.dealer.charge(slot, turn.used.saturating_sub(turn.charged));
        self.dealer.set_waiting(slot, waits);
        self.give_turns(common, now);
    }

    /// Lets links answer, by the dealer. A turn is paid for when it is given, so that turns at once are dealt as turns in a row.
    pub(crate) fn give_turns(&mut self, common: &mut Common, now: Instant) {
        while self.open < TURNS {
            let Some(slot) = self.dealer.whose_turn() else { return };
            let has_work = |link: &&mut Link| link.serving.has_work() || link.outlet.flow() == Flow::Turn;
            let Some(link) = common.links.get_mut(slot).filter(has_work) else {
                self.dealer.set_waiting(slot, false);
                continue;
            };
            let fresh = Turn { since: now, turns: 0, charged: 0, used: 0 };
            let turn = link.serving.turn.get_or_insert(fresh);
            turn.turns += 1;
            let (left, used) = (turn.left(), turn.used);
            let (cost, more) = link.serving.ahead(&common.inventory.log, left);
            let Some(turn) = &mut link.serving.turn else { return };
            let cost = (used + cost).max(turn.charged + 1);
            self.dealer.charge(slot, cost - turn.charged);
            turn.charged = cost;
            self.dealer.set_waiting(slot, more && turn.turns < LINK_TURNS);
            self.open(turn.since, slot);
            if link.serving.has_work() {
                link.serving.lane.ask_write(link.id, &mut common.asks);
            }
            if link.outlet.flow() == Flow::Turn {
                link.outlet.wait_for(Flow::Writing);
                link.outlet.lane.ask_write(link.id, &mut common.asks);
            }
        }
    }

    /// Writes answers of at most `left` bytes, as far as the link's turn goes.
    pub(crate) fn write(
        &mut self,
        common: &mut Common,
        now: Instant,
        slot: Slot,
        left: usize,
        out: &mut Rope,
    ) {
        let Some(link) = common.links.get_mut(slot) else { return };
        let inventory = &common.inventory;
        let head = inventory.heads.struck(now, link.outlet.phase(), inventory.log.head()); // later ones are not offered yet
        let serving = &mut link.serving;
        let Some(mut turn) = serving.turn else { return };
        let start = out.len();
        let whole = left == usize::MAX; // one message, whatever its size
        while serving.has_work() && turn.left() > 0 {
            let left = left.saturating_sub(out.len() - start);
            if (whole && out.len() > start) || (!serving.cancelled.is_empty() && left < MAX_LIST + 2) {
                break;
            }
            if serving.answer_gone(&mut common.scratch, out) {
                common.counters.messages_out += 1;
                continue;
            }
            let Some(&index) = serving.pending.first() else { break };
            let Some(item) = common.inventory.log.get(index).filter(|_| index < head) else {
                serving.pending.remove(&index);
                serving.cancelled.insert(index);
                continue;
            };
            let size = item.0.bytes.len();
            if left < MAX_ITEM_HEAD + size {
                break;
            }
            serving.pending.remove(&index);
            let mut head = [0; MAX_ITEM_HEAD];
            codec::encode_item_head(index, size, &mut &mut head[..]);
            out.put(head.get(..codec::head_len(index, size)).unwrap_or_default());
            out.push(item.0.bytes.clone());
            turn.used += size as u64;
            common.stats.items_sent += 1;
            common.stats.body_bytes_sent += size as u64;
            common.counters.messages_out += 1;
        }
        serving.turn = Some(turn);
        self.end_turn(common, now, slot, false);
    }

    /// The stream of a peer's gets ended; it may open another, which begins anew.
    pub(crate) fn restart(&mut self, common: &mut Common, slot: Slot) {
        let Some(link) = common.links.get_mut(slot) else { return };
        let waits = link.outlet.flow() == Flow::Turn;
        let before = std::mem::take(&mut link.serving);
        if let Some(turn) = before.turn {
            self.close(turn.since, slot);
        }
        self.dealer.set_waiting(slot, waits);
    }
}

#[cfg(test)]
impl Uploads {
    /// Who of both would be next, if both waited.
    pub(crate) fn first_of(&mut self, slots: [Slot; 2]) -> Slot {
        assert!(slots.iter().all(|slot| self.dealer.set_waiting(*slot, true)));
        let first = self.dealer.whose_turn().unwrap();
        assert!(slots.iter().all(|slot| self.dealer.set_waiting(*slot, false)));
        first
    }

    /// Accounts among which turns are dealt.
    pub(crate) fn members(&self) -> usize {
        self.dealer.members()
    }

    /// Turns that are waited for.
    pub(crate) fn open_turns(&self) -> usize {
        usize::try_from(self.open).unwrap()
    }
}
