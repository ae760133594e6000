//! What libp2p's streams over TCP do in another way than those of frames and QUIC, and what is theirs alone.

use std::time::Duration;

use bytes::Bytes;
use weir_base::multiaddr::Multiaddr;
use weir_base::stream::{Class, Goodbye, OpenError};
use weir_base::{LinkId, ProtocolId, StreamKey};

use super::harness::{Net, Over, config};
use crate::{Dial, DialFailure, DownReason, Read};

const SECOND: Duration = Duration::from_secs(1);

fn linked(config: [crate::Config; 2]) -> (Net, LinkId, LinkId) {
    let mut net = Net::new(config.into());
    let (link, other) = net.join(Over::Tcp, 0, 1);
    (net, link, other)
}

fn there(other: LinkId, key: StreamKey) -> StreamKey {
    StreamKey { link: other, stream: key.stream }
}

#[test]
fn a_reset_ends_both_directions_with_its_code_at_both_ends() {
    let (mut net, link, other) = linked([config(), config()]);
    let key = net.open(0, link, 8, Class::Pool);
    net.write(0, key, &Bytes::from_static(b"lost"));
    net.run(SECOND);
    let now = net.now;
    net.nodes[0].links.link(link).unwrap().reset(now, key.stream, 71);
    net.nodes[0].readable.clear();
    net.run(SECOND);
    let now = net.now;
    assert_eq!(net.nodes[0].readable, vec![key], "its own reader is told");
    let near = net.nodes[0].links.link(link).unwrap();
    assert!(matches!(near.read(now, key.stream, 9), Read::Reset(71)));
    let far = net.nodes[1].links.link(other).unwrap();
    assert!(matches!(far.read(now, key.stream, 9), Read::Reset(71)));
    assert_eq!(far.room(key.stream), 0);
    assert_eq!(net.nodes[1].stopped, vec![(there(other, key), 71)]);
}

#[test]
fn what_came_whole_before_a_reset_can_still_be_read() {
    let (mut net, link, other) = linked([config(), config()]);
    let key = net.open(0, link, 8, Class::Pool);
    net.write(0, key, &Bytes::from_static(b"whole"));
    let now = net.now;
    let near = net.nodes[0].links.link(link).unwrap();
    near.finish(now, key.stream);
    near.stop(now, key.stream, 5); // told by a reset, once its own direction has ended and the peer goes on writing
    net.run(SECOND);
    assert_eq!(net.nodes[1].stopped, vec![], "the answer to the name is nothing that nobody wants");
    net.write(1, there(other, key), &Bytes::from_static(b"more"));
    net.run(SECOND);
    assert_eq!(net.nodes[1].stopped, vec![(there(other, key), 5)]);
    assert_eq!(net.read(1, there(other, key)), (b"whole".to_vec(), true));
}

#[test]
fn a_name_goes_along_with_the_first_bytes() {
    let (mut net, link, other) = linked([config(), config()]);
    let key = net.open(0, link, 8, Class::Pool);
    net.write(0, key, &Bytes::from_static(b"first"));
    net.drain();
    net.run(net.delay); // one way
    assert_eq!(net.nodes[1].opened, vec![(there(other, key), ProtocolId(8))]);
    assert_eq!(net.read(1, there(other, key)), (b"first".to_vec(), false));
}

#[test]
fn of_several_names_the_best_that_both_have_is_spoken_and_bytes_wait_for_it() {
    let names = |list: &[&str]| {
        let mut config = config();
        config.protocols = vec![(ProtocolId(8), list.iter().map(|name| (*name).to_owned()).collect())];
        config
    };
    let (mut net, link, other) = linked([names(&["/a/3", "/a/2", "/a/1"]), names(&["/a/1", "/a/2"])]);
    let key = net.open(0, link, 8, Class::Pool);
    assert_eq!(net.write(0, key, &Bytes::from_static(b"early")), 0, "the name is not known");
    net.run(SECOND);
    assert_eq!(net.nodes[0].writable, vec![key]);
    assert_eq!(net.write(0, key, &Bytes::from_static(b"bytes")), 5);
    net.run(SECOND);
    assert_eq!(net.nodes[1].opened, vec![(there(other, key), ProtocolId(8))]);
    assert_eq!(net.read(1, there(other, key)), (b"bytes".to_vec(), false));
}

