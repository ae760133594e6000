//! Who is to blame. A peer's bad input becomes a [`Fault`], never an error towards the host.

use std::fmt;

use crate::ProtocolId;

/// How a fault weighs against the peer (`docs/spec/control.md`, "Faults").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
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
///
/// Faults are equal where blame and sentence are, whatever the protocol.
#[derive(Clone, Copy, Debug, thiserror::Error, serde::Serialize)]
pub struct Fault {
    /// How it weighs.
    pub blame: Blame,
    /// What happened, in words, without anything the peer chose.
    pub what: &'static str,
    /// The protocol in which it happened, where one owner has several; `None` where it is not known or none.
    pub protocol: Option<ProtocolId>,
}

impl Fault {
    /// The same, in this protocol.
    #[must_use]
    pub const fn within(self, protocol: ProtocolId) -> Self {
        Self { protocol: Some(protocol), ..self }
    }

    /// The peer broke the protocol.
    pub const fn misbehaved(what: &'static str) -> Self {
        Self { blame: Blame::Misbehaved, what, protocol: None }
    }
    /// The peer delivered something wrong.
    pub const fn invalid(what: &'static str) -> Self {
        Self { blame: Blame::Invalid, what, protocol: None }
    }
    /// The peer did not deliver.
    pub const fn unreliable(what: &'static str) -> Self {
        Self { blame: Blame::Unreliable, what, protocol: None }
    }
    /// The peer speaks something else.
    pub const fn incompatible(what: &'static str) -> Self {
        Self { blame: Blame::Incompatible, what, protocol: None }
    }
}

impl PartialEq for Fault {
    fn eq(&self, other: &Self) -> bool {
        (self.blame, self.what) == (other.blame, other.what)
    }
}

impl Eq for Fault {}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.blame.as_str(), self.what)
    }
}
