//! Misbehaving peers, by name. Each is an honest stack whose frames are changed on their way ([`Tamper`]), or an honest stack
//! under an application that is not (`Checking::Never`, `Checking::SomeSlow`; a raw reader that stops is the driver's matter).
//!
//! What they do is what a peer can do: lie about what it has, not deliver, deliver something else, send more than granted.
//! All of them keep to the wire's rules but for what their name says, so that nothing else gives them away.
//!
//! [`Visitors`] come, leave and come again, also as somebody else and from another address, each at times of its own. They are honest
//! stacks, so that they do it over frames, QUIC and TCP alike; any of the others may stand between them and the network.
//!
//! A [`Stranger`] has no stack: each of its bytes on a byte stream is decided by a test.
//!
//! A replayer is not a node: see [`Host::capture`](crate::Host::capture) and [`Host::inject`](crate::Host::inject).

mod garble;
mod lanes;
mod rules;
mod slow;
mod stranger;
mod visits;

use bytes::Bytes;
use weir_base::Instant;
use weir_base::codec::put_varint;
use weir_pull::ChannelId;
use weir_stack::{Frame, WireId};

use crate::actor::keypair;
use crate::host::{Inside, NodeId, Outcome, Tamper};
use crate::network::{Network, Transport};
pub use garble::{Damage, Garbler};
use lanes::{Lane, Lanes};
pub use rules::{Broken, broken_rules, frame, opening};
pub use slow::{Deaf, Late, Trickler};
pub use stranger::{Conduct, Said, Stranger, named, token};
pub use visits::{Again, Leave, Visit, Visitors, Visits};

/// From now on `by` stands between a node's stack and the network: over TCP inside Noise and yamux, where it is given what streams of
/// control and channels carry; over QUIC outside, where it is given datagrams.
pub fn tamper(network: &mut Network, id: NodeId, by: Box<dyn Tamper>) {
    let setup = network.setup();
    if setup.transport != Transport::Tcp {
        return network.host.computer(id).tamper(by);
    }
    let control = ("/weir/control/1".to_owned(), ChannelId::CONTROL.protocol(0));
    let lanes = setup.config.profile.channels.iter().flat_map(|channel| {
        (0..channel.shape.lanes())
            .map(move |lane| (format!("/weir/{}/{lane}/1", channel.name), channel.id.protocol(lane)))
    });
    let protocols = lanes.chain([control]).collect();
    network.host.computer(id).tamper_inside(by, Inside { protocols, key_of: keypair });
}

/// Offers everything and delivers nothing: what peers ask for never reaches its stack.
#[derive(Debug)]
pub struct Withholder(Lanes);

impl Withholder {
    /// On this pool channel.
    pub fn new(pool: ChannelId) -> Self {
        Self(Lanes::new(pool))
    }
}

impl Tamper for Withholder {
    fn outgoing(&mut self, _now: Instant, wire: WireId, frame: Frame, out: &mut Outcome) {
        self.0.sent(wire, &frame);
        out.send.push(frame);
    }

    fn incoming(&mut self, _now: Instant, wire: WireId, frame: Frame, out: &mut Outcome) {
        match (self.0.received(wire, &frame), &frame) {
            (Some(Lane::Items), Frame::Data { .. }) => {}
            _ => out.receive.push(frame),
        }
    }
}

/// Answers every get with *gone*, as fast as it can.
#[derive(Debug)]
pub struct GoneStormer(Lanes);

impl GoneStormer {
    /// On this pool channel.
    pub fn new(pool: ChannelId) -> Self {
        Self(Lanes::new(pool))
    }
}

impl Tamper for GoneStormer {
    fn outgoing(&mut self, _now: Instant, wire: WireId, frame: Frame, out: &mut Outcome) {
        self.0.sent(wire, &frame);
        out.send.push(frame);
    }

