//! Pages, and their heads: what the writer signs. A head travels as a tip, a page as the answer to a call.

use sha2::{Digest as _, Sha256};
use weir::{Bytes, Keypair, Malformed, Message, Method, PublicKey, SlotKey, Tip, TipValue};

use super::note::Note;

/// The newest page's head.
pub const HEAD: Tip<Head> = Tip::new(2, "notebook/head");
/// The page with this number; the first is 1.
pub const PAGE: Method<u64, Page> = Method::new(3, "notebook/page").max_response(PAGE_MAX);
/// Bytes of a page, at most.
const PAGE_MAX: u32 = 128 * 1024;
/// Notes on a page, at most, so that they fit.
pub const NOTES_MAX: usize = 100;

/// Bytes of a head: number, two hashes, signature.
const HEAD_LEN: usize = 8 + 32 + 32 + 64;

/// What the writer says of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The page's number.
    pub number: u64,
    /// The hash of the head before it; zeros for the first.
    pub before: [u8; 32],
    /// The hash of its notes.
    notes: [u8; 32],
    signature: [u8; 64],
}

/// A page: its head, and the notes on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// What the writer signed.
    pub head: Head,
    /// In the order of their urgency.
    pub notes: Vec<Note>,
}

impl Head {
    /// The hash of all of it.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.encode()).into()
    }

    /// Whether the writer signed it.
    pub fn is_by(&self, writer: &PublicKey) -> bool {
        let signed = self.encode().slice(..HEAD_LEN - 64);
        writer.verify(&signed, &self.signature).is_ok()
    }
}

impl Page {
    /// Writes and signs the page behind `last`. The key is an Ed25519 key, whose signatures have 64 bytes.
    pub fn write(last: Option<&Head>, notes: Vec<Note>, key: &Keypair) -> Self {
        let (number, before) = last.map_or((1, [0; 32]), |last| (last.number + 1, last.hash()));
        let mut head = Head { number, before, notes: digest(&notes), signature: [0; 64] };
        let signature = key.sign(&head.encode().slice(..HEAD_LEN - 64));
        head.signature = signature.try_into().unwrap_or([0; 64]);
        Self { head, notes }
    }

    /// Whether the writer signed it, with these notes.
    pub fn is_by(&self, writer: &PublicKey) -> bool {
        self.head.notes == digest(&self.notes) && self.head.is_by(writer)
    }
}

fn digest(notes: &[Note]) -> [u8; 32] {
    Sha256::digest(encode(notes)).into()
}

/// Each note behind its length.
fn encode(notes: &[Note]) -> Vec<u8> {
    let mut out = Vec::new();
    for note in notes.iter().map(Message::encode) {
        out.extend_from_slice(&(note.len() as u64).to_be_bytes());
        out.extend_from_slice(&note);
    }
    out
}

impl Message for Head {
    fn encode(&self) -> Bytes {
        [&self.number.to_be_bytes()[..], &self.before, &self.notes, &self.signature].concat().into()
    }

    fn decode(bytes: Bytes) -> Result<Self, Malformed> {
        let short = Malformed::new("a head has 136 bytes");
        let (number, rest) = bytes.split_first_chunk().ok_or(short.clone())?;
        let (before, rest) = rest.split_first_chunk().ok_or(short.clone())?;
        let (notes, rest) = rest.split_first_chunk().ok_or(short.clone())?;
        let signature = rest.try_into().map_err(|_| short)?;
        Ok(Self { number: u64::from_be_bytes(*number), before: *before, notes: *notes, signature })
    }
}

impl TipValue for Head {
    /// There is one head of a number. Two would prove that the writer signed two.
    fn slot(&self) -> SlotKey {
        SlotKey::of(&[&self.number.to_be_bytes()])
    }
}

impl Message for Page {
    fn encode(&self) -> Bytes {
        [&self.head.encode()[..], &encode(&self.notes)].concat().into()
    }

    /// What comes from a peer may be anything: each length is checked before anything is taken.
    fn decode(mut bytes: Bytes) -> Result<Self, Malformed> {
        if bytes.len() < HEAD_LEN {
            return Err(Malformed::new("a page begins with its head"));
        }
        let head = Head::decode(bytes.split_to(HEAD_LEN))?;
        let mut notes = Vec::new();
        while let Some((len, _)) = bytes.split_first_chunk() {
            let len = usize::try_from(u64::from_be_bytes(*len)).unwrap_or(usize::MAX);
            if len > bytes.len() - 8 || notes.len() == NOTES_MAX {
                return Err(Malformed::new("a note is cut, or there are too many"));
            }
            let _ = bytes.split_to(8);
            notes.push(Note::decode(bytes.split_to(len))?);
        }
        if bytes.is_empty() { Ok(Self { head, notes }) } else { Err(Malformed::new("bytes are left over")) }
    }
}
