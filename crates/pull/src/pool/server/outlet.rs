//! The permit that this node has on one link, its cursor in the log, and when offers go.

use std::time::Duration;

use bytes::BytesMut;
use weir_base::codec::put_varint;
use weir_base::{Fault, Instant, Rope};

use crate::framing::Inbox;
use crate::pool::codec::{
    self, Entry, Epoch, MAX_ENTRY, MAX_OFFER, MAX_OFFER_HEAD, MAX_SPAN, OfferHead, Want,
};
use crate::pool::faults::RESTLESS;
use crate::pool::inventory::{Inventory, Phase};
use crate::pool::links::{Lane, Ready, Slot};

/// Indices that are skipped before the client is told of them without an entry.
const SILENCE: u64 = 1_024;
/// Items looked at in one call.
const MAX_SCAN: usize = 4_096;
/// Moves of the cursor that a client may ask for in [`MOVES_TIME`].
const MAX_MOVES: u32 = 16;
/// The whole log is offered again at most once in this time.
const AGAIN_TIME: Duration = Duration::from_secs(10);
/// See [`MAX_MOVES`].
const MOVES_TIME: Duration = Duration::from_secs(10);

/// The server's side of lane 0 on one link.
#[derive(Debug)]
pub(crate) struct Outlet {
    pub(crate) lane: Lane,
    pub(crate) inbox: Inbox,
    permit: Permit,
    cursor: Cursor,
    pace: Pace,
    epoch: Epoch, // what this peer is shown
    floor: u64,
}

/// Where in the log a link is.
#[derive(Clone, Copy, Debug)]
struct Cursor {
    /// What was offered up to here, or skipped and said so.
    covered: u64,
    /// What was looked at up to here: at least `covered`.
    next: u64,
    /// The next offer is a first one, after this move.
    first: Option<u64>,
    /// The last move acted on.
    last_move: u64,
    moves: (Instant, u32), // how many since when
    again: Again,
}

/// When a link's offers go.
#[derive(Clone, Copy, Debug)]
struct Pace {
    phase: Phase, // of this link's clock
    flow: Flow,
    listed: bool, // in the clock's list
}

/// What is looked at again because the client moved the cursor back.
#[derive(Clone, Copy, Debug, Default)]
struct Again {
    /// Everything before it was looked at once.
    end: u64,
    /// Items looked at again.
    items: u64,
    /// Since when.
    since: Instant,
}

impl Again {
    /// Whether the item at `index` may be looked at now, of a log of so many items: again at most all of them in a while.
    fn allows(&mut self, now: Instant, index: u64, items: u64) -> bool {
        if index < self.end && now.since(self.since) >= AGAIN_TIME {
            (self.items, self.since) = (0, now);
        }
        index >= self.end || self.items < items
    }

    /// Whether the item at `index` was looked at before.
    const fn is_again(&self, index: u64) -> bool {
        index < self.end
    }

    /// The item at `index` is looked at. Whether that is for another time.
    fn look(&mut self, index: u64) -> bool {
        let again = index < self.end;
        self.items += u64::from(again);
        self.end = self.end.max(index + 1);
        again
    }
}

/// What the client lets this node offer, in all, and what it has.
#[derive(Clone, Copy, Debug, Default)]
struct Permit {
    entries: u64,
    bytes: u64,
    sent: u64,
    sent_bytes: u64,
}

/// What a link's offers wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// A permit.
    Permit,
    /// New items: it is in the clock's list.
    Items,
    /// Its clock.
    Clock,
    /// A time at which it goes on, whatever its clock says.
    Pause,
    /// A turn of upload: what comes next was offered before.
    Turn,
    /// The pump.
    Writing,
}

impl Outlet {
    /// `phase` is that of its clock; `epoch` what the peer is shown.
    pub(crate) fn new(phase: Phase, epoch: Epoch) -> Self {
        Self {
            lane: Lane::default(),
            inbox: Inbox::new(codec::MAX_WANT),
            permit: Permit::default(),
            cursor: Cursor {
                covered: 0,
                next: 0,
                first: Some(0),
                last_move: 0,
                moves: (Instant::ZERO, 0),
                again: Again::default(),
            },
            pace: Pace { phase, flow: Flow::Permit, listed: false },
            epoch,
            floor: 0,
        }
    }

