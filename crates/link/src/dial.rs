//! Dials under way: which address comes next, when, and what the outcome is.
//!
//! - a dial ranks its addresses: wires, then the transports in the order of their registry, each with the families taking
//!   turns; names are resolved at once, and their addresses join those of their transport;
//! - an address waits a moment for the names of better transports;
//! - the next address is tried when the last attempt failed, or `stagger` after it began;
//! - the first attempt that becomes a link ends the dial, and the others with it; one deadline ends all.
//!
//! Source: RFC 8305; `docs/spec/links.md`, "Dialling".

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use weir_base::identity::PeerId;
use weir_base::multiaddr::{Host, Multiaddr, Transport};
use weir_base::{Deadlines, Instant, LinkId};

use crate::config::DialConfig;
use crate::event::{Dial, DialError, DialFailure, DialId, Family};

/// From when the first address can be tried, so long names of better transports may still be resolved before it (RFC 8305 §3).
const RESOLUTION_DELAY: Duration = Duration::from_millis(50);

/// What the parent should do.
#[derive(Debug)]
pub(crate) enum Step {
    /// Start a handshake; answer with [`Dialler::attempt_started`] or [`Dialler::attempt_failed`].
    Connect { transport: Transport, attempt: Attempt },
    /// Ask the host for a wire.
    Wire { dial: DialId, endpoint: u64 },
    /// Ask the host for a name's addresses.
    Resolve { query: u64, name: String, family: Family },
    /// The dial is over; give these attempts up.
    Failed { dial: DialId, error: DialFailure, attempts: Vec<LinkId> },
}

/// An attempt of a dial at an address with a socket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    pub(crate) dial: DialId,
    /// Whether the operator named the peer.
    pub(crate) pinned: bool,
    pub(crate) remote: SocketAddr,
    /// Who must be there; `None`: anyone.
    pub(crate) peer: Option<PeerId>,
}

/// A dial that became a link.
#[derive(Debug)]
pub(crate) struct Success {
    /// Whether the operator named the peer.
    pub(crate) pinned: bool,
    /// Attempts to give up.
    pub(crate) others: Vec<LinkId>,
}

/// All dials under way.
#[derive(Debug)]
pub(crate) struct Dialler {
    transports: Vec<Transport>,       // that can be dialled, the best first
    dials: BTreeMap<DialId, Pending>, // <= max_dials
    queries: BTreeMap<u64, (DialId, Transport, u16)>,
    deadlines: Deadlines<DialId>,
    steps: VecDeque<Step>,
    last_dial: u64,
    last_query: u64,
}

#[derive(Debug)]
struct Pending {
    peer: Option<PeerId>,
    pinned: bool,
    deadline: Instant,
    next: Instant,               // when the next candidate may begin beside those under way
    unheld: Option<Instant>,     // from when on names are not waited for, once there is a candidate
    candidates: VecDeque<Route>, // <= max_addresses
    attempts: BTreeSet<Running>,
    error: DialFailure,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    Wire(u64),
    Socket(Transport, SocketAddr),
}

/// What a dial waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Running {
    Link(LinkId),
    Wire,
    Query(u64),
}

/// Whether an address is one that a node could dial: that its transport is known here, not that somebody is there.
///
/// # Errors
/// What a dial to it would end with.
pub fn check_dialable(address: &Multiaddr) -> Result<(), DialFailure> {
    match address.target() {
        _ if address.memory().is_some() => Ok(()),
        None => Err(DialFailure::NoRoute),
        Some(_) => Ok(()),
    }
}

impl Dialler {
    /// No dials yet. `transports` are those that can be dialled, the best first.
    pub(crate) fn new(transports: Vec<Transport>) -> Self {
        Self {
            transports,
            dials: BTreeMap::new(),
            queries: BTreeMap::new(),
            deadlines: Deadlines::default(),
            steps: VecDeque::new(),
            last_dial: 0,
            last_query: 0,
        }
    }

