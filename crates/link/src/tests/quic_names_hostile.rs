//! Peers over QUIC by libp2p's name that break the rules, or do nothing: what they hold is bounded and ends, whoever is to blame is
//! blamed, and nobody else notices.

use std::time::Duration;

use bytes::Bytes;
use quinn_proto::{Dir, StreamId, VarInt};
use weir_base::stream::{Class, Goodbye};
use weir_base::{Blame, LinkId, StreamKey};
use weir_libp2p::multistream;

use super::harness::{Net, Over};
use crate::{DownReason, Read};

const SECOND: Duration = Duration::from_secs(1);
const HEADER: &[u8] = b"\x13/multistream/1.0.0\n";

/// Node 0 is the peer whose streams the tests write byte by byte, node 1 the honest one, node 2 an honest one beside them.
fn nets() -> (Net, LinkId, LinkId) {
    let mut net = Net::pair();
    net.add(super::harness::config());
    let (link, other) = net.join(Over::QuicNamed, 0, 1);
    (net, link, other)
}

/// Node 0 opens a stream that begins with these bytes, and leaves it open.
fn begin(net: &mut Net, link: LinkId, bytes: &[u8]) -> StreamId {
    let conn = &mut net.quic(0, link).conn.quic;
    let stream = conn.streams().open(Dir::Bi).unwrap();
    conn.send_stream(stream).write(bytes).unwrap();
    stream
}

/// The code with which node 1 stopped a stream.
fn stopped(net: &mut Net, link: LinkId, stream: StreamId) -> Option<VarInt> {
    net.quic(0, link).conn.quic.send_stream(stream).stopped().ok().flatten()
}

/// What node 1 wrote on a stream.
fn answer(net: &mut Net, link: LinkId, stream: StreamId) -> Vec<u8> {
    let mut answer = Vec::new();
    let mut quic = net.quic(0, link).conn.quic.recv_stream(stream);
    let mut chunks = quic.read(true).unwrap();
    while let Ok(Some(chunk)) = chunks.next(usize::MAX) {
        answer.extend_from_slice(&chunk.bytes);
    }
    let _ = chunks.finalize();
    answer
}

fn token(text: &str) -> Vec<u8> {
    let mut token = vec![u8::try_from(text.len() + 1).unwrap()];
    token.extend_from_slice(text.as_bytes());
    token.push(b'\n');
    token
}

/// Node 1 has blamed nobody, and talks with node 2 over a link of their own.
fn nobody_else_notices(net: &mut Net) {
    assert!(net.nodes[1].blamed.is_empty() && net.nodes[1].down.is_empty());
    let (link, other) = net.join(Over::QuicNamed, 2, 1);
    let key = net.open(2, link, 8, Class::Pool);
    net.write(2, key, &Bytes::from_static(b"honest"));
    net.run(SECOND);
    assert_eq!(net.read(1, StreamKey { link: other, ..key }).0, b"honest");
}

/// Node 1 blamed node 0 for this, and its link is gone.
fn blamed(net: &Net, fault: weir_base::Fault) {
    assert_eq!(net.nodes[1].blamed.iter().map(|(_, fault)| *fault).collect::<Vec<_>>(), vec![fault]);
    assert_eq!(net.nodes[1].down.last().unwrap().1, DownReason::Fault(fault));
    assert_eq!(net.nodes[0].down[0].1, DownReason::ByPeer(Goodbye::Fault));
}

#[test]
fn streams_that_never_say_what_they_are_are_64_at_most_and_end_after_10_s() {
    let (mut net, link, _) = nets();
    let mut streams = Vec::new();
    for _ in 0..3 {
        streams.extend((0..30).map(|_| begin(&mut net, link, &HEADER[..5])));
        net.run(Duration::from_millis(200)); // the limit doubles once half of it is open
    }
    let count = |net: &mut Net, code: u32| {
        let all = streams.iter().copied().map(|stream| stopped(net, link, stream));
        all.filter(|stopped| *stopped == Some(VarInt::from_u32(code))).count()
    };
    net.run(SECOND * 9);
    assert_eq!((count(&mut net, 4), count(&mut net, 3)), (26, 0), "beyond 64 undecided ones");
    let lent = net.nodes[1].links.stats().receive.lent;
    assert_eq!(lent, 0, "nothing is held for them beyond the window");
    net.run(SECOND * 2);
    assert_eq!((count(&mut net, 4), count(&mut net, 3)), (26, 64));
    assert!(net.nodes[1].opened.is_empty());
    let late = begin(&mut net, link, &[HEADER, &token("/test/8")].concat());
    net.run(SECOND);
    assert_eq!(net.nodes[1].opened.len(), 1, "there is room again");
    assert_eq!(answer(&mut net, link, late), [HEADER, &token("/test/8")].concat());
    nobody_else_notices(&mut net);
}

