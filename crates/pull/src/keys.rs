//! Keys for short ids, by number (`docs/spec/control.md`, "Short-id keys").

use crate::ShortKey;
use weir_base::Rng;

/// A short-id key and its number. Numbers of one node count up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NumberedKey {
    /// Names the key in offers.
    pub number: u32,
    /// The key.
    pub key: ShortKey,
}

impl NumberedKey {
    /// The first key of a node.
    pub(crate) fn first(rng: &mut Rng) -> Self {
        Self { number: 1, key: ShortKey::random(rng) }
    }

    /// The one after this.
    pub(crate) fn next(self, rng: &mut Rng) -> Self {
        Self { number: self.number.saturating_add(1), key: ShortKey::random(rng) }
    }
}

/// This node's keys for short ids: what peers should use, and what they may still use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys {
    /// Told to the peers.
    pub current: NumberedKey,
    /// Valid for 60 s after a rotation.
    pub previous: Option<NumberedKey>,
}
