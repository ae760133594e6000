//! Peer records (RFC 0003): a peer's own addresses, in a signed envelope.
//!
//! ```text
//! message PeerRecord { bytes peer_id = 1; uint64 seq = 2; repeated AddressInfo addresses = 3; }
//! message AddressInfo { bytes multiaddr = 1; }
//! ```

use weir_base::codec::Malformed;
use weir_base::codec::proto::{Fields, put_bytes_field, put_varint_field};
use weir_base::identity::{PEER_ID_MAX, PeerIdError};
use weir_base::multiaddr::{self, DecodeMultiaddrError};
use weir_base::{Keypair, Multiaddr, PeerId};

use super::envelope::{EnvelopeError, SealError, open, payload_type, seal};

/// The most addresses in a record, both ways.
pub const ADDRESSES_MAX: usize = 64;

/// Domain and payload type that go, js and current rust implementations use: the multicodec `libp2p-peer-record`.
const CURRENT: (&str, &[u8]) = ("libp2p-peer-record", &[0x03, 0x01]);

/// Domain and payload type of the RFC's text, which older rust implementations use. Taken, never made.
const OF_THE_RFC: (&str, &[u8]) = ("libp2p-routing-state", b"/libp2p/routing-state-record");

/// Numbers of the fields.
mod field {
    pub(super) const PEER_ID: u32 = 1;
    pub(super) const SEQ: u32 = 2;
    pub(super) const ADDRESSES: u32 = 3;
    pub(super) const MULTIADDR: u32 = 1;
}

/// Where a peer says it can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerRecord {
    /// Whose addresses these are; the signer's.
    pub peer: PeerId,
    /// Grows with each record that the peer issues. No time, whatever it looks like.
    pub seq: u64,
    /// At most [`ADDRESSES_MAX`].
    pub addresses: Vec<Multiaddr>,
}

/// Why a signed peer record is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The envelope is.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// Not protobuf, or a field of the wrong type or doubled.
    #[error("peer record: {0}")]
    Malformed(#[from] Malformed),
    /// The peer id inside is none.
    #[error("peer record: {0}")]
    PeerId(#[from] PeerIdError),
    /// Another peer signed it.
    #[error("peer record of {0}, signed by another peer")]
    WrongPeer(PeerId),
    /// More than [`ADDRESSES_MAX`].
    #[error("peer record with more than {ADDRESSES_MAX} addresses")]
    TooMany,
    /// An address that is damaged, not merely of a kind that Weir does not know.
    #[error("peer record: {0}")]
    Address(DecodeMultiaddrError),
}

impl PeerRecord {
    /// The record of the holder of `keypair`, signed and encoded. Addresses past [`ADDRESSES_MAX`] are left out.
    ///
    /// # Errors
    /// [`SealError::TooLong`], where the addresses are too long together.
    pub fn seal(keypair: &Keypair, seq: u64, addresses: &[Multiaddr]) -> Result<Vec<u8>, SealError> {
        let mut payload = Vec::new();
        put_bytes_field(&mut payload, field::PEER_ID, keypair.peer_id().as_bytes());
        put_varint_field(&mut payload, field::SEQ, seq);
        for address in addresses.iter().take(ADDRESSES_MAX) {
            let mut info = Vec::with_capacity(address.encoded_len() + 4);
            put_bytes_field(&mut info, field::MULTIADDR, &address.to_bytes());
            put_bytes_field(&mut payload, field::ADDRESSES, &info);
        }
        seal(keypair, CURRENT.0, CURRENT.1, &payload)
    }

    /// Verifies and decodes a signed record. Addresses of a kind that Weir does not know, and those that name another peer, are
    /// left out; unknown fields are skipped.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn open(bytes: &[u8]) -> Result<Self, RecordError> {
        let (domain, kind) = if payload_type(bytes)? == OF_THE_RFC.1 { OF_THE_RFC } else { CURRENT };
        let opened = open(bytes, domain, kind)?;
        let record = Self::decode(opened.payload)?;
        if record.peer.is_of(&opened.key) { Ok(record) } else { Err(RecordError::WrongPeer(record.peer)) }
    }

    fn decode(payload: &[u8]) -> Result<Self, RecordError> {
        let (mut peer, mut seq) = (None, None);
        let mut addresses = Vec::new();
        let mut seen = 0;
        let mut fields = Fields::new(payload);
        while let Some((number, value)) = fields.next()? {
            let doubled = match number {
                field::PEER_ID => peer.replace(PeerId::from_bytes(value.bytes(PEER_ID_MAX)?)?).is_some(),
                field::SEQ => seq.replace(value.varint()?).is_some(),
                field::ADDRESSES => {
                    seen += 1;
                    if seen > ADDRESSES_MAX {
                        return Err(RecordError::TooMany);
                    }
                    addresses.extend(address(value.bytes(payload.len())?)?);
                    false
                }
                _ => false,
            };
            if doubled {
                return Err(Malformed::Value.into());
            }
        }
        let peer = peer.ok_or(PeerIdError::Length)?;
        addresses.retain(|address: &Multiaddr| address.peer_id().is_none_or(|named| named == peer));
        Ok(Self { peer, seq: seq.unwrap_or(0), addresses })
    }
}

/// The address in an `AddressInfo`; `None` where it is of a kind that Weir does not know.
fn address(info: &[u8]) -> Result<Option<Multiaddr>, RecordError> {
    let mut found = None;
    let mut fields = Fields::new(info);
    while let Some((number, value)) = fields.next()? {
        if number == field::MULTIADDR && found.replace(value.bytes(multiaddr::MAX_BYTES)?).is_some() {
            return Err(Malformed::Value.into());
        }
    }
    match Multiaddr::from_bytes(found.unwrap_or_default()) {
        Ok(address) => Ok(Some(address)),
        Err(
            DecodeMultiaddrError::Unknown(_)
            | DecodeMultiaddrError::Unsupported(_)
            | DecodeMultiaddrError::DraftQuic
            | DecodeMultiaddrError::TooMany,
        ) => Ok(None),
        Err(error) => Err(RecordError::Address(error)),
    }
}
