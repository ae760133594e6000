//! Calls to a peer that is being dialled: they wait for a link.
//!
//! - a handshake with a known peer runs → calls that are replay-safe go along with it (0-RTT);
//! - the link is up → all others follow;
//! - the handshake came to nothing → what went along with it waits again, as long as the peer is being dialled: it may be sent
//!   twice, by declaration;
//! - nobody dials the peer any more, or the deadline has passed → the call ends with an error.

use std::collections::BTreeMap;

use bytes::Bytes;
use weir_base::identity::PeerId;
use weir_base::{Deadlines, Instant};
use weir_pull::call::CallError;
use weir_pull::{ChannelId, Ticket};

/// A call that can be made, or made again.
#[derive(Clone, Debug)]
pub(crate) struct Again {
    pub(crate) channel: ChannelId,
    pub(crate) request: Bytes,
    pub(crate) deadline: Instant,
    /// It may be sent twice.
    pub(crate) safe: bool,
    /// It was sent already, along with a handshake that came to nothing.
    pub(crate) tried: bool,
}

/// See the module. Bounded by the limit of calls to targets, and per peer and channel by the channel's calls at once.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    calls: BTreeMap<Ticket, (PeerId, Again)>,
    unproven: BTreeMap<Ticket, Again>, // went along with a handshake that is not complete
    late: Deadlines<Ticket>,
}

impl Waiting {
    /// A call waits for a link to its peer.
    pub(super) fn insert(&mut self, ticket: Ticket, peer: PeerId, call: Again) {
        self.late.set(ticket, Some(call.deadline));
        self.calls.insert(ticket, (peer, call));
    }

    /// How many calls wait for this peer on this channel.
    pub(super) fn count(&self, peer: PeerId, channel: ChannelId) -> usize {
        self.calls.values().filter(|(other, call)| *other == peer && call.channel == channel).count()
    }

    /// The calls that wait, in order: to whom, and whether each may be sent twice.
    pub(super) fn list(&self) -> Vec<(Ticket, PeerId, bool)> {
        self.calls.iter().map(|(ticket, (peer, call))| (*ticket, *peer, call.safe)).collect()
    }

    pub(super) fn holds(&self, ticket: Ticket) -> bool {
        self.calls.contains_key(&ticket)
    }

    /// Whether this call waits and was not even sent along with a handshake.
    pub(super) fn is_unsent(&self, ticket: Ticket) -> bool {
        self.calls.get(&ticket).is_some_and(|(_, call)| !call.tried)
    }

    /// Takes a call that waits, to be made or given up.
    pub(super) fn take(&mut self, ticket: Ticket) -> Option<Again> {
        self.late.set(ticket, None);
        self.calls.remove(&ticket).map(|(_, call)| call)
    }

    /// A call was made along with a handshake that is not complete.
    pub(super) fn sent(&mut self, ticket: Ticket, call: Again) {
        self.unproven.insert(ticket, Again { tried: true, ..call });
    }

    /// Handshakes are complete: calls that went along with them, of which `keep` does not hold, are like any other.
    pub(super) fn proven(&mut self, keep: impl Fn(Ticket) -> bool) {
        self.unproven.retain(|ticket, _| keep(*ticket));
    }

    /// Lets a call to `peer` that ended so wait again, where its handshake came to nothing. Returns whether it does.
    pub(super) fn wait_again(
        &mut self,
        ticket: Ticket,
        peer: Option<PeerId>,
        result: &Result<Bytes, CallError>,
    ) -> bool {
        let Some(call) = self.unproven.remove(&ticket) else { return false };
        let (Err(CallError::LinkDown), Some(peer)) = (result, peer) else { return false };
        self.insert(ticket, peer, call);
        true
    }

    pub(super) fn forget(&mut self, ticket: Ticket) {
        self.calls.remove(&ticket);
        self.unproven.remove(&ticket);
        self.late.set(ticket, None);
    }

    pub(super) fn pop_late(&mut self, now: Instant) -> Option<Ticket> {
        self.late.pop_due(now)
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.late.next().map(|(due, _)| due)
    }
}

#[cfg(test)]
mod tests {
    use weir_base::identity::Keypair;

    use super::*;

    const CHANNEL: ChannelId = ChannelId(3);

    fn peer(number: u8) -> PeerId {
        Keypair::ed25519_from_seed([number; 32]).peer_id()
    }

    fn call(deadline: u64) -> Again {
        Again {
            channel: CHANNEL,
            request: Bytes::new(),
            deadline: Instant::ZERO + std::time::Duration::from_secs(deadline),
            safe: true,
            tried: false,
        }
    }

    #[test]
    fn what_went_along_with_a_handshake_waits_again_only_if_its_link_went_down() {
        let gone = Err(CallError::LinkDown);
        let mut waiting = Waiting::default();
        for (number, result, peer, again) in [
            (1, gone.clone(), Some(peer(1)), true),
            (2, gone.clone(), None, false),
            (3, Err(CallError::Timeout), Some(peer(1)), false),
        ] {
            waiting.sent(Ticket(number), call(5));
            assert_eq!(waiting.wait_again(Ticket(number), peer, &result), again, "{number}");
            assert!(!waiting.wait_again(Ticket(number), peer, &gone), "once");
        }
        assert!(waiting.holds(Ticket(1)) && !waiting.is_unsent(Ticket(1)));
        assert_eq!(waiting.list(), [(Ticket(1), peer(1), true)]);
        waiting.sent(Ticket(4), call(5));
        waiting.proven(|ticket| ticket != Ticket(4));
        assert!(!waiting.wait_again(Ticket(4), Some(peer(1)), &gone), "its link is like any other");
    }

    #[test]
    fn a_call_is_late_at_its_deadline_unless_it_was_taken() {
        let mut waiting = Waiting::default();
        (1..=3).for_each(|number| waiting.insert(Ticket(number), peer(1), call(number)));
        assert_eq!(waiting.count(peer(1), CHANNEL), 3);
        assert_eq!((waiting.count(peer(2), CHANNEL), waiting.count(peer(1), ChannelId(4))), (0, 0));
        assert!(waiting.take(Ticket(1)).is_some() && waiting.take(Ticket(1)).is_none());
        assert_eq!(waiting.poll_timeout(), Some(call(2).deadline));
        assert_eq!(waiting.pop_late(call(1).deadline), None);
        waiting.forget(Ticket(2));
        assert_eq!(waiting.pop_late(call(3).deadline), Some(Ticket(3)));
        assert_eq!(waiting.pop_late(call(3).deadline), None);
    }
}
