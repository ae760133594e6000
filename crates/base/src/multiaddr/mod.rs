//! Addresses as libp2p writes them: `/ip4/192.0.2.1/udp/4001/quic-v1/p2p/12D3Koo…`.
//!
//! A [`Multiaddr`] is a short list of [`Protocol`]s, in text ([`Display`](std::fmt::Display),
//! [`FromStr`](std::str::FromStr)) and in binary ([`Multiaddr::to_bytes`], [`Multiaddr::from_bytes`]). Weir knows the
//! protocols that it can dial and no others; an address with another component is refused with its name, so that a list of a
//! peer's addresses can be taken one by one.
//!
//! Threat: addresses come from strangers, in lists. One is at most [`MAX_BYTES`] long and has at most [`MAX_COMPONENTS`],
//! checked before anything is allocated for it, and has one binary form.
//!
//! Source: libp2p specs, `addressing/README.md`; multiformats, `multiaddr/protocols.csv`; `docs/spec/identity.md`.

mod binary;
mod dns;
mod protocol;
#[cfg(test)]
mod tests;
mod text;

use std::fmt;
use std::net::{IpAddr, SocketAddr};

pub use binary::DecodeMultiaddrError;
pub use dns::{DNS_NAME_MAX, DnsName, DnsNameError};
pub use protocol::Protocol;
pub use text::ParseMultiaddrError;

use crate::identity::PeerId;

/// The longest address in binary, in bytes.
pub const MAX_BYTES: usize = 1024;

/// The longest address in text, in bytes: twice the binary, which no address that fits there exceeds.
pub const MAX_TEXT: usize = 2 * MAX_BYTES;

/// The most components of an address. The longest useful one, through a relay, has ten.
pub const MAX_COMPONENTS: usize = 16;

/// An address: at most [`MAX_COMPONENTS`] protocols. Only [`new`](Self::new) makes one without any, to be filled; neither form
/// decodes to it.
///
/// Ordered by its components, so that it can be a key. Any order of components can be stored and printed;
/// [`target`](Self::target) says whether it is one that can be dialled.
///
/// ```
/// # use weir_base as weir;
/// use weir::{Keypair, Multiaddr};
///
/// let peer = Keypair::ed25519_from_seed([1; 32]).peer_id();
/// let address: Multiaddr = format!("/ip4/192.0.2.1/udp/4001/quic-v1/p2p/{peer}").parse()?;
/// assert_eq!(address.peer_id(), Some(peer));
/// assert_eq!(address.without_p2p().to_string(), "/ip4/192.0.2.1/udp/4001/quic-v1");
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Multiaddr {
    components: Vec<Protocol>, // <= MAX_COMPONENTS, and MAX_BYTES encoded
}

/// Why a component cannot be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// The address already has [`MAX_COMPONENTS`].
    #[error("an address has at most {MAX_COMPONENTS} components")]
    TooMany,
    /// The address would be longer than [`MAX_BYTES`].
    #[error("an address has at most {MAX_BYTES} bytes")]
    TooLong,
    /// The address already ends in another peer's id.
    #[error("the address already names another peer; remove its /p2p component first")]
    OtherPeer,
}

/// What carries the bytes to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// QUIC version 1 over UDP (`/udp/…/quic-v1`).
    Quic,
    /// TCP (`/tcp/…`).
    Tcp,
}

/// Where an address leads, if Weir can dial it over a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// What carries the bytes.
    pub transport: Transport,
    /// The machine.
    pub host: Host<'a>,
    /// The UDP or TCP port.
    pub port: u16,
}

