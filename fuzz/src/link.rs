//! Decoders of `weir-link`.

use bytes::{Bytes, BytesMut};
use weir_base::codec::Reader;
use weir_link::{DATA_MAX, FRAME_MAX, Frame};

/// A frame that is taken has one encoding.
pub(crate) fn frame(data: &[u8]) -> bool {
    let Ok(Some(frame)) = Frame::decode(&Bytes::copy_from_slice(data)) else {
        return false;
    };
    if let Frame::Data { bytes, .. } = &frame {
        assert!(bytes.len() <= DATA_MAX);
    }
    let mut out = BytesMut::new();
    frame.encode(&mut out);
    assert_eq!(out.len(), frame.wire_len());
    let mut reader = Reader::new(&out);
    assert_eq!(reader.prefixed(FRAME_MAX), Ok(data));
    assert_eq!(reader.finish(), Ok(()));
    true
}
