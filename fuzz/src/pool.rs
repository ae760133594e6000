//! Decoders of `weir-pull`'s pool channel.

use bytes::BytesMut;
use weir_pull::pool::codec::{
    AnswerHead, FIRST, INDEX_END, ITEM, MAX_INDICES, OFFER, decode_indices, decode_offer, decode_want,
    encode_entry, encode_indices, encode_item_head, encode_offer_head, encode_want, peek_answer,
};

/// A permit has one encoding.
pub(crate) fn want(data: &[u8]) -> bool {
    let Ok(want) = decode_want(data) else {
        return false;
    };
    let mut again = BytesMut::new();
    encode_want(&want, &mut again);
    assert_eq!(data, again);
    true
}

/// The first byte says whether it is a link's first offer. Entries ascend within the offer, and an offer without a
/// defect has one encoding.
pub(crate) fn offer(data: &[u8]) -> bool {
    let [kind, body @ ..] = data else {
        return false;
    };
    let kind = if kind % 2 == 0 { OFFER } else { FIRST };
    let Ok((head, entries)) = decode_offer(kind, body) else {
        return false;
    };
    assert!(head.from <= head.to && head.to <= INDEX_END);
    let mut again = BytesMut::new();
    encode_offer_head(&head, &mut again);
    let mut next = head.from;
    for entry in entries {
        let Ok(entry) = entry else {
            return false;
        };
        assert!((next..head.to).contains(&entry.index) && entry.size > 0);
        encode_entry(&entry, next, &mut again);
        next = entry.index + 1;
    }
    assert_eq!(body, again);
    true
}

/// Indices of a get or a cancel ascend, are bounded in number and size, and have one encoding.
pub(crate) fn indices(data: &[u8]) -> bool {
    let read: Result<Vec<u64>, _> = decode_indices(data).take(MAX_INDICES + 1).collect();
    let Ok(indices) = read else {
        return false;
    };
    assert!((1..=MAX_INDICES).contains(&indices.len()));
    assert!(indices.is_sorted_by(|a, b| a < b) && indices.iter().all(|index| *index < INDEX_END));
    let mut again = BytesMut::new();
    encode_indices(indices.into_iter(), &mut again);
    assert_eq!(data, again);
    true
}

/// The head of an item is found the same however much of the item has come, and has one encoding. The first two
/// bytes are the limit.
pub(crate) fn answer(data: &[u8]) -> bool {
    let [low, high, stream @ ..] = data else {
        return false;
    };
    let max = usize::from(u16::from_le_bytes([*low, *high]));
    let whole = peek_answer(stream, max);
    for cut in 0..stream.len().min(40) {
        match peek_answer(&stream[..cut], max) {
            Ok(None) => {}
            known => assert_eq!(known, whole, "cut at {cut}"),
        }
    }
    let Ok(Some((head, length))) = whole else {
        return false;
    };
    assert!(length <= stream.len());
    match head {
        AnswerHead::Item { index, size } => {
            let mut again = BytesMut::new();
            encode_item_head(index, size, &mut again);
            assert_eq!(stream.get(..length), Some(&again[..]));
            assert!(size <= max);
        }
        AnswerHead::Other { kind, rest } => assert!(kind != ITEM && rest <= max),
    }
    true
}
