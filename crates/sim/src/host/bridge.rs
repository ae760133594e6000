//! Between a tampering node's stack and the network, where links are byte streams: Noise and yamux end here on both sides, so that a
//! [`Tamper`] is given what streams carry as frames, and changes it as it does on wires.
//!
//! - towards the network the bridge is the node: it proves the node's key, and nobody else's;
//! - towards the stack it is the peer at the other end, whose key the simulator knows: the stack must believe that it speaks to that one;
//! - a stream that either side opens is opened on the other. The negotiation of its name passes as it is. What follows the name of a
//!   channel passes the tamper, its end and its reset too; streams of other protocols do not.
//!
//! It reads at once whatever comes, and keeps what the other side has no room for: at most what the windows of both allow.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use weir_base::codec::peek_varint;
use weir_base::identity::{Keypair, PeerId};
use weir_base::{Instant, ProtocolId, Rng};
use weir_libp2p::connection::{self, Connection, Event};
use weir_libp2p::noise::Identity;
use weir_libp2p::{multistream, yamux};
use weir_stack::{Frame, Input, PipeChange, PipeId, Stack, WireId};

use super::carry::Output;
use super::node::{Outcome, Tamper};

/// The most bytes of one frame of data that a tamper is given (`docs/spec/frames.md`).
const PART: usize = 16 * 1024;

/// Names of protocols whose streams pass the tamper.
pub(super) type Protocols = Arc<BTreeMap<String, ProtocolId>>;

/// One of the two sides of a bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Stack,
    Network,
}

impl Side {
    const fn other(self) -> Self {
        match self {
            Self::Stack => Self::Network,
            Self::Network => Self::Stack,
        }
    }
}

/// What a bridge acts on: the time, the tamper, the stack, and what leaves.
pub(super) struct Scope<'a> {
    pub(super) now: Instant,
    pub(super) by: &'a mut dyn Tamper,
    pub(super) stack: &'a mut Stack,
    pub(super) leaving: &'a mut Vec<Output>,
}

/// Who is at both ends of a byte stream, and which of them connected it.
pub(super) struct Ends<'a> {
    pub(super) own: &'a Keypair,
    pub(super) remote: &'a Keypair,
    pub(super) dialled: bool, // by this node
}

/// One byte stream.
pub(super) struct Bridge {
    pipe: PipeId,
    remote: PeerId,
    protocols: Protocols,
    inner: Connection,                    // with the stack, as the peer
    outer: Connection,                    // with the peer, as the node
    held: VecDeque<(Side, yamux::Event)>, // until both are up
    streams: BTreeMap<u32, Stream>,       // by their numbers on the stack's side
    numbers: BTreeMap<u32, u32>,          // of these, by their numbers on the network's side
    unread: BytesMut,                     // by the stack
    end: Option<PipeChange>,              // behind that
    over: bool,
}

/// One stream, on both sides.
struct Stream {
    outer: u32, // its number on the network's side
    opener: Side,
    protocol: Option<ProtocolId>, // once its name has passed, where it passes the tamper
    from_stack: Way,
    from_network: Way,
}

/// One direction of a stream.
#[derive(Default)]
struct Way {
    head: Vec<u8>,            // of the negotiation, up to the end of its second token
    begun: bool,              // that has passed
    waiting: VecDeque<Bytes>, // for the window of the other side
    ends: bool,               // behind what waits
    ended: bool,
}

impl Bridge {
    /// A byte stream that is connected. `None` where the libraries cannot begin, which they always can.
    pub(super) fn new(
        pipe: PipeId,
        protocols: Protocols,
        ends: &Ends<'_>,
        rng: &mut Rng,
        now: Instant,
    ) -> Option<Self> {
        let mut setup = |key: &Keypair| {
            let identity = Identity::new(key, &mut Rng::new(rng.bytes()));
            connection::Setup::new(Arc::new(identity)).map(Arc::new).ok()
        };
        let (own, remote) = (setup(ends.own)?, setup(ends.remote)?);
        let (own_id, remote_id) = (ends.own.peer_id(), ends.remote.peer_id());
        let (inside, outside) = (Rng::new(rng.bytes()), Rng::new(rng.bytes()));
        let (inner, outer) = if ends.dialled {
            (Connection::accept(remote, inside, now), Connection::dial(own, Some(remote_id), outside, now))
        } else {
            (Connection::dial(remote, Some(own_id), inside, now), Connection::accept(own, outside, now))
        };
        Some(Self {
            pipe,
            remote: remote_id,
            protocols,
            inner: inner.ok()?,
            outer: outer.ok()?,
            held: VecDeque::new(),
            streams: BTreeMap::new(),
            numbers: BTreeMap::new(),
            unread: BytesMut::new(),
            end: None,
            over: false,
        })
    }

