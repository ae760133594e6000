//! What peers ask for: every get is answered once. Upload is dealt in turns, by bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::BytesMut;
use weir_base::codec::put_varint;
use weir_base::stream::{Group, Side};
use weir_base::{Chunk, Dealer, Fault, Instant, Rope};

use super::codec::{self, MAX_ITEM_HEAD, MAX_LIST};
use super::gets::{MAX_GETS, head_len};
use super::link::{Lane, Role, Slot};
use super::log::Log;
use super::outlet::put_len;
use super::{GREEDY, Pool};
use crate::framing::{Inbox, MALFORMED, Message};

/// Bytes of one turn.
const QUANTUM: u64 = 64 * 1024;
/// What a link may be behind.
const DEBT: u64 = 32 * 1024 * 1024;
/// Turns at once, of all links.
const TURNS: u64 = 8;
/// Turns of one link at once: half, so that one link of a side or group can use all that is its side's or group's.
const LINK_TURNS: u64 = 4;
/// A turn that the transport does not use for so long is not waited for.
const TURN_TIME: Duration = Duration::from_millis(20);

/// The server's side of lane 1 on one link.
#[derive(Debug)]
pub(super) struct Serving {
    pub(super) lane: Lane,
    pub(super) inbox: Inbox,
    /// Asked for and not answered, lowest first.
    pending: BTreeSet<u64>, // with `cancelled` at most MAX_GETS
    cancelled: BTreeSet<u64>,
    turn: Option<Turn>,
}

impl Default for Serving {
    fn default() -> Self {
        let (pending, cancelled) = (BTreeSet::new(), BTreeSet::new());
        Self { lane: Lane::default(), inbox: Inbox::new(MAX_LIST), pending, cancelled, turn: None }
    }
}

/// What a link may write now: one turn, or several in one.
#[derive(Clone, Copy, Debug)]
struct Turn {
    since: Instant,
    turns: u64,
    charged: u64, // what they were expected to cost
    used: u64,
}

impl Turn {
    const fn allowed(&self) -> u64 {
        self.turns * QUANTUM
    }
}

/// Who may answer now, over all links.
#[derive(Debug)]
pub(super) struct Uploads {
    dealer: Dealer<Slot>,
    turns: BTreeMap<(Instant, Slot), u64>, // those still waited for: how many each link has
    open: u64,                             // their sum
}

impl Uploads {
    pub(super) fn new() -> Self {
        Self { dealer: Dealer::new(QUANTUM, DEBT), turns: BTreeMap::new(), open: 0 }
    }

    pub(super) fn add(&mut self, slot: Slot, side: Side, group: Group) {
        self.dealer.add(slot, side, group);
    }

    pub(super) fn set_share(&mut self, slot: Slot, quarters: u8) {
        self.dealer.set_share(slot, quarters);
    }

    /// The link is gone: nothing is sent there. What it owes the others stays.
    pub(super) fn depart(&mut self, slot: Slot) {
        self.dealer.set_waiting(slot, false);
        self.turns.retain(|(_, other), _| *other != slot);
        self.open = self.turns.values().sum();
    }

    pub(super) fn remove(&mut self, slot: Slot) {
        self.dealer.remove(slot);
    }

    /// What was sent beside the turns.
    pub(super) fn charge(&mut self, slot: Slot, bytes: u64) {
        if bytes > 0 {
            self.dealer.charge(slot, bytes);
        }
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
    pub(super) fn turns_due(&mut self, now: Instant) {
        while let Some((&(since, slot), _)) = self.turns.first_key_value()
            && since + TURN_TIME <= now
        {
            self.close(since, slot);
            self.dealer.set_waiting(slot, false);
        }
    }

    pub(super) fn next_timeout(&self) -> Option<(Instant, &'static str)> {
        let others_wait = self.open >= TURNS;
        let ((since, _), _) = self.turns.first_key_value().filter(|_| others_wait)?;
        Some((*since + TURN_TIME, "a turn of upload is not used"))
    }
}

impl Pool {
    /// Bytes came on the stream that carries the peer's gets.
    pub(super) fn read_gets(&mut self, now: Instant, slot: Slot, chunk: Chunk) {
        self.stats.control_bytes += chunk.len() as u64;
        let Some(link) = self.links.get_mut(slot) else { return };
        link.serving.inbox.push(chunk);
        loop {
            let Some(link) = self.links.get_mut(slot) else { return };
            let done = match link.serving.inbox.next(now) {
                Ok(Some(message)) => {
                    self.counters.messages_in += 1;
                    match message.kind {
                        codec::GET | codec::CANCEL => link.serving.message(&message),
                        _ => self.skip(now, slot, &message),
                    }
                }
                Ok(None) => break,
                Err(_) => Err(MALFORMED),
            };
            if let Err(fault) = done {
                return self.break_off(slot, Role::Serving, fault);
            }
        }
        self.watch(slot, Role::Serving);
        let Some(link) = self.links.get(slot) else { return };
        if link.serving.has_work() && link.serving.turn.is_none() {
            self.uploads.dealer.set_waiting(slot, true);
        }
    }

