//! Pools of several nodes over links in virtual time, and strangers whose bytes a test writes by hand.
//!
//! Streams are reliable and ordered, data is cut into random pieces; each direction has a window. The same seed gives
//! the same run. After every step the harness checks what must always hold (see `Mesh::check`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::ShortKey;
use crate::channel::ChannelId;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use weir_base::codec::Malformed;
use weir_base::identity::{Keypair, PeerId};
use weir_base::pair::{Agenda, Flow, Part};
use weir_base::stream::{Ask, Group, Incoming, LinkInfo, Side};
use weir_base::{Chunk, Fault, Instant, LinkId, Ready, Rng, Rope, StreamKey};

use super::super::*;
use crate::keys::{Keys, NumberedKey};
use crate::machine::{Machine, MachineSetup, Negotiated, Opened, Ticket, Tickets};

pub(super) const CHANNEL: ChannelId = ChannelId(3);

/// The first byte of an item is its priority and its summary; no other rule.
pub(super) const RULES: Rules = Rules {
    summarize: |bytes: &Bytes| Summary::new(bytes.get(..1).ok_or(Malformed::Truncated)?),
    judge: |summary| summary.as_slice().first().map(|first| u64::from(*first)),
};

/// An item of `size` bytes (at least 9) with this priority, different for each `number`.
pub(super) fn item(priority: u8, number: u64, size: usize) -> Bytes {
    let mut bytes = vec![priority];
    bytes.extend_from_slice(&number.to_le_bytes());
    bytes.resize(size.max(9), 7);
    Bytes::from(bytes)
}

