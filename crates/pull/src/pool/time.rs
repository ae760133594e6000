//! The timers of a pool, and what is due.

use std::time::Duration;

use weir_base::Instant;

use super::Pool;
use super::link::{Role, Slot};

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
    const fn reason(self) -> &'static str {
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

impl Pool {
    /// All timers of a link.
    pub(super) fn clear_timers(&mut self, slot: Slot) {
        for timer in [Timer::Permit(slot), Timer::Offers(slot), Timer::Gone(slot), Timer::Move(slot)] {
            self.timers.set(timer, None);
        }
        for role in [Role::Intake, Role::Outlet, Role::Gets, Role::Serving] {
            self.timers.set(Timer::Message(slot, role), None);
            self.timers.set(Timer::Open(slot, role), None);
        }
    }

    /// A message of this stream may have begun: it must end in time.
    pub(super) fn watch(&mut self, slot: Slot, role: Role) {
        let deadline = self.links.get(slot).and_then(|link| match role {
            Role::Intake => link.intake.inbox.deadline(),
            Role::Outlet => link.outlet.inbox.deadline(),
            Role::Serving => link.serving.inbox.deadline(),
            Role::Gets => None, // each get has a time of its own
        });
        self.timers.set(Timer::Message(slot, role), deadline);
    }

    /// Does what is due.
    pub(super) fn advance(&mut self, now: Instant) {
        while let Some(timer) = self.timers.pop_due(now) {
            match timer {
                Timer::Permit(slot) => self.renew(slot),
                Timer::Offers(slot) => self.offers_due(slot),
                Timer::Gone(slot) => self.forget_gone(now, slot),
                Timer::Move(slot) => self.move_due(now, slot),
                Timer::Message(slot, role) => self.stalled(now, slot, role),
                Timer::Open(slot, role) => self.reopen(slot, role),
                Timer::Lost => self.regain(now),
            }
        }
        self.late_gets(now);
        self.verdicts_due(now);
        self.deferred_due(now);
        self.uploads.turns_due(now);
    }

    /// The earliest of all.
    pub(super) fn next_timeout(&self) -> Option<(Instant, &'static str)> {
        let timers = self.timers.next().map(|(due, timer)| (due, timer.reason()));
        let others = [
            self.asking.fetch.next_timeout(),
            self.checking.next_timeout(),
            self.inventory.deferred.next_timeout(),
            self.uploads.next_timeout(),
        ];
        others.into_iter().chain([timers]).flatten().min()
    }
}
