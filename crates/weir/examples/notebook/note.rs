//! A note: what anybody hands in. It travels in a pool.

use sha2::{Digest as _, Sha256};
use weir::{Bytes, ItemId, Malformed, Message, Pool, PoolItem, Summary};

/// Notes that are on no page yet.
pub const NOTES: Pool<Note> = Pool::new(1, "notebook/note").max_item(1024);

/// A text, and how urgent it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Higher ones are fetched, kept and written first.
    pub urgency: u8,
    /// What it says.
    pub text: String,
}

impl Note {
    /// Its name in the pool: the hash of its bytes.
    pub fn id(&self) -> ItemId {
        ItemId(Sha256::digest(self.encode()).into())
    }
}

impl Message for Note {
    fn encode(&self) -> Bytes {
        [&[self.urgency], self.text.as_bytes()].concat().into()
    }

    fn decode(bytes: Bytes) -> Result<Self, Malformed> {
        let (urgency, text) = bytes.split_first().ok_or(Malformed::new("a note begins with its urgency"))?;
        let text = str::from_utf8(text).map_err(|error| Malformed::because("not UTF-8", error))?;
        Ok(Self { urgency: *urgency, text: text.to_owned() })
    }
}

impl PoolItem for Note {
    /// What peers hear of a note before they ask for it.
    fn summary(&self) -> Summary {
        Summary::new(&[self.urgency]).unwrap_or_default()
    }

    /// What a node makes of that: `None` would be a note that it does not want.
    fn priority(summary: &Summary) -> Option<u64> {
        summary.as_slice().first().map(|urgency| u64::from(*urgency))
    }
}
