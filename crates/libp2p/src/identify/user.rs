//! The machine: both protocols on all links of a node.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use litemap::LiteMap;
use weir_base::codec::put_prefixed;
use weir_base::stream::{Ask, Class, Incoming, LinkChange, OpenError, Origin, StreamUser};
use weir_base::{Deadlines, Instant, LinkId, Multiaddr, PeerId, ProtocolId, Rope, StreamKey};

use super::message::{Info, encode};
use super::reader::Reader;
use super::{Config, LATE, MALFORMED, STORM};
use crate::storm::Rate;

/// The code of a stream that ends because of nothing.
const DONE: u32 = 0;
/// The code of a stream that breaks the rules.
const FAULT: u32 = 2;
/// The code of a stream that takes too long.
const TIMEOUT: u32 = 3;
/// The code of a stream above a limit.
const LIMIT: u32 = 4;

/// Bytes that are read at once.
const PIECE: usize = 4 * 1024;

/// So many streams of a peer are refused at once without blame: far more than a node has to say again in a burst of news about itself.
const REFUSED: u32 = 100;
/// And each this long another one: ten a second.
const REFUSED_EACH: Duration = Duration::from_millis(100);

/// Between two pushes to one peer, at least, whatever the pause is.
const GAP_MIN: Duration = Duration::from_millis(100);

/// What the machine tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A peer answered, or pushed: what it said, and what it left out is `None` or empty.
    Identified {
        /// On which link.
        link: LinkId,
        /// What it said.
        info: Box<Info>,
        /// Whether it pushed by itself: what it left out is as before.
        pushed: bool,
    },
    /// A peer that was asked did not answer: it does not speak identify, or broke its rules, or took too long.
    Unanswered {
        /// On which link.
        link: LinkId,
    },
}

/// Which way a stream goes.
#[derive(Debug)]
enum Role {
    Reading { reader: Box<Reader>, push: bool },
    Writing { bytes: Bytes },
}

#[derive(Debug)]
struct Stream {
    role: Role,
    inbound: bool,
}

impl Stream {
    /// Whether this side asked on it, and nothing has come yet.
    fn is_question(&self) -> bool {
        !self.inbound && matches!(self.role, Role::Reading { .. })
    }
}

#[derive(Debug)]
struct Line {
    peer: PeerId,
    observed: Option<Multiaddr>,
    inbound: u32,       // streams, <= 2 * Config::max_inbound
    next_push: Instant, // no earlier
    refused: Rate,      // the rate of streams that were refused
    push: Push,         // of ours
}

/// How far a push of this side's is. The peer refuses one that comes sooner than a pause after the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Push {
    /// All is told.
    Idle,
    /// A stream for it was asked for: it will say what is so when that is there.
    Opening,
    /// One is on its way, or was so within two pauses.
    Begun,
    /// And there is something new since.
    Again,
}

/// Whose deadline it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Stream(StreamKey),
    /// The next push may go out.
    Push(LinkId),
}

/// See the module. After any call drain [`poll_ask`](StreamUser::poll_ask) and [`poll_event`](Self::poll_event).
#[derive(Debug)]
pub struct Identify {
    config: Config,
    protocols: (ProtocolId, ProtocolId), // identify, push
    own: Info,
    record: Option<Vec<u8>>,
    lines: LiteMap<LinkId, Box<Line>>,
    streams: BTreeMap<StreamKey, Stream>,   // a few per link
    opening: BTreeMap<u64, (LinkId, bool)>, // the flag: a push
    next_tag: u64,
    asks: VecDeque<Ask>,
    events: VecDeque<Event>,
    deadlines: Deadlines<Timer>,
}

impl Identify {
    /// `identify` and `push`: the numbers under which streams are opened and come. `own`: what this node says, with `record`, a
    /// sealed peer record.
    pub fn new(
        config: Config,
        (identify, push): (ProtocolId, ProtocolId),
        own: Info,
        record: Option<Vec<u8>>,
    ) -> Self {
        Self {
            config,
            protocols: (identify, push),
            own,
            record,
            lines: LiteMap::new(),
            streams: BTreeMap::new(),
            opening: BTreeMap::new(),
            next_tag: 0,
            asks: VecDeque::new(),
            events: VecDeque::new(),
            deadlines: Deadlines::default(),
        }
    }

    /// Asks the peer of a link who it is. Answered by [`Event::Identified`], unless it does not speak identify.
    pub fn ask(&mut self, link: LinkId) {
        self.open(link, Class::Control, false);
    }

    /// Whether the peer of a link was asked, and its answer may still come.
    pub fn is_asking(&self, link: LinkId) -> bool {
        let asks = |(key, stream): (&StreamKey, &Stream)| key.link == link && stream.is_question();
        self.opening.values().any(|(of, push)| *of == link && !push) || self.streams.iter().any(asks)
    }

