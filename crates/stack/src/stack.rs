//! [`Stack`]: routes between the host, the pump, and the peers.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use weir_base::identity::{Keypair, PeerId};
use weir_base::stream::{Ask, Goodbye};
use weir_base::{Fault, Instant, LimitError, LinkId, ProtocolId, Rng};
use weir_link::{
    DialFailure, DownReason, Frame, HostChange, Links, PipeId, PipeTransmit, Start, Transmit, WireId,
};
use weir_pull::{ChannelId, Ticket, call, control};

use crate::budget::Stats;
use crate::config::{Config, ConfigError};
use crate::ending::Ending;
use crate::peers::{Peers, Reaction, Surplus};
use crate::protocols;
use crate::pump::{Notice, Pump};
use crate::raw;
use crate::targets::{Targets, method};
use crate::types::{Action, Command, DialProblem, Event, Input, Refused, Target, Timeout};
use crate::users::{Make, Named, Told, Users};
use own::Own;

/// Steps of one turn: what a burst of 64 inputs needs, and not so many that a host waits.
const STEPS: usize = 4096;

/// Tickets of the stack stand above those of channels.
const TICKETS: u64 = 0xffff << 48;

/// Counts the tickets of the stack's own commands.
#[derive(Debug)]
pub(crate) struct Tickets(u64);

impl Tickets {
    /// A ticket no other command has returned.
    pub(crate) fn next(&mut self) -> Ticket {
        self.0 += 1;
        Ticket(self.0)
    }
}

/// What happened since the last turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Activity {
    /// Nothing.
    None,
    /// Output was taken, which may have made room. Looked at once no more of it is there, so that it costs nothing per frame.
    OutputTaken,
    /// Something was handed in, or a turn ran out of steps.
    Input,
}

/// A whole node without a host.
///
/// After any input (`handle`, `command`, `handle_timeout`, use of `raw_streams`, or up to 64 of them) the host drains, in this order:
/// 1. [`poll_action`](Self::poll_action) until `None`: what only a host can do;
/// 2. [`poll_event`](Self::poll_event) until `None`: what the application should know. What was read comes first; its verdicts may be
///    commanded at once;
/// 3. [`poll_datagrams`](Self::poll_datagrams), [`poll_frame`](Self::poll_frame) and [`poll_pipe`](Self::poll_pipe) until `None`, or until
///    sockets block: taking output makes room, and room makes more output;
/// 4. actions and events again, for what taking the output has moved;
/// 5. [`poll_timeout`](Self::poll_timeout): when to call [`handle_timeout`](Self::handle_timeout).
///
/// Another order is correct, too, as long as every one ends in `None`; it costs turns. Nothing is lost where a drain is cut short: then
/// `poll_timeout` is due at once.
pub struct Stack {
    own: Own,
    config: Arc<Config>,
    links: Links,
    pump: Pump,
    peers: Peers,
    targets: Targets,
    ending: Option<Ending>,
    events: VecDeque<Event>, // what one turn told; the host drains it before the next input batch
    actions: VecDeque<Action>,
    now: Instant,
    activity: Activity,
    tickets: Tickets,
}

impl Stack {
    /// A node that has no links yet and dials its persistent peers as soon as it is driven. `seed` must be secret and fresh;
    /// every random choice comes from it. `start` says what the host's origin of time is on other clocks.
    ///
    /// # Errors
    /// [`ConfigError`]: a limit that does not hold, alone or with others; it names the field and the remedy.
    pub fn new(
        config: Arc<Config>,
        keypair: Keypair,
        seed: [u8; 32],
        start: Start,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        let mut rng = Rng::new(seed);
        let keypair = Arc::new(keypair);
        let wall = start.wall;
        let key = keypair.public();
        let mut users = Users::new(Make { config: &config, key: &key, rng: &mut rng })?;
        users.pull().handle_wall(Instant::ZERO, wall);
        let mut link = config.link();
        link.streams.early = users.replay_safe();
        // What is not served may be asked for.
        let spoken: BTreeSet<ProtocolId> = users.protocols().chain([protocols::PERF]).collect();
        link.protocols = protocols::names(&config.profile, spoken.into_iter());
        let served = |id: &ProtocolId| users.owner(*id).is_some();
        link.unserved = link.protocols.iter().map(|(id, _)| *id).filter(|id| !served(id)).collect();
        let exempt = link.admission.exempt.clone();
        let links = Links::new(link, Arc::clone(&keypair), rng.child("links").bytes(), start)?;
        let mut peers =
            Peers::new(config.peers.clone(), config.standing.clone(), exempt, wall, rng.child("peers"));
        for known in config.peers.known().map_err(|limit| limit.within("peers"))? {
            let full = |error: crate::BookError| {
                LimitError::new("peers.persistent", format!("has one that the book does not take: {error}"))
            };
            peers.add(Instant::ZERO, known).map_err(full)?;
        }
        let targets = Targets::new(config.calls.clone(), rng.child("targets"));
        Ok(Self {
            own: Own::new(keypair, wall),
            config,
            links,
            pump: Pump::new(users),
            peers,
            targets,
            ending: None,
            events: VecDeque::new(),
            actions: VecDeque::new(),
            now: Instant::ZERO,
            activity: Activity::Input,
            tickets: Tickets(TICKETS),
        })
    }

