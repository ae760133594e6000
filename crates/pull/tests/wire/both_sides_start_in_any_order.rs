//! Scenario 9, the part above links: both sides' first flights, and all that they bring, in every interleaving across streams.
//! Order is kept inside a stream, and what a node puts on one in one go arrives in one piece: pieces cut smaller, at one side,
//! are the other test's (`first_frames_in_any_order`). Whatever the order: nothing is lost, nobody is blamed, no link is closed.
//!
//! The search is exhaustive and ends: states in which both machines and all that is under way are the same, by their debug
//! text, are gone on from once. Hidden in that text are only keys and randomness, on which no order here depends.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hasher};
use std::time::Duration;

use bytes::Bytes;
use weir_base::pair::LINK;
use weir_base::stream::{Ask, Group, Incoming, LinkChange, LinkInfo, Origin, Side, StreamUser};
use weir_base::{Chunk, Instant, ProtocolId, Rope, StreamKey};
use weir_pull::{Channel, ChannelId, Command, Config, Event, Pull, Shape, call, pool, tip};

use crate::common::*;

const NOW: Instant = Instant::ZERO;
const POOL: ChannelId = ChannelId(3);

/// What travels in one piece.
#[derive(Clone, Debug)]
enum Piece {
    Open(ProtocolId),
    Data(Bytes),
    End,
    Stop(u32),
}

/// Who sent it, on which stream, and whether it is a wish of the reader: these overtake data, and data them.
type Lane = (usize, u64, bool);

/// One node, and what arrived and was not taken yet.
#[derive(Debug)]
struct Node {
    pull: Pull,
    opened: u64,
    unread: BTreeMap<u64, (Bytes, bool)>,
    reading: BTreeSet<u64>,
    writing: BTreeSet<u64>,
    told: BTreeSet<String>,
}

/// What the nodes have for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Load {
    /// A tip and a call.
    Small,
    /// A tip, an item and a call; the dialler two.
    Full,
}

/// Both nodes and all that is under way.
#[derive(Debug)]
struct World {
    nodes: [Node; 2],
    load: Load,
    lanes: BTreeMap<Lane, VecDeque<Vec<Piece>>>,
    sent: BTreeSet<Lane>, // since a node last was quiet
}

fn limits(load: Load) -> Config {
    let rules = pool::Rules { summarize: |_| pool::Summary::new(&[]), judge: |_| Some(1) };
    let pool = pool::Config { offer_delay: Duration::ZERO, ..pool::Config::new(rules) };
    let mut config = config();
    if load == Load::Full {
        config.channels.push(Channel {
            id: POOL,
            name: "pool".into(),
            version: 1,
            oldest: 1,
            shape: Shape::Pool(pool),
        });
    }
    config
}

impl World {
    fn new(load: Load) -> Self {
        let node = |seed| Node {
            pull: node(seed, limits(load)),
            opened: 0,
            unread: BTreeMap::new(),
            reading: BTreeSet::new(),
            writing: BTreeSet::new(),
            told: BTreeSet::new(),
        };
        let mut world =
            Self { nodes: [node(1), node(2)], load, lanes: BTreeMap::new(), sent: BTreeSet::new() };
        for (side, other, tip, item) in [(0, 2, "tip of a", "item of a"), (1, 1, "tip of b", "item of b")] {
            let pull = &mut world.nodes[side].pull;
            publish(pull, NOW, tip, 1).unwrap();
            if load == Load::Full {
                let insert = pool::Command::Insert { bytes: item.into() };
                pull.command(NOW, Command::Pool(POOL, insert)).unwrap();
            }
            let (dialler, of) = (side == 0, if side == 0 { Side::Dialled } else { Side::Inbound });
            let info = LinkInfo { peer: id(other), side: of, dialler, group: Group::Local(0) };
            pull.handle_link(NOW, LINK, &LinkChange::Up(info));
            let calls = if (load, side) == (Load::Full, 0) { 2 } else { 1 };
            for words in ["one", "two"].into_iter().take(calls) {
                request(pull, NOW, words).unwrap();
            }
            world.settle(side);
        }
        world
    }

    fn send(&mut self, from: usize, stream: u64, wish: bool, piece: Piece) {
        let lane = (from, stream, wish);
        let queue = self.lanes.entry(lane).or_default();
        match queue.back_mut().filter(|_| !self.sent.insert(lane)) {
            Some(last) => last.push(piece),
            None => queue.push_back(vec![piece]),
        }
    }

