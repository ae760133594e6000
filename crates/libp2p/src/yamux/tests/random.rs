//! Any use, in any pieces; any bytes at all.

use std::collections::BTreeMap;

use proptest::prelude::*;
use weir_base::Rng;

use super::*;

/// One side with what its streams have carried so far.
struct End {
    yamux: Yamux,
    wire: BytesMut, // sent, not arrived
    wrote: BTreeMap<u32, (usize, bool)>,
    read: BTreeMap<u32, (usize, bool)>,
}

impl End {
    fn new(side: Side) -> Self {
        let yamux = Yamux::new(Config::default(), side, 1_000_000, Instant::ZERO);
        Self { yamux, wire: BytesMut::new(), wrote: BTreeMap::new(), read: BTreeMap::new() }
    }

    fn use_streams(&mut self, now: Instant, rng: &mut Rng) {
        if rng.chance(1, 4)
            && self.wrote.len() < 40
            && let Ok(id) = self.yamux.open(now)
        {
            self.wrote.insert(id, (0, false));
        }
        while let Some(event) = self.yamux.poll_event() {
            assert!(!matches!(event, Event::Faulted(_) | Event::Reset(..)), "{event:?}");
            if let Event::Opened(id) = event {
                self.yamux.accept(id);
                self.wrote.insert(id, (0, false));
            }
        }
        for (id, (written, ended)) in &mut self.wrote {
            if *ended || rng.chance(1, 2) {
                continue;
            }
            if rng.chance(1, 10) {
                self.yamux.finish(*id);
                *ended = true;
                continue;
            }
            let len = rng.index(100_000);
            let mut bytes: Bytes = (*written..*written + len).map(|at| at.to_le_bytes()[0]).collect();
            self.yamux.write(*id, &mut bytes);
            *written += len - bytes.len();
        }
        let ids: Vec<u32> = self.wrote.keys().copied().collect();
        for id in ids {
            if rng.chance(1, 2) {
                continue;
            }
            let (read, ended) = self.read.entry(id).or_default();
            match self.yamux.read(id, 1 + rng.index(50_000)) {
                Read::Data(chunk) => {
                    assert!(!*ended);
                    for (offset, byte) in chunk.iter().enumerate() {
                        assert_eq!(*byte, (*read + offset).to_le_bytes()[0], "stream {id}");
                    }
                    *read += chunk.len();
                }
                Read::Blocked => {}
                Read::End => *ended = true,
                Read::Gone => assert!(*ended, "nobody broke it off"),
            }
        }
    }

    fn deliver(&mut self, now: Instant, rng: &mut Rng, from: &mut BytesMut) {
        let len = rng.index(from.len() + 1).min(self.yamux.room());
        let piece = from.split_to(len).freeze();
        self.yamux.received(now, piece);
    }
}

#[test]
fn every_byte_arrives_once_and_in_order_whatever_the_pieces() {
    for seed in 0..30 {
        let mut rng = Rng::from_number(seed);
        let (mut a, mut b) = (End::new(Side::Dialler), End::new(Side::Listener));
        let mut now = Instant::ZERO;
        for _ in 0..400 {
            now = now + Duration::from_millis(rng.below(20));
            a.use_streams(now, &mut rng);
            b.use_streams(now, &mut rng);
            for end in [&mut a, &mut b] {
                let mut out = BytesMut::new();
                end.yamux.poll_transmit(now, &mut out, rng.index(70_000));
                end.wire.unsplit(out);
            }
            let (mut from_a, mut from_b) = (std::mem::take(&mut a.wire), std::mem::take(&mut b.wire));
            b.deliver(now, &mut rng, &mut from_a);
            a.deliver(now, &mut rng, &mut from_b);
            (a.wire, b.wire) = (from_a, from_b);
        }
        let total: usize = a.read.values().chain(b.read.values()).map(|(len, _)| len).sum();
        assert!(total > 1_000_000, "seed {seed} moved {total} bytes");
        for (id, (read, ended)) in &b.read {
            let (wrote, finished) = a.wrote.get(id).copied().unwrap_or_default();
            assert!(*read <= wrote && (!*ended || finished && *read == wrote), "seed {seed}, stream {id}");
        }
    }
}

fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let length = prop_oneof![0..20_u32, Just(WINDOW_MIN), Just(u32::MAX), any::<u32>()];
    (0..5_u8, 0..16_u16, 0..8_u32, length, 0..20_usize).prop_map(|(kind, flags, stream, length, body)| {
        let mut out = frame(Kind::Data, flags, stream, length);
        out[1] = kind;
        out.extend(vec![7; body]);
        out
    })
}

proptest! {
    #[test]
    fn any_frames_in_any_pieces_come_to_the_same(
        frames in proptest::collection::vec(any_frame(), 0..30),
        piece in 1_usize..50,
    ) {
        let bytes = Bytes::from(frames.concat());
        let run = |piece: usize| {
            let mut yamux = listener(Config::default());
            let id = yamux.open(at(0)).unwrap();
            yamux.write(id, &mut Bytes::from_static(b"hello"));
            let mut wire = sent(&mut yamux, at(0)).to_vec();
            for start in (0..bytes.len()).step_by(piece) {
                yamux.received(at(0), bytes.slice(start..bytes.len().min(start + piece)));
            }
            wire.extend_from_slice(&sent(&mut yamux, at(0)));
            (events(&mut yamux), wire, yamux.open_streams(), yamux.unread())
        };
        prop_assert_eq!(run(piece), run(bytes.len().max(1)));
    }

    #[test]
    fn any_bytes_are_taken_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut yamux = listener(Config::default());
        yamux.received(at(0), Bytes::from(bytes));
        yamux.handle_timeout(at(1_000_000));
        sent(&mut yamux, at(0));
    }
}
