//! The checker is exact to the byte: what was granted is green, one byte more is red.

use bytes::{BufMut, Bytes, BytesMut};
use weir_base::codec::put_varint;
use weir_base::{Instant, ProtocolId};
use weir_pull::ChannelId;
use weir_stack::Frame;

use super::{Change, Checker, Found, Watch};
use crate::id::NodeId;

mod ledgers;
mod reading;
mod rules;

const POOL: ChannelId = ChannelId(3);
const CLIENT: NodeId = NodeId(0);
const SERVER: NodeId = NodeId(1);
const WIRE: u64 = 1;

/// Two nodes on one wire, and what is counted of them.
struct Pair {
    now: Instant,
    checker: Checker,
    client: Watch,
    server: Watch,
}

impl Pair {
    fn note(&mut self, to: NodeId, change: &Change) {
        self.checker.apply(to, change);
    }

    /// A frame of the client leaves and arrives.
    fn client(&mut self, frame: &Frame) {
        let (sent, received) = (self.client.sent(self.now, WIRE, frame), self.server.received(WIRE, frame));
        self.note(SERVER, &sent);
        self.note(CLIENT, &received);
    }

    /// A frame of the server leaves and arrives.
    fn server(&mut self, frame: &Frame) {
        let (sent, received) = (self.server.sent(self.now, WIRE, frame), self.client.received(WIRE, frame));
        self.note(CLIENT, &sent);
        self.note(SERVER, &received);
    }
}

fn message(fields: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    put_varint(&mut out, fields.len() as u64);
    out.put_slice(fields);
    out.freeze()
}

/// A client that opened both lanes: 0 for offers, 4 for items.
fn opened() -> Pair {
    opened_with(Checker::new([POOL]))
}

fn opened_with(checker: Checker) -> Pair {
    let declared = &checker.declared;
    let (client, server) = (Watch::new(CLIENT, declared.clone()), Watch::new(SERVER, declared.clone()));
    let mut pair = Pair { now: Instant::ZERO, checker, client, server };
    let (there, back) = (pair.client.opened(WIRE, SERVER), pair.server.opened(WIRE, CLIENT));
    pair.note(SERVER, &there);
    pair.note(CLIENT, &back);
    for (stream, lane) in [(0, 0), (4, 1)] {
        pair.client(&Frame::Open { stream, protocol: POOL.protocol(lane) });
    }
    pair
}

fn client(pair: &mut Pair, stream: u64, bytes: Bytes) {
    pair.client(&Frame::Data { stream, bytes });
}

/// The server's bytes come in pieces of `piece`.
fn server(pair: &mut Pair, stream: u64, bytes: &[u8], piece: usize) {
    for part in bytes.chunks(piece) {
        pair.server(&Frame::Data { stream, bytes: Bytes::copy_from_slice(part) });
    }
}

/// `Want{entries, bytes, through 0, floor 0}`, all below 128.
fn want(entries: u8, bytes: u8) -> Bytes {
    message(&[0, entries, bytes, 0, 0])
}

/// An offer from index 0 with these sizes, without summaries.
fn offer(sizes: &[u8]) -> Bytes {
    let mut fields = vec![0, 1, 0, u8::try_from(sizes.len()).unwrap()];
    for size in sizes {
        fields.push(0);
        fields.extend([7; 8]);
        fields.push(*size);
    }
    message(&fields)
}

fn found(act: impl FnOnce(&mut Pair)) -> Found {
    let mut pair = opened();
    act(&mut pair);
    assert_eq!(pair.checker.found().unread, 0);
    pair.checker.found()
}

#[test]
fn an_offer_of_one_byte_over_its_permit_is_red() {
    let offer = offer(&[50, 60]); // 25 bytes
    assert_eq!(offer.len(), 25);
    for piece in [1, 7, 25] {
        let granted = found(|pair| {
            client(pair, 0, want(2, 25));
            server(pair, 0, &offer, piece);
        });
        assert_eq!(granted.peak_over, 0, "pieces of {piece}");
        assert!(granted.checks > 0 && granted.peak_held >= 25 && granted.peak_granted > 65_536);
        let over = found(|pair| {
            client(pair, 0, want(2, 24));
            server(pair, 0, &offer, piece);
        });
        assert_eq!(over.peak_over, 1, "pieces of {piece}");
    }
}

#[test]
fn an_entry_over_its_permit_is_red() {
    let over = found(|pair| {
        client(pair, 0, want(1, 100));
        server(pair, 0, &offer(&[50, 60]), 100);
    });
    assert_eq!(over.peak_over, 10);
}

