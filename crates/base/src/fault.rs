//! Who is to blame. A peer's bad input becomes a [`Fault`], never an error towards the host.

use std::fmt;

/// How a fault weighs against the peer (`docs/spec/control.md`, "Faults").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Blame {
    /// Broke the protocol.
    Misbehaved,
    /// Delivered an item, tip or body that is wrong on stateless grounds.
    Invalid,
    /// Announced and did not deliver, in time or at all, though it was there.
    Unreliable,
    /// Speaks something else; nobody's fault.
    Incompatible,
}

impl Blame {
    /// A short lower-case word, stable: for logs, metrics and traces.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Misbehaved => "misbehaved",
            Self::Invalid => "invalid",
            Self::Unreliable => "unreliable",
            Self::Incompatible => "incompatible",
        }
    }
}

/// What a peer did wrong: the blame, and a sentence that never changes for one cause.
/// Each machine declares its own as constants, so that the list of what can be blamed stands in one place per machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub struct Fault {
    /// How it weighs.
    pub blame: Blame,
    /// What happened, in words, without anything the peer chose.
    pub what: &'static str,
}

impl Fault {
    /// The peer broke the protocol.
    pub const fn misbehaved(what: &'static str) -> Self {
        Self { blame: Blame::Misbehaved, what }
    }
    /// The peer delivered something wrong.
    pub const fn invalid(what: &'static str) -> Self {
        Self { blame: Blame::Invalid, what }
    }
    /// The peer did not deliver.
    pub const fn unreliable(what: &'static str) -> Self {
        Self { blame: Blame::Unreliable, what }
    }
    /// The peer speaks something else.
    pub const fn incompatible(what: &'static str) -> Self {
        Self { blame: Blame::Incompatible, what }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.blame.as_str(), self.what)
    }
}
