//! Raw byte streams of the application, on channels of shape [`Raw`](weir_pull::Shape::Raw).
//!
//! - `Open` → `Opened` or `Refused`; the peer sees `Accepted`;
//! - what arrives stays in the link until the host reads it, and its window then stops the peer: `Readable` is told once,
//!   and again only after a read found nothing;
//! - the host writes as much as there is room for: `Writable` is told once after a write that left something over;
//! - each direction ends by itself: `Finish` and `Reset` end writing, `Stop` reading.
//!
//! So no byte is held here, and no event, message or allocation goes with a read or a write.
//!
//! Threat: a peer may open many streams, and before its hello. Streams are bounded per link and in all, and places are not held by
//! who came first: where all are taken, the newest stream of whoever has most gives way (`docs/spec/fairness.md`); those that come
//! before hello wait unread, and are broken off where the peer turns out not to have the channel.

mod drive;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub use drive::Streams;
use serde::{Deserialize, Serialize};
use weir_base::identity::PeerId;
use weir_base::stream::{
    Ask, Class, Driver, Group, Incoming, LinkChange, OpenError, Origin, Side, StreamUser,
};
use weir_base::{Instant, LinkId, ProtocolId, Rope, StreamKey};
pub use weir_link::Read;
use weir_pull::framing::code;
use weir_pull::{Channel, ChannelId, PeerHello, Shape, Ticket};

use crate::types::Refused;

/// The lane of raw streams within their channel.
const LANE: u8 = 0;

/// Limits of raw streams.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Raw streams of one link at once, whoever opened them. Default: 64.
    pub max_per_link: u32,
    /// Raw streams in all; beyond it the newest stream of whoever has most is broken off. Default: 4,096.
    pub max_streams: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self { max_per_link: 64, max_streams: 4096 }
    }
}

/// What the user wants of raw streams. Reading and writing are calls of their own on the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// A new stream to a peer. [`Event::Opened`] or [`Event::Refused`] with the ticket follows.
    Open {
        /// To whom.
        peer: PeerId,
        /// The raw channel.
        channel: ChannelId,
        /// How what this side writes ranks; [`Class::Bulk`] is usual.
        class: Class,
    },
    /// Nothing more will be written; what was is delivered.
    Finish(StreamKey),
    /// Writing breaks off; what was not sent yet is dropped.
    Reset(StreamKey, u32),
    /// The peer should send no more; what was not read is dropped.
    Stop(StreamKey, u32),
}

/// What the user should know about raw streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A stream was opened as asked; it can be written at once.
    Opened {
        /// The command.
        ticket: Ticket,
        /// Its name.
        key: StreamKey,
    },
    /// A stream could not be opened.
    Refused {
        /// The command.
        ticket: Ticket,
        /// Why.
        reason: OpenError,
    },
    /// A peer opened a stream.
    Accepted {
        /// Its name.
        key: StreamKey,
        /// On which channel.
        channel: ChannelId,
        /// Who.
        peer: PeerId,
    },
    /// There is something to read. Comes again only after a read returned [`Read::Blocked`].
    Readable(StreamKey),
    /// There is room to write again. Comes only after a write that left something over.
    Writable(StreamKey),
    /// The peer wants no more: writing has ended.
    Stopped(StreamKey, u32),
    /// The stream is gone: its link is, or its place was given to a peer that has fewer.
    Lost(StreamKey),
}

#[derive(Clone, Copy, Debug)]
struct Stream {
    channel: ChannelId,
    hidden: bool, // the peer opened it before hello; the user does not know of it
    reading: Reading,
    writing: Writing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// The last read found nothing, or none was needed yet.
    Quiet,
    /// Something waits, and the user was told, or will be when the stream is shown.
    Told,
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writing {
    Open,
    /// A write left something over.
    Short,
    Ended,
}

#[derive(Debug)]
struct Link {
    peer: PeerId,
    chosen: bool,                        // by this node: dialled or pinned
    group: Option<Group>,                // of those that were not
    shared: Option<BTreeSet<ChannelId>>, // raw channels both have; `None` until it is known
    streams: u32,                        // <= config.max_per_link
}

/// Bytes that the application has read and written. Plain counters.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counters {
    pub(crate) read: u64,
    pub(crate) written: u64,
}