    /// Its stream ended; the client may open another, which begins anew. What bounds the client's moves goes on.
    pub(crate) fn restart(&mut self) {
        let fresh = Self::new(self.pace.phase, self.epoch);
        let before = std::mem::replace(self, fresh);
        (self.cursor.moves, self.cursor.again) = (before.cursor.moves, before.cursor.again);
        self.pace.listed = before.pace.listed;
    }

    /// The next index to look at.
    pub(crate) const fn cursor(&self) -> u64 {
        self.cursor.next
    }

    /// The client's permit. Whether the cursor was moved by it. A fault where that is too often.
    pub(crate) fn take(&mut self, now: Instant, want: &Want, head: u64) -> Result<bool, Fault> {
        self.permit.entries = self.permit.entries.max(want.entries);
        self.permit.bytes = self.permit.bytes.max(want.bytes);
        self.floor = want.floor;
        let Some(from) = want.from.filter(|from| from.number > self.cursor.last_move) else {
            return Ok(false);
        };
        let (since, count) = &mut self.cursor.moves;
        if now.since(*since) > MOVES_TIME {
            (*since, *count) = (now, 0);
        }
        *count += 1;
        if *count > MAX_MOVES {
            return Err(RESTLESS);
        }
        let index = if from.epoch == self.epoch && from.index <= head { from.index } else { 0 };
        let cursor = &mut self.cursor;
        cursor.last_move = from.number;
        (cursor.covered, cursor.next, cursor.first) = (index, index, Some(from.number));
        Ok(true)
    }

    /// What its offers wait for.
    pub(crate) const fn flow(&self) -> Flow {
        self.pace.flow
    }

    pub(crate) const fn wait_for(&mut self, flow: Flow) {
        self.pace.flow = flow;
    }

    /// It waits for new items from now on. Whether it has to be listed among those that do.
    pub(crate) const fn wait_for_items(&mut self) -> bool {
        self.pace.flow = Flow::Items;
        !std::mem::replace(&mut self.pace.listed, true)
    }

    /// It was taken off the list. Whether it waits for new items still.
    pub(crate) fn unlist(&mut self) -> bool {
        self.pace.listed = false;
        self.pace.flow == Flow::Items
    }

    /// The phase of its clock.
    pub(crate) const fn phase(&self) -> Phase {
        self.pace.phase
    }

    /// Whether the client lets this node offer anything.
    pub(crate) fn may_offer(&self) -> bool {
        let permit = &self.permit;
        permit.entries > permit.sent
            && permit.bytes >= permit.sent_bytes + (MAX_ENTRY + MAX_OFFER_HEAD) as u64
    }

    /// Whether the client has granted entries and all of them are used.
    pub(crate) const fn is_used_up(&self) -> bool {
        self.permit.entries > 0 && self.permit.sent >= self.permit.entries
    }

    /// When more may be looked at, where it is too much again now.
    pub(crate) fn waits_until(&self) -> Instant {
        self.cursor.again.since + AGAIN_TIME
    }

    /// Encodes the next offer into `out`. No entries are used where there is none or the permit does not allow it. Entries that were
    /// offered before go into it until they are `again` bytes.
    pub(crate) fn offer(
        &mut self,
        now: Instant,
        inventory: &Inventory,
        (to, again): (&Recipient, u64),
        out: &mut Rope,
        scratch: &mut BytesMut,
    ) -> Offered {
        let mut offered = Offered::default();
        if !self.may_offer() {
            return offered;
        }
        let (log, known) = (&inventory.log, &inventory.known);
        let head = inventory.heads.struck(now, self.pace.phase, log.head());
        let allowed = self.permit.bytes - self.permit.sent_bytes;
        let most = usize::try_from(allowed).unwrap_or(usize::MAX).min(MAX_OFFER) - MAX_OFFER_HEAD;
        scratch.clear();
        let (mut next, mut count) = (self.cursor.covered, 0);
        for _ in 0..MAX_SCAN {
            if self.permit.sent + count >= self.permit.entries || scratch.len() + MAX_ENTRY > most {
                break;
            }
            let next_item = log.next_from(self.cursor.next).filter(|(index, _)| *index < head);
            let Some((index, item)) = next_item else {
                self.cursor.next = self.cursor.next.max(head);
                break;
            };
            if index - next > MAX_SPAN / 2 {
                self.cursor.next = index;
                break;
            }
            if !self.cursor.again.allows(now, index, log.len()) {
                offered.too_much = true;
                break;
            }
            if self.cursor.again.is_again(index) && offered.again >= again {
                offered.needs_turn = true;
                break;
            }
            self.cursor.next = index + 1;
            let again = self.cursor.again.look(index);
            let size = u32::try_from(item.0.bytes.len()).unwrap_or(u32::MAX);
            if item.0.priority < self.floor || size > to.ready.max_item || known.contains(index, to.slot) {
                continue;
            }
            let short = to.ready.key.key.short(&item.0.id);
            let before = scratch.len();
            codec::encode_entry(&Entry { index, short, size, summary: item.0.summary }, next, scratch);
            offered.again += if again { (scratch.len() - before) as u64 } else { 0 };
            next = index + 1;
            count += 1;
        }
        if count == 0 && self.cursor.next - self.cursor.covered < SILENCE {
            return offered;
        }
        let first = self.cursor.first.take();
        let end = self.cursor.next.min(self.cursor.covered + MAX_SPAN);
        let head = OfferHead {
            first: first.map(|number| (number, self.epoch)),
            key: to.ready.key.number,
            from: self.cursor.covered,
            to: end,
        };
        self.cursor.covered = end;
        let sent = put_offer(&head, scratch, out);
        self.permit.sent += count.max(1);
        self.permit.sent_bytes += sent;
        offered.entries = count.max(1);
        offered
    }
}

