//! All links of a node: the host's and the stack's side. It names no transport; endpoints bring links, and carriers carry them.
//!
//! - `life` is how links come up and go down, `peers` which link of a peer stays;
//! - `credit` is how the two ledgers are lent, `dialling` how dials are driven.

mod credit;
mod dialling;
mod life;
mod peers;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::BytesMut;
use weir_base::identity::Keypair;
use weir_base::stream::Goodbye;
use weir_base::{Instant, LinkId};

use crate::admission::Admission;
use crate::dial::Dialler;
use crate::endpoint::{Context, Input};
use crate::event::DownReason;
use crate::link::Life;
use crate::streams::{NAMED, ProtocolNames};
use crate::table::{Table, Timer};
use crate::transports::Endpoints;
use credit::Credit;
use peers::Peers;

use crate::{
    Ban, Config, Datagrams, Dial, DialError, DialId, Event, Frame, HostChange, LimitError, Link, PipeChange,
    PipeId, PipeTransmit, Start, Stats, Transmit, WireChange, WireId,
};

/// Room for so many events is kept while there are none.
const EVENTS_KEPT: usize = 64;

/// Which events [`Links::poll_event`] takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drain {
    /// Those that are queued already. Links that were touched are not settled, so that many streams can be read and written
    /// before each link is settled once.
    Queued,
    /// Those too that follow once every touched link is settled.
    All,
}

/// All links of a node, and what routes between them, the host and the stack. See the crate's documentation for how it is
/// driven.
///
/// Drain order: what was touched is settled first (reports of its carrier, its end, its peer's other link, its credit), and
/// only then are events, datagrams and frames handed out. A settled link waits in its endpoint until what it has to send was
/// taken; then its deadline is set.
#[allow(clippy::struct_field_names)] // the links are what it is named for
pub struct Links {
    config: Arc<Config>,
    names: Arc<ProtocolNames>, // of other people's protocols
    now: Instant,              // of the last call that said
    table: Table,
    peers: Peers,
    endpoints: Endpoints,
    dialler: Dialler,
    admission: Admission,
    credit: Credit,
    events: VecDeque<Event>, // <= a few per input, until the host drains
    stats: Stats,
}

impl Links {
    /// No links yet. `seed` decides every random choice; `start` says what the host's origin of time is on other clocks.
    ///
    /// # Errors
    /// [`LimitError`], where limits do not fit together.
    #[allow(clippy::needless_pass_by_value)] // shared with whoever signs for a transport later
    pub fn new(
        config: Config,
        keypair: Arc<Keypair>,
        seed: [u8; 32],
        start: Start,
    ) -> Result<Self, LimitError> {
        config.check()?;
        let config = Arc::new(config);
        let named: Vec<_> = config.protocols.iter().filter(|(id, _)| *id >= NAMED).cloned().collect();
        let names = Arc::new(ProtocolNames::new(&named, &config.unserved)?);
        let endpoints = Endpoints::new(&config, &keypair, seed, start)?;
        let credit = Credit::new(&config);
        let mut stats = Stats::default();
        credit.count(&mut stats);
        Ok(Self {
            now: Instant::ZERO,
            names,
            table: Table::default(),
            peers: Peers::new(keypair.peer_id()),
            dialler: Dialler::new(endpoints.transports()),
            endpoints,
            admission: Admission::default(),
            credit,
            events: VecDeque::new(),
            stats,
            config,
        })
    }

    /// Time never goes back.
    fn at(&mut self, now: Instant) -> Instant {
        self.now = self.now.max(now);
        self.now
    }

    /// The endpoints, and what they may touch.
    fn endpoints(&mut self, now: Instant) -> (&mut Endpoints, Context<'_>) {
        let context = Context {
            now,
            config: &self.config,
            table: &mut self.table,
            admission: &mut self.admission,
            dialler: &mut self.dialler,
            events: &mut self.events,
            stats: &mut self.stats,
        };
        (&mut self.endpoints, context)
    }

    /// The ledgers and the peers, and what they may touch.
    fn context(&mut self, now: Instant) -> (&mut Credit, &mut Peers, Context<'_>) {
        let context = Context {
            now,
            config: &self.config,
            table: &mut self.table,
            admission: &mut self.admission,
            dialler: &mut self.dialler,
            events: &mut self.events,
            stats: &mut self.stats,
        };
        (&mut self.credit, &mut self.peers, context)
    }

