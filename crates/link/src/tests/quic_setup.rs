//! Handshakes: retry under load, 0-RTT and its replay, refusals, who answers.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use weir_base::multiaddr::Multiaddr;
use weir_base::stream::{Class, Goodbye, OpenError};
use weir_base::{LinkId, ProtocolId, StreamKey};

use super::harness::{Net, config};
use crate::{Config, Dial, DialFailure, DownReason};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn under_load_an_address_is_proven_before_anything_is_kept() {
    let mut loaded = config();
    loaded.admission.retry_after = 0;
    let mut net = Net::new(vec![config(), loaded]);
    net.join_quic(0, 1);
    assert_eq!(net.nodes[1].links.stats().retries, 1);
    assert_eq!(net.nodes[1].links.stats().links, 1);
}

#[test]
fn spoofed_first_packets_are_told_to_retry_and_keep_nobody_of_that_address_out() {
    let mut net = Net::new(vec![config(), config(), config()]);
    let real = net.nodes[0].address;
    (net.sniff, net.mtu) = (true, 0); // what is sent now goes nowhere, but is seen
    for _ in 0..40 {
        net.dial_quic(2, 1);
    }
    net.drain();
    net.restart(2);
    (net.sniff, net.mtu) = (false, 1500);
    for (port, (_, _, first)) in (1000..).zip(std::mem::take(&mut net.sniffed)) {
        net.spoof(1, SocketAddr::new(real.ip(), port), &first);
    }
    net.dial_quic(0, 1);
    net.run(SECOND);
    let stats = *net.nodes[1].links.stats();
    assert!(stats.half_open <= 16 && stats.retries > 0, "{stats:?}");
    assert_eq!((net.nodes[0].up.len(), net.nodes[1].up.len()), (1, 1), "the real one is linked");
    assert_eq!(net.nodes[1].blamed, vec![]);
    net.run(SECOND * 15);
    assert_eq!(net.nodes[1].links.stats().half_open, 0);
}

fn early() -> Config {
    let mut early = config();
    early.streams.early = vec![ProtocolId(0), ProtocolId(8)];
    early
}

/// Node 0 knows node 1 and is gone again; both remember a session.
fn acquainted() -> Net {
    acquainted_with(early())
}

fn acquainted_with(server: Config) -> Net {
    let mut net = Net::new(vec![early(), server]);
    let (link, _) = net.join_quic(0, 1);
    let now = net.now;
    net.nodes[0].links.link(link).unwrap().close(now, Goodbye::Asked);
    net.run(SECOND * 3);
    assert_eq!(net.nodes[1].links.stats().links, 0);
    net
}

#[test]
fn a_known_peer_is_greeted_with_the_first_packet() {
    let mut net = acquainted();
    net.dial_quic(0, 1);
    net.drain();
    let (link, peer) = net.nodes[0].early[0];
    assert_eq!(peer, net.peer(1));
    assert_eq!(net.nodes[0].up.len(), 1, "it is no link yet");
    let key = net.open(0, link, 8, Class::Pool);
    assert!(net.write(0, key, &Bytes::from_static(b"permit")) > 0);
    let now = net.now;
    let refused = net.nodes[0].links.link(link).unwrap().open(now, ProtocolId(12), Class::Pool);
    assert_eq!(refused, Err(OpenError::Closed), "only what may be replayed");
    let begun = net.now;
    while net.nodes[1].opened.is_empty() && net.now - begun < SECOND {
        net.run(Duration::from_millis(1));
    }
    let there = net.nodes[1].opened[0].0;
    assert_eq!(net.nodes[1].early, vec![(there.link, net.peer(0))]);
    assert_eq!(net.nodes[1].up.len(), 1, "it is no link there either");
    assert_eq!(net.read(1, there).0, b"permit");
    assert!(net.now - begun <= net.delay + Duration::from_millis(2), "with the first packet");
    assert!(net.write(1, there, &Bytes::from_static(b"offer")) > 0);
    let now = net.now;
    let refused = net.nodes[1].links.link(there.link).unwrap().open(now, ProtocolId(8), Class::Pool);
    assert_eq!(refused, Err(OpenError::Closed), "it answers, and opens nothing");
    while net.nodes[0].up.len() < 2 && net.now - begun < SECOND {
        net.run(Duration::from_millis(1));
    }
    assert_eq!(net.read(0, key).0, b"offer");
    assert!(net.now - begun <= net.delay * 2 + Duration::from_millis(2), "after one round trip");
    net.run(net.delay * 2);
    assert_eq!(net.nodes[1].links.stats().early_accepted, 1);
    net.run(SECOND);
    let stats = net.nodes[0].links.stats();
    assert_eq!((stats.early_accepted, stats.early_refused), (1, 0), "the first link had none");
    assert_eq!(net.nodes[0].up.len(), 2);
    net.write(0, key, &Bytes::from_static(b" and more"));
    net.run(SECOND);
    assert_eq!(net.read(1, there).0, b" and more");
}