    /// Begins a dial.
    pub(crate) fn dial(
        &mut self,
        now: Instant,
        local_peer: PeerId,
        dial: Dial,
        config: &DialConfig,
    ) -> Result<DialId, DialError> {
        let peer = self.check(local_peer, &dial, config)?;
        let Dial { addresses, pinned, .. } = dial;
        self.last_dial += 1;
        let id = DialId(self.last_dial);
        let mut pending = Pending {
            peer,
            pinned,
            deadline: now + config.timeout,
            next: now,
            unheld: None,
            candidates: VecDeque::new(),
            attempts: BTreeSet::new(),
            error: DialFailure::NoRoute,
        };
        let (mut sockets, mut names) = (Vec::new(), Vec::new());
        for address in &addresses {
            if let Some(endpoint) = address.memory() {
                pending.candidates.push_back(Route::Wire(endpoint));
            }
            let Some(target) = address.target() else { continue };
            let transport = target.transport;
            if !self.transports.contains(&transport) {
                if transport == Transport::Tcp {
                    pending.error = DialFailure::TcpUnsupported;
                }
                continue;
            }
            let (name, family) = match target.host {
                Host::Ip(ip) => {
                    sockets.push((transport, SocketAddr::new(ip.to_canonical(), target.port)));
                    continue;
                }
                Host::Dns(name) => (name, Family::Any),
                Host::Dns4(name) => (name, Family::V4),
                Host::Dns6(name) => (name, Family::V6),
            };
            names.push((rank(&self.transports, transport), transport, target.port, name.to_string(), family));
        }
        names.sort_by_key(|(rank, ..)| *rank); // the best is asked for first
        for (_, transport, port, name, family) in names {
            self.last_query += 1;
            let query = self.last_query;
            self.queries.insert(query, (id, transport, port));
            pending.attempts.insert(Running::Query(query));
            self.steps.push_back(Step::Resolve { query, name, family });
        }
        for transport in &self.transports {
            let own = sockets.iter().filter(|(other, _)| other == transport).map(|(_, remote)| *remote);
            let ranked = take_turns(own.collect());
            pending.candidates.extend(ranked.into_iter().map(|remote| Route::Socket(*transport, remote)));
        }
        self.dials.insert(id, pending);
        self.advance(now, id, config);
        Ok(id)
    }

    fn check(
        &self,
        local_peer: PeerId,
        dial: &Dial,
        config: &DialConfig,
    ) -> Result<Option<PeerId>, DialError> {
        if dial.addresses.is_empty() {
            return Err(DialError::NoAddress);
        }
        if dial.addresses.len() > config.max_addresses {
            return Err(DialError::TooManyAddresses);
        }
        if self.dials.len() >= config.max_dials {
            return Err(DialError::TooManyDials);
        }
        let mut peer = dial.peer;
        for named in dial.addresses.iter().filter_map(Multiaddr::peer_id) {
            if *peer.get_or_insert(named) != named {
                return Err(DialError::OtherPeer);
            }
        }
        if peer == Some(local_peer) { Err(DialError::Myself) } else { Ok(peer) }
    }

    /// A name has these addresses.
    pub(crate) fn resolved(&mut self, now: Instant, query: u64, addresses: &[IpAddr], config: &DialConfig) {
        let Some((dial, transport, port)) = self.queries.remove(&query) else { return };
        let Some(pending) = self.dials.get_mut(&dial) else { return };
        pending.attempts.remove(&Running::Query(query));
        if addresses.is_empty() {
            pending.error = DialFailure::Unresolved;
        }
        let found = addresses.iter().map(|ip| SocketAddr::new(ip.to_canonical(), port)).collect();
        let worse = |route: &Route| match route {
            Route::Wire(_) => false,
            Route::Socket(other, _) => rank(&self.transports, *other) > rank(&self.transports, transport),
        };
        for remote in take_turns(found) {
            let route = Route::Socket(transport, remote);
            let known = pending.candidates.contains(&route);
            if !known && pending.candidates.len() < config.max_addresses {
                let place = pending.candidates.iter().position(worse).unwrap_or(pending.candidates.len());
                pending.candidates.insert(place, route);
            }
        }
        self.advance(now, dial, config);
    }

    /// A handshake began.
    pub(crate) fn attempt_started(&mut self, dial: DialId, link: LinkId) {
        if let Some(pending) = self.dials.get_mut(&dial) {
            pending.attempts.insert(Running::Link(link));
        }
    }

    /// The host connected a wire; the link on it is not confirmed yet.
    pub(crate) fn wire_opened(&mut self, dial: DialId, link: LinkId) {
        if let Some(pending) = self.dials.get_mut(&dial) {
            pending.attempts.remove(&Running::Wire);
            pending.attempts.insert(Running::Link(link));
        }
    }

    /// An attempt failed, or could not begin (`None`).
    pub(crate) fn attempt_failed(
        &mut self,
        now: Instant,
        dial: DialId,
        link: Option<LinkId>,
        error: DialFailure,
        config: &DialConfig,
    ) {
        let Some(pending) = self.dials.get_mut(&dial) else { return };
        if let Some(link) = link {
            pending.attempts.remove(&Running::Link(link));
        }
        pending.error = error;
        pending.next = now;
        self.advance(now, dial, config);
    }

    /// The host could not connect a wire.
    pub(crate) fn wire_failed(&mut self, now: Instant, dial: DialId, config: &DialConfig) {
        if let Some(pending) = self.dials.get_mut(&dial)
            && pending.attempts.remove(&Running::Wire)
        {
            self.attempt_failed(now, dial, None, DialFailure::Unreachable, config);
        }
    }

    /// Whether `peer` may be at the other end; `None`: there is no such dial.
    pub(crate) fn accepts(&self, dial: DialId, peer: PeerId) -> Option<bool> {
        self.dials.get(&dial).map(|pending| pending.peer.is_none_or(|expected| expected == peer))
    }

