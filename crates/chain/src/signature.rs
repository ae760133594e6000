//! Ed25519 signatures, one by one or in batches, with one verdict for both.
//!
//! The equation is RFC 8032's with the cofactor, `8sB = 8R + 8kA` (section 5.1.7): only this form gives a batch the same
//! verdict as each of its members alone, so that nodes that batch differently still agree. `s` must be below the group's
//! order, `R` and `A` must have their one canonical encoding, and `A` must not be of small order.

use curve25519_dalek::constants::ED25519_BASEPOINT_POINT;
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::{IsIdentity as _, VartimeMultiscalarMul as _};
use sha2::{Digest as _, Sha512};

use crate::{AccountId, Hash};

/// Signatures checked by one equation, at most. More gain little, and one wrong among them costs more.
const BATCH: usize = 128;

/// A signature, and what it is said to sign.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim<'a> {
    /// Who signed.
    pub(crate) key: &'a AccountId,
    /// What kind of message it is.
    pub(crate) domain: &'static [u8],
    /// The chain it is for.
    pub(crate) network: &'a Hash,
    /// The signed bytes.
    pub(crate) message: &'a [u8],
    /// The signature.
    pub(crate) signature: &'a [u8; 64],
}

/// A claim, decoded: what the equation is made of.
struct Terms {
    key: EdwardsPoint,
    commitment: EdwardsPoint,
    response: Scalar,
    challenge: Scalar,
}

impl Terms {
    fn of(claim: &Claim<'_>) -> Option<Self> {
        let (commitment, response) = claim.signature.split_first_chunk::<32>()?;
        let response = Option::from(Scalar::from_canonical_bytes(response.try_into().ok()?))?;
        let key = point(&claim.key.0).filter(|key| !key.is_small_order())?;
        let hash = Sha512::new()
            .chain_update(commitment)
            .chain_update(claim.key.0)
            .chain_update(claim.domain)
            .chain_update(claim.network)
            .chain_update(claim.message)
            .finalize();
        let challenge = Scalar::from_bytes_mod_order_wide(&hash.into());
        Some(Self { key, commitment: point(commitment)?, response, challenge })
    }

    fn hold(&self) -> bool {
        let found =
            EdwardsPoint::vartime_double_scalar_mul_basepoint(&self.challenge, &-self.key, &self.response);
        (found - self.commitment).mul_by_cofactor().is_identity()
    }
}

/// The point with this canonical encoding: *y* below 2^255 − 19, and no sign where *x* is 0.
fn point(encoded: &[u8; 32]) -> Option<EdwardsPoint> {
    let mut y = *encoded;
    let [low, middle @ .., high] = &mut y;
    let negative = *high & 0x80 != 0;
    *high &= 0x7f;
    if *high == 0x7f && middle.iter().all(|byte| *byte == 0xff) && *low >= 0xed {
        return None;
    }
    let (is_one, is_minus_one) = match (*low, *high) {
        (1, 0) => (middle.iter().all(|byte| *byte == 0), false),
        (0xec, 0x7f) => (false, middle.iter().all(|byte| *byte == 0xff)),
        _ => (false, false),
    };
    if negative && (is_one || is_minus_one) {
        return None;
    }
    CompressedEdwardsY(*encoded).decompress()
}

/// Whether the signature is right.
pub(crate) fn verify(claim: &Claim<'_>) -> bool {
    Terms::of(claim).is_some_and(|terms| terms.hold())
}