    /// Tells a link's peer about this node, once more: at once, or two pauses after it was told last.
    pub fn push(&mut self, link: LinkId) {
        let Some(line) = self.lines.get_mut(&link) else { return };
        match line.push {
            Push::Idle => line.push = Push::Opening,
            Push::Begun => {
                line.push = Push::Again;
                return;
            }
            Push::Opening | Push::Again => return,
        }
        self.open(link, Class::Control, true);
    }

    /// The next push of a link goes out after two pauses: on its way it may catch up with this one.
    fn push_later(&mut self, now: Instant, link: LinkId) {
        let gap = (2 * self.config.pause).max(GAP_MIN);
        self.deadlines.set(Timer::Push(link), Some(now + gap));
    }

    /// The pauses are over: what is new since the last push is told now, where that one is through.
    fn push_again(&mut self, now: Instant, link: LinkId) {
        let pushes = |(key, stream): (&StreamKey, &Stream)| {
            key.link == link && !stream.inbound && matches!(stream.role, Role::Writing { .. })
        };
        if self.streams.iter().any(pushes) {
            return self.push_later(now, link);
        }
        let Some(line) = self.lines.get_mut(&link) else { return };
        if std::mem::replace(&mut line.push, Push::Idle) == Push::Again {
            self.push(link);
        }
    }

    /// What this node says.
    pub fn own(&self) -> &Info {
        &self.own
    }

    /// What this node says has changed. Links are told by [`push`](Self::push).
    pub fn update(&mut self, own: Info, record: Option<Vec<u8>>) {
        self.own = own;
        self.record = record;
    }

    /// Where the peer of a link is, which it is told.
    pub fn observed(&mut self, link: LinkId, address: Multiaddr) {
        if let Some(line) = self.lines.get_mut(&link) {
            line.observed = Some(address);
        }
    }

    /// The next thing to tell; `None` when there is none.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn open(&mut self, link: LinkId, class: Class, push: bool) {
        if !self.lines.contains_key(&link) {
            return;
        }
        let tag = self.next_tag;
        self.next_tag += 1;
        self.opening.insert(tag, (link, push));
        let protocol = if push { self.protocols.1 } else { self.protocols.0 };
        self.asks.push_back(Ask::Open { link, protocol, class, tag });
    }

    fn begin(&mut self, now: Instant, key: StreamKey, stream: Stream) {
        if matches!(stream.role, Role::Writing { .. }) {
            self.asks.push_back(Ask::Write(key));
        } else {
            self.asks.extend(stream.inbound.then_some(Ask::Resume(key)));
        }
        self.deadlines.set(Timer::Stream(key), Some(now + self.config.timeout));
        self.streams.insert(key, stream);
    }

    fn own_message(&self, link: LinkId) -> Bytes {
        let observed = self.lines.get(&link).and_then(|line| line.observed.clone());
        let mut out = Vec::new();
        for message in encode(&Info { observed, ..self.own.clone() }, self.record.as_deref()) {
            put_prefixed(&mut out, &message);
        }
        out.into()
    }

    /// A stream of the peer, if it may have another.
    fn serve(&mut self, now: Instant, key: StreamKey, push: bool) {
        let Some(line) = self.lines.get_mut(&key.link) else { return };
        let early = push && now < line.next_push;
        if early || line.inbound >= 2 * self.config.max_inbound {
            if !line.refused.take(now, 1) {
                self.asks.push_back(Ask::Blame(key.link, STORM));
            }
            return self.asks.extend([Ask::Reset(key, LIMIT), Ask::Stop(key, LIMIT)]);
        }
        line.inbound += 1;
        let role = if push {
            line.next_push = now + self.config.pause;
            self.asks.push_back(Ask::Finish(key)); // nothing is said on it
            Role::Reading { reader: Box::new(Reader::new()), push: true }
        } else {
            Role::Writing { bytes: self.own_message(key.link) }
        };
        self.begin(now, key, Stream { role, inbound: true });
    }

    /// A stream is over. What it was.
    fn forget(&mut self, key: StreamKey) -> Option<Stream> {
        self.deadlines.set(Timer::Stream(key), None);
        let stream = self.streams.remove(&key)?;
        if let Some(line) = self.lines.get_mut(&key.link).filter(|_| stream.inbound) {
            line.inbound -= 1;
        }
        Some(stream)
    }

    fn break_off(&mut self, key: StreamKey, code: u32) {
        if self.forget(key).is_some_and(|stream| stream.is_question()) {
            self.events.push_back(Event::Unanswered { link: key.link });
        }
        self.asks.extend([Ask::Reset(key, code), Ask::Stop(key, code)]);
    }

    fn data(&mut self, key: StreamKey, bytes: Bytes) {
        let Some(line) = self.lines.get(&key.link) else { return };
        let peer = line.peer;
        let Some(stream) = self.streams.get_mut(&key) else { return };
        let taken = match &mut stream.role {
            Role::Reading { reader, .. } => reader.take(peer, bytes),
            Role::Writing { .. } => Err(MALFORMED), // nobody speaks to who tells
        };
        if let Err(fault) = taken {
            self.asks.push_back(Ask::Blame(key.link, fault));
            self.break_off(key, FAULT);
        }
    }

    fn end(&mut self, key: StreamKey) {
        let reading = |stream: &Stream| matches!(stream.role, Role::Reading { .. });
        if !self.streams.get(&key).is_some_and(reading) {
            return; // who asks may end its direction first
        }
        let Some(Stream { role: Role::Reading { reader, push }, inbound }) = self.forget(key) else { return };
        let link = key.link;
        match reader.end() {
            Some(info) => {
                self.events.push_back(Event::Identified { link, info: Box::new(info), pushed: push });
            }
            // A link that closes ends its streams, whatever was still to be said on them: nobody's fault.
            None => self.events.extend((!inbound).then_some(Event::Unanswered { link })),
        }
    }
}

