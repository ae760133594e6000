//! Two stream users over one lossy pipe in virtual time: the harness for testing a protocol by itself.
//!
//! Streams are reliable and ordered each, as over QUIC; a loss delays a piece, and what follows it on that stream, by one
//! round trip. Data is cut into random pieces. Each direction of a stream has a window: bytes that the reader has not
//! taken count against it. The same seed gives the same run.

mod agenda;
mod flow;

use std::collections::BTreeMap;
use std::time::Duration;

pub use agenda::{Agenda, Queue};
pub use flow::{Flow, Part};

use crate::stream::{
    Ask, Goodbye, Group, Incoming, LinkChange, LinkInfo, OpenError, Origin, Side, StreamUser,
};
use crate::{
    Chunk, Fault, Instant, LimitError, LinkId, ProtocolId, Ready, Rng, Rope, StreamKey, identity::PeerId,
};

/// The only link of a pair, on both ends.
pub const LINK: LinkId = LinkId(1);

/// How the pipe behaves.
#[derive(Clone, Debug)]
pub struct Pipe {
    /// One-way delay. Default: 50 ms.
    pub delay: Duration,
    /// Of 1,000 pieces, how many are lost once. Default: 0.
    pub loss_per_mille: u64,
    /// Bytes per stream and direction that the reader has not taken yet. Default: 64 KiB.
    pub window: usize,
    /// The largest piece, in bytes. Default: 1,200.
    pub piece: usize,
    /// Streams that each side may open in the pipe's life. Default: 100,000.
    pub streams: u64,
}

impl Default for Pipe {
    fn default() -> Self {
        Self {
            delay: Duration::from_millis(50),
            loss_per_mille: 0,
            window: 65_536,
            piece: 1_200,
            streams: 100_000,
        }
    }
}

/// One end of the pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum End {
    /// The dialler.
    A,
    /// The listener.
    B,
}

impl End {
    /// The opposite end.
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// One direction of a stream, named by its writer.
type Direction = (End, u64);

enum Piece {
    Open(ProtocolId),
    Part(Part),
    Stopped(u32),
    Down,
}

/// Two users, the pipe between them, and what happened. `a` dialled.
pub struct Pair<A, B> {
    /// The dialler's machine.
    pub a: A,
    /// The listener's machine.
    pub b: B,
    /// Virtual time.
    pub now: Instant,
    /// Whom each side blamed, in order.
    pub faults: Vec<(End, Fault)>,
    /// Who closed the link and why.
    pub closed: Option<(End, Goodbye)>,
    /// Bytes carried from A to B, and from B to A.
    pub carried: (u64, u64),
    pipe: Pipe,
    rng: Rng,
    flying: Agenda<(Direction, Piece)>,
    flows: BTreeMap<Direction, Flow>,
    writing: Ready<Direction>,
    opened: [u64; 2],
}

impl<A: StreamUser, B: StreamUser> Pair<A, B> {
    /// Brings the link up at time zero, first at `a`.
    pub fn new(a: A, b: B, peers: (PeerId, PeerId), pipe: Pipe, seed: u64) -> Self {
        let mut pair = Self {
            a,
            b,
            now: Instant::ZERO,
            faults: Vec::new(),
            closed: None,
            carried: (0, 0),
            pipe,
            rng: Rng::from_number(seed),
            flying: Agenda::new(),
            flows: BTreeMap::new(),
            writing: Ready::default(),
            opened: [0, 0],
        };
        let info = |peer, side, dialler| LinkInfo { peer, side, dialler, group: Group::Local(0) };
        pair.a.handle_link(Instant::ZERO, LINK, &LinkChange::Up(info(peers.1, Side::Dialled, true)));
        pair.b.handle_link(Instant::ZERO, LINK, &LinkChange::Up(info(peers.0, Side::Inbound, false)));
        pair
    }

    /// Runs until `until`, or until nothing is left to do.
    pub fn run_until(&mut self, until: Instant) {
        loop {
            self.settle();
            let timeouts = [timeout(&self.a), timeout(&self.b)].into_iter().flatten();
            if !self.flying.step(&mut self.now, timeouts, until) {
                return;
            }
            self.a.handle_timeout(self.now);
            self.b.handle_timeout(self.now);
            self.arrivals();
        }
    }

    /// Runs for `pause` from now.
    pub fn run_for(&mut self, pause: Duration) {
        self.run_until(self.now + pause);
    }

    /// Carries out what both ask for now, without advancing time. After calling a machine directly.
    pub fn settle(&mut self) {
        loop {
            let asked = [End::A, End::B].into_iter().find_map(|end| Some((end, self.user(end).poll_ask()?)));
            if let Some((end, ask)) = asked {
                self.ask(end, ask);
            } else if let Some(direction) = self.writing.pop() {
                self.write(direction);
            } else {
                return;
            }
        }
    }

    fn user(&mut self, end: End) -> &mut dyn StreamUser {
        match end {
            End::A => &mut self.a,
            End::B => &mut self.b,
        }
    }

