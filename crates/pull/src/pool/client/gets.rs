//! What this node asks of one link: gets and cancels out, items and *gone* in.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::{Bytes, BytesMut};
use weir_base::{Chunk, Fault, Instant};

use super::candidates::CandId;
use super::record::Record;
use crate::framing::{MALFORMED, MESSAGE_RATE, Message, UNKNOWN_TYPE};
use crate::pool::codec::{self, AnswerHead, MAX_ITEM_HEAD, MAX_LIST};
use crate::pool::faults::{FALSE_ITEM, UNASKED};
use crate::pool::links::Lane;

/// The shortest queue of waiting candidates that is looked through for decided ones.
pub(crate) const PURGE_AT: usize = 64;

/// The client's side of lane 1 on one link.
#[derive(Debug)]
pub(crate) struct Gets {
    pub(crate) lane: Lane,
    /// Not written yet; also in `flight`.
    pub(crate) out: BTreeSet<u64>,
    pub(crate) cancels: BTreeSet<u64>,
    /// Asked for and not answered, cancelled ones too.
    pub(crate) flight: BTreeMap<u64, Get>, // <= MAX_GETS
    /// Bytes of bodies in `flight`.
    pub(crate) bytes: u64,
    /// Of these, over their time.
    pub(crate) overdue: u32,
    /// Candidates that this link announced and that wait for a source; some may be decided.
    pub(crate) waiting: VecDeque<CandId>,
    /// When `waiting` has become so long, decided ones are taken out.
    pub(crate) purge_at: usize,
    /// Whether this link may not be asked for the first of them now.
    pub(crate) stalled: bool,
    /// Whether it is in the line of newcomers that wait for a share.
    pub(crate) in_line: bool,
    pub(crate) record: Record,
    reader: Reader,
}

/// One index asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Get {
    /// Who waits for it.
    pub(crate) candidate: CandId,
    /// Whether it was taken back: it is answered all the same.
    pub(crate) cancelled: bool,
    pub(crate) size: u32,
    /// Bytes asked of the link before it and not answered then.
    pub(crate) queued: u64,
    pub(crate) since: Instant,
    /// Names its timer.
    pub(crate) serial: u32,
    pub(crate) patience: Patience,
    /// Whether it counts among those asked of links without a record.
    pub(crate) newcomer: bool,
}