    /// This node.
    pub fn local_peer(&self) -> PeerId {
        self.own.peer()
    }

    /// Something happened at the host.
    pub fn handle(&mut self, now: Instant, input: Input) {
        self.touch(now);
        match input {
            Input::Datagrams(datagrams) => self.links.handle_datagrams(now, datagrams),
            Input::Frame(wire, frame) => self.links.handle_frame(now, wire, frame),
            Input::Wire(wire, change) => self.links.handle_wire(now, wire, change),
            Input::Pipe(pipe, change) => self.links.handle_pipe(now, pipe, change),
            Input::Resolved { query, addresses } => self.links.handle_resolved(now, query, &addresses),
            Input::Host(change) => {
                if let HostChange::Wall(wall) = change {
                    self.pump.users.pull().handle_wall(now, wall);
                    self.peers.reputation.set_wall(now, wall);
                }
                self.links.handle_host(now, change);
            }
        }
    }

    /// The user wants something. The ticket names what was begun; commands that begin nothing return one that is never named
    /// again.
    ///
    /// # Errors
    /// [`Refused`]: misuse, or over a limit. Nothing has happened then.
    pub fn command(&mut self, now: Instant, command: Command) -> Result<Ticket, Refused> {
        self.touch(now);
        if self.ending.is_some() && !command.ends_something() {
            return Err(Refused::Closing);
        }
        match command {
            Command::Dial { peer, addresses } => self.dials().begin(peer, addresses),
            Command::Disconnect(peer) => {
                let link = self.peers.any_link(&peer).ok_or(Refused::NoPeer)?;
                self.goodbye(link, Goodbye::Asked);
                Ok(self.tickets.next())
            }
            Command::Announce(addresses) => {
                let around = (&self.peers, &self.links);
                introductions::announce(&mut self.own, &mut self.pump.users, around, addresses)?;
                Ok(self.tickets.next())
            }
            Command::Identify(peer) => {
                let link = self.peers.any_link(&peer).ok_or(Refused::NoPeer)?;
                self.pump.users.identify().ask(link);
                Ok(self.tickets.next())
            }
            Command::Measure { peer, upload, download } => {
                let link = self.peers.any_link(&peer).ok_or(Refused::NoPeer)?;
                let ticket = self.tickets.next();
                self.pump.users.perf().measure(now, link, ticket.0, upload, download);
                Ok(ticket)
            }
            Command::AddPeer(known) => {
                self.peers.add(now, known)?;
                self.peers.handle_timeout(now);
                Ok(self.tickets.next())
            }
            Command::RemovePeer(peer) => {
                if let Some(dial) = self.peers.remove(&peer) {
                    self.links.cancel(dial);
                    self.resume_calls();
                }
                Ok(self.tickets.next())
            }
            Command::Ban { peer, duration } => {
                self.peers.reputation.ban(now, peer, now + duration);
                if let Some(link) = self.peers.any_link(&peer) {
                    self.goodbye(link, Goodbye::Banned);
                }
                Ok(self.tickets.next())
            }
            Command::BanNetwork { network, duration } => {
                self.peers.reputation.ban_network(now, network, now + duration)?;
                Ok(self.tickets.next())
            }
            Command::UnbanNetwork(network) => {
                self.peers.unban_network(now, network);
                self.peers.handle_timeout(now);
                Ok(self.tickets.next())
            }
            Command::Unban(peer) => {
                self.peers.unban(now, peer);
                Ok(self.tickets.next())
            }
            Command::Forgive(peer) => {
                self.peers.forgive(now, peer);
                Ok(self.tickets.next())
            }
            Command::Report { peer, fault } => {
                let blamed = self.peers.blamed_peer(peer);
                self.judge(self.peers.any_link(&peer), blamed, fault);
                Ok(self.tickets.next())
            }
            Command::Restore(record) => {
                self.peers.reputation.restore(now, &record);
                Ok(self.tickets.next())
            }
            Command::RestoreNetwork(ban) => {
                self.peers.reputation.restore_network(now, &ban)?;
                Ok(self.tickets.next())
            }
            Command::Pull(command) => Ok(self.pump.users.pull().command(now, command)?),
            Command::CallTarget { channel, target, request, deadline } => {
                self.call(now, channel, target, request, deadline)
            }
            Command::CancelTarget(group) => self.cancel(now, group),
            Command::Raw(command) => self.raw(command),
            Command::Exchange(command) => self.exchange(now, command),
            Command::Shutdown { deadline } => {
                self.shutdown(now, deadline);
                Ok(self.tickets.next())
            }
        }
    }

    /// The next datagrams to send: appended to `out`, at most `max_segments` of equal length (the last may be shorter).
    pub fn poll_datagrams(
        &mut self,
        now: Instant,
        max_segments: usize,
        out: &mut Vec<u8>,
    ) -> Option<Transmit> {
        poll_links(self, now, |links| links.poll_datagrams(now, max_segments, out))
    }

