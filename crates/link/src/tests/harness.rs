//! A small network in virtual time that carries frames, datagrams and byte streams between nodes, and keeps what they report.

use std::any::Any;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use weir_base::identity::{Keypair, PeerId};
use weir_base::multiaddr::Multiaddr;
use weir_base::pair::Agenda;
use weir_base::stream::{Class, Group, LinkInfo};
use weir_base::{Fault, Instant, LinkId, ProtocolId, Rng, Rope, StreamKey, UnixTime};

use super::pipes::{PIPES, Pipes};
use super::tubes::{Piece, Tube};
use crate::gate::Refusal;
use crate::quic::{Muxer, QuicLink};
use crate::{
    Alpn, Config, Datagrams, Dial, DialFailure, DialId, DownReason, Drain, Event, Frame, HostChange, Links,
    PipeId, Read, SocketId, Start, WireChange, WireId,
};

/// One node: its links, and what they reported.
pub(crate) struct Node {
    pub(crate) links: Links,
    pub(crate) up: Vec<(LinkId, LinkInfo)>,
    pub(crate) down: Vec<(LinkId, DownReason)>,
    pub(crate) failed: Vec<(DialId, DialFailure)>,
    pub(crate) opened: Vec<(StreamKey, ProtocolId)>,
    pub(crate) agreed: Vec<(StreamKey, ProtocolId)>,
    pub(crate) readable: Vec<StreamKey>,
    pub(crate) writable: Vec<StreamKey>,
    pub(crate) stopped: Vec<(StreamKey, u32)>,
    pub(crate) blamed: Vec<(LinkId, Fault)>,
    pub(crate) resolves: Vec<(u64, String)>,
    pub(crate) early: Vec<(LinkId, PeerId)>,
    pub(crate) key_used_twice: Vec<PeerId>,
    pub(crate) refused: Vec<(Option<PeerId>, Option<String>, Refusal, u64)>,
    pub(crate) address: SocketAddr,
    /// Bytes that its host sends before the test says more; `None`: all that there is.
    pub(crate) may_send: Option<usize>,
    pub(super) pipes: BTreeMap<PipeId, Tube>,
    wires: BTreeMap<WireId, (usize, WireId)>, // the other end
}

impl Node {
    fn sent(&mut self, bytes: usize) {
        self.may_send = self.may_send.map(|left| left.saturating_sub(bytes));
    }
}

pub(super) enum Flying {
    Frame(WireId, Frame),
    Wire(WireId, WireChange),
    Datagram(SocketId, SocketAddr, BytesMut),
    Piece(PipeId, Piece),
}

/// What carries a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    Frames,
    Quic,
    /// QUIC, ALPN `libp2p`.
    QuicNamed,
    Tcp,
    /// Plain byte pipes, a transport of these tests alone.
    Pipes,
}

impl Over {
    pub(crate) const ALL: [Self; 5] = [Self::Frames, Self::Pipes, Self::Quic, Self::QuicNamed, Self::Tcp];
}

/// The network. Everything it does follows from the seed.
pub(crate) struct Net {
    pub(crate) now: Instant,
    pub(crate) nodes: Vec<Node>,
    pub(crate) delay: Duration,
    /// Of 1,000 datagrams, how many are lost.
    pub(crate) loss: u64,
    /// Nodes say a word on each link that comes up, as control does with its hello, and read all that comes.
    pub(crate) hello: bool,
    /// The largest datagram the path carries, in bytes.
    pub(crate) mtu: usize,
    /// Every datagram carried: sender, receiver, bytes.
    pub(crate) sniffed: Vec<(usize, usize, Bytes)>,
    pub(crate) sniff: bool,
    /// Datagrams to node 1 come joined with so many others of the same length, which are no packets of anybody.
    pub(crate) joined: usize,
    /// A handle and the length of each such buffer, where a test asks for them.
    pub(crate) buffers: Option<Vec<(Bytes, usize)>>,
    configs: Vec<Config>,
    piped: bool, // nodes have pipes in place of TCP
    flying: Agenda<(usize, Flying)>,
    wires: u64,
    pub(super) tubes: u64,
    /// Bytes that the systems of both ends of a byte stream hold for one direction.
    pub(crate) system: usize,
    rng: Rng,
}

