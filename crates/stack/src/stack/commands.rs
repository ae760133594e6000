//! What the user wants, one method for each kind of command.

use super::{
    Arc, Ask, Duration, Ending, Event, Goodbye, Instant, LinkId, PeerId, Refused, Stack, Target, Ticket,
    call, method, raw,
};
use crate::dials::Dials;
use crate::exchange;
use crate::peers::Reach;
use crate::targets::Again;
use bytes::Bytes;
use weir_pull::ChannelId;

impl Stack {
    /// What dials need of this.
    pub(super) fn dials(&mut self) -> Dials<'_> {
        let Self { now, config, links, peers, tickets, events, .. } = self;
        Dials { now: *now, config, links, peers, tickets, events }
    }

    pub(super) fn call(
        &mut self,
        now: Instant,
        channel: ChannelId,
        target: Target,
        request: Bytes,
        deadline: Option<Duration>,
    ) -> Result<Ticket, Refused> {
        let config = Arc::clone(&self.config);
        let method = method(&config.profile.channels, channel)?;
        if !self.targets.has_slot() {
            return Err(Refused::Limit);
        }
        let (service, most) = match target {
            Target::Peer(peer) => return self.call_peer(now, peer, (channel, method), request, deadline),
            Target::Any(service) => (service, 1),
            Target::All(service) => (service, usize::MAX),
            Target::Some { service, count } => (service, count as usize),
        };
        let links = self.targets.resolve(&self.peers, channel, service, most)?;
        let mut begun: Vec<(Ticket, LinkId, PeerId)> = Vec::with_capacity(links.len());
        let mut refused = None;
        for (link, peer) in links {
            let command = call::Command::Call { link, request: request.clone(), deadline };
            match self.pump.users.pull().command(now, weir_pull::Command::Call(channel, command)) {
                Ok(ticket) => begun.push((ticket, link, peer)),
                Err(error) => refused = Some(error),
            }
        }
        match refused {
            Some(error) if begun.is_empty() => Err(error.into()),
            _ => {
                let group = self.tickets.next();
                self.targets.begin(group, channel, &begun);
                Ok(group)
            }
        }
    }

    /// Calls one peer: at once where it has a link, else as soon as it has one.
    fn call_peer(
        &mut self,
        now: Instant,
        peer: PeerId,
        (channel, method): (ChannelId, &call::Config),
        request: Bytes,
        deadline: Option<Duration>,
    ) -> Result<Ticket, Refused> {
        match self.peers.reach(&peer, method.replay_safe) {
            Reach::Link(link) => {
                let command = call::Command::Call { link, request, deadline };
                let call = self.pump.users.pull().command(now, weir_pull::Command::Call(channel, command))?;
                self.targets.begin_direct(call, channel, link, peer);
                Ok(call)
            }
            Reach::Early(_) | Reach::Dialling => {
                let (group, wait) = (self.tickets.next(), self.tickets.next());
                let deadline = now + deadline.map_or(method.deadline, |asked| asked.min(method.deadline));
                let call = Again { channel, request, deadline, safe: method.replay_safe, tried: false };
                self.targets.wait((group, wait), peer, call, method)?;
                self.resume_calls();
                Ok(group)
            }
            Reach::Nowhere => Err(Refused::NoPeer),
        }
    }

    /// Calls and commanded dials that wait for a link to their peer go on where there is one now, and end where there will be none.
    pub(super) fn resume_calls(&mut self) {
        if self.ending.is_none() {
            self.dials().settle();
        }
        let now = self.now;
        for (wait, peer, safe) in self.targets.waiting() {
            let reach = self.peers.reach(&peer, safe);
            let link = match reach {
                Reach::Link(link) | Reach::Early(link) => link,
                Reach::Dialling if self.ending.is_none() => continue,
                Reach::Dialling | Reach::Nowhere => {
                    self.events.extend(self.targets.give_up(wait));
                    continue;
                }
            };
            let Some(call) = self.targets.take(wait) else { continue };
            let deadline = Some(call.deadline.since(now));
            let command = call::Command::Call { link, request: call.request.clone(), deadline };
            match self.pump.users.pull().command(now, weir_pull::Command::Call(call.channel, command)) {
                Ok(ticket) => {
                    let again = matches!(reach, Reach::Early(_)).then_some(call);
                    self.targets.begun(wait, ticket, link, again);
                }
                Err(error) => self.events.extend(self.targets.refused(wait, error)),
            }
        }
    }

    pub(super) fn cancel(&mut self, now: Instant, group: Ticket) -> Result<Ticket, Refused> {
        let (channel, calls) = self.targets.cancel(group).ok_or(Refused::UnknownTicket)?;
        for ticket in calls {
            let command = weir_pull::Command::Call(channel, call::Command::Cancel { ticket });
            let _ended_meanwhile = self.pump.users.pull().command(now, command);
        }
        Ok(group)
    }

    pub(super) fn raw(&mut self, command: raw::Command) -> Result<Ticket, Refused> {
        let ticket = self.tickets.next();
        let raw = self.pump.users.raw();
        match command {
            raw::Command::Open { peer, protocol, class } => {
                let link = self.peers.ready_link(&peer).ok_or(Refused::NoPeer)?;
                raw.open(link, protocol, class, ticket)?;
            }
            raw::Command::Finish(key) => raw.end(Ask::Finish(key))?,
            raw::Command::Reset(key, code) => raw.end(Ask::Reset(key, code))?,
            raw::Command::Stop(key, code) => raw.end(Ask::Stop(key, code))?,
        }
        Ok(ticket)
    }

    pub(super) fn exchange(&mut self, now: Instant, command: exchange::Command) -> Result<Ticket, Refused> {
        let ticket = self.tickets.next();
        let exchange = self.pump.users.exchange();
        match command {
            exchange::Command::Request { peer, protocol, request, deadline } => {
                let link = self.peers.ready_link(&peer).ok_or(Refused::NoPeer)?;
                exchange.request(now, (link, ticket), (protocol, request), deadline)?;
            }
            exchange::Command::Cancel(ticket) => exchange.cancel(ticket)?,
            exchange::Command::Respond(key, response) => exchange.respond(now, key, Ok(response))?,
            exchange::Command::Refuse(key, code) => exchange.respond(now, key, Err(code))?,
        }
        Ok(ticket)
    }

    /// Stops dialling, lets what is being written out, then says goodbye to all.
    pub(super) fn shutdown(&mut self, now: Instant, deadline: Duration) {
        for dial in self.peers.dials() {
            self.links.cancel(dial);
        }
        self.peers.reputation.persist_now(now);
        self.persist();
        self.ending = Some(Ending::new(now, deadline));
        self.resume_calls();
    }

    /// Advances the end of the node, if it has begun; whether something was done.
    pub(super) fn end(&mut self) -> bool {
        let Some(ending) = &mut self.ending else { return false };
        if ending.should_say(self.now, self.pump.wanting()) {
            let all: Vec<LinkId> = self.peers.links().map(|(link, _)| link).collect();
            all.into_iter().for_each(|link| self.goodbye(link, Goodbye::Shutdown));
            return true;
        }
        let left: Vec<LinkId> = self.peers.links().map(|(link, _)| link).collect();
        let Some(report) = ending.finish(self.now, left.len()) else { return false };
        for link in left {
            if let Some(link) = self.links.link(link) {
                link.cut(self.now, Goodbye::Shutdown); // unsent data is lost; the peer is told the reason
            }
        }
        self.events.push_back(Event::Closed(report));
        true
    }
}
