//! Transactions that are as real ones in size, and that anybody can make again from their number.

use bytes::{BufMut, Bytes, BytesMut};
use weir_base::Rng;

use super::sizes::item_size;

/// Bytes before the random rest of a transaction: its number and its priority.
pub(crate) const HEAD: usize = 9;

/// This bit of its number marks an item as invalid.
const INVALID: u64 = 1 << 63;

/// Transaction `number` of the run with this seed: its number, a random priority of one byte (its summary), and random bytes up to a random size.
pub fn transaction(number: u32, seed: u64) -> Bytes {
    numbered(number.into(), seed)
}

/// As [`transaction`], but every application rejects it.
pub fn invalid(number: u32, seed: u64) -> Bytes {
    numbered(INVALID | u64::from(number), seed)
}

/// Whether every application rejects an item.
pub fn is_invalid(bytes: &[u8]) -> bool {
    bytes.split_first_chunk::<8>().is_some_and(|(number, _)| u64::from_le_bytes(*number) & INVALID != 0)
}

fn numbered(number: u64, seed: u64) -> Bytes {
    let mut rng = Rng::from_number(seed.rotate_left(32) ^ number);
    let size = item_size(&mut rng).max(HEAD);
    let mut bytes = BytesMut::with_capacity(size);
    bytes.put_u64_le(number);
    bytes.resize(size, 0);
    if let Some(rest) = bytes.get_mut(HEAD - 1..) {
        rng.fill(rest);
    }
    bytes.freeze()
}

/// The number of a transaction; `None` where it is none.
pub fn number_of(bytes: &[u8]) -> Option<u32> {
    let (number, _) = bytes.split_first_chunk::<8>()?;
    u32::try_from(u64::from_le_bytes(*number)).ok()
}
