//! The encodings: golden vectors, round trips, limits.

use crate::ShortId;
use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use weir_base::codec::{Malformed, Reader, put_varint};

use super::super::Summary;
use super::super::codec::*;

fn framed(kind: u64, fields: impl FnOnce(&mut BytesMut)) -> Bytes {
    let (mut body, mut out) = (BytesMut::new(), BytesMut::new());
    put_varint(&mut body, kind);
    fields(&mut body);
    put_varint(&mut out, body.len() as u64);
    out.extend_from_slice(&body);
    out.freeze()
}

fn entries() -> [Entry; 2] {
    let summary = Summary::new(&[9, 8]).unwrap();
    [
        Entry { index: 300, short: ShortId(0x0807_0605_0403_0201), size: 250, summary },
        Entry { index: 303, short: ShortId(1), size: 1, summary: Summary::EMPTY },
    ]
}

fn offer(kind: u64) -> Bytes {
    let first = (kind == FIRST).then_some((1, Epoch([0xee; 8])));
    framed(kind, |out| {
        encode_offer_head(&OfferHead { first, key: 7, from: 299, to: 310 }, out);
        let mut next = 299;
        for entry in entries() {
            encode_entry(&entry, next, out);
            next = entry.index + 1;
        }
    })
}

fn want(from: Option<Move>) -> Bytes {
    framed(WANT, |out| encode_want(&Want { entries: 256, bytes: 8_192, through: 300, floor: 5, from }, out))
}

fn item() -> Bytes {
    let mut out = BytesMut::new();
    encode_item_head(300, 4, &mut out);
    out.extend_from_slice(b"body");
    out.freeze()
}

#[test]
fn the_golden_vectors_are_what_is_written() {
    let from = Move { number: 1, epoch: Epoch([0xee; 8]), index: 300 };
    let list = |kind| framed(kind, |out| encode_indices([300, 301, 310].into_iter(), out));
    let written = [
        ("want", want(None)),
        ("want-move", want(Some(from))),
        ("offer", offer(OFFER)),
        ("first", offer(FIRST)),
        ("get", list(GET)),
        ("cancel", list(CANCEL)),
        ("item", item()),
        ("gone", list(GONE)),
    ];
    let hex = |bytes: &[u8]| bytes.iter().fold(String::new(), |all, byte| all + &format!("{byte:02x}"));
    let lines: Vec<String> = written.iter().map(|(name, bytes)| format!("{name} {}", hex(bytes))).collect();
    let file = include_str!("../../../../../vectors/pool.txt");
    let expected: Vec<&str> = file.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(lines, expected);
}

#[test]
fn what_is_written_is_read() {
    let wanted = decode_want(&want(None)[2..]).unwrap();
    assert_eq!((wanted.entries, wanted.floor, wanted.from), (256, 5, None));
    let bytes = offer(FIRST);
    let (head, read) = decode_offer(FIRST, &bytes[2..]).unwrap();
    assert_eq!((head.first, head.key, head.from, head.to), (Some((1, Epoch([0xee; 8]))), 7, 299, 310));
    assert_eq!(read.collect::<Result<Vec<_>, _>>().unwrap(), entries());
    let bytes = item();
    assert_eq!(peek_answer(&bytes, 100), Ok(Some((AnswerHead::Item { index: 300, size: 4 }, 4))));
    for len in 0..4 {
        assert_eq!(peek_answer(&bytes[..len], 100), Ok(None));
    }
    assert_eq!(peek_answer(&bytes, 6), Err(Malformed::TooLarge));
    assert_eq!(peek_answer(&[1, 0x80], 100), Err(Malformed::Truncated), "no more of this message will come");
}

#[test]
fn an_entry_of_a_transaction_takes_eleven_bytes() {
    let mut out = BytesMut::new();
    let entry = Entry { index: 5_000, short: ShortId(u64::MAX), size: 300, summary: Summary::EMPTY };
    encode_entry(&entry, 4_998, &mut out);
    assert_eq!(out.len(), 11);
}

