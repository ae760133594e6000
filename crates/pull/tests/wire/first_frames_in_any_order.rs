//! Scenario 9, the part above links: every interleaving of the first frames across streams.

use std::collections::BTreeMap;

use bytes::Bytes;
use weir_base::pair::LINK;
use weir_base::stream::{Ask, Group, Incoming, LinkChange, LinkInfo, Origin, Side, StreamUser};
use weir_base::{Chunk, Instant, ProtocolId, Rope, StreamKey};
use weir_pull::{Event, Pull, call, tip};

use crate::common::*;

/// What one side puts on a stream in its first flight.
struct Flight {
    protocol: ProtocolId,
    bytes: Bytes,
    ends: bool,
}

fn up(pull: &mut Pull, other: u8, dialler: bool) {
    let side = if dialler { Side::Dialled } else { Side::Inbound };
    let info = LinkInfo { peer: id(other), side, dialler, group: Group::Local(0) };
    pull.handle_link(Instant::ZERO, LINK, &LinkChange::Up(info));
}

/// Everything the dialler sends before it hears a word.
fn first_flight() -> Vec<Flight> {
    let mut pull = node(1, config());
    up(&mut pull, 2, true);
    request(&mut pull, Instant::ZERO, "one").unwrap();
    request(&mut pull, Instant::ZERO, "two").unwrap();
    let (mut flights, mut writing) = (Vec::<Flight>::new(), Vec::new());
    while let Some(ask) = pull.poll_ask() {
        match ask {
            Ask::Open { protocol, tag, .. } => {
                let key = StreamKey { link: LINK, stream: flights.len() as u64 };
                flights.push(Flight { protocol, bytes: Bytes::new(), ends: false });
                pull.handle_opened(Instant::ZERO, key, Origin::Local { tag });
            }
            Ask::Write(key) => {
                let mut out = Rope::new();
                pull.poll_write(Instant::ZERO, key, 100_000, &mut out);
                writing.push((key, out));
            }
            Ask::Finish(key) => flights[usize::try_from(key.stream).unwrap()].ends = true,
            other => panic!("{other:?}"),
        }
    }
    for (key, out) in writing {
        flights[usize::try_from(key.stream).unwrap()].bytes = out.into_bytes();
    }
    flights
}

/// The receiving side: hands over what arrives as far as there is room.
struct Receiver {
    pull: Pull,
    arrived: BTreeMap<StreamKey, (Bytes, bool)>,
    tips_wanted: bool,
}

impl Receiver {
    fn new() -> Self {
        let mut pull = node(2, config());
        publish(&mut pull, Instant::ZERO, "tip", 1).unwrap();
        up(&mut pull, 1, false);
        let mut new = Self { pull, arrived: BTreeMap::new(), tips_wanted: false };
        new.settle();
        new
    }

    fn open(&mut self, stream: u64, protocol: ProtocolId) {
        let key = StreamKey { link: LINK, stream };
        self.arrived.insert(key, (Bytes::new(), false));
        self.pull.handle_opened(Instant::ZERO, key, Origin::Peer(protocol));
        self.settle();
    }

    fn arrive(&mut self, stream: u64, bytes: &Bytes, ends: bool) {
        let key = StreamKey { link: LINK, stream };
        self.arrived.insert(key, (bytes.clone(), ends));
        self.deliver(key);
        self.settle();
    }

    fn deliver(&mut self, key: StreamKey) {
        let Some((bytes, ends)) = self.arrived.get_mut(&key) else { return };
        let part = bytes.split_to(bytes.len().min(self.pull.room(key)));
        let over = bytes.is_empty() && std::mem::take(ends);
        if !part.is_empty() {
            self.pull.handle_incoming(Instant::ZERO, key, Incoming::Data(Chunk::whole(part)));
        }
        if over {
            self.pull.handle_incoming(Instant::ZERO, key, Incoming::End);
        }
    }

    fn settle(&mut self) {
        let mut opened = 0;
        while let Some(ask) = self.pull.poll_ask() {
            match ask {
                Ask::Open { tag, .. } => {
                    opened += 1;
                    let key = StreamKey { link: LINK, stream: 1_000 + opened };
                    self.pull.handle_opened(Instant::ZERO, key, Origin::Local { tag });
                }
                Ask::Write(key) => {
                    let mut out = Rope::new();
                    self.pull.poll_write(Instant::ZERO, key, 100_000, &mut out);
                    self.tips_wanted |= out.into_bytes() == message(2, b"tip");
                }
                Ask::Resume(key) => self.deliver(key),
                other => panic!("{other:?}"),
            }
        }
    }

    /// All was understood: hello, both requests, and the permit.
    fn check(mut self) {
        let all = events(&mut self.pull);
        let requests =
            all.iter().filter(|event| matches!(event, Event::Call(_, call::Event::Request { .. })));
        assert_eq!((is_ready(&all), requests.count(), self.tips_wanted), (true, 2, true));
        assert!(all.iter().all(|event| !matches!(event, Event::Tip(_, tip::Event::Withdrawn { .. }))));
        assert!(self.arrived.values().all(|(rest, ends)| rest.is_empty() && !ends));
    }
}

/// Calls `run` with every order of `counts[i]` steps of each stream i.
fn orders(counts: &mut [usize], order: &mut Vec<usize>, run: &mut dyn FnMut(&[usize])) {
    if counts.iter().all(|count| *count == 0) {
        return run(order);
    }
    for stream in 0..counts.len() {
        if counts[stream] > 0 {
            counts[stream] -= 1;
            order.push(stream);
            orders(counts, order, run);
            order.pop();
            counts[stream] += 1;
        }
    }
}

#[test]
fn every_interleaving_is_understood_without_loss_or_fault() {
    let flights = first_flight();
    assert_eq!(flights.len(), 4, "control, tip and two calls");
    let (mut runs, mut counts) = (0, vec![3; 4]);
    counts[1] = 2; // the permit is two bytes: opened, then whole
    counts[3] = 1; // the second call opens, comes and ends in one frame
    orders(&mut counts, &mut Vec::new(), &mut |order| {
        runs += 1;
        let (mut receiver, mut step) = (Receiver::new(), [0; 4]);
        for stream in order {
            let (flight, id) = (&flights[*stream], *stream as u64);
            let half = flight.bytes.len() / 2;
            match (step[*stream], *stream) {
                (0, 3) => {
                    receiver.open(id, flight.protocol);
                    receiver.arrive(id, &flight.bytes, flight.ends);
                }
                (0, _) => receiver.open(id, flight.protocol),
                (1, 0 | 2) => receiver.arrive(id, &flight.bytes.slice(..half), false),
                (1, _) => receiver.arrive(id, &flight.bytes, flight.ends),
                _ => {
                    let key = StreamKey { link: LINK, stream: id };
                    let unread = receiver.arrived.remove(&key).map(|(rest, _)| rest).unwrap_or_default();
                    let rest = [unread, flight.bytes.slice(half..)].concat();
                    receiver.arrive(id, &rest.into(), flight.ends);
                }
            }
            step[*stream] += 1;
        }
        receiver.check();
    });
    assert_eq!(runs, 5_040);
}