#[test]
fn a_peer_has_no_more_streams_at_once_than_its_limit() {
    let (mut net, link, _) = nets();
    let mut opened = Vec::new();
    let mut open_all = |net: &mut Net| {
        let conn = &mut net.quic(0, link).conn.quic;
        opened.extend(std::iter::from_fn(|| conn.streams().open(Dir::Bi)));
        opened.clone()
    };
    assert_eq!(open_all(&mut net).len(), 48, "until half of them are used");
    for (used, allowed) in [(23, 48), (24, 96), (96, 96)] {
        for stream in &open_all(&mut net)[..used] {
            let _ = net.quic(0, link).conn.quic.send_stream(*stream).write(&HEADER[..1]);
        }
        net.run(SECOND);
        assert_eq!(open_all(&mut net).len(), allowed, "{used} used");
    }
}

#[test]
fn half_a_token_is_no_fault_and_a_whole_one_may_come_byte_by_byte() {
    let (mut net, link, _) = nets();
    let all = [HEADER, &token("/test/8"), b"data"].concat();
    let stream = begin(&mut net, link, &all[..1]);
    for byte in &all[1..] {
        net.run(Duration::from_millis(50));
        assert!(net.nodes[1].blamed.is_empty());
        net.quic(0, link).conn.quic.send_stream(stream).write(&[*byte]).unwrap();
    }
    net.run(SECOND);
    let (key, _) = net.nodes[1].opened[0];
    assert_eq!(net.read(1, key).0, b"data");
}

#[test]
fn a_flood_of_names_on_one_stream_is_blamed() {
    let (mut net, link, _) = nets();
    let names: Vec<u8> = (0..65).flat_map(|number| token(&format!("/none/{number}"))).collect();
    begin(&mut net, link, &[HEADER, &names].concat());
    net.run(SECOND);
    blamed(&net, multistream::TOO_MANY);
}

#[test]
fn the_most_names_that_may_be_asked_for_are_answered_each() {
    let (mut net, link, _) = nets();
    let names: Vec<u8> = (0..64).flat_map(|number| token(&format!("/none/{number}"))).collect();
    let stream = begin(&mut net, link, &[HEADER, &names].concat());
    net.run(SECOND);
    assert_eq!(answer(&mut net, link, stream), [HEADER, &token("na").repeat(64)].concat());
    nobody_else_notices(&mut net);
}

#[test]
fn a_list_is_asked_for_once_a_stream() {
    let (mut net, link, _) = nets();
    begin(&mut net, link, &[HEADER, &token("ls"), &token("ls")].concat());
    net.run(SECOND);
    blamed(&net, multistream::TOO_MANY);
}

#[test]
fn a_token_without_end_is_blamed() {
    for bad in [&[0x81, 0x08][..], &[0][..], &[0xff; 10]] {
        let (mut net, link, _) = nets();
        begin(&mut net, link, &[HEADER, bad].concat());
        net.run(SECOND);
        blamed(&net, multistream::BAD_TOKEN);
    }
}

#[test]
fn another_header_is_refused_with_code_1_and_nobody_is_blamed() {
    let (mut net, link, _) = nets();
    let stream = begin(&mut net, link, &token("/multistream/2.0.0"));
    net.run(SECOND);
    assert_eq!(stopped(&mut net, link, stream), Some(VarInt::from_u32(1)));
    nobody_else_notices(&mut net);
}

#[test]
fn data_behind_a_name_that_nobody_has_is_dropped_and_the_stream_refused() {
    let (mut net, link, _) = nets();
    let stream = begin(&mut net, link, &[HEADER, &token("/none"), &[0xff; 700]].concat());
    net.run(SECOND);
    assert_eq!(stopped(&mut net, link, stream), Some(VarInt::from_u32(1)));
    assert_eq!(answer(&mut net, link, stream), [HEADER, &token("na")].concat(), "it is told first");
    assert!(net.nodes[1].opened.is_empty());
    nobody_else_notices(&mut net);
}

#[test]
fn data_before_the_answer_waits_for_its_reader_within_the_window() {
    let (mut net, link, other) = nets();
    let stream = begin(&mut net, link, &[HEADER, &token("/test/8")].concat());
    let flood = vec![7; 1 << 20];
    for _ in 0..50 {
        let _ = net.quic(0, link).conn.quic.send_stream(stream).write(&flood);
        net.run(Duration::from_millis(100));
    }
    let bytes_in = net.nodes[1].links.link(other).unwrap().stats().bytes_in;
    assert!(bytes_in < 100_000, "{bytes_in} bytes for a reader that does not read: one window, 64 KiB");
    nobody_else_notices(&mut net);
}

