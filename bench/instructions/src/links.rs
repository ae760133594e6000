//! Two [`Links`] in a process: streams from one to the other.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use weir_base::identity::Keypair;
use weir_base::multiaddr::Multiaddr;
use weir_base::stream::{Class, Group};
use weir_base::{Instant, LinkId, ProtocolId, Rope, StreamKey, UnixTime};
use weir_link::{
    Config, Datagrams, Dial, Drain, Event, HostChange, Links, Read, SocketId, Start, WireChange, WireId,
};

use crate::Over;

/// The function that counts.
pub const COUNTED: &str = "links::carry_streams";
/// Streams open at once: what a node opens on a link before the peer's hello is half of it.
const AT_ONCE: usize = 16;
/// Datagrams of one batch, as a host with segmentation offload sends them.
const SEGMENTS: usize = 16;
/// Time between two exchanges.
const STEP: Duration = Duration::from_micros(50);
/// Exchanges until a run is given up.
const PATIENCE: usize = 10_000_000;
const WIRE: WireId = WireId(1);

/// Both ends and their clock.
struct Pair {
    ends: [End; 2],
    now: Instant,
    out: Vec<u8>,
}

/// One end, and what it has to do.
struct End {
    links: Links,
    address: SocketAddr,
    link: Option<LinkId>,
    events: Vec<Event>,
}

/// What a host says of its clocks at the start.
pub fn start() -> Start {
    Start { anchor: std::time::Instant::now(), wall: UnixTime::from_secs(1_800_000_000) }
}

/// The address of one end.
pub fn address(end: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, end as u8 + 1], 4001))
}

/// The key of one end.
pub fn keypair(end: usize) -> Keypair {
    Keypair::ed25519_from_seed([end as u8 + 1; 32])
}

impl Pair {
    fn joined(over: Over) -> Self {
        let mut config = Config::default();
        config.quic.deterministic = true;
        let end = |index: usize| {
            let seed = [index as u8; 32];
            let links =
                Links::new(config.clone(), Arc::new(keypair(index)), seed, start()).expect("limits fit");
            End { links, address: address(index), link: None, events: Vec::new() }
        };
        let mut pair = Self { ends: [end(0), end(1)], now: Instant::ZERO, out: Vec::new() };
        for end in &mut pair.ends {
            let local = end.address;
            let bound = HostChange::Bound { socket: SocketId(0), local, may_fragment: false };
            end.links.handle_host(pair.now, bound);
        }
        pair.dial(over);
        for _ in 0..PATIENCE {
            pair.exchange();
            if pair.ends.iter().all(|end| end.link.is_some()) {
                break;
            }
        }
        for end in &mut pair.ends {
            let link = end.link.expect("both ends are up");
            end.links.link(link).expect("it is up").hello_accepted();
        }
        pair
    }

    fn dial(&mut self, over: Over) {
        let (own, peer) = (keypair(0).peer_id(), keypair(1).peer_id());
        let to = match over {
            Over::Quic => Multiaddr::from_quic(address(1)),
            Over::Frames => Multiaddr::from_memory(1),
        };
        let dial = Dial { peer: Some(peer), addresses: vec![to], pinned: false };
        let dial = self.ends[0].links.dial(self.now, dial).expect("dialled");
        if over == Over::Frames {
            while self.ends[0].links.poll_event(Drain::All).is_some() {} // the host connects the wire
            let opened = |peer, dialled| WireChange::Opened { peer, dialled, group: Group::Local(0) };
            self.ends[0].links.handle_wire(self.now, WIRE, opened(peer, Some(dial)));
            self.ends[1].links.handle_wire(self.now, WIRE, opened(own, None));
        }
    }

