//! Streams over every transport: bytes, ends and credit are the same over frames, QUIC and plain pipes.

use std::time::Duration;

use bytes::Bytes;
use weir_base::stream::{Class, Goodbye, OpenError};
use weir_base::{KIB, LinkId, MIB, ProtocolId, StreamKey};

use super::harness::{Net, Over, config};
use crate::{Config, DownReason, Read};

const SECOND: Duration = Duration::from_secs(1);

/// Two nodes, linked: the net, the link at node 0, the link at node 1.
type Linked = (Net, LinkId, LinkId);

/// Runs a scenario over each transport.
fn over_each(scenario: fn(Linked)) {
    over_some(&Over::ALL, &config(), scenario);
}

fn over_some(some: &[Over], config: &Config, scenario: fn(Linked)) {
    for over in some.iter().copied() {
        println!("{over:?}"); // of the one that fails
        let mut net = Net::new(vec![config.clone(), config.clone()]);
        let (link, other) = net.join(over, 0, 1);
        scenario((net, link, other));
    }
}

/// Bytes that show where they belong.
pub(super) fn pattern(len: usize) -> Bytes {
    (0..len).map(|index| u8::try_from(index % 251).unwrap()).collect::<Vec<_>>().into()
}

/// Writes all of `bytes` from node 0 while node 1 reads, with `expect` told; returns what arrived and how long it took.
pub(super) fn transfer(
    net: &mut Net,
    key: StreamKey,
    other: LinkId,
    bytes: &Bytes,
    expect: bool,
) -> (Vec<u8>, Duration) {
    let (begun, mut sent, mut read) = (net.now, 0, Vec::new());
    let there = StreamKey { link: other, stream: key.stream };
    for _ in 0..5_000 {
        while sent < bytes.len() {
            let wrote = net.write(0, key, &bytes.slice(sent..));
            sent += wrote;
            if sent == bytes.len() {
                let now = net.now;
                net.nodes[0].links.link(key.link).unwrap().finish(now, key.stream);
            }
            if wrote == 0 {
                break;
            }
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

#[test]
fn all_lent_credit_comes_back() {
    over_each(|(mut net, link, other)| {
        let key = net.open(0, link, 8, Class::Pool);
        transfer(&mut net, key, other, &pattern(MIB), true);
        net.run(SECOND);
        assert_eq!(net.nodes[1].links.stats().receive.lent, 0);
    });
}

#[test]
fn a_stream_ends_each_way_by_itself() {
    over_each(|(mut net, link, other)| {
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
    });
}

#[test]
fn reset_and_stop_carry_their_codes() {
    // Over TCP there is one reset for both directions: `tcp_flow.rs`.
    over_some(
        &[Over::Frames, Over::Pipes, Over::Quic, Over::QuicNamed],
        &config(),
        |(mut net, link, other)| {
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
        },
    );
}

/// The stop is there, and not looked at when the other side ends its direction.
#[test]
fn a_stop_and_an_end_that_cross_leave_nothing_of_the_stream() {
    over_each(|(mut net, link, other)| {
        let key = net.open(0, link, 8, Class::Pool);
        let there = StreamKey { link: other, stream: key.stream };
        net.write(0, key, &Bytes::from_static(b"question"));
        let now = net.now;
        net.nodes[0].links.link(link).unwrap().finish(now, key.stream);
        net.run(SECOND);
        assert_eq!(net.read(1, there), (b"question".to_vec(), true));
        net.write(1, there, &Bytes::from_static(b"answer"));
        net.run(SECOND);
        let now = net.now;
        net.nodes[0].links.link(link).unwrap().stop(now, key.stream, 72);
        net.drain();
        net.arrive();
        let now = net.now;
        net.nodes[1].links.link(other).unwrap().finish(now, there.stream);
        net.run(SECOND);
        let now = net.now;
        net.nodes[1].links.link(other).unwrap().close(now, Goodbye::Shutdown);
        net.run(SECOND);
        assert_eq!(net.nodes[1].down, vec![(other, DownReason::Closed(Goodbye::Shutdown))]);
        assert_eq!(net.nodes[0].down, vec![(link, DownReason::ByPeer(Goodbye::Shutdown))]);
    });
}

#[test]
fn a_stream_that_nobody_reads_can_be_written_for_long() {
    over_each(|(mut net, link, other)| {
        let key = net.open(0, link, 8, Class::Pool);
        let there = StreamKey { link: other, stream: key.stream };
        net.write(0, key, &Bytes::from_static(b"one"));
        let now = net.now;
        net.nodes[0].links.link(link).unwrap().stop(now, key.stream, 72);
        net.run(SECOND * 11); // past the deadline of a protocol that is agreed on by name
        assert_eq!(net.write(0, key, &Bytes::from_static(b"two")), 3);
        net.run(SECOND);
        assert_eq!(net.read(1, there).0, b"onetwo");
        assert!(net.nodes[0].stopped.is_empty());
    });
}

#[test]
fn a_goodbye_delivers_what_was_written_and_tells_why() {
    over_each(|(mut net, link, other)| {
        let key = net.open(0, link, 8, Class::Pool);
        assert_eq!(net.write(0, key, &pattern(40 * KIB)), 40 * KIB);
        let now = net.now;
        net.nodes[0].links.link(link).unwrap().close(now, Goodbye::Shutdown);
        let refused = net.nodes[0].links.link(link).unwrap().open(now, ProtocolId(8), Class::Pool);
        assert_eq!(refused, Err(OpenError::Closed));
        net.run(SECOND);
        assert_eq!(net.nodes[0].down, vec![(link, DownReason::Closed(Goodbye::Shutdown))]);
        assert!(net.nodes[1].down.is_empty(), "bytes wait to be read");
        let (read, _) = net.read(1, StreamKey { link: other, stream: key.stream });
        assert_eq!(read.len(), 40 * KIB);
        net.run(SECOND);
        assert_eq!(net.nodes[1].down, vec![(other, DownReason::ByPeer(Goodbye::Shutdown))]);
    });
}

#[test]
fn two_nodes_know_each_other_and_who_dialled() {
    over_each(|(net, _, _)| {
        let (here, there) = (net.nodes[0].up[0].1, net.nodes[1].up[0].1);
        assert_eq!((here.peer, there.peer), (net.peer(1), net.peer(0)));
        assert!(here.dialler && !there.dialler);
        assert_eq!(net.nodes[1].links.stats().half_open, 0);
    });
}

#[test]
fn bytes_arrive_in_order_and_what_is_expected_arrives_in_fewer_round_trips() {
    let times = |expect: bool| {
        Over::ALL.map(|over| {
            let (mut net, body) = (Net::pair(), pattern(4 * MIB));
            let (link, other) = net.join(over, 0, 1);
            let key = net.open(0, link, 8, Class::Pool);
            let (read, time) = transfer(&mut net, key, other, &body, expect);
            assert!(read == body, "every byte in order over {over:?}");
            time
        })
    };
    // Over TCP the windows of streams grow by themselves, whatever is expected.
    for (slow, fast) in times(false).into_iter().zip(times(true)).take(4) {
        assert!(slow > Duration::from_millis(64 * 30), "64 KiB per round trip: {slow:?}");
        assert!(fast < slow * 7 / 10, "lent what was reserved: {fast:?} instead of {slow:?}");
    }
}

#[test]
fn a_stalled_raw_stream_leaves_the_base_window_to_the_others() {
    over_each(|(mut net, link, other)| {
        let raw = net.open(0, link, 400, Class::Bulk);
        let pool = net.open(0, link, 8, Class::Pool);
        net.write(0, raw, &Bytes::from_static(b"r"));
        net.run(SECOND);
        net.nodes[1].links.link(other).unwrap().mark_raw(raw.stream);
        for _ in 0..20 {
            net.write(0, raw, &pattern(64 * KIB));
            net.run(Duration::from_millis(100));
        }
        let lent = net.nodes[1].links.stats().receive.lent;
        assert!(lent >= 64 * 1024, "what is unread: {lent}");
        let (read, _) = transfer(&mut net, pool, other, &pattern(MIB), false);
        assert_eq!(read.len(), MIB);
    });
}

#[test]
fn raw_streams_past_the_cap_lose_the_latest() {
    let mut small = config();
    small.streams.window = 64 * 1024;
    small.budget.max_raw = 130 * 1024;
    over_some(&[Over::Frames, Over::Pipes, Over::Quic, Over::QuicNamed], &small, latest_is_lost);
    small.streams.window = 256 * 1024; // the least over TCP
    small.budget.max_raw = 520 * 1024;
    over_some(&[Over::Tcp], &small, latest_is_lost);
}

fn latest_is_lost((mut net, link, other): Linked) {
    let keys: Vec<StreamKey> = (0..3).map(|_| net.open(0, link, 400, Class::Bulk)).collect();
    keys.iter().for_each(|key| assert_eq!(net.write(0, *key, &Bytes::from_static(b"r")), 1));
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

#[test]
fn what_is_asked_of_a_stream_that_waits_is_done_when_it_opens() {
    // Over TCP no peer tells its limit: `tcp_flow.rs`. Over QUIC by name it is the larger one from the start: `quic_names.rs`.
    over_some(&[Over::Frames, Over::Pipes, Over::Quic], &config(), |(mut net, link, other)| {
        let keys: Vec<StreamKey> = (0..40).map(|_| net.open(0, link, 8, Class::Pool)).collect();
        let now = net.now;
        let near = net.nodes[0].links.link(link).unwrap();
        near.finish(now, keys[35].stream);
        near.finish(now, keys[36].stream);
        near.reset(now, keys[36].stream, 5); // a reset goes before an end
        near.finish(now, keys[36].stream);
        near.stop(now, keys[37].stream, 6);
        net.run(SECOND);
        assert_eq!(net.nodes[1].opened.len(), 32, "as many as the peer allows");
        net.nodes[1].links.link(other).unwrap().hello_accepted();
        net.run(SECOND);
        let there = |index: usize| StreamKey { link: other, ..keys[index] };
        assert!(net.nodes[1].opened.iter().any(|(key, _)| *key == there(39)));
        assert_eq!(net.read(1, there(35)), (Vec::new(), true));
        assert_eq!(net.nodes[1].stopped, vec![(there(37), 6)]);
        let now = net.now;
        let far = net.nodes[1].links.link(other).unwrap();
        // Over QUIC nobody hears of a stream that was reset before its first byte.
        assert!(matches!(far.read(now, keys[36].stream, 9), Read::Reset(5) | Read::Closed));
        assert!(net.nodes[1].blamed.is_empty() && net.nodes[1].down.is_empty());
    });
}
