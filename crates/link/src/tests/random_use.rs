//! Whatever two honest users do with streams: bytes arrive whole and in order, nobody is blamed, no credit stays lent.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use weir_base::stream::Class;
use weir_base::{LinkId, Rng, StreamKey};

use super::harness::{Net, Over, config};
use crate::Read;

/// One direction of a stream, by its writer's node and number.
#[derive(Default)]
struct Flow {
    written: u64,
    read: u64,
    finished: bool,
    broken: bool,
    ended: bool,
}

/// The byte at a place of a direction.
fn byte(node: usize, stream: u64, place: u64) -> u8 {
    u8::try_from((place * 31 + stream * 7 + node as u64) % 251).unwrap()
}

struct Run {
    net: Net,
    rng: Rng,
    links: [LinkId; 2],
    over: Over,
    flows: BTreeMap<(usize, u64), Flow>,
}

impl Run {
    fn new(seed: u64, over: Over) -> Self {
        let mut config = config();
        config.streams.window = 128 * 1024;
        let mut net = Net::new(vec![config.clone(), config]);
        net.loss = if seed.is_multiple_of(2) { 0 } else { 20 };
        let (near, far) = net.join(over, 0, 1);
        Self { net, rng: Rng::from_number(seed), links: [near, far], over, flows: BTreeMap::new() }
    }

    fn step(&mut self) {
        let node = self.rng.index(2);
        let (now, id) = (self.net.now, self.links[node]);
        if self.rng.chance(1, 12) && self.flows.len() < 40 {
            let class = [Class::Control, Class::Tip, Class::Pool, Class::Bulk][self.rng.index(4)];
            let protocol = 4 * u32::try_from(self.rng.below(9)).unwrap() + 4;
            let key = self.net.open(node, id, protocol, class);
            self.flows.insert((0, key.stream), Flow::default());
            self.flows.insert((1, key.stream), Flow::default());
            return;
        }
        let streams: Vec<u64> = self.flows.keys().filter(|key| key.0 == node).map(|key| key.1).collect();
        let Some(stream) = (!streams.is_empty()).then(|| streams[self.rng.index(streams.len())]) else {
            return;
        };
        let known = stream % 2 == node as u64
            || self.net.nodes[node].opened.iter().any(|(key, _)| key.stream == stream);
        if !known {
            return;
        }
        match self.rng.below(20) {
            0..8 => self.write(node, stream),
            8..16 => self.read(node, stream),
            16 => {
                let bytes = self.rng.below(300_000);
                self.net.nodes[node].links.link(id).unwrap().expect(stream, bytes);
            }
            17 if self.rng.chance(1, 3) => {
                self.net.nodes[node].links.link(id).unwrap().finish(now, stream);
                self.flows.get_mut(&(node, stream)).unwrap().finished = true;
            }
            18 if self.rng.chance(1, 6) => {
                self.net.nodes[node].links.link(id).unwrap().reset(now, stream, 3);
                self.flows.get_mut(&(node, stream)).unwrap().broken = true;
                if self.over == Over::Tcp {
                    self.flows.get_mut(&(1 - node, stream)).unwrap().broken = true; // it has no other reset
                }
            }
            19 if self.rng.chance(1, 6) => {
                self.net.nodes[node].links.link(id).unwrap().stop(now, stream, 4);
                self.flows.get_mut(&(1 - node, stream)).unwrap().broken = true;
            }
            _ => {
                let pause = Duration::from_millis(self.rng.below(30));
                self.net.run(pause);
            }
        }
    }

    fn write(&mut self, node: usize, stream: u64) {
        let flow = self.flows.get_mut(&(node, stream)).unwrap();
        if flow.finished || flow.broken {
            return;
        }
        let len = self.rng.below(60_000);
        let bytes: Bytes = (flow.written..flow.written + len).map(|at| byte(node, stream, at)).collect();
        let key = StreamKey { link: self.links[node], stream };
        flow.written += self.net.write(node, key, &bytes) as u64;
    }

    fn read(&mut self, node: usize, stream: u64) {
        let (writer, now) = (1 - node, self.net.now);
        let max = self.rng.index(80_000);
        let flow = self.flows.get_mut(&(writer, stream)).unwrap();
        let link = self.net.nodes[node].links.link(self.links[node]).unwrap();
        match link.read(now, stream, max) {
            Read::Data(chunk) => {
                assert!(chunk.len() <= max && !chunk.is_empty());
                for (value, at) in chunk.iter().zip(flow.read..) {
                    assert_eq!(*value, byte(writer, stream, at), "stream {stream} at {at}");
                }
                flow.read += chunk.len() as u64;
                assert!(flow.read <= flow.written);
            }
            Read::End => {
                assert!(flow.broken || (flow.finished && flow.read == flow.written), "whole before the end");
                flow.ended = true;
            }
            Read::Reset(code) => {
                flow.ended = true;
                // A stream broken off before it said what it speaks is refused: code 0.
                let broken = if code == 0 { &self.flows[&(node, stream)] } else { flow };
                assert!(broken.broken && matches!(code, 0 | 2..=4), "{code} on {stream} ({:?})", self.over);
                self.flows.get_mut(&(writer, stream)).unwrap().broken = true;
            }
            Read::Blocked => {}
            Read::Closed => assert!(flow.ended || flow.broken, "{node} reads {stream} {:?}", self.over),
        }
    }

    /// Everything is finished and read to its end.
    fn finish(&mut self) {
        self.net.loss = 0;
        let keys: Vec<(usize, u64)> = self.flows.keys().copied().collect();
        for _ in 0..300 {
            self.net.run(Duration::from_millis(100));
            if self.flows.values().all(|flow| flow.ended || flow.broken) {
                break;
            }
            for (node, stream) in &keys {
                let now = self.net.now;
                let known = stream % 2 == *node as u64
                    || self.net.nodes[*node].opened.iter().any(|(key, _)| key.stream == *stream);
                if !known {
                    continue;
                }
                self.net.nodes[*node].links.link(self.links[*node]).unwrap().finish(now, *stream);
                self.flows.get_mut(&(*node, *stream)).unwrap().finished = true;
                for _ in 0..20 {
                    self.read(*node, *stream);
                }
            }
        }
    }
}

#[test]
fn random_use_of_streams_keeps_every_promise() {
    for over in Over::ALL {
        for seed in 0..4 {
            let mut run = Run::new(seed, over);
            for _ in 0..400 {
                run.step();
            }
            run.finish();
            for node in 0..2 {
                let id = run.links[node];
                let node = &mut run.net.nodes[node];
                assert!(node.blamed.is_empty() && node.down.is_empty(), "{:?} {:?}", node.blamed, node.down);
                // What was expected and never sent is left over, to be used by the next answer.
                let window = &node.links.link(id).unwrap().window;
                let at_rest = !window.is_expecting() && window.backlog() == 0 && window.deficit() == 0;
                assert!(at_rest && window.lent() == window.surplus(), "{window:?} ({over:?}, seed {seed})");
            }
            for ((node, stream), flow) in &run.flows {
                let whole = flow.broken || flow.read == flow.written;
                let (read, written) = (flow.read, flow.written);
                assert!(whole, "stream {stream} of {node}: {read} of {written} ({over:?}, seed {seed})");
            }
        }
    }
}
