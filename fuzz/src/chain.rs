//! Decoders of `weir-chain`.

use bytes::Bytes;
use weir_chain::{Block, Genesis, Header, Transfer};

/// A transfer keeps the bytes that its id is the hash of.
pub(crate) fn transfer(data: &[u8]) -> bool {
    let Ok(transfer) = Transfer::decode(Bytes::copy_from_slice(data)) else {
        return false;
    };
    assert_eq!(transfer.encoded(), data);
    let _ = transfer.verify(&[0; 32]);
    assert!(Transfer::fee_of(data).is_some());

    true
}

/// A header has one encoding.
pub(crate) fn header(data: &[u8]) -> bool {
    let Ok(header) = Header::decode(&Bytes::copy_from_slice(data)) else {
        return false;
    };
    assert_eq!(header.encode(), data);

    true
}

/// A block has one encoding.
pub(crate) fn block(data: &[u8]) -> bool {
    let Ok(block) = Block::decode(&Bytes::copy_from_slice(data)) else {
        return false;
    };
    assert_eq!(block.encode(), data);

    true
}

/// The file that an operator may have written wrongly.
pub(crate) fn genesis(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else {
        return false;
    };
    let _ = Genesis::parse(text);

    true
}
