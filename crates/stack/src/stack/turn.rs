//! A turn: everything that follows from what was handed in, until nothing moves.

use weir_libp2p::identify;

use super::introductions::{self, WithoutHello};
use super::{
    Action, Activity, DialProblem, DownReason, Event, Fault, Goodbye, Instant, LinkId, Notice, Reaction,
    STEPS, Stack, Told, call, control,
};
use crate::peers::ways;
use crate::peers::{Blamed, Speaks};
use crate::targets::Ended;
use weir_link::{Ban, Drain};

impl Stack {
    /// Notes that something was handed in.
    pub(super) fn touch(&mut self, now: Instant) {
        self.now = now;
        self.activity = Activity::Input;
    }

    /// No output is left. Links that taking it touched are settled; whether something came of that, which is carried out.
    pub(super) fn settle_links(&mut self) -> bool {
        let Some(event) = self.links.poll_event(Drain::All) else {
            if self.activity == Activity::OutputTaken {
                self.activity = Activity::None;
            }
            return false;
        };
        if let Some(notice) = self.pump.event(self.now, &mut self.links, event) {
            self.notice(notice);
        }
        self.activity = Activity::Input;
        true
    }

    /// Takes a turn, if at least that much happened since the last one.
    pub(super) fn turn_after(&mut self, least: Activity) {
        if self.activity == Activity::Input || self.activity == least {
            self.turn();
        }
    }

    /// Moves everything that can be moved, at most [`STEPS`] steps, or until what was read makes an event.
    fn turn(&mut self) {
        let mut steps = STEPS;
        loop {
            self.apply_bans();
            let notice = self.pump.turn(self.now, &mut self.links, &mut steps);
            let (read, idle) = (matches!(notice, Some(Notice::Read)), notice.is_none());
            if let Some(notice) = notice {
                self.notice(notice);
            }
            let told = self.tell();
            if read && !self.events.is_empty() {
                self.activity = Activity::Input;
                return;
            }
            if idle && !told && !self.dial_next() && !self.end() {
                break;
            }
        }
        self.activity = if steps == 0 { Activity::Input } else { Activity::None };
    }

    /// Takes what users tell; whether there was anything.
    fn tell(&mut self) -> bool {
        let mut any = false;
        while let Some(told) = self.pump.users.poll_told() {
            any = true;
            match told {
                Told::Pull(event) => self.pulled(event),
                Told::Identify(event) => identified(self, event),
                Told::Event(event) => self.events.push_back(event),
            }
        }
        any
    }

    /// Begins to dial the next peer of the book; whether there was one.
    fn dial_next(&mut self) -> bool {
        let now = self.now;
        if self.ending.is_some() {
            return false;
        }
        let Some((id, dial)) = self.peers.next_dial(now) else { return false };
        match self.links.dial(now, dial) {
            Ok(dial) => drop(self.peers.dialled(now, id, Some(dial))),
            Err(error) => {
                let unreached = self.peers.dialled(now, id, None);
                self.dials().unreached(unreached, error.into());
            }
        }
        true
    }

