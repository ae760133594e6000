//! Offers in: the permit this node gives on each link, and what becomes of the entries that come.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::BytesMut;
use weir_base::codec::{put_varint, varint_len};
use weir_base::stream::Side;
use weir_base::{Chunk, Fault, Instant, Rope};

use super::candidates::{Announcer, CandId, Candidate, Candidates, Claim, State};
use super::codec::{self, Entry, Epoch, Move, OfferHead};
use super::link::{Lane, Opening, Role, Slot};
use super::permits::{Grant, Renew};
use super::places::Place;
use super::time::Timer;
use super::{BEYOND_PERMIT, OUT_OF_PLACE, OVERSIZED, Pool};
use crate::framing::{Inbox, MALFORMED, Message};

/// Undecided entries of one link that cost no credit; from then on they count as charged.
const MAX_UNDECIDED: usize = 4_096;
/// Undecided entries for which memory is kept on each link.
const FEW: usize = 64;
/// How long a link waits for a permit when all that may be granted to its side is.
const LENT_PAUSE: Duration = Duration::from_secs(1);
/// How long the credit of what a server called gone takes to return, at most: it can offer no more than its window of such items
/// in that time.
const GONE_PAUSE: Duration = Duration::from_secs(1);
/// Least time between two moves of one server's cursor.
const MOVE_PAUSE: Duration = Duration::from_secs(10);

/// The client's side of lane 0 on one link.
#[derive(Debug)]
pub(super) struct Intake {
    pub(super) lane: Lane,
    pub(super) inbox: Inbox,
    pub(super) grant: Grant,
    /// A new permit should go out.
    due: bool,
    /// Where the next offer begins; none before the first.
    next: Option<u64>,
    epoch: Option<Epoch>,
    moves: Moves,
    // Entries not known to be decided, ascending; those of candidates that are no more count as decided.
    undecided: VecDeque<(u64, CandId)>,
    /// Whether candidates that this link announced may be missing in `undecided`: it was to offer them again.
    pub(super) rewound: bool,
    /// Candidates that it announced and is not kept for. Only such as are in `undecided`.
    pub(super) reserve: BTreeMap<CandId, Announcer>,
}

#[derive(Debug, Default)]
struct Moves {
    number: u64,        // of the last one asked for
    acted: Option<u64>, // the last one the peer has said to have acted on
    unsent: Option<Move>,
    expected: Option<Move>,
    wished: Option<u64>, // asked for within the pause
    last: Option<Instant>,
}

impl Intake {
    /// Begins where the last link with this peer ended.
    pub(super) fn new(window: u32, resumed: Option<(Epoch, u64)>) -> Self {
        let first = resumed.map(|(epoch, index)| Move { number: 1, epoch, index });
        let moves =
            Moves { number: u64::from(first.is_some()), unsent: first, expected: first, ..Moves::default() };
        Self {
            lane: Lane::default(),
            inbox: Inbox::new(codec::MAX_OFFER),
            grant: Grant::new(window),
            due: false,
            next: None,
            epoch: None,
            moves,
            undecided: VecDeque::new(),
            rewound: false,
            reserve: BTreeMap::new(),
        }
    }

    /// Its stream ended, another will begin where that one left off. Returns the entries granted that will not come any more.
    pub(super) fn restart(&mut self, window: u32, resumed: Option<(Epoch, u64)>) -> u64 {
        let open = self.grant.open();
        let fresh = Self::new(window, resumed);
        let before = std::mem::replace(self, fresh);
        (self.lane, self.undecided, self.rewound, self.reserve) =
            (before.lane, before.undecided, before.rewound, before.reserve);
        self.moves.last = before.moves.last;
        (0..before.grant.charged()).for_each(|_| self.grant.charge());
        open + before.grant.gone()
    }

    /// The candidates among what this link offered.
    pub(super) fn undecided(&self) -> impl Iterator<Item = CandId> {
        self.undecided.iter().map(|(_, candidate)| *candidate)
    }

    /// The candidate that this link offered under `index`, where it is not known to be decided.
    pub(super) fn candidate_at(&self, index: u64) -> Option<CandId> {
        let at = self.undecided.partition_point(|(other, _)| *other < index);
        self.undecided.get(at).filter(|(other, _)| *other == index).map(|(_, candidate)| *candidate)
    }

    /// Entries that count as charged, because too many are undecided.
    fn extra(&self) -> u64 {
        self.undecided.len().saturating_sub(MAX_UNDECIDED) as u64
    }

