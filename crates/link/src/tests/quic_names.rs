//! QUIC by libp2p's name: which ALPN two nodes agree on, and streams whose protocol is agreed on by name.

use std::time::Duration;

use bytes::Bytes;
use weir_base::stream::{Class, Goodbye};
use weir_base::{LinkId, ProtocolId, StreamKey};

use super::harness::{Net, Over, config};
use crate::{Alpn, Config, DialFailure, DownReason, Read};

const SECOND: Duration = Duration::from_secs(1);
/// From one node to the other; `Net::delay`.
const ONE_WAY: Duration = Duration::from_millis(20);

fn speaking(alpn: &[Alpn]) -> Config {
    let mut config = config();
    config.quic.alpn = alpn.to_vec();
    config
}

/// A node where each protocol has these names.
fn calling(names: &[(u32, &[&str])]) -> Config {
    let mut config = speaking(&[Alpn::Libp2p]);
    let owned = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect();
    config.protocols = names.iter().map(|(id, list)| (ProtocolId(*id), owned(list))).collect();
    config
}

/// Two nodes, linked by name: the net, the link at node 0, the link at node 1.
fn linked(configs: &[Config; 2]) -> (Net, LinkId, LinkId) {
    let mut net = Net::new(configs.to_vec());
    let (link, other) = net.join(Over::QuicNamed, 0, 1);
    (net, link, other)
}

/// Reads what is next at a node.
fn next(net: &mut Net, node: usize, key: StreamKey) -> Read {
    let now = net.now;
    net.nodes[node].links.link(key.link).unwrap().read(now, key.stream, 99)
}

#[test]
fn weir_is_spoken_where_both_have_it_and_libp2p_where_one_has_no_other() {
    use Alpn::{Libp2p, Weir};
    for (near, far, named) in [
        (&[Weir, Libp2p][..], &[Weir, Libp2p][..], false),
        (&[Weir, Libp2p], &[Libp2p], true),
        (&[Libp2p], &[Weir, Libp2p], true),
        (&[Libp2p, Weir], &[Weir, Libp2p], false),
        (&[Weir], &[Weir, Libp2p], false),
    ] {
        let mut net = Net::new(vec![speaking(near), speaking(far)]);
        let (link, other) = net.join_quic(0, 1);
        assert_eq!(net.nodes[0].links.is_libp2p(link), named, "{near:?} dials {far:?}");
        assert_eq!(net.nodes[1].links.is_libp2p(other), named, "{near:?} dials {far:?}");
        let key = net.open(0, link, 8, Class::Pool);
        net.write(0, key, &Bytes::from_static(b"there"));
        net.run(SECOND);
        assert_eq!(net.read(1, StreamKey { link: other, ..key }), (b"there".to_vec(), false));
    }
}

#[test]
fn without_an_alpn_in_common_the_dial_fails_and_nobody_is_blamed() {
    let mut net = Net::new(vec![speaking(&[Alpn::Weir]), speaking(&[Alpn::Libp2p])]);
    let dial = net.dial_quic(0, 1);
    net.run(SECOND);
    assert_eq!(net.nodes[0].failed, vec![(dial, DialFailure::Handshake)]);
    assert!(net.nodes.iter().all(|node| node.blamed.is_empty() && node.up.is_empty()));
}

#[test]
fn no_alpn_at_all_is_refused_by_its_field() {
    let error = speaking(&[]).check().unwrap_err();
    assert_eq!(error.to_string(), "`quic.alpn` must name at least one");
}

#[test]
fn a_single_name_goes_along_with_the_first_bytes_and_costs_no_round_trip() {
    let (mut net, link, other) = linked(&[config(), config()]);
    let key = net.open(0, link, 8, Class::Pool);
    let there = StreamKey { link: other, ..key };
    assert_eq!(net.write(0, key, &Bytes::from_static(b"question")), 8);
    net.run(ONE_WAY + Duration::from_millis(1));
    assert_eq!(net.nodes[1].opened, vec![(there, ProtocolId(8))]);
    assert_eq!(net.read(1, there), (b"question".to_vec(), false));
    assert_eq!(net.write(1, there, &Bytes::from_static(b"answer")), 6);
    net.run(ONE_WAY + Duration::from_millis(1));
    assert_eq!(net.read(0, key), (b"answer".to_vec(), false));
}

#[test]
fn of_several_names_the_first_that_the_peer_has_is_spoken_and_writes_wait_for_it() {
    let near = calling(&[(8, &["/test/2", "/test/1"])]);
    let (mut net, link, other) = linked(&[near, calling(&[(40, &["/test/1"])])]);
    let key = net.open(0, link, 8, Class::Pool);
    assert_eq!(net.write(0, key, &Bytes::from_static(b"early")), 0, "not agreed on yet");
    net.run(SECOND);
    assert_eq!(net.nodes[1].opened, vec![(StreamKey { link: other, ..key }, ProtocolId(40))]);
    assert!(net.nodes[0].writable.contains(&key));
    assert_eq!(net.write(0, key, &Bytes::from_static(b"data")), 4);
    net.run(SECOND);
    assert_eq!(net.read(1, StreamKey { link: other, ..key }), (b"data".to_vec(), false));
}

#[test]
fn a_name_that_the_peer_has_not_is_refused_with_code_1_and_without_blame() {
    let (mut net, link, _) = linked(&[config(), calling(&[(9, &["/test/9"])])]);
    let key = net.open(0, link, 8, Class::Pool);
    net.write(0, key, &Bytes::from_static(b"anything, and more than a token would have"));
    net.run(SECOND);
    assert!(matches!(next(&mut net, 0, key), Read::Reset(1)));
    assert_eq!(net.nodes[0].stopped, vec![(key, 1)]);
    assert!(net.nodes[1].opened.is_empty());
    assert!(net.nodes.iter().all(|node| node.blamed.is_empty() && node.down.is_empty()));
}

