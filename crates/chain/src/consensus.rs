//! The rules by which a header counts, without state, store, network or clock: `docs/spec/chain.md`, "Block".
//!
//! One producer signs today. With validators, their votes and certificates are judged here too, and what a node has signed
//! stays where it is: in the store, in the transaction of what it signed.

use crate::block::Draft;
use crate::{AccountId, Genesis, Hash, Header};

/// How far ahead of this node's wall clock a header's time may be, in milliseconds.
pub const AHEAD_MS: u64 = 10_000;

/// What a header is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderCheck {
    /// Higher than the head; its body is wanted.
    Better,
    /// Signed, but not higher than the head.
    Known,
    /// Not signed by the producer, or a height that cannot be.
    Invalid,
    /// From the future. It counts once the wall clock has come closer.
    Early,
}

/// Which rule a header breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// Its height is not its parent's plus one.
    #[error("its height is not its parent's plus one")]
    Height,
    /// Its time is not later than its parent's.
    #[error("its time is not later than its parent's")]
    NotLater,
    /// Its time is too far ahead of this node's wall clock.
    #[error("its time is more than {AHEAD_MS} ms ahead")]
    Early,
}

/// What the next header must follow: the genesis has height 0 and time 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parent {
    /// Its height.
    pub height: u64,
    /// Its time, in Unix milliseconds.
    pub time: u64,
}

impl Parent {
    /// The parent that a header is.
    pub fn of(draft: &Draft) -> Self {
        Self { height: draft.height, time: draft.time }
    }

    /// The height of its children; `None` where numbers end.
    pub fn next_height(&self) -> Option<u64> {
        self.height.checked_add(1)
    }

    /// The time of a child made at this wall time: a clock that was set back still makes later blocks. `None` where numbers end.
    pub fn next_time(&self, wall_ms: u64) -> Option<u64> {
        self.time.checked_add(1).map(|least| least.max(wall_ms))
    }
}

/// What the chain's headers are judged by.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The only account whose headers count.
    pub producer: AccountId,
    /// The network id.
    pub network: Hash,
}

impl Rules {
    /// The rules of this genesis.
    pub fn of(genesis: &Genesis) -> Self {
        Self { producer: genesis.producer, network: genesis.id() }
    }

    /// What a header from the network is worth, for a node whose head has this height, at this wall time (Unix milliseconds).
    /// Cheap things first. Each block is later than its parent, so no height is above the time in milliseconds.
    pub fn judge(&self, header: &Header, head: u64, wall_ms: u64) -> HeaderCheck {
        let Draft { height, time, .. } = header.draft;
        if height == 0 || height > time || !header.verify(&self.producer, &self.network) {
            HeaderCheck::Invalid
        } else if time > wall_ms.saturating_add(AHEAD_MS) {
            HeaderCheck::Early
        } else if height > head {
            HeaderCheck::Better
        } else {
            HeaderCheck::Known
        }
    }
}

/// Whether a header follows its parent at this wall time.
pub fn follows(draft: &Draft, parent: Parent, wall_ms: u64) -> Result<(), RuleError> {
    if Some(draft.height) != parent.next_height() {
        return Err(RuleError::Height);
    }
    if draft.time <= parent.time {
        return Err(RuleError::NotLater);
    }
    if draft.time > wall_ms.saturating_add(AHEAD_MS) {
        return Err(RuleError::Early);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SigningKey;

    fn draft(height: u64, time: u64) -> Draft {
        Draft { height, parent: [1; 32], time, state_root: [2; 32], items_root: [3; 32] }
    }

    #[test]
    fn a_header_is_judged_by_signature_height_and_time() {
        let key = SigningKey::from_bytes(&[1; 32]);
        let rules = Rules { producer: AccountId::of(&key), network: [9; 32] };
        let judge = |draft, head, wall| rules.judge(&Header::sign(draft, &key, &[9; 32]), head, wall);
        assert_eq!(judge(draft(5, 20_000), 4, 9_999), HeaderCheck::Early);
        assert_eq!(judge(draft(5, 20_000), 4, 10_000), HeaderCheck::Better);
        assert_eq!(judge(draft(5, 20_000), 5, 10_000), HeaderCheck::Known);
        assert_eq!(judge(draft(0, 20_000), 5, 10_000), HeaderCheck::Invalid);
        assert_eq!(
            judge(draft(20_001, 20_000), 5, 10_000),
            HeaderCheck::Invalid,
            "more blocks than milliseconds"
        );
        let forged = Header::sign(draft(5, 20_000), &SigningKey::from_bytes(&[2; 32]), &[9; 32]);
        assert_eq!(rules.judge(&forged, 4, 20_000), HeaderCheck::Invalid);
    }

    #[test]
    fn a_child_is_one_higher_later_and_not_of_the_future() {
        let parent = Parent { height: 4, time: 100 };
        assert_eq!(follows(&draft(5, 101), parent, 0), Ok(()));
        assert_eq!(follows(&draft(6, 101), parent, 0), Err(RuleError::Height));
        assert_eq!(follows(&draft(5, 100), parent, 0), Err(RuleError::NotLater));
        assert_eq!(follows(&draft(5, 10_001), parent, 0), Err(RuleError::Early));
        let last = Parent { height: u64::MAX, time: u64::MAX };
        assert_eq!(follows(&draft(0, 1), last, 0), Err(RuleError::Height));
        assert_eq!((last.next_height(), last.next_time(5)), (None, None));
        assert_eq!((parent.next_time(7), parent.next_time(200)), (Some(101), Some(200)));
    }
}