pub(crate) fn keypair(index: usize) -> Keypair {
    Keypair::ed25519_from_seed([u8::try_from(index).unwrap() + 1; 32])
}

impl Net {
    pub(crate) fn new(configs: Vec<Config>) -> Self {
        let mut net = Self {
            now: Instant::ZERO,
            nodes: Vec::new(),
            delay: Duration::from_millis(20),
            loss: 0,
            hello: false,
            mtu: 1500,
            sniffed: Vec::new(),
            sniff: false,
            joined: 0,
            buffers: None,
            configs: Vec::new(),
            piped: false,
            flying: Agenda::new(),
            wires: 0,
            tubes: 0,
            system: 64 * 1024,
            rng: Rng::from_number(7),
        };
        configs.into_iter().for_each(|config| net.add(config));
        net
    }

    /// Two nodes with the default configuration.
    pub(crate) fn pair() -> Self {
        Self::new(vec![config(), config()])
    }

    pub(crate) fn add(&mut self, config: Config) {
        let index = self.nodes.len();
        self.configs.push(config.clone());
        let address = SocketAddr::from(([10, 0, u8::try_from(index).unwrap(), 1], 4001));
        self.nodes.push(Node {
            links: links(config, index, [u8::try_from(index).unwrap(); 32]),
            up: Vec::new(),
            down: Vec::new(),
            failed: Vec::new(),
            opened: Vec::new(),
            agreed: Vec::new(),
            readable: Vec::new(),
            writable: Vec::new(),
            stopped: Vec::new(),
            blamed: Vec::new(),
            resolves: Vec::new(),
            early: Vec::new(),
            key_used_twice: Vec::new(),
            refused: Vec::new(),
            address,
            may_send: None,
            pipes: BTreeMap::new(),
            wires: BTreeMap::new(),
        });
        let bound = HostChange::Bound { socket: SocketId(0), local: address, may_fragment: false };
        self.nodes[index].links.handle_host(self.now, bound);
        self.nodes[index].links.handle_host(self.now, HostChange::Pipes);
    }

    /// A node crashes and comes back with its key alone.
    pub(crate) fn restart(&mut self, node: usize) {
        let address = self.nodes[node].address;
        self.nodes[node].links =
            links(self.configs[node].clone(), node, [u8::try_from(node).unwrap() + 200; 32]);
        let bound = HostChange::Bound { socket: SocketId(0), local: address, may_fragment: false };
        self.nodes[node].links.handle_host(self.now, bound);
        self.nodes[node].links.handle_host(self.now, HostChange::Pipes);
        self.nodes[node].pipes.clear();
        if self.piped {
            self.give_pipes(node);
        }
    }

    /// A node has pipes in place of TCP.
    fn give_pipes(&mut self, node: usize) {
        let peer = self.peer(node);
        crate::links::replace_tcp(&mut self.nodes[node].links, |id| Pipes::new(id, peer));
    }

    /// A node crashes and comes back with its key, and offers and takes these ALPNs.
    pub(crate) fn speak(&mut self, node: usize, alpn: &[Alpn]) {
        self.configs[node].quic.alpn = alpn.to_vec();
        self.restart(node);
    }

    /// From their start, all nodes offer and take ALPN `libp2p` alone.
    fn offer_only_libp2p(&mut self) {
        let alpn = vec![Alpn::Libp2p];
        for node in 0..self.nodes.len() {
            if self.configs[node].quic.alpn != alpn {
                assert_eq!(self.now, Instant::ZERO);
                self.speak(node, &alpn);
            }
        }
    }

    #[allow(clippy::unused_self)] // reads better at the net
    pub(crate) fn peer(&self, node: usize) -> PeerId {
        keypair(node).peer_id()
    }

    /// Dials an endpoint, expecting a peer, whoever is there.
    pub(crate) fn dial_wire_to(&mut self, from: usize, endpoint: u64, expected: Option<usize>) -> DialId {
        let address = Multiaddr::from_memory(endpoint);
        let peer = expected.map(|node| self.peer(node));
        let dial = Dial { peer, addresses: vec![address], pinned: false };
        self.nodes[from].links.dial(self.now, dial).unwrap()
    }

    pub(crate) fn dial_quic(&mut self, from: usize, to: usize) -> DialId {
        self.dial(Over::Quic, from, to)
    }

