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

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use crate::channel::ChannelId;
use litemap::LiteMap;
use weir_base::identity::PeerId;
use weir_base::stream::{Ask, Class, Goodbye, Incoming, LinkChange, LinkInfo, OpenError, Origin, StreamUser};
use weir_base::{Instant, LinkId, Numbered, ProtocolId, Rng, Rope, StreamKey, UnixTime};

use self::booking::Booking;
pub use self::machines::ChannelStats;
use self::machines::{CONTROL, Machines, Shaped};
pub use self::types::{Command, Event};

use crate::call::Call;
use crate::config::{Config, ConfigError, Shape};
use crate::control::{Control, Notice, PeerHello};
use crate::framing::code;
use crate::keys::NumberedKey;
use crate::machine::{Machine, MachineSetup, Opened, Refused, TAG_END, Ticket};
use crate::pool;
use crate::pool::Pool;
use crate::tip::Tip;

/// Streams, control included, that a side may open before it has the peer's hello.
const EARLY_STREAMS: usize = 32;

/// The pull protocol of one node. See [`StreamUser`] for when to call what; after any call drain
/// [`poll_ask`](StreamUser::poll_ask) and [`poll_event`](Self::poll_event).
#[derive(Debug)]
pub struct Pull {
    machines: Machines,
    calls: Booking,
    links: LiteMap<LinkId, Box<LinkState>>,
    routes: Numbered<StreamKey, Route>,
    asks: VecDeque<Ask>,     // own asks, and opens that waited for hello
    events: VecDeque<Event>, // own events: a few per input
    now: Instant,            // of the last call, for what is answered while asks are polled
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

impl Pull {
    /// The machine of a node. `rng` must be unpredictable to peers.
    pub fn new(config: Config, mut rng: Rng) -> Result<Self, ConfigError> {
        config.validate()?;
        let mut keys = rng.child("control");
        let mine = config.hello(NumberedKey::first(&mut keys));
        let control = Control::new(config.control.clone(), mine, keys);
        let keys = control.keys();
        let mut machines = Machines::default();
        let mut calls = Booking::new(config.call_memory);
        machines.add(ChannelId::CONTROL, |_| Shaped::Control(Box::new(control)));
        for channel in config.channels {
            let (id, rng) = (channel.id, rng.child(&channel.name));
            let setup = |tickets| MachineSetup { channel: id, tickets, keys, rng };
            match channel.shape {
                Shape::Tip(config) => {
                    machines.add(id, |tickets| Shaped::Tip(Box::new(Tip::new(config, setup(tickets)))));
                }
                Shape::Pool(config) => {
                    machines.add(id, |tickets| Shaped::Pool(Box::new(Pool::new(config, setup(tickets)))));
                }
                Shape::Call(method) => {
                    let largest = method.clone();
                    let build = |tickets| Call::new(method, config.call_memory, setup(tickets));
                    let index = machines.add(id, |tickets| Shaped::Call(Box::new(build(tickets))));
                    calls.add_channel(index, &largest);
                }
                Shape::Raw => {}
            }
        }
        Ok(Self {
            machines,
            calls,
            links: LiteMap::new(),
            routes: Numbered::default(),
            asks: VecDeque::new(),
            events: VecDeque::new(),
            now: Instant::ZERO,
        })
    }

    /// Carries out what the user wants. The ticket names what was begun; commands that begin nothing return one that is
    /// never named again.
    pub fn command(&mut self, now: Instant, command: Command) -> Result<Ticket, Refused> {
        let channel = match &command {
            Command::Pool(channel, _) | Command::Tip(channel, _) | Command::Call(channel, _) => *channel,
            Command::Control(_) => ChannelId::CONTROL,
        };
        let index = self.machines.index(channel).ok_or(Refused::UnknownChannel)?;
        let child = self.machines.get_mut(index).ok_or(Refused::UnknownChannel)?;
        let done = match (command, &mut child.machine) {
            (Command::Pool(_, command), Shaped::Pool(pool)) => pool.command(now, command),
            (Command::Tip(_, command), Shaped::Tip(tip)) => tip.command(now, command),
            (Command::Call(_, command), Shaped::Call(call)) => call.command(now, command),
            (Command::Control(command), Shaped::Control(control)) => control.command(now, command),
            _ => Err(Refused::WrongShape),
        };
        self.machines.touched(index);
        self.notices(now);
        done
    }

    /// The standing of a link's peer gives it so many quarters of what is dealt among its equals: 1 to 4; 4 from the start.
    pub fn set_share(&mut self, link: LinkId, quarters: u8) {
        self.calls.set_share(link, quarters);
        self.machines.each(|machine| machine.link_share(link, quarters));
    }

    /// The wall clock reads `wall` at `now`. Needed once before tips with a slot time are relayed, and after each step.
    pub fn handle_wall(&mut self, now: Instant, wall: UnixTime) {
        self.machines.each(|machine| machine.wall(now, wall));
    }

    /// The next thing to tell; `None` when there is none.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front().or_else(|| self.machines.poll_event())
    }

    /// The counters of each channel, control (0) first.
    pub fn stats(&self) -> impl Iterator<Item = (ChannelId, ChannelStats)> + '_ {
        self.machines.stats()
    }

    /// The counters of a pool; `None` where the channel is none.
    pub fn pool_stats(&self, channel: ChannelId) -> Option<pool::Stats> {
        self.machines.pool_stats(channel)
    }

    /// Peers whose permit on this pool channel is used up: what is new waits until they grant more. A peer stands here once for each
    /// such link; nobody where the channel is no pool.
    pub fn permits_used_up(&self, channel: ChannelId) -> impl Iterator<Item = PeerId> {
        self.machines.used_up(channel)
    }

    /// Bytes that requests and answers hold on all call channels, and their bound.
    pub fn call_memory(&self) -> (u64, u64) {
        self.calls.used()
    }
}

mod booking;
mod early;
mod links;
mod machines;
mod marks;
mod types;
mod user;