/// Which signatures are right, in order: about twice as fast as one by one where all are.
pub(crate) fn verify_all(claims: &[Claim<'_>]) -> Vec<bool> {
    let mut verdicts = Vec::with_capacity(claims.len());
    for claims in claims.chunks(BATCH) {
        let decoded: Vec<Option<Terms>> = claims.iter().map(Terms::of).collect();
        let whole: Vec<&Terms> = decoded.iter().flatten().collect();
        let mut right = Vec::with_capacity(whole.len());
        judge(&whole, &mut right);
        let mut right = right.into_iter();
        verdicts.extend(decoded.iter().map(|terms| terms.is_some() && right.next().unwrap_or(false)));
    }
    verdicts
}

/// Appends a verdict for each: all at once where all are right, else by halves.
fn judge(terms: &[&Terms], verdicts: &mut Vec<bool>) {
    match terms {
        [] => {}
        [one] => verdicts.push(one.hold()),
        _ if all_hold(terms) => verdicts.extend(std::iter::repeat_n(true, terms.len())),
        _ => {
            let (left, right) = terms.split_at(terms.len() / 2);
            judge(left, verdicts);
            judge(right, verdicts);
        }
    }
}

/// Whether a random combination of the equations holds. The factors are a hash of everything signed, so nobody can choose
/// signatures after them; a wrong one passes with a chance of 2^-128.
fn all_hold(terms: &[&Terms]) -> bool {
    let mut seed = Sha512::new_with_prefix(b"weir-chain batch 1");
    for one in terms {
        seed.update(one.challenge.as_bytes()); // a hash of key, commitment and message
        seed.update(one.response.as_bytes());
    }
    let seed = seed.finalize();
    let factor = |index: usize| {
        let hash = Sha512::new().chain_update(seed).chain_update((index as u64).to_le_bytes()).finalize();
        let mut bytes = [0; 32];
        for (to, from) in bytes.iter_mut().zip(hash.iter().take(16)) {
            *to = *from;
        }
        Scalar::from_bytes_mod_order(bytes)
    };
    let factors: Vec<Scalar> = (0..terms.len()).map(factor).collect();
    let base: Scalar = terms.iter().zip(&factors).map(|(one, factor)| one.response * factor).sum();
    let keys = terms.iter().zip(&factors).map(|(one, factor)| (one.challenge * factor, one.key));
    let commitments = terms.iter().zip(&factors).map(|(one, factor)| (*factor, one.commitment));
    let (scalars, points): (Vec<_>, Vec<_>) =
        std::iter::once((-base, ED25519_BASEPOINT_POINT)).chain(keys).chain(commitments).unzip();
    EdwardsPoint::vartime_multiscalar_mul(scalars, points).mul_by_cofactor().is_identity()
}

#[cfg(test)]
mod tests {
    use curve25519_dalek::constants::EIGHT_TORSION;
    use ed25519_dalek::{Signer as _, SigningKey};

    use super::*;

    struct Signed {
        key: AccountId,
        message: Vec<u8>,
        signature: [u8; 64],
    }

    impl Signed {
        fn new(seed: u8) -> Self {
            let key = SigningKey::from_bytes(&[seed; 32]);
            let message = vec![seed; usize::from(seed)];
            let signature = key.sign(&[b"test", &[9; 32][..], &message].concat()).to_bytes();
            Self { key: AccountId::of(&key), message, signature }
        }

        fn claim(&self) -> Claim<'_> {
            let (domain, network) = (&b"test"[..], &[9; 32]);
            Claim { key: &self.key, domain, network, message: &self.message, signature: &self.signature }
        }
    }

    #[test]
    fn a_batch_finds_exactly_the_wrong_ones_wherever_they_are() {
        for wrong in [&[][..], &[0], &[199], &[3, 64, 65, 130], &[127, 128]] {
            let mut all: Vec<Signed> = (0..200).map(Signed::new).collect();
            for index in wrong {
                all[*index].signature[3] ^= 1;
            }
            let claims: Vec<_> = all.iter().map(Signed::claim).collect();
            let verdicts = verify_all(&claims);
            let expected: Vec<bool> = (0..200).map(|index| !wrong.contains(&index)).collect();
            assert_eq!(verdicts, expected);
            assert!(claims.iter().zip(expected).all(|(claim, right)| verify(claim) == right));
        }
    }

    #[test]
    fn a_commitment_with_a_part_of_small_order_has_one_verdict_alone_and_in_a_batch() {
        // s was made for R without the part; k is that of R with it. The equation with the cofactor does not see the part.
        let secret = Scalar::from(77_u64);
        let nonce = Scalar::from(1234_u64);
        let key = AccountId((ED25519_BASEPOINT_POINT * secret).compress().to_bytes());
        for torsion in EIGHT_TORSION {
            let commitment = (ED25519_BASEPOINT_POINT * nonce + torsion).compress().to_bytes();
            let hash = Sha512::new().chain_update(commitment).chain_update(key.0).chain_update(b"test");
            let hash = hash.chain_update([9; 32]).chain_update([5; 4]).finalize();
            let challenge = Scalar::from_bytes_mod_order_wide(&hash.into());
            let response = (nonce + challenge * secret).to_bytes();
            let signature: [u8; 64] = [commitment, response].concat().try_into().unwrap();
            let odd = Signed { key, message: vec![5; 4], signature };
            let others: Vec<Signed> = (1..9).map(Signed::new).collect();
            let claims: Vec<_> = others.iter().chain([&odd]).map(Signed::claim).collect();
            assert!(verify(&odd.claim()) && verify_all(&claims).iter().all(|right| *right));
            let decoded: Vec<Terms> = claims.iter().map(|claim| Terms::of(claim).unwrap()).collect();
            let together: Vec<&Terms> = decoded.iter().collect();
            assert!(all_hold(&together), "the batch is not taken apart for it");
        }
    }

    #[test]
    fn keys_of_small_order_and_second_encodings_are_refused() {
        for torsion in EIGHT_TORSION {
            let mut signed = Signed::new(1);
            signed.key = AccountId(torsion.compress().to_bytes());
            // R = identity and s = 0 satisfy the equation for such a key
            signed.signature = [0; 64];
            signed.signature[0] = 1;
            assert!(!verify(&signed.claim()));
        }
        let one_as_p_plus_one = [&[0xee][..], &[0xff; 30], &[0x7f]].concat().try_into().unwrap();
        assert!(point(&one_as_p_plus_one).is_none());
        let mut minus_zero = [0; 32];
        (minus_zero[0], minus_zero[31]) = (1, 0x80);
        assert!(point(&minus_zero).is_none());
        let mut high = Signed::new(2);
        high.signature[63] |= 0xe0; // s is not below the order
        assert!(!verify(&high.claim()));
    }

    #[test]
    fn a_second_signature_of_the_same_message_made_by_adding_the_order_is_refused() {
        const ORDER: [u8; 32] = [
            0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
        ];
        let mut signed = Signed::new(3);
        assert!(verify(&signed.claim()));
        let mut carry = 0;
        for (byte, more) in signed.signature[32..].iter_mut().zip(ORDER) {
            let sum = u16::from(*byte) + u16::from(more) + carry;
            (*byte, carry) = (sum.to_le_bytes()[0], sum >> 8);
        }
        assert!(carry == 0 && !verify(&signed.claim()));
    }
}