    /// Carries out what a node asks and answers for its application, until it is quiet.
    fn settle(&mut self, side: usize) {
        self.sent.clear();
        for _ in 0..200 {
            let node = &mut self.nodes[side];
            if node.pull.poll_timeout().is_some_and(|(due, _)| due <= NOW) {
                node.pull.handle_timeout(NOW);
            }
            if let Some(ask) = node.pull.poll_ask() {
                self.ask(side, ask);
            } else if let Some(event) = self.nodes[side].pull.poll_event() {
                self.event(side, event);
            } else {
                return;
            }
        }
        panic!("never quiet");
    }

    fn ask(&mut self, side: usize, ask: Ask) {
        let node = &mut self.nodes[side];
        match ask {
            Ask::Open { protocol, tag, .. } => {
                let stream = node.opened * 4 + side as u64;
                node.opened += 1;
                node.reading.insert(stream);
                node.writing.insert(stream);
                node.pull.handle_opened(NOW, StreamKey { link: LINK, stream }, Origin::Local { tag });
                self.send(side, stream, false, Piece::Open(protocol));
            }
            Ask::Write(key) => {
                let mut out = Rope::new();
                node.pull.poll_write(NOW, key, 100_000, &mut out);
                if !out.is_empty() {
                    self.send(side, key.stream, false, Piece::Data(out.into_bytes()));
                }
            }
            Ask::Resume(key) => self.read(side, key.stream),
            Ask::Finish(key) => {
                assert!(node.writing.remove(&key.stream));
                self.send(side, key.stream, false, Piece::End);
            }
            Ask::Stop(key, code) => {
                if node.reading.remove(&key.stream) {
                    self.send(side, key.stream, true, Piece::Stop(code));
                }
            }
            other => panic!("{other:?} by {side}"),
        }
    }

    fn event(&mut self, side: usize, event: Event) {
        let node = &mut self.nodes[side];
        let told = match event {
            Event::Ready { .. } => "ready".into(),
            Event::Call(_, call::Event::Request { ticket, request, .. }) => {
                answer(&mut node.pull, NOW, ticket, Ok(request.clone())).unwrap();
                format!("asked {request:?}")
            }
            Event::Call(_, call::Event::Response { result, .. }) => format!("answered {result:?}"),
            Event::Tip(_, tip::Event::Received { value, .. }) => format!("told {value:?}"),
            Event::Pool(_, pool::Event::Candidate { bytes, .. }) => format!("given {bytes:?}"),
            _ => return,
        };
        assert!(node.told.insert(told.clone()), "twice: {told}");
    }

    /// What was put on a lane in one go arrives.
    fn deliver(&mut self, lane: Lane) {
        let (from, stream, _) = lane;
        let (side, key) = (1 - from, StreamKey { link: LINK, stream });
        let Some(queue) = self.lanes.get_mut(&lane) else { return };
        let pieces = queue.pop_front().unwrap();
        if queue.is_empty() {
            self.lanes.remove(&lane);
        }
        pieces.into_iter().for_each(|piece| self.arrive(side, key, piece));
        self.settle(side);
    }

    fn arrive(&mut self, side: usize, key: StreamKey, piece: Piece) {
        let (node, stream) = (&mut self.nodes[side], key.stream);
        match piece {
            Piece::Open(protocol) => {
                node.reading.insert(stream);
                node.writing.insert(stream);
                node.pull.handle_opened(NOW, key, Origin::Peer(protocol));
            }
            Piece::Data(bytes) => {
                let unread = node.unread.entry(stream).or_default();
                unread.0 = [&unread.0[..], &bytes].concat().into();
                self.read(side, stream);
            }
            Piece::End => {
                node.unread.entry(stream).or_default().1 = true;
                self.read(side, stream);
            }
            Piece::Stop(code) => {
                if node.writing.remove(&stream) {
                    node.pull.handle_incoming(NOW, key, Incoming::Stopped(code));
                }
            }
        }
    }

    /// A node takes what it has room for.
    fn read(&mut self, side: usize, stream: u64) {
        let (node, key) = (&mut self.nodes[side], StreamKey { link: LINK, stream });
        if !node.reading.contains(&stream) {
            node.unread.remove(&stream);
            return;
        }
        loop {
            let Some((bytes, ended)) = node.unread.get_mut(&stream) else { return };
            let part = bytes.split_to(bytes.len().min(node.pull.room(key)));
            if !part.is_empty() {
                node.pull.handle_incoming(NOW, key, Incoming::Data(Chunk::whole(part)));
            } else if bytes.is_empty() && *ended {
                node.unread.remove(&stream);
                node.reading.remove(&stream);
                return node.pull.handle_incoming(NOW, key, Incoming::End);
            } else {
                return;
            }
        }
    }

