//! The timers of a pool.

use std::time::Duration;

use super::links::{Role, Slot};

/// What happens at a time that belongs to a link, or to the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// A server without credit gets what there is.
    Permit(Slot),
    /// A link's clock strikes: offers go out.
    Offers(Slot),
    /// Credit of what was gone returns.
    Gone(Slot),
    /// A server's cursor may be moved again.
    Move(Slot),
    /// A message that began must have ended.
    Message(Slot, Role),
    /// A stream that could not be opened is tried again.
    Open(Slot, Role),
    /// Servers that had offered what was lost begin anew.
    Lost,
}

impl Timer {
    pub(super) const fn reason(self) -> &'static str {
        match self {
            Self::Permit(_) => "a permit is due",
            Self::Offers(_) => "offers are due",
            Self::Gone(_) => "credit of what was gone returns",
            Self::Move(_) => "a cursor may be moved",
            Self::Message(..) => "a message must have ended",
            Self::Open(..) => "a stream is opened again",
            Self::Lost => "items that were lost are asked for again",
        }
    }
}

/// How long to wait before a stream is opened again.
pub(super) const REOPEN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_timer_has_a_reason_of_its_own() {
        let (slot, role) = (Slot(0), Role::Gets);
        let all = [
            Timer::Permit(slot),
            Timer::Offers(slot),
            Timer::Gone(slot),
            Timer::Move(slot),
            Timer::Message(slot, role),
            Timer::Open(slot, role),
            Timer::Lost,
        ];
        assert_eq!(all.map(Timer::reason).into_iter().collect::<BTreeSet<_>>().len(), all.len());
    }
}