#[test]
fn a_name_that_the_peer_lacks_is_refused_and_so_is_a_protocol_without_a_name() {
    let mut fewer = config();
    fewer.protocols.truncate(8);
    let (mut net, link, _) = linked([config(), fewer]);
    let unknown = net.open(0, link, 8, Class::Pool);
    net.write(0, unknown, &Bytes::from_static(b"nobody wants this"));
    let unnamed = net.open(0, link, 4_000, Class::Pool);
    net.run(SECOND);
    assert!(net.nodes[1].opened.is_empty() && net.nodes[1].blamed.is_empty());
    assert!(net.nodes[0].readable.contains(&unknown) && net.nodes[0].readable.contains(&unnamed));
    let now = net.now;
    for key in [unknown, unnamed] {
        let near = net.nodes[0].links.link(link).unwrap();
        assert!(matches!(near.read(now, key.stream, 9), Read::Reset(1)));
        assert_eq!(near.room(key.stream), 0);
    }
    let known = net.open(0, link, 4, Class::Pool);
    net.write(0, known, &Bytes::from_static(b"the link goes on"));
    net.run(SECOND);
    assert_eq!(net.nodes[1].opened.len(), 1);
}

#[test]
fn opens_beyond_this_sides_limit_wait_and_what_was_asked_of_them_is_done() {
    let mut few = config();
    few.tcp.max_outbound = 4;
    few.streams.max_waiting = 3;
    let (mut net, link, other) = linked([few, config()]);
    let keys: Vec<StreamKey> = (0..7).map(|_| net.open(0, link, 8, Class::Pool)).collect();
    let now = net.now;
    let more = net.nodes[0].links.link(link).unwrap().open(now, ProtocolId(8), Class::Pool);
    assert_eq!(more, Err(OpenError::Limit));
    assert_eq!(net.write(0, keys[4], &Bytes::from_static(b"x")), 0, "it waits");
    net.nodes[0].links.link(link).unwrap().finish(now, keys[5].stream);
    net.nodes[0].links.link(link).unwrap().reset(now, keys[6].stream, 5);
    net.run(SECOND);
    assert_eq!(net.nodes[1].opened.len(), 4);
    let now = net.now;
    for key in &keys[..4] {
        net.nodes[0].links.link(link).unwrap().reset(now, key.stream, 0);
    }
    net.run(SECOND);
    assert_eq!(net.nodes[0].writable, vec![keys[4]]);
    assert!(net.nodes[1].opened.iter().any(|(key, _)| *key == there(other, keys[5])));
    assert_eq!(net.read(1, there(other, keys[5])), (Vec::new(), true));
}

#[test]
fn a_connection_that_breaks_is_a_lost_link_and_one_that_cannot_be_made_nobodys() {
    let (mut net, link, _) = linked([config(), config()]);
    net.restart(1); // its system answers nothing of the old connection, so pings find out
    net.run(SECOND * 31);
    assert_eq!(net.nodes[0].down, vec![(link, DownReason::Lost)]);
    let address: Multiaddr = "/ip4/10.99.99.99/tcp/1".parse().unwrap();
    let dial = Dial { peer: None, addresses: vec![address], pinned: false };
    let dial = net.nodes[0].links.dial(net.now, dial).unwrap();
    net.run(SECOND);
    assert_eq!(net.nodes[0].failed, vec![(dial, DialFailure::Unreachable)]);
}

/// Two nodes that have no yamux in common.
fn linked_over_mplex() -> (Net, LinkId, LinkId) {
    linked(["/one/1", "/two/1"].map(|name| {
        let mut config = config();
        config.tcp.mplex = vec![weir_libp2p::mplex::NAME.to_owned()];
        config.tcp.yamux = vec![name.to_owned()];
        config
    }))
}

#[test]
fn a_raw_reader_over_mplex_that_comes_late_loses_nothing() {
    let (mut net, link, other) = linked_over_mplex();
    let key = net.open(0, link, 400, Class::Bulk);
    let mut sent = net.write(0, key, &Bytes::from_static(b"r"));
    net.run(SECOND);
    net.nodes[1].links.link(other).unwrap().mark_raw(there(other, key).stream);
    for _ in 0..300 {
        sent += net.write(0, key, &Bytes::from(vec![7; 64 * 1024]));
        net.run(Duration::from_millis(10));
    }
    assert_eq!(net.nodes[1].links.stats().raw_resets, 0);
    let (mut read, begun) = (0, net.now);
    while read < 16 << 20 && net.now < begun + SECOND * 60 {
        read += net.read(1, there(other, key)).0.len();
        sent += net.write(0, key, &Bytes::from(vec![7; 64 * 1024]));
        net.run(Duration::from_millis(10));
    }
    assert!(read >= 16 << 20 && sent > read - 1, "{read} of {sent}");
    assert_eq!(net.nodes[1].links.stats().raw_resets, 0);
}

