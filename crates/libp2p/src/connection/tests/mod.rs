//! Two ends over a byte pipe: set up, used, and attacked.

mod hostile;
mod muxers;
pub(crate) mod setup;
mod streams;

use std::collections::VecDeque;

use bytes::Bytes;
use weir_base::Keypair;

use super::*;
use crate::noise;
use crate::yamux::Read;

pub(crate) fn keypair(seed: u8) -> Keypair {
    Keypair::ed25519_from_seed([seed; 32])
}

pub(crate) fn setup(seed: u8) -> Setup {
    Setup::new(Arc::new(Identity::new(&keypair(seed), &mut Rng::from_number(seed.into())))).unwrap()
}

pub(crate) fn dialer(setup: Setup, expected: Option<PeerId>) -> Connection {
    Connection::dial(Arc::new(setup), expected, Rng::from_number(11), Instant::ZERO).unwrap()
}

pub(crate) fn listener(setup: Setup) -> Connection {
    Connection::accept(Arc::new(setup), Rng::from_number(12), Instant::ZERO).unwrap()
}

/// One end, what it told, and what it sent that has not arrived.
pub(crate) struct End {
    pub(crate) connection: Connection,
    pub(crate) told: Vec<Event>,
    pub(crate) wire: BytesMut,
}

impl End {
    pub(crate) fn new(connection: Connection) -> Self {
        Self { connection, told: Vec::new(), wire: BytesMut::new() }
    }

    pub(crate) fn settle(&mut self, now: Instant) {
        while let Some(event) = self.connection.poll_event() {
            self.told.push(event);
        }
        while self.connection.poll_transmit(now, &mut self.wire) {}
        while let Some(event) = self.connection.poll_event() {
            self.told.push(event);
        }
    }

    pub(crate) fn peer(&self) -> Option<PeerId> {
        self.told.iter().find_map(|event| match event {
            Event::Up { peer, .. } => Some(*peer),
            _ => None,
        })
    }

    pub(crate) fn fault(&self) -> Option<Fault> {
        self.told.iter().find_map(|event| match event {
            Event::Faulted(fault) => Some(*fault),
            _ => None,
        })
    }

    /// Streams that the peer opened, in order.
    pub(crate) fn opened(&self) -> Vec<u32> {
        let opened = |event: &Event| match event {
            Event::Muxer(yamux::Event::Opened(id)) => Some(*id),
            _ => None,
        };
        self.told.iter().filter_map(opened).collect()
    }

    pub(crate) fn muxer(&mut self) -> &mut Muxer {
        self.connection.muxer().unwrap()
    }
}

/// Both ends. Each crossing takes half a round trip.
pub(crate) struct Pair {
    pub(crate) a: End,
    pub(crate) b: End,
    pub(crate) now: Instant,
    pub(crate) piece: usize,
}

impl Pair {
    pub(crate) fn new(a: Connection, b: Connection) -> Self {
        Self { a: End::new(a), b: End::new(b), now: Instant::ZERO, piece: usize::MAX }
    }

    pub(crate) fn usual() -> Self {
        Self::new(dialer(setup(1), Some(keypair(2).peer_id())), listener(setup(2)))
    }

    /// What both have to say arrives at the other. Whether anything was said.
    pub(crate) fn cross(&mut self) -> bool {
        self.a.settle(self.now);
        self.b.settle(self.now);
        let (there, back) = (std::mem::take(&mut self.a.wire), std::mem::take(&mut self.b.wire));
        let said = !there.is_empty() || !back.is_empty();
        self.now = self.now + Duration::from_millis(25);
        for (end, bytes) in [(&mut self.b, there), (&mut self.a, back)] {
            let mut pieces: VecDeque<BytesMut> = VecDeque::from([bytes]);
            while let Some(mut bytes) = pieces.pop_front() {
                if bytes.len() > self.piece {
                    pieces.push_front(bytes.split_off(self.piece));
                }
                end.connection.received(self.now, bytes);
            }
            end.settle(self.now);
        }
        said
    }

    pub(crate) fn run(&mut self) {
        for _ in 0..1_000 {
            if !self.cross() {
                return;
            }
        }
        panic!("it never ends");
    }
}

pub(crate) fn read_all(end: &mut End, id: u32) -> (Vec<u8>, bool) {
    let mut all = Vec::new();
    loop {
        match end.muxer().read(id, usize::MAX) {
            Read::Data(chunk) => all.extend_from_slice(&chunk),
            Read::Blocked => return (all, false),
            Read::End | Read::Gone => return (all, true),
        }
    }
}