#[test]
fn a_protocol_without_a_name_is_refused_by_its_own_side() {
    let (mut net, link, _) = linked(&[calling(&[(9, &["/test/9"])]), config()]);
    let key = net.open(0, link, 8, Class::Pool);
    net.drain();
    assert_eq!(net.nodes[0].readable, vec![key]);
    assert_eq!(net.write(0, key, &Bytes::from_static(b"x")), 0);
    assert!(matches!(next(&mut net, 0, key), Read::Reset(1)));
    assert!(matches!(next(&mut net, 0, key), Read::Closed));
    // Those that have one are numbered as if it had never been.
    let named = net.open(0, link, 9, Class::Pool);
    net.write(0, named, &Bytes::from_static(b"x"));
    net.run(SECOND);
    assert_eq!(net.nodes[1].opened.len(), 1);
}

#[test]
fn a_reader_that_wants_nothing_is_heard_once_the_protocol_is_agreed_on() {
    let (mut net, link, other) = linked(&[config(), config()]);
    let key = net.open(0, link, 8, Class::Pool);
    net.write(0, key, &Bytes::from_static(b"one"));
    let now = net.now;
    net.nodes[0].links.link(link).unwrap().stop(now, key.stream, 72);
    net.run(SECOND * 11); // past the deadline of negotiations
    let there = StreamKey { link: other, ..key };
    assert_eq!(net.nodes[1].stopped, vec![(there, 72)]);
    assert_eq!(net.write(0, key, &Bytes::from_static(b"two")), 3, "the other direction goes on");
    net.run(SECOND);
    assert_eq!(net.read(1, there), (b"onetwo".to_vec(), false));
}

#[test]
fn a_stream_that_is_finished_and_stopped_at_once_is_delivered_and_forgotten() {
    let (mut net, link, other) = linked(&[config(), config()]);
    let key = net.open(0, link, 8, Class::Pool);
    net.write(0, key, &Bytes::from_static(b"farewell"));
    let now = net.now;
    net.nodes[0].links.link(link).unwrap().stop(now, key.stream, 72);
    net.nodes[0].links.link(link).unwrap().finish(now, key.stream);
    net.run(SECOND);
    let there = StreamKey { link: other, ..key };
    assert_eq!(net.read(1, there), (b"farewell".to_vec(), true));
    assert_eq!(net.nodes[1].stopped, vec![(there, 72)]);
    net.run(SECOND * 11);
    assert!(net.nodes.iter().all(|node| node.down.is_empty() && node.blamed.is_empty()));
}

#[test]
fn opens_beyond_the_peers_limit_wait_and_keep_their_ends() {
    let (mut net, link, other) = linked(&[config(), config()]);
    let keys: Vec<StreamKey> = (0..100).map(|_| net.open(0, link, 8, Class::Pool)).collect();
    let there = |index: usize| StreamKey { link: other, ..keys[index] };
    keys.iter().for_each(|key| net.nodes[0].links.link(link).unwrap().finish(net.now, key.stream));
    net.nodes[0].links.link(link).unwrap().stop(net.now, keys[99].stream, 6);
    for _ in 0..4 {
        net.run(SECOND);
        let opened: Vec<_> = net.nodes[1].opened.iter().map(|(key, _)| *key).collect();
        for key in opened {
            net.read(1, key);
            let now = net.now;
            net.nodes[1].links.link(other).unwrap().finish(now, key.stream);
        }
        keys.iter().for_each(|key| drop(net.read(0, *key)));
    }
    assert_eq!(net.nodes[1].opened.len(), 100);
    assert_eq!(net.nodes[1].stopped, vec![(there(99), 6)]);
    assert!(net.nodes.iter().all(|node| node.down.is_empty() && node.blamed.is_empty()));
}

#[test]
fn a_goodbye_arrives_as_on_weir() {
    let (mut net, link, other) = linked(&[config(), config()]);
    let now = net.now;
    net.nodes[0].links.link(link).unwrap().close(now, Goodbye::Full);
    net.run(SECOND);
    assert_eq!(net.nodes[1].down, vec![(other, DownReason::ByPeer(Goodbye::Full))]);
}

#[test]
fn a_peer_that_speaks_only_libp2p_since_is_not_met_by_early_data_twice() {
    let mut early = speaking(&[Alpn::Weir, Alpn::Libp2p]);
    early.streams.early = vec![ProtocolId(8)];
    let mut net = Net::new(vec![early.clone(), early]);
    let (link, _) = net.join_quic(0, 1);
    let now = net.now;
    net.nodes[0].links.link(link).unwrap().close(now, Goodbye::Shutdown);
    net.run(SECOND);
    net.speak(1, &[Alpn::Libp2p]);
    let first = net.dial_quic(0, 1);
    net.drain();
    assert_eq!(net.nodes[0].early.len(), 1, "its session of `weir/1` is used");
    net.run(SECOND);
    assert_eq!(net.nodes[0].failed, vec![(first, DialFailure::Handshake)]);
    let (link, _) = net.join_quic(0, 1);
    assert!(net.nodes[0].links.is_libp2p(link));
    // Nor does a link by name leave a session behind that data goes along with.
    net.nodes[0].links.link(link).unwrap().close(net.now, Goodbye::Shutdown);
    net.run(SECOND);
    net.join_quic(0, 1);
    assert_eq!(net.nodes[0].early.len(), 1);
    assert!(net.nodes.iter().all(|node| node.blamed.is_empty()));
}