    /// Hands each end what the other has to send, and collects what they report.
    fn exchange(&mut self) {
        self.now = self.now + STEP;
        let mut progress = false;
        for from in [0, 1] {
            let [first, second] = &mut self.ends;
            let (near, far) = if from == 0 { (first, second) } else { (second, first) };
            progress |= near.collect();
            while let Some(transmit) = near.links.poll_datagrams(self.now, SEGMENTS, &mut self.out) {
                progress = true;
                let data = BytesMut::from(&self.out[..]);
                self.out.clear();
                let stride = transmit.segment.unwrap_or(transmit.len);
                let (socket, remote) = (SocketId(0), near.address);
                let batch = Datagrams { socket, remote, local_ip: None, ecn: transmit.ecn, stride, data };
                far.links.handle_datagrams(self.now, batch);
            }
            while let Some((wire, frame)) = near.links.poll_frame(self.now) {
                progress = true;
                far.links.handle_frame(self.now, wire, frame);
            }
            progress |= far.collect();
        }
        if !progress {
            let due = self.ends.iter().filter_map(|end| end.links.poll_timeout()).map(|(due, _)| due).min();
            self.now = self.now.max(due.unwrap_or(self.now));
        }
        for end in &mut self.ends {
            end.links.handle_timeout(self.now);
        }
    }
}

impl End {
    fn collect(&mut self) -> bool {
        let before = self.events.len();
        while let Some(event) = self.links.poll_event(Drain::All) {
            if let Event::Up { link, .. } = event {
                self.link = Some(link);
            }
            self.events.push(event);
        }
        self.events.len() > before
    }
}

/// Streams of `size` bytes each from one end to the other.
pub fn streams(over: Over, count: usize, size: usize) -> usize {
    let mut pair = Pair::joined(over);
    carry_streams(&mut pair, count, &Bytes::from(vec![7; size]));
    count
}

/// A stream under way at its writer.
struct Writing {
    key: StreamKey,
    left: Bytes,
}

#[inline(never)]
fn carry_streams(pair: &mut Pair, count: usize, body: &Bytes) {
    let link = pair.ends[0].link.expect("it is up");
    let (mut opened, mut done, mut read) = (0, 0, 0);
    let mut writing: Vec<Writing> = Vec::new();
    let mut rope = Rope::new();
    for _ in 0..PATIENCE {
        let now = pair.now;
        let [near, far] = &mut pair.ends;
        for event in near.events.drain(..) {
            match event {
                Event::Writable(key) => {
                    if let Some(stream) = writing.iter_mut().find(|stream| stream.key == key) {
                        write(&mut near.links, now, stream, &mut rope);
                    }
                }
                Event::Readable(key) => {
                    let link = near.links.link(key.link).expect("it is up");
                    done += usize::from(matches!(link.read(now, key.stream, 0), Read::End));
                }
                _ => {}
            }
        }
        writing.retain(|stream| !stream.left.is_empty());
        for event in far.events.drain(..) {
            if let Event::Readable(key) = event {
                read += read_all(&mut far.links, now, key, body.len());
            }
        }
        while opened < count && opened - done < AT_ONCE {
            let ours = near.links.link(link).expect("it is up");
            let stream = ours.open(now, ProtocolId(8), Class::Pool).expect("few wait");
            let mut stream = Writing { key: StreamKey { link, stream }, left: body.clone() };
            write(&mut near.links, now, &mut stream, &mut rope);
            if !stream.left.is_empty() {
                writing.push(stream);
            }
            opened += 1;
        }
        if done == count {
            assert_eq!(read, count * body.len(), "all bytes arrive");
            return;
        }
        pair.exchange();
    }
    panic!("{done} of {count} streams ended");
}

/// Writes what there is room for; the end follows the last byte.
fn write(links: &mut Links, now: Instant, stream: &mut Writing, rope: &mut Rope) {
    let link = links.link(stream.key.link).expect("it is up");
    while !stream.left.is_empty() {
        let room = link.room(stream.key.stream).min(stream.left.len());
        if room == 0 {
            return;
        }
        rope.push(stream.left.split_to(room));
        link.write(now, stream.key.stream, rope);
    }
    link.finish(now, stream.key.stream);
}

/// Reads what is there; answers the end with an end.
fn read_all(links: &mut Links, now: Instant, key: StreamKey, size: usize) -> usize {
    let link = links.link(key.link).expect("it is up");
    link.expect(key.stream, size as u64);
    let mut read = 0;
    loop {
        match link.read(now, key.stream, usize::MAX) {
            Read::Data(chunk) => read += chunk.len(),
            Read::End => {
                link.finish(now, key.stream);
                return read;
            }
            Read::Blocked | Read::Reset(_) | Read::Closed => return read,
        }
    }
}