    pub(crate) fn dial(&mut self, over: Over, from: usize, to: usize) -> DialId {
        self.dial_expecting(over, (from, to), Some(self.peer(to)))
    }

    /// One node dials another one's address and expects a peer there.
    pub(crate) fn dial_expecting(
        &mut self,
        over: Over,
        (from, to): (usize, usize),
        peer: Option<PeerId>,
    ) -> DialId {
        if over == Over::QuicNamed {
            self.offer_only_libp2p();
        }
        if over == Over::Pipes && !std::mem::replace(&mut self.piped, true) {
            (0..self.nodes.len()).for_each(|node| self.give_pipes(node));
        }
        let address = match over {
            Over::Frames => Multiaddr::from_memory(to as u64),
            Over::Quic | Over::QuicNamed => Multiaddr::from_quic(self.nodes[to].address),
            Over::Tcp | Over::Pipes => Multiaddr::from_tcp(self.nodes[to].address),
        };
        let dial = Dial { peer, addresses: vec![address], pinned: false };
        self.nodes[from].links.dial(self.now, dial).unwrap()
    }

    pub(crate) fn join_wire(&mut self, from: usize, to: usize) -> (LinkId, LinkId) {
        self.join(Over::Frames, from, to)
    }

    pub(crate) fn join_quic(&mut self, from: usize, to: usize) -> (LinkId, LinkId) {
        self.join(Over::Quic, from, to)
    }

    /// Dials and waits until both ends are up.
    pub(crate) fn join(&mut self, over: Over, from: usize, to: usize) -> (LinkId, LinkId) {
        self.dial(over, from, to);
        let before = (self.nodes[from].up.len(), self.nodes[to].up.len());
        for _ in 0..100 {
            self.run(Duration::from_millis(100));
            if self.nodes[from].up.len() > before.0 && self.nodes[to].up.len() > before.1 {
                break;
            }
        }
        (self.nodes[from].up.last().unwrap().0, self.nodes[to].up.last().unwrap().0)
    }

    pub(crate) fn open(&mut self, node: usize, link: LinkId, protocol: u32, class: Class) -> StreamKey {
        let now = self.now;
        let link_ref = self.nodes[node].links.link(link).unwrap();
        let stream = link_ref.open(now, ProtocolId(protocol), class).unwrap();
        StreamKey { link, stream }
    }

    /// Writes as much as there is room for, and returns how much that was.
    pub(crate) fn write(&mut self, node: usize, key: StreamKey, bytes: &Bytes) -> usize {
        let now = self.now;
        let Some(link) = self.nodes[node].links.link(key.link) else { return 0 };
        let room = link.room(key.stream).min(bytes.len());
        let mut rope = Rope::new();
        rope.push(bytes.slice(..room));
        link.write(now, key.stream, &mut rope);
        assert!(rope.is_empty(), "what was promised is taken");
        room
    }

    /// Reads all that is there. The flag says whether the end came.
    pub(crate) fn read(&mut self, node: usize, key: StreamKey) -> (Vec<u8>, bool) {
        let now = self.now;
        let mut out = Vec::new();
        let Some(link) = self.nodes[node].links.link(key.link) else { return (out, true) };
        loop {
            match link.read(now, key.stream, usize::MAX) {
                Read::Data(chunk) => out.extend_from_slice(&chunk),
                Read::End | Read::Reset(_) | Read::Closed => return (out, true),
                Read::Blocked => return (out, false),
            }
        }
    }

    /// What carries the streams of a link over QUIC.
    pub(crate) fn quic(&mut self, node: usize, link: LinkId) -> &mut Muxer {
        let carrier: &mut dyn Any = self.nodes[node].links.link(link).unwrap().carrier.as_mut();
        let carrier: &mut QuicLink = carrier.downcast_mut().unwrap();
        &mut carrier.muxer
    }

    /// Puts a frame on a node's wire as if its peer had sent it.
    pub(crate) fn inject(&mut self, node: usize, frame: Frame) {
        let Some(wire) = self.nodes[node].wires.keys().next().copied() else { return };
        let now = self.now;
        self.nodes[node].links.handle_frame(now, wire, frame);
        self.drain();
    }

    pub(crate) fn run(&mut self, pause: Duration) {
        self.run_until(self.now + pause);
    }

