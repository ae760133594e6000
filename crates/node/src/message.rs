//! What a type of the application implements to travel.

use std::error::Error;
use std::sync::Arc;

use bytes::Bytes;
use weir_base::{UnixTime, codec};
use weir_pull::pool::Summary;
use weir_pull::tip::SlotKey;

/// A type that travels. Bounds are the channel's: what encodes to more is not sent, and `decode` never sees more than the
/// channel's largest message.
///
/// ```
/// # use weir_node as weir;
/// use weir::{Bytes, Malformed, Message};
///
/// struct Height(u64);
///
/// impl Message for Height {
///     fn encode(&self) -> Bytes {
///         Bytes::copy_from_slice(&self.0.to_be_bytes())
///     }
///     fn decode(bytes: Bytes) -> Result<Self, Malformed> {
///         let bytes = bytes.as_ref().try_into().map_err(|error| Malformed::because("a height has 8 bytes", error))?;
///         Ok(Self(u64::from_be_bytes(bytes)))
///     }
/// }
/// ```
pub trait Message: Sized + Send + 'static {
    /// The bytes on the wire. Equal values should give equal bytes: ids are hashes of them.
    fn encode(&self) -> Bytes;
    /// The value in `bytes`, all of them. Runs on the thread that takes the message; on the network thread only where
    /// [`PoolItem::summary_of`] calls it. A slice kept of `bytes` shares their memory.
    ///
    /// # Errors
    /// [`Malformed`] where the bytes are no such value, also where some are left over.
    fn decode(bytes: Bytes) -> Result<Self, Malformed>;
}

/// Bytes that are no such value. For items and tips this is the deliverer's fault (*invalid*).
#[derive(Clone, Debug, thiserror::Error)]
#[error("malformed: {what}")]
pub struct Malformed {
    what: &'static str,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl Malformed {
    /// With what is wrong.
    pub const fn new(what: &'static str) -> Self {
        Self { what, source: None }
    }

    /// With what is wrong, and what found it: the error of a parser or a codec.
    pub fn because(what: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { what, source: Some(Arc::from(source.into())) }
    }

    /// What is wrong.
    pub const fn what(&self) -> &'static str {
        self.what
    }
}

/// Equal where the same is wrong, whatever found it.
impl PartialEq for Malformed {
    fn eq(&self, other: &Self) -> bool {
        self.what == other.what
    }
}

impl Eq for Malformed {}

/// A type that travels in a [`Pool`](crate::Pool). Its id is the SHA-256 of all its encoded bytes ([`ItemId`]).
///
/// [`summary_of`](Self::summary_of) and [`priority`](Self::priority) run on the network thread, for each item received and
/// for each entry offered: keep them short, verify signatures later. One that panics there is
/// logged, and its item is dropped as malformed or as not wanted; the node goes on.
///
/// ```
/// use weir::{Bytes, Malformed, Message, PoolItem, Summary};
///
/// /// A fee, and a text.
/// struct Tx(u64, String);
///
/// impl Message for Tx {
///     fn encode(&self) -> Bytes {
///         [&self.0.to_be_bytes(), self.1.as_bytes()].concat().into()
///     }
///     fn decode(bytes: Bytes) -> Result<Self, Malformed> {
///         let (fee, text) = bytes.split_first_chunk().ok_or(Malformed::new("it begins with a fee"))?;
///         let text = str::from_utf8(text).map_err(|error| Malformed::because("not UTF-8", error))?;
///         Ok(Self(u64::from_be_bytes(*fee), text.to_owned()))
///     }
/// }
///
/// impl PoolItem for Tx {
///     /// Peers hear of the fee before they ask for the whole.
///     fn summary(&self) -> Summary {
///         Summary::new(&self.0.to_be_bytes()).unwrap_or_default()
///     }
///     /// Higher fees first; less than 10 is not wanted at all.
///     fn priority(summary: &Summary) -> Option<u64> {
///         let fee = summary.as_slice().try_into().map(u64::from_be_bytes).ok()?;
///         (fee >= 10).then_some(fee)
///     }
/// }
///
/// assert_eq!(Tx::priority(&Tx(30, String::new()).summary()), Some(30));
/// assert_eq!(Tx::priority(&Tx(5, String::new()).summary()), None);
/// ```
pub trait PoolItem: Message {
    /// What to tell peers with the id: the few bytes by which they decide whether they want the item at all, say a fee and a
    /// nonce; at most [`MAX_SUMMARY`](crate::MAX_SUMMARY) bytes. A function of the item alone. Empty by default.
    fn summary(&self) -> Summary {
        Summary::EMPTY
    }