/// Echoes what comes on a stream, and acts only where it is told that it can.
fn echo_as_told(net: &mut Net, node: usize, key: StreamKey) -> usize {
    let told = |net: &mut Net| {
        let node = &mut net.nodes[node];
        let told = node.readable.contains(&key) || node.writable.contains(&key);
        node.readable.clear();
        node.writable.clear();
        told
    };
    let mut echoed = 0;
    if !told(net) {
        return 0;
    }
    loop {
        let now = net.now;
        let link = net.nodes[node].links.link(key.link).unwrap();
        let room = link.room(key.stream);
        if room == 0 {
            return echoed; // it is told of room
        }
        match link.read(now, key.stream, room) {
            Read::Data(chunk) => echoed += net.write(node, key, &Bytes::copy_from_slice(&chunk)),
            Read::Blocked => return echoed, // it is told of more
            other => panic!("{other:?}"),
        }
        net.drain();
    }
}

#[test]
fn an_echo_over_mplex_that_acts_on_events_alone_never_stands_still() {
    let (mut net, link, other) = linked_over_mplex();
    let key = net.open(0, link, 400, Class::Bulk);
    let mut sent = net.write(0, key, &Bytes::from_static(b"r"));
    net.run(SECOND);
    net.nodes[1].links.link(other).unwrap().mark_raw(there(other, key).stream);
    net.nodes[0].links.link(link).unwrap().mark_raw(key.stream);
    let (mut came, mut turns, total) = (0, 0, 16 << 20);
    let begun = net.now;
    while came < total && net.now < begun + SECOND * 300 {
        if sent < total {
            sent += net.write(0, key, &Bytes::from(vec![7; (total - sent).min(64 * 1024)]));
        }
        came += net.read(0, key).0.len();
        turns += 1;
        if turns % 50 == 0 {
            echo_as_told(&mut net, 1, there(other, key)); // late, so that more comes than may be unread
        }
        net.run(Duration::from_millis(1));
    }
    assert_eq!((came, sent), (total, total), "after {:?}", net.now - begun);
}

#[test]
fn a_link_over_mplex_stays_while_it_is_idle_and_is_lost_with_a_peer_that_is_silent() {
    let (mut net, link, _) = linked_over_mplex();
    net.run(SECOND * 600);
    assert!(net.nodes.iter().all(|node| node.down.is_empty() && node.opened.is_empty()));
    net.restart(1);
    net.run(SECOND * 31);
    assert_eq!(net.nodes[0].down, vec![(link, DownReason::Lost)]);
}

#[test]
fn a_reader_that_stops_holds_the_link_to_its_window_and_then_goes_on() {
    let (mut net, link, other) = linked([config(), config()]);
    let keys: Vec<StreamKey> = (0..8).map(|_| net.open(0, link, 8, Class::Pool)).collect();
    let mut sent = [0; 8];
    for _ in 0..200 {
        for (key, sent) in keys.iter().zip(&mut sent) {
            *sent += net.write(0, *key, &Bytes::from(vec![7; 64 * 1024]));
        }
        net.run(Duration::from_millis(10));
    }
    let lent = net.nodes[1].links.stats().receive.lent;
    assert_eq!(lent, 256 * 1024, "streams that are not raw are lent one stream's window");
    let (mut read, begun) = (0, net.now);
    while read < sent.iter().sum::<usize>() && net.now < begun + SECOND * 20 {
        for key in &keys {
            read += net.read(1, there(other, *key)).0.len();
        }
        net.run(Duration::from_millis(10));
    }
    assert_eq!(read, sent.iter().sum::<usize>());
    assert_eq!(net.nodes[1].links.stats().receive.lent, 0, "all of it came back");
}