    /// Hands an input to the endpoint that takes it.
    fn handle(&mut self, now: Instant, input: Input) {
        self.stats.bytes_in += input.len() as u64;
        let (endpoints, mut context) = self.endpoints(now);
        if let Some(Input::Pipe(pipe, PipeChange::Accepted { .. })) = endpoints.handle(&mut context, input) {
            self.events.push_back(Event::ClosePipe(pipe)); // no transport here takes byte streams
        }
        while let Some(id) = self.table.take_urgent() {
            self.settle_link(now, id);
        }
    }

    /// The host's sockets or wall clock changed.
    pub fn handle_host(&mut self, now: Instant, change: HostChange) {
        let now = self.at(now);
        let (endpoints, mut context) = self.endpoints(now);
        endpoints.each().for_each(|endpoint| endpoint.handle_host(&mut context, change));
    }

    /// Datagrams arrived.
    pub fn handle_datagrams(&mut self, now: Instant, datagrams: Datagrams) {
        let now = self.at(now);
        self.handle(now, Input::Datagrams(datagrams));
    }

    /// A frame wire opened, closed, or could not be connected. Nothing is known of a wire before it opened.
    pub fn handle_wire(&mut self, now: Instant, wire: WireId, change: WireChange) {
        let now = self.at(now);
        self.handle(now, Input::Wire(wire, change));
        self.drive_dials(now);
    }

    /// A frame arrived.
    pub fn handle_frame(&mut self, now: Instant, wire: WireId, frame: Frame) {
        let now = self.at(now);
        let len = frame.wire_len();
        self.handle(now, Input::Frame(wire, frame, len));
    }

    /// A byte stream was connected, accepted, ended, or can be written again.
    pub fn handle_pipe(&mut self, now: Instant, pipe: PipeId, change: PipeChange) {
        let now = self.at(now);
        self.handle(now, Input::Pipe(pipe, change));
        self.drive_dials(now);
    }

    /// Reads a byte stream. `read` gets memory, writes what has arrived from its front, and returns the number of bytes. It is called
    /// once. While there is no room, or where the byte stream is not known, it is not called: the peer has to wait, and
    /// [`Event::ReadPipe`] follows. The memory is `lent`; while the peer sends long records it is the buffer in which they are decrypted,
    /// so that nothing is copied.
    pub fn read_pipe(
        &mut self,
        now: Instant,
        pipe: PipeId,
        lent: &mut [u8],
        read: &mut dyn FnMut(&mut [u8]) -> usize,
    ) {
        let now = self.at(now);
        let (endpoints, mut context) = self.endpoints(now);
        let len = endpoints.each().find_map(|endpoint| endpoint.read_pipe(&mut context, pipe, lent, read));
        self.stats.bytes_in += len.unwrap_or_default() as u64;
        while let Some(id) = self.table.take_urgent() {
            self.settle_link(now, id);
        }
    }

    /// A name was resolved ([`Event::Resolve`]); no addresses where it has none.
    pub fn handle_resolved(&mut self, now: Instant, query: u64, addresses: &[IpAddr]) {
        let now = self.at(now);
        self.dialler.resolved(now, query, addresses, &self.config.dial);
        self.drive_dials(now);
    }

    /// The next datagrams to send: appended to `out`, at most `max_segments` of equal length. Call until `None`.
    pub fn poll_datagrams(
        &mut self,
        now: Instant,
        max_segments: usize,
        out: &mut Vec<u8>,
    ) -> Option<Transmit> {
        let now = self.at(now);
        self.settle(now);
        let (endpoints, mut context) = self.endpoints(now);
        let transmit =
            endpoints.each().find_map(|endpoint| endpoint.poll_datagrams(&mut context, max_segments, out))?;
        self.stats.bytes_out += transmit.len as u64;
        let segment = transmit.segment.unwrap_or(transmit.len).max(1);
        self.stats.datagrams_out += transmit.len.div_ceil(segment) as u64;
        Some(transmit)
    }

    /// The next frame to send. Call until `None`; links take turns.
    pub fn poll_frame(&mut self, now: Instant) -> Option<(WireId, Frame)> {
        let now = self.at(now);
        self.settle(now);
        let (endpoints, mut context) = self.endpoints(now);
        let (wire, frame, len) = endpoints.each().find_map(|endpoint| endpoint.poll_frame(&mut context))?;
        self.stats.bytes_out += len as u64;
        Some((wire, frame))
    }

