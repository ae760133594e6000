//! Reading fixed-width fields off received bytes, bounded.

use bytes::{Buf as _, Bytes};

/// Why bytes are no transfer, header or block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The bytes end too early.
    #[error("ends too early")]
    Truncated,
    /// A length or count is above its limit.
    #[error("a length or count is above its limit")]
    TooLarge,
    /// The version is not 1.
    #[error("unknown version")]
    Version,
    /// Bytes are left over.
    #[error("bytes left over")]
    Trailing,
    /// A key is no usable Ed25519 key.
    #[error("not a usable key")]
    Key,
}

pub(crate) fn array<const N: usize>(input: &mut Bytes) -> Result<[u8; N], Malformed> {
    let mut out = [0; N];
    input.try_copy_to_slice(&mut out).map_err(|_| Malformed::Truncated)?;
    Ok(out)
}

pub(crate) fn u64(input: &mut Bytes) -> Result<u64, Malformed> {
    input.try_get_u64_le().map_err(|_| Malformed::Truncated)
}

/// A 32-bit length or count of at most `max`.
pub(crate) fn count(input: &mut Bytes, max: usize) -> Result<usize, Malformed> {
    let value = input.try_get_u32_le().map_err(|_| Malformed::Truncated)?;
    usize::try_from(value).ok().filter(|value| *value <= max).ok_or(Malformed::TooLarge)
}

/// The next `len` bytes, shared.
pub(crate) fn take(input: &mut Bytes, len: usize) -> Result<Bytes, Malformed> {
    if input.len() < len { Err(Malformed::Truncated) } else { Ok(input.split_to(len)) }
}

pub(crate) fn version(input: &mut Bytes) -> Result<(), Malformed> {
    match input.try_get_u8() {
        Ok(1) => Ok(()),
        Ok(_) => Err(Malformed::Version),
        Err(_) => Err(Malformed::Truncated),
    }
}

pub(crate) fn finish(input: &Bytes) -> Result<(), Malformed> {
    if input.is_empty() { Ok(()) } else { Err(Malformed::Trailing) }
}

/// A length that the type's own limits keep far below 2^32.
pub(crate) fn len32(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