    /// The next frame to send.
    pub fn poll_frame(&mut self, now: Instant) -> Option<(WireId, Frame)> {
        poll_links(self, now, |links| links.poll_frame(now))
    }

    /// The next bytes of a byte stream, appended to `out`: one chunk of some 64 KiB at most. The host writes them before it asks
    /// again, or says that the stream is blocked.
    pub fn poll_pipe(&mut self, now: Instant, out: &mut BytesMut) -> Option<PipeTransmit> {
        poll_links(self, now, |links| links.poll_pipe(now, out))
    }

    /// Reads a byte stream by the host's `read`, as [`Links::read_pipe`] says. While there is no room `read` is not called, so that the peer
    /// has to wait: [`Action::ReadPipe`] follows.
    pub fn read_pipe(
        &mut self,
        now: Instant,
        pipe: PipeId,
        lent: &mut [u8],
        read: &mut dyn FnMut(&mut [u8]) -> usize,
    ) {
        self.touch(now);
        self.links.read_pipe(now, pipe, lent, read);
    }

    /// The next thing for the host to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.turn_after(Activity::OutputTaken);
        self.actions.pop_front()
    }

    /// The next thing for the user to know.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.turn_after(Activity::OutputTaken);
        self.events.pop_front()
    }

    /// Advances what is due. Early and repeated calls do nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.touch(now);
        self.links.handle_timeout(now);
        self.pump.users.handle_timeout(now);
        while let Some((dial, unreached)) = self.peers.pop_slow_dial(now) {
            self.dials().unreached(unreached, DialProblem::Link(DialFailure::Timeout));
            self.links.cancel(dial);
            self.resume_calls();
        }
        self.dials().end_late();
        self.peers.handle_timeout(now);
        let surplus = Surplus::of(&self.peers).map_or_else(Vec::new, |surplus| surplus.links(now));
        surplus.into_iter().for_each(|link| self.goodbye(link, Goodbye::Full));
        while let Some(peer) = self.peers.reputation.pop_released(now) {
            self.events.push_back(Event::Released(peer));
        }
        while let Some(network) = self.peers.reputation.pop_released_network(now) {
            self.events.push_back(Event::NetworkReleased(network));
        }
        while let Some(late) = self.targets.pop_late(now) {
            self.events.push_back(late);
        }
        self.persist();
    }

    /// The next time [`handle_timeout`](Self::handle_timeout) has work, and why. Drain first.
    pub fn poll_timeout(&self) -> Option<Timeout> {
        if self.activity != Activity::None {
            return Some((self.now, "work is left"));
        }
        let due = [
            self.links.poll_timeout(),
            self.pump.users.poll_timeout(),
            self.peers.poll_timeout(),
            self.targets.poll_timeout(),
            self.ending.as_ref().and_then(Ending::poll_timeout),
        ];
        due.into_iter().flatten().min()
    }

    /// Raw streams, to be read and written.
    pub fn raw_streams(&mut self, now: Instant) -> raw::Streams<'_> {
        self.touch(now);
        raw::Streams { pump: &mut self.pump, links: &mut self.links, now }
    }

    /// Who is known, linked and trusted.
    pub fn peers(&self) -> &Peers {
        &self.peers
    }

    /// Counters.
    pub fn stats(&self) -> Stats {
        let counters = &self.pump.counters;
        let Named { pull, raw, .. } = self.pump.users.named();
        let pools = self.config.profile.channels.iter().map(|channel| channel.id);
        Stats {
            link: *self.links.stats(),
            channels: pull.stats().collect(),
            pools: pools.filter_map(|id| Some((id, pull.pool_stats(id)?))).collect(),
            call_memory: pull.call_memory(),
            raw_streams: raw.len() as u64,
            streams: self.pump.streams() as u64,
            bytes_read: counters.bytes_read,
            bytes_written: counters.bytes_written,
            raw_read: raw.counters.read,
            raw_written: raw.counters.written,
            expired: self.targets.expired(),
            ..self.peers.stats()
        }
    }
}

/// Peers whose permit on this pool channel is used up: what is new waits until they grant more. A peer stands here once for each such
/// link; nobody where the channel is no pool.
pub fn permits_used_up(stack: &Stack, channel: ChannelId) -> impl Iterator<Item = PeerId> {
    stack.pump.users.named().pull.permits_used_up(channel)
}

impl fmt::Debug for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stack")
            .field("local_peer", &self.local_peer())
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}

/// What links have to send, once the turn that makes it has ended.
fn poll_links<T>(
    stack: &mut Stack,
    now: Instant,
    mut poll: impl FnMut(&mut Links) -> Option<T>,
) -> Option<T> {
    stack.now = now;
    loop {
        stack.turn_after(Activity::Input);
        if let Some(output) = poll(&mut stack.links) {
            stack.activity = Activity::OutputTaken;
            return Some(output);
        }
        if !stack.settle_links() {
            return None;
        }
    }
}

mod commands;
mod introductions;
mod own;
mod turn;
