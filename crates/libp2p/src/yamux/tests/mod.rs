//! Two connections against each other, and one against frames made by hand.

mod advisories;
mod end;
mod flow;
mod open;
mod random;
mod storms;
mod vectors;
mod wrong_fields;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use weir_base::{Fault, Instant};

use super::frame::{Header, Kind, flag};
use super::*;

const ROOM: usize = 64 * 1024;

/// One frame as it stands on the wire.
fn frame(kind: Kind, flags: u16, stream: u32, length: u32) -> Vec<u8> {
    let mut out = BytesMut::new();
    Header { kind, flags, stream, length }.put(&mut out);
    out.to_vec()
}

fn data(flags: u16, stream: u32, bytes: &[u8]) -> Vec<u8> {
    let mut out = frame(Kind::Data, flags, stream, u32::try_from(bytes.len()).unwrap());
    out.extend_from_slice(bytes);
    out
}

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn listener(config: Config) -> Yamux {
    Yamux::new(config, Side::Listener, 0, Instant::ZERO)
}

fn events(yamux: &mut Yamux) -> Vec<Event> {
    std::iter::from_fn(|| yamux.poll_event()).collect()
}

/// All that it has to send.
fn sent(yamux: &mut Yamux, now: Instant) -> Bytes {
    let mut out = BytesMut::new();
    while yamux.poll_transmit(now, &mut out, ROOM) {}
    out.freeze()
}

/// Feeds frames to a fresh listener: what it blamed the peer for, if anything.
fn fault_of(frames: &[Vec<u8>]) -> Option<Fault> {
    let mut yamux = listener(Config::default());
    let bytes = frames.concat();
    yamux.received(Instant::ZERO, Bytes::from(bytes));
    events(&mut yamux).into_iter().find_map(|event| match event {
        Event::Faulted(fault) => Some(fault),
        _ => None,
    })
}

/// Reads all that is there: the bytes, and whether the end was reached.
fn read_all(yamux: &mut Yamux, id: u32) -> (Vec<u8>, bool) {
    let mut all = Vec::new();
    loop {
        match yamux.read(id, usize::MAX) {
            Read::Data(chunk) => all.extend_from_slice(&chunk),
            Read::Blocked => return (all, false),
            Read::End | Read::Gone => return (all, true),
        }
    }
}

/// Two ends with a delay each way.
struct Pair {
    dialler: Yamux,
    listener: Yamux,
    now: Instant,
    delay: Duration,
}

impl Pair {
    fn new(config: &Config, budget: u64) -> Self {
        Self {
            dialler: Yamux::new(config.clone(), Side::Dialler, budget, Instant::ZERO),
            listener: Yamux::new(config.clone(), Side::Listener, budget, Instant::ZERO),
            now: Instant::ZERO,
            delay: Duration::from_millis(50),
        }
    }

    /// What each side has to send arrives at the other, one delay later.
    fn cross(&mut self) {
        let (there, back) = (sent(&mut self.dialler, self.now), sent(&mut self.listener, self.now));
        self.now = self.now + self.delay;
        self.listener.received(self.now, there);
        self.dialler.received(self.now, back);
    }

    /// A stream of the dialler that the listener has accepted.
    fn stream(&mut self) -> u32 {
        let id = self.dialler.open(self.now).unwrap();
        self.cross();
        self.listener.accept(id);
        self.cross();
        self.cross();
        events(&mut self.dialler);
        assert!(events(&mut self.listener).contains(&Event::Opened(id)));
        id
    }
}
