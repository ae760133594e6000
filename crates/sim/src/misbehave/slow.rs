//! Peers that are slow on purpose, in one thing alone: what they write comes in drops, or what they read is never credited.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use weir_base::{Instant, ProtocolId};
use weir_stack::{Frame, WireId};

use crate::host::{Outcome, Tamper};

/// Writes on streams of one protocol a few bytes at a time, whoever opened them; all else as fast as an honest peer.
#[derive(Debug)]
pub struct Trickler {
    protocol: ProtocolId,
    free: usize,
    drop: usize,
    every: Duration,
    streams: BTreeMap<(WireId, u64), Dripping>,
}

/// A stream on which little comes.
#[derive(Debug, Default)]
struct Dripping {
    sent: usize,
    waiting: VecDeque<Frame>,
    due: Option<Instant>,
}

impl Trickler {
    /// The first `free` bytes of a stream of `protocol` pass, then `drop` bytes `every` so often.
    pub fn new(protocol: ProtocolId, free: usize, drop: usize, every: Duration) -> Self {
        Self { protocol, free, drop, every, streams: BTreeMap::new() }
    }

    fn opened(&mut self, wire: WireId, frame: &Frame) {
        if let Frame::Open { stream, protocol } = frame
            && *protocol == self.protocol
        {
            self.streams.insert((wire, *stream), Dripping::default());
        }
    }
}

/// The stream that a frame of the sender's direction belongs to.
fn stream_of(frame: &Frame) -> Option<u64> {
    match frame {
        Frame::Data { stream, .. } | Frame::End { stream } | Frame::Reset { stream, .. } => Some(*stream),
        _ => None,
    }
}

impl Tamper for Trickler {
    fn outgoing(&mut self, now: Instant, wire: WireId, frame: Frame, out: &mut Outcome) {
        self.opened(wire, &frame);
        let stream = stream_of(&frame).and_then(|stream| self.streams.get_mut(&(wire, stream)));
        let Some(dripping) = stream else { return out.send.push(frame) };
        if let Frame::Data { bytes, .. } = &frame
            && dripping.sent < self.free
        {
            dripping.sent += bytes.len();
            return out.send.push(frame);
        }
        dripping.waiting.push_back(frame);
        dripping.due.get_or_insert(now + self.every);
    }

    fn incoming(&mut self, _now: Instant, wire: WireId, frame: Frame, out: &mut Outcome) {
        self.opened(wire, &frame);
        out.receive.push(frame);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.streams.values().filter_map(|dripping| dripping.due).min()
    }

    fn handle_timeout(&mut self, now: Instant, out: &mut Outcome) {
        for ((wire, _), dripping) in &mut self.streams {
            if dripping.due.is_none_or(|due| due > now) {
                continue;
            }
            if let Some(Frame::Data { stream, bytes }) = dripping.waiting.front_mut() {
                let part = bytes.split_to(bytes.len().min(self.drop));
                let empty = bytes.is_empty();
                out.on.push((*wire, Frame::Data { stream: *stream, bytes: part }));
                if empty {
                    dripping.waiting.pop_front();
                }
            } else if let Some(end) = dripping.waiting.pop_front() {
                out.on.push((*wire, end));
            }
            dripping.due = (!dripping.waiting.is_empty()).then(|| now + self.every);
        }
    }
}

/// Asks and never reads: what its stack would credit never goes out.
#[derive(Debug)]
pub struct Deaf;

impl Tamper for Deaf {
    fn outgoing(&mut self, _now: Instant, _wire: WireId, frame: Frame, out: &mut Outcome) {
        if !matches!(frame, Frame::LinkCredit { .. } | Frame::StreamCredit { .. }) {
            out.send.push(frame);
        }
    }

    fn incoming(&mut self, _now: Instant, _wire: WireId, frame: Frame, out: &mut Outcome) {
        out.receive.push(frame);
    }
}

/// Says everything late, once it is linked: its peers measure a round trip that is longer by this.
#[derive(Debug)]
pub struct Late {
    by: Duration,
    wires: BTreeSet<WireId>,
    waiting: VecDeque<(Instant, WireId, Frame)>,
}

impl Late {
    /// Late by this much, on each wire once the hello has gone out in time.
    pub fn new(by: Duration) -> Self {
        Self { by, wires: BTreeSet::new(), waiting: VecDeque::new() }
    }

    /// From now on frames of this wire are late, too.
    fn begin(&mut self, wire: WireId, frame: &Frame) {
        // its first data is the hello, without which there would be no link
        if matches!(frame, Frame::Data { .. }) {
            self.wires.insert(wire);
        }
    }
}

impl Tamper for Late {
    fn outgoing(&mut self, now: Instant, wire: WireId, frame: Frame, out: &mut Outcome) {
        if self.wires.contains(&wire) {
            return self.waiting.push_back((now + self.by, wire, frame));
        }
        self.begin(wire, &frame);
        out.send.push(frame);
    }

    fn incoming(&mut self, _now: Instant, _wire: WireId, frame: Frame, out: &mut Outcome) {
        out.receive.push(frame);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.waiting.front().map(|(due, ..)| *due)
    }

    fn handle_timeout(&mut self, now: Instant, out: &mut Outcome) {
        while self.waiting.front().is_some_and(|(due, ..)| *due <= now) {
            out.on.extend(self.waiting.pop_front().map(|(_, wire, frame)| (wire, frame)));
        }
    }
}
