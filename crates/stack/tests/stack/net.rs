//! Several stacks in virtual time, joined by frames, datagrams or byte streams: the same run for the same seed.
//!
//! Node `i` listens at `/memory/i` or at `10.0.0.i:4001` (UDP with QUIC, or TCP). A frame, a datagram or a piece of a byte stream
//! arrives after [`Net::delay`]; frames of one wire and pieces of one stream keep their order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::pipes::{Pipes, Unread};
use bytes::{Bytes, BytesMut};
use weir_base::identity::{Keypair, PeerId};
use weir_base::multiaddr::Multiaddr;
use weir_base::pair::Agenda;
use weir_base::stream::{Class, Group};
use weir_base::{Instant, NetworkId, Rope, StreamKey, UnixTime};
use weir_link::Alpn;
use weir_pull::ChannelId;
use weir_stack::{
    Action, Channel, Command, Config, Datagrams, Event, Frame, HostChange, Input, Known, PipeId, Profile,
    Role, Shape, SocketId, Stack, Start, Ticket, Transmit, WireChange, WireId, call, pool, raw, tip,
};

pub(crate) const POOL: ChannelId = ChannelId(1);
pub(crate) const TIP: ChannelId = ChannelId(2);
pub(crate) const CALL: ChannelId = ChannelId(3);
pub(crate) const RAW: ChannelId = ChannelId(4);

/// The wall clock at virtual time zero.
pub(crate) const WALL: UnixTime = UnixTime::from_secs(1_700_000_000);

const PORT: u16 = 4001;

/// What carries the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    Frames,
    Quic,
    /// QUIC by libp2p's name: streams go by protocol names.
    QuicNamed,
    Tcp,
}

impl Carrier {
    /// All there are.
    pub(crate) const ALL: [Self; 4] = [Self::Frames, Self::Quic, Self::QuicNamed, Self::Tcp];
}

/// One node and what its application sees.
pub(crate) struct Node {
    pub(crate) stack: Stack,
    pub(crate) peer: PeerId,
    /// Events nobody handled yet.
    pub(crate) events: VecDeque<Event>,
    /// Everything the stack asked to keep.
    pub(crate) kept: Vec<Action>,
    pub(crate) alive: bool,
    inputs: VecDeque<Input>,
    wires: BTreeMap<WireId, (usize, WireId)>,
    pub(crate) pipes: Pipes,
}

pub(crate) enum Flight {
    Wire(WireId, WireChange),
    Frame(WireId, Frame),
    Datagrams(Datagrams),
    Pipe(PipeId, Unread),
}

/// All of them, and time.
pub(crate) struct Net {
    pub(crate) nodes: Vec<Node>,
    pub(crate) now: Instant,
    pub(crate) delay: Duration,
    pub(crate) carrier: Carrier,
    /// Inputs handed over before one drain, at most.
    pub(crate) batch: usize,
    /// Bytes of a byte stream that arrive at once, at most.
    pub(crate) piece: usize,
    /// Time between two pieces of a byte stream.
    pub(crate) pace: Duration,
    /// What nodes have sent on each of their byte streams, where it is logged.
    pub(crate) sent: BTreeMap<PipeId, Vec<u8>>,
    /// Wires that lead nowhere from now on.
    pub(crate) cut: BTreeSet<usize>,
    /// Frames and datagrams carried, in order: the transcript of a run.
    pub(crate) log: Vec<(Instant, usize, usize, String)>,
    pub(crate) logging: bool,
    /// What becomes of the next datagrams that a node sends once a link of it is up: how much later than others each of its
    /// copies arrives; none is a loss.
    pub(crate) fates: BTreeMap<usize, VecDeque<Vec<Duration>>>,
    flying: Agenda<(usize, Flight)>,
    next_wire: u64,
    seed: u64,
}