impl Get {
    pub(crate) const fn new(
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
pub(crate) enum Patience {
    /// Until another is asked; what had come of the item when it was last looked at.
    Fresh(Come),
    /// Until it is a fault.
    Overdue,
    /// Until the stream is stopped; a fault then where it was none before.
    Expired { blamed: bool },
}

/// How much of a body had come when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Come {
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
pub(crate) enum Answer {
    Item(u64, Bytes),
    Gone(Bytes),
    /// One that is skipped, of so many bytes.
    Skipped(u64),
}

impl Gets {
    pub(crate) fn new() -> Self {
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

    /// Bytes of memory of what is asked of it and waits to be.
    pub(crate) fn table_bytes(&self) -> usize {
        self.flight.len() * size_of::<(u64, Get)>()
            + (self.out.len() + self.cancels.len()) * size_of::<u64>()
            + self.waiting.capacity() * size_of::<CandId>()
    }

    /// The candidate that waits first need not wait any more.
    pub(crate) fn pop_waiting(&mut self) {
        self.waiting.pop_front();
        if self.waiting.capacity() > 4 * self.waiting.len().max(PURGE_AT) {
            self.waiting.shrink_to(2 * self.waiting.len());
        }
    }

    /// Bytes that answers may still take, with a byte more, so that one too many is found out.
    pub(crate) fn room(&self) -> usize {
        let bodies = usize::try_from(self.bytes).unwrap_or(usize::MAX);
        let come = match &self.reader {
            Reader::Head(_, len) => *len,
            Reader::Body { body, .. } | Reader::Gone { body, .. } => body.len(),
            Reader::Skip { .. } => 0,
        };
        bodies.saturating_add((self.flight.len() + 1) * MAX_ITEM_HEAD + 1).saturating_sub(come).max(1)
    }

    /// Takes what it can of `chunk`: the next answer, or `None` when the chunk is used up.
    pub(crate) fn read(&mut self, chunk: &mut Chunk, max: usize) -> Result<Option<Answer>, Fault> {
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
    pub(crate) fn progress(&self, now: Instant, wanted: u64, before: Come) -> Option<Come> {
        match &self.reader {
            Reader::Body { index, body, .. } if *index == wanted => before.progress(now, body.len()),
            _ => None,
        }
    }

    /// The stream is no more; what was being read is dropped.
    pub(crate) fn restart(&mut self) {
        self.reader = Reader::Head([0; HEAD], 0);
    }
}

#[cfg(test)]
mod tests {
    use super::super::candidates::{Candidate, Candidates, Claim};
    use super::*;
    use crate::ShortId;
    use crate::pool::Summary;
    use weir_base::Rng;

    fn a_candidate() -> CandId {
        let claim = Claim { key: 1, short: ShortId(1), size: 1, summary: Summary::EMPTY };
        Candidates::new(&mut Rng::from_number(1)).insert(Candidate::new(claim, 0, None))
    }

    /// Gets of these indices, of 300 bytes each, that were written.
    fn asked(indices: &[u64]) -> Gets {
        let mut gets = Gets::new();
        for index in indices {
            gets.flight.insert(*index, Get::new(a_candidate(), 300, 0, Instant::ZERO, 1, false));
            gets.bytes += 300;
        }
        gets
    }

    fn message(kind: u64, fields: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        weir_base::codec::put_prefixed(&mut out, &[&[u8::try_from(kind).unwrap()][..], fields].concat());
        out
    }

    fn item(index: u8) -> Vec<u8> {
        message(codec::ITEM, &[&[index][..], &[7; 300]].concat())
    }

    /// What is read of bytes that come in pieces of this size: as text, and the first fault.
    fn read(gets: &mut Gets, bytes: &[u8], piece: usize) -> (Vec<String>, Option<Fault>) {
        let mut all = Vec::new();
        for part in bytes.chunks(piece) {
            let mut chunk = Chunk::whole(Bytes::copy_from_slice(part));
            loop {
                match gets.read(&mut chunk, 20_000) {
                    Ok(Some(Answer::Item(index, body))) => all.push(format!("item {index} {}", body.len())),
                    Ok(Some(Answer::Gone(body))) => all.push(format!("gone {body:?}")),
                    Ok(Some(Answer::Skipped(bytes))) => all.push(format!("skipped {bytes}")),
                    Ok(None) => break,
                    Err(fault) => return (all, Some(fault)),
                }
            }
        }
        (all, None)
    }

    #[test]
    fn answers_are_read_alike_however_they_are_cut() {
        let gone: Vec<u8> = (0..40).map(|_| 0).collect();
        let all = [item(1), message(codec::GONE, &gone), message(11, &[5; 50]), message(13, &[]), item(2)];
        let bytes = all.concat();
        let expected =
            ["item 1 300", &format!("gone {:?}", Bytes::from(gone)), "skipped 50", "skipped 0", "item 2 300"];
        for piece in 1..=bytes.len() {
            assert_eq!(
                read(&mut asked(&[1, 2]), &bytes, piece),
                (expected.map(str::to_owned).to_vec(), None)
            );
        }
    }

    #[test]
    fn what_was_not_asked_for_or_is_too_long_is_a_fault() {
        let fault = |bytes: &[u8]| read(&mut asked(&[1]), bytes, 7).1;
        assert_eq!(fault(&item(2)), Some(UNASKED));
        assert_eq!(fault(&message(codec::ITEM, &[1, 0, 0])), Some(FALSE_ITEM));
        assert_eq!(fault(&message(12, &[])), Some(UNKNOWN_TYPE));
        assert_eq!(fault(&message(codec::GONE, &vec![0; MAX_LIST + 1])), Some(MALFORMED));
        assert_eq!(fault(&message(codec::GONE, &vec![0; MAX_LIST])), None);
        let mut gets = asked(&[1]);
        gets.out.insert(1);
        assert_eq!(read(&mut gets, &item(1), 400).1, Some(UNASKED), "it is to be asked for");
    }

    #[test]
    fn there_is_room_for_all_answers_and_a_byte_more() {
        assert_eq!(Gets::new().room(), MAX_ITEM_HEAD + 1);
        let mut gets = asked(&[1, 2]);
        assert_eq!(gets.room(), 600 + 3 * MAX_ITEM_HEAD + 1);
        read(&mut gets, &item(1)[..2], 2);
        assert_eq!(gets.room(), 600 + 3 * MAX_ITEM_HEAD + 1 - 2, "a head has begun");
        read(&mut gets, &item(1)[2..104], 102);
        assert_eq!(gets.room(), 600 + 3 * MAX_ITEM_HEAD + 1 - 100, "and 100 bytes of its body");
    }

    #[test]
    fn progress_is_the_first_byte_and_then_16_kb_a_second() {
        let (begin, later) = (Instant::from_millis(1_000), Instant::from_millis(1_500));
        let nothing = Come { bytes: 0, at: begin };
        assert_eq!(nothing.progress(later, 0), None);
        let first = Come { bytes: 1, at: later };
        assert_eq!(nothing.progress(later, 1), Some(first));
        let half_a_second_on = Instant::from_millis(2_000);
        assert_eq!(first.progress(half_a_second_on, 8_000), None);
        let next = Come { bytes: 8_001, at: half_a_second_on };
        assert_eq!(first.progress(half_a_second_on, 8_001), Some(next));
        assert_eq!(next.progress(half_a_second_on, 8_001), None, "nothing more came");
        assert_eq!(next.progress(half_a_second_on, 8_000), None);
    }

    #[test]
    fn progress_is_looked_for_in_the_body_that_is_being_read() {
        let mut gets = asked(&[1, 2]);
        let (now, before) = (Instant::from_millis(9), Come { bytes: 0, at: Instant::ZERO });
        read(&mut gets, &item(1)[..104], 104);
        assert_eq!(gets.progress(now, 2, before), None);
        assert_eq!(gets.progress(now, 1, before), Some(Come { bytes: 100, at: now }));
        gets.restart();
        assert_eq!(gets.progress(now, 1, before), None);
    }

    #[test]
    fn a_queue_that_was_long_gives_its_memory_back() {
        let mut gets = Gets::new();
        (0..2_000).for_each(|_| gets.waiting.push_back(a_candidate()));
        (0..1_950).for_each(|_| gets.pop_waiting());
        assert_eq!(gets.waiting.len(), 50);
        assert!(gets.waiting.capacity() <= 4 * PURGE_AT, "{}", gets.waiting.capacity());
        let mut few = Gets::new();
        few.waiting = VecDeque::with_capacity(4 * PURGE_AT);
        (0..70).for_each(|_| few.waiting.push_back(a_candidate()));
        let before = few.waiting.capacity();
        (0..60).for_each(|_| few.pop_waiting());
        assert_eq!(few.waiting.capacity(), before, "a short one is left as it is");
    }
}