/// All raw streams of the node. What the application reads and writes goes past it, in `drive`.
#[derive(Debug)]
pub(crate) struct Raw {
    config: Config,
    channels: BTreeSet<ChannelId>,
    links: BTreeMap<LinkId, Link>,
    streams: BTreeMap<StreamKey, Stream>,        // <= config.max_streams
    opening: BTreeMap<u64, (LinkId, ChannelId)>, // by tag; answered at once by the pump
    pub(crate) counters: Counters,
    asks: VecDeque<Ask>,
    events: VecDeque<Event>, // at most a few per stream: told only once until the user acts
}

impl Raw {
    /// Raw streams of those of `channels` that are raw.
    pub(crate) fn new(config: Config, channels: &[Channel]) -> Self {
        let raw = channels.iter().filter(|channel| matches!(channel.shape, Shape::Raw));
        Self {
            config,
            channels: raw.map(|channel| channel.id).collect(),
            counters: Counters::default(),
            links: BTreeMap::new(),
            streams: BTreeMap::new(),
            opening: BTreeMap::new(),
            asks: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    fn channel_of(&self, protocol: ProtocolId) -> Option<ChannelId> {
        let (channel, lane) = ChannelId::of(protocol)?;
        (lane == LANE && self.channels.contains(&channel)).then_some(channel)
    }

    /// It is known what a link's peer speaks: streams that waited are shown, or broken off. Without hello nothing says which raw
    /// channels both sides have: any may be tried, and a peer refuses what it does not know.
    pub(crate) fn handle_known(&mut self, link: LinkId, hello: Option<&PeerHello>) {
        let Some(state) = self.links.get_mut(&link) else { return };
        let is_shared =
            |channel: &&ChannelId| hello.is_none_or(|hello| hello.negotiated(**channel).is_some());
        let shared: BTreeSet<ChannelId> = self.channels.iter().filter(is_shared).copied().collect();
        let peer = state.peer;
        state.shared = Some(shared.clone());
        for (key, stream) in keys_of(&self.streams, link) {
            if !stream.hidden {
                continue;
            }
            if !shared.contains(&stream.channel) {
                self.break_off(key, code::UNKNOWN_CHANNEL);
                continue;
            }
            if let Some(stream) = self.streams.get_mut(&key) {
                stream.hidden = false;
            }
            self.events.push_back(Event::Accepted { key, channel: stream.channel, peer });
            if stream.reading == Reading::Told {
                self.events.push_back(Event::Readable(key));
            }
        }
    }

    /// Begins to open a stream on `link`.
    pub(crate) fn open(
        &mut self,
        link: LinkId,
        channel: ChannelId,
        class: Class,
        ticket: Ticket,
    ) -> Result<(), Refused> {
        let state = self.links.get(&link).ok_or(Refused::NoPeer)?;
        if !state.shared.as_ref().is_some_and(|shared| shared.contains(&channel)) {
            return Err(Refused::NotRaw);
        }
        if !self.make_room(link) {
            return Err(Refused::Limit);
        }
        self.opening.insert(ticket.0, (link, channel));
        let protocol = channel.protocol(LANE);
        self.asks.push_back(Ask::Open { link, protocol, class, tag: ticket.0 });
        Ok(())
    }

    /// Ends a direction, as the user wants.
    pub(crate) fn end(&mut self, ask: Ask) -> Result<(), Refused> {
        let (key, reading) = match ask {
            Ask::Finish(key) | Ask::Reset(key, _) => (key, false),
            Ask::Stop(key, _) => (key, true),
            _ => return Err(Refused::NoStream),
        };
        if !(if reading { self.can_read(key) } else { self.can_write(key) }) {
            return Err(Refused::NoStream);
        }
        self.asks.push_back(ask);
        self.ended(key, reading);
        Ok(())
    }

    /// The user's write left something over.
    pub(crate) fn note_short(&mut self, key: StreamKey) {
        if let Some(stream) = self.streams.get_mut(&key).filter(|stream| stream.writing == Writing::Open) {
            stream.writing = Writing::Short;
        }
    }

    /// The user's read found nothing.
    pub(crate) fn note_blocked(&mut self, key: StreamKey) {
        if let Some(stream) = self.streams.get_mut(&key).filter(|stream| stream.reading == Reading::Told) {
            stream.reading = Reading::Quiet;
        }
    }

    /// Whether the user may read the stream.
    pub(crate) fn can_read(&self, key: StreamKey) -> bool {
        self.streams.get(&key).is_some_and(|stream| stream.reading != Reading::Ended && !stream.hidden)
    }

    /// Whether the user may write the stream.
    pub(crate) fn can_write(&self, key: StreamKey) -> bool {
        self.streams.get(&key).is_some_and(|stream| stream.writing != Writing::Ended && !stream.hidden)
    }

    /// One direction has ended; with both the stream is forgotten.
    pub(crate) fn ended(&mut self, key: StreamKey, reading: bool) {
        let Some(stream) = self.streams.get_mut(&key) else { return };
        if reading {
            stream.reading = Reading::Ended;
        } else {
            stream.writing = Writing::Ended;
        }
        if (stream.reading, stream.writing) == (Reading::Ended, Writing::Ended) {
            self.forget(key);
        }
    }

    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Raw streams that are open.
    pub(crate) fn len(&self) -> usize {
        self.streams.len()
    }

    /// Whether there is a place for one more stream of a link. Where all are taken, and others have more, one of theirs is broken
    /// off: of the side, the address group and then the link with the most streams.
    fn make_room(&mut self, newcomer: LinkId) -> bool {
        if self.links.get(&newcomer).is_none_or(|link| link.streams >= self.config.max_per_link) {
            return false;
        }
        if self.streams.len() + self.opening.len() < self.config.max_streams as usize {
            return true;
        }
        let Some(most) = self.greediest(newcomer).filter(|most| *most != newcomer) else { return false };
        let Some((key, stream)) = keys_of(&self.streams, most).pop() else { return false };
        self.break_off(key, code::LIMIT);
        if !stream.hidden {
            self.events.push_back(Event::Lost(key));
        }
        true
    }

    /// Who would have most if `newcomer` had one more.
    fn greediest(&self, newcomer: LinkId) -> Option<LinkId> {
        let wanted = |id: LinkId, link: &Link| link.streams + u32::from(id == newcomer);
        let (mut sides, mut groups) = ([0_u32; 2], BTreeMap::<(bool, Option<Group>), u32>::new());
        for (id, link) in &self.links {
            let streams = wanted(*id, link);
            if let Some(side) = sides.get_mut(usize::from(link.chosen)) {
                *side += streams;
            }
            *groups.entry((link.chosen, link.group)).or_default() += streams;
        }
        let rank = |(id, link): &(&LinkId, &Link)| {
            let side = sides.get(usize::from(link.chosen)).copied();
            let group = groups.get(&(link.chosen, link.group)).copied();
            (side, group, wanted(**id, link), **id == newcomer) // among equals the newcomer
        };
        self.links.iter().max_by_key(rank).map(|(id, _)| *id)
    }

    fn insert(&mut self, key: StreamKey, channel: ChannelId, hidden: bool) {
        if let Some(link) = self.links.get_mut(&key.link) {
            link.streams += 1;
        }
        let stream = Stream { channel, hidden, reading: Reading::Quiet, writing: Writing::Open };
        self.streams.insert(key, stream);
    }

    fn forget(&mut self, key: StreamKey) {
        if self.streams.remove(&key).is_some()
            && let Some(link) = self.links.get_mut(&key.link)
        {
            link.streams = link.streams.saturating_sub(1);
        }
    }

    fn break_off(&mut self, key: StreamKey, code: u32) {
        self.forget(key);
        self.asks.extend([Ask::Reset(key, code), Ask::Stop(key, code)]);
    }
}

fn keys_of(streams: &BTreeMap<StreamKey, Stream>, link: LinkId) -> Vec<(StreamKey, Stream)> {
    let (first, last) = (StreamKey { link, stream: 0 }, StreamKey { link, stream: u64::MAX });
    streams.range(first..=last).map(|(key, stream)| (*key, *stream)).collect()
}

impl StreamUser for Raw {
    fn protocols(&self) -> Vec<ProtocolId> {
        self.channels.iter().map(|channel| channel.protocol(LANE)).collect()
    }

    fn driver(&self) -> Driver {
        Driver::Application
    }

    fn handle_link(&mut self, _: Instant, link: LinkId, change: &LinkChange) {
        match change {
            LinkChange::Early(_) => {} // an open may do anything: it waits
            LinkChange::Up(info) => {
                let chosen = info.side != Side::Inbound;
                let group = (!chosen).then_some(info.group);
                self.links.insert(link, Link { peer: info.peer, chosen, group, shared: None, streams: 0 });
            }
            LinkChange::Down => {
                for (key, stream) in keys_of(&self.streams, link) {
                    self.streams.remove(&key);
                    if !stream.hidden {
                        self.events.push_back(Event::Lost(key));
                    }
                }
                self.links.remove(&link);
            }
        }
    }

    fn handle_opened(&mut self, _: Instant, key: StreamKey, origin: Origin) {
        match origin {
            Origin::Local { tag } => {
                let Some((_, channel)) = self.opening.remove(&tag) else { return };
                self.insert(key, channel, false);
                self.events.push_back(Event::Opened { ticket: Ticket(tag), key });
            }
            Origin::Peer(protocol) => {
                let (Some(channel), Some(link)) = (self.channel_of(protocol), self.links.get(&key.link))
                else {
                    return self.break_off(key, code::UNKNOWN_CHANNEL);
                };
                let (peer, shared) =
                    (link.peer, link.shared.as_ref().map(|shared| shared.contains(&channel)));
                if shared == Some(false) {
                    return self.break_off(key, code::UNKNOWN_CHANNEL);
                }
                if !self.make_room(key.link) {
                    return self.break_off(key, code::LIMIT);
                }
                self.insert(key, channel, shared.is_none());
                if shared.is_some() {
                    self.events.push_back(Event::Accepted { key, channel, peer });
                }
            }
        }
    }

    fn handle_refused(&mut self, _: Instant, tag: u64, reason: OpenError) {
        if self.opening.remove(&tag).is_some() {
            self.events.push_back(Event::Refused { ticket: Ticket(tag), reason });
        }
    }

    fn class(&self, _: ProtocolId) -> Class {
        Class::Bulk
    }

    /// Always 0: what arrives stays in the link until the application reads it.
    fn room(&self, _: StreamKey) -> usize {
        0
    }

    fn handle_readable(&mut self, key: StreamKey) {
        let quiet = |stream: &&mut Stream| stream.reading == Reading::Quiet;
        let Some(stream) = self.streams.get_mut(&key).filter(quiet) else { return };
        stream.reading = Reading::Told;
        if !stream.hidden {
            self.events.push_back(Event::Readable(key));
        }
    }

    fn handle_writable(&mut self, key: StreamKey) {
        let short = |stream: &&mut Stream| stream.writing == Writing::Short;
        let Some(stream) = self.streams.get_mut(&key).filter(short) else { return };
        stream.writing = Writing::Open;
        self.events.push_back(Event::Writable(key));
    }

    fn handle_incoming(&mut self, _: Instant, key: StreamKey, input: Incoming) {
        if let Incoming::Stopped(code) = input {
            if self.can_write(key) {
                self.events.push_back(Event::Stopped(key, code));
            }
            self.ended(key, false);
        }
    }

    fn poll_write(&mut self, _: Instant, _: StreamKey, _: usize, _: &mut Rope) {}

    fn poll_ask(&mut self) -> Option<Ask> {
        self.asks.pop_front()
    }

    fn handle_timeout(&mut self, _: Instant) {}

    fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        None
    }
}

#[cfg(test)]
mod tests;
