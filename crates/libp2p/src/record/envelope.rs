//! Signed envelopes (RFC 0002).
//!
//! ```text
//! message Envelope { PublicKey public_key = 1; bytes payload_type = 2; bytes payload = 3; bytes signature = 5; }
//! signed: len(domain) domain len(payload_type) payload_type len(payload) payload      (lengths as varints)
//! ```

use weir_base::codec::proto::{Fields, put_bytes_field};
use weir_base::codec::{Malformed, put_prefixed};
use weir_base::identity::{BadSignature, PublicKeyError};
use weir_base::{Keypair, PublicKey};

/// The longest envelope in bytes, both ways. go-libp2p takes as much in identify.
pub const ENVELOPE_MAX: usize = 8 * 1024;

/// What an envelope of this node has beside type and payload, in bytes: its key, its signature, tags and lengths.
const OWN_PARTS: usize = 128;

/// Numbers of the fields.
mod field {
    pub(super) const KEY: u32 = 1;
    pub(super) const TYPE: u32 = 2;
    pub(super) const PAYLOAD: u32 = 3;
    pub(super) const SIGNATURE: u32 = 5;
}

/// What a verified envelope contains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened<'a> {
    /// The key that signed. Whoever expects a certain peer compares its id.
    pub key: PublicKey,
    /// What it signed.
    pub payload: &'a [u8],
}

/// Why an envelope cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// It would be longer than [`ENVELOPE_MAX`].
    #[error("envelope of {0} bytes; at most {ENVELOPE_MAX} are allowed")]
    TooLong(usize),
}

/// Why an envelope is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Longer than [`ENVELOPE_MAX`].
    #[error("envelope of {0} bytes; at most {ENVELOPE_MAX} are taken")]
    TooLong(usize),
    /// Not protobuf, a field of the wrong type, or one of the known fields twice.
    #[error("envelope: {0}")]
    Malformed(#[from] Malformed),
    /// Without public key.
    #[error("envelope without public key")]
    NoKey,
    /// A public key that Weir does not take.
    #[error("envelope: {0}")]
    Key(#[from] PublicKeyError),
    /// Made for another purpose.
    #[error("envelope with another payload type")]
    Type,
    /// The key did not sign this payload for this domain.
    #[error("envelope: {0}")]
    Signature(#[from] BadSignature),
}

/// Signs `payload` under `domain` (which is not sent) and `payload_type` (which is), and encodes the envelope.
///
/// # Errors
/// [`SealError::TooLong`].
pub fn seal(
    keypair: &Keypair,
    domain: &str,
    payload_type: &[u8],
    payload: &[u8],
) -> Result<Vec<u8>, SealError> {
    let signature = keypair.sign(&signed_bytes(domain, payload_type, payload));
    let mut out = Vec::with_capacity(payload_type.len() + payload.len() + OWN_PARTS);
    put_bytes_field(&mut out, field::KEY, &keypair.public().to_protobuf());
    put_bytes_field(&mut out, field::TYPE, payload_type);
    put_bytes_field(&mut out, field::PAYLOAD, payload);
    put_bytes_field(&mut out, field::SIGNATURE, &signature);
    if out.len() > ENVELOPE_MAX {
        return Err(SealError::TooLong(out.len()));
    }
    Ok(out)
}

/// Decodes and verifies an envelope that was sealed under `domain` and `payload_type`. Unknown fields are skipped.
///
/// # Errors
/// [`EnvelopeError`], the first defect found.
pub fn open<'a>(bytes: &'a [u8], domain: &str, payload_type: &[u8]) -> Result<Opened<'a>, EnvelopeError> {
    let parts = Parts::decode(bytes)?;
    if parts.payload_type.unwrap_or_default() != payload_type {
        return Err(EnvelopeError::Type);
    }
    let key = PublicKey::from_protobuf(parts.key.ok_or(EnvelopeError::NoKey)?)?;
    let payload = parts.payload.unwrap_or_default();
    let signature = parts.signature.unwrap_or_default();
    key.verify(&signed_bytes(domain, payload_type, payload), signature)?;
    Ok(Opened { key, payload })
}

/// The payload type of an envelope that is not verified yet.
pub(super) fn payload_type(bytes: &[u8]) -> Result<&[u8], EnvelopeError> {
    Ok(Parts::decode(bytes)?.payload_type.unwrap_or_default())
}

/// The fields as they stand in the message; a field that is absent equals an empty one (proto3).
#[derive(Default)]
struct Parts<'a> {
    key: Option<&'a [u8]>,
    payload_type: Option<&'a [u8]>,
    payload: Option<&'a [u8]>,
    signature: Option<&'a [u8]>,
}

impl<'a> Parts<'a> {
    fn decode(bytes: &'a [u8]) -> Result<Self, EnvelopeError> {
        if bytes.len() > ENVELOPE_MAX {
            return Err(EnvelopeError::TooLong(bytes.len()));
        }
        let mut parts = Self::default();
        let mut fields = Fields::new(bytes);
        while let Some((number, value)) = fields.next()? {
            let slot = match number {
                field::KEY => &mut parts.key,
                field::TYPE => &mut parts.payload_type,
                field::PAYLOAD => &mut parts.payload,
                field::SIGNATURE => &mut parts.signature,
                _ => continue,
            };
            if slot.replace(value.bytes(ENVELOPE_MAX)?).is_some() {
                return Err(Malformed::Value.into());
            }
        }
        Ok(parts)
    }
}

fn signed_bytes(domain: &str, payload_type: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(domain.len() + payload_type.len() + payload.len() + 6);
    put_prefixed(&mut out, domain.as_bytes());
    put_prefixed(&mut out, payload_type);
    put_prefixed(&mut out, payload);
    out
}
