//! The components of an address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::DnsName;
use crate::identity::PeerId;

/// One component of an address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// `/ip4/192.0.2.1`
    Ip4(Ipv4Addr),
    /// `/ip6/2001:db8::1`
    Ip6(Ipv6Addr),
    /// `/dns/example.org`: a name with addresses of either family.
    Dns(DnsName),
    /// `/dns4/example.org`: a name to be resolved to IPv4.
    Dns4(DnsName),
    /// `/dns6/example.org`: a name to be resolved to IPv6.
    Dns6(DnsName),
    /// `/tcp/4001`
    Tcp(u16),
    /// `/udp/4001`
    Udp(u16),
    /// `/quic-v1`: QUIC as in RFC 9000.
    QuicV1,
    /// `/p2p/12D3Koo…`: the peer that is expected there.
    P2p(PeerId),
    /// `/memory/7`: an endpoint inside one process.
    Memory(u64),
}

/// Codes of `multiaddr/protocols.csv`.
pub(super) mod code {
    pub(crate) const IP4: u32 = 4;
    pub(crate) const TCP: u32 = 6;
    pub(crate) const IP6: u32 = 41;
    pub(crate) const DNS: u32 = 53;
    pub(crate) const DNS4: u32 = 54;
    pub(crate) const DNS6: u32 = 55;
    pub(crate) const UDP: u32 = 273;
    pub(crate) const P2P: u32 = 421;
    /// The draft versions of QUIC, gone from the network.
    pub(crate) const QUIC_DRAFT: u32 = 460;
    pub(crate) const QUIC_V1: u32 = 461;
    pub(crate) const MEMORY: u32 = 777;
}

/// Other protocols of the table, so that an address that Weir cannot dial is refused by name and not as garbage.
const OTHERS: [(u32, &str); 20] = [
    (33, "dccp"),
    (42, "ip6zone"),
    (43, "ipcidr"),
    (56, "dnsaddr"),
    (132, "sctp"),
    (275, "p2p-webrtc-star"),
    (276, "p2p-webrtc-direct"),
    (280, "webrtc-direct"),
    (281, "webrtc"),
    (290, "p2p-circuit"),
    (400, "unix"),
    (444, "onion"),
    (445, "onion3"),
    (448, "tls"),
    (449, "sni"),
    (454, "noise"),
    (465, "webtransport"),
    (466, "certhash"),
    (477, "ws"),
    (478, "wss"),
];

/// The name of a protocol of the table that Weir does not know how to use.
pub(super) fn other_name(code: u32) -> Option<&'static str> {
    OTHERS.iter().find_map(|(other, name)| (*other == code).then_some(*name))
}

/// Whether the table has a protocol of this name that Weir does not know how to use.
pub(super) fn is_other(name: &str) -> bool {
    matches!(name, "http" | "https" | "utp" | "udt") || OTHERS.iter().any(|(_, n)| *n == name)
}

impl Protocol {
    /// `/ip4` or `/ip6`; an IPv4-mapped IPv6 address becomes `/ip4`.
    pub fn ip(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self::Ip4(ip),
            IpAddr::V6(ip) => Self::Ip6(ip),
        }
    }

    /// The name, as it stands between slashes.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Ip4(_) => "ip4",
            Self::Ip6(_) => "ip6",
            Self::Dns(_) => "dns",
            Self::Dns4(_) => "dns4",
            Self::Dns6(_) => "dns6",
            Self::Tcp(_) => "tcp",
            Self::Udp(_) => "udp",
            Self::QuicV1 => "quic-v1",
            Self::P2p(_) => "p2p",
            Self::Memory(_) => "memory",
        }
    }

    pub(super) fn code(&self) -> u32 {
        match self {
            Self::Ip4(_) => code::IP4,
            Self::Ip6(_) => code::IP6,
            Self::Dns(_) => code::DNS,
            Self::Dns4(_) => code::DNS4,
            Self::Dns6(_) => code::DNS6,
            Self::Tcp(_) => code::TCP,
            Self::Udp(_) => code::UDP,
            Self::QuicV1 => code::QUIC_V1,
            Self::P2p(_) => code::P2P,
            Self::Memory(_) => code::MEMORY,
        }
    }
}
