//! Offers out: the permit this node has on each link, its cursor in the log, and when offers go.

use std::time::Duration;

use bytes::BytesMut;
use sha2::{Digest as _, Sha256};
use weir_base::codec::{VARINT_MAX, put_varint};
use weir_base::identity::PeerId;
use weir_base::time::nanos;
use weir_base::{Chunk, Fault, Instant, Rope};

use super::codec::{self, Entry, Epoch, MAX_ENTRY, MAX_OFFER, MAX_OFFER_HEAD, MAX_SPAN, OfferHead, Want};
use super::known::Known;
use super::link::{Lane, Ready, Role, Slot};
use super::log::Log;
use super::time::Timer;
use super::{Pool, RESTLESS};
use crate::framing::{Inbox, MALFORMED, Message};

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
pub(super) struct Outlet {
    pub(super) lane: Lane,
    pub(super) inbox: Inbox,
    permit: Permit,
    cursor: Cursor,
    pace: Pace,
    epoch: Epoch, // what this peer is shown
    floor: u64,
    through: u64,
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
    moved: u64,
    moves: (Instant, u32), // how many since when
    again: Again,
}

/// When a link's offers go.
#[derive(Clone, Copy, Debug)]
struct Pace {
    phase: u64, // of this link's clock, in nanoseconds
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
enum Flow {
    /// A permit.
    Permit,
    /// New items: it is in the clock's list.
    Items,
    /// Its clock.
    Clock,
    /// The pump.
    Writing,
}

/// The links whose cursors are at the head of the log.
#[derive(Debug, Default)]
pub(super) struct Clock {
    idle: Vec<Slot>,
}

impl Clock {
    fn wait(&mut self, slot: Slot, outlet: &mut Outlet) {
        outlet.pace.flow = Flow::Items;
        if !std::mem::replace(&mut outlet.pace.listed, true) {
            self.idle.push(slot);
        }
    }
}

impl Outlet {
    /// `phase` is that of its clock; `epoch` what the peer is shown.
    pub(super) fn new(phase: u64, epoch: Epoch) -> Self {
        Self {
            lane: Lane::default(),
            inbox: Inbox::new(codec::MAX_WANT),
            permit: Permit::default(),
            cursor: Cursor {
                covered: 0,
                next: 0,
                first: Some(0),
                moved: 0,
                moves: (Instant::ZERO, 0),
                again: Again::default(),
            },
            pace: Pace { phase, flow: Flow::Permit, listed: false },
            epoch,
            floor: 0,
            through: 0,
        }
    }

    /// Its stream ended; the client may open another, which begins anew. What bounds the client's moves goes on.
    pub(super) fn restart(&mut self) {
        let fresh = Self::new(self.pace.phase, self.epoch);
        let before = std::mem::replace(self, fresh);
        (self.cursor.moves, self.cursor.again) = (before.cursor.moves, before.cursor.again);
        self.pace.listed = before.pace.listed;
    }

    /// The next index to look at.
    pub(super) const fn cursor(&self) -> u64 {
        self.cursor.next
    }

    fn may_offer(&self) -> bool {
        let permit = &self.permit;
        permit.entries > permit.sent
            && permit.bytes >= permit.sent_bytes + (MAX_ENTRY + MAX_OFFER_HEAD) as u64
    }

    /// When more may be looked at, where it is too much again now.
    fn waits_until(&self) -> Instant {
        self.cursor.again.since + AGAIN_TIME
    }