    /// How much an item with this summary is wanted: higher is fetched first and evicted last; `None`: not at all. A refusal
    /// is remembered for the peer that offered it, never for the item. By default every item is wanted alike.
    fn priority(summary: &Summary) -> Option<u64> {
        let _ = summary;
        Some(0)
    }

    /// The summary of encoded bytes. By default the item is decoded for it; override it where it can be read from fewer
    /// bytes.
    ///
    /// # Errors
    /// [`Malformed`] where the bytes are no item: the deliverer's fault.
    fn summary_of(bytes: &Bytes) -> Result<Summary, Malformed> {
        Self::decode(bytes.clone()).map(|item| item.summary())
    }
}

/// A type that is a node's one current value in a [`Tip`](crate::Tip).
///
/// ```
/// use weir::{Bytes, Malformed, Message, SlotKey, TipValue};
///
/// /// The height of a chain's head.
/// struct Head(u64);
///
/// impl Message for Head {
///     fn encode(&self) -> Bytes {
///         self.0.encode()
///     }
///     fn decode(bytes: Bytes) -> Result<Self, Malformed> {
///         u64::decode(bytes).map(Self)
///     }
/// }
///
/// impl TipValue for Head {
///     /// One value a height. Where several nodes sign heads, the signer belongs to it, too.
///     fn slot(&self) -> SlotKey {
///         SlotKey::of(&[&self.0.to_be_bytes()])
///     }
/// }
/// # assert_ne!(Head(1).slot(), Head(2).slot());
/// ```
pub trait TipValue: Message {
    /// What only one value should exist for: signer and height, say. At most two values per key are relayed, the second as
    /// evidence of double signing.
    fn slot(&self) -> SlotKey;

    /// When its slot begins by wall clock, where slots have a time: it is relayed 500 ms before that at the earliest. `None`
    /// by default: at once.
    fn begins(&self) -> Option<UnixTime> {
        None
    }
}

/// The id of a pool's item: the SHA-256 of all its encoded bytes.
///
/// ```
/// use weir::ItemId;
///
/// let id = ItemId([0xab; 32]);
/// assert_eq!(id.to_string(), "ab".repeat(32)); // all of it
/// assert_eq!(format!("{id:?}"), "abababab"); // enough for a log
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemId(
    /// The hash.
    pub [u8; 32],
);

impl std::fmt::Display for ItemId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for ItemId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().take(4).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// As 64 hexadecimal digits.
impl serde::Serialize for ItemId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// From 64 hexadecimal digits.
impl<'de> serde::Deserialize<'de> for ItemId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes: Bytes = weir_pull::hex::deserialize(deserializer)?;
        let id = bytes.as_ref().try_into().map_err(|_| serde::de::Error::custom("an id has 32 bytes"))?;
        Ok(Self(id))
    }
}

impl Message for Bytes {
    fn encode(&self) -> Bytes {
        self.clone()
    }
    fn decode(bytes: Bytes) -> Result<Self, Malformed> {
        Ok(bytes)
    }
}

impl Message for Vec<u8> {
    fn encode(&self) -> Bytes {
        Bytes::copy_from_slice(self)
    }
    fn decode(bytes: Bytes) -> Result<Self, Malformed> {
        Ok(bytes.into())
    }
}

impl Message for String {
    fn encode(&self) -> Bytes {
        Bytes::copy_from_slice(self.as_bytes())
    }
    fn decode(bytes: Bytes) -> Result<Self, Malformed> {
        Self::from_utf8(bytes.into()).map_err(|error| Malformed::because("not UTF-8", error))
    }
}

impl Message for () {
    fn encode(&self) -> Bytes {
        Bytes::new()
    }
    fn decode(bytes: Bytes) -> Result<Self, Malformed> {
        if bytes.is_empty() { Ok(()) } else { Err(Malformed::new("nothing was expected")) }
    }
}

impl Message for u64 {
    /// Eight bytes, the most significant first.
    fn encode(&self) -> Bytes {
        Bytes::copy_from_slice(&self.to_be_bytes())
    }
    fn decode(bytes: Bytes) -> Result<Self, Malformed> {
        let bytes = bytes.as_ref().try_into().map_err(|_| Malformed::new("a number has 8 bytes"))?;
        Ok(Self::from_be_bytes(bytes))
    }
}

impl PoolItem for Bytes {}
impl PoolItem for Vec<u8> {}
impl PoolItem for String {}

impl From<codec::Malformed> for Malformed {
    fn from(error: codec::Malformed) -> Self {
        Self::because("not the bytes expected", error)
    }
}
