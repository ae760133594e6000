//! What this node asks of one link: gets and cancels out, items and *gone* in.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::{Bytes, BytesMut};
use weir_base::codec::{put_varint, varint_len};
use weir_base::{Chunk, Fault, Instant, Rope};

use super::candidates::CandId;
use super::codec::{self, AnswerHead, MAX_INDICES, MAX_ITEM_HEAD, MAX_LIST};
use super::link::{Lane, Role, Slot};
use super::outlet::put_len;
use super::record::Record;
use super::{FALSE_ITEM, Pool, UNASKED};
use crate::framing::{MALFORMED, MESSAGE_RATE, Message, UNKNOWN_TYPE};

/// Answers that may be outstanding on one link.
pub(super) const MAX_GETS: usize = 4_096;

/// The shortest queue of waiting candidates that is looked through for decided ones.
pub(super) const PURGE_AT: usize = 64;

/// The client's side of lane 1 on one link.
#[derive(Debug)]
pub(super) struct Gets {
    pub(super) lane: Lane,
    /// Not written yet; also in `flight`.
    pub(super) out: BTreeSet<u64>,
    pub(super) cancels: BTreeSet<u64>,
    /// Asked for and not answered, cancelled ones too.
    pub(super) flight: BTreeMap<u64, Get>, // <= MAX_GETS
    /// Bytes of bodies in `flight`.
    pub(super) bytes: u64,
    /// Of these, over their time.
    pub(super) overdue: u32,
    /// Candidates that this link announced and that wait for a source; some may be decided.
    pub(super) waiting: VecDeque<CandId>,
    /// When `waiting` has become so long, decided ones are taken out.
    pub(super) purge_at: usize,
    /// Whether this link may not be asked for the first of them now.
    pub(super) stalled: bool,
    /// Whether it is in the line of newcomers that wait for a share.
    pub(super) in_line: bool,
    pub(super) record: Record,
    reader: Reader,
}

/// One index asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Get {
    /// Who waits for it.
    pub(super) candidate: CandId,
    /// Whether it was taken back: it is answered all the same.
    pub(super) cancelled: bool,
    pub(super) size: u32,
    /// Bytes asked of the link before it and not answered then.
    pub(super) queued: u64,
    pub(super) since: Instant,
    /// Names its timer.
    pub(super) serial: u32,
    pub(super) patience: Patience,
    /// Whether it counts among those asked of links without a record.
    pub(super) newcomer: bool,
}

impl Get {
    pub(super) const fn new(
        candidate: CandId,
        size: u32,
        queued: u64,
        since: Instant,
        serial: u32,
        newcomer: bool,
    ) -> Self {
        let patience = Patience::Fresh(Come { bytes: 0, at: since });
        Self { candidate, cancelled: false, size, queued, since, serial, patience, newcomer }
    }
}

/// How long this node still waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// Until another is asked; what had come of the item when it was last looked at.
    Fresh(Come),
    /// Until it is a fault.
    Overdue,
    /// Until the stream is stopped; a fault then where it was none before.
    Expired { blamed: bool },
}

/// How much of a body had come when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Come {
    bytes: usize,
    at: Instant,
}

impl Come {
    /// What has come now, where that is progress: something at first, from then on 16 kB/s.
    fn progress(&self, now: Instant, bytes: usize) -> Option<Self> {
        let more = bytes.checked_sub(self.bytes).filter(|more| *more > 0)? as u64;
        let needed = if self.bytes == 0 {
            0
        } else {
            now.since(self.at).as_millis() * u128::from(MESSAGE_RATE) / 1_000
        };
        (u128::from(more) >= needed).then_some(Self { bytes, at: now })
    }
}

/// What is being read.
#[derive(Debug)]
enum Reader {
    /// The head of an answer, of which so many bytes have come.
    Head([u8; HEAD], usize),
    Body {
        index: u64,
        size: usize,
        body: BytesMut,
    },
    Gone {
        rest: usize,
        body: BytesMut,
    },
    Skip {
        rest: usize,
    },
}

/// Bytes of the longest head: length, type and index.
const HEAD: usize = 5 + 10 + 10;

/// An answer, whole.
#[derive(Debug)]
enum Answer {
    Item(u64, Bytes),
    Gone(Bytes),
    /// One that is skipped, of so many bytes.
    Skipped(u64),
}