    pub(crate) fn run_until(&mut self, until: Instant) {
        loop {
            self.drain();
            let timers = self.nodes.iter().filter_map(|node| node.links.poll_timeout()).map(|(due, _)| due);
            if !self.flying.step(&mut self.now, timers, until) {
                return;
            }
            for node in &mut self.nodes {
                node.links.handle_timeout(self.now);
            }
            self.arrivals();
        }
    }

    /// Takes everything nodes want out and checks what must always hold.
    pub(crate) fn drain(&mut self) {
        let mut out = Vec::new();
        for index in 0..self.nodes.len() {
            loop {
                let mut quiet = true;
                while let Some(event) = self.nodes[index].links.poll_event(Drain::All) {
                    quiet = false;
                    self.event(index, event);
                }
                while self.nodes[index].may_send != Some(0)
                    && let Some((wire, frame)) = self.nodes[index].links.poll_frame(self.now)
                {
                    quiet = false;
                    self.nodes[index].sent(frame.wire_len());
                    if let Some((to, other)) = self.nodes[index].wires.get(&wire).copied() {
                        self.fly(to, Flying::Frame(other, frame));
                    }
                }
                out.clear();
                while self.nodes[index].may_send != Some(0)
                    && let Some(transmit) = self.nodes[index].links.poll_datagrams(self.now, 8, &mut out)
                {
                    quiet = false;
                    self.nodes[index].sent(transmit.len);
                    assert_eq!(transmit.len, out.len());
                    let segment = transmit.segment.unwrap_or(transmit.len);
                    let pieces: Vec<Bytes> = out.chunks(segment).map(Bytes::copy_from_slice).collect();
                    for piece in pieces {
                        self.datagram(index, transmit.socket, transmit.remote, &piece);
                    }
                    out.clear();
                }
                let mut bytes = BytesMut::new();
                while self.nodes[index].may_send != Some(0)
                    && let Some(transmit) = self.nodes[index].links.poll_pipe(self.now, &mut bytes)
                {
                    quiet = false;
                    self.nodes[index].sent(transmit.len);
                    assert_eq!(transmit.len, bytes.len());
                    self.tube_out(index, transmit, bytes.split().freeze());
                }
                if quiet {
                    break;
                }
            }
            let stats = self.nodes[index].links.stats();
            for ledger in [stats.receive, stats.send] {
                assert!(ledger.reserved + ledger.lent <= ledger.total, "credit over the total: {ledger:?}");
            }
        }
    }

    fn event(&mut self, index: usize, event: Event) {
        let now = self.now;
        let node = &mut self.nodes[index];
        match event {
            Event::Early { link, info, .. } => node.early.push((link, info.peer)),
            Event::Up { link, info, .. } => {
                node.up.push((link, info));
                let alive = node.links.link(link).is_some(); // what came with its handshake may have ended it
                if self.hello && alive {
                    let key = self.open(index, link, 9, Class::Control);
                    self.write(index, key, &Bytes::from_static(b"hello"));
                }
            }
            Event::Down { link, reason } => node.down.push((link, reason)),
            Event::Superseded { link, goodbye } => node.links.link(link).unwrap().close(now, goodbye),
            Event::Refused { peer, address, refusal, suppressed } => {
                node.refused.push((peer, address.map(|address| address.to_string()), refusal, suppressed));
            }
            Event::KeyUsedTwice { peer } => node.key_used_twice.push(peer),
            Event::DialFailed { dial, error } => node.failed.push((dial, error)),
            Event::Opened { key, protocol } => node.opened.push((key, protocol)),
            Event::Agreed { key, protocol } => node.agreed.push((key, protocol)),
            Event::Readable(key) => {
                node.readable.push(key);
                if self.hello {
                    self.read(index, key);
                }
            }
            Event::Writable(key) => node.writable.push(key),
            Event::Stopped(key, code) => node.stopped.push((key, code)),
            Event::Blame { link, fault } => node.blamed.push((link, fault)),
            Event::Resolve { query, name, .. } => node.resolves.push((query, name)),
            Event::DialPipe { pipe, remote } => self.connect_tube(index, pipe, remote),
            Event::ReadPipe(pipe) => self.tube_in(index, pipe),
            Event::ClosePipe(pipe) => self.close_tube(index, pipe),
            Event::DialWire { dial, endpoint } => {
                self.connect(index, usize::try_from(endpoint).unwrap(), dial);
            }
            Event::CloseWire(wire) => {
                if let Some((to, other)) = node.wires.remove(&wire) {
                    self.fly(to, Flying::Wire(other, WireChange::Closed));
                }
            }
        }
    }