/// Everything a test network speaks.
pub(crate) fn profile() -> Profile {
    let channel = |id, name: &str, shape| Channel { id, name: name.into(), version: 1, oldest: 1, shape };
    let rules = pool::Rules {
        summarize: |bytes| pool::Summary::new(bytes.get(..8).unwrap_or(&[])),
        judge: |_| Some(1),
    };
    let pool = pool::Config { offer_delay: Duration::ZERO, ..pool::Config::new(rules) };
    Profile {
        network: NetworkId([7; 32]),
        channels: vec![
            channel(POOL, "txs", Shape::Pool(pool)),
            channel(TIP, "tip", Shape::Tip(tip::Config::default())),
            channel(CALL, "echo", Shape::Call(call::Config::default())),
            channel(RAW, "raw", Shape::Raw),
        ],
        ..Profile::default()
    }
}

/// The default limits with that profile.
pub(crate) fn config() -> Config {
    Config { profile: profile(), ..Config::default() }
}

#[allow(clippy::disallowed_methods, clippy::disallowed_types)] // a test is its own host
pub(crate) fn start() -> Start {
    Start { anchor: std::time::Instant::now(), wall: WALL }
}

impl Net {
    pub(crate) fn new(carrier: Carrier, seed: u64) -> Self {
        Self {
            nodes: Vec::new(),
            now: Instant::ZERO,
            delay: Duration::from_millis(20),
            carrier,
            batch: 1,
            piece: 1400,
            pace: Duration::ZERO,
            sent: BTreeMap::new(),
            cut: BTreeSet::new(),
            log: Vec::new(),
            logging: false,
            fates: BTreeMap::new(),
            flying: Agenda::new(),
            next_wire: 0,
            seed,
        }
    }

    /// `count` nodes of the test network, each linked to the next.
    pub(crate) fn line(carrier: Carrier, seed: u64, count: usize) -> Self {
        let mut net = Self::new(carrier, seed);
        for _ in 0..count {
            net.add(config());
        }
        for index in 1..count {
            net.know(index - 1, index, Role::Persistent);
        }
        net.run_for(Duration::from_secs(2));
        for index in 1..count {
            assert!(net.are_peers(index - 1, index), "{:?}", net.nodes[index - 1].events);
        }
        net.nodes.iter_mut().for_each(|node| node.events.clear());
        net
    }

    pub(crate) fn add(&mut self, config: Config) -> usize {
        let index = self.nodes.len();
        let stack = self.stack(index, config, self.seed);
        self.nodes.push(Node {
            peer: stack.local_peer(),
            stack,
            events: VecDeque::new(),
            kept: Vec::new(),
            alive: true,
            inputs: VecDeque::new(),
            wires: BTreeMap::new(),
            pipes: Pipes::default(),
        });
        index
    }

    fn stack(&self, index: usize, config: Config, seed: u64) -> Stack {
        let key = u8::try_from(index + 1).unwrap();
        let mut seeds = [key; 32];
        seeds[..8].copy_from_slice(&seed.to_le_bytes());
        let mut config = config;
        config.quic.deterministic = true;
        if self.carrier == Carrier::QuicNamed {
            config.quic.alpn = vec![Alpn::Libp2p];
        }
        let keypair = Keypair::ed25519_from_seed([key; 32]);
        let mut stack = Stack::new(Arc::new(config), keypair, seeds, start()).unwrap();
        let change = match self.carrier {
            Carrier::Frames => return stack,
            Carrier::Quic | Carrier::QuicNamed => {
                HostChange::Bound { socket: SocketId(0), local: address(index), may_fragment: false }
            }
            Carrier::Tcp => HostChange::Pipes,
        };
        stack.handle(self.now, Input::Host(change));
        stack
    }

    /// A node stops without goodbye and comes back with nothing but its key.
    pub(crate) fn restart(&mut self, index: usize, config: Config) {
        let fresh = self.stack(index, config, self.seed + 1);
        let node = &mut self.nodes[index];
        node.stack = fresh;
        node.events.clear();
        node.inputs.clear();
        node.pipes = Pipes::default();
    }

