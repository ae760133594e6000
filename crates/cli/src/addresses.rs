//! Addresses as users write them, and those that others can dial, of a socket that may be bound to all of this machine's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use clap::ValueEnum;
use weir::{Multiaddr, PeerId, multiaddr};

use crate::error::Failure;

/// What carries the bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Transport {
    /// QUIC, over UDP.
    #[default]
    Quic,
    /// TCP with Noise and yamux, as libp2p has it.
    Tcp,
}

impl Transport {
    /// The same of an address.
    fn of(transport: multiaddr::Transport) -> Self {
        match transport {
            multiaddr::Transport::Quic => Self::Quic,
            multiaddr::Transport::Tcp => Self::Tcp,
        }
    }

    /// The address of a socket.
    pub(crate) fn address(self, socket: SocketAddr) -> Multiaddr {
        match self {
            Self::Quic => Multiaddr::from_quic(socket),
            Self::Tcp => Multiaddr::from_tcp(socket),
        }
    }
}

impl std::fmt::Display for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Quic => "QUIC",
            Self::Tcp => "TCP",
        })
    }
}

/// What carries the bytes to an address; `None` where it leads to no socket.
pub(crate) fn transport(address: &Multiaddr) -> Option<Transport> {
    address.target().map(|target| Transport::of(target.transport))
}

/// The address that `text` is: a multiaddr, or `IP:PORT` over `transport`. `option` is where the user wrote it.
pub(crate) fn parse(option: &str, text: &str, transport: Transport) -> Result<Multiaddr, Failure> {
    if let Ok(socket) = text.parse::<SocketAddr>() {
        return Ok(transport.address(socket));
    }
    text.parse().map_err(|error| {
        Failure::input(format!("{option}: `{text}` is neither IP:PORT nor a multiaddr: {error}"))
    })
}

/// Where to dial what listens on `bound`: the address itself; of a wildcard, this machine's address towards the outside, if
/// there is one, and loopback.
pub(crate) fn dialable(bound: &[Multiaddr], peer: PeerId) -> Vec<Multiaddr> {
    let mut found = Vec::new();
    for address in bound {
        let Some((carrier, socket)) =
            address.socket_addr().filter(|(_, socket)| socket.ip().is_unspecified())
        else {
            found.push(address.clone());
            continue;
        };
        let transport = Transport::of(carrier);
        found
            .extend(expand(socket, outside(socket.ip())).into_iter().map(|socket| transport.address(socket)));
    }
    found.into_iter().map(|address| address.clone().with_p2p(peer).unwrap_or(address)).collect()
}

fn expand(socket: SocketAddr, outside: Option<IpAddr>) -> Vec<SocketAddr> {
    let loopback = if socket.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
    let outside = outside.filter(|ip| !ip.is_unspecified() && *ip != loopback);
    outside.into_iter().chain([loopback]).map(|ip| SocketAddr::new(ip, socket.port())).collect()
}

/// The address from which this machine would send to the outside. Nothing is sent: connecting a UDP socket chooses a route.
fn outside(family: IpAddr) -> Option<IpAddr> {
    // Addresses for documentation (RFC 5737, RFC 3849): never this machine's own network.
    let (any, there): (IpAddr, IpAddr) = if family.is_ipv4() {
        (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(192, 0, 2, 1).into())
    } else {
        (Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into())
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((there, 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir::Keypair;

    #[test]
    fn a_wildcard_becomes_addresses_with_its_port_and_others_stay() {
        let peer = Keypair::ed25519_from_seed([1; 32]).peer_id();
        let shown = |text: &str| {
            let bound = Multiaddr::from_quic(text.parse().unwrap());
            dialable(&[bound], peer).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(shown("10.1.2.3:4001"), [format!("/ip4/10.1.2.3/udp/4001/quic-v1/p2p/{peer}")]);
        for (wildcard, loopback) in [("0.0.0.0:4001", "/ip4/127.0.0.1"), ("[::]:4001", "/ip6/::1")] {
            let found = shown(wildcard);
            assert_eq!(found.last(), Some(&format!("{loopback}/udp/4001/quic-v1/p2p/{peer}")));
            assert!(found.iter().all(|address| !address.contains("0.0.0.0") && !address.contains("/::/")));
        }
        let tcp = dialable(&[Multiaddr::from_tcp("0.0.0.0:7".parse().unwrap())], peer);
        assert_eq!(tcp.last().unwrap().to_string(), format!("/ip4/127.0.0.1/tcp/7/p2p/{peer}"));
    }

    #[test]
    fn a_socket_is_an_address_of_the_transport_that_is_asked_for() {
        let parsed = |text, transport| parse("--listen", text, transport).map(|address| address.to_string());
        assert_eq!(parsed("127.0.0.1:7", Transport::Quic).unwrap(), "/ip4/127.0.0.1/udp/7/quic-v1");
        assert_eq!(parsed("[::1]:7", Transport::Tcp).unwrap(), "/ip6/::1/tcp/7");
        let written = "/ip4/127.0.0.1/udp/7/quic-v1";
        assert_eq!(parsed(written, Transport::Tcp).unwrap(), written, "what is written out stays");
        assert!(parsed("nowhere", Transport::Tcp).unwrap_err().to_string().contains("--listen: `nowhere`"));
    }

    #[test]
    fn the_outside_comes_before_loopback_and_nothing_comes_twice() {
        let (socket, loopback) = ("0.0.0.0:7".parse().unwrap(), "127.0.0.1:7".parse().unwrap());
        let outside: SocketAddr = "10.0.0.5:7".parse().unwrap();
        assert_eq!(expand(socket, Some(outside.ip())), [outside, loopback]);
        for none in [None, Some(Ipv4Addr::LOCALHOST.into()), Some(Ipv4Addr::UNSPECIFIED.into())] {
            assert_eq!(expand(socket, none), [loopback]);
        }
    }
}
