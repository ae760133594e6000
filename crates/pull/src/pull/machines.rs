//! The machines of all channels: which of them has something to ask or tell, and which is due when.

use std::collections::{BTreeMap, BTreeSet};

use weir_base::identity::PeerId;
use weir_base::stream::Ask;
use weir_base::{Deadlines, Instant, ProtocolId, Ready};

use super::marks::Marks;
use super::types::Event;
use crate::call::Call;
use crate::channel::ChannelId;
use crate::control::Control;
use crate::machine::{Counters, Machine, Tickets};
use crate::pool::{self, Pool};
use crate::tip::Tip;

/// The number of control among the machines.
pub(super) const CONTROL: u16 = 0;

/// Plain counters of one channel (0: control), since the start. They only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
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

/// See the module. Machines have numbers: control is 0, then the channels in the order of the configuration.
#[derive(Debug, Default)]
pub(super) struct Machines {
    list: Vec<Child>, // never empty once control is in
    by_channel: BTreeMap<ChannelId, u16>,
    asking: Ready<u16>,
    telling: Ready<u16>,
    deadlines: Deadlines<u16>,
    claiming: Marks, // call channels with something to book or to hand over
}

#[derive(Debug)]
pub(super) struct Child {
    pub(super) channel: ChannelId,
    pub(super) machine: Shaped,
    pub(super) stats: ChannelStats,
    due: Option<(Instant, &'static str)>, // as `deadlines` has it, and why
}

#[derive(Debug)]
pub(super) enum Shaped {
    Control(Box<Control>),
    Tip(Box<Tip>),
    Pool(Box<Pool>),
    Call(Box<Call>),
}

impl Child {
    pub(super) fn machine(&mut self) -> &mut dyn Machine {
        match &mut self.machine {
            Shaped::Control(machine) => machine.as_mut(),
            Shaped::Tip(machine) => machine.as_mut(),
            Shaped::Pool(machine) => machine.as_mut(),
            Shaped::Call(machine) => machine.as_mut(),
        }
    }

    /// Whether it takes part, at the side that did not dial, before the handshake is complete.
    pub(super) fn joins_early(&self) -> bool {
        match &self.machine {
            Shaped::Control(_) => true,
            Shaped::Call(call) => call.config().replay_safe,
            Shaped::Tip(_) | Shaped::Pool(_) => false,
        }
    }

    pub(super) fn seen(&self) -> &dyn Machine {
        match &self.machine {
            Shaped::Control(machine) => machine.as_ref(),
            Shaped::Tip(machine) => machine.as_ref(),
            Shaped::Pool(machine) => machine.as_ref(),
            Shaped::Call(machine) => machine.as_ref(),
        }
    }
}

impl Machines {
    /// Adds the machine of a channel; its number.
    pub(super) fn add(&mut self, channel: ChannelId, build: impl FnOnce(Tickets) -> Shaped) -> u16 {
        let index = u16::try_from(self.list.len()).unwrap_or(u16::MAX); // at most 65: checked by the configuration
        let machine = build(Tickets::new(index));
        self.list.push(Child { channel, machine, stats: ChannelStats::default(), due: None });
        self.by_channel.insert(channel, index);
        self.touched(index);
        index
    }

    pub(super) fn get(&self, index: u16) -> Option<&Child> {
        self.list.get(usize::from(index))
    }

    /// One of them, to change. Whoever calls its machine says so with [`touched`](Self::touched).
    pub(super) fn get_mut(&mut self, index: u16) -> Option<&mut Child> {
        self.list.get_mut(usize::from(index))
    }

    /// All, with their numbers, control first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u16, &Child)> {
        (0..).zip(&self.list)
    }