#[test]
fn a_reader_is_told_of_what_comes_after_the_name_at_both_ends() {
    let (mut net, link, other) = linked([config(), config()]);
    let key = net.open(0, link, 8, Class::Pool);
    net.run(SECOND);
    assert!(net.nodes[0].readable.is_empty() && net.nodes[1].readable.is_empty(), "only the name came");
    net.write(0, key, &Bytes::from_static(b"a"));
    net.write(1, there(other, key), &Bytes::from_static(b"b"));
    net.run(SECOND);
    assert_eq!((&net.nodes[0].readable, &net.nodes[1].readable), (&vec![key], &vec![there(other, key)]));
}

#[test]
fn a_stream_whose_protocol_is_agreed_on_has_no_deadline() {
    let (mut net, link, other) = linked([config(), config()]);
    let key = net.open(0, link, 8, Class::Pool);
    net.write(0, key, &Bytes::from_static(b"a"));
    net.run(SECOND * 60);
    net.write(0, key, &Bytes::from_static(b"b"));
    net.run(SECOND);
    assert_eq!(net.read(1, there(other, key)), (b"ab".to_vec(), false));
}

#[test]
fn bytes_that_come_long_after_the_answer_to_a_proposal_are_told() {
    let mut net = Net::pair();
    let (a, b) = net.join(Over::Tcp, 0, 1);
    let key = net.open(0, a, 8, Class::Bulk);
    net.write(0, key, &Bytes::from_static(b"?"));
    net.run(Duration::from_secs(1));
    let theirs = StreamKey { link: b, stream: key.stream };
    assert_eq!(net.read(1, theirs).0, b"?");
    net.run(Duration::from_secs(1));
    net.nodes[0].readable.clear();
    net.write(1, theirs, &Bytes::from_static(b"!"));
    net.run(Duration::from_secs(1));
    assert_eq!(net.nodes[0].readable, [key], "nobody has read here before");
    assert_eq!(net.read(0, key).0, b"!");
}

#[test]
fn raw_streams_may_leave_as_much_unread_as_is_lent_for_them() {
    let (mut net, link, other) = linked([config(), config()]);
    let keys: Vec<StreamKey> = (0..8).map(|_| net.open(0, link, 400, Class::Bulk)).collect();
    keys.iter().for_each(|key| assert_eq!(net.write(0, *key, &Bytes::from_static(b"r")), 1));
    net.run(SECOND);
    for key in &keys {
        net.nodes[1].links.link(other).unwrap().mark_raw(key.stream);
    }
    for _ in 0..200 {
        for key in &keys {
            net.write(0, *key, &Bytes::from(vec![7; 64 * 1024]));
        }
        net.run(Duration::from_millis(20));
    }
    let lent = net.nodes[1].links.stats().receive.lent;
    assert!(lent > 1_990_000, "eight windows of 256 KiB, but for their names: {lent}");
    assert_eq!(net.nodes[1].links.stats().raw_resets, 0);
    let read: usize = keys.iter().map(|key| net.read(1, there(other, *key)).0.len()).sum();
    assert!(read as u64 >= lent, "{read}");
}

/// Node 0 asks on a new stream; node 1 answers at once, with the stream's end.
#[test]
fn what_waits_behind_unread_raw_bytes_goes_on_as_soon_as_credit_is_lent_for_them() {
    let (mut net, link, other) = linked([config(), config()]);
    net.system = 256 * 1024;
    let [raw, behind] = [(); 2].map(|()| net.open(0, link, 400, Class::Bulk));
    for key in [raw, behind] {
        net.write(0, key, &Bytes::from_static(b"r"));
    }
    net.run(SECOND);
    net.nodes[1].links.link(other).unwrap().mark_raw(raw.stream);
    assert_eq!(net.read(1, there(other, behind)).0, b"r");
    // More than the base window and a record, at once.
    let mut sent = 0;
    for _ in 0..4 {
        sent += net.write(0, raw, &Bytes::from(vec![7; 50 * 1024]));
        net.drain();
    }
    assert_eq!(sent, 200 * 1024);
    net.write(0, behind, &Bytes::from_static(b"behind"));
    net.run(SECOND);
    assert_eq!(net.read(1, there(other, behind)).0, b"behind");
    assert_eq!(net.nodes[1].links.stats().raw_resets, 0);
}

