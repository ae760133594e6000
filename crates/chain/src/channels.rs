//! What nodes of this chain say to each other: the channels and how their messages are encoded (`docs/spec/chain.md`, "Channels").

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use weir::{Malformed, Message, Method, Pool, PoolItem, SlotKey, Summary, Tip, TipValue};

use crate::block::BLOCK_MAX;
use crate::transfer::TRANSFER_MAX;
use crate::{Hash, Header, Transfer, codec};

/// Blocks in one answer, at most.
pub const RANGE_MAX: u8 = 64;
/// Bytes of blocks in one answer, at most.
pub const RANGE_BYTES: usize = BLOCK_MAX + 60 * 1024;

/// The newest header.
pub const HEAD: Tip<Header> = Tip::new(1, "chain/head");
/// Transfers that wait for a block.
#[allow(clippy::cast_possible_truncation)] // constants far below 2^32
pub const TRANSFERS: Pool<Transfer> = Pool::new(2, "chain/tx").max_item(TRANSFER_MAX as u32);
/// The block with this hash, as soon as the server has it.
#[allow(clippy::cast_possible_truncation)]
pub const BODY: Method<BlockId, Bytes> =
    Method::new(3, "chain/body").max_request(32).max_response(BLOCK_MAX as u32);
/// Blocks of the chain from somewhere upwards.
#[allow(clippy::cast_possible_truncation)]
pub const BLOCKS: Method<Range, Blocks> =
    Method::new(4, "chain/blocks").max_request(34).max_response(RANGE_BYTES as u32 + 1024);

/// A block's hash, as a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockId(pub Hash);

/// Where a range begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At this height of the server's chain.
    Height(u64),
    /// At this block, on the server's chain or beside it.
    Hash(Hash),
}

/// A request for blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first.
    pub start: Start,
    /// How many at most, 1 to [`RANGE_MAX`].
    pub count: u8,
}

/// Encoded blocks, upwards; empty where the server has none there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocks(pub Vec<Bytes>);

impl Message for Transfer {
    fn encode(&self) -> Bytes {
        self.encoded().clone()
    }
    fn decode(bytes: Bytes) -> Result<Self, Malformed> {
        Self::decode(bytes).map_err(|_| Malformed::new("not a transfer"))
    }
}

impl PoolItem for Transfer {
    fn summary(&self) -> Summary {
        summary(self.fee)
    }
    /// Any form of a fee is worth fetching: the item then shows whether it was the right one, and whose fault it is if not.
    fn priority(summary: &Summary) -> Option<u64> {
        let (summary, mut bytes) = (summary.as_slice(), [0; 8]);
        if let Some(bytes) = bytes.get_mut(..summary.len()) {
            bytes.copy_from_slice(summary);
        }
        Some(u64::from_le_bytes(bytes))
    }
    fn summary_of(bytes: &Bytes) -> Result<Summary, Malformed> {
        Self::fee_of(bytes).map(summary).ok_or(Malformed::new("not a transfer"))
    }
}

/// A fee without its leading zeros: most take a byte or two in every offer.
fn summary(fee: u64) -> Summary {
    let bytes = fee.to_le_bytes();
    let len = 8 - fee.leading_zeros() as usize / 8;
    Summary::new(bytes.get(..len).unwrap_or_default()).unwrap_or_default()
}

impl Message for Header {
    fn encode(&self) -> Bytes {
        Self::encode(self)
    }
    fn decode(bytes: Bytes) -> Result<Self, Malformed> {
        Self::decode(&bytes).map_err(|_| Malformed::new("not a header"))
    }
}

impl TipValue for Header {
    fn slot(&self) -> SlotKey {
        SlotKey::of(&[&self.draft.height.to_le_bytes()])
    }
}

impl Message for BlockId {
    fn encode(&self) -> Bytes {
        Bytes::copy_from_slice(&self.0)
    }
    fn decode(bytes: Bytes) -> Result<Self, Malformed> {
        bytes.as_ref().try_into().map(Self).map_err(|_| Malformed::new("a block hash has 32 bytes"))
    }
}

impl Message for Range {
    fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(34);
        match &self.start {
            Start::Height(height) => {
                out.put_u8(0);
                out.put_u64_le(*height);
            }
            Start::Hash(hash) => {
                out.put_u8(1);
                out.put_slice(hash);
            }
        }
        out.put_u8(self.count);
        out.freeze()
    }
    fn decode(mut bytes: Bytes) -> Result<Self, Malformed> {
        let start = match bytes.try_get_u8() {
            Ok(0) => codec::u64(&mut bytes).map(Start::Height),
            Ok(1) => codec::array(&mut bytes).map(Start::Hash),
            _ => return Err(Malformed::new("unknown start of a range")),
        };
        let start = start.map_err(|_| Malformed::new("a range ends too early"))?;
        match (bytes.try_get_u8(), bytes.is_empty()) {
            (Ok(count @ 1..=RANGE_MAX), true) => Ok(Self { start, count }),
            _ => Err(Malformed::new("a range has a count of 1 to 64 at its end")),
        }
    }
}