    /// Bytes of the peer.
    pub(super) fn arrived(&mut self, scope: &mut Scope<'_>, bytes: &Bytes) {
        self.outer.received(scope.now, BytesMut::from(bytes.as_ref()));
        self.pump(scope);
    }

    /// The network tells of a change. The stack hears of an end once it has read what came before.
    pub(super) fn changed(&mut self, scope: &mut Scope<'_>, change: PipeChange) {
        match change {
            PipeChange::Accepted { .. } | PipeChange::Connected => {
                scope.stack.handle(scope.now, Input::Pipe(self.pipe, change));
            }
            _ => self.end = Some(change),
        }
        self.pump(scope);
    }

    /// Bytes of the stack, and whether its direction ends behind them.
    pub(super) fn sent(&mut self, scope: &mut Scope<'_>, bytes: BytesMut, finish: bool) {
        self.inner.received(scope.now, bytes);
        self.pump(scope);
        if finish {
            scope.leaving.push(Output::Bytes { pipe: self.pipe, bytes: Bytes::new(), finish });
        }
    }

    /// A frame that the tamper held back goes to the network.
    pub(super) fn release(&mut self, scope: &mut Scope<'_>, frame: Frame) {
        self.put(Side::Stack, frame);
        self.pump(scope);
    }

    /// Whether nothing more can come of it.
    pub(super) const fn is_over(&self) -> bool {
        self.over
    }