#[test]
fn streams_that_end_before_they_say_anything_are_forgotten() {
    let (mut net, link, _) = nets();
    for bytes in [&b""[..], &HEADER[..4], HEADER] {
        let finished = begin(&mut net, link, bytes);
        net.quic(0, link).conn.quic.send_stream(finished).finish().unwrap();
        let reset = begin(&mut net, link, bytes);
        net.run(Duration::from_millis(100));
        net.quic(0, link).conn.quic.send_stream(reset).reset(VarInt::from_u32(5)).unwrap();
    }
    net.run(SECOND);
    assert!(net.nodes[1].opened.is_empty());
    nobody_else_notices(&mut net);
}

#[test]
fn a_stream_that_its_opener_stopped_is_forgotten_when_nobody_speaks_its_name() {
    let (mut net, link, other) = nets();
    let honest = net.open(0, link, 8, Class::Pool);
    net.run(SECOND);
    let before = net.quic(1, other).count();
    for _ in 0..3 {
        let stream = begin(&mut net, link, HEADER);
        let conn = &mut net.quic(0, link).conn;
        conn.quic.recv_stream(stream).stop(VarInt::from_u32(0)).unwrap();
        net.run(Duration::from_millis(100));
        let mut quic = net.quic(0, link).conn.quic.send_stream(stream);
        quic.write(&token("/none")).unwrap();
        quic.finish().unwrap();
        net.write(0, honest, &Bytes::from_static(b"what is sent takes that along"));
        net.run(SECOND);
    }
    assert_eq!(net.quic(1, other).count(), before);
    nobody_else_notices(&mut net);
}

/// Node 1 is the peer now: it takes streams without a word and answers what it likes. Its stream, and node 0's.
fn unanswered(net: &mut Net, link: LinkId, other: LinkId) -> (StreamKey, StreamKey) {
    net.quic(1, other).naming.hear_numbers();
    let key = net.open(0, link, 8, Class::Pool);
    net.write(0, key, &Bytes::from_static(b"question"));
    net.run(SECOND);
    (StreamKey { link: other, ..key }, key)
}

#[test]
fn a_peer_that_never_answers_loses_the_stream_after_10_s() {
    let (mut net, link, other) = nets();
    let (_, key) = unanswered(&mut net, link, other);
    net.run(SECOND * 8);
    assert!(net.nodes[0].stopped.is_empty());
    net.run(SECOND * 2);
    assert_eq!(net.nodes[0].stopped, vec![(key, 3)]);
    let now = net.now;
    let near = net.nodes[0].links.link(link).unwrap();
    assert!(matches!(near.read(now, key.stream, 9), Read::Reset(3)));
    assert!(net.nodes[0].blamed.is_empty());
}

#[test]
fn a_peer_that_ends_instead_of_an_answer_refuses() {
    let (mut net, link, other) = nets();
    let (there, key) = unanswered(&mut net, link, other);
    let now = net.now;
    net.nodes[1].links.link(other).unwrap().finish(now, there.stream);
    net.run(SECOND);
    assert_eq!(net.nodes[0].stopped, vec![(key, 1)]);
    let near = net.nodes[0].links.link(link).unwrap();
    assert!(matches!(near.read(now, key.stream, 9), Read::Reset(1)));
}

#[test]
fn a_reset_instead_of_an_answer_ends_reading_alone_with_its_code() {
    let (mut net, link, other) = nets();
    let (there, key) = unanswered(&mut net, link, other);
    let now = net.now;
    net.nodes[1].links.link(other).unwrap().reset(now, there.stream, 77);
    net.run(SECOND);
    let near = net.nodes[0].links.link(link).unwrap();
    assert!(matches!(near.read(now, key.stream, 9), Read::Reset(77)));
    assert!(net.nodes[0].stopped.is_empty());
    assert_eq!(net.write(0, key, &Bytes::from_static(b"more")), 4, "its own direction goes on");
}

#[test]
fn an_answer_to_something_else_is_blamed() {
    for bad in [&token("/test/9")[..], &token("ls"), HEADER] {
        let (mut net, link, other) = nets();
        let (there, _) = unanswered(&mut net, link, other);
        net.write(1, there, &Bytes::from([HEADER, bad].concat()));
        net.run(SECOND);
        let [(_, fault)] = net.nodes[0].blamed[..] else { panic!("{:?}", net.nodes[0].blamed) };
        assert_eq!((fault, fault.blame), (multistream::OTHER_ANSWER, Blame::Misbehaved));
    }
}
