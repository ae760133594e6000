//! Decoders of `weir-base`.

use bytes::Bytes;
use weir_base::codec::proto::{Fields, Value, put_bytes_field, put_varint_field};
use weir_base::codec::{Framer, Malformed, peek_varint, put_varint, varint_len};
use weir_base::identity::{BadSignature, Keypair, PeerId, PublicKey};
use weir_base::multiaddr::{MAX_BYTES, MAX_COMPONENTS, Multiaddr};

/// A varint has one encoding, and is known as soon as it is whole.
pub(crate) fn varint(data: &[u8]) -> bool {
    let Ok(Some((value, length))) = peek_varint(data, u64::MAX) else {
        return false;
    };
    let mut again = Vec::new();
    put_varint(&mut again, value);
    assert_eq!(data.get(..length), Some(again.as_slice()));
    assert_eq!(varint_len(value), length);
    for cut in 0..length {
        assert_eq!(peek_varint(&data[..cut], u64::MAX), Ok(None), "cut at {cut}");
    }
    if let Some(lower) = value.checked_sub(1) {
        assert_eq!(peek_varint(data, lower), Err(Malformed::TooLarge));
    }
    true
}

/// Fields lie in the message, their number fits, and written again they give the same bytes.
pub(crate) fn protobuf(data: &[u8]) -> bool {
    let mut fields = Fields::new(data);
    let mut again = Vec::new();
    let mut count = 0_usize;
    while let Ok(Some((number, value))) = fields.next() {
        count += 1;
        assert!(number > 0 && count <= data.len());
        match value {
            Value::Varint(varint) => put_varint_field(&mut again, number, varint),
            Value::Bytes(bytes) => put_bytes_field(&mut again, number, bytes),
            Value::Fixed64(fixed) => {
                put_varint(&mut again, u64::from(number) << 3 | 1);
                again.extend_from_slice(&fixed.to_le_bytes());
            }
            Value::Fixed32(fixed) => {
                put_varint(&mut again, u64::from(number) << 3 | 5);
                again.extend_from_slice(&fixed.to_le_bytes());
            }
        }
    }
    assert!(data.starts_with(&again));
    count > 0
}

/// Frames are the same however the stream is cut, and no more is held than has come. The first byte is the
/// limit, the second the seed of the cuts.
pub(crate) fn framer(data: &[u8]) -> bool {
    let [limit, cuts, stream @ ..] = data else {
        return false;
    };
    let max = usize::from(*limit);
    let whole = frames(max, stream, Cuts::none());
    assert_eq!(whole, frames(max, stream, Cuts::seeded(*cuts)));
    !whole.0.is_empty()
}

/// Where a stream is cut into pieces.
pub(crate) struct Cuts {
    state: Option<u64>,
}

impl Cuts {
    /// Nowhere.
    pub(crate) fn none() -> Self {
        Self { state: None }
    }

    /// Every few bytes, by a seed.
    pub(crate) fn seeded(seed: u8) -> Self {
        Self { state: Some(seed.into()) }
    }

    /// The length of the next piece of what is `left`: 1 to `left`.
    pub(crate) fn next(&mut self, left: usize) -> usize {
        let Some(state) = &mut self.state else {
            return left;
        };
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1); // Knuth's MMIX generator
        usize::try_from(*state >> 60).unwrap_or(1).clamp(1, left)
    }
}

/// All frames up to the first error, and that error.
fn frames(max: usize, stream: &[u8], mut cuts: Cuts) -> (Vec<Bytes>, Option<Malformed>) {
    let mut framer = Framer::new(max);
    let mut rest = Bytes::copy_from_slice(stream);
    let mut found = Vec::new();
    while !rest.is_empty() {
        let mut piece = rest.split_to(cuts.next(rest.len()));
        loop {
            match framer.next(&mut piece) {
                Ok(Some(frame)) => {
                    assert!(frame.len() <= max);
                    found.push(frame);
                }
                Ok(None) => break,
                Err(error) => return (found, Some(error)),
            }
        }
        assert!(piece.is_empty(), "what is not framed is held");
        assert!(framer.held() <= max + varint_len(max as u64));
    }
    (found, None)
}

/// An id of a peer in binary has one form, and its text leads back to it.
pub(crate) fn peer_id(data: &[u8]) -> bool {
    let Ok(id) = PeerId::from_bytes(data) else {
        return false;
    };
    assert_eq!(id.as_bytes(), data);
    assert_eq!(id.to_string().parse(), Ok(id));
    if let Some(key) = id.public_key() {
        assert_eq!(PublicKey::from_protobuf(&key.to_protobuf()), Ok(key));
    }
    true
}

/// Two texts may name one peer (base58 and CID), never one text two.
pub(crate) fn peer_id_text(data: &[u8]) -> bool {
    let Some(id) = std::str::from_utf8(data).ok().and_then(|text| text.parse::<PeerId>().ok()) else {
        return false;
    };
    assert_eq!(PeerId::from_bytes(id.as_bytes()), Ok(id));
    assert_eq!(id.to_string().parse(), Ok(id));
    true
}

/// A key that is taken comes back from its own encoding, with its id.
pub(crate) fn public_key(data: &[u8]) -> bool {
    let Ok(key) = PublicKey::from_protobuf(data) else {
        return false;
    };
    assert_eq!(PublicKey::from_protobuf(&key.to_protobuf()).as_ref(), Ok(&key));
    assert!(key.peer_id().is_of(&key));
    assert_eq!(key.verify(b"not signed", data), Err(BadSignature));
    true
}

/// A stored key pair comes back from its own encoding; what it signs, its public key verifies.
pub(crate) fn keypair(data: &[u8]) -> bool {
    let Ok(pair) = Keypair::from_protobuf(data) else {
        return false;
    };
    let again = Keypair::from_protobuf(&pair.to_protobuf());
    assert_eq!(again.map(|again| again.public()).as_ref(), Ok(&pair.public()));
    let signature = pair.sign(data);
    assert_eq!(pair.public().verify(data, &signature), Ok(()));
    true
}

/// An address in binary has one form, and its text leads back to it.
pub(crate) fn multiaddr(data: &[u8]) -> bool {
    let Ok(address) = Multiaddr::from_bytes(data) else {
        return false;
    };
    assert!(data.len() <= MAX_BYTES && address.components().len() <= MAX_COMPONENTS);
    assert_eq!(address.to_bytes(), data);
    assert_eq!(address.encoded_len(), data.len());
    assert_eq!(address.to_string().parse(), Ok(address));
    true
}

/// Text may have several spellings; what it is read as has one.
pub(crate) fn multiaddr_text(data: &[u8]) -> bool {
    let Some(address) = std::str::from_utf8(data).ok().and_then(|text| text.parse::<Multiaddr>().ok()) else {
        return false;
    };
    assert_eq!(address.to_string().parse(), Ok(address.clone()));
    assert_eq!(Multiaddr::from_bytes(&address.to_bytes()), Ok(address));
    true
}