    /// When it wants to act by itself.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let both = [&self.inner, &self.outer].map(Connection::poll_timeout);
        both.into_iter().flatten().map(|(due, _)| due).min()
    }

    /// It may be time.
    pub(super) fn handle_timeout(&mut self, scope: &mut Scope<'_>) {
        self.inner.handle_timeout(scope.now);
        self.outer.handle_timeout(scope.now);
        self.pump(scope);
    }

    /// Moves what can be moved.
    pub(super) fn pump(&mut self, scope: &mut Scope<'_>) {
        let mut failed = false;
        loop {
            let told = self.listen(scope, &mut failed);
            if !self.speak(scope) && !told {
                break;
            }
        }
        if failed {
            self.over = true;
            scope.leaving.push(Output::ClosePipe(self.pipe));
            scope.stack.handle(scope.now, Input::Pipe(self.pipe, PipeChange::Closed));
        }
    }

    /// What both connections tell. Whether they told anything.
    fn listen(&mut self, scope: &mut Scope<'_>, failed: &mut bool) -> bool {
        let mut told = false;
        for side in [Side::Network, Side::Stack] {
            while let Some(event) = self.connection(side).poll_event() {
                told = true;
                match event {
                    Event::Up { peer, .. } => *failed |= side == Side::Network && peer != self.remote,
                    Event::Faulted(_) => *failed = true,
                    Event::Muxer(event) => self.held.push_back((side, event)),
                }
            }
        }
        while self.inner.muxer().is_some()
            && self.outer.muxer().is_some()
            && let Some((side, event)) = self.held.pop_front()
        {
            told = true;
            self.told(scope, side, event);
        }
        told
    }

    fn told(&mut self, scope: &mut Scope<'_>, side: Side, event: yamux::Event) {
        match event {
            yamux::Event::Opened(id) => self.opened(scope, side, id),
            yamux::Event::Readable(id) => self.read(scope, side, id),
            yamux::Event::Reset(id, code) => {
                if let Some(number) = self.number(side, id) {
                    self.pass(scope, side, Frame::Reset { stream: number.into(), code });
                }
            }
            yamux::Event::Away(code) => {
                if let Some(muxer) = self.connection(side.other()).muxer() {
                    muxer.close(code);
                }
            }
            // What waits for a window is tried again each time.
            yamux::Event::Writable(_)
            | yamux::Event::Openable
            | yamux::Event::Rtt(_)
            | yamux::Event::Faulted(_) => {}
        }
    }

    fn opened(&mut self, scope: &mut Scope<'_>, side: Side, id: u32) {
        let other = self.connection(side.other()).muxer().and_then(|muxer| muxer.open(scope.now).ok());
        let Some(muxer) = self.connection(side).muxer() else { return };
        let Some(other) = other else { return muxer.reset(id, yamux::code::LIMIT) };
        muxer.accept(id);
        let (number, outer) = if side == Side::Stack { (id, other) } else { (other, id) };
        let (from_stack, from_network) = (Way::default(), Way::default());
        let stream = Stream { outer, opener: side, protocol: None, from_stack, from_network };
        self.streams.insert(number, stream);
        self.numbers.insert(outer, number);
        self.read(scope, side, id);
    }

    /// Reads what has come on a stream.
    fn read(&mut self, scope: &mut Scope<'_>, side: Side, id: u32) {
        let Some(number) = self.number(side, id) else { return };
        loop {
            match self.connection(side).muxer().map(|muxer| muxer.read(id, PART)) {
                Some(yamux::Read::Data(chunk)) => self.data(scope, side, number, chunk.into_bytes()),
                Some(yamux::Read::End) => {
                    self.pass(scope, side, Frame::End { stream: number.into() });
                    break;
                }
                _ => break,
            }
        }
        self.connection(side).resume(scope.now); // there is room for more
    }

    /// Bytes of a stream: the negotiation of its name as they are, the rest past the tamper.
    fn data(&mut self, scope: &mut Scope<'_>, side: Side, number: u32, mut bytes: Bytes) {
        let Some(stream) = self.streams.get_mut(&number) else { return };
        let is_opener = stream.opener == side;
        let way = stream.way(side);
        if !way.begun {
            let before = way.head.len();
            way.head.extend_from_slice(&bytes);
            let Some((end, name)) = second_token(&way.head) else { return way.waiting.push_back(bytes) };
            let protocol = self.protocols.get(name).copied().filter(|_| is_opener);
            way.waiting.push_back(bytes.split_to(end - before));
            (way.begun, way.head) = (true, Vec::new());
            if let Some(protocol) = protocol {
                stream.protocol = Some(protocol);
                self.pass(scope, side, Frame::Open { stream: number.into(), protocol });
            }
        }
        if !bytes.is_empty() {
            self.pass(scope, side, Frame::Data { stream: number.into(), bytes });
        }
    }

    /// A frame of a stream goes on, past the tamper where its protocol is one of those.
    fn pass(&mut self, scope: &mut Scope<'_>, side: Side, frame: Frame) {
        let (Frame::Open { stream, .. }
        | Frame::Data { stream, .. }
        | Frame::End { stream }
        | Frame::Reset { stream, .. }) = frame
        else {
            return;
        };
        let known = u32::try_from(stream).ok().and_then(|number| self.streams.get(&number)?.protocol);
        if known.is_none() {
            return self.put(side, frame);
        }
        let (mut out, wire) = (Outcome::default(), wire_of(self.pipe));
        match side {
            Side::Stack => scope.by.outgoing(scope.now, wire, frame, &mut out),
            Side::Network => scope.by.incoming(scope.now, wire, frame, &mut out),
        }
        let on = out.on.into_iter().filter(|(on, _)| *on == wire).map(|(_, frame)| frame);
        out.send.into_iter().chain(on).for_each(|frame| self.put(Side::Stack, frame));
        out.receive.into_iter().for_each(|frame| self.put(Side::Network, frame));
    }

    /// What a frame says is done on the side that it does not come from. Streams are open there already, and credit is yamux's own
    /// matter.
    fn put(&mut self, from: Side, frame: Frame) {
        let (Frame::Data { stream, .. } | Frame::End { stream } | Frame::Reset { stream, .. }) = frame else {
            return;
        };
        let Ok(number) = u32::try_from(stream) else { return };
        let Some(stream) = self.streams.get_mut(&number) else { return };
        match frame {
            Frame::Data { bytes, .. } => stream.way(from).waiting.push_back(bytes),
            Frame::End { .. } => stream.way(from).ends = true,
            Frame::Reset { code, .. } => {
                let outer = stream.outer;
                let id = if from == Side::Stack { outer } else { number };
                if let Some(muxer) = self.connection(from.other()).muxer() {
                    muxer.reset(id, code);
                }
                self.streams.remove(&number);
                self.numbers.remove(&outer);
            }
            _ => {}
        }
    }

    /// Writes what has room, and sends it. Whether anything was sent or read.
    fn speak(&mut self, scope: &mut Scope<'_>) -> bool {
        let Self { inner, outer, streams, numbers, .. } = self;
        streams.retain(|number, stream| {
            stream.from_stack.write(outer, stream.outer);
            stream.from_network.write(inner, *number);
            let over = stream.from_stack.ended && stream.from_network.ended;
            if over {
                numbers.remove(&stream.outer);
            }
            !over
        });
        let mut bytes = BytesMut::new();
        while outer.poll_transmit(scope.now, &mut bytes) {}
        while inner.poll_transmit(scope.now, &mut self.unread) {}
        let said = !bytes.is_empty();
        if said {
            let bytes = bytes.freeze();
            scope.leaving.push(Output::Bytes { pipe: self.pipe, bytes, finish: false });
        }
        self.give(scope) || said
    }

    /// The stack reads what it has room for. Whether it was given anything.
    fn give(&mut self, scope: &mut Scope<'_>) -> bool {
        let before = self.unread.len();
        while !self.unread.is_empty() {
            let (unread, mut len) = (&mut self.unread, 0);
            let mut lent = vec![0; unread.len()];
            scope.stack.read_pipe(scope.now, self.pipe, &mut lent, &mut |memory| {
                len = unread.len().min(memory.len());
                memory.iter_mut().zip(unread.split_to(len)).for_each(|(to, from)| *to = from);
                len
            });
            if len == 0 {
                break;
            }
        }
        let given = self.unread.len() < before;
        let Some(end) = self.end.take_if(|_| self.unread.is_empty()) else { return given };
        scope.stack.handle(scope.now, Input::Pipe(self.pipe, end));
        self.over |= matches!(end, PipeChange::Failed | PipeChange::Closed);
        true
    }

    const fn connection(&mut self, side: Side) -> &mut Connection {
        match side {
            Side::Stack => &mut self.inner,
            Side::Network => &mut self.outer,
        }
    }

    /// A stream's number on the stack's side.
    fn number(&self, side: Side, id: u32) -> Option<u32> {
        match side {
            Side::Stack => self.streams.contains_key(&id).then_some(id),
            Side::Network => self.numbers.get(&id).copied(),
        }
    }
}

