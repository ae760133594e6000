//! All links of a node: the host's and the stack's side. How links live is in `life`, how credit is dealt in `settle`, how
//! dials are driven in `dialling`.

#[cfg(not(target_family = "wasm"))]
mod datagrams;
mod dialling;
mod duplicates;
mod life;
mod settle;

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use weir_base::identity::{Keypair, PeerId};
use weir_base::{Deadlines, Instant, LinkId, Ready};

use crate::admission::Admission;
use crate::budget::Budget;
use crate::dial::Dialler;
use crate::link::{Life, Transport};
#[cfg(not(target_family = "wasm"))]
use crate::quic::Quic;
use duplicates::Duplicates;

use crate::{
    Config, ConfigError, Datagrams, Dial, DialError, DialId, Event, Frame, HostChange, Link, Start, Stats,
    Transmit, WireChange, WireId,
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
#[allow(clippy::struct_field_names)] // the links are what it is named for
pub struct Links {
    config: Arc<Config>,
    local_peer: PeerId,
    links: BTreeMap<LinkId, Link>,
    peers: BTreeMap<PeerId, LinkId>, // the link of each peer that is up; of a pair the one that stays
    duplicates: Duplicates,
    wires: Wires,
    #[cfg(not(target_family = "wasm"))]
    quic: Quic,
    dialler: Dialler,
    admission: Admission,
    credit: Credit,
    work: Work,
    stats: Stats,
}

/// The two ledgers.
struct Credit {
    receive: Budget,
    send: Budget,
}

/// Frame wires.
#[derive(Default)]
struct Wires {
    links: BTreeMap<WireId, LinkId>,
    ready: Ready<LinkId>,
}

/// What is to be done, and when.
struct Work {
    now: Instant, // of the last call that said
    last_link: u64,
    events: VecDeque<Event>, // <= a few per input, until the host drains
    touched: Ready<LinkId>,
    timers: Deadlines<Timer>,
}

/// What a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// A link's own: handshake, loss detection, idle, end.
    Link(LinkId),
    /// Links that wait for credit.
    Credit,
    /// A peer has two links.
    Duplicate(PeerId),
}

impl Work {
    fn next_link(&mut self) -> LinkId {
        self.last_link += 1;
        LinkId(self.last_link)
    }

    /// Time never goes back.
    fn at(&mut self, now: Instant) -> Instant {
        self.now = self.now.max(now);
        self.now
    }
}

impl Links {
    /// No links yet. `seed` decides every random choice; `start` says what the host's origin of time is on other clocks.
    ///
    /// # Errors
    /// [`ConfigError`], where limits do not fit together.
    #[allow(clippy::needless_pass_by_value)] // shared with whoever signs for a transport later
    pub fn new(
        mut config: Config,
        keypair: Arc<Keypair>,
        seed: [u8; 32],
        start: Start,
    ) -> Result<Self, ConfigError> {
        config.check()?;
        #[cfg(target_family = "wasm")]
        let _ = (seed, start); // without sockets nothing is drawn, and no certificate is dated
        if !config.quic.early {
            config.streams.early.clear();
        }
        let config = Arc::new(config);
        let credit = Credit {
            receive: Budget::new(config.budget.receive_total, config.reserved_receive()),
            send: Budget::new(config.budget.send_total, config.reserved_send()),
        };
        let stats = Stats { receive: credit.receive.stats(), send: credit.send.stats(), ..Stats::default() };
        Ok(Self {
            local_peer: keypair.peer_id(),
            #[cfg(not(target_family = "wasm"))]
            quic: Quic::new(&config, &keypair, seed, start)?,
            config,
            links: BTreeMap::new(),
            peers: BTreeMap::new(),
            duplicates: Duplicates::default(),
            wires: Wires::default(),
            dialler: Dialler::default(),
            admission: Admission::default(),
            credit,
            work: Work {
                now: Instant::ZERO,
                last_link: 0,
                events: VecDeque::new(),
                touched: Ready::default(),
                timers: Deadlines::default(),
            },
            stats,
        })
    }

    /// The host's sockets or wall clock changed.
    pub fn handle_host(&mut self, now: Instant, change: HostChange) {
        let now = self.work.at(now);
        self.host_changed(now, change);
    }

    /// Datagrams arrived.
    pub fn handle_datagrams(&mut self, now: Instant, datagrams: Datagrams) {
        let now = self.work.at(now);
        self.stats.bytes_in += datagrams.data.len() as u64;
        self.datagrams_arrived(now, datagrams);
    }

    /// A frame wire opened, closed, or could not be connected. Nothing is known of a wire before it opened.
    pub fn handle_wire(&mut self, now: Instant, wire: WireId, change: WireChange) {
        let now = self.work.at(now);
        match change {
            WireChange::Opened { peer, dialled, group } => self.wire_opened(now, wire, peer, dialled, group),
            WireChange::Closed => self.wire_closed(now, wire),
            WireChange::Refused(dial) => {
                self.dialler.wire_failed(now, dial, &self.config.dial);
                self.drive_dials(now);
            }
        }
    }

