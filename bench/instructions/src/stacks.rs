//! Two whole nodes in a process: items from one pool to the other.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use weir_base::multiaddr::Multiaddr;
use weir_base::stream::Group;
use weir_base::{Instant, NetworkId};
use weir_link::{Datagrams, Frame, HostChange, SocketId};
use weir_pull::ChannelId;
use weir_stack::{
    Action, Channel, Command, Config, Event, Input, Profile, Shape, Stack, Ticket, WireChange, WireId, pool,
};

use crate::Over;
use crate::links::{address, keypair, start};

/// The functions that count.
pub const PUBLISHED: &str = "stacks::publish_to_first_output";
/// See [`PUBLISHED`].
pub const RECEIVED: &str = "stacks::input_to_candidate";
/// Items that are spread before the first one that counts: windows have grown then, and buffers have their sizes.
const WARM_UP: usize = 200;
/// Items that count.
const ITEMS: usize = 2_000;
/// Bytes of an item.
const SIZE: usize = 1_000;
/// Time between two exchanges: an item takes a round trip and a half.
const STEP: Duration = Duration::from_micros(200);
/// Exchanges until a run is given up.
const PATIENCE: usize = 100_000;
/// Datagrams of one batch, as a host with segmentation offload sends them.
const SEGMENTS: usize = 16;
const POOL: ChannelId = ChannelId(1);
const WIRE: WireId = WireId(1);

/// How often each function that counts has done its work.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Items whose offer went out at once.
    pub published: usize,
    /// Inputs that made a candidate.
    pub received: usize,
}

/// What one end has to send, ready to be handed to the other.
type Output = Vec<Input>;

struct Pair {
    ends: [Stack; 2],
    now: Instant,
    over: Over,
    ready: usize,
}

impl Pair {
    fn joined(over: Over) -> Self {
        let mut pair = Self { ends: [stack(0), stack(1)], now: Instant::ZERO, over, ready: 0 };
        for (end, index) in pair.ends.iter_mut().zip(0..) {
            let local = address(index);
            let bound = HostChange::Bound { socket: SocketId(0), local, may_fragment: false };
            end.handle(pair.now, Input::Host(bound));
        }
        let to = match over {
            Over::Quic => Multiaddr::from_quic(address(1)),
            Over::Frames => Multiaddr::from_memory(1),
        };
        let dial = Command::Dial { peer: Some(keypair(1).peer_id()), addresses: vec![to] };
        pair.ends[0].command(pair.now, dial).expect("dialled");
        for _ in 0..PATIENCE {
            pair.settle();
            if pair.ready == 2 {
                return pair;
            }
            pair.wait();
        }
        panic!("the two never become peers");
    }

    /// Lets both talk until they have nothing to say now.
    fn settle(&mut self) {
        loop {
            let mut progress = false;
            for from in [0, 1] {
                let output = self.drain(from);
                progress |= !output.is_empty();
                self.deliver(1 - from, output);
            }
            if !progress {
                return;
            }
        }
    }

    /// Jumps to the next deadline.
    fn wait(&mut self) {
        let due = self.ends.iter().filter_map(Stack::poll_timeout).map(|(due, _)| due).min();
        self.now = self.now.max(due.unwrap_or(self.now)) + STEP;
        self.ends.iter_mut().for_each(|end| end.handle_timeout(self.now));
    }

    fn deliver(&mut self, to: usize, output: Output) {
        self.now = self.now + STEP;
        output.into_iter().for_each(|input| self.ends[to].handle(self.now, input));
    }

    /// All that a host takes out of one end.
    fn drain(&mut self, from: usize) -> Output {
        self.actions(from);
        while let Some(event) = self.ends[from].poll_event() {
            self.ready += usize::from(matches!(event, Event::PeerUp { .. }));
            assert!(!matches!(event, Event::Pool(_, pool::Event::Candidate { .. })), "a candidate is lost");
        }
        let mut output = Output::new();
        while let Some(input) = next_output(&mut self.ends[from], self.now, from) {
            output.push(input);
        }
        self.actions(from);
        output
    }

    fn actions(&mut self, from: usize) {
        while let Some(action) = self.ends[from].poll_action() {
            if let Action::DialWire { dial, .. } = action {
                assert_eq!(self.over, Over::Frames);
                let opened = |end: usize, dialled| {
                    let peer = keypair(end).peer_id();
                    Input::Wire(WIRE, WireChange::Opened { peer, dialled, group: Group::Local(0) })
                };
                self.ends[from].handle(self.now, opened(1 - from, Some(dial)));
                self.ends[1 - from].handle(self.now, opened(from, None));
            }
        }
    }
}

