//! From the stack's events to mailboxes and promises.

use std::sync::Arc;

use weir_base::Instant;
use weir_pull::ChannelId;
use weir_pull::call::Refusal;
use weir_pull::{call, pool, tip};
use weir_stack::{Action, Command, Event as StackEvent, Info, Speaks};

use super::Core;
use super::op::{EncodedCandidate, EncodedRequest, EncodedValue, EncodedWithdrawal, PoolOp, RequestBody};
use super::refusals::note_refusal;
use crate::call::RETRY_DROPPED;
use crate::event::Event;
use crate::mailbox::Cancelled;
use crate::message::ItemId;
use crate::peer::SharedChannel;
use crate::pool::DEFER_DROPPED;
use crate::shared::Mail;

impl Core {
    /// Drains the stack's events. True where there was one.
    pub(super) fn hand_over(&mut self, now: Instant) -> bool {
        let mut any = false;
        while let Some(event) = self.stack.poll_event() {
            let call = matches!(event, StackEvent::Answer { .. } | StackEvent::Call(..));
            self.hand_over_one(now, event);
            any = true;
            if call && self.is_quiet() {
                self.wake(); // who got it begins while the rest is done
            }
        }
        any
    }

    fn hand_over_one(&mut self, now: Instant, event: StackEvent) {
        match event {
            StackEvent::Pool(channel, event) => self.pool_event(now, channel, event),
            StackEvent::Tip(channel, event) => self.tip_event(now, channel, event),
            StackEvent::Call(channel, event) => self.call_event(now, channel, event),
            StackEvent::Answer { ticket, from, result, left } => {
                self.calls.answered(now, ticket, from, result, left, &mut self.wakers);
            }
            StackEvent::Raw(event) => {
                let Self { streams, stack, shared, wakers, .. } = self;
                streams.handle(now, stack, shared, event, wakers);
            }
            StackEvent::Exchange(event) => {
                let Self { exchanges, stack, shared, wakers, .. } = self;
                if let Some(event) = exchanges.handle(now, stack, shared, event, wakers) {
                    self.announce(&event);
                }
            }
            StackEvent::Connected { ticket, peer } => {
                self.contacts.dialled(ticket, Ok(peer), &mut self.wakers);
            }
            StackEvent::DialFailed { ticket, reason } => {
                self.contacts.dialled(ticket, Err(reason), &mut self.wakers);
            }
            StackEvent::Measured { ticket, took } => {
                self.contacts.measured_whole(ticket, took, &mut self.wakers);
            }
            StackEvent::Closed(report) => self.ending.ended(report),
            other => self.peer_event(now, other),
        }
    }

    fn peer_event(&mut self, now: Instant, event: StackEvent) {
        let event = match event {
            StackEvent::PeerUp { ticket, info, address, speaks, .. } => {
                tracing::debug!(peer = %info.peer, side = ?info.side, "peer up");
                if let Some(ticket) = ticket {
                    self.contacts.dialled(ticket, Ok(info.peer), &mut self.wakers);
                }
                let Speaks { hello, protocols, agent, services } = speaks;
                let channels = SharedChannel::all(hello.as_deref());
                Event::PeerUp {
                    peer: info.peer,
                    side: info.side,
                    address,
                    protocols,
                    agent,
                    services,
                    channels,
                }
            }
            StackEvent::PeerDown { link, peer, address, reason } => {
                tracing::debug!(%peer, ?reason, "peer down");
                self.contacts.down(link);
                Event::PeerDown { peer, address, reason }
            }
            StackEvent::Refused { peer, address, reason } => Event::Refused { peer, address, reason },
            StackEvent::Unreachable { peer, addresses, reason, next } => {
                let again = next.map(|next| next.since(now));
                let peer_id = peer.map(tracing::field::display);
                tracing::warn!(peer = peer_id, ?addresses, %reason, ?again, "a peer cannot be reached");
                Event::Unreachable { peer, addresses, reason, next }
            }
            StackEvent::NetworkBanned { network, until } => {
                tracing::info!(prefix = %network, "an address prefix is banned");
                Event::PrefixBanned { prefix: network, until }
            }
            StackEvent::NetworkReleased(network) => Event::PrefixUnbanned { prefix: network },
            StackEvent::ConnectionRefused { peer, address, refusal, suppressed } => {
                let reason = format!("refused: {refusal}");
                Event::ConnectionRefused { peer, address, reason, suppressed }
            }
            StackEvent::KeyUsedTwice { peer } => Event::KeyUsedTwice { peer },
            StackEvent::Rtt { link, rtt } => {
                let Some(peer) = self.stack.peers().link(link).map(|linked| linked.info.peer) else { return };
                self.contacts.measured(link, rtt);
                Event::Rtt { peer, rtt }
            }
            StackEvent::Identified { peer, info, .. } => {
                let Info { agent, protocol_version, protocols, addresses, observed, .. } = *info;
                Event::Identified { peer, agent, protocol_version, protocols, addresses, observed }
            }
            StackEvent::Services { link, services } => {
                let Some(peer) = self.stack.peers().link(link).map(|linked| linked.info.peer) else { return };
                Event::Services { peer, services }
            }
            StackEvent::Fault { peer, address, fault, reaction, .. } => {
                tracing::info!(%peer, %fault, ?reaction, "a peer did something wrong");
                let channel = fault.protocol.and_then(ChannelId::of).map(|(channel, _)| channel);
                Event::Fault { peer, address, channel, fault, reaction }
            }
            StackEvent::Released(peer) => Event::Unbanned { peer },
            _ => return, // the others have been dealt with
        };
        self.announce(&event);
    }

