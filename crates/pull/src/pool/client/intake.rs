//! What one link has offered and is not decided, the permit that this node gives it, and where its next offer begins.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use weir_base::Instant;

use super::candidates::{Announcer, CandId, Candidates};
use super::grant::Grant;
use crate::framing::Inbox;
use crate::pool::codec::{self, Epoch, Move, OfferHead};
use crate::pool::links::Lane;

/// Undecided entries of one link that cost no credit; from then on they count as charged.
const MAX_UNDECIDED: usize = 4_096;
/// Undecided entries for which memory is kept on each link.
const FEW: usize = 64;
/// Least time between two moves of one server's cursor.
const MOVE_PAUSE: Duration = Duration::from_secs(10);

/// The client's side of lane 0 on one link.
#[derive(Debug)]
pub(crate) struct Intake {
    pub(crate) lane: Lane,
    pub(crate) inbox: Inbox,
    pub(crate) grant: Grant,
    /// A new permit should go out.
    pub(crate) due: bool,
    /// Where the next offer begins; none before the first.
    next: Option<u64>,
    epoch: Option<Epoch>,
    moves: Moves,
    // Entries not known to be decided, ascending; those of candidates that are no more count as decided.
    undecided: VecDeque<(u64, CandId)>,
    /// Whether candidates that this link announced may be missing in `undecided`: it was to offer them again.
    pub(crate) rewound: bool,
    /// Candidates that it announced and is not kept for. Only such as are in `undecided`.
    pub(crate) reserve: BTreeMap<CandId, Announcer>,
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
    pub(crate) fn new(window: u32, resumed: Option<(Epoch, u64)>) -> Self {
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
    pub(crate) fn restart(&mut self, window: u32, resumed: Option<(Epoch, u64)>) -> u64 {
        let open = self.grant.open();
        let fresh = Self::new(window, resumed);
        let before = std::mem::replace(self, fresh);
        (self.lane, self.undecided, self.rewound, self.reserve) =
            (before.lane, before.undecided, before.rewound, before.reserve);
        self.moves.last = before.moves.last;
        (0..before.grant.charged()).for_each(|_| self.grant.charge());
        open + before.grant.gone()
    }

    /// Bytes of memory of what it offered.
    pub(crate) fn table_bytes(&self) -> usize {
        self.undecided.capacity() * size_of::<(u64, CandId)>()
            + self.reserve.len() * size_of::<(CandId, Announcer)>()
    }

    /// The candidates among what this link offered.
    pub(crate) fn undecided(&self) -> impl Iterator<Item = CandId> {
        self.undecided.iter().map(|(_, candidate)| *candidate)
    }

    /// The candidate that this link offered under `index`, where it is not known to be decided.
    pub(crate) fn candidate_at(&self, index: u64) -> Option<CandId> {
        let at = self.undecided.partition_point(|(other, _)| *other < index);
        self.undecided.get(at).filter(|(other, _)| *other == index).map(|(_, candidate)| *candidate)
    }

    /// A candidate that this link has offered under `index`, the highest so far.
    pub(crate) fn add(&mut self, index: u64, candidate: CandId) {
        self.undecided.push_back((index, candidate));
    }

    /// Whether more are undecided than cost no credit; some of them may be decided.
    pub(crate) fn is_crowded(&self) -> bool {
        self.undecided.len() > MAX_UNDECIDED
    }

    /// Entries that count as charged, because too many are undecided.
    pub(crate) fn extra(&self) -> u64 {
        self.undecided.len().saturating_sub(MAX_UNDECIDED) as u64
    }

    /// Everything before this index of the peer's log is decided.
    pub(crate) fn through(&mut self, candidates: &Candidates) -> u64 {
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
    pub(crate) fn receipt(&mut self, candidates: &Candidates) -> Option<(Epoch, u64)> {
        let through = self.through(candidates);
        // where the peer was to begin anew and has not yet, it still is to
        let expected = self.moves.expected.map(|expected| expected.index);
        let back = [self.moves.wished, expected].into_iter().flatten().min();
        Some((self.epoch?, back.map_or(through, |back| back.min(through))))
    }

    /// An offer: whether it begins where it may.
    pub(crate) fn follows(&mut self, head: &OfferHead) -> bool {
        let follows = match head.first {
            Some((number, epoch)) => self.begin(head, number, epoch),
            None => self.next == Some(head.from),
        };
        if follows {
            self.next = Some(head.to);
        }
        follows
    }

    /// The peer should go on offering from `index`. `Err`: when that may be asked again.
    pub(crate) fn move_to(&mut self, now: Instant, index: u64) -> Result<(), Instant> {
        // Before a first offer has shown its epoch only the start can be asked for, which any foreign epoch means.
        let (epoch, index) = self.epoch.map_or((Epoch([0; 8]), 0), |epoch| (epoch, index));
        let moves = &mut self.moves;
        if let Some(allowed) = moves.last.map(|last| last + MOVE_PAUSE).filter(|allowed| *allowed > now) {
            moves.wished = Some(moves.wished.map_or(index, |wished| wished.min(index)));
            return Err(allowed);
        }
        moves.number += 1;
        let next = Move { number: moves.number, epoch, index };
        (moves.unsent, moves.expected, moves.last, moves.wished) = (Some(next), Some(next), Some(now), None);
        Ok(())
    }

    /// Where it should go on, as was wished during the pause.
    pub(crate) const fn take_wished(&mut self) -> Option<u64> {
        self.moves.wished.take()
    }

    /// Where it should go on, to be written with the next permit.
    pub(crate) const fn take_move(&mut self) -> Option<Move> {
        self.moves.unsent.take()
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

#[cfg(test)]
mod tests {
    use crate::ShortId;
    use weir_base::Rng;

    use super::super::candidates::{Candidate, Claim};
    use super::*;
    use crate::pool::Summary;

    const EPOCH: Epoch = Epoch([3; 8]);

    fn candidates() -> Candidates {
        Candidates::new(&mut Rng::from_number(1))
    }

    fn candidate(candidates: &mut Candidates, number: u64) -> CandId {
        let claim = Claim { key: 1, short: ShortId(number), size: 1, summary: Summary::EMPTY };
        candidates.insert(Candidate::new(claim, 0, None))
    }

    fn head(first: Option<(u64, Epoch)>, from: u64, to: u64) -> OfferHead {
        OfferHead { first, key: 1, from, to }
    }

    /// An intake with so many undecided candidates, at each third index.
    fn with(candidates: &mut Candidates, count: u64) -> Intake {
        let mut intake = Intake::new(16, None);
        assert!(intake.follows(&head(Some((0, EPOCH)), 0, 3 * count)));
        for number in 0..count {
            intake.add(3 * number, candidate(candidates, number));
        }
        intake
    }

    #[test]
    fn a_candidate_is_found_by_its_index() {
        let mut candidates = candidates();
        let intake = with(&mut candidates, 5);
        let all: Vec<CandId> = intake.undecided().collect();
        let found: Vec<Option<CandId>> = (0..15).map(|index| intake.candidate_at(index)).collect();
        for (index, found) in found.into_iter().enumerate() {
            assert_eq!(found, (index % 3 == 0).then(|| all[index / 3]));
        }
    }

    #[test]
    fn beyond_4096_what_is_undecided_counts_as_charged() {
        let mut candidates = candidates();
        for (count, crowded, extra) in
            [(4_095, false, 0), (4_096, false, 0), (4_097, true, 1), (5_000, true, 904)]
        {
            let intake = with(&mut candidates, count);
            assert_eq!((intake.is_crowded(), intake.extra()), (crowded, extra), "{count}");
        }
    }

    #[test]
    fn everything_before_the_first_undecided_candidate_is_decided() {
        let mut candidates = candidates();
        assert_eq!(Intake::new(16, None).through(&candidates), 0);
        let mut intake = with(&mut candidates, 3);
        assert_eq!(intake.through(&candidates), 0);
        let all: Vec<CandId> = intake.undecided().collect();
        candidates.remove(all[1]);
        assert_eq!(intake.through(&candidates), 0);
        candidates.remove(all[0]);
        assert_eq!((intake.through(&candidates), intake.undecided().count()), (6, 1));
        candidates.remove(all[2]);
        assert_eq!(intake.through(&candidates), 9, "all that was offered");
    }

    #[test]
    fn decided_candidates_in_the_middle_go_where_there_are_more_than_8192() {
        let mut candidates = candidates();
        for (count, left) in [(8_192, 8_192), (8_193, 2)] {
            let mut intake = with(&mut candidates, count);
            let all: Vec<CandId> = intake.undecided().collect();
            all[1..all.len() - 1].iter().for_each(|id| _ = candidates.remove(*id));
            intake.through(&candidates);
            assert_eq!(intake.undecided().count(), left);
        }
    }

    #[test]
    fn memory_for_many_undecided_candidates_is_given_back() {
        let mut candidates = candidates();
        let mut intake = with(&mut candidates, 5_000);
        let all: Vec<CandId> = intake.undecided().collect();
        all[..4_900].iter().for_each(|id| _ = candidates.remove(*id));
        intake.through(&candidates);
        let capacity = intake.undecided.capacity();
        assert!((100..=400).contains(&capacity), "{capacity}");
        let mut few = with(&mut candidates, 120);
        let before = few.undecided.capacity();
        let all: Vec<CandId> = few.undecided().collect();
        all[..118].iter().for_each(|id| _ = candidates.remove(*id));
        few.through(&candidates);
        assert_eq!(few.undecided.capacity(), before, "little is left as it is");
    }

    #[test]
    fn a_cursor_is_moved_once_in_ten_seconds_and_the_lowest_wish_is_kept() {
        let mut candidates = candidates();
        let mut intake = with(&mut candidates, 5);
        let begin = Instant::from_millis(20_000);
        let next_move = |intake: &mut Intake| intake.take_move().map(|to| (to.number, to.epoch, to.index));
        assert_eq!((intake.move_to(begin, 9), next_move(&mut intake)), (Ok(()), Some((1, EPOCH, 9))));
        let allowed = begin + MOVE_PAUSE;
        let just_before = Instant::from_nanos(allowed.as_nanos() - 1);
        for index in [7, 5, 6] {
            assert_eq!(intake.move_to(just_before, index), Err(allowed));
        }
        assert_eq!(
            (next_move(&mut intake), intake.take_wished(), intake.take_wished()),
            (None, Some(5), None)
        );
        assert_eq!((intake.move_to(allowed, 5), next_move(&mut intake)), (Ok(()), Some((2, EPOCH, 5))));
        let mut fresh = Intake::new(16, None);
        assert_eq!(fresh.move_to(begin, 9), Ok(()));
        assert_eq!(next_move(&mut fresh), Some((1, Epoch([0; 8]), 0)), "no epoch was shown: from the start");
    }

    #[test]
    fn a_first_offer_names_a_move_that_was_asked_for_and_each_once() {
        let begins = |number, from| {
            let mut intake = Intake::new(16, Some((EPOCH, 40)));
            intake.follows(&head(Some((number, EPOCH)), from, from + 5))
        };
        assert!(begins(1, 40) && begins(1, 0) && begins(0, 0));
        assert!(!begins(0, 40) && !begins(1, 39) && !begins(2, 0));
        let mut intake = Intake::new(16, Some((EPOCH, 40)));
        assert!(
            intake.follows(&head(Some((0, EPOCH)), 0, 5)) && !intake.follows(&head(Some((0, EPOCH)), 0, 5))
        );
        assert!(intake.follows(&head(None, 5, 7)) && !intake.follows(&head(None, 5, 7)));
        assert!(
            intake.follows(&head(Some((1, EPOCH)), 40, 50))
                && !intake.follows(&head(Some((1, EPOCH)), 40, 50))
        );
        assert!(!intake.follows(&head(Some((0, EPOCH)), 0, 5)), "an old one");
    }

    #[test]
    fn a_receipt_goes_no_further_than_where_the_peer_was_to_begin() {
        let mut candidates = candidates();
        assert_eq!(Intake::new(16, None).receipt(&candidates), None);
        let mut intake = with(&mut candidates, 5);
        intake.undecided.clear();
        assert_eq!(intake.receipt(&candidates), Some((EPOCH, 15)));
        intake.move_to(Instant::from_millis(20_000), 9).unwrap();
        assert_eq!(intake.receipt(&candidates), Some((EPOCH, 9)));
        intake.move_to(Instant::from_millis(20_001), 4).unwrap_err();
        assert_eq!(intake.receipt(&candidates), Some((EPOCH, 4)));
    }

    #[test]
    fn what_a_stream_had_open_and_gone_returns_when_it_ends() {
        let mut intake = Intake::new(16, None);
        intake.grant.give(0, u64::MAX);
        assert!(intake.grant.take(6, 60));
        (0..5).for_each(|_| intake.grant.charge());
        (0..2).for_each(|_| intake.grant.count_gone());
        (0..2).for_each(|_| intake.grant.give_back());
        assert_eq!(intake.restart(16, None), 10 + 2);
        assert_eq!((intake.grant.charged(), intake.grant.gone(), intake.grant.open()), (3, 0, 0));
    }
}