pub(super) fn id(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

pub(super) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(super) fn peer(node: usize) -> PeerId {
    Keypair::ed25519_from_seed([u8::try_from(node).unwrap() + 1; 32]).peer_id()
}

pub(super) fn key(node: usize, number: u32) -> NumberedKey {
    let mut key = [u8::try_from(node).unwrap(); 16];
    key[0] = u8::try_from(number).unwrap();
    NumberedKey { number, key: ShortKey(key) }
}

pub(super) fn pool(node: usize, config: Config, seed: u64) -> Pool {
    let keys = Keys { current: key(node, 1), previous: None };
    let rng = Rng::from_number(seed * 1_000 + node as u64);
    Pool::new(config, MachineSetup { channel: CHANNEL, tickets: Tickets::new(1), keys, rng })
}

/// What the application of a node does with a candidate, and after how long.
pub(super) type App = Box<dyn FnMut(usize, &[u8]) -> (Duration, Option<Verdict>)>;

pub(super) struct Node {
    pub(super) pool: Option<Pool>, // a stranger has none
    /// What a stranger has received, by stream.
    pub(super) heard: BTreeMap<StreamKey, Vec<u8>>,
    /// Streams a stranger's peer has opened, and their lane.
    pub(super) opened: Vec<(StreamKey, u8)>,
    pub(super) key: NumberedKey,
    pub(super) candidates: Vec<[u8; 32]>,
    pub(super) evicted: Vec<[u8; 32]>,
    info: (Side, Group),
}

struct Wire {
    ends: [usize; 2],
    delay: Duration,
    opened: u64,
}

enum Piece {
    Open(u8),
    Part(Part),
    Stopped(u32),
    Verdict(Ticket, Verdict),
}

/// One direction of a stream: link, stream, writing node.
type Direction = (LinkId, u64, usize);

pub(super) struct Mesh {
    pub(super) now: Instant,
    pub(super) nodes: Vec<Node>,
    pub(super) faults: Vec<(usize, LinkId, Fault)>,
    pub(super) app: App,
    pub(super) window: usize,
    pub(super) piece: usize,
    /// Streams that the transport lets nothing be written on.
    pub(super) stuck: BTreeSet<StreamKey>,
    wires: BTreeMap<LinkId, Wire>,
    flows: BTreeMap<Direction, Flow>,
    flying: Agenda<(Direction, Piece)>,
    writing: Ready<Direction>,
    rng: Rng,
    links: u64,
}

impl Mesh {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            now: Instant::from_millis(1),
            nodes: Vec::new(),
            faults: Vec::new(),
            app: Box::new(|_, _| (Duration::ZERO, Some(Verdict::Accept))),
            window: 65_536,
            piece: 1_200,
            stuck: BTreeSet::new(),
            wires: BTreeMap::new(),
            flows: BTreeMap::new(),
            flying: Agenda::new(),
            writing: Ready::default(),
            rng: Rng::from_number(seed),
            links: 0,
        }
    }

    /// `count` nodes with this configuration, each linked to each, 50 ms apart.
    pub(super) fn full(seed: u64, count: usize, config: &Config) -> Self {
        let mut mesh = Self::new(seed);
        for node in 0..count {
            mesh.add(Some(pool(node, config.clone(), seed)));
            for other in 0..node {
                mesh.link(node, other, 50);
            }
        }
        mesh
    }

    pub(super) fn add(&mut self, pool: Option<Pool>) -> usize {
        let node = self.nodes.len();
        self.nodes.push(Node {
            pool,
            heard: BTreeMap::new(),
            opened: Vec::new(),
            key: key(node, 1),
            candidates: Vec::new(),
            evicted: Vec::new(),
            info: (Side::Inbound, Group::Local(u32::try_from(node).unwrap())),
        });
        node
    }

    /// How the others see this node's side and group, where it dials.
    pub(super) fn set_group(&mut self, node: usize, side: Side, group: Group) {
        self.nodes[node].info = (side, group);
    }

    /// `a` dials `b`. Both hellos are done at once.
    pub(super) fn link(&mut self, a: usize, b: usize, delay: u64) -> LinkId {
        self.links += 1;
        let link = LinkId(self.links);
        self.wires.insert(link, Wire { ends: [a, b], delay: ms(delay), opened: 0 });
        for (node, other, dialler) in [(a, b, true), (b, a, false)] {
            let (side, group) =
                if dialler { (Side::Dialled, Group::Local(0)) } else { self.nodes[other].info };
            let (now, peer_key) = (self.now, self.nodes[other].key);
            let info = LinkInfo { peer: peer(other), side, dialler, group };
            if let Some(pool) = &mut self.nodes[node].pool {
                pool.link_up(now, link, &info);
                pool.link_rtt(now, link, ms(2 * delay));
                pool.link_ready(
                    now,
                    link,
                    &Negotiated { version: 1, max_request: 0, max_answer: u32::MAX, at_once: 0, peer_key },
                );
            }
        }
        self.settle();
        link
    }

    /// A node has measured a round trip: the other end answered its ping.
    pub(super) fn rtt(&mut self, node: usize, link: LinkId, rtt: Duration) {
        let now = self.now;
        if let Some(pool) = &mut self.nodes[node].pool {
            pool.link_rtt(now, link, rtt);
        }
    }

    pub(super) fn unlink(&mut self, link: LinkId) {
        let Some(wire) = self.wires.remove(&link) else { return };
        self.flying.retain(|(direction, piece)| direction.0 != link || matches!(piece, Piece::Verdict(..)));
        self.flows.retain(|direction, _| direction.0 != link);
        for node in wire.ends {
            let now = self.now;
            if let Some(pool) = &mut self.nodes[node].pool {
                pool.link_down(now, link);
            }
        }
        self.settle();
    }

    pub(super) fn link_between(&self, a: usize, b: usize) -> Option<LinkId> {
        let ends = |wire: &Wire| wire.ends == [a, b] || wire.ends == [b, a];
        self.wires.iter().find(|(_, wire)| ends(wire)).map(|(link, _)| *link)
    }

    pub(super) fn command(&mut self, node: usize, command: Command) {
        let now = self.now;
        self.pool(node).command(now, command).unwrap();
        self.settle();
    }

    pub(super) fn insert(&mut self, node: usize, bytes: &Bytes) {
        self.command(node, Command::Insert { bytes: bytes.clone() });
    }

    pub(super) fn pool(&mut self, node: usize) -> &mut Pool {
        self.nodes[node].pool.as_mut().unwrap()
    }

    pub(super) fn stats(&self, node: usize) -> Stats {
        self.nodes[node].pool.as_ref().unwrap().stats()
    }

    /// The ids a node's pool holds.
    pub(super) fn ids(&self, node: usize) -> Vec<[u8; 32]> {
        let log = &self.nodes[node].pool.as_ref().unwrap().common.inventory.log;
        let mut ids = Vec::new();
        let mut next = 0;
        while let Some((index, item)) = log.next_from(next) {
            ids.push(item.id());
            next = index + 1;
        }
        ids.sort_unstable();
        ids
    }

    /// New short-id keys for `node`, told to all its peers at once.
    pub(super) fn rotate(&mut self, node: usize, number: u32, expire: bool) {
        let before = self.nodes[node].key;
        self.nodes[node].key = key(node, number);
        let keys = Keys { current: key(node, number), previous: (!expire).then_some(before) };
        let now = self.now;
        self.pool(node).own_keys(now, &keys);
        let links: Vec<(LinkId, usize)> = self.links_of(node);
        for (link, other) in links {
            if let Some(pool) = &mut self.nodes[other].pool {
                pool.link_key(now, link, keys.current);
            }
        }
        self.settle();
    }

    pub(super) fn links_of(&self, node: usize) -> Vec<(LinkId, usize)> {
        let other = |wire: &Wire| match wire.ends {
            [a, b] if a == node => Some(b),
            [a, b] if b == node => Some(a),
            _ => None,
        };
        self.wires.iter().filter_map(|(link, wire)| Some((*link, other(wire)?))).collect()
    }

    /// From now on windows bound nothing.
    pub(super) fn open_windows(&mut self) {
        self.window = usize::MAX / 2;
        let pools = |direction: &&Direction| self.nodes[direction.2].pool.is_some();
        self.flows.keys().filter(pools).for_each(|direction| self.writing.mark(*direction));
        self.settle();
    }

    /// The data that a node has written and that has not arrived, in the order of its writing: link and bytes.
    pub(super) fn under_way(&self, node: usize) -> Vec<(LinkId, usize)> {
        let pieces = self.flying.under_way().into_iter().filter(|(direction, _)| direction.2 == node);
        let size = |piece: &Piece| if let Piece::Part(Part::Data(chunk)) = piece { chunk.len() } else { 0 };
        pieces.map(|(direction, piece)| (direction.0, size(piece))).collect()
    }

    pub(super) fn run_for(&mut self, pause: Duration) {
        let until = self.now + pause;
        loop {
            self.settle();
            let timeouts =
                self.nodes.iter().filter_map(|node| node.pool.as_ref()?.poll_timeout()).map(|(due, _)| due);
            if !self.flying.step(&mut self.now, timeouts, until) {
                return;
            }
            for node in 0..self.nodes.len() {
                let now = self.now;
                if let Some(pool) =
                    self.nodes[node].pool.as_mut().filter(|p| p.poll_timeout().is_some_and(|t| t.0 <= now))
                {
                    pool.handle_timeout(now);
                }
            }
            while let Some((direction, piece)) = self.flying.arrived(self.now) {
                self.arrive(direction, piece);
                self.settle();
            }
            self.check();
        }
    }

    /// What must hold at every step, on both ledgers.
    fn check(&self) {
        for pool in self.nodes.iter().filter_map(|node| node.pool.as_ref()) {
            let stats = pool.stats();
            assert!(stats.entries_held <= stats.entries_granted && stats.bytes_held <= stats.bytes_granted);
            for side in [Side::Dialled, Side::Inbound] {
                let lent = pool.client.demand.lent.of(side);
                let of_side = pool.common.links.iter().filter(|(_, link)| link.info.side == side);
                assert_eq!(of_side.map(|(_, link)| link.intake.grant.outstanding()).sum::<u64>(), lent);
                assert!(lent <= u64::from(pool.common.config.max_grants) / 2 + 64, "{lent}");
            }
            pool.check_waiting();
        }
    }

    pub(super) fn settle(&mut self) {
        loop {
            let mut idle = true;
            for node in 0..self.nodes.len() {
                while let Some(ask) = self.nodes[node].pool.as_mut().and_then(Pool::poll_ask) {
                    self.ask(node, ask);
                    idle = false;
                }
                while let Some(event) = self.nodes[node].pool.as_mut().and_then(Pool::poll_event) {
                    self.event(node, event);
                    idle = false;
                }
            }
            if let Some(direction) = self.writing.pop() {
                self.write(direction);
                idle = false;
            }
            if idle {
                return;
            }
        }
    }

    fn event(&mut self, node: usize, event: Event) {
        match event {
            Event::Candidate { ticket, id, bytes, .. } => {
                self.nodes[node].candidates.push(id);
                let (pause, verdict) = (self.app)(node, &bytes);
                let Some(verdict) = verdict else { return };
                let now = self.now;
                self.pool(node).command(now, Command::Taken { ticket, at: now }).unwrap();
                if pause.is_zero() {
                    self.pool(node).command(now, Command::Verdict { ticket, at: now, verdict }).unwrap();
                } else {
                    let direction = (LinkId(0), 0, node);
                    self.flying.send(now + pause, (direction, Piece::Verdict(ticket, verdict)));
                }
            }
            Event::Evicted { id } => self.nodes[node].evicted.push(id),
            Event::BatchDone { .. } => {} // who sends a batch reads its event
        }
    }

    fn other(&self, link: LinkId, node: usize) -> Option<usize> {
        let ends = self.wires.get(&link)?.ends;
        ends.into_iter().find(|end| *end != node)
    }

    fn ask(&mut self, node: usize, ask: Ask) {
        match ask {
            Ask::Open { link, protocol, tag, .. } => {
                let stream = self.open(node, link, ChannelId::of(protocol).unwrap().1);
                let (now, Some(key)) = (self.now, stream) else { return };
                self.pool(node).handle_opened(now, key, Opened::Local { tag });
            }
            Ask::Resume(key) => {
                if let Some(other) = self.other(key.link, node) {
                    self.deliver((key.link, key.stream, other));
                }
            }
            Ask::Write(key) | Ask::Finish(key) => self.writing.mark((key.link, key.stream, node)),
            Ask::Reset(key, code) => self.close((key.link, key.stream, node), Part::Reset(code)),
            Ask::Stop(key, code) => {
                let Some(other) = self.other(key.link, node) else { return };
                let direction = (key.link, key.stream, other);
                if self.flows.get_mut(&direction).is_some_and(Flow::stop) {
                    self.fly((key.link, key.stream, node), Piece::Stopped(code));
                }
            }
            Ask::Blame(link, fault) => self.faults.push((node, link, fault)),
            Ask::Close(link, _) => self.unlink(link),
        }
    }

    /// Opens a stream of a node, also of a stranger.
    pub(super) fn open(&mut self, node: usize, link: LinkId, lane: u8) -> Option<StreamKey> {
        let other = self.other(link, node)?;
        let wire = self.wires.get_mut(&link)?;
        wire.opened += 1;
        let stream = wire.opened;
        for end in [node, other] {
            self.flows.insert((link, stream, end), Flow::default());
        }
        self.fly((link, stream, node), Piece::Open(lane));
        Some(StreamKey { link, stream })
    }

    /// Sends a stranger's bytes.
    pub(super) fn send(&mut self, node: usize, key: StreamKey, bytes: &[u8]) {
        let direction = (key.link, key.stream, node);
        if let Some(flow) = self.flows.get_mut(&direction).filter(|flow| flow.room(0).is_some()) {
            flow.wrote(bytes.len());
            self.fly(direction, Piece::Part(Part::Data(Chunk::whole(Bytes::copy_from_slice(bytes)))));
        }
    }

    fn write(&mut self, direction: Direction) {
        let (link, stream, node) = direction;
        let now = self.now;
        let key = StreamKey { link, stream };
        loop {
            let Some(room) = self.flows.get(&direction).and_then(|flow| flow.room(self.window)) else {
                return;
            };
            if room == 0 || self.stuck.contains(&key) {
                return;
            }
            let mut out = Rope::new();
            self.pool(node).poll_write(now, key, room, &mut out);
            assert!(out.len() <= room, "wrote {} into {room}", out.len());
            if out.is_empty() {
                return;
            }
            if let Some(flow) = self.flows.get_mut(&direction) {
                flow.wrote(out.len());
            }
            while !out.is_empty() {
                let most = 1 + self.rng.index(self.piece);
                if let Some(bytes) = out.pop(most) {
                    self.fly(direction, Piece::Part(Part::Data(Chunk::whole(bytes))));
                }
            }
        }
    }

    fn close(&mut self, direction: Direction, part: Part) {
        if self.flows.get_mut(&direction).is_some_and(Flow::close) {
            self.fly(direction, Piece::Part(part));
        }
    }

    fn fly(&mut self, direction: Direction, piece: Piece) {
        let Some(wire) = self.wires.get(&direction.0) else { return };
        let mut due = self.now + wire.delay;
        if let Some(flow) = self.flows.get_mut(&direction) {
            due = flow.in_order(due);
        }
        self.flying.send(due, (direction, piece));
    }

    fn arrive(&mut self, direction: Direction, piece: Piece) {
        let (link, stream, writer) = direction;
        let (now, key) = (self.now, StreamKey { link, stream });
        if let Piece::Verdict(ticket, verdict) = piece {
            // A candidate may have been decided in the meantime, by an insert of the same item.
            if let Some(pool) = &mut self.nodes[writer].pool {
                let _ = pool.command(now, Command::Verdict { ticket, at: now, verdict });
            }
            return;
        }
        let Some(reader) = self.other(link, writer) else { return };
        match piece {
            Piece::Verdict(..) => {} // of no link
            Piece::Open(lane) => match &mut self.nodes[reader].pool {
                Some(pool) => pool.handle_opened(now, key, Opened::Peer { lane }),
                None => self.nodes[reader].opened.push((key, lane)),
            },
            Piece::Stopped(code) => {
                if self.flows.get_mut(&(link, stream, reader)).is_some_and(Flow::close)
                    && let Some(pool) = &mut self.nodes[reader].pool
                {
                    pool.handle_incoming(now, key, Incoming::Stopped(code));
                }
            }
            Piece::Part(part) => {
                if let Some(flow) = self.flows.get_mut(&direction) {
                    flow.arrive(part);
                }
                self.deliver(direction);
            }
        }
    }

    fn deliver(&mut self, direction: Direction) {
        let (link, stream, writer) = direction;
        let (now, key) = (self.now, StreamKey { link, stream });
        let Some(reader) = self.other(link, writer) else { return };
        while self.flows.get(&direction).is_some_and(Flow::has_arrived) {
            let room = self.nodes[reader].pool.as_mut().map_or(usize::MAX, |pool| pool.room(key));
            let Some(input) = self.flows.get_mut(&direction).and_then(|flow| flow.take(room)) else { return };
            if matches!(input, Incoming::Data(_)) && self.nodes[writer].pool.is_some() {
                self.writing.mark(direction);
            }
            match (&mut self.nodes[reader].pool, input) {
                (Some(pool), input) => pool.handle_incoming(now, key, input),
                (None, Incoming::Data(chunk)) => {
                    self.nodes[reader].heard.entry(key).or_default().extend_from_slice(&chunk);
                }
                (None, _) => {}
            }
        }
    }
}