impl Gets {
    pub(super) fn new() -> Self {
        Self {
            lane: Lane::default(),
            out: BTreeSet::new(),
            cancels: BTreeSet::new(),
            flight: BTreeMap::new(),
            bytes: 0,
            overdue: 0,
            waiting: VecDeque::new(),
            purge_at: PURGE_AT,
            stalled: false,
            in_line: false,
            record: Record::new(),
            reader: Reader::Head([0; HEAD], 0),
        }
    }

    /// The candidate that waits first need not wait any more.
    pub(super) fn pop_waiting(&mut self) {
        self.waiting.pop_front();
        if self.waiting.capacity() > 4 * self.waiting.len().max(PURGE_AT) {
            self.waiting.shrink_to(2 * self.waiting.len());
        }
    }

    /// Bytes that answers may still take, with a byte more, so that one too many is found out.
    pub(super) fn room(&self) -> usize {
        let bodies = usize::try_from(self.bytes).unwrap_or(usize::MAX);
        let come = match &self.reader {
            Reader::Head(_, len) => *len,
            Reader::Body { body, .. } | Reader::Gone { body, .. } => body.len(),
            Reader::Skip { .. } => 0,
        };
        bodies.saturating_add((self.flight.len() + 1) * MAX_ITEM_HEAD + 1).saturating_sub(come).max(1)
    }

    /// Takes what it can of `chunk`: the next answer, or `None` when the chunk is used up.
    fn read(&mut self, chunk: &mut Chunk, max: usize) -> Result<Option<Answer>, Fault> {
        while !chunk.is_empty() {
            match &mut self.reader {
                Reader::Head(held, len) => {
                    let taken = (HEAD - *len).min(chunk.len());
                    let fresh = chunk.get(..taken).unwrap_or_default();
                    if let Some(place) = held.get_mut(*len..*len + taken) {
                        place.copy_from_slice(fresh);
                    }
                    let known = held.get(..*len + taken).unwrap_or_default();
                    let Some((head, used)) = codec::peek_answer(known, max).map_err(|_| MALFORMED)? else {
                        *len += taken;
                        let _ = chunk.split_to(taken);
                        continue;
                    };
                    let _ = chunk.split_to(used.saturating_sub(*len));
                    if let Some(whole) = self.begin(head, chunk)? {
                        return Ok(Some(whole));
                    }
                }
                Reader::Body { index, size, body } if body.is_empty() && chunk.len() >= *size => {
                    let whole = Answer::Item(*index, chunk.split_to(*size).keep());
                    self.reader = Reader::Head([0; HEAD], 0);
                    return Ok(Some(whole));
                }
                Reader::Body { size, body, .. } => {
                    body.reserve(*size - body.len());
                    let part = chunk.split_to(*size - body.len());
                    body.extend_from_slice(&part);
                    if body.len() == *size {
                        return Ok(self.end());
                    }
                }
                Reader::Gone { rest, body, .. } => {
                    let part = chunk.split_to(*rest - body.len());
                    body.extend_from_slice(&part);
                    if body.len() == *rest {
                        return Ok(self.end());
                    }
                }
                Reader::Skip { rest } => {
                    *rest -= chunk.split_to(*rest).len();
                    if *rest == 0 {
                        self.reader = Reader::Head([0; HEAD], 0);
                    }
                }
            }
        }
        Ok(None)
    }

    /// A head was read. An answer whose rest lies whole in `chunk` is taken from it at once.
    fn begin(&mut self, head: AnswerHead, chunk: &mut Chunk) -> Result<Option<Answer>, Fault> {
        self.reader = Reader::Head([0; HEAD], 0);
        match head {
            AnswerHead::Item { index, size } => {
                let get = self.flight.get(&index).filter(|_| !self.out.contains(&index)).ok_or(UNASKED)?;
                if size as u64 != u64::from(get.size) {
                    return Err(FALSE_ITEM);
                }
                if chunk.len() >= size {
                    return Ok(Some(Answer::Item(index, chunk.split_to(size).keep())));
                }
                self.reader = Reader::Body { index, size, body: BytesMut::new() };
            }
            AnswerHead::Other { kind: codec::GONE, rest } if rest <= MAX_LIST => {
                if chunk.len() >= rest {
                    return Ok(Some(Answer::Gone(chunk.split_to(rest).into_bytes())));
                }
                self.reader = Reader::Gone { rest, body: BytesMut::new() };
            }
            AnswerHead::Other { kind: codec::GONE, .. } => return Err(MALFORMED),
            AnswerHead::Other { kind, rest } if Message::skippable(kind) => {
                if rest > 0 {
                    self.reader = Reader::Skip { rest };
                }
                return Ok(Some(Answer::Skipped(rest as u64)));
            }
            AnswerHead::Other { .. } => return Err(UNKNOWN_TYPE),
        }
        Ok(None)
    }

