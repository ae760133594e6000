//! Peer ids: the multihash of an encoded public key.

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE32_NOPAD, BASE32_NOPAD_NOCASE};
use sha2::{Digest as _, Sha256};

use super::PublicKey;

/// The longest peer id in bytes: an identity multihash of 42 bytes.
pub const PEER_ID_MAX: usize = 2 + INLINE_MAX;

/// The longest encoded public key that an id carries whole instead of its hash, in bytes.
const INLINE_MAX: usize = 42;

/// Multihash code "identity".
const IDENTITY: u8 = 0x00;
/// Multihash code "sha2-256".
const SHA2_256: u8 = 0x12;
/// Length of a SHA-256 digest.
const DIGEST: u8 = 32;

/// CID version 1, then the multicodec `libp2p-key`.
const CID_HEAD: [u8; 2] = [0x01, 0x72];

/// Characters of the longest text that can be a peer id: base32 of [`PEER_ID_MAX`] bytes with two before them, and the
/// multibase prefix. Base58 is shorter.
const TEXT_MAX: usize = 1 + ((PEER_ID_MAX + 2) * 8).div_ceil(5);

/// The id of a peer: the multihash of its encoded public key. `Copy`, and ordered by its bytes.
///
/// Displayed in base58 (`12D3Koo…`, `16Uiu2HA…`, `Qm…`); parsed from that and from a base32 CID (`bafz…`,
/// [`to_cid`](Self::to_cid)).
///
/// ```
/// # use weir_base as weir;
/// use weir::{Keypair, PeerId};
///
/// let peer = Keypair::ed25519_from_seed([1; 32]).peer_id();
/// assert_eq!(peer.to_string().parse::<PeerId>(), Ok(peer));
/// assert!("somebody".parse::<PeerId>().is_err());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId {
    bytes: [u8; PEER_ID_MAX], // zeroes after `len`, so that the derived order is that of the bytes
    len: u8,                  // <= PEER_ID_MAX
}

/// Why bytes are no peer id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerIdError {
    /// Another hash function than libp2p uses for ids, or no multihash at all.
    #[error("not an identity or sha2-256 multihash")]
    Code,
    /// The length inside does not match, or is not one that ids have.
    #[error("multihash length does not match a peer id")]
    Length,
}

/// Why a text is no peer id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParsePeerIdError {
    /// Empty, or longer than any id.
    #[error("{0} characters are no peer id; one has 46 to {TEXT_MAX}, such as 12D3Koo…")]
    TextLength(usize),
    /// Neither base58 that starts with `1` or `Qm`, nor base32 that starts with `b`.
    #[error("a peer id starts with 1 or Qm (base58), or with b (base32 CID)")]
    Form,
    /// A character outside the alphabet, or stray bits at the end.
    #[error("not valid {0}")]
    Alphabet(&'static str),
    /// A CID that is not version 1 with the codec `libp2p-key`.
    #[error("the CID is not one of a libp2p key (version 1, codec 0x72)")]
    Cid,
    /// The text decodes, but not to a peer id.
    #[error(transparent)]
    Bytes(#[from] PeerIdError),
}

impl PeerId {
    /// The id of the holder of `key`.
    pub fn from_public_key(key: &PublicKey) -> Self {
        let encoded = key.to_protobuf();
        match u8::try_from(encoded.len()) {
            Ok(len) if encoded.len() <= INLINE_MAX => Self::build(IDENTITY, len, &encoded),
            _ => Self::build(SHA2_256, DIGEST, &Sha256::digest(&encoded)),
        }
    }

    /// Decodes a binary multihash. The key inside an identity multihash is not examined: whoever claims the id has to show a
    /// key that derives it.
    ///
    /// # Errors
    /// [`PeerIdError`] for anything but an identity multihash of 1 to 42 bytes or a sha2-256 multihash.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PeerIdError> {
        let [code, len, digest @ ..] = bytes else {
            return Err(PeerIdError::Length);
        };
        if digest.len() != usize::from(*len) {
            return Err(PeerIdError::Length);
        }
        match *code {
            IDENTITY if (1..=INLINE_MAX).contains(&digest.len()) => {}
            SHA2_256 if *len == DIGEST => {}
            IDENTITY | SHA2_256 => return Err(PeerIdError::Length),
            _ => return Err(PeerIdError::Code),
        }
        Ok(Self::build(*code, *len, digest))
    }

    /// `digest` has `len` bytes, at most [`INLINE_MAX`].
    fn build(code: u8, len: u8, digest: &[u8]) -> Self {
        let mut bytes = [0; PEER_ID_MAX];
        for (slot, byte) in bytes.iter_mut().zip([code, len].iter().chain(digest)) {
            *slot = *byte;
        }
        Self { bytes, len: len.saturating_add(2) }
    }

    /// The binary multihash, at most [`PEER_ID_MAX`] bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// The id as a CIDv1 in base32 (`bafz…`), the other text form of libp2p: for names in which letters have no case.
    pub fn to_cid(&self) -> String {
        let cid = [CID_HEAD.as_slice(), self.as_bytes()].concat();
        let mut text = BASE32_NOPAD.encode(&cid);
        text.make_ascii_lowercase();
        format!("b{text}")
    }

    /// The key itself, where the id carries it and it is one that Weir takes.
    pub fn public_key(&self) -> Option<PublicKey> {
        match self.as_bytes() {
            [IDENTITY, _, key @ ..] => PublicKey::from_protobuf(key).ok(),
            _ => None,
        }
    }

    /// Whether `key` derives this id.
    pub fn is_of(&self, key: &PublicKey) -> bool {
        Self::from_public_key(key) == *self
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&bs58::encode(self.as_bytes()).into_string())
    }
}

impl fmt::Debug for PeerId {
    /// The last eight characters, enough to tell the peers of a log apart: the first ones are the same for all Ed25519 keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.to_string();
        let tail = text.get(text.len().saturating_sub(8)..).unwrap_or(&text);
        write!(f, "PeerId(…{tail})")
    }
}

impl FromStr for PeerId {
    type Err = ParsePeerIdError;

    fn from_str(text: &str) -> Result<Self, ParsePeerIdError> {
        if text.is_empty() || text.len() > TEXT_MAX {
            return Err(ParsePeerIdError::TextLength(text.len()));
        }
        if text.starts_with('1') || text.starts_with("Qm") {
            let mut buffer = [0; TEXT_MAX];
            let len =
                bs58::decode(text).onto(&mut buffer).map_err(|_| ParsePeerIdError::Alphabet("base58"))?;
            let bytes = buffer.get(..len).unwrap_or_default();
            return Ok(Self::from_bytes(bytes)?);
        }
        let digits = text.strip_prefix(['b', 'B']).ok_or(ParsePeerIdError::Form)?;
        let cid = BASE32_NOPAD_NOCASE.decode(digits.as_bytes());
        let cid = cid.map_err(|_| ParsePeerIdError::Alphabet("base32"))?;
        let bytes = cid.strip_prefix(&CID_HEAD).ok_or(ParsePeerIdError::Cid)?;
        Ok(Self::from_bytes(bytes)?)
    }
}

impl From<&PublicKey> for PeerId {
    fn from(key: &PublicKey) -> Self {
        Self::from_public_key(key)
    }
}

crate::units::serde_as_text!(PeerId);