/// What one offer used.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Offered {
    pub(crate) entries: u64,
    /// Bytes of entries that were offered before.
    pub(crate) again: u64,
    /// Whether more would have been looked at again than may be now.
    pub(crate) too_much: bool,
    /// Whether more would have been offered again than the turn of upload allows.
    pub(crate) needs_turn: bool,
}

/// To whom an offer goes.
pub(crate) struct Recipient {
    pub(crate) slot: Slot,
    pub(crate) ready: Ready,
}

/// Appends an offer with these encoded entries; returns its bytes.
fn put_offer(head: &OfferHead, entries: &[u8], out: &mut Rope) -> u64 {
    let before = out.len();
    let mut fields = [0; MAX_OFFER_HEAD];
    let mut rest = &mut fields[..];
    put_varint(&mut rest, if head.first.is_some() { codec::FIRST } else { codec::OFFER });
    codec::encode_offer_head(head, &mut rest);
    let len = MAX_OFFER_HEAD - rest.len();
    codec::put_len(len + entries.len(), out);
    out.put(fields.get(..len).unwrap_or_default());
    out.put(entries);
    (out.len() - before) as u64
}

#[cfg(test)]
impl Outlet {
    /// Entries that the client has granted in all.
    pub(crate) const fn granted(&self) -> u64 {
        self.permit.entries
    }

    /// Bytes of offers that were sent.
    pub(crate) const fn sent_bytes(&self) -> u64 {
        self.permit.sent_bytes
    }
}

#[cfg(test)]
mod tests {
    use crate::ShortKey;
    use bytes::Bytes;
    use weir_base::Rng;

    use super::*;
    use crate::keys::{Keys, NumberedKey};
    use crate::pool::codec::{Move, decode_offer};
    use crate::pool::inventory::Heads;
    use crate::pool::{Config, Item, Rules, Summary};

    const KEY: NumberedKey = NumberedKey { number: 1, key: ShortKey([1; 16]) };
    const EPOCH: Epoch = Epoch([3; 8]);

    fn inventory() -> Inventory {
        let rules = Rules { summarize: |_| Ok(Summary::EMPTY), judge: |_| Some(1) };
        let config = Config { offer_delay: Duration::ZERO, ..Config::new(rules) };
        Inventory::new(&Keys { current: KEY, previous: None }, &config, Rng::from_number(1))
    }

    fn append(inventory: &mut Inventory, number: u64) {
        let bytes = Bytes::from(number.to_le_bytes().to_vec());
        inventory.log.append(Item::new(bytes, Summary::EMPTY, 1));
    }

    fn outlet(entries: u64, bytes: u64) -> Outlet {
        let mut outlet = Outlet::new(Heads::phase(1), EPOCH);
        let want = Want { entries, bytes, through: 0, floor: 0, from: None };
        assert_eq!(outlet.take(Instant::ZERO, &want, 0), Ok(false));
        outlet
    }

