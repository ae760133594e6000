//! The message.
//!
//! ```text
//! message Identify {
//!   bytes publicKey = 1; repeated bytes listenAddrs = 2; repeated string protocols = 3; bytes observedAddr = 4;
//!   string protocolVersion = 5; string agentVersion = 6; bytes signedPeerRecord = 8;
//! }
//! ```

use weir_base::codec::Malformed;
use weir_base::codec::proto::{Fields, Value, put_bytes_field};
use weir_base::identity::{PUBLIC_KEY_MAX, PublicKeyError};
use weir_base::multiaddr::{self, DecodeMultiaddrError};
use weir_base::{KIB, Multiaddr, PublicKey};

use crate::multistream;
use crate::record::{ENVELOPE_MAX, PeerRecord, RecordError};

/// Bytes of one message that is taken. go-libp2p takes as many.
pub const MESSAGE_MAX: usize = 8 * KIB;
/// Bytes of one message that is sent. rust-libp2p takes no more.
pub const SENT_MAX: usize = 4 * KIB;
/// Messages on one stream, both ways: as many as go-libp2p takes.
pub const MESSAGES_MAX: usize = 10;
/// Protocols in a message, and of all messages of a stream. go-libp2p takes as many.
pub const PROTOCOLS_MAX: usize = 1_024;
/// Addresses in a message, those skipped included. go-libp2p takes as many.
pub const ADDRESSES_MAX: usize = 500;
/// Bytes of a version: a longer one is cut.
pub const TEXT_MAX: usize = 256;

/// Bytes before the bytes of a field: its number and, of at most two bytes, its length.
const FIELD_HEAD: usize = 3;

/// Numbers of the fields.
mod field {
    pub(super) const KEY: u32 = 1;
    pub(super) const ADDRESSES: u32 = 2;
    pub(super) const PROTOCOLS: u32 = 3;
    pub(super) const OBSERVED: u32 = 4;
    pub(super) const PROTOCOL_VERSION: u32 = 5;
    pub(super) const AGENT: u32 = 6;
    pub(super) const RECORD: u32 = 8;
}

/// What a peer says about itself. A field that the message left out is empty or `None` here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Info {
    /// Its host key.
    pub key: Option<PublicKey>,
    /// The name and version of its program, as it says: at most [`TEXT_MAX`] bytes, not to be trusted, nor printed as it is.
    pub agent: Option<String>,
    /// The family of protocols that it speaks, likewise.
    pub protocol_version: Option<String>,
    /// The protocols on which it takes streams: at most [`PROTOCOLS_MAX`].
    pub protocols: Vec<String>,
    /// Where it listens: at most [`ADDRESSES_MAX`]. Not signed.
    pub addresses: Vec<Multiaddr>,
    /// Where it sees the reader.
    pub observed: Option<Multiaddr>,
    /// Its signed record, verified.
    pub record: Option<PeerRecord>,
}