    /// The next bytes of a byte stream, appended to `out`: one chunk of some 64 KiB at most. Call until `None`; links take
    /// turns. The host writes them before it asks again, or says that the stream is [blocked](PipeChange::Blocked).
    pub fn poll_pipe(&mut self, now: Instant, out: &mut BytesMut) -> Option<PipeTransmit> {
        let now = self.at(now);
        self.settle(now);
        let (endpoints, mut context) = self.endpoints(now);
        let transmit = endpoints.each().find_map(|endpoint| endpoint.poll_pipe(&mut context, out))?;
        self.stats.bytes_out += transmit.len as u64;
        Some(transmit)
    }

    /// Sets up a link. [`Event::Up`] or [`Event::DialFailed`] follows.
    ///
    /// # Errors
    /// [`DialError`], where it cannot even begin.
    pub fn dial(&mut self, now: Instant, dial: Dial) -> Result<DialId, DialError> {
        let now = self.at(now);
        let replaces = dial.peer.is_some_and(|peer| self.peers.contains(&peer));
        if self.stats.links >= u64::from(self.config.admission.max_links) && !replaces {
            return Err(DialError::Full);
        }
        let pinned = dial.peer.filter(|_| dial.pinned);
        let id = self.dialler.dial(now, self.peers.local(), dial, &self.config.dial)?;
        if let Some(peer) = pinned {
            self.admission.pin(peer);
        }
        self.drive_dials(now);
        Ok(id)
    }

    /// A peer or network is banned until then, instead of what was said of it before; `None`: it is not. It gets no link from now on; one
    /// that it has stays. Who says so bounds how many there are.
    pub fn set_ban(&mut self, ban: Ban, until: Option<Instant>) {
        self.admission.set_ban(ban, until);
    }

    /// Gives a dial up. No event follows.
    pub fn cancel(&mut self, dial: DialId) {
        let attempts = self.dialler.cancel(dial);
        self.give_up(attempts);
        self.stats.dials = self.dialler.len() as u64;
    }

    /// A link that is up, or ends and can still be read. Marks it ready for output.
    pub fn link(&mut self, link: LinkId) -> Option<&mut Link> {
        self.table.for_use(link)
    }

    /// The next event. Call until `None`, in the end with [`Drain::All`]: links that were touched may have more to tell.
    pub fn poll_event(&mut self, drain: Drain) -> Option<Event> {
        let mut any = has_event(self);
        while !any && drain == Drain::All {
            self.settle(self.now);
            any = has_event(self);
            if !any && self.table.is_settled() {
                if self.events.capacity() > EVENTS_KEPT {
                    self.events = VecDeque::new(); // a burst leaves no buffer behind
                }
                break;
            }
        }
        if any { self.events.pop_front() } else { None }
    }

