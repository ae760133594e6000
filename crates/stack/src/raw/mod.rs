//! Raw byte streams of the application, on channels of shape [`Raw`](weir_pull::Shape::Raw) and by other people's protocol names.
//!
//! - `Open` → `Opened` or `Refused`; the peer sees `Accepted`;
//! - what arrives stays in the link until the host reads it, and its window then stops the peer: `Readable` is told once,
//!   and again only after a read found nothing;
//! - the host writes as much as there is room for: `Writable` is told once after a write that left something over;
//! - each direction ends by itself: `Finish` and `Reset` end writing, `Stop` reading;
//! - by name: with a single name `Opened` follows at once, and `Unspoken` where the peer does not have it; with several once the peer
//!   has taken one, or `Refused` where it has none.
//!
//! So no byte is held here, and no event, message or allocation goes with a read or a write.
//!
//! Threat: a peer may open many streams, and before its hello. Streams are bounded per link and in all, and places are not held by
//! who came first: where all are taken, the newest stream of whoever has most gives way (`docs/spec/fairness.md`); those that come
//! before hello wait unread, and are broken off where the peer turns out not to have the channel.

mod drive;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub use drive::Streams;
use litemap::LiteMap;
use serde::{Deserialize, Serialize};
use weir_base::identity::PeerId;
use weir_base::stream::{Ask, Class, Driver, Incoming, LinkChange, OpenError, Origin, StreamUser};
use weir_base::{Instant, LinkId, ProtocolId, Rope, StreamKey};
pub use weir_link::Read;
use weir_pull::framing::code;
use weir_pull::{ChannelId, PeerHello, Shape, Ticket};

use crate::named::{self, NamedShape};
use crate::profile::Profile;
use crate::quotas::{Place, Quotas};
use crate::refused::Refused;

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
        /// The raw channel's, or the first number of a protocol by name.
        protocol: ProtocolId,
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
        /// What was asked for; of several names the number of the one that was agreed on.
        protocol: ProtocolId,
    },
    /// A stream could not be opened.
    Refused {
        /// The command.
        ticket: Ticket,
        /// Why.
        reason: NotOpened,
    },
    /// A peer opened a stream.
    Accepted {
        /// Its name.
        key: StreamKey,
        /// Of the raw channel, or of the name that was agreed on.
        protocol: ProtocolId,
        /// Who.
        peer: PeerId,
    },
    /// There is something to read. Comes again only after a read returned [`Read::Blocked`].
    Readable(StreamKey),
    /// There is room to write again. Comes only after a write that left something over.
    Writable(StreamKey),
    /// The peer wants no more: writing has ended.
    Stopped(StreamKey, u32),
    /// The peer does not speak the only name that was proposed on a stream of this side's. The stream is gone.
    Unspoken(StreamKey),
    /// The stream is gone: its link is, or its place was given to a peer that has fewer.
    Lost(StreamKey),
}

/// Why a stream could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotOpened {
    /// The link is gone or closing.
    Closed,
    /// The peer's stream limit is reached and so many opens wait already.
    Limit,
    /// The peer has none of the names.
    Unspoken,
}

