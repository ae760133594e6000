//! [`Pull`]: routes links, streams and time to the machine of each channel, and their wishes back.
//!
//! Message flow of one link:
//! - early (0-RTT) → at the dialler every machine hears `link_up` and opens what may be replayed; at the other side control
//!   does, and calls that are replay-safe, which are served as soon as hello has come; all else waits for up;
//! - up → every machine hears `link_up`; at most 32 streams, control included, may be opened before hello;
//! - the peer's channel streams before its hello stay unread: at most 32, as long as control waits (5 s), no fault;
//! - both hellos → machines whose channel matches hear `link_ready` and get the streams that waited; for the others the
//!   streams are broken off and `link_down` is said;
//! - goodbye, said or heard → no new streams;
//! - down → `link_down`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::channel::ChannelId;
use weir_base::identity::PeerId;
use weir_base::stream::{Ask, Class, Goodbye, Incoming, LinkChange, LinkInfo, OpenError, Origin, StreamUser};
use weir_base::{Deadlines, Instant, LinkId, Numbered, ProtocolId, Ready, Rng, Rope, StreamKey, UnixTime};

use crate::call::Call;
use crate::call::memory::Memory;
use crate::config::{Config, ConfigError, Shape};
use crate::control::{self, Control, Notice, PeerHello, Service};
use crate::framing::code;
use crate::keys::NumberedKey;
use crate::machine::{Counters, Machine, Opened, Refused, Seat, TAG_END, Ticket, Tickets};
use crate::pool::Pool;
use crate::tip::Tip;
use crate::{call, pool, tip};

/// Streams, control included, that a side may open before it has the peer's hello.
const EARLY_STREAMS: usize = 32;

/// What the user wants.
#[derive(Clone, Debug)]
pub enum Command {
    /// Of a pool.
    Pool(ChannelId, pool::Command),
    /// Of a tip.
    Tip(ChannelId, tip::Command),
    /// Of a call channel.
    Call(ChannelId, call::Command),
    /// Of control.
    Control(control::Command),
}

/// What the user should know.
#[derive(Clone, Debug)]
pub enum Event {
    /// Both hellos have come; matched channels work.
    Ready {
        /// The link.
        link: LinkId,
        /// Who is there.
        peer: PeerId,
        /// What it said.
        hello: Arc<PeerHello>,
    },
    /// No hello came in time, or the peer refused control: this protocol leaves the link alone. Whether it stays, because the
    /// peer speaks something else, is for others to say.
    NoHello {
        /// The link.
        link: LinkId,
    },
    /// A link that was ready, or whose peer said goodbye before, is down.
    Gone {
        /// The link.
        link: LinkId,
        /// Who was there.
        peer: PeerId,
        /// Why, where the peer said it.
        goodbye: Option<Goodbye>,
    },
    /// A round trip of control was measured.
    Rtt {
        /// The link.
        link: LinkId,
        /// Its round trip, writing and answering included.
        rtt: Duration,
    },
    /// The peer's services changed.
    Services {
        /// The link.
        link: LinkId,
        /// All of them.
        services: Vec<Service>,
    },
    /// Of a pool.
    Pool(ChannelId, pool::Event),
    /// Of a tip.
    Tip(ChannelId, tip::Event),
    /// Of a call channel.
    Call(ChannelId, call::Event),
}

/// Plain counters of one channel (0: control), since the start. They only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChannelStats {
    /// Bytes taken off streams.
    pub bytes_in: u64,
    /// Bytes given to streams.
    pub bytes_out: u64,
    /// Whole messages read.
    pub messages_in: u64,
    /// Messages written.
    pub messages_out: u64,
    /// Requests and answers whose time was over before anything of them was written: dropped, never sent.
    pub expired: u64,
    /// Streams opened, by either side.
    pub streams: u64,
    /// Times a peer was blamed.
    pub faults: u64,
}

/// The pull protocol of one node. See [`StreamUser`] for when to call what; after any call drain
/// [`poll_ask`](StreamUser::poll_ask) and [`poll_event`](Self::poll_event).
#[derive(Debug)]
pub struct Pull {
    children: Vec<Child>, // the first is control, then the channels in the order of the configuration; never empty
    by_channel: BTreeMap<ChannelId, u16>,
    links: BTreeMap<LinkId, LinkState>,
    routes: Numbered<StreamKey, Route>,
    asks: VecDeque<Ask>,     // own asks, and opens that waited for hello
    events: VecDeque<Event>, // own events: a few per input
    asking: Ready<u16>,
    telling: Ready<u16>,
    deadlines: Deadlines<u16>,
    memory: Memory,           // of requests and answers on all call channels
    claiming: BTreeSet<u16>,  // call channels of which something changed
    held_back: BTreeSet<u16>, // call channels whose next request found no memory
    retry: Option<Instant>,   // when those are looked at again at the latest
    now: Instant,             // of the last call, for what is answered while asks are polled
}

