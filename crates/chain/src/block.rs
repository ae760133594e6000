//! Headers and blocks.

use bytes::{BufMut as _, Bytes, BytesMut};
use ed25519_dalek::{Signer as _, SigningKey};
use sha2::{Digest as _, Sha256};

use crate::codec::{self, Malformed};
use crate::signature::{self, Claim};
use crate::transfer::TRANSFER_MAX;
use crate::{AccountId, Hash, Transfer};

/// Bytes of an encoded header.
pub const HEADER_LEN: usize = 177;
/// Transfers in a block, at most.
pub const TRANSFERS_MAX: usize = 4_096;
/// Bytes of an encoded body, at most.
pub const BODY_MAX: usize = 1 << 20;
/// Bytes of an encoded block, at most.
pub const BLOCK_MAX: usize = HEADER_LEN + BODY_MAX;

const DOMAIN: &[u8] = b"weir-chain header 1";

/// What a header says, before it is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draft {
    /// One more than the parent's; the genesis has 0.
    pub height: u64,
    /// The parent's hash.
    pub parent: Hash,
    /// Unix milliseconds.
    pub time: u64,
    /// The state after this block.
    pub state_root: Hash,
    /// The transfers, by [`items_root`].
    pub items_root: Hash,
}

/// A signed header, kept with its hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// What it says.
    pub draft: Draft,
    signature: [u8; 64],
    hash: Hash,
}

impl Header {
    /// Signs `draft` for the chain with this network id.
    pub fn sign(draft: Draft, key: &SigningKey, network: &Hash) -> Self {
        let body = draft.encode();
        let signature = key.sign(&[DOMAIN, network, &body[..]].concat()).to_bytes();
        let hash = Sha256::new().chain_update(&body).chain_update(signature).finalize().into();
        Self { draft, signature, hash }
    }

    /// Reads a header; the signature is not checked yet.
    pub fn decode(encoded: &Bytes) -> Result<Self, Malformed> {
        let mut input = encoded.clone();
        let header = Self::read(&mut input)?;
        codec::finish(&input)?;
        Ok(header)
    }

    /// Whether `producer` signed it for the chain with this network id.
    pub fn verify(&self, producer: &AccountId, network: &Hash) -> bool {
        let (message, signature) = (&self.draft.encode()[..], &self.signature);
        signature::verify(&Claim { key: producer, domain: DOMAIN, network, message, signature })
    }

    /// The 177 bytes.
    pub fn encode(&self) -> Bytes {
        [&self.draft.encode()[..], &self.signature].concat().into()
    }

    /// The block's name.
    pub fn hash(&self) -> &Hash {
        &self.hash
    }

    fn read(input: &mut Bytes) -> Result<Self, Malformed> {
        let whole = input.clone();
        codec::version(input)?;
        let draft = Draft {
            height: codec::u64(input)?,
            parent: codec::array(input)?,
            time: codec::u64(input)?,
            state_root: codec::array(input)?,
            items_root: codec::array(input)?,
        };
        let signature = codec::array(input)?;
        let hash = Sha256::digest(whole.get(..HEADER_LEN).unwrap_or_default()).into(); // all of it was read
        Ok(Self { draft, signature, hash })
    }
}

impl Draft {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_LEN);
        out.put_u8(1);
        out.put_u64_le(self.height);
        out.put_slice(&self.parent);
        out.put_u64_le(self.time);
        out.put_slice(&self.state_root);
        out.put_slice(&self.items_root);
        out
    }
}

/// A block: header and transfers.
#[derive(Clone, Debug)]
pub struct Block {
    /// The signed header.
    pub header: Header,
    /// The transfers in execution order.
    pub transfers: Vec<Transfer>,
}

impl Block {
    /// Reads a block whose items are those its header names; signatures are not checked yet.
    pub fn decode(encoded: &Bytes) -> Result<Self, BlockError> {
        let mut input = encoded.clone();
        if input.len() > BLOCK_MAX {
            return Err(Malformed::TooLarge.into());
        }
        let header = Header::read(&mut input)?;
        let count = codec::count(&mut input, TRANSFERS_MAX)?;
        let mut transfers = Vec::with_capacity(count.min(input.len() / 160));
        for _ in 0..count {
            let len = codec::count(&mut input, TRANSFER_MAX)?;
            transfers.push(Transfer::decode(codec::take(&mut input, len)?)?);
        }
        codec::finish(&input)?;
        if items_root(&transfers) != header.draft.items_root {
            return Err(BlockError::ItemsRoot);
        }
        Ok(Self { header, transfers })
    }

