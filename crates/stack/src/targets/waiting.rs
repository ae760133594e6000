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
use weir_base::{Deadlines, Instant, LinkId};
use weir_pull::ChannelId;
use weir_pull::call::CallError;
use weir_pull::{Ticket, call};

use super::{Event, Member, NO_LINK, Refused, Targets};

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
    pub(super) fn holds(&self, ticket: Ticket) -> bool {
        self.calls.contains_key(&ticket)
    }

    /// Whether this call waits and was not even sent along with a handshake.
    pub(super) fn is_unsent(&self, ticket: Ticket) -> bool {
        self.calls.get(&ticket).is_some_and(|(_, call)| !call.tried)
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

    fn insert(&mut self, ticket: Ticket, peer: PeerId, call: Again) {
        self.late.set(ticket, Some(call.deadline));
        self.calls.insert(ticket, (peer, call));
    }
}

impl Targets {
    /// A call to a peer that is being dialled. The tickets are the command's and the call's own.
    pub(crate) fn wait(
        &mut self,
        (group, ticket): (Ticket, Ticket),
        peer: PeerId,
        call: Again,
        method: &call::Config,
    ) -> Result<(), Refused> {
        if call.request.len() > method.max_request as usize {
            return Err(weir_pull::Refused::TooLarge.into());
        }
        let alike = |(other, waits): &&(PeerId, Again)| *other == peer && waits.channel == call.channel;
        if self.waiting.calls.values().filter(alike).count() >= method.concurrency as usize {
            return Err(weir_pull::Refused::Busy.into());
        }
        self.begin(group, call.channel, &[(ticket, NO_LINK, peer)]);
        self.waiting.insert(ticket, peer, call);
        Ok(())
    }

    /// The calls that wait, in order: to whom, and whether each may be sent twice.
    pub(crate) fn waiting(&self) -> Vec<(Ticket, PeerId, bool)> {
        self.waiting.calls.iter().map(|(ticket, (peer, call))| (*ticket, *peer, call.safe)).collect()
    }

    /// Takes a call that waits, to be made; [`begun`](Self::begun) or [`refused`](Self::refused) follows.
    pub(crate) fn take(&mut self, ticket: Ticket) -> Option<Again> {
        self.waiting.late.set(ticket, None);
        self.waiting.calls.remove(&ticket).map(|(_, call)| call)
    }

    /// A call that waited was made on a link, under a ticket of its channel. `again`: the link is not confirmed.
    pub(crate) fn begun(&mut self, waited: Ticket, ticket: Ticket, link: LinkId, again: Option<Again>) {
        let Some(Member { group, peer, .. }) = self.forget(waited) else { return };
        let Some(channel) = self.groups.get_mut(&group).map(|group| {
            group.calls.remove(&waited);
            group.channel
        }) else {
            return;
        };
        self.begin(group, channel, &[(ticket, link, peer)]);
        if let Some(again) = again {
            self.waiting.unproven.insert(ticket, Again { tried: true, ..again });
        }
    }

    /// A call that waited could not be made: the answer to tell.
    pub(crate) fn refused(&mut self, ticket: Ticket, reason: weir_pull::Refused) -> Option<Event> {
        let error = match reason {
            weir_pull::Refused::TooLarge => CallError::TooLarge,
            weir_pull::Refused::Busy => CallError::NoStream,
            _ => CallError::Unsupported,
        };
        self.conclude(ticket, Err(error)).ok()
    }

    /// No link will come: the answer to tell.
    pub(crate) fn give_up(&mut self, ticket: Ticket) -> Option<Event> {
        let tried = self.take(ticket)?.tried;
        let error = if tried { CallError::LinkDown } else { CallError::NoLink };
        self.conclude(ticket, Err(error)).ok()
    }

    /// A handshake is complete: what went along with it is on a link like any other.
    pub(crate) fn proven(&mut self, link: LinkId) {
        let members = &self.members;
        let elsewhere =
            |ticket: &Ticket, _: &mut Again| members.get(ticket).is_some_and(|member| member.link != link);
        self.waiting.unproven.retain(elsewhere);
    }

    /// Lets a call wait again whose handshake came to nothing. Returns whether it does.
    pub(super) fn wait_again(&mut self, ticket: Ticket, result: &Result<Bytes, CallError>) -> bool {
        let Some(call) = self.waiting.unproven.remove(&ticket) else { return false };
        let (Err(CallError::LinkDown), Some(member)) = (result, self.members.get(&ticket)) else {
            return false;
        };
        let peer = member.peer;
        self.waiting.insert(ticket, peer, call);
        true
    }
}