    pub(crate) fn address(&self, node: usize) -> Multiaddr {
        match self.carrier {
            Carrier::Frames => Multiaddr::from_memory(node as u64),
            Carrier::Quic | Carrier::QuicNamed => Multiaddr::from_quic(address(node)),
            Carrier::Tcp => Multiaddr::from_tcp(address(node)),
        }
    }

    /// `node` knows `other` from now on.
    pub(crate) fn know(&mut self, node: usize, other: usize, role: Role) {
        let known = Known { peer: Some(self.nodes[other].peer), addresses: vec![self.address(other)], role };
        self.command(node, Command::AddPeer(known));
    }

    pub(crate) fn command(&mut self, node: usize, command: Command) -> Ticket {
        self.try_command(node, command).unwrap()
    }

    pub(crate) fn try_command(
        &mut self,
        node: usize,
        command: Command,
    ) -> Result<Ticket, weir_stack::Refused> {
        let done = self.nodes[node].stack.command(self.now, command);
        self.drain(node);
        done
    }

    pub(crate) fn pull(&mut self, node: usize, command: weir_pull::Command) -> Ticket {
        self.command(node, Command::Pull(command))
    }

    pub(crate) fn are_peers(&self, a: usize, b: usize) -> bool {
        let ready =
            |a: usize, b: usize| self.nodes[a].stack.peers().ready_link(&self.nodes[b].peer).is_some();
        ready(a, b) && ready(b, a)
    }

    pub(crate) fn run_for(&mut self, pause: Duration) {
        self.run_until(self.now + pause, |_| false);
    }

    /// Runs until `done`, or until `until`; whether it was done.
    pub(crate) fn run_until(&mut self, until: Instant, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        for index in 0..self.nodes.len() {
            self.drain(index);
        }
        for _ in 0..5_000_000 {
            if done(self) {
                return true;
            }
            let timeouts = self.nodes.iter().filter(|node| node.alive);
            let timeouts = timeouts.filter_map(|node| node.stack.poll_timeout()).map(|(due, _)| due);
            if !self.flying.step(&mut self.now, timeouts, until) {
                return done(self);
            }
            self.step();
        }
        panic!("the network never comes to rest");
    }

    fn step(&mut self) {
        let mut touched = BTreeSet::new();
        while let Some((to, flight)) = self.flying.arrived(self.now) {
            if !self.nodes.get(to).is_some_and(|node| node.alive) {
                continue;
            }
            let input = match flight {
                Flight::Wire(wire, change) => Input::Wire(wire, change),
                Flight::Frame(wire, frame) => Input::Frame(wire, frame),
                Flight::Datagrams(datagrams) => Input::Datagrams(datagrams),
                Flight::Pipe(pipe, what) => {
                    let reset = matches!(what, Unread::Bytes(_));
                    touched.insert(to);
                    // a system that knows nothing of a connection says so
                    if !self.nodes[to].pipes.arrived(pipe, what) && reset {
                        self.refuse_pipe(to, pipe);
                    }
                    continue;
                }
            };
            touched.insert(to);
            self.nodes[to].inputs.push_back(input);
            if self.nodes[to].inputs.len() >= self.batch {
                self.hand_over(to);
            }
        }
        for node in touched {
            self.hand_over(node);
        }
        for index in 0..self.nodes.len() {
            let node = &mut self.nodes[index];
            if node.alive && node.stack.poll_timeout().is_some_and(|(due, _)| due <= self.now) {
                node.stack.handle_timeout(self.now);
                self.drain(index);
            }
        }
    }

    fn hand_over(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        while let Some(input) = node.inputs.pop_front() {
            node.stack.handle(self.now, input);
        }
        self.drain(index);
    }