    fn notice(&mut self, notice: Notice) {
        let now = self.now;
        match notice {
            Notice::Blame(link, fault) => self.fault(link, fault),
            Notice::Read => {} // what it made a user tell is taken next
            Notice::Link(event) => match event {
                // A handshake with a known peer runs, and what may be replayed can go along with it.
                weir_link::Event::Early { link, info, dial: _ } => {
                    let going_on = self.ending.is_none();
                    let ip = self.links.link(link).and_then(|link| link.ip());
                    let info = going_on.then(|| self.peers.handle_early(now, link, info, ip)).flatten();
                    if let Some(info) = info {
                        self.pump.link_early(now, link, &info);
                        self.resume_calls();
                    }
                }
                weir_link::Event::Up { link, info, address, dial, preferred } => {
                    let fault = self.peers.early_over(link);
                    let from = address.clone();
                    let refused = match self.peers.handle_up(now, link, info, address, dial, preferred) {
                        _ if self.ending.is_some() => Some(Goodbye::Shutdown),
                        None => Some(Goodbye::Banned),
                        Some(info) => {
                            self.pump.link_up(now, link, &info);
                            introductions::begin(&mut self.pump.users, &self.links, link, from);
                            None
                        }
                    };
                    if let Some(reason) = refused {
                        // Where a handshake that carried data has opened control, goodbye is said there.
                        let command = control::Command::Goodbye { link, reason };
                        let said = self.pump.users.pull().command(now, weir_pull::Command::Control(command));
                        if let (Err(_), Some(link)) = (said, self.links.link(link)) {
                            link.cut(now, reason);
                        }
                    }
                    if let Some(fault) = fault {
                        self.fault(link, fault);
                    }
                    self.targets.proven(link);
                    self.resume_calls();
                }
                weir_link::Event::Superseded { link, goodbye } => self.goodbye(link, goodbye),
                weir_link::Event::Refused { peer, address, refusal, suppressed } => {
                    self.events.push_back(Event::ConnectionRefused { peer, address, refusal, suppressed });
                }
                weir_link::Event::KeyUsedTwice { peer } => {
                    self.events.push_back(Event::KeyUsedTwice { peer });
                }
                weir_link::Event::Down { link, reason } => self.down(link, reason),
                weir_link::Event::DialFailed { dial, error } => {
                    let problem = DialProblem::Link(error);
                    self.peers.joins.dial_failed(dial, error);
                    match self.peers.handle_failed(now, dial) {
                        Ok((ticket, dial)) => {
                            let instead = ways::instead_of(&self.peers, &dial);
                            self.dials().failed(ticket, instead, problem);
                        }
                        Err(unreached) => self.dials().unreached(unreached, problem),
                    }
                    self.resume_calls();
                }
                weir_link::Event::Resolve { query, name, family } => {
                    self.actions.push_back(Action::Resolve { query, name, family });
                }
                weir_link::Event::DialWire { dial, endpoint } => {
                    self.actions.push_back(Action::DialWire { dial, endpoint });
                }
                weir_link::Event::CloseWire(wire) => self.actions.push_back(Action::CloseWire(wire)),
                weir_link::Event::DialPipe { pipe, remote } => {
                    self.actions.push_back(Action::DialPipe { pipe, remote });
                }
                weir_link::Event::ReadPipe(pipe) => self.actions.push_back(Action::ReadPipe(pipe)),
                weir_link::Event::ClosePipe(pipe) => self.actions.push_back(Action::ClosePipe(pipe)),
                weir_link::Event::Blame { link, fault } => self.fault(link, fault),
                weir_link::Event::Agreed { key, protocol } => self.pump.users.agreed(key, protocol),
                // The pump keeps these for itself.
                weir_link::Event::Opened { .. }
                | weir_link::Event::Readable(_)
                | weir_link::Event::Writable(_)
                | weir_link::Event::Stopped(..) => {}
            },
        }
    }

    fn down(&mut self, link: LinkId, reason: DownReason) {
        self.pump.link_down(self.now, link);
        self.peers.early_over(link);
        self.targets.link_down(link);
        let Some(linked) = self.peers.handle_down(self.now, link) else { return self.resume_calls() };
        if let Some(ending) = &mut self.ending {
            ending.count(reason);
        }
        let peer = linked.info.peer;
        if let Some(ticket) = linked.ticket {
            let instead = self.peers.any_link(&peer).map(|_| peer);
            self.dials().failed(ticket, instead, DialProblem::Hello(reason));
        }
        self.resume_calls();
        if linked.known.is_some() {
            return self.events.push_back(Event::PeerDown { link, peer, address: linked.address, reason });
        }
        if self.peers.any_link(&peer).is_none() {
            self.events.push_back(Event::Refused { peer, address: linked.address, reason }); // else it was one of two, and the other one stays
        }
    }

    /// A protocol saw a peer do something wrong on a link. What it delivered is judged after the link has ended, too: who leaves still
    /// pays. What only follows from a fault that has counted does not count again.
    pub(super) fn fault(&mut self, link: LinkId, fault: Fault) {
        let Some(blamed) = self.peers.blamed(link) else {
            return self.peers.note_early_fault(link, fault); // counts if it ever is a link
        };
        if !self.peers.counts(self.now, link, fault.blame) {
            return tracing::debug!(?link, peer = ?blamed.peer, %fault, "follows from a fault that counted");
        }
        let up = self.peers.link(link).map(|_| link);
        self.judge(up.or_else(|| self.peers.any_link(&blamed.peer)), blamed, fault);
    }

    /// Notes a fault, and does what follows from it.
    pub(super) fn judge(&mut self, link: Option<LinkId>, blamed: Blamed, fault: Fault) {
        let (now, peer) = (self.now, blamed.peer);
        let (reaction, network) = self.peers.reputation.blame(now, blamed, fault.blame);
        tracing::debug!(?link, ?peer, %fault, ?reaction, "a peer did something wrong");
        let address = link.and_then(|link| self.peers.link(link)).and_then(|linked| linked.address.clone());
        self.events.push_back(Event::Fault { link, address, peer, fault, reaction });
        if let Some((network, until)) = network {
            self.events.push_back(Event::NetworkBanned { network, until });
        }
        let Some(link) = link else { return };
        self.share(link);
        match reaction {
            Reaction::None => {}
            Reaction::Disconnect => self.goodbye(link, Goodbye::Fault),
            Reaction::Ban { .. } => self.goodbye(link, Goodbye::Banned),
        }
    }

