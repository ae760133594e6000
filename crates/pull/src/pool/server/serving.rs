//! What one peer has asked for: every get is answered once.

use std::collections::BTreeSet;

use bytes::BytesMut;
use weir_base::codec::put_varint;
use weir_base::{Fault, Instant, Rope};

use crate::framing::{Inbox, MALFORMED, Message};
use crate::pool::codec::{self, MAX_GETS, MAX_LIST};
use crate::pool::faults::GREEDY;
use crate::pool::inventory::Log;
use crate::pool::links::Lane;

/// Bytes of one turn.
pub(crate) const QUANTUM: u64 = 64 * 1024;

/// The server's side of lane 1 on one link.
#[derive(Debug)]
pub(crate) struct Serving {
    pub(crate) lane: Lane,
    pub(crate) inbox: Inbox,
    /// Asked for and not answered, lowest first.
    pub(crate) pending: BTreeSet<u64>, // with `cancelled` at most MAX_GETS
    pub(crate) cancelled: BTreeSet<u64>,
    pub(crate) turn: Option<Turn>,
}

impl Default for Serving {
    fn default() -> Self {
        let (pending, cancelled) = (BTreeSet::new(), BTreeSet::new());
        Self { lane: Lane::default(), inbox: Inbox::new(MAX_LIST), pending, cancelled, turn: None }
    }
}

/// What a link may write now: one turn, or several in one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    pub(crate) since: Instant,
    pub(crate) turns: u64,
    pub(crate) charged: u64, // what they were expected to cost
    pub(crate) used: u64,
}

impl Turn {
    pub(crate) const fn allowed(&self) -> u64 {
        self.turns * QUANTUM
    }

    /// What may still be written; the last item may go over it.
    pub(crate) const fn left(&self) -> u64 {
        self.allowed().saturating_sub(self.used)
    }
}

impl Serving {
    pub(crate) fn has_work(&self) -> bool {
        !self.pending.is_empty() || !self.cancelled.is_empty()
    }

    /// Bytes of the bodies that are written where `allowed` bytes may be, the last of which may go over it; and whether there
    /// are more. At most [`MAX_GETS`] steps.
    pub(crate) fn ahead(&self, log: &Log, allowed: u64) -> (u64, bool) {
        let mut cost = 0;
        for item in self.pending.iter().filter_map(|index| log.get(*index)) {
            if cost >= allowed {
                return (cost, true);
            }
            cost += item.0.bytes.len() as u64;
        }
        (cost, false)
    }

    /// A `Get`, or a `Cancel`.
    pub(crate) fn message(&mut self, message: &Message) -> Result<(), Fault> {
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
    pub(crate) fn answer_gone(&mut self, scratch: &mut BytesMut, out: &mut Rope) -> bool {
        if self.cancelled.is_empty() {
            return false;
        }
        let beyond = self.cancelled.iter().nth(codec::MAX_INDICES).copied();
        let later = beyond.map(|index| self.cancelled.split_off(&index)).unwrap_or_default();
        let now = std::mem::replace(&mut self.cancelled, later);
        scratch.clear();
        put_varint(scratch, codec::GONE);
        codec::encode_indices(now.into_iter(), scratch);
        codec::put_len(scratch.len(), out);
        out.put(scratch);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u64, indices: impl Iterator<Item = u64>) -> Message {
        let mut body = BytesMut::new();
        codec::encode_indices(indices, &mut body);
        Message { kind, body: body.freeze() }
    }

    #[test]
    fn a_turn_is_64_kib_and_several_are_as_many_times_that() {
        for (turns, bytes) in [(1, 65_536), (3, 196_608)] {
            for (used, left) in [(0, bytes), (100, bytes - 100), (bytes, 0), (bytes + 9, 0)] {
                let turn = Turn { since: Instant::ZERO, turns, charged: 0, used };
                assert_eq!((turn.allowed(), turn.left()), (bytes, left));
            }
        }
    }

    #[test]
    fn what_was_taken_back_counts_until_it_is_answered() {
        let mut serving = Serving::default();
        assert!(!serving.has_work());
        for first in (0..MAX_GETS as u64).step_by(codec::MAX_INDICES) {
            let gets = message(codec::GET, first..first + codec::MAX_INDICES as u64);
            assert_eq!(serving.message(&gets), Ok(()));
        }
        assert_eq!(serving.message(&message(codec::CANCEL, 0..100)), Ok(()));
        let more = message(codec::GET, std::iter::once(9_000));
        assert_eq!(serving.message(&more), Err(GREEDY));
        assert!(serving.answer_gone(&mut BytesMut::new(), &mut Rope::new()));
        assert_eq!(serving.message(&more), Ok(()));
        assert!(serving.has_work());
    }
}