    /// A dial became a link. `None` where it was given up before.
    pub(crate) fn succeeded(&mut self, dial: DialId, link: LinkId) -> Option<Success> {
        let pinned = self.dials.get(&dial)?.pinned;
        let mut others = self.remove(dial);
        others.retain(|other| *other != link);
        Some(Success { pinned, others })
    }

    /// Gives a dial up; returns its attempts.
    pub(crate) fn cancel(&mut self, dial: DialId) -> Vec<LinkId> {
        self.remove(dial)
    }

    /// Ends a dial with an error.
    pub(crate) fn fail(&mut self, dial: DialId, error: DialFailure) {
        if self.dials.contains_key(&dial) {
            let attempts = self.remove(dial);
            self.steps.push_back(Step::Failed { dial, error, attempts });
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant, config: &DialConfig) {
        while let Some(dial) = self.deadlines.pop_due(now) {
            if self.dials.get(&dial).is_some_and(|pending| pending.deadline <= now) {
                self.fail(dial, DialFailure::Timeout);
            } else {
                self.advance(now, dial, config);
            }
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.next().map(|(due, _)| due)
    }

    pub(crate) fn poll_step(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }

    pub(crate) fn len(&self) -> usize {
        self.dials.len()
    }

    /// Begins the next candidate where it is time, and ends the dial where nothing is left.
    fn advance(&mut self, now: Instant, dial: DialId, config: &DialConfig) {
        let Some(pending) = self.dials.get_mut(&dial) else { return };
        let idle = pending.attempts.iter().all(|attempt| matches!(attempt, Running::Query(_)));
        let held = pending.waits_for_a_name(now, &self.queries, &self.transports);
        if held.is_none()
            && (idle || pending.next <= now)
            && let Some(route) = pending.candidates.pop_front()
        {
            pending.next = now + config.stagger;
            let step = match route {
                Route::Wire(endpoint) => {
                    pending.attempts.insert(Running::Wire);
                    Step::Wire { dial, endpoint }
                }
                Route::Socket(transport, remote) => {
                    let (peer, pinned) = (pending.peer, pending.pinned);
                    Step::Connect { transport, attempt: Attempt { dial, pinned, remote, peer } }
                }
            };
            let wire = matches!(step, Step::Wire { .. });
            self.steps.push_back(step);
            if !wire {
                // Whether the attempt began is known when the parent has done the step; it says if not.
                self.deadlines.set(dial, Some(pending.deadline.min(pending.next)));
                return;
            }
        }
        if pending.attempts.is_empty() && pending.candidates.is_empty() {
            let error = pending.error;
            return self.fail(dial, error);
        }
        let next = held.unwrap_or(pending.next);
        let due = if pending.candidates.is_empty() { pending.deadline } else { pending.deadline.min(next) };
        self.deadlines.set(dial, Some(due));
    }

    fn remove(&mut self, dial: DialId) -> Vec<LinkId> {
        self.deadlines.set(dial, None);
        let Some(pending) = self.dials.remove(&dial) else { return Vec::new() };
        let mut links = Vec::new();
        for attempt in pending.attempts {
            match attempt {
                Running::Link(link) => links.push(link),
                Running::Query(query) => drop(self.queries.remove(&query)),
                Running::Wire => {}
            }
        }
        links
    }
}

impl Pending {
    /// Until when the next candidate waits for the name of a better transport.
    fn waits_for_a_name(
        &mut self,
        now: Instant,
        queries: &BTreeMap<u64, (DialId, Transport, u16)>,
        transports: &[Transport],
    ) -> Option<Instant> {
        let Some(Route::Socket(transport, _)) = self.candidates.front() else { return None };
        let unheld = *self.unheld.get_or_insert(now + RESOLUTION_DELAY);
        let is_better = |query: &u64| {
            queries
                .get(query)
                .is_some_and(|(_, other, _)| rank(transports, *other) < rank(transports, *transport))
        };
        let waits =
            self.attempts.iter().any(|attempt| matches!(attempt, Running::Query(query) if is_better(query)));
        (waits && now < unheld).then_some(unheld)
    }
}

/// The place of a transport in their order.
fn rank(transports: &[Transport], transport: Transport) -> usize {
    transports.iter().position(|other| *other == transport).unwrap_or(transports.len())
}

/// Addresses with the families taking turns, IPv6 first, each family in the order given.
fn take_turns(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let (six, four): (Vec<_>, Vec<_>) = addresses.into_iter().partition(SocketAddr::is_ipv6);
    let (mut six, mut four, mut out) = (six.into_iter(), four.into_iter(), Vec::new());
    loop {
        let pair = (six.next(), four.next());
        out.extend(pair.0);
        out.extend(pair.1);
        if pair == (None, None) {
            return out;
        }
    }
}