    /// Everything a host does after an input.
    pub(crate) fn drain(&mut self, index: usize) {
        let (now, mut out) = (self.now, Vec::new());
        let node = &mut self.nodes[index];
        node.pipes.give(&mut node.stack, now);
        while let Some(action) = self.nodes[index].stack.poll_action() {
            self.act(index, action);
        }
        while let Some(event) = self.nodes[index].stack.poll_event() {
            self.nodes[index].events.push_back(event);
        }
        while let Some(transmit) = self.nodes[index].stack.poll_datagrams(now, 10, &mut out) {
            let taken = std::mem::take(&mut out);
            self.transmit(index, &transmit, &taken);
        }
        let mut bytes = BytesMut::new();
        while let Some(transmit) = self.nodes[index].stack.poll_pipe(now, &mut bytes) {
            let bytes = std::mem::take(&mut bytes).freeze();
            assert_eq!(bytes.len(), transmit.len);
            self.send_bytes(index, transmit.pipe, bytes, transmit.finish);
        }
        while let Some((wire, frame)) = self.nodes[index].stack.poll_frame(now) {
            if let Some((to, theirs)) = self.nodes[index].wires.get(&wire).copied() {
                self.note(index, to, || format!("{frame:?}"));
                self.fly(index, to, Flight::Frame(theirs, frame));
            }
        }
        while let Some(action) = self.nodes[index].stack.poll_action() {
            self.act(index, action);
        }
        while let Some(event) = self.nodes[index].stack.poll_event() {
            self.nodes[index].events.push_back(event);
        }
        if std::mem::take(&mut self.nodes[index].pipes.wanted) {
            self.drain(index);
        }
    }

    fn act(&mut self, index: usize, action: Action) {
        match action {
            Action::DialWire { dial, endpoint } => {
                let to = usize::try_from(endpoint).unwrap();
                let wires = [WireId(self.next_wire), WireId(self.next_wire + 1)];
                self.next_wire += 2;
                if to >= self.nodes.len() || !self.nodes[to].alive {
                    return self.fly(to, index, Flight::Wire(wires[0], WireChange::Refused(dial)));
                }
                self.nodes[index].wires.insert(wires[0], (to, wires[1]));
                self.nodes[to].wires.insert(wires[1], (index, wires[0]));
                let (own, peer, group) = (self.nodes[index].peer, self.nodes[to].peer, Group::Local(0));
                let ours = WireChange::Opened { peer, dialled: Some(dial), group };
                let theirs = WireChange::Opened { peer: own, dialled: None, group };
                self.fly(to, index, Flight::Wire(wires[0], ours));
                self.fly(index, to, Flight::Wire(wires[1], theirs));
            }
            Action::CloseWire(wire) => {
                if let Some((to, theirs)) = self.nodes[index].wires.remove(&wire) {
                    self.fly(index, to, Flight::Wire(theirs, WireChange::Closed));
                }
            }
            Action::Resolve { query, .. } => {
                let input = Input::Resolved { query, addresses: Vec::new() };
                self.nodes[index].stack.handle(self.now, input);
            }
            Action::DialPipe { pipe, remote } => self.dial_pipe(index, pipe, remote),
            Action::ReadPipe(_) => self.nodes[index].pipes.wanted = true,
            Action::ClosePipe(pipe) => self.close_pipe(index, pipe),
            keep @ (Action::Persist { .. } | Action::PersistNetwork { .. }) => {
                self.nodes[index].kept.push(keep);
            }
        }
    }

    fn transmit(&mut self, from: usize, transmit: &Transmit, bytes: &[u8]) {
        assert_eq!(bytes.len(), transmit.len);
        let to = (0..self.nodes.len()).find(|node| address(*node) == transmit.remote);
        let Some(to) = to else { return };
        for datagram in bytes.chunks(transmit.segment.unwrap_or(transmit.len).max(1)) {
            self.note(from, to, || format!("{} bytes", datagram.len()));
            let mut copies = vec![Duration::ZERO];
            if self.nodes[from].stack.stats().link.links > 0
                && let Some(fate) = self.fates.get_mut(&from).and_then(VecDeque::pop_front)
            {
                copies = fate;
            }
            for late in copies {
                let datagrams = Datagrams {
                    socket: SocketId(0),
                    remote: address(from),
                    local_ip: Some(address(to).ip()),
                    ecn: transmit.ecn,
                    stride: datagram.len(),
                    data: BytesMut::from(datagram),
                };
                self.fly_later(from, to, late, Flight::Datagrams(datagrams));
            }
        }
    }

