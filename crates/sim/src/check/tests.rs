//! The checker is exact to the byte: what was granted is green, one byte more is red.

use bytes::{BufMut, Bytes, BytesMut};
use weir_base::codec::put_varint;
use weir_base::{Instant, ProtocolId};
use weir_pull::ChannelId;
use weir_stack::Frame;

use super::{Checker, Found, Passing};
use crate::host::NodeId;

const POOL: ChannelId = ChannelId(3);
const CLIENT: Passing = Passing { wire: 1, way: 0, from: NodeId(0), to: NodeId(1) };
const SERVER: Passing = Passing { wire: 1, way: 1, from: NodeId(1), to: NodeId(0) };

fn message(fields: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    put_varint(&mut out, fields.len() as u64);
    out.put_slice(fields);
    out.freeze()
}

/// A client that opened both lanes: 0 for offers, 4 for items.
fn opened() -> Checker {
    let mut checker = Checker::new([POOL]);
    for (stream, lane) in [(0, 0), (4, 1)] {
        let open = Frame::Open { stream, protocol: POOL.protocol(lane) };
        checker.sent(Instant::ZERO, CLIENT, &open);
        checker.delivered(Instant::ZERO, CLIENT, &open);
    }
    checker
}

fn client(checker: &mut Checker, stream: u64, bytes: Bytes) {
    let frame = Frame::Data { stream, bytes };
    checker.sent(Instant::ZERO, CLIENT, &frame);
    checker.delivered(Instant::ZERO, CLIENT, &frame);
}

/// The server's bytes come in pieces of `piece`.
fn server(checker: &mut Checker, stream: u64, bytes: &[u8], piece: usize) {
    for part in bytes.chunks(piece) {
        let frame = Frame::Data { stream, bytes: Bytes::copy_from_slice(part) };
        checker.sent(Instant::ZERO, SERVER, &frame);
        checker.delivered(Instant::ZERO, SERVER, &frame);
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

fn found(act: impl FnOnce(&mut Checker)) -> Found {
    let mut checker = opened();
    act(&mut checker);
    assert_eq!(checker.found().unread, 0);
    checker.found()
}

#[test]
fn an_offer_of_one_byte_over_its_permit_is_red() {
    let offer = offer(&[50, 60]); // 25 bytes
    assert_eq!(offer.len(), 25);
    for piece in [1, 7, 25] {
        let granted = found(|checker| {
            client(checker, 0, want(2, 25));
            server(checker, 0, &offer, piece);
        });
        assert_eq!(granted.peak_over, 0, "pieces of {piece}");
        assert!(granted.checks > 0 && granted.peak_held >= 25 && granted.peak_granted > 65_536);
        let over = found(|checker| {
            client(checker, 0, want(2, 24));
            server(checker, 0, &offer, piece);
        });
        assert_eq!(over.peak_over, 1, "pieces of {piece}");
    }
}

#[test]
fn an_entry_over_its_permit_is_red() {
    let over = found(|checker| {
        client(checker, 0, want(1, 100));
        server(checker, 0, &offer(&[50, 60]), 100);
    });
    assert_eq!(over.peak_over, 10);
}

#[test]
fn an_item_one_byte_longer_than_offered_is_red() {
    for (size, over) in [(60, 0), (61, 1)] {
        for piece in [1, 5, 100] {
            let found = found(|checker| {
                client(checker, 0, want(9, 100));
                server(checker, 0, &offer(&[50, 60]), 100);
                client(checker, 4, message(&[0, 1]));
                let mut item = vec![0, 1];
                item.resize(2 + size, 9);
                server(checker, 4, &message(&item), piece);
            });
            assert_eq!(found.peak_over, over, "size {size} in pieces of {piece}");
        }
    }
}

#[test]
fn an_item_nobody_asked_for_is_red_and_one_asked_for_twice_is_not() {
    let unasked = found(|checker| server(checker, 4, &message(&[0, 1, 9, 9]), 100));
    assert_eq!(unasked.peak_over, 2);
    let twice = found(|checker| {
        client(checker, 0, want(9, 100));
        server(checker, 0, &offer(&[2, 2]), 100);
        for _ in 0..2 {
            client(checker, 4, message(&[0, 1]));
            server(checker, 4, &message(&[0, 1, 9, 9]), 3);
        }
    });
    assert_eq!(twice.peak_over, 0);
}

#[test]
fn data_of_one_byte_over_the_credit_of_link_or_stream_is_red() {
    let full = vec![1; 65_536];
    let raw = |checker: &mut Checker, stream| {
        checker.sent(Instant::ZERO, CLIENT, &Frame::Open { stream, protocol: ProtocolId(40) });
    };
    let exact = found(|checker| {
        raw(checker, 8);
        server(checker, 8, &full, 10_000);
    });
    assert_eq!(exact.peak_over, 0);
    let over = found(|checker| {
        raw(checker, 8);
        server(checker, 8, &full, 10_000);
        client_credit(checker, &Frame::LinkCredit { total: 200_000 });
        server(checker, 8, &[1], 1);
    });
    assert_eq!(over.peak_over, 1, "the stream's own credit was used up");
    let granted = found(|checker| {
        raw(checker, 8);
        server(checker, 8, &full, 10_000);
        client_credit(checker, &Frame::LinkCredit { total: 65_537 });
        client_credit(checker, &Frame::StreamCredit { stream: 8, total: 65_537 });
        server(checker, 8, &[1], 1);
    });
    assert_eq!(granted.peak_over, 0);
}

fn client_credit(checker: &mut Checker, frame: &Frame) {
    checker.sent(Instant::ZERO, CLIENT, frame);
    checker.delivered(Instant::ZERO, CLIENT, frame);
}

#[test]
fn what_a_wire_held_and_was_granted_goes_with_it() {
    let mut checker = opened();
    client(&mut checker, 0, want(1, 10));
    server(&mut checker, 0, &offer(&[50, 60]), 100);
    assert!(checker.nodes[0].permits.over > 0);
    checker.closed(1);
    let node = &checker.nodes[0];
    assert_eq!((node.permits.held, node.permits.granted, node.permits.over), (0, 0, 0));
    assert_eq!((node.windows.held, node.windows.granted, node.windows.over), (0, 0, 0));
}
