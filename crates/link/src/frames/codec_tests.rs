//! Every frame survives encoding, whatever its fragmentation; nothing else decodes.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use weir_base::ProtocolId;
use weir_base::codec::{Framer, Malformed};
use weir_base::stream::Goodbye;

use super::codec::{FRAME_MAX, FrameError};
use super::{DATA_MAX, Frame, NUMBER_MAX};

fn frame() -> impl Strategy<Value = Frame> {
    let number = 0..=NUMBER_MAX;
    prop_oneof![
        (number.clone(), any::<u32>())
            .prop_map(|(stream, id)| Frame::Open { stream, protocol: ProtocolId(id) }),
        (number.clone(), proptest::collection::vec(any::<u8>(), 0..600))
            .prop_map(|(stream, bytes)| Frame::Data { stream, bytes: bytes.into() }),
        number.clone().prop_map(|stream| Frame::End { stream }),
        (number.clone(), any::<u32>()).prop_map(|(stream, code)| Frame::Reset { stream, code }),
        (number.clone(), any::<u32>()).prop_map(|(stream, code)| Frame::Stop { stream, code }),
        (number.clone(), number.clone()).prop_map(|(stream, total)| Frame::StreamCredit { stream, total }),
        number.clone().prop_map(|total| Frame::LinkCredit { total }),
        number.clone().prop_map(|total| Frame::StreamsCredit { total }),
        number.clone().prop_map(|nonce| Frame::Ping { nonce }),
        number.prop_map(|nonce| Frame::Pong { nonce }),
        any::<u16>().prop_map(|code| Frame::Close { goodbye: Goodbye::from_code(code) }),
    ]
}

proptest! {
    #[test]
    fn frames_survive_every_fragmentation(
        frames in proptest::collection::vec(frame(), 1..8),
        cuts in proptest::collection::vec(1_usize..40, 1..20),
    ) {
        let mut wire = BytesMut::new();
        for frame in &frames {
            let before = wire.len();
            frame.encode(&mut wire);
            prop_assert_eq!(wire.len() - before, frame.wire_len());
        }
        let mut wire = wire.freeze();
        let (mut framer, mut read, mut cuts) = (Framer::new(FRAME_MAX), Vec::new(), cuts.into_iter().cycle());
        while !wire.is_empty() {
            let mut piece = wire.split_to(cuts.next().unwrap().min(wire.len()));
            while let Some(body) = framer.next(&mut piece).unwrap() {
                read.push(Frame::decode(&body).unwrap().unwrap());
            }
        }
        prop_assert_eq!(read, frames);
    }

    #[test]
    fn any_bytes_are_a_frame_a_skip_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(Some(frame)) = Frame::decode(&Bytes::from(bytes.clone())) {
            let mut again = Vec::new();
            frame.encode(&mut again);
            prop_assert_eq!(&again[1..], &bytes[..], "one frame, one form");
        }
    }
}

#[test]
fn unknown_odd_types_are_skipped_and_even_ones_are_not() {
    assert_eq!(Frame::decode(&Bytes::from_static(&[1, 2, 3])), Ok(None));
    assert_eq!(Frame::decode(&Bytes::from_static(&[22, 2])), Err(FrameError::Unknown(22)));
}

#[test]
fn numbers_and_data_over_their_limits_are_refused() {
    let too_large = Err(FrameError::Malformed(Malformed::TooLarge));
    assert_eq!(
        Frame::decode(&Bytes::from_static(&[4, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1])),
        too_large
    );
    let mut long = vec![2, 0];
    long.resize(DATA_MAX + 3, 7);
    assert_eq!(Frame::decode(&long.into()), too_large);
    assert_eq!(Frame::decode(&Bytes::from_static(&[4, 1, 1])), Err(Malformed::Trailing.into()));
}

/// Every frame that `vectors/frames.txt` has, by name, in its order.
fn of_the_vectors() -> Vec<(&'static str, Frame)> {
    let (stream, total, nonce) = (NUMBER_MAX, NUMBER_MAX, NUMBER_MAX);
    let close = |goodbye| Frame::Close { goodbye };
    vec![
        ("open", Frame::Open { stream: 4, protocol: ProtocolId(9) }),
        ("open-largest", Frame::Open { stream, protocol: ProtocolId(u32::MAX) }),
        ("data", Frame::Data { stream: 300, bytes: Bytes::from_static(b"hi") }),
        ("end", Frame::End { stream: 0 }),
        ("end-largest", Frame::End { stream }),
        ("reset", Frame::Reset { stream: 1, code: 128 }),
        ("reset-largest-code", Frame::Reset { stream: 1, code: u32::MAX }),
        ("stop", Frame::Stop { stream: 5, code: 0 }),
        ("stream-credit", Frame::StreamCredit { stream: 4, total: 131_072 }),
        ("stream-credit-largest", Frame::StreamCredit { stream, total }),
        ("link-credit", Frame::LinkCredit { total: 65_536 }),
        ("streams-credit", Frame::StreamsCredit { total: 96 }),
        ("ping", Frame::Ping { nonce: 7 }),
        ("ping-largest", Frame::Ping { nonce }),
        ("pong", Frame::Pong { nonce: 7 }),
        ("close-shutdown", close(Goodbye::Shutdown)),
        ("close-broke-protocol", close(Goodbye::Fault)),
        ("close-unknown-reason", close(Goodbye::Other(1000))),
    ]
}

#[test]
fn the_vectors_are_what_frames_are_as_bytes() {
    let text = include_str!("../../../../vectors/frames.txt");
    let mut left = of_the_vectors().into_iter();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, hex) = line.split_once(' ').unwrap();
        let digits: Vec<u8> = hex.chars().map(|c| u8::try_from(c.to_digit(16).unwrap()).unwrap()).collect();
        let bytes: Vec<u8> = digits.chunks(2).map(|pair| pair[0] * 16 + pair[1]).collect();
        let mut rest = Bytes::from(bytes.clone());
        let body = Framer::new(FRAME_MAX).next(&mut rest).unwrap().unwrap();
        assert!(rest.is_empty(), "{name}: one frame a line");
        let read = Frame::decode(&body);
        match name.split('-').next().unwrap() {
            "skipped" => assert_eq!(read, Ok(None), "{name}"),
            "refused" => assert!(matches!(read, Err(FrameError::Malformed(_))), "{name}: {read:?}"),
            "incompatible" => assert!(matches!(read, Err(FrameError::Unknown(_))), "{name}: {read:?}"),
            _ => {
                let (expected, frame) = left.next().unwrap();
                let mut out = Vec::new();
                frame.encode(&mut out);
                assert_eq!((name, out), (expected, bytes), "{expected}");
                assert_eq!(read, Ok(Some(frame)), "{name}");
            }
        }
    }
    assert_eq!(left.next(), None, "not in the file");
}