fn stack(index: usize) -> Stack {
    let rules = pool::Rules {
        summarize: |bytes| pool::Summary::new(bytes.get(..8).unwrap_or(&[])),
        judge: |_| Some(1),
    };
    let shape = Shape::Pool(pool::Config { offer_delay: Duration::ZERO, ..pool::Config::new(rules) });
    let channel = Channel { id: POOL, name: "items".into(), version: 1, oldest: 1, shape };
    let profile = Profile { network: NetworkId([7; 32]), channels: vec![channel], ..Profile::default() };
    let mut config = Config { profile, ..Config::default() };
    config.quic.deterministic = true;
    Stack::new(Arc::new(config), keypair(index), [index as u8; 32], start()).expect("limits fit")
}

/// The next datagrams or frame, as an input of the other end.
fn next_output(stack: &mut Stack, now: Instant, from: usize) -> Option<Input> {
    let mut out = Vec::new();
    if let Some(transmit) = stack.poll_datagrams(now, SEGMENTS, &mut out) {
        return Some(Input::Datagrams(Datagrams {
            socket: SocketId(0),
            remote: address(from),
            local_ip: None,
            ecn: transmit.ecn,
            stride: transmit.segment.unwrap_or(transmit.len),
            data: BytesMut::from(&out[..]),
        }));
    }
    let (wire, frame) = stack.poll_frame(now)?;
    Some(Input::Frame(wire, frame))
}

/// A command to insert an item, until the first output after it. Returns that.
#[inline(never)]
fn publish_to_first_output(stack: &mut Stack, now: Instant, bytes: Bytes) -> Option<Input> {
    let insert = weir_pull::Command::Pool(POOL, pool::Command::Insert { bytes });
    stack.command(now, Command::Pull(insert)).expect("the pool has room");
    next_output(stack, now, 0)
}

/// Inputs, until the candidate that they make.
#[inline(never)]
fn input_to_candidate(stack: &mut Stack, now: Instant, inputs: Output) -> Option<Ticket> {
    inputs.into_iter().for_each(|input| stack.handle(now, input));
    while let Some(event) = stack.poll_event() {
        if let Event::Pool(_, pool::Event::Candidate { ticket, .. }) = event {
            return Some(ticket);
        }
    }
    None
}

/// The same where it does not count. The compiler would make one function of two that are alike.
#[inline(never)]
fn take_input(stack: &mut Stack, now: Instant, inputs: Output) -> Option<Ticket> {
    std::hint::black_box(inputs).into_iter().for_each(|input| stack.handle(now, input));
    while let Some(event) = stack.poll_event() {
        if let Event::Pool(_, pool::Event::Candidate { ticket, .. }) = event {
            return Some(ticket);
        }
    }
    None
}

/// Whether an output can hold an item's body.
fn is_large(output: &Output) -> bool {
    output.iter().any(|input| match input {
        Input::Datagrams(datagrams) => datagrams.data.len() > SIZE,
        Input::Frame(_, Frame::Data { bytes, .. }) => bytes.len() >= SIZE,
        _ => false,
    })
}

/// Spreads items one after the other.
pub fn spread(over: Over) -> Counts {
    let mut pair = Pair::joined(over);
    let mut counts = Counts::default();
    for item in 0..WARM_UP + ITEMS {
        let mut bytes = vec![7; SIZE];
        bytes[..8].copy_from_slice(&(item as u64).to_le_bytes());
        let counted = item >= WARM_UP;
        one(&mut pair, bytes.into(), counted.then_some(&mut counts));
    }
    counts
}

/// One item from publish to verdict.
fn one(pair: &mut Pair, bytes: Bytes, mut counts: Option<&mut Counts>) {
    pair.settle();
    let mut output = Output::new();
    if let Some(counts) = &mut counts {
        let first = publish_to_first_output(&mut pair.ends[0], pair.now, bytes);
        counts.published += usize::from(first.is_some());
        output.extend(first);
    } else {
        let insert = weir_pull::Command::Pool(POOL, pool::Command::Insert { bytes });
        pair.ends[0].command(pair.now, Command::Pull(insert)).expect("the pool has room");
    }
    for _ in 0..PATIENCE {
        output.extend(pair.drain(0));
        if output.is_empty() {
            pair.wait();
        }
        pair.now = pair.now + STEP;
        let (now, stack) = (pair.now, &mut pair.ends[1]);
        let candidate = match &mut counts {
            Some(counts) if is_large(&output) => {
                let candidate = input_to_candidate(stack, now, std::mem::take(&mut output));
                counts.received += usize::from(candidate.is_some());
                candidate
            }
            _ => take_input(stack, now, std::mem::take(&mut output)),
        };
        if let Some(ticket) = candidate {
            let verdict = pool::Command::Verdict { ticket, at: pair.now, verdict: pool::Verdict::Accept };
            pair.ends[1]
                .command(pair.now, Command::Pull(weir_pull::Command::Pool(POOL, verdict)))
                .expect("it waits");
            return pair.settle();
        }
        let back = pair.drain(1);
        pair.deliver(0, back);
    }
    panic!("an item never arrives");
}