    /// Names the state.
    fn name(&self) -> u64 {
        let mut text = Text(DefaultHasher::new());
        write!(text, "{self:?}").unwrap();
        text.0.finish()
    }

    /// Nothing is under way: all that was for a node has reached it.
    fn check(&self) {
        let expected = [
            ["ready", "answered Ok(b\"one\")", "answered Ok(b\"two\")", "asked b\"one\""].as_slice(),
            ["ready", "answered Ok(b\"one\")", "asked b\"one\"", "asked b\"two\""].as_slice(),
        ];
        for (node, (words, other)) in self.nodes.iter().zip(expected.iter().zip(["b", "a"])) {
            let words = words.iter().copied().filter(|word| self.load == Load::Full || !word.contains("two"));
            let mut words: BTreeSet<String> = words.map(str::to_owned).collect();
            words.insert(format!("told b\"tip of {other}\""));
            if self.load == Load::Full {
                words.insert(format!("given b\"item of {other}\""));
            }
            assert_eq!(node.told, words);
            assert!(node.unread.values().all(|(rest, _)| rest.is_empty()));
        }
    }
}

/// Takes text for its hash alone.
struct Text(DefaultHasher);

impl std::fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}

/// A tip and a call for each other: few enough to go on from every state in every way.
#[test]
fn every_order_of_all_that_small_first_flights_bring_ends_well() {
    let (mut seen, mut ends) = (BTreeSet::new(), 0);
    let mut paths: Vec<Vec<Lane>> = vec![Vec::new()];
    while let Some(path) = paths.pop() {
        let mut world = World::new(Load::Small);
        path.iter().for_each(|lane| world.deliver(*lane));
        if !seen.insert(world.name()) {
            continue;
        }
        if world.lanes.is_empty() {
            ends += 1;
            world.check();
        }
        paths.extend(world.lanes.keys().map(|lane| [&path[..], &[*lane]].concat()));
    }
    assert!(seen.len() > 500 && ends > 0);
}

/// When what the first flights bring arrives.
#[derive(Clone, Copy, Debug)]
enum Rest {
    /// After both flights, the streams in order.
    Later,
    /// After both flights, the streams in the opposite order.
    Backwards,
    /// At once, before more of the flights.
    AtOnce,
}

/// Every order of a list.
fn orders(lanes: &[Lane]) -> Vec<Vec<Lane>> {
    if lanes.is_empty() {
        return vec![Vec::new()];
    }
    let from = |first: &Lane| {
        let others: Vec<Lane> = lanes.iter().copied().filter(|lane| lane != first).collect();
        orders(&others).into_iter().map(|order| [&[*first], &order[..]].concat()).collect::<Vec<_>>()
    };
    lanes.iter().flat_map(from).collect()
}

/// Until nothing is under way but what is left of the first flights.
fn deliver_rest(world: &mut World, rest: Rest, flights: &[Lane]) {
    loop {
        let mut lanes = world.lanes.keys().filter(|lane| !flights.contains(lane)).copied();
        let next = if let Rest::Backwards = rest { lanes.next_back() } else { lanes.next() };
        let Some(lane) = next else { return };
        world.deliver(lane);
    }
}

/// With a pool and a second call: every order at each side, each with each, as what either side gets of the other's first flight
/// changes nothing in its own.
#[test]
fn every_order_of_both_first_flights_ends_well() {
    let flights = |side: usize| -> Vec<Lane> {
        World::new(Load::Full).lanes.into_keys().filter(|lane| lane.0 == side).collect()
    };
    let (to_b, to_a) = (orders(&flights(0)), orders(&flights(1)));
    let mut runs = 0;
    for (there, back) in to_b.iter().flat_map(|there| to_a.iter().map(move |back| (there, back))) {
        for rest in [Rest::Later, Rest::Backwards, Rest::AtOnce] {
            let mut world = World::new(Load::Full);
            let (mut there, mut back) = (there.clone(), back.clone());
            while !there.is_empty() || !back.is_empty() {
                // by turns, so that both are half-way at once
                for left in [&mut there, &mut back] {
                    if !left.is_empty() {
                        world.deliver(left.remove(0));
                    }
                    if let Rest::AtOnce = rest {
                        let waiting: Vec<Lane> = [&left[..]].concat();
                        deliver_rest(&mut world, rest, &waiting);
                    }
                }
            }
            deliver_rest(&mut world, rest, &[]);
            world.check();
            runs += 1;
        }
    }
    assert_eq!(runs, 120 * 6 * 3, "five streams one way, three the other");
}
