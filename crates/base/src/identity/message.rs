//! The protobuf message around a key, public or private: field 1 the type, field 2 the data.
//!
//! libp2p demands one encoding: both fields, in order, minimal varints, nothing else. Every key but RSA has at most 127 bytes
//! of data, so both varints are single bytes, and the whole message is a fixed pattern.

use crate::codec::{Malformed, Reader, put_prefixed};

/// `KeyType` of the specification.
pub(super) const RSA: u8 = 0;
pub(super) const ED25519: u8 = 1;
pub(super) const SECP256K1: u8 = 2;
pub(super) const ECDSA: u8 = 3;

/// Field 1 (`Type`), wire type varint.
const TAG_TYPE: u8 = 0x08;
/// Field 2 (`Data`), wire type length-delimited.
const TAG_DATA: u8 = 0x12;

/// Bytes before the data.
pub(super) const HEADER: usize = 4;

/// The four bytes before `len` bytes of data of type `kind`. `len` must be below 128.
pub(super) const fn header(kind: u8, len: u8) -> [u8; HEADER] {
    [TAG_TYPE, kind, TAG_DATA, len]
}

/// What is inside a key message.
pub(super) struct KeyMessage<'a> {
    pub(super) kind: u8,
    pub(super) data: &'a [u8],
}

/// Splits a key message. `None` where the encoding is not the one that libp2p demands. The data of an RSA key is what is left:
/// its length is checked where its kind is taken, so that a private key can be refused by name.
pub(super) fn decode(bytes: &[u8]) -> Option<KeyMessage<'_>> {
    match bytes {
        [TAG_TYPE, RSA, TAG_DATA, data @ ..] => Some(KeyMessage { kind: RSA, data }),
        [TAG_TYPE, kind @ 0..=0x7f, TAG_DATA, len @ 0..=0x7f, data @ ..]
            if data.len() == usize::from(*len) =>
        {
            Some(KeyMessage { kind: *kind, data })
        }
        _ => None,
    }
}

/// What the length of an RSA key's data announces, whole and nothing else, at most `max` bytes.
pub(super) fn rsa_data(data: &[u8], max: usize) -> Result<&[u8], Malformed> {
    let mut reader = Reader::new(data);
    let key = reader.prefixed(max)?;
    reader.finish()?;
    Ok(key)
}

/// Appends the whole message of an RSA key.
pub(super) fn put_rsa(out: &mut Vec<u8>, data: &[u8]) {
    out.extend_from_slice(&[TAG_TYPE, RSA, TAG_DATA]);
    put_prefixed(out, data);
}
