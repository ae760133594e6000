use proptest::prelude::*;

use super::*;

#[test]
fn varints_that_are_not_minimal_or_too_long_are_refused() {
    assert_eq!(peek_varint(&[0x80, 0x00], u64::MAX), Err(Malformed::Varint));
    assert_eq!(peek_varint(&[0xff; 9], u64::MAX), Ok(None));
    assert_eq!(peek_varint(&[0xff; 10], u64::MAX), Err(Malformed::Varint));
    assert_eq!(peek_varint(&[0x81, 0x01], 128), Err(Malformed::TooLarge));
    assert_eq!(peek_varint(&[0xff, 0x80], 126), Err(Malformed::TooLarge));
    assert_eq!(peek_varint(&[], 0), Ok(None));
    // a length that goes on for ever: known to be wrong at its first byte, so that a reader never waits for its end
    assert_eq!(peek_varint(&[0x80], 127), Err(Malformed::TooLarge));
    assert_eq!(peek_varint(&[0x80], 128), Ok(None));
    assert_eq!(Reader::new(&[5, 1, 2]).prefixed(4), Err(Malformed::TooLarge));
    assert_eq!(Reader::new(&[5, 1, 2]).prefixed(5), Err(Malformed::Truncated));
}

#[test]
fn a_frame_over_the_limit_is_refused_before_its_bytes_arrive() {
    let mut framer = Framer::new(10);
    assert_eq!(framer.next(&mut Bytes::from_static(&[11])), Err(Malformed::TooLarge));
}

proptest! {
    #[test]
    fn varints_round_trip(value: u64) {
        let mut out = Vec::new();
        put_varint(&mut out, value);
        prop_assert_eq!(out.len(), varint_len(value));
        prop_assert_eq!(peek_varint(&out, u64::MAX), Ok(Some((value, out.len()))));
    }

    #[test]
    fn frames_come_out_whole_however_the_stream_is_cut(
        frames in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..6),
        cuts in proptest::collection::vec(1_usize..200, 1..40),
    ) {
        let mut wire = Vec::new();
        frames.iter().for_each(|frame| put_prefixed(&mut wire, frame));
        let (mut framer, mut out, mut wire) = (Framer::new(300), Vec::new(), Bytes::from(wire));
        for cut in cuts.iter().cycle() {
            if wire.is_empty() {
                break;
            }
            let mut part = wire.split_to((*cut).min(wire.len()));
            while let Some(frame) = framer.next(&mut part).unwrap() {
                out.push(frame.to_vec());
            }
            prop_assert!(part.is_empty());
        }
        prop_assert_eq!(out, frames);
        prop_assert_eq!(framer.held(), 0);
    }
}
