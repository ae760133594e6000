//! Signed transfers.

use bytes::{BufMut as _, Bytes, BytesMut};
use ed25519_dalek::{Signer as _, SigningKey};
use sha2::{Digest as _, Sha256};

use crate::codec::{self, Malformed};
use crate::signature::{self, Claim};
use crate::{Hash, hex};

/// Bytes of a payload, at most.
pub const PAYLOAD_MAX: usize = 16_384;
/// Bytes of an encoded transfer, at most.
pub const TRANSFER_MAX: usize = 1 + 32 + 8 + 32 + 8 + 8 + 4 + PAYLOAD_MAX + 64;

const DOMAIN: &[u8] = b"weir-chain transfer 1";

/// An account: an Ed25519 public key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(pub [u8; 32]);

impl AccountId {
    /// The account of a key.
    pub fn of(key: &SigningKey) -> Self {
        Self(key.verifying_key().to_bytes())
    }
}

impl std::fmt::Debug for AccountId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex(&self.0[..4]))
    }
}

/// A signed transfer, kept with its encoding and id: both are needed again and again.
#[derive(Clone, Debug)]
pub struct Transfer {
    /// Who pays and signs.
    pub from: AccountId,
    /// How many transfers the sender made before this one.
    pub nonce: u64,
    /// Who receives.
    pub to: AccountId,
    /// How much.
    pub amount: u64,
    /// What the producer gets.
    pub fee: u64,
    payload: Bytes,
    signature: [u8; 64],
    encoded: Bytes,
    id: Hash,
}

impl Transfer {
    /// Signs a transfer for the chain with this network id. `None` where the payload is over [`PAYLOAD_MAX`].
    pub fn sign(
        key: &SigningKey,
        network: &Hash,
        nonce: u64,
        (to, amount): (AccountId, u64),
        fee: u64,
        payload: &[u8],
    ) -> Option<Self> {
        let mut out = BytesMut::with_capacity(TRANSFER_MAX - PAYLOAD_MAX + payload.len());
        out.put_u8(1);
        out.put_slice(&key.verifying_key().to_bytes());
        out.put_u64_le(nonce);
        out.put_slice(&to.0);
        out.put_u64_le(amount);
        out.put_u64_le(fee);
        out.put_u32_le(codec::len32(payload.len()));
        out.put_slice(payload);
        let signature = key.sign(&message(network, &out)).to_bytes();
        out.put_slice(&signature);
        Self::decode(out.freeze()).ok()
    }

    /// Reads a transfer; the signature is not checked yet.
    pub fn decode(encoded: Bytes) -> Result<Self, Malformed> {
        let mut input = encoded.clone();
        codec::version(&mut input)?;
        let from = AccountId(codec::array(&mut input)?);
        let nonce = codec::u64(&mut input)?;
        let to = AccountId(codec::array(&mut input)?);
        let (amount, fee) = (codec::u64(&mut input)?, codec::u64(&mut input)?);
        let len = codec::count(&mut input, PAYLOAD_MAX)?;
        let payload = codec::take(&mut input, len)?;
        let signature = codec::array(&mut input)?;
        codec::finish(&input)?;
        let id = Sha256::digest(&encoded).into();
        Ok(Self { from, nonce, to, amount, fee, payload, signature, encoded, id })
    }

    /// The fee of an encoded transfer, without reading the rest; `None` where the bytes are too few.
    pub fn fee_of(encoded: &[u8]) -> Option<u64> {
        encoded.get(81..89).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes)
    }

    /// Whether the sender signed this for the chain with this network id. The rule is in `docs/spec/chain.md`, "Signatures".
    pub fn verify(&self, network: &Hash) -> bool {
        signature::verify(&self.claim(network))
    }

    /// As [`verify`](Self::verify) for many, in order: about twice as fast where all are signed.
    pub fn verify_all<'a>(transfers: impl IntoIterator<Item = &'a Self>, network: &Hash) -> Vec<bool> {
        let claims: Vec<_> = transfers.into_iter().map(|transfer| transfer.claim(network)).collect();
        signature::verify_all(&claims)
    }

    fn claim<'a>(&'a self, network: &'a Hash) -> Claim<'a> {
        let signed = self.encoded.len().saturating_sub(64);
        let message = self.encoded.get(..signed).unwrap_or_default();
        Claim { key: &self.from, domain: DOMAIN, network, message, signature: &self.signature }
    }

    /// What it takes from its sender, as far as a number can hold it.
    pub fn cost(&self) -> u64 {
        self.amount.saturating_add(self.fee)
    }

    /// SHA-256 of all encoded bytes.
    pub fn id(&self) -> &Hash {
        &self.id
    }

    /// The encoded bytes, shared.
    pub fn encoded(&self) -> &Bytes {
        &self.encoded
    }

    /// The free payload.
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }
}

fn message(network: &Hash, signed: &[u8]) -> Vec<u8> {
    [DOMAIN, network, signed].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transfer(payload: &[u8]) -> Transfer {
        let key = SigningKey::from_bytes(&[1; 32]);
        Transfer::sign(&key, &[9; 32], 3, (AccountId([2; 32]), 10), 77, payload).unwrap()
    }

    #[test]
    fn it_reads_back_and_any_changed_byte_breaks_the_signature_or_the_form() {
        let transfer = transfer(b"hello");
        assert!(transfer.verify(&[9; 32]) && !transfer.verify(&[8; 32]));
        assert_eq!(Transfer::fee_of(transfer.encoded()), Some(77));
        for index in 0..transfer.encoded().len() {
            let mut bytes = transfer.encoded().to_vec();
            bytes[index] ^= 1;
            let changed = Transfer::decode(bytes.into());
            assert!(changed.is_err() || !changed.unwrap().verify(&[9; 32]), "byte {index}");
        }
    }

    #[test]
    fn every_cut_and_every_extension_is_refused() {
        let encoded = transfer(b"payload").encoded().to_vec();
        for len in 0..encoded.len() {
            let refused = Transfer::decode(encoded[..len].to_vec().into()).err();
            assert_eq!(refused, Some(Malformed::Truncated), "{len} bytes");
        }
        assert_eq!(Transfer::decode([&encoded[..], &[0]].concat().into()).err(), Some(Malformed::Trailing));
    }

    #[test]
    fn another_version_is_refused() {
        for version in [0, 2, 255] {
            let mut bytes = transfer(b"").encoded().to_vec();
            bytes[0] = version;
            assert_eq!(Transfer::decode(bytes.into()).err(), Some(Malformed::Version));
        }
    }

    #[test]
    fn a_payload_over_the_limit_is_refused_before_its_bytes_are_looked_for() {
        let mut bytes = transfer(b"").encoded().to_vec();
        bytes[89..93].copy_from_slice(&16_385_u32.to_le_bytes());
        assert_eq!(Transfer::decode(bytes.into()).err(), Some(Malformed::TooLarge));
        let key = SigningKey::from_bytes(&[1; 32]);
        assert!(
            Transfer::sign(&key, &[9; 32], 0, (AccountId([2; 32]), 0), 0, &vec![0; PAYLOAD_MAX + 1])
                .is_none()
        );
    }
}
