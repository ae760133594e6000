//! Muxers in use: frames of a peer come between what the application does, and what goes out is read as a peer would read it.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use weir_base::Instant;
use weir_base::codec::Reader;
use weir_libp2p::mplex::{self, Mplex, StreamId};
use weir_libp2p::yamux::{self, Side, Yamux};

use crate::script::Script;

/// Bytes of a header of yamux.
const HEADER: usize = 12;
/// Flags of yamux.
const SYN: u16 = 1;
const FIN: u16 = 4;
const RST: u16 = 8;
/// Limits that a short script reaches.
const STREAMS: u32 = 6;

/// What a peer knows of a stream of which this side's frames came.
#[derive(Clone, Copy, Default)]
struct Heard {
    ended: bool,
    opened: bool, // SYN has come
    credit: u64,  // what the peer may send beyond the first window
}

/// Reads what goes out as a peer would.
#[derive(Default)]
struct YamuxPeer {
    wire: BytesMut,
    streams: BTreeMap<u32, Heard>,
    ours: u32, // remainder of the machine's own numbers
}

impl YamuxPeer {
    fn read(&mut self) {
        while self.wire.len() >= HEADER {
            let header: Vec<u8> = self.wire.split_to(HEADER).to_vec();
            let [version, kind, f1, f2, s1, s2, s3, s4, l1, l2, l3, l4] = header[..] else { return };
            let (flags, id) = (u16::from_be_bytes([f1, f2]), u32::from_be_bytes([s1, s2, s3, s4]));
            let length = u32::from_be_bytes([l1, l2, l3, l4]);
            assert!(version == 0 && kind <= 3 && flags <= 15, "a frame that cannot be: {header:?}");
            if kind > 1 {
                assert_eq!(id, 0);
                continue;
            }
            let of = self.streams.entry(id).or_default();
            if flags & SYN != 0 {
                assert!(id % 2 == self.ours && !of.opened, "stream {id} opened twice");
                of.opened = true;
            }
            assert!(id % 2 != self.ours || of.opened, "stream {id} before its SYN");
            if kind == 0 {
                assert!(!of.ended, "data or an end on stream {id} after its end");
                let body = self.wire.split_to(length as usize);
                assert!(body.iter().all(|byte| *byte == 7), "bytes of another stream");
            } else if flags & RST == 0 {
                of.credit += u64::from(length);
            }
            of.ended |= flags & (FIN | RST) != 0;
        }
        assert!(self.wire.is_empty(), "half a frame");
    }
}

/// A connection in use. Taken: a stream was opened, bytes were read and written, and no fault seen.
pub(crate) fn yamux_session(data: &[u8]) -> bool {
    let mut script = Script::new(data);
    let side = if script.byte().is_multiple_of(2) { Side::Dialler } else { Side::Listener };
    let config = yamux::Config { max_inbound: STREAMS, max_outbound: STREAMS, ..yamux::Config::default() };
    let mut now = Instant::ZERO;
    let mut yamux = Yamux::new(config, side, 1 << 20, now);
    let mut peer = YamuxPeer { ours: u32::from(side == Side::Dialler), ..YamuxPeer::default() };
    let (mut ids, mut fed, mut read, mut failed) = (Vec::new(), 0, BTreeMap::<u32, u64>::new(), false);
    while let Some(step) = script.step() {
        let id = script.pick(&ids).unwrap_or(0);
        match step % 12 {
            0 => ids.extend(yamux.open(now)),
            1 => yamux.accept(id),
            2 => {
                let most = usize::from(script.number());
                if let yamux::Read::Data(chunk) = yamux.read(id, most) {
                    assert!(chunk.len() <= most && !chunk.is_empty());
                    *read.entry(id).or_default() += chunk.len() as u64;
                }
            }
            3 => {
                let room = yamux.write_room(id);
                let mut bytes = Bytes::from(vec![7; usize::from(script.number())]);
                let len = bytes.len();
                yamux.write(id, &mut bytes);
                assert!(len - bytes.len() <= room);
            }
            4 => yamux.finish(id),
            5 => yamux.reset(id, script.byte().into()),
            6 => yamux.stop(id, script.byte().into()),
            7 => {
                now = now + Duration::from_millis(u64::from(script.byte()) * 100);
                yamux.handle_timeout(now);
                assert!(yamux.poll_timeout().is_none_or(|(due, _)| due > now));
            }
            8 => {
                let room = usize::from(script.number());
                let before = peer.wire.len();
                yamux.poll_transmit(now, &mut peer.wire, room);
                assert!(peer.wire.len() - before <= room);
                peer.read();
            }
            9 => {
                let bytes = script.bytes(HEADER);
                fed += bytes.len();
                yamux.received(now, Bytes::copy_from_slice(bytes));
            }
            // a frame that may be right, of a stream with a small number; its body is as long as it says
            step => {
                let (kind, flags, stream) = (step % 2, script.byte() % 16, script.byte() % 32);
                let length = u32::from(script.number()) * 4;
                let mut frame = BytesMut::from(&[0, kind, 0, flags, 0, 0, 0, stream][..]);
                frame.put_u32(length);
                if kind == 0 {
                    frame.put_bytes(9, length as usize);
                }
                fed += frame.len();
                yamux.received(now, frame.freeze());
            }
        }
        while let Some(event) = yamux.poll_event() {
            match event {
                yamux::Event::Opened(id) => {
                    ids.push(id);
                    // a number that is used again is another stream
                    peer.streams.entry(id).or_default().ended = false;
                }
                yamux::Event::Faulted(_) => {
                    assert!(!failed, "two faults");
                    failed = true;
                }
                _ => {}
            }
        }
        assert!(yamux.unread() <= fed && yamux.open_streams() <= 2 * STREAMS as usize);
        assert_eq!(yamux.unread(), ids_once(&ids).map(|id| yamux.unread_of(id)).sum::<usize>());
        assert!(!failed || yamux.open_streams() == 0 && yamux.unread() == 0);
    }
    while yamux.poll_transmit(now, &mut peer.wire, 65_519) {}
    peer.read();
    for (id, read) in &read {
        let credit = peer.streams.get(id).map_or(0, |heard| heard.credit);
        // a number that is used again begins with a window again
        let streams = ids.iter().filter(|other| *other == id).count() as u64;
        assert!(*read <= u64::from(yamux::WINDOW_MIN) * streams + credit, "more than was allowed");
    }
    !failed && !read.is_empty() && peer.streams.values().any(|heard| heard.opened)
}