impl Stream {
    const fn way(&mut self, from: Side) -> &mut Way {
        match from {
            Side::Stack => &mut self.from_stack,
            Side::Network => &mut self.from_network,
        }
    }
}

impl Way {
    /// Writes what the window has room for.
    fn write(&mut self, to: &mut Connection, id: u32) {
        let Some(muxer) = to.muxer() else { return };
        while let Some(bytes) = self.waiting.front_mut() {
            if muxer.write_room(id) == 0 {
                return;
            }
            muxer.write(id, bytes);
            if bytes.is_empty() {
                self.waiting.pop_front();
            }
        }
        if self.ends && !self.ended {
            self.ended = true;
            muxer.finish(id);
        }
    }
}

/// How a tamper calls a byte stream.
pub(super) const fn wire_of(pipe: PipeId) -> WireId {
    WireId(pipe.0)
}

/// The second token of a negotiation, after the header: where it ends, and the name that it is. `None` while it is not whole.
fn second_token(head: &[u8]) -> Option<(usize, &str)> {
    let max = multistream::TOKEN_MAX as u64;
    let (len, at) = peek_varint(head, max).ok()??;
    let first = at + usize::try_from(len).ok()?;
    let rest = head.get(first..)?;
    let (len, at) = peek_varint(rest, max).ok()??;
    let end = at + usize::try_from(len).ok()?;
    let name = std::str::from_utf8(rest.get(at..end)?).ok()?;
    Some((first + end, name.trim_end_matches('\n')))
}