    /// A frame arrived.
    pub fn handle_frame(&mut self, now: Instant, wire: WireId, frame: Frame) {
        let now = self.work.at(now);
        let Some(id) = self.wires.links.get(&wire).copied() else { return };
        let Some(link) = self.links.get_mut(&id) else { return };
        #[cfg(target_family = "wasm")]
        let Transport::Frames(carrier) = &mut link.transport;
        #[cfg(not(target_family = "wasm"))]
        let Transport::Frames(carrier) = &mut link.transport else { return };
        self.stats.bytes_in += frame.wire_len() as u64;
        let outcome = carrier.handle(now, id, &mut link.window, frame, &mut self.work.events);
        if let Some(why) = carrier.closed_by_peer() {
            link.end(now, crate::DownReason::ByPeer(why));
        }
        if let Err(fault) = outcome {
            link.fail(now, fault);
            self.stats.faults += 1;
            self.work.events.push_back(Event::Blame { link: id, fault });
        }
        self.work.touched.mark(id);
    }

    /// A name was resolved ([`Event::Resolve`]); no addresses where it has none.
    pub fn handle_resolved(&mut self, now: Instant, query: u64, addresses: &[IpAddr]) {
        let now = self.work.at(now);
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
        let now = self.work.at(now);
        self.settle(now);
        let transmit = self.datagrams_out(now, max_segments, out)?;
        self.stats.bytes_out += transmit.len as u64;
        let segment = transmit.segment.unwrap_or(transmit.len).max(1);
        self.stats.datagrams_out += transmit.len.div_ceil(segment) as u64;
        Some(transmit)
    }

    /// The next frame to send. Call until `None`; links take turns.
    pub fn poll_frame(&mut self, now: Instant) -> Option<(WireId, Frame)> {
        let now = self.work.at(now);
        self.settle(now);
        let (wire, frame) = self.frame_out(now)?;
        self.stats.bytes_out += frame.wire_len() as u64;
        Some((wire, frame))
    }

    /// Sets up a link. [`Event::Up`] or [`Event::DialFailed`] follows.
    ///
    /// # Errors
    /// [`DialError`], where it cannot even begin.
    pub fn dial(&mut self, now: Instant, dial: Dial) -> Result<DialId, DialError> {
        let now = self.work.at(now);
        let replaces = dial.peer.is_some_and(|peer| self.peers.contains_key(&peer));
        if self.stats.links >= u64::from(self.config.admission.max_links) && !replaces {
            return Err(DialError::Full);
        }
        let pinned = dial.peer.filter(|_| dial.pinned);
        let id = self.dialler.dial(now, self.local_peer, dial, &self.config.dial)?;
        if let Some(peer) = pinned {
            self.admission.pin(peer);
        }
        self.drive_dials(now);
        Ok(id)
    }

    /// Gives a dial up. No event follows.
    pub fn cancel(&mut self, dial: DialId) {
        let attempts = self.dialler.cancel(dial);
        self.give_up(attempts);
        self.stats.dials = self.dialler.len() as u64;
    }

    /// A link that is up, or ends and can still be read. Marks it ready for output.
    pub fn link(&mut self, link: LinkId) -> Option<&mut Link> {
        let found = self.links.get_mut(&link).filter(|found| found.was_up() || found.is_early())?;
        self.work.touched.mark(link);
        Some(found)
    }

    /// The next event. Call until `None`, in the end with [`Drain::All`]: links that were touched may have more to tell.
    pub fn poll_event(&mut self, drain: Drain) -> Option<Event> {
        let event = self.work.events.pop_front();
        if event.is_some() || drain == Drain::Queued {
            return event;
        }
        self.settle(self.work.now);
        let event = self.work.events.pop_front();
        if event.is_none() && self.work.events.capacity() > EVENTS_KEPT {
            self.work.events = VecDeque::new(); // a burst leaves no buffer behind
        }
        event
    }

    /// Advances what is due. Early and repeated calls do nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        let now = self.work.at(now);
        if self.timer().is_none_or(|(due, _)| due > now) {
            return; // a host may come with every turn
        }
        self.dialler.handle_timeout(now, &self.config.dial);
        self.drive_dials(now);
        while let Some(timer) = self.work.timers.pop_due(now) {
            match timer {
                Timer::Link(link) => self.link_timeout(now, link),
                Timer::Credit => self.reclaim(now),
                Timer::Duplicate(peer) => self.duplicate_overdue(now, &peer),
            }
        }
        self.settle(now);
    }

    /// The next time [`handle_timeout`](Self::handle_timeout) has work, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        // What was touched since the last drain may have moved a deadline; it is settled at once.
        let touched = (!self.work.touched.is_empty()).then_some((self.work.now, "output"));
        [self.timer(), touched].into_iter().flatten().min_by_key(|(due, _)| *due)
    }

    /// Of the deadlines alone. One that was touched may have moved.
    fn timer(&self) -> Option<(Instant, &'static str)> {
        let timer = self.work.timers.next().map(|(due, timer)| match timer {
            Timer::Link(_) => (due, "link"),
            Timer::Credit => (due, "credit"),
            Timer::Duplicate(_) => (due, "duplicate"),
        });
        let dial = self.dialler.poll_timeout().map(|due| (due, "dial"));
        [timer, dial].into_iter().flatten().min_by_key(|(due, _)| *due)
    }

    /// Counters.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// When a link's life ends by itself.
    fn life_deadline(life: Life) -> Option<Instant> {
        match life {
            Life::HalfOpen(deadline) | Life::Ending { deadline, .. } => Some(deadline),
            Life::Up(_) => None,
        }
    }
}