    /// The next offer: from, to, and the indices of its entries.
    fn offer(outlet: &mut Outlet, inventory: &Inventory) -> Option<(u64, u64, Vec<u64>)> {
        let to = Recipient { slot: Slot(0), ready: Ready { max_item: 100, key: KEY } };
        let (mut out, mut scratch) = (Rope::new(), BytesMut::new());
        let offered =
            outlet.offer(Instant::from_millis(1), inventory, (&to, u64::MAX), &mut out, &mut scratch);
        if offered.entries == 0 {
            assert!(out.is_empty());
            return None;
        }
        let out = out.into_bytes();
        let mut reader = weir_base::codec::Reader::new(&out);
        let (kind, body) = reader.prefixed(MAX_OFFER).unwrap().split_first().unwrap();
        let (head, entries) = decode_offer((*kind).into(), body).unwrap();
        Some((head.from, head.to, entries.map(|entry| entry.unwrap().index).collect()))
    }

    #[test]
    fn an_offer_needs_credit_for_an_entry_and_for_its_largest_bytes() {
        let largest = (MAX_ENTRY + MAX_OFFER_HEAD) as u64;
        assert!(outlet(1, largest).may_offer());
        assert!(!outlet(0, largest).may_offer() && !outlet(1, largest - 1).may_offer());
        let mut inventory = inventory();
        append(&mut inventory, 0);
        append(&mut inventory, 1);
        let mut outlet = outlet(9, largest);
        assert_eq!(offer(&mut outlet, &inventory), Some((0, 1, vec![0])), "no more bytes than it may");
        assert!(!outlet.may_offer(), "what was sent is used");
        assert_eq!(offer(&mut outlet, &inventory), None);
    }

    #[test]
    fn what_is_skipped_is_told_from_1024_indices_on() {
        for (head, told) in [(1_023, None), (1_024, Some((0, 1_024, vec![])))] {
            let mut inventory = inventory();
            inventory.log.skip_to(head);
            let mut outlet = outlet(9, 10_000);
            assert_eq!(offer(&mut outlet, &inventory), told);
            assert_eq!(outlet.cursor(), head);
        }
    }

    #[test]
    fn a_gap_beyond_half_of_what_an_offer_can_cover_ends_it() {
        for (gap, in_one) in [(MAX_SPAN / 2, true), (MAX_SPAN / 2 + 1, false)] {
            let mut inventory = inventory();
            append(&mut inventory, 0);
            inventory.log.skip_to(1 + gap);
            append(&mut inventory, 1);
            let mut outlet = outlet(9, 10_000);
            let first = offer(&mut outlet, &inventory);
            if in_one {
                assert_eq!(first, Some((0, gap + 2, vec![0, gap + 1])));
            } else {
                assert_eq!(first, Some((0, gap + 1, vec![0])));
                assert_eq!(offer(&mut outlet, &inventory), Some((gap + 1, gap + 2, vec![gap + 1])));
            }
        }
    }

    #[test]
    fn sixteen_moves_are_taken_in_ten_seconds() {
        let mut outlet = outlet(1, 1);
        let mut moves = |number, now| {
            let from = Some(Move { number, epoch: EPOCH, index: 3 });
            outlet.take(now, &Want { entries: 1, bytes: 1, through: 0, floor: 0, from }, 5)
        };
        let begin = Instant::from_millis(20_000);
        for number in 1..=16 {
            assert_eq!(moves(number, begin), Ok(true));
        }
        assert_eq!(moves(16, begin), Ok(false), "an old one is not acted on");
        assert_eq!(moves(17, begin + MOVES_TIME), Err(RESTLESS));
        let later = begin + MOVES_TIME + Duration::from_nanos(1);
        for number in 18..=33 {
            assert_eq!(moves(number, later), Ok(true));
        }
        assert_eq!(moves(34, later), Err(RESTLESS));
    }

    #[test]
    fn a_move_beyond_the_head_or_of_another_epoch_begins_at_0() {
        for (epoch, index, begins) in [(EPOCH, 5, 5), (EPOCH, 4, 4), (EPOCH, 6, 0), (Epoch([4; 8]), 3, 0)] {
            let mut outlet = outlet(1, 1);
            let from = Some(Move { number: 1, epoch, index });
            let want = Want { entries: 1, bytes: 1, through: 0, floor: 0, from };
            assert_eq!(outlet.take(Instant::ZERO, &want, 5), Ok(true));
            assert_eq!(outlet.cursor(), begins);
        }
    }