    fn pool_event(&mut self, now: Instant, channel: ChannelId, event: pool::Event) {
        match event {
            pool::Event::Candidate { ticket, peer, id, bytes, .. } => {
                self.candidate(now, channel, EncodedCandidate { ticket, peer, id: ItemId(id), bytes });
            }
            pool::Event::Evicted { id } => self.announce(&Event::Evicted { channel, id: ItemId(id) }),
            pool::Event::BatchDone { ticket, inserts } => {
                for id in self.pools.batch_done(channel, ticket, inserts) {
                    self.announce(&Event::Evicted { channel, id });
                }
            }
        }
    }

    /// An item to decide on.
    fn candidate(&mut self, now: Instant, channel: ChannelId, candidate: EncodedCandidate) {
        let Some(Mail::Pool(candidates)) = self.shared.mail(channel) else { return };
        let ticket = candidate.ticket;
        self.pools.handed_out();
        if candidates.push(candidate, &mut self.wakers).is_err() {
            // It holds what the pool hands out without a verdict; this is for a closed one.
            let verdict = PoolOp::Verdict(ticket, now, pool::Verdict::Defer(DEFER_DROPPED));
            self.pools.carry_out(now, &mut self.stack, channel, verdict);
        }
    }

    fn tip_event(&mut self, now: Instant, channel: ChannelId, event: tip::Event) {
        let Some(Mail::Tip { received, withdrawn }) = self.shared.mail(channel) else { return };
        match event {
            tip::Event::Received { ticket, peer, value, .. } => {
                if received.push(EncodedValue { ticket, peer, value }, &mut self.wakers).is_err() {
                    let command = tip::Command::Verdict { ticket, verdict: tip::Verdict::Ignore };
                    let command = Command::Pull(weir_pull::Command::Tip(channel, command));
                    note_refusal("tip", channel, self.stack.command(now, command));
                }
            }
            tip::Event::Withdrawn { peer, value, .. } => {
                withdrawn.push_newest(EncodedWithdrawal { peer, value }, &mut self.wakers);
            }
        }
    }

    fn call_event(&mut self, now: Instant, channel: ChannelId, event: call::Event) {
        match event {
            call::Event::Request { ticket, peer, request, deadline, others_wait, .. } => {
                let cancelled = Arc::new(Cancelled::default());
                let body = RequestBody::Remote { ticket, bytes: request, others_wait };
                let raw = EncodedRequest { peer, deadline, cancelled: Arc::clone(&cancelled), body };
                let pushed = match self.shared.mail(channel) {
                    Some(Mail::Call(Some(requests))) => requests.push(raw, &mut self.wakers).is_ok(),
                    _ => false,
                };
                if pushed {
                    self.calls.requested(now, ticket, cancelled);
                } else {
                    let response = Err(Refusal { retry_after: RETRY_DROPPED });
                    self.request(now, channel, call::Command::Answer { ticket, at: now, response });
                }
            }
            call::Event::Cancelled { ticket } => {
                self.calls.cancel_request(ticket, &mut self.wakers);
            }
            call::Event::Response { .. } => {} // calls by link are not made here
        }
    }

    /// What the stack wants of the host next. What only concerns the application never comes here.
    pub fn poll_action(&mut self) -> Option<Action> {
        while let Some(action) = self.stack.poll_action() {
            match self.note(action) {
                None => {}
                action => return action,
            }
        }
        None
    }

    /// For hosts that take the stack's actions by themselves: what concerns the application goes to it, the others come back.
    pub fn note(&mut self, action: Action) -> Option<Action> {
        let event = match action {
            Action::Persist { peer, record } => Event::Standing { peer, record },
            Action::PersistNetwork { network, ban } => Event::PrefixBan { prefix: network, ban },
            action => return Some(action),
        };
        self.announce(&event);
        self.wake();
        None
    }
}
