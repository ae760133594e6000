use std::collections::VecDeque;

use bytes::Bytes;

use super::*;
use crate::stream::Class;

/// Sends `size` bytes when the link is up, and counts what it gets; takes at most `room` at a time.
struct Sender {
    size: usize,
    sent: usize,
    got: Vec<u8>,
    ended: bool,
    room: usize,
    asks: VecDeque<Ask>,
}

impl Sender {
    fn new(size: usize, room: usize) -> Self {
        Self { size, sent: 0, got: Vec::new(), ended: false, room, asks: VecDeque::new() }
    }
}

impl StreamUser for Sender {
    fn handle_link(&mut self, _: Instant, link: LinkId, change: &LinkChange) {
        if self.size > 0 && matches!(change, LinkChange::Up(_)) {
            self.asks.push_back(Ask::Open { link, protocol: ProtocolId(4), class: Class::Bulk, tag: 9 });
        }
    }
    fn handle_opened(&mut self, _: Instant, key: StreamKey, origin: Origin) {
        if origin == (Origin::Local { tag: 9 }) {
            self.asks.extend([Ask::Write(key), Ask::Finish(key)]);
        }
    }
    fn handle_refused(&mut self, _: Instant, _: u64, error: OpenError) {
        panic!("{error}");
    }
    fn class(&self, _: ProtocolId) -> Class {
        Class::Bulk
    }
    fn room(&self, _: StreamKey) -> usize {
        self.room
    }
    fn handle_incoming(&mut self, _: Instant, _: StreamKey, input: Incoming) {
        match input {
            Incoming::Data(chunk) => {
                assert!(chunk.len() <= self.room);
                self.got.extend_from_slice(&chunk);
            }
            Incoming::End => self.ended = true,
            Incoming::Reset(_) | Incoming::Stopped(_) => panic!("broken off"),
        }
    }
    fn poll_write(&mut self, _: Instant, _: StreamKey, room: usize, out: &mut Rope) {
        let len = room.min(self.size - self.sent);
        let part: Vec<u8> = (self.sent..self.sent + len).map(|i| u8::try_from(i % 251).unwrap()).collect();
        out.push(Bytes::from(part));
        self.sent += len;
    }
    fn poll_ask(&mut self) -> Option<Ask> {
        self.asks.pop_front()
    }
    fn handle_timeout(&mut self, _: Instant) {}
    fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        None
    }
}

fn peers() -> (PeerId, PeerId) {
    let id = |seed| crate::identity::Keypair::ed25519_from_seed([seed; 32]).public().peer_id();
    (id(1), id(2))
}

fn transfer(pipe: Pipe, seed: u64, until: Instant) -> Pair<Sender, Sender> {
    let mut pair = Pair::new(Sender::new(300_000, 0), Sender::new(0, 700), peers(), pipe, seed);
    pair.run_until(until);
    pair
}

#[test]
fn bytes_arrive_in_order_over_a_lossy_pipe_and_end_after_the_last() {
    let pair = transfer(Pipe { loss_per_mille: 100, ..Pipe::default() }, 3, Instant::from_millis(60_000));
    assert_eq!(pair.b.got.len(), 300_000);
    assert!(pair.b.ended && pair.b.got.iter().enumerate().all(|(i, byte)| usize::from(*byte) == i % 251));
    assert_eq!(pair.carried, (300_000, 0));
}

#[test]
fn a_reader_without_room_stops_the_writer_at_the_window() {
    let mut pair = Pair::new(Sender::new(300_000, 0), Sender::new(0, 0), peers(), Pipe::default(), 1);
    pair.run_until(Instant::from_millis(10_000));
    assert_eq!((pair.a.sent, pair.b.got.len()), (65_536, 0));
    pair.b.room = 1000;
    pair.b.asks.push_back(Ask::Resume(StreamKey { link: LINK, stream: 0 }));
    pair.run_until(Instant::from_millis(20_000));
    assert_eq!(pair.b.got.len(), 300_000);
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        let pair = transfer(Pipe { loss_per_mille: 300, ..Pipe::default() }, seed, Instant::from_millis(400));
        (pair.a.sent, pair.b.got.len(), pair.flying.sent())
    };
    assert_eq!(run(5), run(5));
    assert_ne!(run(5), run(6));
}
