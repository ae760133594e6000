//! Bytes of the pull protocol, put together by hand from `docs/spec/`: nothing of Weir's own encoders is used, so that a hostile
//! peer can say what they would not.

use sha2::{Digest as _, Sha256};
use siphasher::sip::SipHasher24;
use std::hash::Hasher as _;

/// Channels that the victim speaks, and their lanes as protocol numbers (`streams.md`).
pub const POOL: u64 = 4;
pub const CALL: u64 = 5;
pub const RAW: u64 = 6;
pub const CONTROL: u64 = 0;

/// The protocol number of a channel's lane.
pub const fn lane(channel: u64, lane: u64) -> u64 {
    channel * 4 + lane
}

/// The network of victim and honest pair.
pub const NETWORK: [u8; 32] = *b"weir's hostile neighbours, ver.1";

/// Appends an unsigned LEB128 number.
pub fn varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Takes one off the front.
pub fn take_varint(input: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = input.split_first()?;
        *input = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// A message: length, type, fields (`control.md`).
pub fn message(kind: u64, fields: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(fields.len() + 2);
    varint(kind, &mut body);
    body.extend_from_slice(fields);
    let mut out = Vec::with_capacity(body.len() + 4);
    varint(body.len() as u64, &mut out);
    out.extend_from_slice(&body);
    out
}

/// Takes a whole message off `buffer`: its type and its fields.
pub fn take_message(buffer: &mut Vec<u8>) -> Option<(u64, Vec<u8>)> {
    let mut rest = buffer.as_slice();
    let length = take_varint(&mut rest)? as usize;
    let body = rest.get(..length)?;
    let used = buffer.len() - rest.len() + length;
    let mut fields = body;
    let kind = take_varint(&mut fields)?;
    let fields = fields.to_vec();
    buffer.drain(..used);
    Some((kind, fields))
}

/// The first message on control.
pub fn hello() -> Vec<u8> {
    let mut fields = vec![1, 1]; // versions 1 to 1
    fields.extend_from_slice(&NETWORK);
    fields.push(0); // features
    fields.extend_from_slice(b"\x07hostile");
    fields.push(0); // services
    varint(1 << 20, &mut fields); // streams that the victim may open
    varint(1, &mut fields);
    fields.extend_from_slice(&[7; 16]); // our key for short ids
    fields.push(3);
    for (id, name, shape, limits) in [
        (POOL, "items", 2_u8, [0_u64, 64 << 10, 0]),
        (CALL, "work", 3, [64 << 10, 1 << 20, 1 << 16]),
        (RAW, "bytes", 0, [0, 0, 0]),
    ] {
        varint(id, &mut fields);
        fields.push(name.len() as u8);
        fields.extend_from_slice(name.as_bytes());
        fields.extend_from_slice(&[1, 1]); // versions 1 to 1
        fields.push(shape);
        limits.iter().for_each(|limit| varint(*limit, &mut fields));
        fields.push(0); // extensions
    }
    message(0, &fields)
}

/// The number and the key under which the victim wants short ids, from its hello.
pub fn key_of(hello: &[u8]) -> Option<(u64, [u8; 16])> {
    let mut rest = hello;
    take_varint(&mut rest)?;
    take_varint(&mut rest)?;
    rest = rest.get(32..)?;
    take_varint(&mut rest)?;
    let agent = take_varint(&mut rest)? as usize;
    rest = rest.get(agent..)?;
    for _ in 0..take_varint(&mut rest)? {
        take_varint(&mut rest)?;
        take_varint(&mut rest)?;
        let payload = take_varint(&mut rest)? as usize;
        rest = rest.get(payload..)?;
    }
    take_varint(&mut rest)?;
    let number = take_varint(&mut rest)?;
    Some((number, rest.get(..16)?.try_into().ok()?))
}

/// An item's short id under a key.
pub fn short_id(key: &[u8; 16], item: &[u8]) -> [u8; 8] {
    let mut hasher = SipHasher24::new_with_key(key);
    hasher.write(&Sha256::digest(item));
    hasher.finish().to_le_bytes()
}

/// A permit for offers: totals, everything decided up to nowhere, no floor. `turn` moves the server back to 0.
pub fn want(entries: u64, bytes: u64, turn: Option<u64>) -> Vec<u8> {
    let mut fields = Vec::new();
    [entries, bytes, 0, 0].iter().for_each(|number| varint(*number, &mut fields));
    if let Some(turn) = turn {
        varint(turn, &mut fields);
        fields.extend_from_slice(&[0; 8]);
        varint(0, &mut fields);
    }
    message(0, &fields)
}

/// What a permit of the victim grants in all: entries and bytes.
pub fn granted(mut fields: &[u8]) -> Option<(u64, u64)> {
    Some((take_varint(&mut fields)?, take_varint(&mut fields)?))
}

/// An offer of items without gap or summary, from index `from` on; the first one on a stream says its epoch.
pub fn offer(first: bool, key: u64, from: u64, entries: &[([u8; 8], usize)]) -> Vec<u8> {
    let mut fields = Vec::new();
    if first {
        varint(0, &mut fields);
        fields.extend_from_slice(&[9; 8]);
    }
    varint(key, &mut fields);
    varint(from, &mut fields);
    varint(entries.len() as u64, &mut fields);
    for (short, size) in entries {
        varint(0, &mut fields);
        fields.extend_from_slice(short);
        varint(*size as u64, &mut fields);
    }
    message(if first { 2 } else { 0 }, &fields)
}

/// The indices of a get.
pub fn indices(mut fields: &[u8]) -> Vec<u64> {
    let mut indices: Vec<u64> = Vec::new();
    while let Some(number) = take_varint(&mut fields) {
        indices.push(indices.last().map_or(number, |last| last + number + 1));
    }
    indices
}

/// The answer to a get.
pub fn item(index: u64, bytes: &[u8]) -> Vec<u8> {
    let mut fields = Vec::with_capacity(bytes.len() + 10);
    varint(index, &mut fields);
    fields.extend_from_slice(bytes);
    message(0, &fields)
}

/// The other answer.
pub fn gone(index: u64) -> Vec<u8> {
    let mut fields = Vec::new();
    varint(index, &mut fields);
    message(2, &fields)
}

/// A call, with what it asks for.
pub fn request(bytes: &[u8]) -> Vec<u8> {
    let mut fields = Vec::new();
    varint(10_000, &mut fields); // milliseconds
    fields.extend_from_slice(bytes);
    message(0, &fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_apart_as_they_were_put_together() {
        let mut buffer = message(2, b"abc");
        buffer.extend_from_slice(&message(300, &[7; 200]));
        assert_eq!(take_message(&mut buffer), Some((2, b"abc".to_vec())));
        let rest = buffer.clone();
        buffer.truncate(20);
        assert_eq!(take_message(&mut buffer), None);
        buffer = rest;
        assert_eq!(take_message(&mut buffer), Some((300, vec![7; 200])));
        assert!(buffer.is_empty());
    }

    #[test]
    fn the_key_is_found_in_a_hello() {
        let mut hello = hello();
        let (_, fields) = take_message(&mut hello).unwrap();
        assert_eq!(key_of(&fields), Some((1, [7; 16])));
    }

    #[test]
    fn indices_are_differences() {
        let mut fields = Vec::new();
        [5, 0, 9].iter().for_each(|number| varint(*number, &mut fields));
        assert_eq!(indices(&fields), [5, 6, 16]);
    }
}