    /// Advances what is due. Early and repeated calls do nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        let now = self.at(now);
        if self.timer().is_none_or(|(due, _)| due > now) {
            return; // a host may come with every turn
        }
        self.dialler.handle_timeout(now, &self.config.dial);
        self.drive_dials(now);
        let (endpoints, mut context) = self.endpoints(now);
        endpoints.each().for_each(|endpoint| endpoint.handle_timeout(&mut context));
        while let Some(timer) = self.table.timers.pop_due(now) {
            let (credit, peers, mut context) = self.context(now);
            match timer {
                Timer::Link(link) => self.link_timeout(now, link),
                Timer::Credit => credit.reclaim(&mut context),
                Timer::Duplicate(peer) => {
                    let cut = peers.overdue(&mut context, &peer);
                    self.settle_cut(now, cut);
                }
            }
        }
        self.settle(now);
    }

    fn link_timeout(&mut self, now: Instant, id: LinkId) {
        let Some(link) = self.table.get_mut(id) else { return };
        link.carrier.handle_timeout(now);
        link.telling(now, &mut self.events).expire();
        if matches!(link.life, Life::HalfOpen(deadline) if deadline <= now) {
            link.abort(now, Goodbye::Idle, DownReason::Lost);
        }
        self.table.touch(id);
    }

    /// The next time [`handle_timeout`](Self::handle_timeout) has work, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        // What was touched since the last drain may have moved a deadline; it is settled at once.
        let touched = (!self.table.is_settled()).then_some((self.now, "output"));
        [self.timer(), touched].into_iter().flatten().min_by_key(|(due, _)| *due)
    }

    /// Of the deadlines alone. One that was touched may have moved.
    fn timer(&self) -> Option<(Instant, &'static str)> {
        let timer = self.table.timers.next().map(|(due, timer)| match timer {
            Timer::Link(_) => (due, "link"),
            Timer::Credit => (due, "credit"),
            Timer::Duplicate(_) => (due, "duplicate"),
        });
        let dial = self.dialler.poll_timeout().map(|due| (due, "dial"));
        let endpoint = self.endpoints.poll_timeout().map(|due| (due, "endpoint"));
        [timer, dial, endpoint].into_iter().flatten().min_by_key(|(due, _)| *due)
    }

    /// Brings every touched link in order, and deals what credit came back.
    fn settle(&mut self, now: Instant) {
        if self.table.is_settled() {
            return;
        }
        loop {
            while let Some(id) = self.table.take_touched() {
                self.settle_link(now, id);
            }
            let Some(id) = self.credit.next_waiting() else { break };
            let (credit, _, mut context) = self.context(now);
            credit.lend(&mut context, id, true);
            self.mark_output(id);
        }
        self.credit.count(&mut self.stats);
    }

    /// After a link was touched: its reports, its end, its peer's other link, its credit, its output.
    fn settle_link(&mut self, now: Instant, id: LinkId) {
        self.take_reports(now, id);
        let Some(link) = self.table.get(id) else { return };
        let ended = matches!(link.life, Life::Ending { deadline, .. } if deadline <= now);
        if link.carrier.is_over() || ended {
            return self.remove(now, id);
        }
        let info = link.info;
        let (credit, peers, mut context) = self.context(now);
        let cut = info.and_then(|info| peers.settle(&mut context, &info.peer));
        credit.lend(&mut context, id, false);
        self.mark_output(id);
        self.settle_cut(now, cut);
    }

    /// A link was cut so that its place is free at once.
    fn settle_cut(&mut self, now: Instant, cut: Option<LinkId>) {
        if let Some(cut) = cut {
            self.settle_link(now, cut);
        }
    }

    /// A link may have something to send.
    fn mark_output(&mut self, id: LinkId) {
        let Some(link) = self.table.get(id) else { return };
        if let Some(endpoint) = self.endpoints.of(link.endpoint) {
            endpoint.mark(id);
        }
    }

    /// Whether a link is the one that its peer uses for sure: something came on one of its streams since it was up here, and
    /// the peer has no other link with this node. On any other link nothing can be expected of the peer: it may have ended that link,
    /// in favour of the other one or with its process, and this node does not know yet.
    pub fn is_in_use_by_peer(&self, link: LinkId) -> bool {
        self.peers.uses(&self.table, link)
    }

    /// Whether a link is a connection of libp2p's: streams on it agree on their protocols by name.
    pub fn is_libp2p(&self, link: LinkId) -> bool {
        self.table.get(link).is_some_and(|link| link.carrier.is_libp2p())
    }

    /// Counters.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }
}

/// Whether the first event is for those above.
fn has_event(links: &mut Links) -> bool {
    if links.names.is_empty() { !links.events.is_empty() } else { pass_named(links) }
}

/// The same where streams may go by name. What is told of these is taken here; it may make others.
fn pass_named(links: &mut Links) -> bool {
    while let Some(event) = links.events.front() {
        let (Event::Opened { key, .. }
        | Event::Readable(key)
        | Event::Writable(key)
        | Event::Stopped(key, _)) = *event
        else {
            return true;
        };
        let Some(link) = links.table.get_mut(key.link).filter(|link| link.named.may_take(event)) else {
            return true;
        };
        let Some(event) = links.events.pop_front() else { return false };
        match link.telling(links.now, &mut links.events).pass(event) {
            Ok(Some(event)) => {
                links.events.push_front(event);
                return true;
            }
            Ok(None) => links.table.touch(key.link),
            Err(fault) => links.context(links.now).2.fault(key.link, fault),
        }
    }
    false
}

/// Puts a transport of a test in the place of TCP.
#[cfg(test)]
pub(crate) fn replace_tcp<E: crate::endpoint::Endpoint + 'static>(
    links: &mut Links,
    make: impl FnOnce(crate::carrier::EndpointId) -> E,
) {
    links.endpoints.replace(weir_base::multiaddr::Transport::Tcp, make);
}
