//! What breaks the rules of frames is a typed fault with blame, and ends the link.

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use weir_base::stream::{Class, Goodbye};
use weir_base::{Blame, ProtocolId};

use super::harness::Net;
use crate::frames::{DATA_MAX, STREAMS_INITIAL};
use crate::{DownReason, Frame, WireId};

/// Node 1 gets these frames from node 0's side, after node 0 dialled it and node 1 opened one stream (number 1).
fn after(frames: impl IntoIterator<Item = Frame>) -> Net {
    let mut net = Net::pair();
    let (_, other) = net.join_wire(0, 1);
    net.open(1, other, 8, Class::Pool);
    net.run(Duration::from_millis(100));
    frames.into_iter().for_each(|frame| net.inject(1, frame));
    net.run(Duration::from_millis(100));
    net
}

fn blamed(frames: impl IntoIterator<Item = Frame>, what: &str) {
    let net = after(frames);
    let [(link, fault)] = net.nodes[1].blamed[..] else { panic!("{:?}", net.nodes[1].blamed) };
    assert_eq!((fault.blame, fault.what), (Blame::Misbehaved, what));
    assert_eq!(net.nodes[1].down, vec![(link, DownReason::Fault(fault))]);
    assert_eq!(net.nodes[0].down.len(), 1);
    assert_eq!(net.nodes[0].down[0].1, DownReason::ByPeer(Goodbye::Fault));
}

fn open(stream: u64) -> Frame {
    Frame::Open { stream, protocol: ProtocolId(8) }
}

fn data(stream: u64, len: usize) -> Frame {
    Frame::Data { stream, bytes: Bytes::from(vec![7; len]) }
}

#[test]
fn frames_for_streams_that_never_were() {
    let unknown = "sent a frame for a stream that was never opened";
    blamed([data(0, 1)], unknown);
    blamed([Frame::End { stream: 5 }], unknown);
    blamed([Frame::Reset { stream: 3, code: 0 }], unknown);
    blamed([Frame::Stop { stream: 4, code: 0 }], unknown);
    blamed([Frame::StreamCredit { stream: u64::MAX, total: 1 }], unknown);
}

#[test]
fn streams_out_of_order_or_too_many() {
    let order = "opened a stream out of order";
    blamed([open(4)], order);
    blamed([open(0), open(0)], order);
    blamed([open(1)], order);
    blamed([open(2)], order);
    blamed((0..=STREAMS_INITIAL).map(|index| open(index * 4)), "opened more streams than allowed");
}

#[test]
fn more_than_the_credit_of_a_stream_or_of_the_link() {
    let stream = [open(0)].into_iter().chain((0..5).map(|_| data(0, DATA_MAX)));
    blamed(stream, "sent more than a stream's credit");
    let link = [open(0), open(4)].into_iter().chain((0..5).map(|index| data(index % 2 * 4, DATA_MAX)));
    blamed(link, "sent more than the link's credit");
}

#[test]
fn bytes_after_the_end_and_frames_of_a_wrong_size() {
    let late = "sent on a stream after its end";
    blamed([open(0), Frame::End { stream: 0 }, data(0, 1)], late);
    blamed([open(0), Frame::Reset { stream: 0, code: 1 }, Frame::End { stream: 0 }], late);
    blamed([open(0), data(0, 0)], "sent a data frame that is empty or too long");
    blamed([open(0), data(0, DATA_MAX + 1)], "sent a data frame that is empty or too long");
}

#[test]
fn late_credit_and_stops_for_streams_that_are_over_are_no_fault() {
    let over = [open(0), Frame::Reset { stream: 0, code: 1 }];
    let mut net = after(over);
    let key = net.nodes[1].opened[0].0;
    let now = net.now;
    let link = net.nodes[1].links.link(key.link).unwrap();
    let _ = link.read(now, 0, 1);
    link.reset(now, 0, 3);
    net.inject(1, Frame::StreamCredit { stream: 0, total: 1 << 40 });
    net.inject(1, Frame::Stop { stream: 0, code: 1 });
    net.inject(1, Frame::Pong { nonce: 77 });
    net.inject(1, Frame::LinkCredit { total: 0 });
    assert!(net.nodes[1].blamed.is_empty());
}

fn any_frame() -> impl Strategy<Value = Frame> {
    let stream = 0_u64..14;
    prop_oneof![
        (stream.clone(), any::<u32>())
            .prop_map(|(stream, id)| Frame::Open { stream, protocol: ProtocolId(id) }),
        (stream.clone(), 0..DATA_MAX + 2).prop_map(|(stream, len)| data(stream, len)),
        stream.clone().prop_map(|stream| Frame::End { stream }),
        (stream.clone(), any::<u32>()).prop_map(|(stream, code)| Frame::Reset { stream, code }),
        (stream.clone(), any::<u32>()).prop_map(|(stream, code)| Frame::Stop { stream, code }),
        (stream, any::<u64>()).prop_map(|(stream, total)| Frame::StreamCredit { stream, total }),
        any::<u64>().prop_map(|total| Frame::LinkCredit { total }),
        any::<u64>().prop_map(|total| Frame::StreamsCredit { total }),
        any::<u64>().prop_map(|nonce| Frame::Ping { nonce }),
        any::<u64>().prop_map(|nonce| Frame::Pong { nonce }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn any_frames_in_any_order_are_taken_or_blamed(frames in proptest::collection::vec(any_frame(), 1..60)) {
        let net = after(frames);
        prop_assert!(net.nodes[1].blamed.len() <= 1);
        prop_assert_eq!(net.nodes[1].blamed.len(), net.nodes[1].down.len());
    }
}

#[test]
fn what_waits_for_a_peer_that_takes_nothing_is_bounded() {
    let mut net = Net::pair();
    let (_, other) = net.join_wire(0, 1);
    let now = net.now;
    let links = &mut net.nodes[1].links;
    let wire = WireId(3); // of the listener
    for index in 0..20_000_u64 {
        let stream = index * 4;
        links.handle_frame(now, wire, Frame::Open { stream, protocol: ProtocolId(999) });
        let Some(link) = links.link(other) else { break };
        link.reset(now, stream, 1); // as the pump does with a protocol that nobody speaks
        link.stop(now, stream, 1);
        links.handle_frame(now, wire, Frame::End { stream });
    }
    let mut frames = 0;
    while links.poll_frame(now).is_some() {
        frames += 1;
    }
    assert!(frames < 4 * 32, "{frames} frames for a peer that takes none");
    net.drain();
    assert_eq!(net.nodes[1].blamed[0].1.what, "opened more streams than allowed");
}