    fn incoming(&mut self, _now: Instant, wire: WireId, frame: Frame, out: &mut Outcome) {
        let (Some(Lane::Items), Frame::Data { stream, bytes }) = (self.0.received(wire, &frame), &frame)
        else {
            return out.receive.push(frame);
        };
        let mut answers = Vec::new();
        for mut message in self.0.messages(wire, *stream, bytes) {
            // a `Get` and a `Gone` have the same fields; a `Cancel` has had its answer
            if let Some(kind) = message.kind().filter(|kind| **kind == 0) {
                *kind = 2;
                answers.extend_from_slice(&message.0);
            }
        }
        if !answers.is_empty() {
            out.send.push(Frame::Data { stream: *stream, bytes: answers.into() });
        }
    }
}

/// What a [`Liar`] lies about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// The summary of each item it offers: its last bit is turned.
    Summary,
    /// The size of each item it offers: one more or less.
    Size,
    /// The bytes of each item it delivers: the last bit of the last byte is turned.
    Body,
}

/// Offers or delivers something else than it has.
#[derive(Debug)]
pub struct Liar {
    lanes: Lanes,
    lie: Lie,
}

impl Liar {
    /// On this pool channel.
    pub fn new(pool: ChannelId, lie: Lie) -> Self {
        Self { lanes: Lanes::new(pool), lie }
    }
}

impl Tamper for Liar {
    fn outgoing(&mut self, _now: Instant, wire: WireId, frame: Frame, out: &mut Outcome) {
        let wanted = if self.lie == Lie::Body { Lane::Items } else { Lane::Offers };
        let (lane, Frame::Data { stream, bytes }) = (self.lanes.sent(wire, &frame), &frame) else {
            return out.send.push(frame);
        };
        if lane != Some(wanted) {
            return out.send.push(frame);
        }
        let mut changed = Vec::new();
        for mut message in self.lanes.messages(wire, *stream, bytes) {
            match self.lie {
                Lie::Summary => message.entries(|_, summary| turn(summary)),
                Lie::Size => message.entries(|size, _| *size ^= 1),
                Lie::Body => message.body(turn),
            }
            changed.extend_from_slice(&message.0);
        }
        let mut changed = Bytes::from(changed);
        while !changed.is_empty() {
            let part = changed.split_to(changed.len().min(lanes::DATA_MAX));
            out.send.push(Frame::Data { stream: *stream, bytes: part });
        }
    }

    fn incoming(&mut self, _now: Instant, wire: WireId, frame: Frame, out: &mut Outcome) {
        self.lanes.received(wire, &frame);
        out.receive.push(frame);
    }
}

/// Turns the last bit.
fn turn(bytes: &mut [u8]) {
    if let Some(last) = bytes.last_mut() {
        *last ^= 1;
    }
}

/// Sends one byte more than its credit of stream or link allows, on the first link on which it offers; then that link is
/// silent.
#[derive(Debug)]
pub struct Overdrawn {
    lanes: Lanes,
    done: Option<WireId>,
}

impl Overdrawn {
    /// On this pool channel.
    pub fn new(pool: ChannelId) -> Self {
        Self { lanes: Lanes::new(pool), done: None }
    }
}

impl Tamper for Overdrawn {
    fn outgoing(&mut self, _now: Instant, wire: WireId, frame: Frame, out: &mut Outcome) {
        if self.done == Some(wire) {
            return;
        }
        let lane = self.lanes.sent(wire, &frame);
        let stream = match (lane, &frame) {
            (Some(Lane::Offers), Frame::Data { stream, .. }) if self.done.is_none() => Some(*stream),
            _ => None,
        };
        out.send.push(frame);
        let Some(stream) = stream else { return };
        self.done = Some(wire);
        let left = self.lanes.left(wire, stream) + 1;
        // one message of an unknown odd type: whoever reads it skips it, were it granted
        let mut message = Vec::new();
        put_varint(&mut message, left - 3);
        message.push(1);
        message.resize(usize::try_from(left).unwrap_or(0), 0);
        let mut bytes = Bytes::from(message);
        while !bytes.is_empty() {
            let part = bytes.split_to(bytes.len().min(lanes::DATA_MAX));
            out.send.push(Frame::Data { stream, bytes: part });
        }
    }

    fn incoming(&mut self, _now: Instant, wire: WireId, frame: Frame, out: &mut Outcome) {
        self.lanes.received(wire, &frame);
        out.receive.push(frame);
    }
}