    /// Encodes the next offer into `out`. No entries are used where there is none or the permit does not allow it.
    fn offer(
        &mut self,
        now: Instant,
        log: &Log,
        known: &Known,
        to: &Recipient,
        out: &mut Rope,
        scratch: &mut BytesMut,
    ) -> Offered {
        let mut offered = Offered::default();
        if !self.may_offer() {
            return offered;
        }
        let allowed = self.permit.bytes - self.permit.sent_bytes;
        let most = usize::try_from(allowed).unwrap_or(usize::MAX).min(MAX_OFFER) - MAX_OFFER_HEAD;
        scratch.clear();
        let (mut next, mut count) = (self.cursor.covered, 0);
        for _ in 0..MAX_SCAN {
            if self.permit.sent + count >= self.permit.entries || scratch.len() + MAX_ENTRY > most {
                break;
            }
            let Some((index, item)) = log.next_from(self.cursor.next) else {
                self.cursor.next = log.head();
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
            self.cursor.next = index + 1;
            let again = self.cursor.again.look(index);
            let size = u32::try_from(item.bytes.len()).unwrap_or(u32::MAX);
            if item.priority < self.floor || size > to.ready.max_item || known.contains(index, to.slot) {
                continue;
            }
            let short = to.ready.key.key.short(&item.id);
            let before = scratch.len();
            codec::encode_entry(&Entry { index, short, size, summary: item.summary }, next, scratch);
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
struct Offered {
    entries: u64,
    /// Bytes of entries that were offered before.
    again: u64,
    /// Whether more would have been looked at again than may be now.
    too_much: bool,
}

/// To whom an offer goes.
struct Recipient {
    slot: Slot,
    ready: Ready,
}

/// Appends an offer with these encoded entries; returns its bytes.
fn put_offer(head: &OfferHead, entries: &[u8], out: &mut Rope) -> u64 {
    let before = out.len();
    let mut fields = [0; MAX_OFFER_HEAD];
    let mut rest = &mut fields[..];
    put_varint(&mut rest, if head.first.is_some() { codec::FIRST } else { codec::OFFER });
    codec::encode_offer_head(head, &mut rest);
    let len = MAX_OFFER_HEAD - rest.len();
    put_len(len + entries.len(), out);
    out.put(fields.get(..len).unwrap_or_default());
    out.put(entries);
    (out.len() - before) as u64
}

/// Appends the length of a message.
pub(super) fn put_len(len: usize, out: &mut Rope) {
    let mut prefix = [0; VARINT_MAX];
    let mut rest = &mut prefix[..];
    put_varint(&mut rest, len as u64);
    let len = VARINT_MAX - rest.len();
    out.put(prefix.get(..len).unwrap_or_default());
}

impl Pool {
    /// Bytes came on the stream that carries the peer's permits.
    pub(super) fn read_wants(&mut self, now: Instant, slot: Slot, chunk: Chunk) {
        self.stats.control_bytes += chunk.len() as u64;
        let Some(link) = self.links.get_mut(slot) else { return };
        link.outlet.inbox.push(chunk);
        loop {
            let Some(link) = self.links.get_mut(slot) else { return };
            let done = match link.outlet.inbox.next(now) {
                Ok(Some(message)) => self.want_message(now, slot, &message),
                Ok(None) => break,
                Err(_) => Err(MALFORMED),
            };
            if let Err(fault) = done {
                return self.break_off(slot, Role::Outlet, fault);
            }
        }
        self.watch(slot, Role::Outlet);
        self.offer_more(slot);
    }

    fn want_message(&mut self, now: Instant, slot: Slot, message: &Message) -> Result<(), Fault> {
        self.counters.messages_in += 1;
        if message.kind != codec::WANT {
            return self.skip(now, slot, message);
        }
        let want: Want = codec::decode_want(&message.body).map_err(|_| MALFORMED)?;
        let head = self.inventory.log.head();
        let Some(link) = self.links.get_mut(slot) else { return Ok(()) };
        let outlet = &mut link.outlet;
        outlet.permit.entries = outlet.permit.entries.max(want.entries);
        outlet.permit.bytes = outlet.permit.bytes.max(want.bytes);
        outlet.through = if want.through > head { 0 } else { want.through };
        outlet.floor = want.floor;
        let Some(from) = want.from.filter(|from| from.number > outlet.cursor.moved) else { return Ok(()) };
        let (since, count) = &mut outlet.cursor.moves;
        if now.since(*since) > MOVES_TIME {
            (*since, *count) = (now, 0);
        }
        *count += 1;
        if *count > MAX_MOVES {
            return Err(RESTLESS);
        }
        let index = if from.epoch == outlet.epoch && from.index <= head { from.index } else { 0 };
        outlet.cursor.moved = from.number;
        let cursor = &mut outlet.cursor;
        (cursor.covered, cursor.next, cursor.first) = (index, index, Some(from.number));
        self.inventory.known.forget(slot); // it may have lost what it had
        Ok(())
    }

    /// The permit, the cursor or the hello changed: offers what is there, at once.
    pub(super) fn offer_more(&mut self, slot: Slot) {
        let head = self.inventory.log.head();
        let Some(link) = self.links.get_mut(slot) else { return };
        let outlet = &mut link.outlet;
        let waits = matches!(outlet.pace.flow, Flow::Permit | Flow::Items);
        if !waits || link.ready.is_none() || !outlet.may_offer() {
            return;
        }
        if outlet.cursor.next < head {
            outlet.pace.flow = Flow::Writing; // a link that is still in the clock's list is skipped there
            outlet.lane.ask_write(link.id, &mut self.asks);
        } else if outlet.pace.flow == Flow::Permit {
            self.clock.wait(slot, outlet);
        }
    }

    /// An item was appended: sets the clocks of the links that wait for one.
    pub(super) fn offer_new(&mut self, now: Instant) {
        let delay = nanos(self.config.offer_delay);
        for slot in std::mem::take(&mut self.clock.idle) {
            let Some(link) = self.links.get_mut(slot) else { continue };
            link.outlet.pace.listed = false;
            if link.outlet.pace.flow != Flow::Items {
                continue;
            }
            if delay == 0 {
                link.outlet.pace.flow = Flow::Writing;
                link.outlet.lane.ask_write(link.id, &mut self.asks);
            } else {
                link.outlet.pace.flow = Flow::Clock;
                let period = 2 * delay;
                let since = (now.as_nanos() + period - link.outlet.pace.phase % period) % period;
                self.timers.set(Timer::Offers(slot), Some(now + Duration::from_nanos(period - since)));
            }
        }
    }

    /// A link's clock struck.
    pub(super) fn offers_due(&mut self, slot: Slot) {
        let Some(link) = self.links.get_mut(slot).filter(|link| link.outlet.pace.flow == Flow::Clock) else {
            return;
        };
        link.outlet.pace.flow = Flow::Writing;
        link.outlet.lane.ask_write(link.id, &mut self.asks);
    }

    /// Writes the next offer, where there is one.
    pub(super) fn write_offers(&mut self, now: Instant, slot: Slot, out: &mut Rope) {
        let Some(link) = self.links.get_mut(slot) else { return };
        let (Flow::Writing, Some(ready)) = (link.outlet.pace.flow, link.ready) else { return };
        let to = Recipient { slot, ready };
        let offered =
            link.outlet.offer(now, &self.inventory.log, &self.inventory.known, &to, out, &mut self.scratch);
        if offered.entries > 0 {
            self.stats.offers_sent += 1;
            self.stats.entries_sent += offered.entries;
            self.counters.messages_out += 1;
            self.uploads.charge(slot, offered.again);
            return;
        }
        if !link.outlet.may_offer() {
            link.outlet.pace.flow = Flow::Permit;
        } else if offered.too_much {
            self.timers.set(Timer::Offers(slot), Some(link.outlet.waits_until()));
            link.outlet.pace.flow = Flow::Clock;
        } else if link.outlet.cursor.next >= self.inventory.log.head() {
            self.clock.wait(slot, &mut link.outlet);
        } else {
            // Much was skipped; the rest in another call.
            self.timers.set(Timer::Offers(slot), Some(Instant::ZERO));
            link.outlet.pace.flow = Flow::Clock;
        }
    }
}

/// What a server shows of its log's life to one peer.
pub(super) fn epoch_for(secret: &[u8; 32], peer: &PeerId) -> Epoch {
    let hash = Sha256::new().chain_update(secret).chain_update(peer.as_bytes()).finalize();
    let mut epoch = [0; 8];
    epoch.iter_mut().zip(hash.iter()).for_each(|(to, from)| *to = *from);
    Epoch(epoch)
}

#[cfg(test)]
impl Outlet {
    /// Entries that the client has granted in all.
    pub(super) const fn granted(&self) -> u64 {
        self.permit.entries
    }
}
