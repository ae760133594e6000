//! The binary form: for each component its code as a varint, then its value. Names and peer ids have a varint length before
//! them, all other values a fixed length.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::protocol::{code, other_name};
use super::{DNS_NAME_MAX, DnsName, DnsNameError, MAX_BYTES, MAX_COMPONENTS, Multiaddr, Protocol};
use crate::codec::{Malformed, Reader, put_prefixed, put_varint, varint_len};
use crate::identity::{PEER_ID_MAX, PeerId, PeerIdError};

/// Why bytes are no address that Weir takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeMultiaddrError {
    /// No bytes.
    #[error("empty address")]
    Empty,
    /// Longer than [`MAX_BYTES`].
    #[error("address of {0} bytes; at most {MAX_BYTES} are taken")]
    TooLong(usize),
    /// More than [`MAX_COMPONENTS`].
    #[error("address of more than {MAX_COMPONENTS} components")]
    TooMany,
    /// A code, a length or a value is cut, too long, or not in its shortest form.
    #[error("address {0}")]
    Malformed(#[from] Malformed),
    /// A draft version of QUIC.
    #[error("/quic (draft) is not supported; use /quic-v1")]
    DraftQuic,
    /// A protocol of the multiaddr table that Weir cannot use.
    #[error("/{0} is not supported")]
    Unsupported(&'static str),
    /// A code that Weir has no name for.
    #[error("unknown protocol code {0}")]
    Unknown(u32),
    /// A component that should be a host name.
    #[error(transparent)]
    Dns(#[from] DnsNameError),
    /// A component that should be a peer id.
    #[error(transparent)]
    PeerId(#[from] PeerIdError),
}

impl Protocol {
    /// Length of the binary form in bytes.
    pub(super) fn encoded_len(&self) -> usize {
        let value = match self {
            Self::Ip4(_) => 4,
            Self::Ip6(_) => 16,
            Self::Dns(name) | Self::Dns4(name) | Self::Dns6(name) => prefixed(name.as_str().len()),
            Self::Tcp(_) | Self::Udp(_) => 2,
            Self::QuicV1 => 0,
            Self::P2p(peer) => prefixed(peer.as_bytes().len()),
            Self::Memory(_) => 8,
        };
        varint_len(self.code().into()) + value
    }
}

fn prefixed(len: usize) -> usize {
    varint_len(len as u64) + len
}

/// Appends the binary form of `protocol`.
pub(super) fn encode(protocol: &Protocol, out: &mut Vec<u8>) {
    put_varint(out, protocol.code().into());
    match protocol {
        Protocol::Ip4(ip) => out.extend_from_slice(&ip.octets()),
        Protocol::Ip6(ip) => out.extend_from_slice(&ip.octets()),
        Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name) => {
            put_prefixed(out, name.as_str().as_bytes());
        }
        Protocol::Tcp(port) | Protocol::Udp(port) => out.extend_from_slice(&port.to_be_bytes()),
        Protocol::QuicV1 => {}
        Protocol::P2p(peer) => put_prefixed(out, peer.as_bytes()),
        Protocol::Memory(endpoint) => out.extend_from_slice(&endpoint.to_be_bytes()),
    }
}

/// Decodes a whole address.
pub(super) fn decode(bytes: &[u8]) -> Result<Multiaddr, DecodeMultiaddrError> {
    if bytes.len() > MAX_BYTES {
        return Err(DecodeMultiaddrError::TooLong(bytes.len()));
    }
    if bytes.is_empty() {
        return Err(DecodeMultiaddrError::Empty);
    }
    let mut reader = Reader::new(bytes);
    let mut components = Vec::new();
    while !reader.is_empty() {
        if components.len() == MAX_COMPONENTS {
            return Err(DecodeMultiaddrError::TooMany);
        }
        components.push(component(&mut reader)?);
    }
    Ok(Multiaddr { components })
}

fn component(reader: &mut Reader<'_>) -> Result<Protocol, DecodeMultiaddrError> {
    let code = u32::try_from(reader.varint(u32::MAX.into())?).map_err(|_| Malformed::TooLarge)?;
    Ok(match code {
        code::IP4 => Protocol::Ip4(Ipv4Addr::from(reader.array::<4>()?)),
        code::IP6 => Protocol::Ip6(Ipv6Addr::from(reader.array::<16>()?)),
        code::DNS => Protocol::Dns(name(reader)?),
        code::DNS4 => Protocol::Dns4(name(reader)?),
        code::DNS6 => Protocol::Dns6(name(reader)?),
        code::TCP => Protocol::Tcp(u16::from_be_bytes(reader.array()?)),
        code::UDP => Protocol::Udp(u16::from_be_bytes(reader.array()?)),
        code::QUIC_V1 => Protocol::QuicV1,
        code::P2P => Protocol::P2p(PeerId::from_bytes(reader.prefixed(PEER_ID_MAX)?)?),
        code::MEMORY => Protocol::Memory(u64::from_be_bytes(reader.array()?)),
        code::QUIC_DRAFT => return Err(DecodeMultiaddrError::DraftQuic),
        other => {
            return Err(other_name(other)
                .map_or(DecodeMultiaddrError::Unknown(other), DecodeMultiaddrError::Unsupported));
        }
    })
}

fn name(reader: &mut Reader<'_>) -> Result<DnsName, DecodeMultiaddrError> {
    let bytes = reader.prefixed(DNS_NAME_MAX)?;
    let text = std::str::from_utf8(bytes).map_err(|_| DnsNameError::Character)?;
    Ok(text.parse::<DnsName>()?)
}