#[test]
fn an_item_one_byte_longer_than_offered_is_red() {
    for (size, over) in [(60, 0), (61, 1)] {
        for piece in [1, 5, 100] {
            let found = found(|pair| {
                client(pair, 0, want(9, 100));
                server(pair, 0, &offer(&[50, 60]), 100);
                client(pair, 4, message(&[0, 1]));
                let mut item = vec![0, 1];
                item.resize(2 + size, 9);
                server(pair, 4, &message(&item), piece);
            });
            assert_eq!(found.peak_over, over, "size {size} in pieces of {piece}");
        }
    }
}

#[test]
fn an_item_nobody_asked_for_is_red_and_one_asked_for_twice_is_not() {
    let unasked = found(|pair| server(pair, 4, &message(&[0, 1, 9, 9]), 100));
    assert_eq!(unasked.peak_over, 2);
    let twice = found(|pair| {
        client(pair, 0, want(9, 100));
        server(pair, 0, &offer(&[2, 2]), 100);
        for _ in 0..2 {
            client(pair, 4, message(&[0, 1]));
            server(pair, 4, &message(&[0, 1, 9, 9]), 3);
        }
    });
    assert_eq!(twice.peak_over, 0);
}

/// A stream of either lane may be followed by another, with totals of its own, before its last bytes have left the server.
#[test]
fn a_stream_that_follows_another_of_its_lane_begins_anew() {
    let again = |pair: &mut Pair, (stream, lane): (u64, u8)| {
        pair.client(&Frame::Open { stream, protocol: POOL.protocol(lane) });
    };
    let items = |asked: &[u8]| {
        found(|pair| {
            client(pair, 0, want(9, 100));
            server(pair, 0, &offer(&[4, 6]), 100);
            client(pair, 4, message(&[0, 0]));
            let slow = message(&[0, 0, 9, 9, 9, 9]);
            server(pair, 4, &slow[..4], 100);
            again(pair, (8, 1));
            client(pair, 8, message(asked));
            server(pair, 8, &message(&[0, 1, 9, 9, 9, 9, 9, 9]), 5);
            server(pair, 4, &slow[4..], 1);
            pair.server(&Frame::Reset { stream: 4, code: 1 });
            server(pair, 8, &message(&[2, 0]), 9);
            let (_, change) = pair.server.closed(WIRE).unwrap();
            pair.note(CLIENT, &change);
            let permits = pair.checker.nodes[0].permits;
            assert_eq!((permits.held, permits.granted, permits.asked), (0, 0, 0));
        })
    };
    assert_eq!(items(&[0, 1]).peak_over, 0);
    assert_eq!(items(&[0, 0]).peak_over, 6, "what was asked for on one stream does not count on another");

    let offers = |granted| {
        found(|pair| {
            client(pair, 0, want(9, 100));
            server(pair, 0, &offer(&[4, 6]), 100);
            pair.server(&Frame::Reset { stream: 0, code: 1 });
            again(pair, (8, 0));
            client(pair, 8, want(2, granted));
            server(pair, 8, &offer(&[4, 6]), 100);
        })
    };
    assert_eq!((offers(25).peak_over, offers(20).peak_over), (0, 5));
}

#[test]
fn data_of_one_byte_over_the_credit_of_link_or_stream_is_red() {
    let full = vec![1; 65_536];
    let raw = |pair: &mut Pair, stream| pair.client(&Frame::Open { stream, protocol: ProtocolId(40) });
    let exact = found(|pair| {
        raw(pair, 8);
        server(pair, 8, &full, 10_000);
    });
    assert_eq!(exact.peak_over, 0);
    let over = found(|pair| {
        raw(pair, 8);
        server(pair, 8, &full, 10_000);
        pair.client(&Frame::LinkCredit { total: 200_000 });
        server(pair, 8, &[1], 1);
    });
    assert_eq!(over.peak_over, 1, "the stream's own credit was used up");
    let granted = found(|pair| {
        raw(pair, 8);
        server(pair, 8, &full, 10_000);
        pair.client(&Frame::LinkCredit { total: 65_537 });
        pair.client(&Frame::StreamCredit { stream: 8, total: 65_537 });
        server(pair, 8, &[1], 1);
    });
    assert_eq!(granted.peak_over, 0);
}

#[test]
fn what_a_wire_held_and_was_granted_goes_with_it() {
    let mut pair = opened();
    client(&mut pair, 0, want(1, 10));
    server(&mut pair, 0, &offer(&[50, 60]), 100);
    assert!(pair.checker.nodes[0].permits.over > 0);
    let (to, change) = pair.server.closed(WIRE).unwrap();
    assert_eq!(to, CLIENT);
    pair.note(CLIENT, &change);
    let node = &pair.checker.nodes[0];
    assert_eq!((node.permits.held, node.permits.granted, node.permits.over), (0, 0, 0));
    assert_eq!((node.windows.held, node.windows.granted, node.windows.over), (0, 0, 0));
}