/// The machine that an address leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host<'a> {
    /// An IP address.
    Ip(IpAddr),
    /// A name to be resolved to addresses of either family.
    Dns(&'a DnsName),
    /// A name to be resolved to IPv4 addresses.
    Dns4(&'a DnsName),
    /// A name to be resolved to IPv6 addresses.
    Dns6(&'a DnsName),
}

impl Multiaddr {
    /// An address without components, to be filled by [`push`](Self::push).
    pub fn new() -> Self {
        Self::default()
    }

    /// `/ip…/udp/…/quic-v1`. An IPv4-mapped IPv6 address, as dual-stack sockets report it, becomes `/ip4`; an IPv6 scope and
    /// flow label are not kept.
    pub fn from_quic(socket: SocketAddr) -> Self {
        Self { components: vec![Protocol::ip(socket.ip()), Protocol::Udp(socket.port()), Protocol::QuicV1] }
    }

    /// `/ip…/tcp/…`, with the same treatment of IPv6 as [`from_quic`](Self::from_quic).
    pub fn from_tcp(socket: SocketAddr) -> Self {
        Self { components: vec![Protocol::ip(socket.ip()), Protocol::Tcp(socket.port())] }
    }

    /// `/memory/…`: an endpoint inside one process.
    pub fn from_memory(endpoint: u64) -> Self {
        Self { components: vec![Protocol::Memory(endpoint)] }
    }

    /// Appends a component.
    ///
    /// # Errors
    /// [`PushError`] where the address would break a limit; it is then unchanged.
    pub fn push(&mut self, protocol: Protocol) -> Result<(), PushError> {
        if self.components.len() >= MAX_COMPONENTS {
            return Err(PushError::TooMany);
        }
        if self.encoded_len().saturating_add(protocol.encoded_len()) > MAX_BYTES {
            return Err(PushError::TooLong);
        }
        self.components.push(protocol);
        Ok(())
    }

    /// This address with `/p2p/…` at its end; unchanged where it already ends in that id.
    ///
    /// # Errors
    /// [`PushError`], where it ends in another id or would break a limit.
    pub fn with_p2p(mut self, peer: PeerId) -> Result<Self, PushError> {
        match self.peer_id() {
            Some(present) if present == peer => Ok(self),
            Some(_) => Err(PushError::OtherPeer),
            None => self.push(Protocol::P2p(peer)).map(|()| self),
        }
    }

    /// This address without the peer id at its end.
    #[must_use]
    pub fn without_p2p(mut self) -> Self {
        if self.peer_id().is_some() {
            self.components.pop();
        }
        self
    }

    /// The peer id at the end of the address.
    pub fn peer_id(&self) -> Option<PeerId> {
        match self.components.last() {
            Some(Protocol::P2p(peer)) => Some(*peer),
            _ => None,
        }
    }

    /// The components, first to last.
    pub fn components(&self) -> &[Protocol] {
        &self.components
    }

    /// Whether there is no component.
    pub fn is_empty(&self) -> bool {
        self.components.is_empty()
    }

    /// Where the address leads over a socket. `None` for a memory address and for every order of components other than
    /// host, `/udp/…/quic-v1` or `/tcp/…`, and optionally `/p2p/…`.
    pub fn target(&self) -> Option<Target<'_>> {
        let (host, transport, port) = match self.components.as_slice() {
            [host, Protocol::Udp(port), Protocol::QuicV1]
            | [host, Protocol::Udp(port), Protocol::QuicV1, Protocol::P2p(_)] => {
                (host, Transport::Quic, *port)
            }
            [host, Protocol::Tcp(port)] | [host, Protocol::Tcp(port), Protocol::P2p(_)] => {
                (host, Transport::Tcp, *port)
            }
            _ => return None,
        };
        let host = match host {
            Protocol::Ip4(ip) => Host::Ip(IpAddr::V4(*ip)),
            Protocol::Ip6(ip) => Host::Ip(IpAddr::V6(*ip)),
            Protocol::Dns(name) => Host::Dns(name),
            Protocol::Dns4(name) => Host::Dns4(name),
            Protocol::Dns6(name) => Host::Dns6(name),
            _ => return None,
        };
        Some(Target { transport, host, port })
    }

    /// Transport and socket address, where the address can be dialled without resolving a name.
    pub fn socket_addr(&self) -> Option<(Transport, SocketAddr)> {
        let target = self.target()?;
        match target.host {
            Host::Ip(ip) => Some((target.transport, SocketAddr::new(ip, target.port))),
            Host::Dns(_) | Host::Dns4(_) | Host::Dns6(_) => None,
        }
    }

    /// The endpoint of a `/memory/…` address, with or without a peer id.
    pub fn memory(&self) -> Option<u64> {
        match self.components.as_slice() {
            [Protocol::Memory(endpoint)] | [Protocol::Memory(endpoint), Protocol::P2p(_)] => Some(*endpoint),
            _ => None,
        }
    }

    /// Length of the binary form in bytes, at most [`MAX_BYTES`].
    pub fn encoded_len(&self) -> usize {
        self.components.iter().map(Protocol::encoded_len).sum()
    }

    /// The binary form.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.encoded_len());
        for protocol in &self.components {
            binary::encode(protocol, &mut out);
        }
        out
    }

    /// Decodes the binary form: whole, minimal varints only.
    ///
    /// # Errors
    /// [`DecodeMultiaddrError`], which names what is wrong or not supported.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeMultiaddrError> {
        binary::decode(bytes)
    }
}

impl fmt::Debug for Multiaddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
