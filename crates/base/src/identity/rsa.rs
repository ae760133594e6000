//! RSA public keys: what some older peers hold. Verified only, never held.
//!
//! Threat: a larger modulus costs more to verify with, so its size is bounded before anything is computed. The data is read
//! as DER in its one form, so that a key has one encoding.

use std::sync::Arc;

use rsa::pkcs1v15::{Signature, VerifyingKey};
use rsa::signature::Verifier as _;
use sha2::Sha256;

/// Bits of the smallest modulus that Weir takes; smaller ones can be factored.
pub const RSA_BITS_MIN: usize = 2_048;
/// Bits of the largest modulus that Weir takes, as other libp2p implementations: verifying takes about a millisecond.
pub const RSA_BITS_MAX: usize = 8_192;

/// Bytes of the longest `SubjectPublicKeyInfo` of such a key: the modulus, an exponent of 33 bits, and what is around them.
pub(super) const SPKI_MAX: usize = RSA_BITS_MAX / 8 + 48;

/// `AlgorithmIdentifier { rsaEncryption, NULL }` (RFC 3279 §2.3.1).
const ALGORITHM: [u8; 15] =
    [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];

/// Tags of DER.
mod tag {
    pub(super) const INTEGER: u8 = 0x02;
    pub(super) const BIT_STRING: u8 = 0x03;
    pub(super) const SEQUENCE: u8 = 0x30;
}

/// A key and its one encoding.
#[derive(Clone)]
pub(super) struct RsaKey(Arc<Parts>);

struct Parts {
    verifier: VerifyingKey<Sha256>,
    spki: Vec<u8>, // <= SPKI_MAX
}

impl PartialEq for RsaKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.spki == other.0.spki
    }
}

impl Eq for RsaKey {}

/// Why data is no RSA key that Weir takes.
pub(super) enum Refused {
    /// Not DER, or not in its one form.
    Encoding,
    /// So many bits, outside the limits.
    Bits(usize),
    /// An even modulus, or an exponent that is even, 1 or above 33 bits.
    Numbers,
}

impl RsaKey {
    pub(super) fn from_spki(spki: &[u8]) -> Result<Self, Refused> {
        let (modulus, exponent) = numbers(spki).ok_or(Refused::Encoding)?;
        let bits = modulus.len() * 8 - modulus.first().map_or(0, |first| first.leading_zeros() as usize);
        if !(RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits) {
            return Err(Refused::Bits(bits));
        }
        let number = |bytes| rsa::BoxedUint::from_be_slice_vartime(bytes);
        let key = rsa::PublicKey::new_with_size_limits(
            number(modulus),
            number(exponent),
            RSA_BITS_MIN..=RSA_BITS_MAX,
        )
        .map_err(|_| Refused::Numbers)?;
        Ok(Self(Arc::new(Parts { verifier: VerifyingKey::new(key), spki: spki.to_vec() })))
    }

    pub(super) fn spki(&self) -> &[u8] {
        &self.0.spki
    }

    /// PKCS #1 v1.5 with SHA-256.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        Signature::try_from(signature)
            .is_ok_and(|signature| self.0.verifier.verify(message, &signature).is_ok())
    }
}

/// Modulus and exponent of a `SubjectPublicKeyInfo`, without leading zeroes; `None` where it is not DER. An exponent has at
/// most five bytes.
fn numbers(spki: &[u8]) -> Option<(&[u8], &[u8])> {
    let (info, []) = value(spki, tag::SEQUENCE)? else { return None };
    let (bits, []) = value(info.strip_prefix(&ALGORITHM)?, tag::BIT_STRING)? else { return None };
    let [0, key @ ..] = bits else { return None };
    let (numbers, []) = value(key, tag::SEQUENCE)? else { return None };
    let (modulus, rest) = value(numbers, tag::INTEGER)?;
    let (exponent, []) = value(rest, tag::INTEGER)? else { return None };
    let exponent = positive(exponent).filter(|exponent| exponent.len() <= 5)?;
    Some((positive(modulus)?, exponent))
}

/// The value of the element in front, and what comes after it. Lengths in their shortest form, below 65,536.
fn value(input: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (len, rest) = match input.strip_prefix(&[tag])? {
        [len @ 0..=0x7f, rest @ ..] | [0x81, len @ 0x80..=0xff, rest @ ..] => (usize::from(*len), rest),
        [0x82, high @ 1..=0xff, low, rest @ ..] => (usize::from(u16::from_be_bytes([*high, *low])), rest),
        _ => return None,
    };
    rest.split_at_checked(len)
}

/// The magnitude of a positive DER integer.
fn positive(integer: &[u8]) -> Option<&[u8]> {
    match integer {
        [1..=0x7f, ..] => Some(integer),
        [0, magnitude @ ..] if matches!(magnitude, [0x80..=0xff, ..]) => Some(magnitude),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
