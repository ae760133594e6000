//! Decoders of `weir-link`.

use bytes::{Bytes, BytesMut};
use weir_base::codec::{Framer, Reader};
use weir_link::{DATA_MAX, FRAME_MAX, Frame};

/// Read as the body of a frame, and as a stream of frames.
pub(crate) fn frame(data: &[u8]) -> bool {
    let alone = body(&Bytes::copy_from_slice(data));
    let (mut framer, mut rest, mut any) = (Framer::new(FRAME_MAX), Bytes::copy_from_slice(data), false);
    while let Ok(Some(next)) = framer.next(&mut rest) {
        any |= body(&next);
    }
    alone || any
}

/// A frame that is taken has one encoding.
fn body(data: &Bytes) -> bool {
    let Ok(Some(frame)) = Frame::decode(data) else {
        return false;
    };
    if let Frame::Data { bytes, .. } = &frame {
        assert!(bytes.len() <= DATA_MAX);
    }
    let mut out = BytesMut::new();
    frame.encode(&mut out);
    assert_eq!(out.len(), frame.wire_len());
    let mut reader = Reader::new(&out);
    assert_eq!(reader.prefixed(FRAME_MAX), Ok(&data[..]));
    assert_eq!(reader.finish(), Ok(()));
    true
}