    fn end(&mut self) -> Option<Answer> {
        match std::mem::replace(&mut self.reader, Reader::Head([0; HEAD], 0)) {
            Reader::Body { index, body, .. } => Some(Answer::Item(index, body.freeze())),
            Reader::Gone { body, .. } => Some(Answer::Gone(body.freeze())),
            Reader::Head(..) | Reader::Skip { .. } => None,
        }
    }

    /// What has come of the body of `index` since `before`, where that is progress.
    pub(super) fn progress(&self, now: Instant, wanted: u64, before: Come) -> Option<Come> {
        match &self.reader {
            Reader::Body { index, body, .. } if *index == wanted => before.progress(now, body.len()),
            _ => None,
        }
    }

    /// The stream is no more; what was being read is dropped.
    pub(super) fn restart(&mut self) {
        self.reader = Reader::Head([0; HEAD], 0);
    }
}

impl Pool {
    /// Bytes came on the stream that carries items.
    pub(super) fn read_items(&mut self, now: Instant, slot: Slot, mut chunk: Chunk) {
        self.stats.control_bytes += chunk.len() as u64;
        loop {
            let Some(link) = self.links.get_mut(slot) else { return };
            let max = link.max_item() as usize + MAX_ITEM_HEAD;
            let done = match link.gets.read(&mut chunk, max.max(MAX_LIST)) {
                Ok(Some(Answer::Item(index, bytes))) => {
                    self.item(now, slot, index, bytes);
                    Ok(())
                }
                Ok(Some(Answer::Skipped(bytes))) => link.skipped.take(now, bytes),
                Ok(Some(Answer::Gone(body))) => self.gone_message(now, slot, &body),
                Ok(None) => return,
                Err(fault) => Err(fault),
            };
            if let Err(fault) = done {
                if fault == FALSE_ITEM {
                    self.asking.fetch.recorded(&mut self.links, slot, Record::false_item);
                }
                self.break_off(slot, Role::Gets, fault);
                return self.give_up(now, slot);
            }
        }
    }

    fn gone_message(&mut self, now: Instant, slot: Slot, body: &[u8]) -> Result<(), Fault> {
        self.counters.messages_in += 1;
        for index in codec::decode_indices(body) {
            let index = index.map_err(|_| MALFORMED)?;
            let link = self.links.get(slot);
            if !link
                .is_some_and(|link| link.gets.flight.contains_key(&index) && !link.gets.out.contains(&index))
            {
                return Err(UNASKED);
            }
            self.gone(now, slot, index);
        }
        Ok(())
    }

    /// Writes gets and cancels, in the order of the peer's log.
    pub(super) fn write_gets(&mut self, slot: Slot, out: &mut Rope) {
        let Some(link) = self.links.get_mut(slot) else { return };
        let gets = &mut link.gets;
        for (kind, indices) in [(codec::GET, &mut gets.out), (codec::CANCEL, &mut gets.cancels)] {
            if indices.is_empty() {
                continue;
            }
            self.scratch.clear();
            put_varint(&mut self.scratch, kind);
            let beyond = indices.iter().nth(MAX_INDICES).copied();
            let later = beyond.map(|index| indices.split_off(&index));
            codec::encode_indices(indices.iter().copied(), &mut self.scratch);
            let count = indices.len() as u64;
            *indices = later.unwrap_or_default();
            put_len(self.scratch.len(), out);
            out.put(&self.scratch);
            self.counters.messages_out += 1;
            match kind {
                codec::GET => self.stats.gets_sent += count,
                _ => self.stats.cancels_sent += count,
            }
            return;
        }
    }
}

/// Bytes that the head of an item's message takes.
pub(super) const fn head_len(index: u64, size: usize) -> usize {
    let fields = varint_len(codec::ITEM) + varint_len(index);
    varint_len((fields + size) as u64) + fields
}