impl Message for Blocks {
    fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(1 + self.0.iter().map(|block| 4 + block.len()).sum::<usize>());
        out.put_u8(u8::try_from(self.0.len()).unwrap_or(u8::MAX));
        for block in &self.0 {
            out.put_u32_le(codec::len32(block.len()));
            out.put_slice(block);
        }
        out.freeze()
    }
    fn decode(mut bytes: Bytes) -> Result<Self, Malformed> {
        let count = bytes.try_get_u8().map_err(|_| Malformed::new("no count of blocks"))?;
        if count > RANGE_MAX {
            return Err(Malformed::new("more than 64 blocks"));
        }
        let mut blocks = Vec::with_capacity(usize::from(count));
        for _ in 0..count {
            let block = codec::count(&mut bytes, BLOCK_MAX).and_then(|len| codec::take(&mut bytes, len));
            blocks.push(block.map_err(|_| Malformed::new("a block is cut or too large"))?);
        }
        if bytes.is_empty() { Ok(Self(blocks)) } else { Err(Malformed::new("bytes left over")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_the_fee_in_its_shortest_form() {
        for fee in [1, 255, 256, 65_536, u64::MAX] {
            assert_eq!(Transfer::priority(&summary(fee)), Some(fee));
            assert_ne!(summary(fee).as_slice().last(), Some(&0));
        }
        assert_eq!(summary(999).as_slice().len(), 2);
    }

    #[test]
    fn an_offer_with_another_form_is_fetched_and_found_not_to_be_the_items() {
        let key = crate::SigningKey::from_bytes(&[1; 32]);
        let transfer = Transfer::sign(&key, &[0; 32], 0, (crate::AccountId([2; 32]), 1), 1, b"").unwrap();
        for other in [&[1, 0][..], &[1, 0, 0, 0, 0, 0, 0, 0], &[0; 9], &[]] {
            let other = Summary::new(other).unwrap();
            assert!(Transfer::priority(&other).is_some());
            assert_ne!(Transfer::summary_of(transfer.encoded()).unwrap(), other);
        }
    }

    #[test]
    fn ranges_and_blocks_read_back_and_false_counts_do_not() {
        for start in [Start::Height(7), Start::Hash([9; 32])] {
            let range = Range { start, count: 64 };
            assert_eq!(Range::decode(Message::encode(&range)), Ok(range));
            let refused = Err(Malformed::new("a range has a count of 1 to 64 at its end"));
            assert_eq!(Range::decode(Message::encode(&Range { start, count: 65 })), refused);
            assert_eq!(Range::decode(Message::encode(&Range { start, count: 0 })), refused);
            assert_eq!(Range::decode([&Message::encode(&range)[..], &[0]].concat().into()), refused);
        }
        let blocks = Blocks(vec![Bytes::from_static(b"one"), Bytes::from_static(b"three")]);
        let encoded = Message::encode(&blocks);
        assert_eq!(Blocks::decode(encoded.clone()), Ok(blocks));
        for len in 0..encoded.len() {
            let reason = if len == 0 { "no count of blocks" } else { "a block is cut or too large" };
            assert_eq!(Blocks::decode(encoded.slice(..len)), Err(Malformed::new(reason)), "{len} bytes");
        }
        let longer = Blocks::decode([&encoded[..], &[0]].concat().into());
        assert_eq!(longer, Err(Malformed::new("bytes left over")));
    }

    #[test]
    fn an_answer_of_too_many_or_too_large_blocks_is_refused() {
        for (count, reads) in [(64, true), (65, false)] {
            let blocks = Message::encode(&Blocks(vec![Bytes::new(); count]));
            assert_eq!(Blocks::decode(blocks).is_ok(), reads, "{count} blocks");
        }
        for (len, reads) in [(BLOCK_MAX, true), (BLOCK_MAX + 1, false)] {
            let blocks = Message::encode(&Blocks(vec![vec![0; len].into()]));
            assert_eq!(Blocks::decode(blocks).is_ok(), reads, "{len} bytes");
        }
    }

    #[test]
    fn a_block_id_has_32_bytes() {
        for (len, reads) in [(0, false), (31, false), (32, true), (33, false)] {
            assert_eq!(BlockId::decode(vec![1; len].into()).is_ok(), reads, "{len} bytes");
        }
    }
}
