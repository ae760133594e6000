//! The text form: `/name/value` for each component, `/quic-v1` without a value.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::{FromStr, Split};

use super::protocol::is_other;
use super::{DnsName, DnsNameError, MAX_TEXT, Multiaddr, Protocol, PushError};
use crate::identity::{ParsePeerIdError, PeerId};

/// Characters of a wrong part that an error repeats.
const SHOWN: usize = 48;

/// Why a text is no address, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseMultiaddrError {
    /// Longer than [`MAX_TEXT`].
    #[error("address of {0} characters; at most {MAX_TEXT} are taken")]
    TooLong(usize),
    /// Does not start with a slash.
    #[error("an address starts with '/', as in /ip4/192.0.2.1/udp/4001/quic-v1")]
    NoSlash,
    /// Two slashes in a row.
    #[error("empty component: two slashes in a row")]
    Empty,
    /// A draft version of QUIC.
    #[error("/quic (draft) is not supported; write /quic-v1")]
    DraftQuic,
    /// A protocol of the multiaddr table that Weir cannot use.
    #[error("/{0} is not supported")]
    Unsupported(String),
    /// A name that is none of a protocol.
    #[error("unknown protocol '{0}'; known are ip4, ip6, dns, dns4, dns6, tcp, udp, quic-v1, p2p, memory")]
    Unknown(String),
    /// The text ends after the name of a protocol that has a value.
    #[error("/{0} needs a value after it")]
    NoValue(&'static str),
    /// A value that does not fit its protocol.
    #[error("'{value}' is not {wanted}")]
    Value {
        /// What stands there, shortened.
        value: String,
        /// What should stand there.
        wanted: &'static str,
    },
    /// A value that should be a host name.
    #[error("/{protocol}: {error}")]
    Dns {
        /// `dns`, `dns4` or `dns6`.
        protocol: &'static str,
        /// What is wrong with it.
        error: DnsNameError,
    },
    /// A value that should be a peer id.
    #[error("/p2p: {0}")]
    PeerId(#[from] ParsePeerIdError),
    /// A limit on whole addresses.
    #[error(transparent)]
    Limit(#[from] PushError),
}

impl FromStr for Multiaddr {
    type Err = ParseMultiaddrError;

    /// Parses `/name/value…`. One slash at the end is allowed, as other implementations write it; `/ipfs` is the older name
    /// of `/p2p`.
    fn from_str(text: &str) -> Result<Self, ParseMultiaddrError> {
        if text.len() > MAX_TEXT {
            return Err(ParseMultiaddrError::TooLong(text.len()));
        }
        let body = text.strip_prefix('/').ok_or(ParseMultiaddrError::NoSlash)?;
        let body = body.strip_suffix('/').unwrap_or(body);
        if body.is_empty() {
            return Err(ParseMultiaddrError::Empty);
        }
        let mut address = Self::new();
        let mut parts = body.split('/');
        while let Some(name) = parts.next() {
            address.push(component(name, &mut parts)?)?;
        }
        Ok(address)
    }
}

fn component(name: &str, parts: &mut Split<'_, char>) -> Result<Protocol, ParseMultiaddrError> {
    Ok(match name {
        "ip4" => Protocol::Ip4(ip4(value("ip4", parts)?)?),
        "ip6" => Protocol::Ip6(ip6(value("ip6", parts)?)?),
        "dns" => Protocol::Dns(dns("dns", parts)?),
        "dns4" => Protocol::Dns4(dns("dns4", parts)?),
        "dns6" => Protocol::Dns6(dns("dns6", parts)?),
        "tcp" => Protocol::Tcp(number(value("tcp", parts)?, "a TCP port, 0 to 65535")?),
        "udp" => Protocol::Udp(number(value("udp", parts)?, "a UDP port, 0 to 65535")?),
        "quic-v1" => Protocol::QuicV1,
        "p2p" | "ipfs" => Protocol::P2p(value("p2p", parts)?.parse::<PeerId>()?),
        "memory" => Protocol::Memory(number(value("memory", parts)?, "a memory endpoint, 0 to 2^64 - 1")?),
        "quic" => return Err(ParseMultiaddrError::DraftQuic),
        "" => return Err(ParseMultiaddrError::Empty),
        other if is_other(other) => {
            return Err(ParseMultiaddrError::Unsupported(other.to_owned()));
        }
        other => return Err(ParseMultiaddrError::Unknown(shown(other))),
    })
}

fn value<'a>(name: &'static str, parts: &mut Split<'a, char>) -> Result<&'a str, ParseMultiaddrError> {
    match parts.next() {
        None => Err(ParseMultiaddrError::NoValue(name)),
        Some("") => Err(ParseMultiaddrError::Empty),
        Some(value) => Ok(value),
    }
}

fn ip4(text: &str) -> Result<Ipv4Addr, ParseMultiaddrError> {
    text.parse().map_err(|_| wrong(text, "an IPv4 address such as 192.0.2.1"))
}

fn ip6(text: &str) -> Result<Ipv6Addr, ParseMultiaddrError> {
    text.parse().map_err(|_| wrong(text, "an IPv6 address such as 2001:db8::1, without zone"))
}

fn dns(protocol: &'static str, parts: &mut Split<'_, char>) -> Result<DnsName, ParseMultiaddrError> {
    value(protocol, parts)?.parse().map_err(|error| ParseMultiaddrError::Dns { protocol, error })
}

/// Digits only: the standard library also takes a sign.
fn number<N: FromStr>(text: &str, wanted: &'static str) -> Result<N, ParseMultiaddrError> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(number) if digits => Ok(number),
        _ => Err(wrong(text, wanted)),
    }
}

fn wrong(value: &str, wanted: &'static str) -> ParseMultiaddrError {
    ParseMultiaddrError::Value { value: shown(value), wanted }
}

/// The beginning of what a user or a peer wrote, without control characters.
fn shown(text: &str) -> String {
    text.chars().take(SHOWN).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

impl fmt::Display for Multiaddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("/");
        }
        self.components().iter().try_for_each(|part| part.fmt(f))
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name();
        match self {
            Self::Ip4(ip) => write!(f, "/{name}/{ip}"),
            Self::Ip6(ip) => write!(f, "/{name}/{ip}"),
            Self::Dns(host) | Self::Dns4(host) | Self::Dns6(host) => write!(f, "/{name}/{host}"),
            Self::Tcp(port) | Self::Udp(port) => write!(f, "/{name}/{port}"),
            Self::QuicV1 => write!(f, "/{name}"),
            Self::P2p(peer) => write!(f, "/{name}/{peer}"),
            Self::Memory(endpoint) => write!(f, "/{name}/{endpoint}"),
        }
    }
}

crate::units::serde_as_text!(Multiaddr);
