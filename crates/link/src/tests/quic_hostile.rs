//! What breaks the rules of streams over QUIC is a typed fault with blame, and ends the link.

use std::time::Duration;

use quinn_proto::{Dir, StreamId, VarInt};
use weir_base::stream::Goodbye;
use weir_base::{Blame, LinkId};

use super::harness::Net;
use crate::DownReason;

/// Node 0 opens a stream that begins with these bytes instead of a head, and leaves it open.
fn begin(net: &mut Net, link: LinkId, bytes: &[u8]) -> StreamId {
    let conn = &mut net.quic(0, link).conn.quic;
    let stream = conn.streams().open(Dir::Bi).unwrap();
    conn.send_stream(stream).write(bytes).unwrap();
    stream
}

/// Node 0 opens a stream that begins with these bytes.
fn after(head: &[u8]) -> Net {
    let mut net = Net::pair();
    let (link, _) = net.join_quic(0, 1);
    let stream = begin(&mut net, link, head);
    let _ = net.quic(0, link).conn.quic.send_stream(stream).finish();
    net.run(Duration::from_millis(300));
    net
}

#[test]
fn a_stream_that_names_no_protocol_is_blamed_and_ends_the_link() {
    for head in [&[0xff; 5][..], &[0x80, 0][..], &[0xff, 0xff, 0xff, 0xff, 0x7f][..]] {
        let net = after(head);
        let [(link, fault)] = net.nodes[1].blamed[..] else { panic!("{:?}", net.nodes[1].blamed) };
        assert_eq!((fault.blame, fault.what), (Blame::Misbehaved, "stream begins with no protocol number"));
        assert_eq!(net.nodes[1].down, vec![(link, DownReason::Fault(fault))]);
        assert_eq!(net.nodes[0].down[0].1, DownReason::ByPeer(Goodbye::Fault));
        assert_eq!(net.nodes[1].links.stats().faults, 1);
    }
}

#[test]
fn a_stream_that_ends_before_its_head_is_forgotten_without_fault() {
    for head in [&[][..], &[0x80][..]] {
        let net = after(head);
        assert!(net.nodes[1].blamed.is_empty() && net.nodes[1].down.is_empty());
        assert!(net.nodes[1].opened.is_empty());
    }
}

#[test]
fn a_head_that_does_not_come_whole_in_5_s_ends_its_stream() {
    let mut net = Net::pair();
    let (link, there) = net.join_quic(0, 1);
    let begun: Vec<_> = (0..8).map(|_| begin(&mut net, link, &[0x80])).collect();
    let stopped = |net: &mut Net| {
        let carrier = net.quic(0, link);
        let code = |stream| carrier.conn.quic.send_stream(stream).stopped().ok().flatten();
        begun.iter().copied().map(code).filter(|code| *code == Some(VarInt::from_u32(3))).count()
    };
    net.run(Duration::from_millis(4_900));
    assert_eq!(stopped(&mut net), 0);
    net.run(Duration::from_millis(500));
    assert_eq!(stopped(&mut net), 8);
    assert!(net.nodes[1].blamed.is_empty() && net.nodes[1].links.link(there).is_some());
}

#[test]
fn bytes_that_are_no_packets_change_nothing() {
    let mut net = Net::pair();
    let (link, _) = net.join_quic(0, 1);
    let peer = net.nodes[0].address;
    for len in [1, 20, 21, 50, 1200, 1500] {
        for first in [0x00, 0x40, 0x80, 0xc0, 0xff] {
            let mut bytes = vec![0x5a; len];
            bytes[0] = first;
            net.spoof(1, peer, &bytes);
        }
    }
    net.run(Duration::from_secs(1));
    assert!(net.nodes[1].blamed.is_empty() && net.nodes[1].down.is_empty());
    assert!(net.nodes[0].links.link(link).is_some());
}
