//! The bytes of control's messages (`docs/spec/control.md`).

use crate::ShortKey;
use crate::channel::ChannelId;
use bytes::{BufMut, Bytes, BytesMut};
use weir_base::NetworkId;
use weir_base::codec::{Malformed, Reader, put_prefixed, put_varint};
use weir_base::stream::Goodbye;

use crate::keys::NumberedKey;

use super::hello::{MAX_AGENT, MAX_CHANNELS, MAX_NAME, MAX_SERVICE_PAYLOAD, MAX_SERVICES, Service, is_name};

/// The largest control message, in bytes.
pub const MAX_MESSAGE: usize = 8192;
/// The largest extension of a hello, in bytes.
pub const MAX_EXTENSION: usize = 1024;
/// The smallest limit on streams that a hello may state: what may be opened before it.
pub const MIN_STREAMS: u32 = 32;

/// Type of a [`Hello`].
pub const HELLO: u64 = 0;
/// Type of [`Control::Ping`].
pub const PING: u64 = 2;
/// Type of [`Control::Pong`].
pub const PONG: u64 = 4;
/// Type of [`Control::Services`].
pub const SERVICES: u64 = 6;
/// Type of [`Control::ShortKey`].
pub const SHORT_KEY: u64 = 8;
/// Type of [`Control::Goodbye`].
pub const GOODBYE: u64 = 10;

/// Why a hello is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    /// It does not follow its layout.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// An extension that must be understood is not known here.
    #[error("an extension that must be understood is not known")]
    Incompatible,
}

/// What stands first in a hello, in every version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preamble {
    /// The oldest version of the protocol the sender speaks.
    pub oldest: u16,
    /// The newest.
    pub newest: u16,
    /// Its network.
    pub network: NetworkId,
}

/// A channel as a hello states it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelOffer {
    /// 1 to 16,383.
    pub id: ChannelId,
    /// Its name.
    pub name: String,
    /// The oldest version of the channel's messages that the sender speaks.
    pub oldest: u16,
    /// The newest.
    pub newest: u16,
    /// The number of its shape.
    pub shape: u8,
    /// In bytes; 0 where the shape has none.
    pub max_request: u32,
    /// In bytes; 0 where the shape has none.
    pub max_answer: u32,
    /// Calls under way; 0 where the shape has none.
    pub at_once: u32,
}

/// A whole hello of version 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Versions and network.
    pub preamble: Preamble,
    /// A bit each.
    pub features: u64,
    /// Name and version of the program.
    pub agent: String,
    /// What the sender can do for others, ids ascending.
    pub services: Vec<Service>,
    /// Streams its receiver may have open at once.
    pub max_streams: u32,
    /// For short ids.
    pub key: NumberedKey,
    /// Ids ascending.
    pub channels: Vec<ChannelOffer>,
}

/// A control message other than hello.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// To be answered with its nonce.
    Ping([u8; 8]),
    /// The nonce of a ping.
    Pong([u8; 8]),
    /// All services of the sender.
    Services(Vec<Service>),
    /// The sender's new key for short ids.
    ShortKey(NumberedKey),
    /// The last message.
    Goodbye(Goodbye),
    /// A type that need not be understood.
    Skipped,
    /// A type that must be understood, and is not known.
    Unknown,
}

impl Preamble {
    /// Reads it off the front of a hello.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (oldest, newest) = (u16_of(reader)?, u16_of(reader)?);
        if oldest > newest {
            return Err(Malformed::Value);
        }
        Ok(Self { oldest, newest, network: NetworkId(reader.array()?) })
    }

    /// The highest version that both speak.
    pub fn common(&self, other: &Self) -> Option<u16> {
        let version = self.newest.min(other.newest);
        (version >= self.oldest.max(other.oldest)).then_some(version)
    }
}

impl Hello {
    /// Appends the fields.
    pub fn encode(&self, out: &mut BytesMut) {
        put_varint(out, u64::from(self.preamble.oldest));
        put_varint(out, u64::from(self.preamble.newest));
        out.put_slice(&self.preamble.network.0);
        put_varint(out, self.features);
        put_prefixed(out, self.agent.as_bytes());
        put_services(out, &self.services);
        put_varint(out, u64::from(self.max_streams));
        put_key(out, &self.key);
        put_varint(out, self.channels.len() as u64);
        for channel in &self.channels {
            put_varint(out, u64::from(channel.id.0));
            put_prefixed(out, channel.name.as_bytes());
            put_varint(out, u64::from(channel.oldest));
            put_varint(out, u64::from(channel.newest));
            out.put_u8(channel.shape);
            for limit in [channel.max_request, channel.max_answer, channel.at_once] {
                put_varint(out, u64::from(limit));
            }
            put_prefixed(out, &[]); // no extensions
        }
    }

    /// Reads the fields. Payloads of services share `body`'s buffer no longer: they are copied.
    pub fn decode(body: &[u8]) -> Result<Self, HelloError> {
        let mut reader = Reader::new(body);
        let preamble = Preamble::decode(&mut reader)?;
        let features = reader.varint(u64::MAX)?;
        let agent = text(reader.prefixed(MAX_AGENT)?)?;
        let services = services(&mut reader)?;
        let max_streams = u32_of(&mut reader)?;
        if max_streams < MIN_STREAMS {
            return Err(Malformed::Value.into());
        }
        let key = key(&mut reader)?;
        let count = reader.count(MAX_CHANNELS)?;
        let mut channels: Vec<ChannelOffer> = Vec::with_capacity(count);
        let mut last = None;
        for _ in 0..count {
            let (channel, extensions) = channel(&mut reader)?;
            if last.is_some_and(|last| last >= channel.id) {
                return Err(Malformed::Value.into());
            }
            last = Some(channel.id);
            if extensions == Extensions::Skipped {
                channels.push(channel);
            }
        }
        if read_extensions(&mut reader)? == Extensions::Incompatible {
            return Err(HelloError::Incompatible);
        }
        Ok(Self { preamble, features, agent, services, max_streams, key, channels })
    }
}

