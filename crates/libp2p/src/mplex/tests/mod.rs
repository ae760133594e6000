//! Two connections against each other, and one against messages made by hand.

mod hostile;
mod streams;

use bytes::{Bytes, BytesMut};
use weir_base::{Fault, Instant};

use super::*;

const ROOM: usize = 64 * 1024;
const FILE: &str = include_str!("../../../../../vectors/mplex.txt");

fn vector(name: &str) -> Bytes {
    let line = FILE.lines().find(|line| line.split(' ').next() == Some(name)).unwrap();
    let text = line.split(' ').nth(1).unwrap();
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// One message as it stands on the wire.
fn message(number: u64, flag: u64, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    weir_base::codec::put_varint(&mut out, number << 3 | flag);
    weir_base::codec::put_prefixed(&mut out, bytes);
    out
}

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn mplex() -> Mplex {
    Mplex::new(Config::default(), Instant::ZERO)
}

fn ours(number: u64) -> StreamId {
    StreamId { number, ours: true }
}

fn theirs(number: u64) -> StreamId {
    StreamId { number, ours: false }
}

fn events(mplex: &mut Mplex) -> Vec<Event> {
    std::iter::from_fn(|| mplex.poll_event()).collect()
}

fn sent(mplex: &mut Mplex) -> Bytes {
    let mut out = BytesMut::new();
    while mplex.poll_transmit(&mut out, ROOM) {}
    out.freeze()
}

fn read_all(mplex: &mut Mplex, id: StreamId) -> (Vec<u8>, bool) {
    let mut all = Vec::new();
    loop {
        match mplex.read(at(0), id, usize::MAX) {
            Read::Data(chunk) => all.extend_from_slice(&chunk),
            Read::Blocked => return (all, false),
            Read::End | Read::Gone => return (all, true),
        }
    }
}

/// What the peer of a fresh connection is blamed for that sends this.
fn fault_of(messages: &[Vec<u8>]) -> Option<Fault> {
    let mut mplex = mplex();
    mplex.received(at(0), Bytes::from(messages.concat()));
    events(&mut mplex).into_iter().find_map(|event| match event {
        Event::Faulted(fault) => Some(fault),
        _ => None,
    })
}