fn answered_at_once(net: &mut Net, link: LinkId, other: LinkId) -> StreamKey {
    let key = net.open(0, link, 8, Class::Pool);
    net.write(0, key, &Bytes::from_static(b"?"));
    net.drain();
    net.run(net.delay);
    let (far, now) = (there(other, key), net.now);
    net.write(1, far, &Bytes::from_static(b"answer"));
    net.nodes[1].links.link(other).unwrap().finish(now, far.stream);
    key
}

#[test]
fn once_hello_is_accepted_the_end_of_a_stream_waits_for_nothing() {
    let (mut net, link, other) = linked([config(), config()]);
    net.nodes[1].links.link(other).unwrap().hello_accepted();
    let key = answered_at_once(&mut net, link, other);
    net.run(net.delay);
    assert_eq!(net.read(0, key), (b"answer".to_vec(), true));
}

#[test]
fn after_hello_the_answer_to_a_name_waits_a_little_for_what_its_user_writes() {
    let (mut net, link, other) = linked([config(), config()]);
    net.nodes[1].links.link(other).unwrap().hello_accepted();
    let sent = |net: &mut Net| net.nodes[1].links.link(other).unwrap().stats().bytes_out;
    let mut bytes = Vec::new();
    for answers_at_once in [false, true] {
        let before = sent(&mut net);
        let key = net.open(0, link, 8, Class::Pool);
        net.write(0, key, &Bytes::from_static(b"?"));
        net.drain();
        net.run(net.delay + Duration::from_millis(1));
        assert_eq!(sent(&mut net), before, "the answer to the name waits");
        if !answers_at_once {
            net.run(Duration::from_millis(1));
            assert!(sent(&mut net) > before, "not for long");
        }
        net.write(1, there(other, key), &Bytes::from_static(b"answer"));
        net.run(SECOND);
        assert_eq!(net.read(0, key), (b"answer".to_vec(), false));
        bytes.push(sent(&mut net) - before);
    }
    assert!(bytes[1] < bytes[0], "one record instead of two: {bytes:?}");
}

#[test]
fn an_answer_that_waits_goes_out_before_the_links_end_and_with_a_streams() {
    for closes in [false, true] {
        let (mut net, link, other) = linked([config(), config()]);
        net.nodes[1].links.link(other).unwrap().hello_accepted();
        let key = net.open(0, link, 8, Class::Pool);
        net.write(0, key, &Bytes::from_static(b"?"));
        net.drain();
        net.run(net.delay);
        let now = net.now;
        let far = net.nodes[1].links.link(other).unwrap();
        if closes {
            far.close(now, Goodbye::Shutdown);
        } else {
            far.finish(now, key.stream);
        }
        net.run(net.delay);
        assert_eq!(net.read(0, key), (Vec::new(), true), "{closes}");
    }
}

#[test]
fn without_hello_the_end_of_a_stream_follows_the_answer_to_its_name_later() {
    let (mut net, link, other) = linked([config(), config()]);
    let key = answered_at_once(&mut net, link, other);
    net.run(net.delay + Duration::from_millis(4));
    assert_eq!(net.read(0, key), (b"answer".to_vec(), false));
    net.run(Duration::from_millis(1));
    assert_eq!(net.read(0, key), (Vec::new(), true));
}

#[test]
fn a_link_that_is_closed_waits_for_no_end_and_loses_none() {
    for sent_before in [false, true] {
        let (mut net, link, other) = linked([config(), config()]);
        let key = net.open(0, link, 8, Class::Pool);
        net.write(0, key, &Bytes::from_static(b"?"));
        net.drain();
        net.run(net.delay);
        let (far, now) = (there(other, key), net.now);
        net.write(1, far, &Bytes::from_static(b"answer"));
        net.nodes[1].links.link(other).unwrap().finish(now, far.stream);
        if sent_before {
            net.drain(); // all but the end, which waits
        }
        net.nodes[1].links.link(other).unwrap().close(now, Goodbye::Shutdown);
        net.run(net.delay);
        let now = net.now;
        let reader = net.nodes[0].links.link(link).unwrap();
        let Read::Data(answer) = reader.read(now, key.stream, 99) else { panic!("no answer") };
        assert_eq!(&answer[..], b"answer");
        assert!(matches!(reader.read(now, key.stream, 99), Read::End), "{sent_before}");
        net.run(SECOND);
        assert_eq!(net.nodes[0].down, vec![(link, DownReason::ByPeer(Goodbye::Shutdown))]);
    }
}