impl StreamUser for Identify {
    fn protocols(&self) -> Vec<ProtocolId> {
        vec![self.protocols.0, self.protocols.1]
    }

    fn handle_link(&mut self, now: Instant, link: LinkId, change: &LinkChange) {
        match change {
            LinkChange::Early(_) => {}
            LinkChange::Up(info) => {
                let (peer, refused) = (info.peer, Rate::new(REFUSED, REFUSED_EACH, now));
                let line =
                    Line { peer, observed: None, inbound: 0, next_push: now, refused, push: Push::Idle };
                self.lines.insert(link, Box::new(line));
            }
            LinkChange::Down => {
                self.lines.remove(&link);
                self.deadlines.set(Timer::Push(link), None);
                self.opening.retain(|_, (of, _)| *of != link);
                let streams: Vec<StreamKey> =
                    self.streams.keys().filter(|key| key.link == link).copied().collect();
                for key in streams {
                    self.forget(key);
                }
            }
        }
    }

    fn handle_opened(&mut self, now: Instant, key: StreamKey, origin: Origin) {
        match origin {
            Origin::Peer(protocol) => self.serve(now, key, protocol == self.protocols.1),
            Origin::Local { tag } => {
                let Some((link, push)) = self.opening.remove(&tag) else { return };
                let role = if push {
                    if let Some(line) = self.lines.get_mut(&link) {
                        line.push = Push::Begun;
                    }
                    self.push_later(now, link);
                    Role::Writing { bytes: self.own_message(link) }
                } else {
                    self.asks.push_back(Ask::Finish(key)); // nothing is said on it
                    Role::Reading { reader: Box::new(Reader::new()), push: false }
                };
                self.begin(now, key, Stream { role, inbound: false });
            }
        }
    }

    fn handle_refused(&mut self, now: Instant, tag: u64, _: OpenError) {
        let Some((link, push)) = self.opening.remove(&tag) else { return };
        if !push {
            return self.events.push_back(Event::Unanswered { link });
        }
        if let Some(line) = self.lines.get_mut(&link) {
            line.push = Push::Again; // there may be a place for its stream later
            self.push_later(now, link);
        }
    }

    fn class(&self, _: ProtocolId) -> Class {
        Class::Control
    }

    fn room(&self, key: StreamKey) -> usize {
        if self.streams.contains_key(&key) { PIECE } else { 0 }
    }

    fn handle_incoming(&mut self, _: Instant, key: StreamKey, input: Incoming) {
        match input {
            Incoming::Data(chunk) => self.data(key, chunk.into_bytes()),
            Incoming::End => self.end(key),
            // It does not speak identify, or has no place: nobody's fault.
            Incoming::Reset(_) | Incoming::Stopped(_) => self.break_off(key, DONE),
        }
    }

    fn poll_write(&mut self, _: Instant, key: StreamKey, room: usize, out: &mut Rope) {
        let Some(Stream { role: Role::Writing { bytes }, .. }) = self.streams.get_mut(&key) else { return };
        out.push(bytes.split_to(room.min(bytes.len())));
        if bytes.is_empty() {
            // A peer that does not end its own direction leaves no half of a stream behind.
            self.asks.extend([Ask::Finish(key), Ask::Stop(key, DONE)]);
            self.forget(key);
        }
    }

    fn poll_ask(&mut self) -> Option<Ask> {
        self.asks.pop_front()
    }

    fn handle_timeout(&mut self, now: Instant) {
        while let Some(timer) = self.deadlines.pop_due(now) {
            let key = match timer {
                Timer::Stream(key) => key,
                Timer::Push(link) => {
                    self.push_again(now, link);
                    continue;
                }
            };
            let reading =
                self.streams.get(&key).is_some_and(|stream| matches!(stream.role, Role::Reading { .. }));
            if reading {
                self.asks.push_back(Ask::Blame(key.link, LATE));
            }
            self.break_off(key, TIMEOUT);
        }
    }

    fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let (due, timer) = self.deadlines.next()?;
        let reason = match timer {
            Timer::Stream(_) => "an identify stream takes too long",
            Timer::Push(_) => "the next identify push may go out",
        };
        Some((due, reason))
    }
}
