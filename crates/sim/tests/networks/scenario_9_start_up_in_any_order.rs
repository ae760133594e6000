//! Scenario 9, start-up over frames: the first frames of both sides arrive in every interleaving across streams: no
//! fault, no loss, and the network works afterwards. Here whole stacks, and four frames a side. All orders of both first flights
//! and of what they bring are `both_sides_start_in_any_order` in `weir-pull`; over QUIC all orders of the first datagrams, with
//! each lost or doubled, and over TCP all ways to cut the first bytes, are `first_bytes_in_any_order` in `weir-stack`.

use crate::common;

use std::collections::{BTreeMap, VecDeque};

use weir_base::Instant;
use weir_sim::flood::Flood;
use weir_sim::{Dials, NodeId, Outcome, Tamper};
use weir_stack::{Frame, WireId};

/// Frames of each stream that are held back and mixed.
const FIRST: usize = 4;

/// Delivers what it holds in the order that a number says: at each step the digit chooses which stream goes on.
struct Mixer {
    order: u64,
    held: BTreeMap<WireId, Held>,
}

#[derive(Default)]
struct Held {
    opens: VecDeque<Frame>,
    streams: BTreeMap<u64, VecDeque<Frame>>,
    count: usize,
    through: bool,
}

impl Mixer {
    fn mix(&mut self, wire: WireId, frame: Frame, out: &mut Vec<Frame>) {
        let held = self.held.entry(wire).or_default();
        if held.through {
            return out.push(frame);
        }
        held.count += 1;
        match frame {
            Frame::Data { stream, .. } | Frame::End { stream } | Frame::StreamCredit { stream, .. } => {
                held.streams.entry(stream).or_default().push_back(frame);
            }
            // streams open in order, whatever comes on them
            other => held.opens.push_back(other),
        }
        if held.count < FIRST {
            return;
        }
        held.through = true;
        out.extend(held.opens.drain(..));
        let mut order = self.order;
        while !held.streams.is_empty() {
            let index = (order % held.streams.len() as u64) as usize;
            order /= held.streams.len() as u64;
            let stream = *held.streams.keys().nth(index).unwrap();
            let queue = held.streams.get_mut(&stream).unwrap();
            out.extend(queue.pop_front());
            if queue.is_empty() {
                held.streams.remove(&stream);
            }
        }
    }
}

impl Tamper for Mixer {
    fn outgoing(&mut self, _now: Instant, wire: WireId, frame: Frame, out: &mut Outcome) {
        self.mix(wire, frame, &mut out.send);
    }

    fn incoming(&mut self, _now: Instant, _wire: WireId, frame: Frame, out: &mut Outcome) {
        out.receive.push(frame);
    }
}

#[test]
fn first_frames_in_any_order_across_streams_do_no_harm() {
    // four frames have at most 4! = 24 orders at each side
    for order in 0..24 * 24 {
        let mut setup = common::setup(2, 1, 7);
        setup.dials = Dials::OneEnd; // one link, whose first frames these are
        let mut flood = Flood::new(setup, common::load(10, 1, 1)).unwrap();
        for (id, order) in [(NodeId(0), order / 24), (NodeId(1), order % 24)] {
            flood.net.host.computer(id).tamper(Box::new(Mixer { order, held: BTreeMap::new() }));
        }
        flood.run();
        common::assert_well(&mut flood);
        assert!(flood.net.faults.is_empty(), "order {order}: {:?}", flood.net.faults);
    }
}