/// Node 0 dials and can write at once: its link.
fn greeting(net: &mut Net) -> LinkId {
    net.dial_quic(0, 1);
    net.drain();
    net.nodes[0].early.last().unwrap().0
}

#[test]
fn what_the_server_does_not_read_early_waits_for_the_handshake() {
    let mut server = early();
    server.streams.early = vec![ProtocolId(0)];
    let mut net = acquainted_with(server);
    let link = greeting(&mut net);
    let (waits, goes) = (net.open(0, link, 8, Class::Pool), net.open(0, link, 0, Class::Control));
    net.write(0, waits, &Bytes::from_static(b"permit"));
    net.write(0, goes, &Bytes::from_static(b"hello"));
    net.run(net.delay + Duration::from_millis(1));
    let opened = |net: &Net| net.nodes[1].opened.iter().map(|(key, _)| key.stream).collect::<Vec<_>>();
    assert_eq!(opened(&net), vec![goes.stream]);
    net.run(net.delay * 2);
    assert_eq!(opened(&net), vec![goes.stream, waits.stream]);
    let there = net.nodes[1].opened[1].0;
    assert_eq!(net.read(1, there).0, b"permit");
}

#[test]
fn no_more_than_8_kib_are_written_before_the_handshake_is_confirmed() {
    let mut net = acquainted();
    net.dial_quic(0, 1);
    net.drain();
    let (link, _) = net.nodes[0].early[0];
    let keys = [0, 8].map(|protocol| net.open(0, link, protocol, Class::Pool));
    let written: usize = keys.map(|key| net.write(0, key, &Bytes::from(vec![1; 5_000]))).iter().sum();
    assert!((8_000..=8 * 1024).contains(&written), "{written}");
    assert_eq!(net.write(0, keys[1], &Bytes::from_static(b"more")), 0);
    let there = |net: &Net, key: StreamKey| StreamKey { link: net.nodes[1].up[1].0, ..key };
    net.run(SECOND);
    let read: usize = keys.map(|key| net.read(1, there(&net, key)).0.len()).iter().sum();
    assert_eq!(read, written, "and what was, arrives");
    assert!(net.nodes[0].writable.contains(&keys[1]), "who found no room is told of it");
}

#[test]
fn early_data_that_is_refused_is_sent_again() {
    let mut net = acquainted();
    net.restart(1); // it forgot its sessions
    net.dial_quic(0, 1);
    net.drain();
    let (link, _) = net.nodes[0].early[0];
    let first = net.open(0, link, 8, Class::Pool);
    let second = net.open(0, link, 0, Class::Control);
    net.write(0, first, &Bytes::from_static(b"permit"));
    net.write(0, second, &Bytes::from_static(b"hello"));
    net.run(SECOND);
    let opened = net.nodes[1].opened.clone();
    assert_eq!(opened.len(), 2);
    let there = |key: StreamKey| StreamKey { link: opened[0].0.link, stream: key.stream };
    assert_eq!(net.read(1, there(first)).0, b"permit");
    assert_eq!(net.read(1, there(second)).0, b"hello");
    assert_eq!(net.nodes[0].links.stats().early_accepted, 0);
    assert_eq!(net.nodes[0].links.stats().early_refused, 1);
}

#[test]
fn refused_early_data_keeps_its_streams_where_some_were_given_up_meanwhile() {
    let mut net = acquainted();
    net.restart(1);
    let link = greeting(&mut net);
    let streams: Vec<StreamKey> = (0..4).map(|_| net.open(0, link, 8, Class::Pool)).collect();
    for key in &streams {
        net.write(0, *key, &Bytes::from(format!("stream {}", key.stream)));
    }
    let now = net.now;
    let given_up = net.nodes[0].links.link(link).unwrap();
    given_up.reset(now, streams[1].stream, 7);
    given_up.stop(now, streams[1].stream, 7);
    given_up.finish(now, streams[2].stream);
    net.run(SECOND);
    let opened: Vec<StreamKey> = net.nodes[1].opened.iter().map(|(key, _)| *key).collect();
    let kept: Vec<u64> = [0, 2, 3].map(|index: usize| streams[index].stream).to_vec();
    assert_eq!(opened.iter().map(|key| key.stream).collect::<Vec<_>>(), kept);
    for key in opened {
        assert_eq!(net.read(1, key).0, format!("stream {}", key.stream).into_bytes());
    }
    assert!(net.nodes[1].blamed.is_empty() && net.nodes[0].blamed.is_empty());
}