    /// Lets links answer, by the dealer. A turn is paid for when it is given, so that turns at once are dealt as turns in a row.
    pub(super) fn give_turns(&mut self, now: Instant) {
        while self.uploads.open < TURNS {
            let Some(slot) = self.uploads.dealer.whose_turn() else { return };
            let Some(link) = self.links.get_mut(slot).filter(|link| link.serving.has_work()) else {
                self.uploads.dealer.set_waiting(slot, false);
                continue;
            };
            let fresh = Turn { since: now, turns: 0, charged: 0, used: 0 };
            let turn = link.serving.turn.get_or_insert(fresh);
            turn.turns += 1;
            let (allowed, used) = (turn.allowed(), turn.used);
            let (cost, more) = link.serving.ahead(&self.inventory.log, allowed - used);
            let Some(turn) = &mut link.serving.turn else { return };
            let cost = (used + cost).max(turn.charged + 1);
            self.uploads.dealer.charge(slot, cost - turn.charged);
            turn.charged = cost;
            self.uploads.dealer.set_waiting(slot, more && turn.turns < LINK_TURNS);
            self.uploads.open(turn.since, slot);
            link.serving.lane.ask_write(link.id, &mut self.asks);
        }
    }

    /// Writes answers of at most `left` bytes, as far as the link's turn goes.
    pub(super) fn write_answers(&mut self, now: Instant, slot: Slot, left: usize, out: &mut Rope) {
        let Some(link) = self.links.get_mut(slot) else { return };
        let serving = &mut link.serving;
        let Some(mut turn) = serving.turn else { return };
        let start = out.len();
        let whole = left == usize::MAX; // one message, whatever its size
        while serving.has_work() && turn.used < turn.allowed() {
            let left = left.saturating_sub(out.len() - start);
            if (whole && out.len() > start) || (!serving.cancelled.is_empty() && left < MAX_LIST + 2) {
                break;
            }
            if serving.answer_gone(&mut self.scratch, out) {
                self.counters.messages_out += 1;
                continue;
            }
            let Some(&index) = serving.pending.first() else { break };
            let Some(item) = self.inventory.log.get(index) else {
                serving.pending.remove(&index);
                serving.cancelled.insert(index);
                continue;
            };
            let size = item.bytes.len();
            if left < MAX_ITEM_HEAD + size {
                break;
            }
            serving.pending.remove(&index);
            let mut head = [0; MAX_ITEM_HEAD];
            codec::encode_item_head(index, size, &mut &mut head[..]);
            out.put(head.get(..head_len(index, size)).unwrap_or_default());
            out.push(item.bytes.clone());
            turn.used += size as u64;
            self.stats.items_sent += 1;
            self.stats.body_bytes_sent += size as u64;
            self.counters.messages_out += 1;
        }
        serving.turn = Some(turn);
        if turn.used >= turn.allowed() || !serving.has_work() {
            serving.turn = None;
            let waits = serving.has_work();
            self.uploads.close(turn.since, slot);
            self.uploads.dealer.charge(slot, turn.used.saturating_sub(turn.charged));
            self.uploads.dealer.set_waiting(slot, waits);
            self.give_turns(now);
        }
    }
}

impl Pool {
    /// The stream of a peer's gets ended; it may open another, which begins anew.
    pub(super) fn restart_serving(&mut self, slot: Slot) {
        let Some(link) = self.links.get_mut(slot) else { return };
        let before = std::mem::take(&mut link.serving);
        if let Some(turn) = before.turn {
            self.uploads.close(turn.since, slot);
        }
        self.uploads.dealer.set_waiting(slot, false);
    }
}

impl Serving {
    fn has_work(&self) -> bool {
        !self.pending.is_empty() || !self.cancelled.is_empty()
    }

    /// Bytes of the bodies that are written where `allowed` bytes may be, the last of which may go over it; and whether there
    /// are more. At most [`MAX_GETS`] steps.
    fn ahead(&self, log: &Log, allowed: u64) -> (u64, bool) {
        let mut cost = 0;
        for item in self.pending.iter().filter_map(|index| log.get(*index)) {
            if cost >= allowed {
                return (cost, true);
            }
            cost += item.bytes.len() as u64;
        }
        (cost, false)
    }

    /// A `Get`, or a `Cancel`.
    fn message(&mut self, message: &Message) -> Result<(), Fault> {
        for index in codec::decode_indices(&message.body) {
            let index = index.map_err(|_| MALFORMED)?;
            if message.kind == codec::GET {
                let many = self.pending.len() + self.cancelled.len() >= MAX_GETS;
                if many || self.cancelled.contains(&index) || !self.pending.insert(index) {
                    return Err(GREEDY);
                }
            } else if self.pending.remove(&index) {
                self.cancelled.insert(index);
            }
        }
        Ok(())
    }

    /// Answers all that is gone or was cancelled. Whether there was any.
    fn answer_gone(&mut self, scratch: &mut BytesMut, out: &mut Rope) -> bool {
        if self.cancelled.is_empty() {
            return false;
        }
        let beyond = self.cancelled.iter().nth(codec::MAX_INDICES).copied();
        let later = beyond.map(|index| self.cancelled.split_off(&index)).unwrap_or_default();
        let now = std::mem::replace(&mut self.cancelled, later);
        scratch.clear();
        put_varint(scratch, codec::GONE);
        codec::encode_indices(now.into_iter(), scratch);
        put_len(scratch.len(), out);
        out.put(scratch);
        true
    }
}

#[cfg(test)]
impl Uploads {
    /// Who of both would be next, if both waited.
    pub(super) fn first_of(&mut self, slots: [Slot; 2]) -> Slot {
        slots.iter().for_each(|slot| self.dealer.set_waiting(*slot, true));
        let first = self.dealer.whose_turn().unwrap();
        slots.iter().for_each(|slot| self.dealer.set_waiting(*slot, false));
        first
    }

    /// Turns that are waited for.
    pub(super) fn open_turns(&self) -> usize {
        usize::try_from(self.open).unwrap()
    }
}