/// Each once: a peer may use a number again.
fn ids_once<T: Copy + Ord>(ids: &[T]) -> impl Iterator<Item = T> + use<T> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids.dedup();
    ids.into_iter()
}

/// Reads what goes out as a peer would: by the number and whose it is.
#[derive(Default)]
struct MplexPeer {
    wire: BytesMut,
    ended: BTreeMap<(u64, bool), bool>, // that were opened by the machine, or wrote
}

impl MplexPeer {
    fn read(&mut self) {
        let wire = self.wire.split().freeze();
        let mut reader = Reader::new(&wire);
        while !reader.is_empty() {
            let (head, body) = (reader.varint(u64::MAX >> 1), reader.prefixed(1 << 20));
            let (Ok(head), Ok(body)) = (head, body) else { panic!("half a message, or none") };
            let (number, kind) = (head >> 3, head & 7);
            assert!(kind <= 6 && body.iter().all(|byte| *byte == 7));
            let ours = kind.is_multiple_of(2); // the flags of an initiator are even
            match kind {
                0 => assert_eq!(self.ended.insert((number, ours), false), None, "opened twice"),
                5 | 6 => drop(self.ended.insert((number, ours), true)),
                _ => {
                    let ended = self.ended.entry((number, ours)).or_insert(ours);
                    assert!(!*ended, "before its opening, or after its end");
                    *ended = kind > 2;
                }
            }
        }
    }
}

/// A connection without windows in use. Taken: a stream was opened, bytes were read, and no fault seen.
pub(crate) fn mplex_session(data: &[u8]) -> bool {
    let mut script = Script::new(data);
    let config = mplex::Config {
        max_inbound: STREAMS,
        max_outbound: STREAMS,
        unread_max: 1 << 18,
        ..mplex::Config::default()
    };
    let mut now = Instant::ZERO;
    let mut mplex = Mplex::new(config, now);
    let (mut ids, mut peer, mut fed, mut read, mut failed) =
        (Vec::<StreamId>::new(), MplexPeer::default(), 0, 0, false);
    while let Some(step) = script.step() {
        let id = script.pick(&ids).unwrap_or(StreamId { number: 0, ours: true });
        match step % 11 {
            0 => ids.extend(mplex.open()),
            1 => {
                let most = usize::from(script.number());
                if let mplex::Read::Data(chunk) = mplex.read(now, id, most) {
                    assert!(chunk.len() <= most && !chunk.is_empty());
                    read += chunk.len();
                }
            }
            2 => {
                let room = mplex.write_room(id);
                let mut bytes = Bytes::from(vec![7; usize::from(script.number())]);
                let len = bytes.len();
                mplex.write(id, &mut bytes);
                assert!(len - bytes.len() <= room);
            }
            3 => mplex.finish(id),
            4 => mplex.reset(now, id),
            5 => mplex.stop(now, id),
            6 => {
                now = now + Duration::from_millis(u64::from(script.byte()) * 100);
                mplex.handle_timeout(now);
                assert!(mplex.poll_timeout().is_none_or(|(due, _)| due > now));
            }
            7 => {
                let room = usize::from(script.number());
                let before = peer.wire.len();
                mplex.poll_transmit(&mut peer.wire, room);
                assert!(peer.wire.len() - before <= room);
                peer.read();
            }
            8 => {
                let len = script.byte() % 16;
                let bytes = script.bytes(len.into());
                fed += bytes.len();
                mplex.received(now, Bytes::copy_from_slice(bytes));
            }
            // a message that may be right, of a stream with a small number
            _ => {
                let (kind, number, len) = (script.byte() % 8, script.byte() % 10, script.number());
                let mut message = Vec::new();
                weir_base::codec::put_varint(&mut message, u64::from(number) << 3 | u64::from(kind));
                weir_base::codec::put_prefixed(&mut message, &vec![9; len.into()]);
                fed += message.len();
                mplex.received(now, message.into());
            }
        }
        while let Some(event) = mplex.poll_event() {
            match event {
                mplex::Event::Opened(id) => {
                    ids.push(id);
                    // a number that is used again is another stream
                    peer.ended.remove(&(id.number, id.ours));
                }
                mplex::Event::Faulted(_) => {
                    assert!(!failed, "two faults");
                    failed = true;
                }
                _ => {}
            }
        }
        assert!(mplex.unread() <= fed && mplex.open_streams() <= 2 * STREAMS as usize);
        assert_eq!(mplex.unread(), ids_once(&ids).map(|id| mplex.unread_of(id)).sum::<usize>());
        assert!(!failed || mplex.open_streams() == 0 && mplex.unread() == 0);
    }
    while mplex.poll_transmit(&mut peer.wire, 65_519) {}
    peer.read();
    !failed && read > 0 && !peer.ended.is_empty()
}