#[derive(Debug)]
struct Child {
    channel: ChannelId,
    machine: Shaped,
    stats: ChannelStats,
    due: Option<(Instant, &'static str)>, // as `deadlines` has it, and why
}

#[derive(Debug)]
enum Shaped {
    Control(Box<Control>),
    Tip(Box<Tip>),
    Pool(Box<Pool>),
    Call(Box<Call>),
}

impl Child {
    fn machine(&mut self) -> &mut dyn Machine {
        match &mut self.machine {
            Shaped::Control(machine) => machine.as_mut(),
            Shaped::Tip(machine) => machine.as_mut(),
            Shaped::Pool(machine) => machine.as_mut(),
            Shaped::Call(machine) => machine.as_mut(),
        }
    }

    /// Whether it takes part, at the side that did not dial, before the handshake is complete.
    fn joins_early(&self) -> bool {
        match &self.machine {
            Shaped::Control(_) => true,
            Shaped::Call(call) => call.config().replay_safe,
            Shaped::Tip(_) | Shaped::Pool(_) => false,
        }
    }

    fn seen(&self) -> &dyn Machine {
        match &self.machine {
            Shaped::Control(machine) => machine.as_ref(),
            Shaped::Tip(machine) => machine.as_ref(),
            Shaped::Pool(machine) => machine.as_ref(),
            Shaped::Call(machine) => machine.as_ref(),
        }
    }
}

/// Where a stream belongs, and what has ended of it.
#[derive(Clone, Copy, Debug)]
struct Route {
    child: u16,
    waiting: Option<u8>, // for hello, on this lane; the machine does not know of it yet
    read_ended: bool,
    write_ended: bool,
}

#[derive(Debug)]
struct LinkState {
    info: LinkInfo,
    phase: Phase,
    goodbye: Option<Goodbye>,
    proof: Proof,
}

/// Whether the link's handshake is complete.
#[derive(Debug)]
enum Proof {
    Confirmed,
    /// It runs. What has come of the peer's hello is kept; some calls are served already.
    Early {
        hello: Option<Arc<PeerHello>>,
        serving: BTreeSet<u16>,
    },
}

#[derive(Debug)]
enum Phase {
    /// Hello has not come. `opened` by this side and `waiting` of the peer are at most [`EARLY_STREAMS`].
    Early { opened: usize, waiting: usize, held: VecDeque<Ask> },
    /// These machines share their channel with the peer.
    Ready { matched: BTreeSet<u16> },
    /// Goodbye was said or heard.
    Closing { was_ready: bool, matched: BTreeSet<u16> },
}

/// The number of control among the children.
const CONTROL: u16 = 0;

impl Pull {
    /// The machine of a node. `rng` must be unpredictable to peers.
    pub fn new(config: Config, mut rng: Rng) -> Result<Self, ConfigError> {
        config.validate()?;
        let mut keys = rng.child("control");
        let mine = config.hello(NumberedKey::first(&mut keys));
        let control = Control::new(config.control.clone(), mine, keys);
        let keys = control.keys();
        let mut pull = Self {
            children: Vec::new(),
            by_channel: BTreeMap::new(),
            links: BTreeMap::new(),
            routes: Numbered::default(),
            asks: VecDeque::new(),
            events: VecDeque::new(),
            asking: Ready::default(),
            telling: Ready::default(),
            deadlines: Deadlines::default(),
            memory: Memory::new(config.call_memory),
            claiming: BTreeSet::new(),
            held_back: BTreeSet::new(),
            retry: None,
            now: Instant::ZERO,
        };
        pull.add(ChannelId::CONTROL, |_| Shaped::Control(Box::new(control)));
        let memory = config.call_memory;
        for channel in config.channels {
            let (id, rng) = (channel.id, rng.child(&channel.name));
            let seat = |tickets| Seat { channel: id, tickets, keys, rng };
            match channel.shape {
                Shape::Tip(config) => pull.add(id, |t| Shaped::Tip(Box::new(Tip::new(config, seat(t))))),
                Shape::Pool(config) => pull.add(id, |t| Shaped::Pool(Box::new(Pool::new(config, seat(t))))),
                Shape::Call(config) => {
                    pull.add(id, |t| Shaped::Call(Box::new(Call::new(config, memory, seat(t)))));
                }
                Shape::Raw => {}
            }
        }
        Ok(pull)
    }

    fn add(&mut self, channel: ChannelId, build: impl FnOnce(Tickets) -> Shaped) {
        let index = u16::try_from(self.children.len()).unwrap_or(u16::MAX); // at most 65: checked by the configuration
        let machine = build(Tickets::new(index));
        if let Shaped::Call(call) = &machine {
            let (request, answer) = call.config().largest();
            self.memory.guarantee(index, request, answer);
        }
        self.children.push(Child { channel, machine, stats: ChannelStats::default(), due: None });
        self.by_channel.insert(channel, index);
        self.touched(index);
    }

