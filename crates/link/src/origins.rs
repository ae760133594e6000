//! Addresses at the three widths at which they are counted: each costs its owner more than the one before.

use std::net::IpAddr;

use weir_base::stream::Group;

use crate::Network;

/// Leading bits of an address, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Prefix {
    six: bool,
    bits: u8,
    number: u128,
}

impl Prefix {
    /// The addresses that begin so.
    pub(crate) fn network(&self) -> Network {
        Network { address: self.address(), bits: self.bits }
    }

    fn address(&self) -> IpAddr {
        if self.six {
            return IpAddr::from((self.number << (128 - self.bits)).to_be_bytes());
        }
        let number = u32::try_from(self.number << (32 - self.bits)).unwrap_or(0);
        IpAddr::from(number.to_be_bytes())
    }
}

/// An address at three widths: itself (IPv6: its /64), its prefix (/24, /56), its group (`Group`: /16, /32).
pub(crate) fn prefixes(ip: IpAddr) -> [Prefix; 3] {
    let place = |six: bool, bits: u8, number: u128| {
        let width: u8 = if six { 128 } else { 32 };
        Prefix { six, bits, number: number >> (width - bits) }
    };
    match ip.to_canonical() {
        IpAddr::V4(ip) => [32, 24, Group::V4_BITS].map(|bits| place(false, bits, u128::from(ip.to_bits()))),
        IpAddr::V6(ip) => [64, 56, Group::V6_BITS].map(|bits| place(true, bits, ip.to_bits())),
    }
}
