//! What this node relays: its tip, a tip whose slot has not begun, and evidence. Knows no links.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use weir_base::{Instant, UnixTime};

use super::types::{Config, Grounds, SlotKey};
use crate::machine::Refused;

/// Evidence kept for peers that are slow to ask; of more the oldest is dropped.
const MAX_EVIDENCE: usize = 16;

/// See the module.
#[derive(Debug)]
pub(super) struct Relay {
    max_slots: usize,
    max_unvalidated: u32,
    early: Duration,
    current: Option<Bytes>,
    withdrawn: Option<Bytes>,
    parked: Option<(UnixTime, Bytes)>,
    evidence: VecDeque<Bytes>, // at most MAX_EVIDENCE
    evidence_end: u64,         // the number of the next one
    slots: BTreeMap<SlotKey, Slot>,
    slot_order: VecDeque<SlotKey>, // the oldest first; as many as `slots`
    wall: Option<(Instant, UnixTime)>,
}

/// The hashes of the values of one slot that were relayed.
#[derive(Clone, Copy, Debug)]
struct Slot {
    first: [u8; 32],
    second: Option<[u8; 32]>,
}

/// Where a value stands among those of its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    First,
    Second,
    Known,
    Third,
}

impl Relay {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            max_slots: config.max_slots as usize,
            max_unvalidated: config.max_unvalidated,
            early: config.early,
            current: None,
            withdrawn: None,
            parked: None,
            evidence: VecDeque::new(),
            evidence_end: 0,
            slots: BTreeMap::new(),
            slot_order: VecDeque::new(),
            wall: None,
        }
    }

    /// The tip that peers may have now.
    pub(super) fn current(&self) -> Option<&Bytes> {
        self.current.as_ref()
    }

    /// The value taken back last, while there is no other tip.
    pub(super) fn withdrawn(&self) -> Option<&Bytes> {
        self.withdrawn.as_ref()
    }

    /// The number that the next evidence will have.
    pub(super) fn evidence_end(&self) -> u64 {
        self.evidence_end
    }

    /// The first evidence numbered `from` or later, and its number.
    pub(super) fn evidence_from(&self, from: u64) -> Option<(u64, &Bytes)> {
        let begin = self.evidence_end - self.evidence.len() as u64;
        let number = from.max(begin);
        let index = usize::try_from(number - begin).ok()?;
        Some((number, self.evidence.get(index)?))
    }

    /// Makes `value` the tip, at once or when its slot begins.
    pub(super) fn adopt(&mut self, now: Instant, value: Bytes, grounds: &Grounds) -> Result<(), Refused> {
        if grounds.unvalidated > self.max_unvalidated {
            return Err(Refused::Unvalidated);
        }
        if self.admit(grounds.slot, &value) == Place::Third {
            return Err(Refused::SlotTaken);
        }
        self.parked = None;
        match grounds.begins {
            Some(begins) if !self.has_begun(now, begins) => self.parked = Some((begins, value)),
            _ => self.set(value),
        }
        Ok(())
    }

    /// Relays `value` beside the tip, where it is the second of its slot.
    pub(super) fn evidence(&mut self, now: Instant, value: Bytes, grounds: &Grounds) {
        let begun = grounds.begins.is_none_or(|begins| self.has_begun(now, begins));
        if grounds.unvalidated > self.max_unvalidated || !begun {
            return;
        }
        if self.place(grounds.slot, &digest(&value)) != Place::Second {
            return;
        }
        self.admit(grounds.slot, &value);
        if self.evidence.len() >= MAX_EVIDENCE {
            self.evidence.pop_front();
        }
        self.evidence.push_back(value);
        self.evidence_end += 1;
    }

    /// There is no tip any more, nor one that waits.
    pub(super) fn withdraw(&mut self) {
        self.parked = None;
        self.withdrawn = self.current.take().or(self.withdrawn.take());
    }

    pub(super) fn set_wall(&mut self, now: Instant, wall: UnixTime) {
        self.wall = Some((now, wall));
    }

    /// Lets the parked value go where its slot has begun.
    pub(super) fn release(&mut self, now: Instant) {
        if let Some((_, value)) =
            self.parked.take_if(|(begins, _)| begun(self.wall, self.early, now, *begins))
        {
            self.set(value);
        }
    }

    /// When [`release`](Self::release) has work, as the wall clock stands.
    pub(super) fn due(&self) -> Option<Instant> {
        let ((begins, _), (at, wall)) = (self.parked.as_ref()?, self.wall?);
        let early = u64::try_from(self.early.as_millis()).unwrap_or(u64::MAX);
        let wait = begins.as_millis().saturating_sub(early).saturating_sub(wall.as_millis());
        Some(at + Duration::from_millis(wait))
    }

    fn set(&mut self, value: Bytes) {
        self.current = Some(value);
        self.withdrawn = None;
    }

    fn has_begun(&self, now: Instant, begins: UnixTime) -> bool {
        begun(self.wall, self.early, now, begins)
    }

    fn place(&self, slot: SlotKey, digest: &[u8; 32]) -> Place {
        match self.slots.get(&slot) {
            None => Place::First,
            Some(known) if known.first == *digest || known.second == Some(*digest) => Place::Known,
            Some(known) if known.second.is_none() => Place::Second,
            Some(_) => Place::Third,
        }
    }

    /// Notes that `value` is relayed, where its slot has a place for it.
    fn admit(&mut self, slot: SlotKey, value: &Bytes) -> Place {
        let digest = digest(value);
        let place = self.place(slot, &digest);
        match place {
            Place::First => {
                if self.slot_order.len() >= self.max_slots
                    && let Some(oldest) = self.slot_order.pop_front()
                {
                    self.slots.remove(&oldest);
                }
                self.slots.insert(slot, Slot { first: digest, second: None });
                self.slot_order.push_back(slot);
            }
            Place::Second => {
                if let Some(known) = self.slots.get_mut(&slot) {
                    known.second = Some(digest);
                }
            }
            Place::Known | Place::Third => {}
        }
        place
    }
}

