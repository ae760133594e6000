//! Streams over frames: bytes, ends, credit and order.

use std::time::Duration;

use bytes::Bytes;
use weir_base::stream::{Class, Goodbye, OpenError};
use weir_base::{KIB, LinkId, MIB, ProtocolId, StreamKey};

use super::harness::{Net, config};
use crate::{DownReason, Read};

const SECOND: Duration = Duration::from_secs(1);

/// Writes all of `bytes` from node 0 while node 1 reads with `expect` told; returns what arrived and how long it took.
fn transfer(
    net: &mut Net,
    key: StreamKey,
    other: LinkId,
    bytes: &Bytes,
    expect: bool,
) -> (Vec<u8>, Duration) {
    let (begun, mut sent, mut read) = (net.now, 0, Vec::new());
    let there = StreamKey { link: other, stream: key.stream };
    for _ in 0..5_000 {
        sent += net.write(0, key, &bytes.slice(sent..));
        if sent == bytes.len() {
            let now = net.now;
            net.nodes[0].links.link(key.link).unwrap().finish(now, key.stream);
        }
        if expect && let Some(link) = net.nodes[1].links.link(other) {
            link.expect(there.stream, (bytes.len() - read.len()) as u64);
        }
        net.run(Duration::from_millis(2));
        let (more, ended) = net.read(1, there);
        read.extend(more);
        if ended && read.len() == bytes.len() {
            break;
        }
    }
    (read, net.now - begun)
}

fn pattern(len: usize) -> Bytes {
    (0..len).map(|index| u8::try_from(index % 251).unwrap()).collect::<Vec<_>>().into()
}

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
fn all_lent_credit_comes_back() {
    let mut net = Net::pair();
    let (link, other) = net.join_wire(0, 1);
    let key = net.open(0, link, 8, Class::Pool);
    let body = pattern(MIB);
    transfer(&mut net, key, other, &body, true);
    net.run(SECOND);
    assert_eq!(net.nodes[1].links.stats().receive.lent, 0);
}

#[test]
fn a_stream_ends_each_way_by_itself() {
    let mut net = Net::pair();
    let (link, other) = net.join_wire(0, 1);
    let key = net.open(0, link, 8, Class::Pool);
    let there = StreamKey { link: other, stream: key.stream };
    net.write(0, key, &Bytes::from_static(b"question"));
    let now = net.now;
    net.nodes[0].links.link(link).unwrap().finish(now, key.stream);
    net.run(SECOND);
    assert_eq!(net.nodes[1].opened, vec![(there, ProtocolId(8))]);
    assert_eq!(net.read(1, there), (b"question".to_vec(), true));
    net.write(1, there, &Bytes::from_static(b"answer"));
    let now = net.now;
    net.nodes[1].links.link(other).unwrap().finish(now, key.stream);
    net.run(SECOND);
    assert_eq!(net.read(0, key), (b"answer".to_vec(), true));
    let now = net.now;
    assert!(matches!(net.nodes[0].links.link(link).unwrap().read(now, key.stream, 9), Read::Closed));
}

#[test]
fn reset_and_stop_carry_their_codes() {
    let mut net = Net::pair();
    let (link, other) = net.join_wire(0, 1);
    let key = net.open(0, link, 8, Class::Pool);
    let there = StreamKey { link: other, stream: key.stream };
    net.write(0, key, &Bytes::from_static(b"lost"));
    net.run(SECOND);
    let now = net.now;
    net.nodes[0].links.link(link).unwrap().reset(now, key.stream, 71);
    net.nodes[0].links.link(link).unwrap().stop(now, key.stream, 72);
    net.run(SECOND);
    let far = net.nodes[1].links.link(other).unwrap();
    assert!(matches!(far.read(now, key.stream, 9), Read::Reset(71)));
    assert_eq!(net.nodes[1].stopped, vec![(there, 72)]);
    net.run(SECOND);
    let now = net.now;
    assert_eq!(net.nodes[1].links.link(other).unwrap().room(key.stream), 0);
    assert!(matches!(net.nodes[0].links.link(link).unwrap().read(now, key.stream, 9), Read::Closed));
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
    net.nodes[1].links.link(other).unwrap().greet(now);
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
    net.nodes[1].links.link(other).unwrap().raw(raw.stream);
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
        net.nodes[1].links.link(other).unwrap().raw(key.stream);
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
    assert!(matches!(far.read(now, keys[2].stream, 9), Read::Reset(1)));
    assert!(matches!(far.read(now, keys[0].stream, 9), Read::Data(_)));
    assert_eq!(net.nodes[0].stopped, vec![(keys[2], 1)]);
}

#[test]
fn a_goodbye_delivers_what_was_written() {
    let mut net = Net::pair();
    let (link, other) = net.join_wire(0, 1);
    let key = net.open(0, link, 8, Class::Pool);
    assert_eq!(net.write(0, key, &pattern(40 * KIB)), 40 * KIB);
    let now = net.now;
    net.nodes[0].links.link(link).unwrap().close(now, Goodbye::Shutdown);
    let refused = net.nodes[0].links.link(link).unwrap().open(now, ProtocolId(8), Class::Pool);
    assert_eq!(refused, Err(OpenError::Closed));
    net.run(Duration::from_millis(100));
    assert_eq!(net.nodes[0].down, vec![(link, DownReason::Closed(Goodbye::Shutdown))]);
    assert!(net.nodes[1].down.is_empty(), "bytes wait to be read");
    let (read, _) = net.read(1, StreamKey { link: other, stream: key.stream });
    assert_eq!(read.len(), 40 * KIB);
    net.run(SECOND);
    assert_eq!(net.nodes[1].down, vec![(other, DownReason::ByPeer(Goodbye::Shutdown))]);
}