    fn connect(&mut self, from: usize, to: usize, dial: DialId) {
        let group = Group::Local(0);
        if to >= self.nodes.len() {
            return self.fly(from, Flying::Wire(WireId(0), WireChange::Refused(dial)));
        }
        self.wires += 2;
        let (mine, theirs) = (WireId(self.wires), WireId(self.wires + 1));
        self.nodes[from].wires.insert(mine, (to, theirs));
        self.nodes[to].wires.insert(theirs, (from, mine));
        let opened = |peer, dialled| WireChange::Opened { peer, dialled, group };
        let (own, you) = (self.peer(from), self.peer(to));
        self.fly(to, Flying::Wire(theirs, opened(own, None)));
        self.fly(from, Flying::Wire(mine, opened(you, Some(dial))));
    }

    pub(super) fn fly(&mut self, to: usize, what: Flying) {
        self.flying.send(self.now + self.delay, (to, what));
    }

    fn datagram(&mut self, from: usize, socket: SocketId, remote: SocketAddr, bytes: &Bytes) {
        let Some(to) = self.nodes.iter().position(|node| node.address == remote) else { return };
        if self.sniff {
            self.sniffed.push((from, to, bytes.clone()));
        }
        if socket != PIPES && (bytes.len() + 28 > self.mtu || self.rng.chance(self.loss, 1000)) {
            return;
        }
        let source = self.nodes[from].address;
        self.fly(to, Flying::Datagram(socket, source, BytesMut::from(&bytes[..])));
    }

    /// Puts bytes on the first pipe that another node dialled, as if it had sent them.
    pub(crate) fn piece(&mut self, to: usize, from: usize, bytes: &[u8]) {
        let source = self.nodes[from].address;
        let piece = [&[0, 0, 0, 3], bytes].concat();
        self.fly(to, Flying::Datagram(PIPES, source, BytesMut::from(&piece[..])));
        self.run(self.delay);
    }

    /// Sends a datagram from an address, whoever has it.
    pub(crate) fn spoof(&mut self, to: usize, source: SocketAddr, bytes: &[u8]) {
        self.fly(to, Flying::Datagram(SocketId(0), source, BytesMut::from(bytes)));
    }

    /// What is on its way arrives, and nobody looks at it yet.
    pub(crate) fn arrive(&mut self) {
        self.now = self.now + self.delay;
        self.arrivals();
    }

    fn arrivals(&mut self) {
        while let Some((to, what)) = self.flying.arrived(self.now) {
            let links = &mut self.nodes[to].links;
            match what {
                Flying::Piece(pipe, piece) => self.arrived(to, pipe, piece),
                Flying::Frame(wire, frame) => links.handle_frame(self.now, wire, frame),
                Flying::Wire(wire, change) => links.handle_wire(self.now, wire, change),
                Flying::Datagram(socket, remote, mut data) => {
                    let stride = data.len();
                    if self.joined > 0 && to == 1 {
                        data.extend_from_slice(&vec![0x41; self.joined * stride]);
                        let len = data.len();
                        if let Some(buffers) = &mut self.buffers {
                            buffers.push((data.split_to(0).freeze(), len));
                        }
                    }
                    let batch = Datagrams { socket, remote, local_ip: None, ecn: None, stride, data };
                    links.handle_datagrams(self.now, batch);
                }
            }
        }
    }
}

/// Those of a node.
fn links(config: Config, index: usize, seed: [u8; 32]) -> Links {
    let key = keypair(index);
    Links::new(config, Arc::new(key), seed, start()).unwrap()
}

/// The defaults, with the same sizes in every run.
pub(crate) fn config() -> Config {
    let mut config = Config::default();
    config.quic.deterministic = true;
    config.protocols = (0..500).map(|number| (ProtocolId(number), vec![format!("/test/{number}")])).collect();
    config
}

/// The host's origin of time. Tests jump, so what the standard clock says matters not.
#[allow(clippy::disallowed_methods, clippy::disallowed_types)] // a host reads its clock once; this is one
pub(crate) fn start() -> Start {
    Start { anchor: std::time::Instant::now(), wall: UnixTime::from_secs(1_800_000_000) }
}
