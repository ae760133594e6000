//! Two nodes, or a node and a scripted peer, over `base::pair`.
#![allow(unreachable_pub)] // one helper for all scenarios

use std::collections::{BTreeMap, VecDeque};
use std::sync::OnceLock;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use weir_base::codec::put_varint;
use weir_base::identity::{Keypair, PeerId};
use weir_base::pair::{LINK, Pair, Pipe};
use weir_base::stream::{Ask, Class, Incoming, LinkChange, OpenError, Origin, StreamUser};
use weir_base::{Instant, LinkId, NetworkId, ProtocolId, Rng, Rope, StreamKey};
use weir_pull::ShortKey;
use weir_pull::control::codec::{ChannelOffer, Hello, Preamble};
use weir_pull::tip::{Grounds, SlotKey};
use weir_pull::{
    Channel, Command, Config, Event, NumberedKey, Pull, Refused, Shape, Ticket, call, control, tip,
};
use weir_pull::{ChannelId, framing};

pub const TIP: ChannelId = ChannelId(1);
pub const CALL: ChannelId = ChannelId(2);

pub fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

pub fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub fn id(seed: u8) -> PeerId {
    static IDS: OnceLock<Vec<PeerId>> = OnceLock::new();
    let make = |seed| Keypair::ed25519_from_seed([seed; 32]).public().peer_id();
    IDS.get_or_init(|| (0..8).map(make).collect())[usize::from(seed)]
}

pub fn config() -> Config {
    let channel = |id, name: &str, shape| Channel { id, name: name.into(), version: 1, oldest: 1, shape };
    Config {
        network: NetworkId([7; 32]),
        agent: "test/1".into(),
        services: Vec::new(),
        channels: vec![
            channel(TIP, "tip", Shape::Tip(tip::Config::default())),
            channel(CALL, "call", Shape::Call(call::Config::default())),
        ],
        control: control::Config::default(),
        call_memory: 4 * call::DEFAULT_MEMORY, // room for the answers of 64 requests at once
    }
}

/// The call channel's limits, to change.
pub fn call_config(config: &mut Config) -> &mut call::Config {
    match &mut config.channels[1].shape {
        Shape::Call(config) => config,
        _ => panic!("no call channel"),
    }
}

/// The tip channel's limits, to change.
pub fn tip_config(config: &mut Config) -> &mut tip::Config {
    match &mut config.channels[0].shape {
        Shape::Tip(config) => config,
        _ => panic!("no tip channel"),
    }
}

pub fn node(seed: u8, config: Config) -> Pull {
    Pull::new(config, Rng::from_number(u64::from(seed))).unwrap()
}

pub fn two(a: Config, b: Config, pipe: Pipe, seed: u64) -> Pair<Pull, Pull> {
    Pair::new(node(1, a), node(2, b), (id(1), id(2)), pipe, seed)
}

pub fn against(script: Script, config: Config) -> Pair<Script, Pull> {
    Pair::new(script, node(2, config), (id(1), id(2)), Pipe::default(), 1)
}

pub fn events(pull: &mut Pull) -> Vec<Event> {
    std::iter::from_fn(|| pull.poll_event()).collect()
}

pub fn is_ready(events: &[Event]) -> bool {
    events.iter().any(|event| matches!(event, Event::Ready { .. }))
}

/// What call channels tell. Each request is taken at once, so that the next one comes.
pub fn calls(pull: &mut Pull) -> Vec<call::Event> {
    let mut all = Vec::new();
    while let Some(event) = pull.poll_event() {
        let Event::Call(channel, event) = event else { continue };
        if let call::Event::Request { ticket, .. } = event {
            take(pull, Instant::ZERO, channel, ticket);
        }
        all.push(event);
    }
    all
}

/// The application takes a request out of its mailbox.
pub fn take(pull: &mut Pull, now: Instant, channel: ChannelId, ticket: Ticket) {
    pull.command(now, Command::Call(channel, call::Command::Taken { ticket, at: now })).unwrap();
}

pub fn tips(pull: &mut Pull) -> Vec<tip::Event> {
    let all = events(pull).into_iter();
    all.filter_map(|event| if let Event::Tip(_, event) = event { Some(event) } else { None }).collect()
}

pub fn received(pull: &mut Pull) -> Vec<(Ticket, Bytes)> {
    let all = tips(pull).into_iter();
    all.filter_map(|event| {
        if let tip::Event::Received { ticket, value, .. } = event { Some((ticket, value)) } else { None }
    })
    .collect()
}