#[test]
fn what_breaks_the_layout_is_an_error() {
    let cut = |bytes: &[u8]| {
        decode_offer(OFFER, bytes).and_then(|(_, entries)| entries.collect::<Result<Vec<_>, _>>())
    };
    let whole = &offer(OFFER)[2..];
    assert_eq!(cut(whole).unwrap().len(), 2);
    assert_eq!(cut(&whole[..whole.len() - 1]), Err(Malformed::Truncated));
    assert_eq!(
        cut(&[7, 0, 1, 16, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
        Err(Malformed::Value),
        "an entry beyond the span"
    );
    assert_eq!(cut(&[7, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), Err(Malformed::Value), "an empty item");
    let many: Vec<u8> = vec![0; MAX_INDICES + 1];
    assert!(decode_indices(&many).any(|index| index == Err(Malformed::TooLarge)));
    assert_eq!(decode_indices(&many[1..]).flatten().count(), MAX_INDICES);
    assert_eq!(decode_indices(&[]).next(), Some(Err(Malformed::Truncated)));
    assert_eq!(Summary::new(&[0; 16]), Err(Malformed::TooLarge));
}

#[test]
fn the_widest_offer_is_read_whole() {
    let head = OfferHead { first: None, key: 0, from: 5, to: 5 + MAX_SPAN };
    let summary = Summary::new(&[1; 15]).unwrap();
    let last = Entry { index: 4 + MAX_SPAN, short: ShortId(7), size: u32::MAX, summary };
    let mut out = BytesMut::new();
    encode_offer_head(&head, &mut out);
    encode_entry(&last, 5, &mut out);
    let (read, entries) = decode_offer(OFFER, &out).unwrap();
    assert_eq!((read, entries.collect::<Vec<_>>()), (head, vec![Ok(last)]));
    let end = [varint(0), varint(INDEX_END - 1)].concat();
    assert!(decode_offer(OFFER, &[&end[..], &varint(1)].concat()).is_ok());
    assert_eq!(
        decode_offer(OFFER, &[&end[..], &varint(2)].concat()).map(|(head, _)| head),
        Err(Malformed::TooLarge)
    );
}

#[test]
fn a_gap_wider_than_any_offer_is_too_large() {
    let gap = |head: u64| {
        let body = [varint(0), varint(0), varint(MAX_SPAN), varint(head), vec![0; 8], vec![1]].concat();
        decode_offer(OFFER, &body).unwrap().1.next().unwrap()
    };
    assert_eq!(gap(MAX_SPAN * 16 + 15), Err(Malformed::Value), "beyond the offer");
    assert_eq!(gap(MAX_SPAN * 16 + 16), Err(Malformed::TooLarge));
    assert!(gap(MAX_SPAN * 16 - 16).is_ok());
}

fn varint(value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(&mut out, value);
    out
}

#[test]
fn indices_end_below_the_end_of_all_logs() {
    let read = |gaps: &[u64]| -> Vec<_> {
        let body: Vec<u8> = gaps.iter().flat_map(|gap| varint(*gap)).collect();
        decode_indices(&body).collect()
    };
    assert_eq!(read(&[INDEX_END - 1]), [Ok(INDEX_END - 1)]);
    assert_eq!(read(&[INDEX_END]), [Err(Malformed::TooLarge)]);
    assert_eq!(read(&[INDEX_END - 1, 0, 0]), [Ok(INDEX_END - 1), Err(Malformed::TooLarge)]);
}

proptest! {
    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), kind in 0..3_u64) {
        let _ = decode_want(&bytes);
        if let Ok((head, entries)) = decode_offer(kind, &bytes) {
            for entry in entries.flatten() {
                prop_assert!(entry.index >= head.from && entry.index < head.to && entry.size > 0);
            }
        }
        let indices: Vec<u64> = decode_indices(&bytes).flatten().collect();
        prop_assert!(indices.is_sorted());
        if let Ok(Some((head, used))) = peek_answer(&bytes, 1_000) {
            let mut reader = Reader::new(&bytes);
            let len = reader.count(1_000).unwrap();
            let rest = match head { AnswerHead::Item { size, .. } => size, AnswerHead::Other { rest, .. } => rest };
            prop_assert_eq!(used + rest, bytes.len() - reader.rest().len() + len);
        }
    }

    #[test]
    fn indices_survive(indices in proptest::collection::btree_set(0..INDEX_END, 1..50)) {
        let mut out = BytesMut::new();
        encode_indices(indices.iter().copied(), &mut out);
        let read: Vec<u64> = decode_indices(&out).collect::<Result<_, _>>().unwrap();
        prop_assert!(read.into_iter().eq(indices));
    }

    #[test]
    fn wants_survive(totals in (0..INDEX_END, 0..INDEX_END, 0..INDEX_END, any::<u64>()), moves_back in any::<bool>()) {
        let from = moves_back.then_some(Move { number: 1 + totals.0 / 2, epoch: Epoch([3; 8]), index: totals.1 });
        let want = Want { entries: totals.0, bytes: totals.1, through: totals.2, floor: totals.3, from };
        let mut out = BytesMut::new();
        encode_want(&want, &mut out);
        prop_assert!(out.len() < MAX_WANT);
        prop_assert_eq!(decode_want(&out), Ok(want));
    }
}