#[test]
fn a_greeting_that_nobody_answers_is_told_to_be_over() {
    let mut net = acquainted();
    net.loss = 1_000;
    let link = greeting(&mut net);
    net.run(SECOND * 15);
    assert_eq!(net.nodes[0].down.last().map(|(down, _)| *down), Some(link));
    assert_eq!(net.nodes[0].failed.len(), 1);
}

#[test]
fn a_replayed_first_flight_brings_no_link_no_fault_and_at_most_thrice_its_bytes() {
    let mut net = acquainted();
    net.sniff = true;
    net.sniffed.clear();
    net.dial_quic(0, 1);
    net.drain();
    let (link, _) = net.nodes[0].early[0];
    let key = net.open(0, link, 8, Class::Pool);
    net.write(0, key, &Bytes::from_static(b"permit"));
    net.drain();
    let flight: Vec<Bytes> = net.sniffed.iter().map(|(_, _, bytes)| bytes.clone()).collect();
    net.run(SECOND);
    let (up, opened) = (net.nodes[1].up.len(), net.nodes[1].opened.len());
    assert_eq!(opened, 1);
    let before = net.nodes[1].links.stats().bytes_out;
    let mut sent = 0;
    for _ in 0..1_000 {
        for bytes in &flight {
            sent += bytes.len() as u64;
            net.spoof(1, SocketAddr::from(([198, 51, 100, 7], 999)), bytes);
        }
        net.run(Duration::from_millis(20));
    }
    net.run(SECOND * 15);
    let node = &net.nodes[1];
    assert_eq!((node.up.len(), node.opened.len(), node.down.len()), (up, opened, 1));
    assert!(node.blamed.is_empty());
    let back = node.links.stats().bytes_out - before;
    assert!(back <= 3 * sent, "{back} bytes for {sent}");
    assert_eq!(node.links.stats().links, 1, "the honest link stays");
}

#[test]
fn a_full_node_says_so() {
    let mut small = config();
    small.admission.max_inbound = 1;
    let mut net = Net::new(vec![small, config(), config()]);
    net.join_quic(1, 0);
    net.dial_quic(2, 0);
    net.run(SECOND * 7);
    let refused =
        net.nodes[2].failed.iter().any(|(_, reason)| *reason == DialFailure::Refused(Goodbye::Full))
            || net.nodes[2].down.iter().any(|(_, reason)| *reason == DownReason::ByPeer(Goodbye::Full));
    assert!(refused, "{:?} {:?}", net.nodes[2].failed, net.nodes[2].down);
    assert_eq!(net.nodes[0].links.stats().refused, 1);
}

#[test]
fn another_peer_than_expected_is_not_linked() {
    let mut net = Net::pair();
    let address = Multiaddr::from_quic(net.nodes[1].address);
    let dial = Dial { peer: Some(net.peer(7)), addresses: vec![address], pinned: false };
    let now = net.now;
    let dial = net.nodes[0].links.dial(now, dial).unwrap();
    net.run(SECOND);
    assert_eq!(net.nodes[0].failed, vec![(dial, DialFailure::OtherPeer)]);
    assert!(net.nodes[1].up.is_empty());
    assert!(net.nodes[1].blamed.is_empty());
}

#[test]
fn the_next_address_is_tried_after_a_moment_and_the_first_that_answers_wins() {
    let mut net = Net::pair();
    let nowhere = Multiaddr::from_quic(SocketAddr::from(([192, 0, 2, 1], 1)));
    let six = Multiaddr::from_quic("[2001:db8::1]:4001".parse().unwrap());
    let address = Multiaddr::from_quic(net.nodes[1].address);
    let dial = Dial { peer: Some(net.peer(1)), addresses: vec![nowhere, six, address], pinned: false };
    let (now, begun) = (net.now, net.now);
    net.nodes[0].links.dial(now, dial).unwrap();
    while net.nodes[0].up.is_empty() && net.now - begun < SECOND * 5 {
        net.run(Duration::from_millis(10));
    }
    let time = net.now - begun;
    assert!((Duration::from_millis(250)..Duration::from_millis(450)).contains(&time), "{time:?}");
    net.run(SECOND * 5);
    assert_eq!(net.nodes[0].links.stats().dials, 0);
    assert!(net.nodes[0].down.is_empty() && net.nodes[0].failed.is_empty());
}

#[test]
fn nobody_there_is_told_at_the_deadline() {
    let mut net = Net::pair();
    let nowhere = Multiaddr::from_quic(SocketAddr::from(([192, 0, 2, 1], 1)));
    let dial = Dial { peer: None, addresses: vec![nowhere], pinned: false };
    let now = net.now;
    let dial = net.nodes[0].links.dial(now, dial).unwrap();
    net.run(SECOND * 9);
    assert!(net.nodes[0].failed.is_empty());
    net.run(SECOND * 2);
    assert_eq!(net.nodes[0].failed, vec![(dial, DialFailure::Timeout)]);
}