pub fn grounds(slot: u8) -> Grounds {
    Grounds { slot: SlotKey([slot; 32]), unvalidated: 0, begins: None }
}

pub fn publish(pull: &mut Pull, now: Instant, value: &'static str, slot: u8) -> Result<Ticket, Refused> {
    let command = tip::Command::Publish { value: value.into(), grounds: grounds(slot) };
    pull.command(now, Command::Tip(TIP, command))
}

pub fn decide(
    pull: &mut Pull,
    now: Instant,
    ticket: Ticket,
    verdict: tip::Verdict,
) -> Result<Ticket, Refused> {
    pull.command(now, Command::Tip(TIP, tip::Command::Verdict { ticket, verdict }))
}

pub fn request(pull: &mut Pull, now: Instant, request: impl Into<Bytes>) -> Result<Ticket, Refused> {
    let command = call::Command::Call { link: LINK, request: request.into(), deadline: None };
    pull.command(now, Command::Call(CALL, command))
}

pub fn answer(
    pull: &mut Pull,
    now: Instant,
    ticket: Ticket,
    response: Result<Bytes, call::Refusal>,
) -> Result<Ticket, Refused> {
    pull.command(now, Command::Call(CALL, call::Command::Answer { ticket, at: now, response }))
}

/// A message as it stands on the wire.
pub fn message(kind: u64, fields: &[u8]) -> Bytes {
    let mut out = Rope::new();
    framing::put(&mut out, kind, |head| head.extend_from_slice(fields));
    out.into_bytes()
}

/// The hello of a scripted peer that fits [`config`].
pub fn hello() -> Hello {
    let offer = |id, name: &str, shape| ChannelOffer {
        id,
        name: name.into(),
        oldest: 1,
        newest: 1,
        shape,
        max_request: if shape == 3 { 65_536 } else { 0 },
        max_answer: if shape == 3 { 1_048_576 } else { 1024 },
        at_once: if shape == 3 { 64 } else { 0 },
    };
    Hello {
        preamble: Preamble { oldest: 1, newest: 1, network: NetworkId([7; 32]) },
        features: 0,
        agent: "script".into(),
        services: Vec::new(),
        max_streams: 256,
        key: NumberedKey { number: 1, key: ShortKey([1; 16]) },
        channels: vec![offer(TIP, "tip", 1), offer(CALL, "call", 3)],
    }
}

pub fn hello_bytes(hello: &Hello) -> Bytes {
    let mut fields = BytesMut::new();
    hello.encode(&mut fields);
    message(0, &fields)
}

pub fn varint(value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(&mut out, value);
    out
}

/// A peer that does what a test tells it: opens streams and writes bytes on them, however wrong.
#[derive(Default)]
pub struct Script {
    /// By the order of opening (`open` returns it), what is to be written.
    pub out: BTreeMap<u64, Rope>,
    /// Streams by the tag of our open; the peer's own are listed in `theirs`.
    pub keys: BTreeMap<u64, StreamKey>,
    /// The streams that the node opened.
    pub theirs: Vec<(ProtocolId, StreamKey)>,
    /// What was read, by stream.
    pub read: BTreeMap<u64, Vec<u8>>,
    /// Ends of streams: `None` for a clean one.
    pub ends: BTreeMap<u64, Option<u32>>,
    pub stopped: BTreeMap<u64, u32>,
    pub down: bool,
    /// Takes nothing off any stream.
    pub deaf: bool,
    asks: VecDeque<Ask>,
    tags: u64,
    open_on_up: Vec<(ProtocolId, Bytes)>,
}

impl Script {
    /// Says hello when the link comes up, and nothing else.
    pub fn polite() -> Self {
        Self::saying(hello_bytes(&hello()))
    }

    pub fn saying(first: Bytes) -> Self {
        Self::default().on_up(ProtocolId(0), first)
    }

    pub fn on_up(mut self, protocol: ProtocolId, bytes: Bytes) -> Self {
        self.open_on_up.push((protocol, bytes));
        self
    }

    /// Opens a stream and writes on it; returns the stream's tag.
    pub fn open(&mut self, protocol: ProtocolId, bytes: impl Into<Bytes>) -> u64 {
        let tag = self.tags;
        self.tags += 1;
        self.out.entry(tag).or_default().push(bytes.into());
        self.asks.push_back(Ask::Open { link: LINK, protocol, class: Class::Bulk, tag });
        tag
    }

