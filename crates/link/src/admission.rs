//! Who may come in: limits on half-open handshakes and inbound links, per address, prefix, group and in all.
//!
//! Threat: one operator with many addresses fills the slots, or starts handshakes and leaves. Each limit is counted by what
//! an address costs its owner: one IP (IPv6 /64), a prefix (/24, /56), a group (/16, /48).

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::config::AdmissionConfig;

/// What to do with the first packet of an inbound handshake.
#[cfg(not(target_family = "wasm"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Go on with it.
    Accept,
    /// Let it prove its address first.
    Retry,
    /// Drop it: too many are under way, in all or from there.
    Ignore,
}

/// Counts of half-open handshakes and inbound links.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    half_open: Counts,
    inbound: Counts,
}

/// How many there are, in all and by where they come from. Entries of 0 are removed.
#[derive(Debug, Default)]
struct Counts {
    all: u32,
    prefixes: BTreeMap<Prefix, u32>,
}

/// Leading bits of an address, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Prefix {
    six: bool,
    bits: u8,
    number: u128,
}

/// An address at three widths: itself, its prefix, its group.
fn prefixes(ip: IpAddr) -> [Prefix; 3] {
    let place = |six: bool, bits: u8, number: u128| {
        let width: u8 = if six { 128 } else { 32 };
        Prefix { six, bits, number: number >> (width - bits) }
    };
    match ip.to_canonical() {
        IpAddr::V4(ip) => [32, 24, 16].map(|bits| place(false, bits, u128::from(ip.to_bits()))),
        IpAddr::V6(ip) => [64, 56, 48].map(|bits| place(true, bits, ip.to_bits())),
    }
}

impl Counts {
    fn add(&mut self, ip: Option<IpAddr>) {
        self.all = self.all.saturating_add(1);
        for place in ip.iter().flat_map(|ip| prefixes(*ip)) {
            *self.prefixes.entry(place).or_default() += 1;
        }
    }

    fn remove(&mut self, ip: Option<IpAddr>) {
        self.all = self.all.saturating_sub(1);
        for place in ip.iter().flat_map(|ip| prefixes(*ip)) {
            if let Some(count) = self.prefixes.get_mut(&place) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.prefixes.remove(&place);
                }
            }
        }
    }

    /// Whether one more from `ip` stays within its three limits.
    fn has_room(&self, ip: IpAddr, limits: [u32; 3]) -> bool {
        let count = |place: &Prefix| self.prefixes.get(place).copied().unwrap_or(0);
        prefixes(ip).iter().zip(limits).all(|(place, limit)| count(place) < limit)
    }
}

impl Admission {
    /// What to do with a first packet from `ip`; `proven`: it carries a token that only its owner can have.
    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn first_packet(&self, config: &AdmissionConfig, ip: IpAddr, proven: bool) -> Verdict {
        let limits = [config.half_open_per_ip, config.half_open_per_prefix, u32::MAX];
        let within = is_exempt(config, ip) || self.half_open.has_room(ip, limits);
        if !proven && self.half_open.all >= config.retry_after {
            return Verdict::Retry; // costs nothing to keep, so it comes before every other limit
        }
        if !within || self.half_open.all >= config.max_half_open {
            return Verdict::Ignore;
        }
        Verdict::Accept
    }

    /// Whether an inbound link from `ip` (`None`: a wire) has a place.
    pub(crate) fn has_slot(&self, config: &AdmissionConfig, ip: Option<IpAddr>, links: u32) -> bool {
        let limits = [config.inbound_per_ip, config.inbound_per_prefix, config.inbound_per_group];
        let place = |ip: IpAddr| is_exempt(config, ip) || self.inbound.has_room(ip, limits);
        links < config.max_links && self.inbound.all < config.max_inbound && ip.is_none_or(place)
    }

    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn begin(&mut self, ip: IpAddr) {
        self.half_open.add(Some(ip));
    }

    pub(crate) fn end(&mut self, ip: IpAddr) {
        self.half_open.remove(Some(ip));
    }

    pub(crate) fn enter(&mut self, ip: Option<IpAddr>) {
        self.inbound.add(ip);
    }

    pub(crate) fn leave(&mut self, ip: Option<IpAddr>) {
        self.inbound.remove(ip);
    }

    pub(crate) fn half_open(&self) -> u32 {
        self.half_open.all
    }
}

fn is_exempt(config: &AdmissionConfig, ip: IpAddr) -> bool {
    config.exempt.iter().any(|network| network.contains(ip))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn inbound_links_are_limited_by_address_prefix_and_group() {
        let config = AdmissionConfig {
            inbound_per_ip: 1,
            inbound_per_prefix: 2,
            inbound_per_group: 3,
            ..AdmissionConfig::default()
        };
        let mut admission = Admission::default();
        let mut try_enter = |address: &str| {
            let slot = admission.has_slot(&config, Some(ip(address)), 0);
            if slot {
                admission.enter(Some(ip(address)));
            }
            slot
        };
        assert!(try_enter("192.0.2.1"));
        assert!(!try_enter("192.0.2.1"), "per IP");
        assert!(try_enter("192.0.2.2"));
        assert!(!try_enter("192.0.2.3"), "per /24");
        assert!(try_enter("192.0.3.1"));
        assert!(!try_enter("192.0.4.1"), "per /16");
        assert!(try_enter("192.1.0.1"));
        assert!(try_enter("2001:db8:0:1::1"));
        assert!(!try_enter("2001:db8:0:1::2"), "per /64");
        assert!(try_enter("2001:db8:0:2::1"));
        assert!(!try_enter("2001:db8:0:3::1"), "per /56");
        for _ in 0..10 {
            assert!(try_enter("127.0.0.1"), "loopback is exempt");
        }
        admission.leave(Some(ip("192.0.2.1")));
        assert!(admission.has_slot(&config, Some(ip("192.0.2.9")), 0));
    }

    #[test]
    fn under_load_an_address_is_proven_first_and_the_count_stays_bounded() {
        let config = AdmissionConfig {
            retry_after: 2,
            max_half_open: 3,
            half_open_per_ip: 2,
            ..AdmissionConfig::default()
        };
        let mut admission = Admission::default();
        let first = ip("192.0.2.1");
        for _ in 0..2 {
            assert_eq!(admission.first_packet(&config, first, false), Verdict::Accept);
            admission.begin(first);
        }
        assert_eq!(admission.first_packet(&config, ip("198.51.100.1"), false), Verdict::Retry);
        assert_eq!(admission.first_packet(&config, first, true), Verdict::Ignore, "two from there");
        assert_eq!(admission.first_packet(&config, ip("198.51.100.1"), true), Verdict::Accept);
        admission.begin(ip("198.51.100.1"));
        assert_eq!(admission.first_packet(&config, ip("203.0.113.1"), true), Verdict::Ignore, "in all");
        admission.end(first);
        assert_eq!(admission.first_packet(&config, ip("203.0.113.1"), true), Verdict::Accept);
    }
}
