//! Streams over frames: what is theirs alone, credit and order.

use std::time::Duration;

use bytes::Bytes;
use weir_base::stream::{Class, OpenError};
use weir_base::{KIB, MIB, ProtocolId, StreamKey};

use super::flow::{pattern, transfer};
use super::harness::{Net, config};
use crate::Read;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn bytes_arrive_in_order_and_what_is_expected_arrives_in_few_round_trips() {
    let body = pattern(4 * MIB);
    let mut times = Vec::new();
    for expect in [false, true] {
        let mut net = Net::pair();
        let (link, other) = net.join_wire(0, 1);
        let key = net.open(0, link, 8, Class::Pool);
        let (read, time) = transfer(&mut net, key, other, &body, expect);
        assert!(read == body, "every byte in order");
        times.push(time);
    }
    assert!(times[0] > Duration::from_millis(64 * 40), "64 KiB per round trip: {times:?}");
    assert!(times[1] < Duration::from_millis(500), "lent what was reserved: {times:?}");
}

#[test]
fn opens_beyond_the_peers_limit_wait_and_even_their_ends_arrive_in_order() {
    let mut net = Net::pair();
    let (link, other) = net.join_wire(0, 1);
    let keys: Vec<StreamKey> = (0..40).map(|_| net.open(0, link, 8, Class::Pool)).collect();
    assert_eq!(net.write(0, keys[39], &Bytes::from_static(b"x")), 0, "it waits");
    let now = net.now;
    net.nodes[0].links.link(link).unwrap().reset(now, keys[38].stream, 5);
    net.run(SECOND);
    assert_eq!(net.nodes[1].opened.len(), 32);
    net.nodes[1].links.link(other).unwrap().raise_stream_limit();
    net.run(SECOND);
    assert_eq!(net.nodes[1].opened.len(), 40);
    assert_eq!(net.nodes[0].writable, vec![keys[39]]);
    assert!(net.nodes[1].blamed.is_empty());
    let now = net.now;
    let far = net.nodes[1].links.link(other).unwrap();
    assert!(matches!(far.read(now, keys[38].stream, 9), Read::Reset(5)));
    for _ in 0..280 {
        let _ = net.nodes[0].links.link(link).unwrap().open(now, ProtocolId(8), Class::Pool);
    }
    let more = net.nodes[0].links.link(link).unwrap().open(now, ProtocolId(8), Class::Pool);
    assert_eq!(more, Err(OpenError::Limit));
}

#[test]
fn a_stalled_raw_stream_leaves_the_base_window_to_the_others() {
    let mut net = Net::pair();
    let (link, other) = net.join_wire(0, 1);
    let raw = net.open(0, link, 400, Class::Bulk);
    let pool = net.open(0, link, 8, Class::Pool);
    net.run(SECOND);
    net.nodes[1].links.link(other).unwrap().mark_raw(raw.stream);
    for _ in 0..20 {
        net.write(0, raw, &pattern(64 * KIB));
        net.run(Duration::from_millis(100));
    }
    assert_eq!(net.nodes[1].links.stats().receive.lent, 64 * 1024, "what is unread");
    let (read, _) = transfer(&mut net, pool, other, &pattern(MIB), false);
    assert_eq!(read.len(), MIB);
}

#[test]
fn raw_streams_past_the_cap_lose_the_latest() {
    let mut config = config();
    config.streams.window = 64 * 1024;
    config.budget.max_raw = 130 * 1024;
    let mut net = Net::new(vec![config.clone(), config]);
    let (link, other) = net.join_wire(0, 1);
    let keys: Vec<StreamKey> = (0..3).map(|_| net.open(0, link, 400, Class::Bulk)).collect();
    net.run(SECOND);
    for key in &keys {
        net.nodes[1].links.link(other).unwrap().mark_raw(key.stream);
    }
    for _ in 0..20 {
        for key in &keys {
            net.write(0, *key, &pattern(64 * KIB));
        }
        net.run(Duration::from_millis(100));
    }
    assert_eq!(net.nodes[1].links.stats().raw_resets, 1);
    let now = net.now;
    let far = net.nodes[1].links.link(other).unwrap();
    assert!(matches!(far.read(now, keys[2].stream, 9), Read::Reset(7)));
    assert!(matches!(far.read(now, keys[0].stream, 9), Read::Data(_)));
    assert_eq!(net.nodes[0].stopped, vec![(keys[2], 7)]);
}
