//! Other people's protocols go by name on every link, and are the same over each.

use std::time::Duration;

use bytes::Bytes;
use weir_base::stream::Class;
use weir_base::{KIB, LinkId, ProtocolId, StreamKey};

use super::flow::pattern;
use super::harness::{Net, Over, config};
use crate::{Config, NAMED, Read};

const SECOND: Duration = Duration::from_secs(1);

/// The number of the name at `index` of those that a node has.
fn named(index: u32) -> ProtocolId {
    ProtocolId(NAMED.0 + index)
}

/// A node with protocols by name: `names` of one, then of the next.
pub(super) fn speaking(protocols: &[&[&str]]) -> Config {
    let mut config = config();
    let mut number = NAMED.0;
    for names in protocols {
        let owned = names.iter().map(|name| (*name).to_owned()).collect();
        config.protocols.push((ProtocolId(number), owned));
        number += u32::try_from(names.len()).unwrap();
    }
    config
}

/// Two nodes over each transport, node 0 with the first protocols; nothing of a negotiation may be left in the end.
fn over_each(protocols: [&[&[&str]]; 2], scenario: fn(&mut Net, LinkId, LinkId)) {
    for over in Over::ALL {
        println!("{over:?}"); // of the one that fails
        let mut net = Net::new(protocols.map(speaking).into());
        let (link, other) = net.join(over, 0, 1);
        scenario(&mut net, link, other);
        for (node, link) in [(0, link), (1, other)] {
            let left = net.nodes[node].links.link(link).map(|link| format!("{:?}", link.named));
            assert!(left.is_none_or(|left| left.contains("streams: {}")), "nothing of it is left");
        }
    }
}

fn open(net: &mut Net, link: LinkId, protocol: ProtocolId) -> StreamKey {
    net.open(0, link, protocol.0, Class::Bulk)
}

fn finish(net: &mut Net, node: usize, key: StreamKey) {
    let now = net.now;
    net.nodes[node].links.link(key.link).unwrap().finish(now, key.stream);
}

#[test]
fn a_single_name_costs_no_round_trip() {
    over_each([&[&["/a/1"]]; 2], |net, link, _| {
        let key = open(net, link, named(0));
        assert_eq!(net.write(0, key, &Bytes::from_static(b"at once")), 7);
        finish(net, 0, key);
        net.run(net.delay + Duration::from_millis(10));
        let [(there, protocol)] = net.nodes[1].opened[..] else { panic!("{:?}", net.nodes[1].opened) };
        assert_eq!(protocol, named(0));
        assert_eq!(net.read(1, there), (b"at once".to_vec(), true));
        assert_eq!(net.nodes[0].agreed, []);
        net.run(net.delay + Duration::from_millis(10));
        assert_eq!(net.nodes[0].agreed, [(key, named(0))]);
        // The other direction is open still.
        net.write(1, there, &Bytes::from_static(b"answer"));
        finish(net, 1, there);
        net.run(SECOND);
        assert_eq!(net.read(0, key), (b"answer".to_vec(), true));
    });
}

/// Over libp2p's connections, where a peer may drop what it has not read of a stream on which it cannot answer.
#[test]
fn a_stop_waits_for_the_answer_to_the_name_of_a_stream_that_was_ended() {
    for over in [Over::Tcp, Over::QuicNamed] {
        let mut net = Net::pair();
        let (link, _) = net.join(over, 0, 1);
        let key = net.open(0, link, 8, Class::Pool);
        assert_eq!(net.write(0, key, &Bytes::from_static(b"at once")), 7);
        finish(&mut net, 0, key);
        let now = net.now;
        net.nodes[0].links.link(link).unwrap().stop(now, key.stream, 3);
        net.run(net.delay + Duration::from_millis(10));
        let (there, _) = net.nodes[1].opened[0];
        assert_eq!(net.nodes[1].stopped, [], "{over:?}: the answer is on its way");
        net.run(SECOND); // it has come, and nothing was read
        assert_eq!(net.read(1, there), (b"at once".to_vec(), true), "{over:?}");
        net.write(1, there, &Bytes::from_static(b"more"));
        net.run(SECOND);
        assert_eq!(net.nodes[1].stopped, [(there, 3)], "{over:?}");
    }
}

/// A link at rest hears the time from nobody: what is due counts from when the stream is opened.
#[test]
fn a_stream_that_is_opened_after_a_rest_has_all_its_time_for_an_answer() {
    over_each([&[&["/a/1"]]; 2], |net, link, _| {
        for rest in 1..30 {
            net.run(SECOND * rest);
            let key = open(net, link, named(0));
            net.run(SECOND);
            assert_eq!(net.nodes[0].agreed, [(key, named(0))], "after {rest} s");
            net.nodes[0].agreed.clear();
            finish(net, 0, key);
            let (there, _) = net.nodes[1].opened.pop().unwrap();
            finish(net, 1, there);
        }
        net.run(SECOND);
    });
}

#[test]
fn the_best_name_that_both_have_is_agreed_on_and_both_are_told_which() {
    let theirs: &[&[&str]] = &[&["/b/1"], &["/a/2", "/a/1"]];
    over_each([&[&["/a/3", "/a/2", "/a/1"]], theirs], |net, link, _| {
        let key = open(net, link, named(0));
        assert_eq!(net.write(0, key, &Bytes::from_static(b"too early")), 0, "it could mean two things");
        net.run(SECOND);
        assert_eq!(net.nodes[0].agreed, [(key, named(1))]);
        let [(there, protocol)] = net.nodes[1].opened[..] else { panic!("{:?}", net.nodes[1].opened) };
        assert_eq!(protocol, named(1), "`/a/2` is this side's second name, too");
        assert!(net.nodes[0].writable.contains(&key), "the writer that waited is told");
        let sent = pattern(300 * KIB);
        let mut at = 0;
        let mut got = Vec::new();
        for _ in 0..1000 {
            at += net.write(0, key, &sent.slice(at..));
            net.run(Duration::from_millis(50));
            got.extend(net.read(1, there).0);
            if got.len() == sent.len() {
                break;
            }
        }
        assert!(got == sent);
        finish(net, 0, key);
        finish(net, 1, there);
        net.run(SECOND);
        assert!(net.read(1, there).1 && net.read(0, key).1);
    });
}

