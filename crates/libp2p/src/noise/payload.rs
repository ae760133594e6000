//! The payload of the second and third message.
//!
//! ```text
//! message NoiseExtensions { repeated bytes webtransport_certhashes = 1; repeated string stream_muxers = 2; }
//! message NoiseHandshakePayload { bytes identity_key = 1; bytes identity_sig = 2; NoiseExtensions extensions = 4; }
//! ```

use weir_base::codec::Malformed;
use weir_base::codec::proto::{Fields, put_bytes_field};
use weir_base::identity::{PUBLIC_KEY_MAX, SIGNATURE_MAX};

use crate::multistream::Names;

/// Muxers in a list, and certificate hashes, which are only counted.
const ENTRIES_MAX: usize = 16;
/// Bytes of a muxer's name.
const MUXER_MAX: usize = 128;
/// Bytes of the extensions.
const EXTENSIONS_MAX: usize = ENTRIES_MAX * (MUXER_MAX + 4);

/// Numbers of the fields.
mod field {
    pub(super) const KEY: u32 = 1;
    pub(super) const SIGNATURE: u32 = 2;
    pub(super) const EXTENSIONS: u32 = 4;
    pub(super) const CERTIFICATE_HASHES: u32 = 1;
    pub(super) const MUXERS: u32 = 2;
}

/// A payload, borrowed from its message.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Payload<'a> {
    pub(super) key: &'a [u8],
    pub(super) signature: &'a [u8],
    pub(super) muxers: Vec<&'a [u8]>, // <= ENTRIES_MAX
}

impl<'a> Payload<'a> {
    pub(super) fn decode(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (mut key, mut signature, mut extensions) = (None, None, None);
        let mut fields = Fields::new(bytes);
        while let Some((number, value)) = fields.next()? {
            let (slot, max) = match number {
                field::KEY => (&mut key, PUBLIC_KEY_MAX),
                field::SIGNATURE => (&mut signature, SIGNATURE_MAX),
                field::EXTENSIONS => (&mut extensions, EXTENSIONS_MAX),
                _ => continue,
            };
            if slot.replace(value.bytes(max)?).is_some() {
                return Err(Malformed::Value);
            }
        }
        let muxers = muxers(extensions.unwrap_or_default())?;
        Ok(Self { key: key.unwrap_or_default(), signature: signature.unwrap_or_default(), muxers })
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut extensions = Vec::new();
        self.muxers.iter().for_each(|name| put_bytes_field(&mut extensions, field::MUXERS, name));
        let mut out = Vec::new();
        put_bytes_field(&mut out, field::KEY, self.key);
        put_bytes_field(&mut out, field::SIGNATURE, self.signature);
        if !extensions.is_empty() {
            put_bytes_field(&mut out, field::EXTENSIONS, &extensions);
        }
        out
    }
}

fn muxers(extensions: &[u8]) -> Result<Vec<&[u8]>, Malformed> {
    let mut muxers = Vec::new();
    let mut hashes = 0;
    let mut fields = Fields::new(extensions);
    while let Some((number, value)) = fields.next()? {
        match number {
            field::MUXERS if muxers.len() == ENTRIES_MAX => return Err(Malformed::TooLarge),
            field::MUXERS => muxers.push(value.bytes(MUXER_MAX)?),
            field::CERTIFICATE_HASHES if hashes == ENTRIES_MAX => return Err(Malformed::TooLarge),
            field::CERTIFICATE_HASHES => hashes += 1,
            _ => {}
        }
    }
    Ok(muxers)
}

/// As many of `names` as a list can hold.
pub(super) fn listed(names: &Names) -> Vec<&[u8]> {
    names.iter().map(str::as_bytes).filter(|name| name.len() <= MUXER_MAX).take(ENTRIES_MAX).collect()
}