/// Why a message is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Longer than [`MESSAGE_MAX`], not protobuf, a field twice or of the wrong type, or too many entries.
    #[error("identify: {0}")]
    Malformed(#[from] Malformed),
    /// A public key that is none, or of a kind that Weir does not take.
    #[error("identify: {0}")]
    Key(#[from] PublicKeyError),
    /// An address that is damaged, not merely of a kind that Weir does not know.
    #[error("identify: {0}")]
    Address(DecodeMultiaddrError),
    /// The record does not verify.
    #[error("identify: {0}")]
    Record(#[from] RecordError),
}

impl Info {
    /// Adds what a further message on the same stream says, as go-libp2p splits what is long.
    pub(super) fn append(&mut self, further: Self) -> Result<(), Malformed> {
        self.key = further.key.or(self.key.take());
        self.agent = further.agent.or(self.agent.take());
        self.protocol_version = further.protocol_version.or(self.protocol_version.take());
        self.observed = further.observed.or(self.observed.take());
        self.record = further.record.or(self.record.take());
        self.protocols.extend(further.protocols);
        self.addresses.extend(further.addresses);
        let many = self.protocols.len() > PROTOCOLS_MAX || self.addresses.len() > ADDRESSES_MAX;
        if many { Err(Malformed::TooLarge) } else { Ok(()) }
    }
}

/// Encodes what is said as messages, without their lengths: one where all fits into [`SENT_MAX`] bytes, else at most [`MESSAGES_MAX`], whose
/// lists are to be joined. `record`: a sealed peer record. What is too long for one message is left out, and so are protocols and addresses
/// behind the last message.
pub fn encode(info: &Info, record: Option<&[u8]>) -> Vec<Vec<u8>> {
    let mut messages = vec![Vec::new()];
    let mut put = |number, bytes: &[u8]| {
        let len = bytes.len() + FIELD_HEAD;
        let fits = |message: &Vec<u8>| message.len() + len <= SENT_MAX;
        if !messages.last().is_some_and(fits) {
            if len > SENT_MAX || messages.len() == MESSAGES_MAX {
                return;
            }
            messages.push(Vec::new());
        }
        if let Some(message) = messages.last_mut() {
            put_bytes_field(message, number, bytes);
        }
    };
    if let Some(key) = &info.key {
        put(field::KEY, &key.to_protobuf());
    }
    let texts = [(field::PROTOCOL_VERSION, &info.protocol_version), (field::AGENT, &info.agent)];
    for (number, text) in texts {
        text.iter().for_each(|text| put(number, cut(text).as_bytes()));
    }
    info.observed.iter().for_each(|address| put(field::OBSERVED, &address.to_bytes()));
    record.into_iter().for_each(|record| put(field::RECORD, record));
    for protocol in info.protocols.iter().take(PROTOCOLS_MAX) {
        put(field::PROTOCOLS, protocol.as_bytes());
    }
    for address in info.addresses.iter().take(ADDRESSES_MAX) {
        put(field::ADDRESSES, &address.to_bytes());
    }
    messages
}

/// Decodes a message, without its length. Addresses of a kind that Weir does not know and names that are not text are skipped, and
/// so are unknown fields; all are counted. Whether key and record are the peer's own is for the caller to check.
///
/// # Errors
/// [`DecodeError`], the first defect found.
pub fn decode(bytes: &[u8]) -> Result<Info, DecodeError> {
    if bytes.len() > MESSAGE_MAX {
        return Err(Malformed::TooLarge.into());
    }
    let parts = Parts::split(bytes)?;
    let text = |value: Option<&[u8]>| value.map(|bytes| cut(&String::from_utf8_lossy(bytes)).to_owned());
    let name = |bytes: &&[u8]| std::str::from_utf8(bytes).ok().map(str::to_owned);
    let mut addresses = Vec::new();
    for bytes in parts.addresses {
        addresses.extend(address(bytes)?);
    }
    Ok(Info {
        key: parts.key.map(PublicKey::from_protobuf).transpose()?,
        agent: text(parts.agent),
        protocol_version: text(parts.protocol_version),
        protocols: parts.protocols.iter().filter_map(name).collect(),
        addresses,
        observed: parts.observed.map(address).transpose()?.flatten(),
        record: parts.record.map(PeerRecord::open).transpose()?,
    })
}

/// The fields, borrowed.
#[derive(Default)]
struct Parts<'a> {
    key: Option<&'a [u8]>,
    addresses: Vec<&'a [u8]>, // <= ADDRESSES_MAX
    protocols: Vec<&'a [u8]>, // <= PROTOCOLS_MAX
    observed: Option<&'a [u8]>,
    protocol_version: Option<&'a [u8]>,
    agent: Option<&'a [u8]>,
    record: Option<&'a [u8]>,
}

impl<'a> Parts<'a> {
    fn split(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut parts = Self::default();
        let mut fields = Fields::new(message);
        while let Some((number, value)) = fields.next()? {
            let (slot, max) = match number {
                field::ADDRESSES => {
                    entry(&mut parts.addresses, ADDRESSES_MAX, value, multiaddr::MAX_BYTES)?;
                    continue;
                }
                field::PROTOCOLS => {
                    entry(&mut parts.protocols, PROTOCOLS_MAX, value, multistream::TOKEN_MAX - 1)?;
                    continue;
                }
                field::KEY => (&mut parts.key, PUBLIC_KEY_MAX),
                field::OBSERVED => (&mut parts.observed, multiaddr::MAX_BYTES),
                field::PROTOCOL_VERSION => (&mut parts.protocol_version, MESSAGE_MAX),
                field::AGENT => (&mut parts.agent, MESSAGE_MAX),
                field::RECORD => (&mut parts.record, ENVELOPE_MAX),
                _ => continue,
            };
            if slot.replace(value.bytes(max)?).is_some() {
                return Err(Malformed::Value);
            }
        }
        Ok(parts)
    }
}

/// One more of a list.
fn entry<'a>(list: &mut Vec<&'a [u8]>, most: usize, value: Value<'a>, max: usize) -> Result<(), Malformed> {
    if list.len() == most {
        return Err(Malformed::TooLarge);
    }
    list.push(value.bytes(max)?);
    Ok(())
}

/// `None` where it is of a kind that Weir does not know, or empty.
fn address(bytes: &[u8]) -> Result<Option<Multiaddr>, DecodeError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    match Multiaddr::from_bytes(bytes) {
        Ok(address) => Ok(Some(address)),
        Err(
            DecodeMultiaddrError::Unknown(_)
            | DecodeMultiaddrError::Unsupported(_)
            | DecodeMultiaddrError::DraftQuic
            | DecodeMultiaddrError::TooMany,
        ) => Ok(None),
        Err(error) => Err(DecodeError::Address(error)),
    }
}

/// At most [`TEXT_MAX`] bytes of a text.
fn cut(text: &str) -> &str {
    let end = (0..=text.len().min(TEXT_MAX)).rev().find(|at| text.is_char_boundary(*at));
    end.and_then(|end| text.get(..end)).unwrap_or_default()
}