    /// Tells links which bans began or ended, and closes those whose network is banned now.
    fn apply_bans(&mut self) {
        let mut networks = false;
        while let Some((ban, until)) = self.peers.reputation.pop_ban() {
            networks |= until.is_some() && !matches!(ban, Ban::Peer(_));
            self.links.set_ban(ban, until);
        }
        if networks {
            let links = self.peers.banned_links(self.now);
            links.into_iter().for_each(|link| self.goodbye(link, Goodbye::Banned));
        }
    }

    /// Tells channels what standing leaves of a link's share, if that has changed.
    fn share(&mut self, link: LinkId) {
        if let Some(share) = self.peers.changed_share(self.now, link) {
            self.pump.users.pull().set_share(link, share.quarters());
        }
    }

    /// Says goodbye on a link and closes it, whatever state it is in.
    pub(super) fn goodbye(&mut self, link: LinkId, reason: Goodbye) {
        self.peers.leaving(link, reason);
        let (now, command) = (self.now, control::Command::Goodbye { link, reason });
        let said = self.pump.users.pull().command(now, weir_pull::Command::Control(command));
        if said.is_err() {
            self.pump.close(now, &mut self.links, link, reason);
        }
    }

    /// It is known what a link's peer speaks: the peer is up.
    pub(super) fn known(&mut self, link: LinkId, speaks: Speaks) {
        let Some(linked) = self.peers.handle_known(link, speaks) else { return };
        let (ticket, info, address) = (linked.ticket.take(), linked.info, linked.address.clone());
        let speaks = linked.known.clone().unwrap_or_default();
        self.share(link);
        self.events.push_back(Event::PeerUp { ticket, link, info, address, speaks });
        self.dials().settle();
    }

    /// What pull tells: links that are ready are noted, answers of targets are named by their command.
    fn pulled(&mut self, event: weir_pull::Event) {
        let told = match event {
            weir_pull::Event::Ready { link, hello, .. } => {
                if let Some(link) = self.links.link(link) {
                    link.hello_accepted();
                }
                self.pump.users.known(link, Some(&hello));
                return self.known(link, Speaks::from_hello(&hello, &self.config.profile.channels));
            }
            weir_pull::Event::NoHello { link } => return no_hello(self, link),
            weir_pull::Event::Gone { .. } => return, // told when the link went down
            weir_pull::Event::Rtt { link, rtt } => {
                self.share(link); // points decay; looked at about every 15 s
                Event::Rtt { link, rtt }
            }
            weir_pull::Event::Services { link, services } => {
                self.peers.set_services(link, &services);
                Event::Services { link, services }
            }
            weir_pull::Event::Pool(channel, event) => Event::Pool(channel, event),
            weir_pull::Event::Tip(channel, event) => Event::Tip(channel, event),
            weir_pull::Event::Call(channel, call::Event::Response { ticket, result }) => {
                match self.targets.end(ticket, result) {
                    Ended::Told(event) => event,
                    Ended::Waits => return self.resume_calls(),
                    Ended::Other(result) => Event::Call(channel, call::Event::Response { ticket, result }),
                }
            }
            weir_pull::Event::Call(channel, event) => Event::Call(channel, event),
        };
        self.events.push_back(told);
    }

    /// Offers standings that changed to the host, once it is time.
    pub(super) fn persist(&mut self) {
        while let Some((network, ban)) = self.peers.reputation.pop_changed_network(self.now) {
            self.actions.push_back(Action::PersistNetwork { network, ban });
        }
        while let Some((peer, record)) = self.peers.reputation.pop_changed(self.now) {
            self.actions.push_back(Action::Persist { peer, record });
        }
    }
}

/// A peer has said who it is, or did not answer.
fn identified(stack: &mut Stack, event: identify::Event) {
    let link = match event {
        identify::Event::Identified { link, info, pushed } => {
            let Some(peer) = stack.peers.link(link).map(|linked| linked.info.peer) else { return };
            if introductions::told(&mut stack.peers, link, &info) {
                stack.pump.users.known(link, None);
                stack.known(link, Speaks::default());
            }
            stack.events.push_back(Event::Identified { link, peer, info, pushed });
            link
        }
        identify::Event::Unanswered { link } => link,
    };
    // What was put off until the answer, if its peer said no hello meanwhile.
    if stack.peers.link(link).is_some_and(|linked| linked.no_hello) {
        no_hello(stack, link);
    }
}

/// A peer says no hello.
fn no_hello(stack: &mut Stack, link: LinkId) {
    match introductions::no_hello(&mut stack.peers, &stack.pump, &stack.links, link) {
        WithoutHello::Settled => {}
        WithoutHello::Peer(speaks) => {
            stack.pump.users.known(link, None);
            stack.known(link, speaks);
        }
        WithoutHello::Nobody(fault) => {
            if let Some(fault) = fault {
                stack.fault(link, fault);
            }
            stack.goodbye(link, Goodbye::Idle);
        }
    }
}