impl Control {
    /// Reads a message of type `kind`. A second hello is [`Unknown`](Self::Unknown) to nobody: it is an error.
    pub fn decode(kind: u64, body: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let message = match kind {
            HELLO => return Err(Malformed::Value),
            PING => Self::Ping(reader.array()?),
            PONG => Self::Pong(reader.array()?),
            SERVICES => Self::Services(services(&mut reader)?),
            SHORT_KEY => Self::ShortKey(key(&mut reader)?),
            GOODBYE => Self::Goodbye(Goodbye::from_code(u16_of(&mut reader)?)),
            _ if crate::framing::Message::skippable(kind) => return Ok(Self::Skipped),
            _ => return Ok(Self::Unknown),
        };
        reader.finish()?;
        Ok(message)
    }

    /// The type and the fields; nothing for what is never sent.
    pub fn encode(&self) -> Option<(u64, BytesMut)> {
        let mut out = BytesMut::new();
        let kind = match self {
            Self::Ping(nonce) => {
                out.put_slice(nonce);
                PING
            }
            Self::Pong(nonce) => {
                out.put_slice(nonce);
                PONG
            }
            Self::Services(services) => {
                put_services(&mut out, services);
                SERVICES
            }
            Self::ShortKey(key) => {
                put_key(&mut out, key);
                SHORT_KEY
            }
            Self::Goodbye(reason) => {
                put_varint(&mut out, u64::from(reason.code()));
                GOODBYE
            }
            Self::Skipped | Self::Unknown => return None,
        };
        Some((kind, out))
    }
}

/// What a receiver of version 1 makes of extensions: it knows none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extensions {
    /// All are of odd types.
    Skipped,
    /// One must be understood.
    Incompatible,
}

/// Reads extensions up to the end.
fn read_extensions(reader: &mut Reader<'_>) -> Result<Extensions, Malformed> {
    let mut found = Extensions::Skipped;
    while !reader.is_empty() {
        let kind = reader.varint(u64::MAX)?;
        reader.prefixed(MAX_EXTENSION)?;
        if !crate::framing::Message::skippable(kind) {
            found = Extensions::Incompatible;
        }
    }
    Ok(found)
}

fn channel(reader: &mut Reader<'_>) -> Result<(ChannelOffer, Extensions), Malformed> {
    let id = ChannelId(u16_of(reader)?);
    if id == ChannelId::CONTROL || id > ChannelId::MAX {
        return Err(Malformed::Value);
    }
    let name = text(reader.prefixed(MAX_NAME)?)?;
    if !is_name(&name) {
        return Err(Malformed::Value);
    }
    let (oldest, newest, shape) = (u16_of(reader)?, u16_of(reader)?, reader.byte()?);
    if oldest > newest {
        return Err(Malformed::Value);
    }
    let (max_request, max_answer, at_once) = (u32_of(reader)?, u32_of(reader)?, u32_of(reader)?);
    let extensions = read_extensions(&mut Reader::new(reader.prefixed(MAX_EXTENSION)?))?;
    Ok((ChannelOffer { id, name, oldest, newest, shape, max_request, max_answer, at_once }, extensions))
}

fn put_services(out: &mut BytesMut, services: &[Service]) {
    put_varint(out, services.len() as u64);
    for service in services {
        put_varint(out, u64::from(service.id));
        put_varint(out, u64::from(service.version));
        put_prefixed(out, &service.payload);
    }
}

fn services(reader: &mut Reader<'_>) -> Result<Vec<Service>, Malformed> {
    let count = reader.count(MAX_SERVICES)?;
    let mut services: Vec<Service> = Vec::with_capacity(count);
    for _ in 0..count {
        let (id, version) = (u32_of(reader)?, u16_of(reader)?);
        if services.last().is_some_and(|last| last.id >= id) {
            return Err(Malformed::Value);
        }
        let payload = Bytes::copy_from_slice(reader.prefixed(MAX_SERVICE_PAYLOAD)?);
        services.push(Service { id, version, payload });
    }
    Ok(services)
}

fn put_key(out: &mut BytesMut, key: &NumberedKey) {
    put_varint(out, u64::from(key.number));
    out.put_slice(&key.key.0);
}

fn key(reader: &mut Reader<'_>) -> Result<NumberedKey, Malformed> {
    Ok(NumberedKey { number: u32_of(reader)?, key: ShortKey(reader.array()?) })
}

fn text(bytes: &[u8]) -> Result<String, Malformed> {
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| Malformed::Value)
}

fn u16_of(reader: &mut Reader<'_>) -> Result<u16, Malformed> {
    u16::try_from(reader.varint(u64::from(u16::MAX))?).map_err(|_| Malformed::TooLarge)
}

fn u32_of(reader: &mut Reader<'_>) -> Result<u32, Malformed> {
    u32::try_from(reader.varint(u64::from(u32::MAX))?).map_err(|_| Malformed::TooLarge)
}