    /// Header and body.
    pub fn encode(&self) -> Bytes {
        let len: usize = self.transfers.iter().map(|transfer| 4 + transfer.encoded().len()).sum();
        let mut out = BytesMut::with_capacity(HEADER_LEN + 4 + len);
        out.put_slice(&self.header.encode());
        out.put_u32_le(codec::len32(self.transfers.len()));
        for transfer in &self.transfers {
            out.put_u32_le(codec::len32(transfer.encoded().len()));
            out.put_slice(transfer.encoded());
        }
        out.freeze()
    }
}

/// A block whose header its producer signed and whose transfers their senders signed: made by [`Block::check`] alone.
#[derive(Clone, Debug)]
pub struct Checked(Block);

impl Checked {
    /// The block.
    pub fn block(&self) -> &Block {
        &self.0
    }
}

impl Block {
    /// Checks all signatures, those of the transfers in batches. Transfers that `known` names were checked before and are
    /// not checked again. `None` where a signature is wrong.
    pub fn check(
        self,
        producer: &AccountId,
        network: &Hash,
        known: impl Fn(&Hash) -> bool,
    ) -> Option<Checked> {
        let fresh = self.transfers.iter().filter(|transfer| !known(transfer.id()));
        let signed = self.header.verify(producer, network)
            && Transfer::verify_all(fresh, network).into_iter().all(|right| right);
        signed.then_some(Checked(self))
    }
}

/// Why bytes are no block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// The bytes do not have the form.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The transfers are not those that the header names.
    #[error("the transfers are not those that the header names")]
    ItemsRoot,
}

/// The commitment to a block's transfers: the hash of their number and ids.
pub fn items_root(transfers: &[Transfer]) -> Hash {
    let mut hash = Sha256::new();
    hash.update(codec::len32(transfers.len()).to_le_bytes());
    for transfer in transfers {
        hash.update(transfer.id());
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::PAYLOAD_MAX;

    fn block() -> (Block, AccountId) {
        let key = SigningKey::from_bytes(&[1; 32]);
        let transfers: Vec<_> = (0..3)
            .map(|nonce| Transfer::sign(&key, &[9; 32], nonce, (AccountId([2; 32]), 1), 1, b"x").unwrap())
            .collect();
        let draft = Draft {
            height: 1,
            parent: [9; 32],
            time: 5,
            state_root: [3; 32],
            items_root: items_root(&transfers),
        };
        (Block { header: Header::sign(draft, &key, &[9; 32]), transfers }, AccountId::of(&key))
    }

    #[test]
    fn a_block_reads_back_and_names_itself() {
        let (block, producer) = block();
        let encoded = block.encode();
        let read = Block::decode(&encoded).unwrap();
        assert_eq!(read.header, block.header);
        assert_eq!(read.encode(), encoded);
        assert_eq!(Header::decode(&encoded.slice(..HEADER_LEN)).unwrap().hash(), block.header.hash());
        assert!(read.header.verify(&producer, &[9; 32]) && !read.header.verify(&producer, &[8; 32]));
        assert!(!read.header.verify(&AccountId([2; 32]), &[9; 32]));
    }

    #[test]
    fn another_order_of_transfers_is_another_block() {
        let (mut block, _) = block();
        block.transfers.swap(0, 1);
        assert_eq!(Block::decode(&block.encode()).err(), Some(BlockError::ItemsRoot));
    }

    #[test]
    fn another_version_is_refused() {
        let mut bytes = block().0.encode().to_vec();
        bytes[0] = 2;
        assert_eq!(Block::decode(&bytes.into()).err(), Some(Malformed::Version.into()));
    }

    #[test]
    fn a_block_of_more_than_a_mebibyte_is_refused() {
        let key = SigningKey::from_bytes(&[1; 32]);
        let large = |nonce| {
            Transfer::sign(&key, &[9; 32], nonce, (AccountId([2; 32]), 1), 1, &[0; PAYLOAD_MAX]).unwrap()
        };
        let mut block = block().0;
        for (count, refused) in [(63, None), (64, Some(Malformed::TooLarge.into()))] {
            block.transfers = (0..count).map(large).collect();
            let draft = Draft { items_root: items_root(&block.transfers), ..block.header.draft };
            block.header = Header::sign(draft, &key, &[9; 32]);
            assert_eq!(Block::decode(&block.encode()).err(), refused, "{count} of 16 KiB");
        }
    }

    #[test]
    fn cut_blocks_and_false_counts_are_refused() {
        let encoded = block().0.encode();
        for len in 0..encoded.len() {
            let refused = Block::decode(&encoded.slice(..len)).err();
            assert_eq!(refused, Some(Malformed::Truncated.into()), "{len} bytes");
        }
        let mut many = encoded.to_vec();
        many[HEADER_LEN..HEADER_LEN + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(Block::decode(&many.into()).err(), Some(Malformed::TooLarge.into()));
    }
}