    /// Everything before this index of the peer's log is decided.
    pub(super) fn through(&mut self, candidates: &Candidates) -> u64 {
        let undecided = &mut self.undecided;
        while undecided.front().is_some_and(|(_, id)| candidates.get(*id).is_none()) {
            undecided.pop_front();
        }
        if undecided.len() > 2 * MAX_UNDECIDED {
            undecided.retain(|(_, id)| candidates.get(*id).is_some());
        }
        if undecided.capacity() > 4 * undecided.len().max(FEW) {
            undecided.shrink_to(2 * undecided.len());
        }
        let first = undecided.front().map(|(index, _)| *index);
        first.or(self.next).unwrap_or(0)
    }

    /// What to remember of a link that ends: the epoch the peer showed, and the receipt.
    pub(super) fn receipt(&mut self, candidates: &Candidates) -> Option<(Epoch, u64)> {
        let through = self.through(candidates);
        // where the peer was to begin anew and has not yet, it still is to
        let expected = self.moves.expected.map(|expected| expected.index);
        let back = [self.moves.wished, expected].into_iter().flatten().min();
        Some((self.epoch?, back.map_or(through, |back| back.min(through))))
    }

    /// A first offer: whether it begins where it may. What was offered from there on is offered again.
    fn begin(&mut self, head: &OfferHead, number: u64, epoch: Epoch) -> bool {
        let newer = self.moves.acted.is_none_or(|acted| number > acted);
        if !newer || number > self.moves.number || (number == 0 && head.from != 0) {
            return false;
        }
        if let Some(expected) = self.moves.expected.filter(|expected| expected.number == number) {
            if head.from != 0 && (head.from != expected.index || epoch != expected.epoch) {
                return false;
            }
            self.moves.expected = None;
        }
        while let Some((_, candidate)) = self.undecided.back().filter(|(index, _)| *index >= head.from) {
            self.reserve.remove(candidate);
            self.undecided.pop_back();
            self.rewound = true;
        }
        self.moves.acted = Some(number);
        self.epoch = Some(epoch);
        true
    }
}

impl Pool {
    /// Bytes came on the stream that carries offers.
    pub(super) fn read_offers(&mut self, now: Instant, slot: Slot, chunk: Chunk) {
        self.stats.control_bytes += chunk.len() as u64;
        let Some(link) = self.links.get_mut(slot) else { return };
        link.intake.inbox.push(chunk);
        loop {
            let Some(link) = self.links.get_mut(slot) else { return };
            let done = match link.intake.inbox.next(now) {
                Ok(Some(message)) => self.offers_message(now, slot, &message),
                Ok(None) => break,
                Err(_) => Err(MALFORMED),
            };
            if let Err(fault) = done {
                return self.break_off(slot, Role::Intake, fault);
            }
        }
        self.watch(slot, Role::Intake);
        self.credit(now, slot);
    }

    fn offers_message(&mut self, now: Instant, slot: Slot, message: &Message) -> Result<(), Fault> {
        self.counters.messages_in += 1;
        let body = varint_len(message.kind) + message.body.len();
        let bytes = varint_len(body as u64) + body;
        match message.kind {
            codec::OFFER | codec::FIRST => self.offer(now, slot, message, bytes as u64),
            _ => {
                self.take_credit(slot, 0, bytes as u64)?;
                self.skip(now, slot, message)
            }
        }
    }

    fn take_credit(&mut self, slot: Slot, entries: u64, bytes: u64) -> Result<(), Fault> {
        let Some(link) = self.links.get_mut(slot) else { return Ok(()) };
        if !link.intake.grant.take(entries, bytes) {
            return Err(BEYOND_PERMIT);
        }
        self.want.lent.take(link.info.side, entries);
        Ok(())
    }

    fn offer(&mut self, now: Instant, slot: Slot, message: &Message, bytes: u64) -> Result<(), Fault> {
        let (head, entries) = codec::decode_offer(message.kind, &message.body).map_err(|_| MALFORMED)?;
        self.take_credit(slot, 0, bytes)?;
        self.stats.offers += 1;
        let Some(link) = self.links.get_mut(slot) else { return Ok(()) };
        match head.first {
            Some((number, epoch)) if link.intake.begin(&head, number, epoch) => {}
            None if link.intake.next == Some(head.from) => {}
            _ => return Err(OUT_OF_PLACE),
        }
        link.intake.next = Some(head.to);
        let taken = self.inventory.places.takes(head.key);
        let mut count = 0;
        for entry in entries {
            let entry = entry.map_err(|_| MALFORMED)?;
            count += 1;
            self.take_credit(slot, 1, 0)?;
            if taken {
                self.entry(now, slot, head.key, entry)?;
            }
        }
        self.stats.entries += count;
        if let Some(link) = self.links.get_mut(slot).filter(|_| count > 0) {
            link.intake.lane.works();
        }
        if !taken {
            self.move_to(now, slot, head.from);
        }
        self.take_credit(slot, u64::from(count == 0), 0)
    }