    /// The numbers of all, control's first.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u16> + use<> {
        (0..).take(self.list.len())
    }

    pub(super) fn index(&self, channel: ChannelId) -> Option<u16> {
        self.by_channel.get(&channel).copied()
    }

    pub(super) fn call(&mut self, index: u16) -> Option<&mut Call> {
        match &mut self.get_mut(index)?.machine {
            Shaped::Call(call) => Some(call),
            _ => None,
        }
    }

    pub(super) fn control(&mut self) -> Option<&mut Control> {
        match &mut self.get_mut(CONTROL)?.machine {
            Shaped::Control(control) => Some(control),
            _ => None,
        }
    }

    /// Calls one machine and notes what may have changed.
    pub(super) fn with<R>(&mut self, index: u16, call: impl FnOnce(&mut dyn Machine) -> R) -> Option<R> {
        let done = call(self.get_mut(index)?.machine());
        self.touched(index);
        Some(done)
    }

    /// Calls all of them.
    pub(super) fn each(&mut self, mut call: impl FnMut(&mut dyn Machine)) {
        for index in self.numbers() {
            self.with(index, &mut call);
        }
    }

    /// Something may have changed at a machine.
    pub(super) fn touched(&mut self, index: u16) {
        if let Some(child) = self.list.get_mut(usize::from(index)) {
            let timeout = child.seen().poll_timeout();
            let (due, before) = (timeout.map(|(due, _)| due), child.due.map(|(due, _)| due));
            child.due = timeout;
            if due != before {
                self.deadlines.set(index, due);
            }
            if let Shaped::Call(call) = &child.machine
                && call.has_claims()
            {
                self.claiming.insert(index);
            }
        }
        self.asking.mark(index);
        self.telling.mark(index);
    }

    /// A call channel with something to book, or requests that wait.
    pub(super) fn next_claiming(&mut self) -> Option<u16> {
        self.claiming.pop_first()
    }

    /// What has changed at a call channel is booked.
    pub(super) fn is_booked(&mut self, index: u16) {
        self.claiming.remove(index);
    }

    /// The next ask, and whose it is.
    pub(super) fn poll_ask(&mut self) -> Option<(u16, Ask)> {
        loop {
            let index = self.asking.pop()?;
            if let Some(ask) = self.get_mut(index)?.machine().poll_ask() {
                self.asking.mark(index);
                return Some((index, ask));
            }
        }
    }

    /// The next thing that a channel tells.
    pub(super) fn poll_event(&mut self) -> Option<Event> {
        while let Some(index) = self.telling.pop() {
            let Some(child) = self.get_mut(index) else { continue };
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

    /// Advances each that is due, once.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        for _ in 0..=self.list.len() {
            let Some(index) = self.deadlines.pop_due(now) else { break };
            if let Some(child) = self.get_mut(index) {
                child.due = None;
            }
            self.with(index, |machine| machine.handle_timeout(now));
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let (due, index) = self.deadlines.next()?;
        Some((due, self.get(index).and_then(|child| child.due).map_or("pull", |(_, reason)| reason)))
    }

    /// The counters of each channel, control (0) first.
    pub(super) fn stats(&self) -> impl Iterator<Item = (ChannelId, ChannelStats)> + '_ {
        self.list.iter().map(|child| {
            let Counters { messages_in, messages_out, expired } = child.seen().counters();
            (child.channel, ChannelStats { messages_in, messages_out, expired, ..child.stats })
        })
    }

    /// The counters of a pool; `None` where the channel is none.
    pub(super) fn pool_stats(&self, channel: ChannelId) -> Option<pool::Stats> {
        match &self.get(self.index(channel)?)?.machine {
            Shaped::Pool(pool) => Some(pool.stats()),
            _ => None,
        }
    }

    /// Peers that have granted entries of a pool of which none is left; nobody where the channel is none.
    pub(super) fn used_up(&self, channel: ChannelId) -> impl Iterator<Item = PeerId> {
        let child = self.index(channel).and_then(|index| self.get(index));
        let pool = child.and_then(|child| match &child.machine {
            Shaped::Pool(pool) => Some(pool.as_ref()),
            _ => None,
        });
        pool.into_iter().flat_map(pool::used_up)
    }

    /// The machine of a stream that speaks `protocol`, and its lane.
    pub(super) fn lane(&self, protocol: ProtocolId) -> Option<(u16, u8)> {
        let (channel, lane) = ChannelId::of(protocol)?;
        Some((self.index(channel)?, lane))
    }

    /// What all their streams can speak.
    pub(super) fn protocols(&self) -> impl Iterator<Item = ProtocolId> {
        self.list.iter().flat_map(|child| child.channel.protocols())
    }

    /// Whether what this side opens for `protocol` may be sent before the peer is confirmed (0-RTT): control, permits, and
    /// calls that are declared replay-safe.
    pub(super) fn may_go_early(&self, protocol: ProtocolId) -> bool {
        let Some((index, lane)) = self.lane(protocol) else { return false };
        let Some(child) = self.get(index) else { return false };
        match &child.machine {
            Shaped::Pool(_) => lane == 0,
            Shaped::Tip(_) => true,
            Shaped::Control(_) | Shaped::Call(_) => child.joins_early(),
        }
    }

    /// The machines that hear of a link before it is confirmed.
    pub(super) fn early(&self, dialler: bool) -> BTreeSet<u16> {
        let joins = |(_, child): &(u16, &Child)| dialler || child.joins_early();
        self.iter().filter(joins).map(|(index, _)| index).collect()
    }
}