    #[test]
    fn all_is_looked_at_again_once_in_ten_seconds() {
        let mut again = Again::default();
        assert!((0..4).all(|index| !again.look(index)), "for the first time");
        let begin = Instant::from_millis(20_000);
        assert!(again.allows(begin, 4, 4) && !again.is_again(4) && again.is_again(3));
        assert_eq!(again.since, Instant::ZERO, "what is new begins no time");
        let later = begin + Duration::from_secs(3);
        for index in 0..4 {
            assert!(again.allows(later, index, 4) && again.look(index));
        }
        assert!(!again.allows(later, 0, 4) && again.allows(later, 4, 4));
        let due = later + AGAIN_TIME;
        assert!(!again.allows(Instant::from_nanos(due.as_nanos() - 1), 3, 4));
        assert!(again.allows(due, 3, 4));
    }

    #[test]
    fn what_is_too_large_or_too_low_for_the_peer_is_skipped() {
        for (max_item, floor, offered) in [(8, 1, vec![0]), (7, 1, vec![]), (9, 1, vec![0]), (8, 2, vec![])] {
            let mut inventory = inventory();
            append(&mut inventory, 0);
            inventory.log.skip_to(2_000);
            let mut outlet = outlet(9, 10_000);
            outlet.floor = floor;
            let to = Recipient { slot: Slot(0), ready: Ready { max_item, key: KEY } };
            let (mut out, mut scratch) = (Rope::new(), BytesMut::new());
            let now = Instant::from_millis(1);
            outlet.offer(now, &inventory, (&to, u64::MAX), &mut out, &mut scratch);
            let out = out.into_bytes();
            let body = weir_base::codec::Reader::new(&out).prefixed(MAX_OFFER).unwrap().to_vec();
            let (_, entries) = decode_offer(body[0].into(), &body[1..]).unwrap();
            assert_eq!(entries.map(|entry| entry.unwrap().index).collect::<Vec<_>>(), offered);
        }
    }

    #[test]
    fn several_offers_use_one_permit() {
        let mut inventory = inventory();
        (0..4).for_each(|number| append(&mut inventory, number));
        let mut outlet = outlet(3, 120);
        assert_eq!(offer(&mut outlet, &inventory), Some((0, 3, vec![0, 1, 2])));
        let sent = outlet.permit.sent_bytes;
        assert_eq!(outlet.permit.sent, 3);
        assert!((43..=46).contains(&sent), "a head and three entries of 10 bytes: {sent}");
        let want = Want { entries: 4, bytes: sent + 78, through: 0, floor: 0, from: None };
        assert_eq!(outlet.take(Instant::ZERO, &want, 4), Ok(false));
        assert_eq!(offer(&mut outlet, &inventory), None);
        assert_eq!(outlet.take(Instant::ZERO, &Want { bytes: sent + 79, ..want }, 4), Ok(false));
        assert_eq!(offer(&mut outlet, &inventory), Some((3, 4, vec![3])));
    }

    #[test]
    fn all_offers_together_are_no_more_bytes_than_the_permit() {
        let mut inventory = inventory();
        (0..20).for_each(|number| append(&mut inventory, number));
        let mut outlet = outlet(1_000, 400);
        assert!(offer(&mut outlet, &inventory).is_some());
        (20..100).for_each(|number| append(&mut inventory, number));
        while offer(&mut outlet, &inventory).is_some() {}
        let sent = outlet.permit.sent_bytes;
        assert!((300..=400).contains(&sent), "{sent}");
    }

    #[test]
    fn an_offer_holds_as_many_entries_as_there_is_room_for() {
        let mut inventory = inventory();
        (0..500).for_each(|number| append(&mut inventory, number));
        let mut outlet = outlet(1_000, 100_000);
        let entries = offer(&mut outlet, &inventory).map(|(.., entries)| entries.len());
        assert_eq!(entries, Some(500), "of ten bytes each");
    }

    #[test]
    fn the_bytes_of_an_offer_are_its_own() {
        let head = OfferHead { first: None, key: 1, from: 0, to: 1 };
        let mut out = Rope::new();
        let first = put_offer(&head, &[1; 10], &mut out);
        assert_eq!((put_offer(&head, &[1; 10], &mut out), out.len() as u64), (first, 2 * first));
    }
}
