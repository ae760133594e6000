//! Decoders of `weir-chain`.

use bytes::Bytes;
use weir::Message;
use weir_chain::channels::{BlockId, Blocks, RANGE_BYTES, RANGE_MAX, Range, Start};
use weir_chain::store::Store;
use weir_chain::{AccountId, Block, Genesis, Header, Transfer};

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

/// A request has one encoding, and a store answers it, whatever height it names.
pub(crate) fn request(data: &[u8]) -> bool {
    thread_local! {
        static STORE: Option<(tempfile::TempDir, Store)> = store();
    }
    let bytes = Bytes::copy_from_slice(data);
    if let Ok(id) = BlockId::decode(bytes.clone()) {
        assert_eq!(Message::encode(&id), data);
        return true;
    }
    let Ok(range) = Range::decode(bytes) else {
        return false;
    };
    assert_eq!(Message::encode(&range), data);
    assert!((1..=RANGE_MAX).contains(&range.count));
    STORE.with(|store| {
        let Some((_, store)) = store else { return };
        match range.start {
            Start::Height(height) => {
                let blocks = store.blocks_from(height, usize::from(range.count), RANGE_BYTES);
                assert!(blocks.is_ok_and(|blocks| blocks.is_empty()));
            }
            Start::Hash(hash) => assert!(store.header(&hash).is_ok_and(|header| header.is_none())),
        }
    });

    true
}

/// An answer has one encoding.
pub(crate) fn answer(data: &[u8]) -> bool {
    let Ok(blocks) = Blocks::decode(Bytes::copy_from_slice(data)) else {
        return false;
    };
    assert_eq!(Message::encode(&blocks), data);

    true
}

/// A store with nothing but a genesis in it.
fn store() -> Option<(tempfile::TempDir, Store)> {
    let folder = tempfile::tempdir().ok()?;
    let genesis = Genesis::new("fuzz", AccountId([1; 32]), 1000, &std::collections::BTreeMap::new()).ok()?;
    let store = Store::open(&folder.path().join("store"), &genesis).ok()?;
    Some((folder, store))
}