    pub(crate) fn note(&mut self, from: usize, to: usize, text: impl FnOnce() -> String) {
        if self.logging {
            self.log.push((self.now, from, to, text()));
        }
    }

    /// A number that no wire and no byte stream had before.
    pub(crate) fn next_number(&mut self) -> u64 {
        self.next_wire += 1;
        self.next_wire - 1
    }

    pub(crate) fn fly(&mut self, from: usize, to: usize, flight: Flight) {
        self.fly_later(from, to, Duration::ZERO, flight);
    }

    pub(crate) fn fly_later(&mut self, from: usize, to: usize, late: Duration, flight: Flight) {
        if self.cut.contains(&from) || self.cut.contains(&to) {
            return;
        }
        self.flying.send(self.now + self.delay + late, (to, flight));
    }

    /// Stops a node between two turns, without goodbye.
    pub(crate) fn crash(&mut self, node: usize) {
        self.nodes[node].alive = false;
    }

    /// Takes the first event of a node that `pick` wants; the others stay.
    pub(crate) fn take<T>(&mut self, node: usize, mut pick: impl FnMut(&Event) -> Option<T>) -> Option<T> {
        let events = &mut self.nodes[node].events;
        let (at, found) = events.iter().enumerate().find_map(|(at, event)| Some((at, pick(event)?)))?;
        events.remove(at);
        Some(found)
    }

    /// Runs until a node has an event that `pick` wants.
    pub(crate) fn wait<T>(&mut self, node: usize, mut pick: impl FnMut(&Event) -> Option<T>) -> T {
        let mut found = None;
        let until = self.now + Duration::from_secs(60);
        self.run_until(until, |net| {
            found = net.take(node, &mut pick);
            found.is_some()
        });
        found.unwrap_or_else(|| panic!("it never came: {:?}", self.nodes[node].events))
    }

    /// Opens a raw stream and waits until both sides have it.
    pub(crate) fn raw_stream(&mut self, from: usize, to: usize) -> (StreamKey, StreamKey) {
        let peer = self.nodes[to].peer;
        let open = raw::Command::Open { peer, protocol: RAW.protocol(0), class: Class::Bulk };
        let opening = self.command(from, Command::Raw(open));
        let ours = self.wait(from, |event| match event {
            Event::Raw(raw::Event::Opened { ticket, key, .. }) if *ticket == opening => Some(*key),
            _ => None,
        });
        // The peer hears of a stream with its first bytes at the latest.
        let theirs = self.wait(to, |event| match event {
            Event::Raw(raw::Event::Accepted { key, protocol, .. }) if *protocol == RAW.protocol(0) => {
                Some(*key)
            }
            _ => None,
        });
        (ours, theirs)
    }

    pub(crate) fn write(&mut self, node: usize, key: StreamKey, bytes: &[u8]) -> usize {
        let mut rope = Rope::new();
        rope.push(Bytes::copy_from_slice(bytes));
        let written = self.nodes[node].stack.raw_streams(self.now).write(key, &mut rope).unwrap();
        self.drain(node);
        written
    }

    /// Reads until nothing is left; what was read, and how it ended.
    pub(crate) fn read(&mut self, node: usize, key: StreamKey) -> (Vec<u8>, raw::Read) {
        let mut all = Vec::new();
        loop {
            match self.nodes[node].stack.raw_streams(self.now).read(key, usize::MAX) {
                raw::Read::Data(chunk) => all.extend_from_slice(&chunk),
                end => {
                    self.drain(node);
                    return (all, end);
                }
            }
        }
    }
}

pub(crate) fn address(node: usize) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, u8::try_from(node + 1).unwrap())), PORT)
}