    /// Writes on a stream it opened.
    pub fn write(&mut self, tag: u64, bytes: impl Into<Bytes>) {
        self.out.entry(tag).or_default().push(bytes.into());
        self.asks.extend(self.keys.get(&tag).copied().map(Ask::Write));
    }

    /// Writes on a stream that the node opened for `protocol`, the latest of them.
    pub fn reply(&mut self, protocol: ProtocolId, bytes: impl Into<Bytes>) {
        let key = self.theirs.iter().rev().find(|(of, _)| *of == protocol).unwrap().1;
        let tag = 1_000 + key.stream;
        self.keys.insert(tag, key);
        self.write(tag, bytes);
    }

    pub fn finish(&mut self, tag: u64) {
        self.asks.push_back(Ask::Finish(self.keys[&tag]));
    }

    pub fn ask(&mut self, ask: Ask) {
        self.asks.push_back(ask);
    }

    /// Everything read on the streams of a protocol the node opened, or on our own with this tag.
    pub fn heard(&self, tag: u64) -> Vec<u8> {
        self.keys.get(&tag).and_then(|key| self.read.get(&key.stream)).cloned().unwrap_or_default()
    }

    /// What the node wrote on its latest stream for `protocol`.
    pub fn heard_on(&self, protocol: ProtocolId) -> Vec<u8> {
        let key = self.theirs.iter().rev().find(|(of, _)| *of == protocol).map(|(_, key)| key.stream);
        key.and_then(|stream| self.read.get(&stream)).cloned().unwrap_or_default()
    }

    /// The messages read on the control stream, type by type.
    pub fn control(&self) -> Vec<(u64, Bytes)> {
        messages(&self.heard(0))
    }
}

/// Cuts bytes into messages: type and fields.
pub fn messages(bytes: &[u8]) -> Vec<(u64, Bytes)> {
    let (mut framer, mut rest) = (weir_base::codec::Framer::new(1 << 24), Bytes::copy_from_slice(bytes));
    std::iter::from_fn(|| framer.next(&mut rest).unwrap())
        .map(|frame| framing::Message::decode(frame).unwrap())
        .map(|message| (message.kind, message.body))
        .collect()
}

impl StreamUser for Script {
    fn handle_link(&mut self, _: Instant, _: LinkId, change: &LinkChange) {
        match change {
            LinkChange::Up(_) => {
                for (protocol, bytes) in std::mem::take(&mut self.open_on_up) {
                    self.open(protocol, bytes);
                }
            }
            LinkChange::Early(_) => {}
            LinkChange::Down => self.down = true,
        }
    }
    fn handle_opened(&mut self, _: Instant, key: StreamKey, origin: Origin) {
        match origin {
            Origin::Local { tag } => {
                self.keys.insert(tag, key);
                self.asks.push_back(Ask::Write(key));
            }
            Origin::Peer(protocol) => self.theirs.push((protocol, key)),
        }
    }
    fn handle_refused(&mut self, _: Instant, _: u64, _: OpenError) {}
    fn class(&self, _: ProtocolId) -> Class {
        Class::Bulk
    }
    fn room(&self, _: StreamKey) -> usize {
        if self.deaf { 0 } else { 1 << 20 }
    }
    fn handle_incoming(&mut self, _: Instant, key: StreamKey, input: Incoming) {
        match input {
            Incoming::Data(chunk) => self.read.entry(key.stream).or_default().extend_from_slice(&chunk),
            Incoming::End => drop(self.ends.insert(key.stream, None)),
            Incoming::Reset(code) => drop(self.ends.insert(key.stream, Some(code))),
            Incoming::Stopped(code) => drop(self.stopped.insert(key.stream, code)),
        }
    }
    fn poll_write(&mut self, _: Instant, key: StreamKey, room: usize, out: &mut Rope) {
        let tag = self.keys.iter().find(|(_, of)| **of == key).map(|(tag, _)| *tag);
        if let Some(pending) = tag.and_then(|tag| self.out.get_mut(&tag)) {
            framing::pour(pending, room, out);
        }
    }
    fn poll_ask(&mut self) -> Option<Ask> {
        self.asks.pop_front()
    }
    fn handle_timeout(&mut self, _: Instant) {}
    fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        None
    }
}