    fn entry(&mut self, now: Instant, slot: Slot, key: u32, entry: Entry) -> Result<(), Fault> {
        let Entry { index, short, size, summary } = entry;
        if self.is_known(slot, key, &entry) {
            return Ok(());
        }
        if self.links.get(slot).is_none_or(|link| link.gets.lane.opening == Opening::Never) {
            return Ok(()); // it could not be asked for it
        }
        let announcer = Announcer::new(slot, index);
        let claim = Claim { key, short, size, summary };
        if let Some(id) = self.asking.candidates.find(&claim) {
            self.announced(now, id, announcer);
            return Ok(());
        }
        let Some(link) = self.links.get_mut(slot) else { return Ok(()) };
        if size > link.max_item() {
            return Err(OVERSIZED);
        }
        let priority = (self.config.rules.judge)(&summary);
        let floor = self.want.floor.max(self.want.full);
        let Some(priority) = priority.filter(|priority| *priority >= floor) else { return Ok(()) };
        let id = self.asking.candidates.insert(Candidate::new(claim, priority, Some(announcer)));
        link.intake.undecided.push_back((index, id));
        link.intake.grant.charge();
        self.want.lent.add(link.info.side, 1);
        self.asking.wanted(&mut self.links, &mut self.asks, now, id);
        Ok(())
    }

    /// Whether this node has the item, or has decided on it. Notes that the peer has it too.
    fn is_known(&mut self, slot: Slot, key: u32, entry: &Entry) -> bool {
        match self.inventory.places.find(key, entry.short) {
            Some(Place::Live(index)) => {
                let same = self.inventory.log.get(index).is_some_and(|item| {
                    item.bytes.len() as u64 == u64::from(entry.size) && item.summary == entry.summary
                });
                if same {
                    self.inventory.known.insert(index, slot);
                }
                same
            }
            Some(Place::Deferred(at)) => self.inventory.deferred.heard(at, slot, entry.size, &entry.summary),
            Some(Place::Seen(_)) => true,
            None => false,
        }
    }

    /// A candidate was announced once more.
    fn announced(&mut self, now: Instant, id: CandId, mut announcer: Announcer) {
        let slot = announcer.slot;
        let (Some(link), Some(candidate)) = (self.links.get_mut(slot), self.asking.candidates.get_mut(id))
        else {
            return;
        };
        candidate.heard.insert(slot);
        link.intake.undecided.push_back((announcer.index, id));
        let State::Wanted = candidate.state else { return };
        if candidate.asks(slot) {
            return; // under its index of before; it will be answered
        }
        if let Some(before) = link.intake.reserve.remove(&id).filter(|_| candidate.has_reserve) {
            announcer.listed = before.listed;
        }
        if self.asking.admit(&mut self.links, id, announcer) {
            return self.asking.wanted(&mut self.links, &mut self.asks, now, id);
        }
        self.asking.put_in_reserve(&mut self.links, id, announcer);
        if self.asking.candidates.get(id).is_some_and(Candidate::wants_source) {
            self.asking.wait_in_reserve_at(&mut self.links, slot, id);
        }
    }

    /// Credit may have returned on this link: tells the peer, if it is time.
    pub(super) fn credit(&mut self, now: Instant, slot: Slot) {
        let Some(link) = self.links.get_mut(slot) else { return };
        if self.want.paused || link.intake.due || link.intake.lane.stream.is_none() {
            return;
        }
        if link.intake.undecided.len() > MAX_UNDECIDED {
            link.intake.through(&self.asking.candidates);
        }
        let lent_out = self.want.lent.of(link.info.side) >= u64::from(self.config.max_grants) / 2;
        let renew = link.intake.grant.renew(link.intake.extra());
        if lent_out {
            if renew != Renew::No && self.timers.get(Timer::Permit(slot)).is_none() {
                self.timers.set(Timer::Permit(slot), Some(now + LENT_PAUSE));
            }
            return;
        }
        match renew {
            Renew::Now => self.renew(slot),
            Renew::Soon if self.timers.get(Timer::Permit(slot)).is_none() => {
                self.timers.set(Timer::Permit(slot), Some(now + link.rtt()));
            }
            _ => {}
        }
    }

    /// A permit goes out with the next bytes on this link.
    pub(super) fn renew(&mut self, slot: Slot) {
        self.timers.set(Timer::Permit(slot), None);
        let Some(link) = self.links.get_mut(slot) else { return };
        link.intake.due = true;
        link.intake.lane.ask_write(link.id, &mut self.asks);
    }