impl From<OpenError> for NotOpened {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Closed => Self::Closed,
            OpenError::Limit => Self::Limit,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Stream {
    protocol: ProtocolId,
    stage: Stage,
    reading: Reading,
    writing: Writing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The peer opened it before it was known what the peer speaks; the user does not know of it.
    Hidden,
    /// This side proposed names, and the peer did not answer yet. The user waits for it where the ticket is there.
    Proposed(Option<Ticket>),
    /// The user has it.
    Shown,
}

impl Stream {
    /// Whether the user knows of it.
    fn is_shown(&self) -> bool {
        matches!(self.stage, Stage::Shown | Stage::Proposed(None))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// The last read found nothing, or none was needed yet.
    Idle,
    /// Something waits, and the user was told, or will be when the stream is shown.
    Told,
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writing {
    Open,
    /// A write left something over.
    Blocked,
    Ended,
}

#[derive(Debug)]
struct Link {
    peer: PeerId,
    shared: Option<BTreeSet<ProtocolId>>, // those that it may be asked for; `None` until it is known
}

/// Bytes that the application has read and written. Plain counters.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counters {
    pub(crate) read: u64,
    pub(crate) written: u64,
}

/// What may be spoken on raw streams.
#[derive(Clone, Copy, Debug)]
enum Spoken {
    Channel(ChannelId),
    Named {
        served: bool,
        /// It is one of several names of its protocol.
        several: bool,
    },
}

impl Spoken {
    /// Whether streams that peers open for it are taken.
    fn is_served(self) -> bool {
        matches!(self, Self::Channel(_) | Self::Named { served: true, .. })
    }
}

/// All raw streams of the node. What the application reads and writes goes past it, in `drive`.
#[derive(Debug)]
pub(crate) struct Raw {
    quotas: Quotas,
    spoken: BTreeMap<ProtocolId, Spoken>, // of a protocol by name all its numbers
    links: LiteMap<LinkId, Link>,
    streams: BTreeMap<StreamKey, Stream>, // each has a place, and so has what is opened
    opening: BTreeMap<u64, (LinkId, ProtocolId)>, // by tag; answered at once by the pump
    pub(crate) counters: Counters,
    asks: VecDeque<Ask>,
    events: VecDeque<Event>, // at most a few per stream: told only once until the user acts
}

impl Raw {
    /// Raw streams of the channels that are raw, and of the protocols by name whose streams are the application's.
    pub(crate) fn new(config: &Config, profile: &Profile) -> Self {
        let raw = profile.channels.iter().filter(|channel| matches!(channel.shape, Shape::Raw));
        let mut spoken: BTreeMap<_, _> =
            raw.map(|channel| (channel.id.protocol(LANE), Spoken::Channel(channel.id))).collect();
        for (first, protocol) in named::numbered(&profile.protocols) {
            let NamedShape::Stream = protocol.shape else { continue };
            let named = Spoken::Named { served: protocol.served, several: protocol.names.len() > 1 };
            spoken.extend(named::numbers(first, protocol).map(|number| (number, named)));
        }
        Self {
            quotas: Quotas::new(config.max_per_link.into(), config.max_streams.into()),
            spoken,
            counters: Counters::default(),
            links: LiteMap::new(),
            streams: BTreeMap::new(),
            opening: BTreeMap::new(),
            asks: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// It is known what a link's peer speaks: streams that waited are shown, or broken off. Without hello nothing says which raw
    /// channels both sides have: any may be tried, and a peer refuses what it does not know. So it is with names always.
    pub(crate) fn handle_known(&mut self, link: LinkId, hello: Option<&PeerHello>) {
        let Some(state) = self.links.get_mut(&link) else { return };
        let is_shared = |spoken: &Spoken| match spoken {
            Spoken::Channel(channel) => hello.is_none_or(|hello| hello.negotiated(*channel).is_some()),
            Spoken::Named { .. } => true,
        };
        let shared: BTreeSet<ProtocolId> =
            self.spoken.iter().filter(|(_, spoken)| is_shared(spoken)).map(|(id, _)| *id).collect();
        let peer = state.peer;
        state.shared = Some(shared.clone());
        for (key, stream) in keys_of(&self.streams, link) {
            if stream.stage != Stage::Hidden {
                continue;
            }
            if !shared.contains(&stream.protocol) {
                self.break_off(key, code::UNKNOWN_CHANNEL);
                continue;
            }
            if let Some(stream) = self.streams.get_mut(&key) {
                stream.stage = Stage::Shown;
            }
            self.events.push_back(Event::Accepted { key, protocol: stream.protocol, peer });
            if stream.reading == Reading::Told {
                self.events.push_back(Event::Readable(key));
            }
        }
    }

    /// Begins to open a stream on `link`.
    pub(crate) fn open(
        &mut self,
        link: LinkId,
        protocol: ProtocolId,
        class: Class,
        ticket: Ticket,
    ) -> Result<(), Refused> {
        let state = self.links.get(&link).ok_or(Refused::NoPeer)?;
        if !state.shared.as_ref().is_some_and(|shared| shared.contains(&protocol)) {
            return Err(Refused::NotRaw);
        }
        if !self.make_room(link) {
            return Err(Refused::Limit);
        }
        self.quotas.take(link);
        self.opening.insert(ticket.0, (link, protocol));
        self.asks.push_back(Ask::Open { link, protocol, class, tag: ticket.0 });
        Ok(())
    }

    /// The peer took one of the names that were proposed on a stream.
    pub(crate) fn handle_agreed(&mut self, key: StreamKey, protocol: ProtocolId) {
        let Some(stream) = self.streams.get_mut(&key) else { return };
        let Stage::Proposed(waiting) = stream.stage else { return };
        (stream.stage, stream.protocol) = (Stage::Shown, protocol);
        if let Some(ticket) = waiting {
            self.events.push_back(Event::Opened { ticket, key, protocol });
        }
    }

    /// Whether an end with this code means that the peer has none of the names that were proposed on a stream.
    pub(crate) fn is_unspoken(&self, key: StreamKey, code: u32) -> bool {
        let proposed =
            self.streams.get(&key).is_some_and(|stream| matches!(stream.stage, Stage::Proposed(_)));
        proposed && code == code::UNKNOWN_CHANNEL
    }

    /// The peer has none of the names that were proposed: the stream is gone.
    pub(crate) fn unspoken(&mut self, key: StreamKey) {
        let Some(stream) = self.streams.get(&key) else { return };
        let of_it = |event: &Event| matches!(event, Event::Readable(of) | Event::Writable(of) if *of == key);
        self.events.retain(|event| !of_it(event)); // there is nothing to read any more
        self.events.push_back(match stream.stage {
            Stage::Proposed(Some(ticket)) => Event::Refused { ticket, reason: NotOpened::Unspoken },
            _ => Event::Unspoken(key),
        });
        self.break_off(key, 0);
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
    pub(crate) fn note_write_blocked(&mut self, key: StreamKey) {
        if let Some(stream) = self.streams.get_mut(&key).filter(|stream| stream.writing == Writing::Open) {
            stream.writing = Writing::Blocked;
        }
    }

    /// The user's read found nothing.
    pub(crate) fn note_read_blocked(&mut self, key: StreamKey) {
        if let Some(stream) = self.streams.get_mut(&key).filter(|stream| stream.reading == Reading::Told) {
            stream.reading = Reading::Idle;
        }
    }

    /// Whether the user may read the stream.
    pub(crate) fn can_read(&self, key: StreamKey) -> bool {
        self.streams.get(&key).is_some_and(|stream| stream.reading != Reading::Ended && stream.is_shown())
    }

    /// Whether the user may write the stream.
    pub(crate) fn can_write(&self, key: StreamKey) -> bool {
        self.streams.get(&key).is_some_and(|stream| stream.writing != Writing::Ended && stream.is_shown())
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

    /// Whether there is a place for one more stream of a link; the newest stream of another one may have to give way.
    fn make_room(&mut self, newcomer: LinkId) -> bool {
        let most = match self.quotas.find(newcomer) {
            Place::Free => return true,
            Place::Full => return false,
            Place::Of(most) => most,
        };
        let Some((key, stream)) = keys_of(&self.streams, most).pop() else { return false };
        self.break_off(key, code::LIMIT);
        self.lost(key, stream);
        true
    }

    /// Tells the user that a stream is gone, where it knows of it.
    fn lost(&mut self, key: StreamKey, stream: Stream) {
        match stream.stage {
            Stage::Hidden => {}
            Stage::Proposed(Some(ticket)) => {
                self.events.push_back(Event::Refused { ticket, reason: NotOpened::Closed });
            }
            Stage::Proposed(None) | Stage::Shown => self.events.push_back(Event::Lost(key)),
        }
    }

    fn insert(&mut self, key: StreamKey, protocol: ProtocolId, stage: Stage) {
        let stream = Stream { protocol, stage, reading: Reading::Idle, writing: Writing::Open };
        self.streams.insert(key, stream);
    }

    fn forget(&mut self, key: StreamKey) {
        if self.streams.remove(&key).is_some() {
            self.quotas.give_back(key.link);
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
        self.spoken.iter().filter(|(_, spoken)| spoken.is_served()).map(|(id, _)| *id).collect()
    }

    fn driver(&self) -> Driver {
        Driver::Application
    }

    fn handle_link(&mut self, _: Instant, link: LinkId, change: &LinkChange) {
        match change {
            LinkChange::Early(_) => {} // an open may do anything: it waits
            LinkChange::Up(info) => {
                self.quotas.link_up(link, info);
                self.links.insert(link, Link { peer: info.peer, shared: None });
            }
            LinkChange::Down => {
                for (key, stream) in keys_of(&self.streams, link) {
                    self.streams.remove(&key);
                    self.lost(key, stream);
                }
                self.quotas.link_down(link);
                self.links.remove(&link);
            }
        }
    }

    fn handle_opened(&mut self, _: Instant, key: StreamKey, origin: Origin) {
        match origin {
            Origin::Local { tag } => {
                let Some((_, protocol)) = self.opening.remove(&tag) else { return };
                let ticket = Ticket(tag);
                let stage = match self.spoken.get(&protocol) {
                    Some(Spoken::Named { several: true, .. }) => Stage::Proposed(Some(ticket)),
                    Some(Spoken::Named { several: false, .. }) => Stage::Proposed(None),
                    _ => Stage::Shown,
                };
                self.insert(key, protocol, stage);
                if stage != Stage::Proposed(Some(ticket)) {
                    self.events.push_back(Event::Opened { ticket, key, protocol });
                }
            }
            Origin::Peer(protocol) => {
                let Some(link) = self.links.get(&key.link) else {
                    return self.break_off(key, code::UNKNOWN_CHANNEL);
                };
                let (peer, shared) =
                    (link.peer, link.shared.as_ref().map(|shared| shared.contains(&protocol)));
                if shared == Some(false) {
                    return self.break_off(key, code::UNKNOWN_CHANNEL);
                }
                if !self.make_room(key.link) {
                    return self.break_off(key, code::LIMIT);
                }
                self.quotas.take(key.link);
                self.insert(key, protocol, if shared.is_some() { Stage::Shown } else { Stage::Hidden });
                if shared.is_some() {
                    self.events.push_back(Event::Accepted { key, protocol, peer });
                }
            }
        }
    }

    fn handle_refused(&mut self, _: Instant, tag: u64, reason: OpenError) {
        if let Some((link, _)) = self.opening.remove(&tag) {
            self.quotas.give_back(link);
            self.events.push_back(Event::Refused { ticket: Ticket(tag), reason: reason.into() });
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
        let idle = |stream: &&mut Stream| stream.reading == Reading::Idle;
        let Some(stream) = self.streams.get_mut(&key).filter(idle) else { return };
        stream.reading = Reading::Told;
        if stream.is_shown() {
            self.events.push_back(Event::Readable(key));
        }
    }

    fn handle_writable(&mut self, key: StreamKey) {
        let blocked = |stream: &&mut Stream| stream.writing == Writing::Blocked;
        let Some(stream) = self.streams.get_mut(&key).filter(blocked) else { return };
        stream.writing = Writing::Open;
        self.events.push_back(Event::Writable(key));
    }

    fn handle_incoming(&mut self, _: Instant, key: StreamKey, input: Incoming) {
        if let Incoming::Stopped(code) = input {
            if self.is_unspoken(key, code) {
                return self.unspoken(key);
            }
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
