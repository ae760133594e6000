//! Calls to targets: one peer, or any, some or all of those that offer a service. (A call of the node to itself never comes here: the
//! handle that makes it hands it over undecoded.)
//!
//! A call to several peers is one ticket with an answer for each. A call to a peer that is being dialled waits for the link
//! (`waiting`).

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use weir_base::identity::PeerId;
use weir_base::{Instant, LinkId, Numbered, Rng};
use weir_pull::call::CallError;
use weir_pull::{Channel, ChannelId, Shape, Ticket, call};

mod waiting;

use crate::config;
use crate::peers::Peers;
use crate::types::{Event, Refused};
pub(crate) use waiting::Again;
use waiting::Waiting;

/// What stands for the link of a call that waits for one: links count from 1.
const NO_LINK: LinkId = LinkId(0);

#[derive(Debug)]
struct Group {
    channel: ChannelId,
    calls: BTreeSet<Ticket>, // of pull, or of what waits for a link
}

#[derive(Clone, Copy, Debug)]
struct Member {
    group: Ticket,
    peer: PeerId,
    link: LinkId,
}

/// A call to one peer: most are.
#[derive(Clone, Copy, Debug)]
struct Direct {
    channel: ChannelId,
    link: LinkId,
    peer: PeerId,
}

/// What became of a call that has ended on its link.
#[derive(Debug)]
pub(crate) enum Ended {
    /// To be told.
    Told(Event),
    /// It waits for another link.
    Waits,
    /// It was none of a target.
    Other(Result<Bytes, CallError>),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Targets {
    config: config::Calls,
    rng: Rng,
    groups: BTreeMap<Ticket, Group>,   // <= config.max_targets
    members: BTreeMap<Ticket, Member>, // by call
    direct: Numbered<Ticket, Direct>, // calls to one peer with a link, by the call's own ticket; these and groups together
    busy: BTreeMap<LinkId, u32>,      // calls under way, by link that is up
    waiting: Waiting,
    expired: u64,
}

impl Targets {
    pub(crate) fn new(config: config::Calls, rng: Rng) -> Self {
        Self {
            config,
            rng,
            groups: BTreeMap::new(),
            members: BTreeMap::new(),
            direct: Numbered::default(),
            busy: BTreeMap::new(),
            waiting: Waiting::default(),
            expired: 0,
        }
    }

    /// At most `most` links whose peers offer a service and share the channel, in order of id; never empty.
    pub(crate) fn resolve(
        &mut self,
        peers: &Peers,
        channel: ChannelId,
        service: u32,
        most: usize,
    ) -> Result<Vec<(LinkId, PeerId)>, Refused> {
        let shares = |hello: &weir_pull::PeerHello| hello.negotiated(channel).is_some();
        let mut found: Vec<(u32, u64, LinkId, PeerId)> = peers
            .with_service(service)
            .filter(|(_, linked)| {
                linked.known.as_ref().and_then(|known| known.hello.as_deref()).is_some_and(shares)
            })
            .map(|(link, linked)| (self.busy.get(&link).copied().unwrap_or(0), 0, link, linked.info.peer))
            .collect();
        found.iter_mut().for_each(|entry| entry.1 = self.rng.u64()); // ties are drawn
        found.sort_unstable();
        found.truncate(most);
        found.sort_unstable_by_key(|entry| entry.2);
        if found.is_empty() {
            return Err(Refused::NoPeer);
        }
        Ok(found.into_iter().map(|(_, _, link, peer)| (link, peer)).collect())
    }

    /// Whether another call to a target may begin.
    pub(crate) fn has_slot(&self) -> bool {
        self.groups.len() + self.direct.len() < self.config.max_targets as usize
    }

    /// Notes a call to one peer that has begun. Its ticket names it to the user too.
    pub(crate) fn begin_direct(&mut self, call: Ticket, channel: ChannelId, link: LinkId, peer: PeerId) {
        self.direct.insert(call, Direct { channel, link, peer });
        *self.busy.entry(link).or_default() += 1;
    }

    /// A link is gone.
    pub(crate) fn link_down(&mut self, link: LinkId) {
        self.busy.remove(&link);
    }

    fn less_busy(&mut self, link: LinkId) {
        if let Some(busy) = self.busy.get_mut(&link) {
            *busy = busy.saturating_sub(1);
        }
    }