    /// Carries out what the user wants. The ticket names what was begun; commands that begin nothing return one that is
    /// never named again.
    pub fn command(&mut self, now: Instant, command: Command) -> Result<Ticket, Refused> {
        let channel = match &command {
            Command::Pool(channel, _) | Command::Tip(channel, _) | Command::Call(channel, _) => *channel,
            Command::Control(_) => ChannelId::CONTROL,
        };
        let index = *self.by_channel.get(&channel).ok_or(Refused::UnknownChannel)?;
        let child = self.children.get_mut(usize::from(index)).ok_or(Refused::UnknownChannel)?;
        let done = match (command, &mut child.machine) {
            (Command::Pool(_, command), Shaped::Pool(pool)) => pool.command(now, command),
            (Command::Tip(_, command), Shaped::Tip(tip)) => tip.command(now, command),
            (Command::Call(_, command), Shaped::Call(call)) => call.command(now, command),
            (Command::Control(command), Shaped::Control(control)) => control.command(now, command),
            _ => Err(Refused::WrongShape),
        };
        self.touched(index);
        self.notices(now);
        done
    }

    /// The standing of a link's peer gives it so many quarters of what is dealt among its equals: 1 to 4; 4 from the start.
    pub fn set_share(&mut self, link: LinkId, quarters: u8) {
        self.memory.set_share(link, quarters);
        self.each(|machine| machine.link_share(link, quarters));
    }

    /// The wall clock reads `wall` at `now`. Needed once before tips with a slot time are relayed, and after each step.
    pub fn handle_wall(&mut self, now: Instant, wall: UnixTime) {
        self.each(|machine| machine.wall(now, wall));
    }

    /// The next thing to tell; `None` when there is none.
    pub fn poll_event(&mut self) -> Option<Event> {
        if let Some(event) = self.events.pop_front() {
            return Some(event);
        }
        while let Some(index) = self.telling.pop() {
            let Some(child) = self.children.get_mut(usize::from(index)) else { continue };
            let channel = child.channel;
            let event = match &mut child.machine {
                Shaped::Control(_) => None,
                Shaped::Tip(tip) => tip.poll_event().map(|event| Event::Tip(channel, event)),
                Shaped::Pool(pool) => pool.poll_event().map(|event| Event::Pool(channel, event)),
                Shaped::Call(call) => call.poll_event().map(|event| Event::Call(channel, event)),
            };
            if event.is_some() {
                self.telling.mark(index);
                return event;
            }
        }
        None
    }

    /// The counters of each channel, control (0) first.
    pub fn stats(&self) -> impl Iterator<Item = (ChannelId, ChannelStats)> + '_ {
        self.children.iter().map(|child| {
            let Counters { messages_in, messages_out, expired } = child.seen().counters();
            (child.channel, ChannelStats { messages_in, messages_out, expired, ..child.stats })
        })
    }

    /// The counters of a pool; `None` where the channel is none.
    pub fn pool_stats(&self, channel: ChannelId) -> Option<pool::Stats> {
        match &self.child(*self.by_channel.get(&channel)?)?.machine {
            Shaped::Pool(pool) => Some(pool.stats()),
            _ => None,
        }
    }

    /// The machine of a stream that speaks `protocol`, and its lane.
    fn lane(&self, protocol: ProtocolId) -> Option<(u16, u8)> {
        let (channel, lane) = ChannelId::of(protocol)?;
        Some((*self.by_channel.get(&channel)?, lane))
    }

    /// Whether what this side opens for `protocol` may be sent before the peer is confirmed (0-RTT): control, permits, and
    /// calls that are declared replay-safe.
    fn may_go_early(&self, protocol: ProtocolId) -> bool {
        let Some((index, lane)) = self.lane(protocol) else { return false };
        let Some(child) = self.child(index) else { return false };
        match &child.machine {
            Shaped::Pool(_) => lane == 0,
            Shaped::Tip(_) => true,
            Shaped::Control(_) | Shaped::Call(_) => child.joins_early(),
        }
    }

    /// Bytes that requests and answers hold on all call channels, and their bound.
    pub fn call_memory(&self) -> (u64, u64) {
        (self.memory.used(), self.memory.total())
    }

    fn child(&self, index: u16) -> Option<&Child> {
        self.children.get(usize::from(index))
    }

    /// Calls one machine and notes what may have changed.
    fn with<R>(&mut self, index: u16, call: impl FnOnce(&mut dyn Machine) -> R) -> Option<R> {
        let done = call(self.children.get_mut(usize::from(index))?.machine());
        self.touched(index);
        Some(done)
    }

    fn each(&mut self, mut call: impl FnMut(&mut dyn Machine)) {
        for index in (0..).take(self.children.len()) {
            self.with(index, &mut call);
        }
    }

    fn touched(&mut self, index: u16) {
        if let Some(child) = self.children.get_mut(usize::from(index)) {
            let timeout = child.seen().poll_timeout();
            let (due, before) = (timeout.map(|(due, _)| due), child.due.map(|(due, _)| due));
            child.due = timeout;
            if due != before {
                self.deadlines.set(index, due);
            }
            if let Shaped::Call(_) = child.machine {
                self.claiming.insert(index);
            }
        }
        self.asking.mark(index);
        self.telling.mark(index);
    }
}

mod early;
mod links;
mod serving;
mod user;