#[test]
fn an_end_that_was_asked_for_before_the_answer_comes_after_it() {
    over_each([&[&["/a/3", "/a/1"]], &[&["/a/1"]]], |net, link, _| {
        let key = open(net, link, named(0));
        finish(net, 0, key);
        net.run(SECOND);
        let [(there, _)] = net.nodes[1].opened[..] else { panic!("{:?}", net.nodes[1].opened) };
        assert_eq!(net.read(1, there), (Vec::new(), true));
        finish(net, 1, there);
        net.run(SECOND);
        assert_eq!(net.read(0, key), (Vec::new(), true));
    });
}

#[test]
fn an_unknown_name_is_refused_with_code_1_and_the_peer_hears_of_no_stream() {
    over_each([&[&["/x/1"], &["/y/2", "/y/1"]], &[&["/a/1"]]], |net, link, _| {
        for (index, lazy) in [(0, true), (1, false)] {
            let key = open(net, link, named(index));
            net.write(0, key, &Bytes::from_static(b"not for you"));
            net.run(SECOND);
            assert!(net.nodes[0].stopped.contains(&(key, 1)), "lazy: {lazy}, {:?}", net.nodes[0].stopped);
            let now = net.now;
            let read = net.nodes[0].links.link(link).unwrap().read(now, key.stream, 100);
            assert!(matches!(read, Read::Reset(1)), "{read:?}");
        }
        assert_eq!(net.nodes[1].opened, []);
        assert_eq!((net.nodes[0].agreed.len(), net.nodes[1].blamed.len()), (0, 0));
    });
}

#[test]
fn a_name_that_a_node_only_asks_for_is_not_answered() {
    for over in Over::ALL {
        let mut asks = speaking(&[&["/a/1"]]);
        asks.unserved = vec![named(0)];
        let mut net = Net::new(vec![speaking(&[&["/a/1"]]), asks]);
        let (link, other) = net.join(over, 0, 1);
        let refused = open(&mut net, link, named(0));
        net.run(SECOND);
        assert!(net.nodes[0].stopped.contains(&(refused, 1)), "{over:?}");
        // It asks for it all the same.
        let asked = net.open(1, other, NAMED.0, Class::Bulk);
        net.run(SECOND);
        assert_eq!(net.nodes[1].agreed, [(asked, named(0))]);
    }
}

#[test]
fn codes_of_reset_and_stop_arrive_as_they_are_where_the_carrier_has_them() {
    over_each([&[&["/a/1"]]; 2], |net, link, other| {
        let key = open(net, link, named(0));
        net.run(SECOND);
        let there = net.nodes[1].opened[0].0;
        let now = net.now;
        net.nodes[1].links.link(other).unwrap().reset(now, there.stream, 77);
        net.run(SECOND);
        let read = net.nodes[0].links.link(link).unwrap().read(net.now, key.stream, 100);
        assert!(matches!(read, Read::Reset(77)), "{read:?}");
        let now = net.now;
        net.nodes[0].links.link(link).unwrap().reset(now, key.stream, 78);
        net.nodes[1].links.link(other).unwrap().stop(now, there.stream, 79);
        net.run(SECOND);
    });
}

#[test]
fn a_stream_that_is_given_up_before_the_answer_leaves_nothing() {
    over_each([&[&["/a/1"], &["/b/2", "/b/1"]], &[&["/a/1"], &["/b/1"]]], |net, link, _| {
        for index in [0, 1] {
            let key = open(net, link, named(index));
            let now = net.now;
            let ours = net.nodes[0].links.link(link).unwrap();
            ours.reset(now, key.stream, 9);
            ours.stop(now, key.stream, 9);
            net.run(SECOND);
            for (there, _) in std::mem::take(&mut net.nodes[1].opened) {
                assert!(net.read(1, there).1, "it ended");
                let now = net.now;
                net.nodes[1].links.link(there.link).unwrap().reset(now, there.stream, 0);
            }
        }
    });
}

#[test]
fn a_proposal_waits_for_room_and_for_the_peers_limit_of_streams() {
    over_each([&[&["/a/2", "/a/1"]], &[&["/a/1"]]], |net, link, other| {
        // Bulk is full: 1 MiB more than what was taken waits for a reader.
        let full = net.open(0, link, 8, Class::Bulk);
        let mut keys = Vec::new();
        let much = pattern(64 * KIB);
        for _ in 0..1000 {
            if net.write(0, full, &much) == 0 {
                break;
            }
            net.run(Duration::from_millis(30));
        }
        for _ in 0..40 {
            let now = net.now;
            let opened = net.nodes[0].links.link(link).unwrap().open(now, named(0), Class::Bulk);
            keys.push(StreamKey { link, stream: opened.unwrap() });
        }
        net.run(SECOND);
        let there = net.nodes[1].opened[0].0;
        for _ in 0..200 {
            net.read(1, there);
            net.nodes[1].links.link(other).unwrap().hello_accepted();
            net.run(Duration::from_millis(50));
        }
        let agreed: Vec<_> = net.nodes[0].agreed.iter().map(|(key, _)| *key).collect();
        assert_eq!(agreed, keys);
    });
}