    /// Notes the calls of a target that have begun.
    pub(crate) fn begin(&mut self, group: Ticket, channel: ChannelId, calls: &[(Ticket, LinkId, PeerId)]) {
        for (call, link, peer) in calls {
            self.members.insert(*call, Member { group, peer: *peer, link: *link });
            *self.busy.entry(*link).or_default() += 1;
        }
        let entry = self.groups.entry(group).or_insert_with(|| Group { channel, calls: BTreeSet::new() });
        entry.calls.extend(calls.iter().map(|(call, _, _)| *call));
    }

    /// A call has ended.
    pub(crate) fn end(&mut self, ticket: Ticket, result: Result<Bytes, CallError>) -> Ended {
        if let Some(Direct { link, peer, .. }) = self.direct.remove(ticket) {
            self.less_busy(link);
            return Ended::Told(Event::Answer { ticket, from: peer, result, left: 0 });
        }
        let peer = self.members.get(&ticket).map(|member| member.peer);
        if self.waiting.wait_again(ticket, peer, &result) {
            return Ended::Waits;
        }
        self.conclude(ticket, result).map_or_else(Ended::Other, Ended::Told)
    }

    /// The answer to tell, or the result back where it was none of a target.
    fn conclude(
        &mut self,
        ticket: Ticket,
        result: Result<Bytes, CallError>,
    ) -> Result<Event, Result<Bytes, CallError>> {
        let Some(member) = self.forget(ticket) else { return Err(result) };
        let left = self.groups.get_mut(&member.group).map_or(0, |group| {
            group.calls.remove(&ticket);
            group.calls.len()
        });
        if left == 0 {
            self.groups.remove(&member.group);
        }
        let left = u32::try_from(left).unwrap_or(u32::MAX);
        Ok(Event::Answer { ticket: member.group, from: member.peer, result, left })
    }

    /// Gives a group up: its channel, and the calls to cancel on their links.
    pub(crate) fn cancel(&mut self, group: Ticket) -> Option<(ChannelId, Vec<Ticket>)> {
        if let Some(Direct { channel, link, .. }) = self.direct.remove(group) {
            self.less_busy(link);
            return Some((channel, vec![group]));
        }
        let group = self.groups.remove(&group)?;
        let on_link = group.calls.iter().copied().filter(|ticket| !self.waiting.holds(*ticket)).collect();
        for ticket in group.calls {
            self.forget(ticket);
        }
        Some((group.channel, on_link))
    }

    /// A call whose peer was not reached in time: its answer.
    pub(crate) fn pop_late(&mut self, now: Instant) -> Option<Event> {
        while let Some(ticket) = self.waiting.pop_late(now) {
            self.expired += u64::from(self.waiting.is_unsent(ticket));
            if let Ok(answer) = self.conclude(ticket, Err(CallError::Timeout)) {
                return Some(answer);
            }
        }
        None
    }

    /// Calls that were never sent, because no link came in time.
    pub(crate) const fn expired(&self) -> u64 {
        self.expired
    }

    pub(crate) fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        self.waiting.poll_timeout().map(|due| (due, "a call waits for a link"))
    }

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
        if self.waiting.count(peer, call.channel) >= method.concurrency as usize {
            return Err(weir_pull::Refused::Busy.into());
        }
        self.begin(group, call.channel, &[(ticket, NO_LINK, peer)]);
        self.waiting.insert(ticket, peer, call);
        Ok(())
    }

    /// The calls that wait, in order: to whom, and whether each may be sent twice.
    pub(crate) fn waiting(&self) -> Vec<(Ticket, PeerId, bool)> {
        self.waiting.list()
    }

    /// Takes a call that waits, to be made; [`begun`](Self::begun) or [`refused`](Self::refused) follows.
    pub(crate) fn take(&mut self, ticket: Ticket) -> Option<Again> {
        self.waiting.take(ticket)
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
            self.waiting.sent(ticket, again);
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
        self.waiting.proven(|ticket| members.get(&ticket).is_some_and(|member| member.link != link));
    }

    fn forget(&mut self, ticket: Ticket) -> Option<Member> {
        let member = self.members.remove(&ticket)?;
        self.waiting.forget(ticket);
        self.less_busy(member.link);
        Some(member)
    }
}

/// The method of a call channel.
pub(crate) fn method(channels: &[Channel], id: ChannelId) -> Result<&call::Config, Refused> {
    let channel = channels.iter().find(|channel| channel.id == id);
    match channel.ok_or(weir_pull::Refused::UnknownChannel)?.shape {
        Shape::Call(ref method) => Ok(method),
        _ => Err(weir_pull::Refused::WrongShape.into()),
    }
}
