//! Streams over QUIC: what is its alone, loss, limits, the path.

use std::time::Duration;

use bytes::Bytes;
use weir_base::stream::{Class, Goodbye, OpenError};
use weir_base::{KIB, MIB, ProtocolId, StreamKey};

use super::flow::{pattern, transfer};
use super::harness::{Net, config};
use crate::DownReason;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn bytes_arrive_in_order_through_loss() {
    let (mut net, body) = (Net::pair(), pattern(2 * MIB));
    net.loss = 20;
    let (link, other) = net.join_quic(0, 1);
    let key = net.open(0, link, 8, Class::Pool);
    let (read, _) = transfer(&mut net, key, other, &body, true);
    assert!(read == body, "every byte in order");
}

#[test]
fn opens_beyond_the_peers_limit_wait() {
    let mut net = Net::pair();
    let (link, other) = net.join_quic(0, 1);
    let keys: Vec<StreamKey> = (0..40).map(|_| net.open(0, link, 8, Class::Pool)).collect();
    assert_eq!(net.write(0, keys[39], &Bytes::from_static(b"x")), 0, "it waits");
    let now = net.now;
    net.nodes[0].links.link(link).unwrap().reset(now, keys[38].stream, 5);
    net.run(SECOND);
    assert_eq!(net.nodes[1].opened.len(), 32);
    net.nodes[1].links.link(other).unwrap().hello_accepted();
    net.run(SECOND);
    assert_eq!(
        net.nodes[1].opened.len() + net.nodes[1].blamed.len(),
        39,
        "all but the one that was reset before its head was written"
    );
    assert_eq!(net.nodes[0].writable, vec![keys[39]]);
    let now = net.now;
    for _ in 0..200 {
        let _ = net.nodes[0].links.link(link).unwrap().open(now, ProtocolId(8), Class::Pool);
    }
    let more = net.nodes[0].links.link(link).unwrap().open(now, ProtocolId(8), Class::Pool);
    assert_eq!(more, Err(OpenError::Limit));
}

#[test]
fn a_head_goes_out_once_there_is_room_though_its_writer_writes_nothing() {
    let (mut net, body) = (Net::pair(), pattern(MIB));
    let (link, other) = net.join_quic(0, 1);
    let mut full = Vec::new();
    let waits = loop {
        let key = net.open(0, link, 8, Class::Pool);
        if net.write(0, key, &body) == 0 {
            break key;
        }
        full.push(StreamKey { link: other, stream: key.stream });
        assert!(full.len() < 30, "a class has so much room");
    };
    net.run(SECOND);
    let there = StreamKey { link: other, stream: waits.stream };
    let is_known = |net: &Net| net.nodes[1].opened.iter().any(|(key, _)| *key == there);
    assert!(!is_known(&net), "its first bytes are to come with it");
    for _ in 0..20 {
        full.iter().for_each(|key| drop(net.read(1, *key)));
        net.run(Duration::from_millis(50));
    }
    assert!(net.nodes[0].writable.contains(&waits));
    assert!(is_known(&net), "though nothing was written");
}

#[test]
fn a_peer_that_falls_silent_is_lost_after_the_idle_timeout() {
    let mut net = Net::pair();
    let (link, _) = net.join_quic(0, 1);
    net.run(SECOND * 100);
    assert!(net.nodes[0].down.is_empty(), "signs of life keep it");
    net.loss = 1000;
    net.run(SECOND * 40);
    assert_eq!(net.nodes[0].down, vec![(link, DownReason::Lost)]);
}

#[test]
fn path_mtu_discovery_finds_what_the_path_carries() {
    let mut large = config();
    large.quic.max_mtu = 1452;
    let mut net = Net::new(vec![large.clone(), large]);
    net.mtu = 1400 + 28;
    let (link, other) = net.join_quic(0, 1);
    let key = net.open(0, link, 8, Class::Pool);
    let (read, _) = transfer(&mut net, key, other, &pattern(MIB), true);
    assert_eq!(read.len(), MIB);
    let mtu = net.nodes[0].links.link(link).unwrap().stats().mtu;
    assert!((1370..=1400).contains(&mtu), "{mtu}");
}

#[test]
fn a_link_goes_on_when_the_address_of_its_dialler_changes() {
    let mut net = Net::pair();
    let (link, other) = net.join_quic(0, 1);
    let key = net.open(0, link, 8, Class::Pool);
    net.nodes[0].address.set_port(9999); // as behind a NAT that forgot it
    let (read, _) = transfer(&mut net, key, other, &pattern(KIB * 500), true);
    assert_eq!(read, pattern(KIB * 500));
    net.run(Duration::from_secs(60));
    assert!(net.nodes[0].down.is_empty() && net.nodes[1].down.is_empty());
}

#[test]
fn a_restart_ends_the_old_link_at_once() {
    let mut net = Net::pair();
    let (link, other) = net.join_quic(0, 1);
    net.restart(1);
    let key = net.open(0, link, 8, Class::Pool);
    net.write(0, key, &pattern(100));
    net.run(SECOND);
    assert_eq!(net.nodes[0].down, vec![(link, DownReason::Reset)]);
    let _ = other;
}

#[test]
fn the_same_seed_gives_the_same_sizes() {
    let run = || {
        let mut net = Net::pair();
        net.sniff = true;
        net.loss = 10;
        let (link, other) = net.join_quic(0, 1);
        let key = net.open(0, link, 8, Class::Pool);
        transfer(&mut net, key, other, &pattern(200 * KIB), true);
        net.sniffed.iter().map(|(from, to, bytes)| (*from, *to, bytes.len())).collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}

#[test]
fn a_goodbye_keeps_its_reason_though_the_peer_never_takes_all_that_was_written() {
    let mut net = Net::pair();
    let (link, other) = net.join_quic(0, 1);
    let key = net.open(0, link, 300, Class::Bulk);
    net.write(0, key, &Bytes::from(vec![1; MIB])); // more than the window of a stream that nobody reads
    net.run(Duration::from_millis(100));
    let now = net.now;
    net.nodes[0].links.link(link).unwrap().close(now, Goodbye::Full);
    net.run(Duration::from_secs(4));
    assert_eq!(net.nodes[0].down, vec![], "what was written may still be taken");
    net.run(Duration::from_secs(11));
    assert_eq!(net.nodes[0].down, vec![(link, DownReason::Closed(Goodbye::Full))]);
    assert_eq!(net.nodes[1].down, vec![(other, DownReason::ByPeer(Goodbye::Full))]);
}
