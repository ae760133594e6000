//! What every part of a pool works on: its links, what this node has, the timers, and what is asked and told.

use std::collections::VecDeque;

use bytes::BytesMut;
use weir_base::stream::{Ask, OpenError};
use weir_base::{Deadlines, Fault, Instant, Rope, StreamKey};

use super::inventory::Inventory;
use super::links::{Links, Opening, Role, Slot};
use super::timer::{REOPEN, Timer};
use super::types::{Config, Event, Stats};
use crate::channel::ChannelId;
use crate::framing::{Message, UNKNOWN_TYPE, code};
use crate::machine::{Counters, Tickets};

/// See the module.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) config: Config,
    pub(super) channel: ChannelId,
    pub(super) tickets: Tickets,
    pub(super) links: Links,
    pub(super) inventory: Inventory,
    pub(super) timers: Deadlines<Timer>,
    pub(super) asks: VecDeque<Ask>, // a few per input; streams ask once until they are served
    pub(super) events: VecDeque<Event>,
    pub(super) scratch: BytesMut,
    pub(super) stats: Stats,
    pub(super) counters: Counters,
}

impl Common {
    pub(super) fn new(config: Config, channel: ChannelId, tickets: Tickets, inventory: Inventory) -> Self {
        Self {
            config,
            channel,
            tickets,
            links: Links::default(),
            inventory,
            timers: Deadlines::default(),
            asks: VecDeque::new(),
            events: VecDeque::new(),
            scratch: BytesMut::new(),
            stats: Stats::default(),
            counters: Counters::default(),
        }
    }

    /// Bytes that may come on a stream.
    pub(super) fn room(&self, key: StreamKey) -> usize {
        let Some((slot, role)) = self.links.locate(key) else { return 0 };
        self.links.get(slot).map_or(0, |link| link.room(role))
    }

    /// The peer is to blame; what it did stays without effect here.
    pub(super) fn blame(&mut self, slot: Slot, fault: Fault) {
        if let Some(link) = self.links.get(slot) {
            self.stats.faults += 1;
            self.asks.push_back(Ask::Blame(link.id, fault));
        }
    }

    /// A message of another type than this version knows: skipped, where that may be and is not too much.
    pub(super) fn skip(&mut self, now: Instant, slot: Slot, message: &Message) -> Result<(), Fault> {
        if !Message::skippable(message.kind) {
            return Err(UNKNOWN_TYPE);
        }
        let Some(link) = self.links.get_mut(slot) else { return Ok(()) };
        link.skipped.take(now, message.body.len() as u64)
    }

    /// The peer is to blame for what came on a stream, which can not be read any further.
    pub(super) fn break_off(&mut self, slot: Slot, role: Role, fault: Fault) {
        self.blame(slot, fault);
        self.close_lane(slot, role, code::FAULT);
    }

    /// Opens one of this node's own streams.
    pub(super) fn open_lane(&mut self, slot: Slot, role: Role) {
        self.links.open_lane(&mut self.asks, self.channel, slot, role);
    }

    /// A stream of this node's own could not be opened.
    pub(super) fn lane_refused(&mut self, now: Instant, slot: Slot, role: Role, error: OpenError) {
        let Some(link) = self.links.get_mut(slot) else { return };
        link.lane_mut(role).opening = Opening::No;
        if error == OpenError::Limit {
            self.timers.set(Timer::Open(slot, role), Some(now + REOPEN));
        }
    }

    /// Breaks both directions of a stream off.
    pub(super) fn close_lane(&mut self, slot: Slot, role: Role, code: u32) {
        let Some(link) = self.links.get_mut(slot) else { return };
        let id = link.id;
        let lane = link.lane_mut(role);
        lane.opening = Opening::Never;
        lane.unsent = Rope::new();
        if let Some(stream) = lane.stream.take() {
            self.refuse(StreamKey { link: id, stream }, code);
        }
        self.timers.set(Timer::Message(slot, role), None);
    }

    /// Neither reads nor writes a stream any more.
    pub(super) fn refuse(&mut self, key: StreamKey, code: u32) {
        self.asks.extend([Ask::Reset(key, code), Ask::Stop(key, code)]);
    }

    /// A message of this stream may have begun: it must end in time.
    pub(super) fn watch(&mut self, slot: Slot, role: Role) {
        let deadline = self.links.get(slot).and_then(|link| match role {
            Role::Intake => link.intake.inbox.deadline(),
            Role::Outlet => link.outlet.inbox.deadline(),
            Role::Serving => link.serving.inbox.deadline(),
            Role::Gets => None, // each get has a time of its own
        });
        self.timers.set(Timer::Message(slot, role), deadline);
    }

    /// All timers of a link.
    pub(super) fn clear_timers(&mut self, slot: Slot) {
        for timer in [Timer::Permit(slot), Timer::Offers(slot), Timer::Gone(slot), Timer::Move(slot)] {
            self.timers.set(timer, None);
        }
        for role in [Role::Intake, Role::Outlet, Role::Gets, Role::Serving] {
            self.timers.set(Timer::Message(slot, role), None);
            self.timers.set(Timer::Open(slot, role), None);
        }
    }
}
