//! Which faults of a link follow from one act. What one act breaks on several streams counts once.
//!
//! - A protocol that is broken, or a promise that is not kept, counts once for each link and instant: a burst of bytes that arrived
//!   together, or an end of the link, breaks every stream that was open.
//! - Nothing more of that counts on a link that this node closes because of its faults: the peer does not know of it yet.
//! - What was delivered and is wrong counts each time. Somebody has looked at each item, tip or answer.
//!
//! Threat: a peer that breaks a hundred streams in one instant pays for one. It is sent away for that one, so the second costs it
//! another handshake.

use weir_base::{Blame, Instant};

/// See the module; one for each link.
#[derive(Clone, Debug, Default)]
pub(super) struct Acts {
    misbehaved_at: Option<Instant>,
    unreliable_at: Option<Instant>,
    sent_away: bool,
}

impl Acts {
    /// This node closes the link because of the peer's faults.
    pub(super) fn send_away(&mut self) {
        self.sent_away = true;
    }

    /// Whether a fault counts that a protocol has seen now.
    pub(super) fn count(&mut self, now: Instant, blame: Blame) -> bool {
        let last = match blame {
            Blame::Misbehaved => &mut self.misbehaved_at,
            Blame::Unreliable => &mut self.unreliable_at,
            Blame::Invalid | Blame::Incompatible => return true,
        };
        let same = last.replace(now) == Some(now);
        !same && !self.sent_away
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    #[test]
    fn of_one_instant_one_fault_of_a_kind_counts() {
        let mut acts = Acts::default();
        let mut count = |at, blame| acts.count(ms(at), blame);
        assert!(count(1, Blame::Misbehaved) && !count(1, Blame::Misbehaved) && !count(1, Blame::Misbehaved));
        assert!(count(1, Blame::Unreliable) && !count(1, Blame::Unreliable));
        assert!(count(2, Blame::Misbehaved) && count(2, Blame::Unreliable), "that is another act");
    }

    #[test]
    fn each_thing_that_was_delivered_counts() {
        let mut acts = Acts::default();
        assert!((0..10).all(|_| acts.count(ms(1), Blame::Invalid)));
        acts.send_away();
        assert!(acts.count(ms(1), Blame::Invalid));
    }

    #[test]
    fn nothing_is_broken_on_a_link_that_is_being_closed_for_a_fault() {
        let mut acts = Acts::default();
        acts.send_away();
        assert!(!acts.count(ms(1), Blame::Misbehaved) && !acts.count(ms(2), Blame::Unreliable));
    }
}