impl Pool {
    /// Candidates that the application has, and the ids of their items.
    pub(super) fn checking_now(&self) -> Vec<(Ticket, [u8; 32])> {
        let found = |(id, full)| match &self.client.asking.candidates.get(id)?.state {
            super::super::client::State::Checking { ticket, .. } => Some((*ticket, full)),
            _ => None,
        };
        self.client.asking.candidates.delivered().into_iter().filter_map(found).collect()
    }

    /// Each candidate that wants a source waits at each announcer, but where an answer for the index is still to come.
    fn check_waiting(&self) {
        let candidates = &self.client.asking.candidates;
        for candidate in candidates.all().into_iter().filter_map(|id| candidates.get(id)) {
            for announcer in candidate.announcers().iter().filter(|_| candidate.wants_source()) {
                let link = self.common.links.get(announcer.slot).unwrap();
                let answers =
                    link.gets.flight.contains_key(&announcer.index) || candidate.asks(announcer.slot);
                let never = link.gets.lane.opening == super::super::links::Opening::Never;
                assert!(announcer.listed || answers || never, "{announcer:?}");
            }
        }
        for (slot, link) in self.common.links.iter() {
            let charged = candidates.all().into_iter().filter_map(|id| candidates.get(id)?.charged);
            assert_eq!(charged.filter(|of| *of == slot).count() as u64, link.intake.grant.charged());
            for (id, announcer) in &link.intake.reserve {
                let candidate = candidates.get(*id).unwrap();
                let waits = announcer.listed || link.gets.flight.contains_key(&announcer.index);
                assert!(waits || !candidate.wants_source(), "{announcer:?}");
                assert!(candidate.heard.contains(slot), "what is in the reserve was announced");
                assert!(candidate.announcers().iter().all(|kept| kept.slot != slot), "or kept, not both");
                assert!(link.intake.undecided().any(|undecided| undecided == *id));
            }
        }
    }

    /// The priorities of all items, in the order of the log.
    pub(super) fn priorities(&self) -> Vec<u64> {
        let (mut all, mut next) = (Vec::new(), 0);
        while let Some((index, item)) = self.common.inventory.log.next_from(next) {
            all.push(item.0.priority);
            next = index + 1;
        }
        all
    }
}