    fn ask(&mut self, end: End, ask: Ask) {
        if self.closed.is_some() {
            match ask {
                Ask::Open { tag, .. } => {
                    let now = self.now;
                    self.user(end).handle_refused(now, tag, OpenError::Closed);
                }
                Ask::Blame(_, fault) => self.faults.push((end, fault)),
                _ => {}
            }
            return;
        }
        match ask {
            Ask::Open { protocol, tag, .. } => self.open(end, protocol, tag),
            Ask::Resume(key) => self.deliver((end.other(), key.stream)),
            Ask::Write(key) => self.writing.mark((end, key.stream)),
            Ask::Finish(key) => {
                if let Some(flow) = self.flows.get_mut(&(end, key.stream)) {
                    flow.finish();
                    self.writing.mark((end, key.stream));
                }
            }
            Ask::Reset(key, code) => self.end((end, key.stream), Part::Reset(code)),
            Ask::Stop(key, code) => {
                let direction = (end.other(), key.stream);
                if self.flows.get_mut(&direction).is_some_and(Flow::stop) {
                    self.fly((end, key.stream), Piece::Stopped(code));
                }
            }
            Ask::Blame(_, fault) => self.faults.push((end, fault)),
            Ask::Close(_, reason) => {
                self.closed = Some((end, reason));
                let sent = self
                    .flows
                    .iter()
                    .filter(|((writer, _), _)| *writer == end)
                    .map(|(_, flow)| flow.last_due());
                let due = sent.max().unwrap_or_default().max(self.now + self.pipe.delay);
                self.flying.send(due, ((end, u64::MAX), Piece::Down)); // after all that was written
                let now = self.now;
                self.user(end).handle_link(now, LINK, &LinkChange::Down);
            }
        }
    }

    fn open(&mut self, end: End, protocol: ProtocolId, tag: u64) {
        let now = self.now;
        let [by_a, by_b] = &mut self.opened;
        let opened = if end == End::B { by_b } else { by_a };
        if *opened >= self.pipe.streams {
            return self.user(end).handle_refused(now, tag, OpenError::Limit);
        }
        let stream = *opened * 2 + u64::from(end == End::B);
        *opened += 1;
        self.flows.insert((End::A, stream), Flow::default());
        self.flows.insert((End::B, stream), Flow::default());
        self.fly((end, stream), Piece::Open(protocol));
        self.user(end).handle_opened(now, StreamKey { link: LINK, stream }, Origin::Local { tag });
    }

    fn write(&mut self, direction: Direction) {
        let (now, window, piece) = (self.now, self.pipe.window, self.pipe.piece);
        let key = StreamKey { link: LINK, stream: direction.1 };
        loop {
            let Some(room) = self.flows.get(&direction).and_then(|flow| flow.room(window)) else { return };
            if room == 0 {
                return; // the reader's next taking marks it again
            }
            let mut out = Rope::new();
            self.user(direction.0).poll_write(now, key, room, &mut out);
            assert!(out.len() <= room, "a user wrote {} bytes into a room of {room}", out.len());
            if out.is_empty() {
                if self.flows.get(&direction).is_some_and(Flow::is_finishing) {
                    self.end(direction, Part::End);
                }
                return;
            }
            if let Some(flow) = self.flows.get_mut(&direction) {
                flow.wrote(out.len());
            }
            while !out.is_empty() {
                let most = 1 + self.rng.index(piece);
                if let Some(bytes) = out.pop(most) {
                    self.fly(direction, Piece::Part(Part::Data(Chunk::whole(bytes))));
                }
            }
        }
    }

    fn end(&mut self, direction: Direction, part: Part) {
        if self.flows.get_mut(&direction).is_some_and(Flow::close) {
            self.fly(direction, Piece::Part(part));
        }
    }

    fn fly(&mut self, direction: Direction, piece: Piece) {
        if let Piece::Part(Part::Data(chunk)) = &piece {
            let carried = if direction.0 == End::A { &mut self.carried.0 } else { &mut self.carried.1 };
            *carried += chunk.len() as u64;
        }
        let lost = self.rng.chance(self.pipe.loss_per_mille, 1000);
        let mut due = self.now + self.pipe.delay * if lost { 3 } else { 1 };
        if let Some(flow) = self.flows.get_mut(&direction) {
            due = flow.in_order(due);
        }
        self.flying.send(due, (direction, piece));
    }

    fn arrivals(&mut self) {
        while let Some((direction, piece)) = self.flying.arrived(self.now) {
            let (now, reader) = (self.now, direction.0.other());
            let key = StreamKey { link: LINK, stream: direction.1 };
            match piece {
                Piece::Down => self.user(reader).handle_link(now, LINK, &LinkChange::Down),
                _ if self.closed.is_some_and(|(closer, _)| closer == reader) => {}
                Piece::Open(protocol) => self.user(reader).handle_opened(now, key, Origin::Peer(protocol)),
                Piece::Stopped(code) => {
                    if self.flows.get_mut(&(reader, key.stream)).is_some_and(Flow::close) {
                        self.user(reader).handle_incoming(now, key, Incoming::Stopped(code));
                    }
                }
                Piece::Part(part) => {
                    if let Some(flow) = self.flows.get_mut(&direction) {
                        flow.arrive(part);
                    }
                    self.deliver(direction);
                }
            }
            self.settle();
        }
    }

    fn deliver(&mut self, direction: Direction) {
        let (now, reader) = (self.now, direction.0.other());
        let key = StreamKey { link: LINK, stream: direction.1 };
        while self.flows.get(&direction).is_some_and(Flow::has_arrived) {
            let room = self.user(reader).room(key);
            let Some(flow) = self.flows.get_mut(&direction) else { return };
            let Some(input) = flow.take(room) else { return };
            if flow.room(self.pipe.window).is_some() {
                self.writing.mark(direction);
            }
            self.user(reader).handle_incoming(now, key, input);
        }
    }
}

/// The field that `validate` refuses of a configuration after a change; `None` where it takes it. For tests of each limit at its
/// bound.
pub fn refused_field<C>(
    mut config: C,
    validate: impl Fn(&C) -> Result<(), LimitError>,
    change: impl FnOnce(&mut C),
) -> Option<&'static str> {
    change(&mut config);
    validate(&config).err().map(|limit| limit.name())
}

fn timeout(user: &impl StreamUser) -> Option<Instant> {
    user.poll_timeout().map(|(due, _)| due)
}

#[cfg(test)]
mod tests;