    /// A candidate charged to this link is decided.
    pub(super) fn give_back(&mut self, now: Instant, slot: Slot) {
        if let Some(departed) = self.links.departed_mut(slot) {
            departed.charged = departed.charged.saturating_sub(1);
        } else if let Some(link) = self.links.get_mut(slot) {
            self.want.lent.take(link.info.side, 1);
            link.intake.grant.give_back();
            self.credit(now, slot);
        }
    }

    /// A candidate charged to this link is gone at it: its credit returns later.
    pub(super) fn count_gone(&mut self, now: Instant, slot: Slot) {
        let Some(link) = self.links.get_mut(slot) else { return };
        link.intake.grant.count_gone();
        self.want.lent.add(link.info.side, 1);
        if self.timers.get(Timer::Gone(slot)).is_none() {
            self.timers.set(Timer::Gone(slot), Some(now + GONE_PAUSE));
        }
    }

    /// What was gone at this link counts no more.
    pub(super) fn forget_gone(&mut self, now: Instant, slot: Slot) {
        if let Some(link) = self.links.get_mut(slot) {
            self.want.lent.take(link.info.side, link.intake.grant.forget_gone());
            self.credit(now, slot);
        }
    }

    /// The peer should go on offering from `index`, as soon as that may be asked again.
    pub(super) fn move_to(&mut self, now: Instant, slot: Slot, index: u64) {
        let Some(link) = self.links.get_mut(slot) else { return };
        // Before a first offer has shown its epoch only the start can be asked for, which any foreign epoch means.
        let (epoch, index) = link.intake.epoch.map_or((Epoch([0; 8]), 0), |epoch| (epoch, index));
        let moves = &mut link.intake.moves;
        if let Some(allowed) = moves.last.map(|last| last + MOVE_PAUSE).filter(|allowed| *allowed > now) {
            moves.wished = Some(moves.wished.map_or(index, |wished| wished.min(index)));
            return self.timers.set(Timer::Move(slot), Some(allowed));
        }
        moves.number += 1;
        let next = Move { number: moves.number, epoch, index };
        (moves.unsent, moves.expected, moves.last, moves.wished) = (Some(next), Some(next), Some(now), None);
        self.renew(slot);
    }

    /// The pause after a move is over.
    pub(super) fn move_due(&mut self, now: Instant, slot: Slot) {
        let wished = self.links.get_mut(slot).and_then(|link| link.intake.moves.wished.take());
        if let Some(index) = wished {
            self.move_to(now, slot, index);
        }
    }

    /// Writes a permit, where one is due.
    pub(super) fn write_wants(&mut self, now: Instant, slot: Slot, out: &mut Rope) {
        let Some(link) = self.links.get_mut(slot) else { return };
        let through = link.intake.through(&self.asking.candidates);
        let side = self.links.get(slot).map_or(Side::Inbound, |link| link.info.side);
        let (lent, total) = (self.want.lent.of(side), u64::from(self.config.max_grants));
        let (least, most) = (u64::from(self.config.entries), u64::from(self.config.max_entries));
        let most = if lent >= total / 8 * 3 { least } else { most };
        let most = most.min(self.want.part(&self.links, slot, total));
        let verdict = self.checking.verdict_time();
        let Some(link) = self.links.get_mut(slot) else { return };
        if !std::mem::take(&mut link.intake.due) {
            return;
        }
        let cycle = link.rtt() * 2 + verdict;
        let extra = link.intake.extra();
        let grant = &mut link.intake.grant;
        let before = grant.open();
        grant.adapt(now, cycle, least, most);
        let spare = if self.want.paused { 0 } else { (total / 2).saturating_sub(lent) };
        let (entries, bytes) = grant.give(extra, spare);
        self.want.lent.add(side, grant.open() - before);
        if spare == 0 && !self.want.paused {
            self.timers.set(Timer::Permit(slot), Some(now + LENT_PAUSE)); // until others have given back
        }
        let from = link.intake.moves.unsent.take();
        let floor = self.want.floor.max(self.want.full);
        let mut body = BytesMut::with_capacity(codec::MAX_WANT);
        put_varint(&mut body, codec::WANT);
        codec::encode_want(&codec::Want { entries, bytes, through, floor, from }, &mut body);
        let mut head = BytesMut::with_capacity(2);
        put_varint(&mut head, body.len() as u64);
        out.put(&head);
        out.put(&body);
        self.stats.wants_sent += 1;
        self.counters.messages_out += 1;
    }
}