fn digest(value: &Bytes) -> [u8; 32] {
    Sha256::digest(value).into()
}

/// Whether a slot has begun by wall clock, `early` allowed for. Unknown wall time: no.
fn begun(wall: Option<(Instant, UnixTime)>, early: Duration, now: Instant, begins: UnixTime) -> bool {
    wall.is_some_and(|(at, wall)| wall + now.since(at) + early >= begins)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grounds(slot: u8) -> Grounds {
        Grounds { slot: SlotKey([slot; 32]), unvalidated: 0, begins: None }
    }

    #[test]
    fn two_values_of_a_slot_are_relayed_and_no_third() {
        let (mut relay, now) = (Relay::new(&Config::default()), Instant::ZERO);
        relay.adopt(now, "a".into(), &grounds(1)).unwrap();
        relay.evidence(now, "b".into(), &grounds(1));
        relay.evidence(now, "c".into(), &grounds(1));
        relay.evidence(now, "b".into(), &grounds(1));
        assert_eq!(relay.adopt(now, "c".into(), &grounds(1)), Err(Refused::SlotTaken));
        assert_eq!(relay.evidence_from(0), Some((0, &"b".into())));
        assert_eq!((relay.evidence_from(1), relay.evidence_end()), (None, 1));
        assert_eq!(relay.adopt(now, "b".into(), &grounds(1)), Ok(()));
        relay.adopt(now, "a".into(), &grounds(1)).unwrap();
        assert_eq!(relay.current(), Some(&"a".into()));
    }

    #[test]
    fn evidence_that_is_the_first_of_its_slot_is_not_relayed() {
        let (mut relay, now) = (Relay::new(&Config::default()), Instant::ZERO);
        relay.evidence(now, "a".into(), &grounds(1));
        assert_eq!(relay.evidence_from(0), None);
    }

    #[test]
    fn a_third_unvalidated_ancestor_keeps_a_value_back() {
        let (mut relay, now) = (Relay::new(&Config::default()), Instant::ZERO);
        let at = |unvalidated| Grounds { unvalidated, ..grounds(1) };
        assert_eq!(relay.adopt(now, "a".into(), &at(3)), Err(Refused::Unvalidated));
        assert_eq!(relay.adopt(now, "a".into(), &at(2)), Ok(()));
        relay.evidence(now, "b".into(), &at(3));
        assert_eq!(relay.evidence_from(0), None);
    }

    #[test]
    fn slots_and_evidence_are_bounded() {
        let mut relay = Relay::new(&Config { max_slots: 3, ..Config::default() });
        for slot in 0..100 {
            relay.adopt(Instant::ZERO, vec![slot].into(), &grounds(slot)).unwrap();
            relay.evidence(Instant::ZERO, vec![slot, 1].into(), &grounds(slot));
        }
        assert_eq!((relay.slots.len(), relay.slot_order.len()), (3, 3));
        assert_eq!((relay.evidence.len(), relay.evidence_end()), (MAX_EVIDENCE, 100));
        assert_eq!(relay.evidence_from(0).map(|(number, _)| number), Some(84));
    }

    #[test]
    fn a_value_waits_for_its_slot_by_wall_clock_less_half_a_second() {
        let mut relay = Relay::new(&Config::default());
        let at = Instant::from_millis;
        let begins = Grounds { begins: Some(UnixTime::from_millis(10_000)), ..grounds(1) };
        relay.adopt(at(0), "a".into(), &begins).unwrap();
        assert_eq!((relay.current(), relay.due()), (None, None));
        relay.set_wall(at(1), UnixTime::from_millis(8_001));
        assert_eq!(relay.due(), Some(at(1_500)));
        relay.release(at(1_499));
        assert_eq!(relay.current(), None);
        relay.set_wall(at(1_499), UnixTime::from_millis(2_000)); // a step back
        relay.release(at(1_500));
        assert_eq!(relay.current(), None);
        relay.set_wall(at(1_600), UnixTime::from_millis(9_500));
        relay.release(at(1_600));
        assert_eq!((relay.current(), relay.due()), (Some(&"a".into()), None));
    }

    #[test]
    fn withdrawing_takes_back_the_tip_until_there_is_another() {
        let (mut relay, now) = (Relay::new(&Config::default()), Instant::ZERO);
        relay.adopt(now, "a".into(), &grounds(1)).unwrap();
        relay.withdraw();
        relay.withdraw();
        assert_eq!((relay.current(), relay.withdrawn()), (None, Some(&"a".into())));
        relay.adopt(now, "b".into(), &grounds(2)).unwrap();
        assert_eq!(relay.withdrawn(), None);
    }
}
