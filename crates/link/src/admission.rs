//! Who may come in: limits on half-open handshakes and inbound links, per address, prefix, group and in all.
//!
//! Threat: one operator with many addresses fills the slots, or starts handshakes and leaves. Each limit is counted by what
//! an address costs its owner: one IP (IPv6 /64), a prefix (/24, /56), a group (`Group`: /16, /32).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use weir_base::identity::PeerId;
use weir_base::stream::Group;
use weir_base::{Instant, LinkId};

use crate::Network;
use crate::config::AdmissionConfig;
use crate::gate::{Attempt, Gate, Refusal};
use crate::link::Source;
use crate::table::Table;

/// Refusals that the user is told of in a second: peers cause them.
const REFUSALS_TOLD: u32 = 16;
/// Peers that are remembered as pinned: far more than an operator names.
const PINNED_MAX: usize = 1024;

/// What the lists and the rule say of a connection with `ip` (`None`: a wire).
pub(crate) fn check(
    lists: &AdmissionConfig,
    gate: Option<&Gate>,
    ip: Option<IpAddr>,
    attempt: &Attempt<'_>,
) -> Result<(), Refusal> {
    if let Some(ip) = ip {
        if let Some(network) = lists.deny.iter().find(|network| network.contains(ip)) {
            return Err(Refusal::Denied(*network));
        }
        if !lists.allow.is_empty() && !lists.allow.iter().any(|network| network.contains(ip)) {
            return Err(Refusal::NotAllowed(ip.to_canonical()));
        }
    }
    gate.map_or(Ok(()), |gate| gate.ask(attempt).map_err(Refusal::Gate))
}

/// What to do with the first packet of an inbound handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Go on with it.
    Accept,
    /// Let it prove its address first.
    Retry,
    /// Go on with it, and give this one up for it: of those under way the oldest of the most crowded address.
    Replace(LinkId),
}

/// A link whose handshake is complete and that wants a place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Newcomer {
    pub(crate) peer: PeerId,
    pub(crate) group: Group,
    pub(crate) ip: Option<IpAddr>,
    pub(crate) dialler: bool,
    /// The link that its peer has already.
    pub(crate) older: Option<LinkId>,
}

/// Whether there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Free,
    /// That of this link, which gives way.
    Of(LinkId),
    /// None.
    Refused(Refusal),
}

/// Inbound handshakes under way.
#[derive(Debug, Default)]
struct HalfOpen {
    validated: BTreeMap<LinkId, IpAddr>, // <= max_half_open less the places of the unvalidated
    unvalidated: BTreeSet<LinkId>, // <= retry_after and a quarter of max_half_open; nothing is counted for their addresses
    counts: Counts,                // of the validated
}

/// Counts of half-open handshakes and inbound links.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    half_open: HalfOpen,
    inbound: Counts,
    pinned: BTreeSet<PeerId>, // <= PINNED_MAX
    refusals: Refusals,
}

/// Refusals that the user was told of.
#[derive(Debug, Default)]
struct Refusals {
    since: Instant,
    told: u32,
    suppressed: u64,
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

impl Prefix {
    /// The first address that begins so.
    fn address(&self) -> IpAddr {
        if self.six {
            return IpAddr::from((self.number << (128 - self.bits)).to_be_bytes());
        }
        let number = u32::try_from(self.number << (32 - self.bits)).unwrap_or(0);
        IpAddr::from(number.to_be_bytes())
    }
}

/// An address at three widths: itself, its prefix, its group.
fn prefixes(ip: IpAddr) -> [Prefix; 3] {
    let place = |six: bool, bits: u8, number: u128| {
        let width: u8 = if six { 128 } else { 32 };
        Prefix { six, bits, number: number >> (width - bits) }
    };
    match ip.to_canonical() {
        IpAddr::V4(ip) => [32, 24, Group::V4_BITS].map(|bits| place(false, bits, u128::from(ip.to_bits()))),
        IpAddr::V6(ip) => [64, 56, Group::V6_BITS].map(|bits| place(true, bits, ip.to_bits())),
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

    fn of(&self, prefix: &Prefix) -> u32 {
        self.prefixes.get(prefix).copied().unwrap_or(0)
    }

    /// How many there are of an address's group, prefix and itself.
    fn crowd(&self, ip: IpAddr) -> [u32; 3] {
        let [own, prefix, group] = prefixes(ip).map(|prefix| self.of(&prefix));
        [group, prefix, own]
    }

    /// Whether one more from `ip` stays within its three limits.
    fn has_room(&self, ip: IpAddr, limits: [u32; 3]) -> bool {
        prefixes(ip).iter().zip(limits).all(|(prefix, limit)| self.of(prefix) < limit)
    }
}

impl Admission {
    /// What to do with a first packet from `ip`. Unvalidated ones have places of their own, and are told to retry when those are
    /// taken; a validated one always finds a place.
    pub(crate) fn first_packet(&self, config: &AdmissionConfig, ip: IpAddr, source: Source) -> Verdict {
        let open = &self.half_open;
        let reserved = config.retry_after.min(config.max_half_open / 4);
        if source == Source::Unvalidated {
            let free = open.unvalidated.len() < usize::try_from(reserved).unwrap_or(usize::MAX);
            return if free { Verdict::Accept } else { Verdict::Retry };
        }
        let limits = [config.half_open_per_ip, config.half_open_per_prefix, u32::MAX];
        let full = open.counts.all >= config.max_half_open.saturating_sub(reserved).max(1);
        let crowded = !is_exempt(config, ip) && !open.counts.has_room(ip, limits);
        let victim = match (crowded, full) {
            (true, _) => self.oldest_near(ip, limits),
            (false, true) => self.oldest_of_the_most_crowded(),
            (false, false) => None,
        };
        victim.map_or(Verdict::Accept, Verdict::Replace)
    }

    /// The oldest handshake of the address or prefix of `ip` that is at its limit.
    fn oldest_near(&self, ip: IpAddr, limits: [u32; 3]) -> Option<LinkId> {
        let counts = &self.half_open.counts;
        let at_limit = |(prefix, limit): &(Prefix, u32)| counts.of(prefix) >= *limit;
        let (prefix, _) = prefixes(ip).into_iter().zip(limits).find(at_limit)?;
        let near = self.half_open.validated.iter().filter(|(_, other)| prefixes(**other).contains(&prefix));
        // Within a prefix the address with the most of them pays.
        near.max_by_key(|(link, other)| (counts.crowd(**other)[2], std::cmp::Reverse(**link)))
            .map(|(link, _)| *link)
    }

    fn oldest_of_the_most_crowded(&self) -> Option<LinkId> {
        let counts = &self.half_open.counts;
        let all = self.half_open.validated.iter();
        all.max_by_key(|(link, ip)| (counts.crowd(**ip), std::cmp::Reverse(**link))).map(|(link, _)| *link)
    }

    /// Whether a confirmed link has a place. The one of the same peer that it is a pair with gives up its own soon, so its place
    /// counts for the new one as far as both are of the same kind.
    pub(crate) fn place(&mut self, limits: &AdmissionConfig, table: &Table, newcomer: Newcomer) -> Place {
        let older = newcomer.older.and_then(|older| Some((table.get(older)?, table.get(older)?.info?)));
        let others = table.all().filter(|link| link.info.is_some()).count() - usize::from(older.is_some());
        let others = u32::try_from(others).unwrap_or(u32::MAX);
        let all = Refusal::Links { count: others, limit: limits.max_links };
        if newcomer.dialler {
            return if others < limits.max_links { Place::Free } else { Place::Refused(all) };
        }
        let place = older.filter(|(_, info)| !info.dialler).map(|(older, _)| older.origin.ip);
        if let Some(place) = place {
            self.leave(place);
        }
        let crowded = self.crowded(limits, newcomer.ip).filter(|_| !self.is_pinned(&newcomer.peer));
        let count = self.inbound.all;
        let full = if others >= limits.max_links {
            Some(all)
        } else if count >= limits.max_inbound {
            Some(Refusal::Inbound { count, limit: limits.max_inbound })
        } else {
            None
        };
        if let Some(place) = place {
            self.enter(place);
        }
        match (crowded, full) {
            (Some(refusal), _) => Place::Refused(refusal),
            (None, None) => Place::Free,
            (None, Some(refusal)) => {
                self.gives_way(table, newcomer).map_or(Place::Refused(refusal), Place::Of)
            }
        }
    }

    /// All inbound places are taken: the youngest link of the most crowded group gives way to a newcomer whose own group stays
    /// smaller than that one, and to a pinned peer in any case. Pinned peers never give way.
    fn gives_way(&self, table: &Table, newcomer: Newcomer) -> Option<LinkId> {
        let mut groups: BTreeMap<Group, (u64, (Instant, LinkId))> = BTreeMap::new(); // how many, and the youngest
        for link in table.all() {
            let (Some(info), Some(since)) = (link.info, link.up_since()) else { continue };
            if info.dialler || self.is_pinned(&info.peer) || newcomer.older == Some(link.id()) {
                continue;
            }
            let (count, youngest) = groups.entry(info.group).or_insert((0, (since, link.id())));
            *count += 1;
            *youngest = (*youngest).max((since, link.id()));
        }
        let own = groups.get(&newcomer.group).map_or(0, |(count, _)| *count);
        let (count, (_, victim)) = groups.into_values().max()?;
        (count >= own + 2 || self.is_pinned(&newcomer.peer)).then_some(victim)
    }

    /// A dial to this peer was asked for by the operator: when it dials in, limits and crowds do not keep it out.
    pub(crate) fn pin(&mut self, peer: PeerId) {
        if self.pinned.len() < PINNED_MAX {
            self.pinned.insert(peer);
        }
    }

    pub(crate) fn is_pinned(&self, peer: &PeerId) -> bool {
        self.pinned.contains(peer)
    }

    /// The limit that one more inbound link from `ip` would exceed.
    fn crowded(&self, config: &AdmissionConfig, ip: Option<IpAddr>) -> Option<Refusal> {
        let ip = ip.filter(|ip| !is_exempt(config, *ip))?.to_canonical();
        let limits = [config.inbound_per_ip, config.inbound_per_prefix, config.inbound_per_group];
        let mut reached = prefixes(ip).into_iter().zip(limits);
        let (prefix, limit) = reached.find(|(prefix, limit)| self.inbound.of(prefix) >= *limit)?;
        let network = Network { address: prefix.address(), bits: prefix.bits };
        Some(Refusal::Crowded { count: self.inbound.of(&prefix), limit, network })
    }

    /// A refusal is to be told. How many were not since the last one that was; `None` where this one is not either: too many were
    /// in this second.
    pub(crate) fn tell_refusal(&mut self, now: Instant) -> Option<u64> {
        let refusals = &mut self.refusals;
        if now.since(refusals.since) >= Duration::from_secs(1) {
            (refusals.since, refusals.told) = (now, 0);
        }
        if refusals.told >= REFUSALS_TOLD {
            refusals.suppressed += 1;
            return None;
        }
        refusals.told += 1;
        Some(std::mem::take(&mut refusals.suppressed))
    }

    pub(crate) fn begin(&mut self, link: LinkId, ip: IpAddr, source: Source) {
        match source {
            Source::Unvalidated => drop(self.half_open.unvalidated.insert(link)),
            Source::Validated => {
                self.half_open.validated.insert(link, ip);
                self.half_open.counts.add(Some(ip));
            }
        }
    }

    pub(crate) fn end(&mut self, link: LinkId) {
        self.half_open.unvalidated.remove(&link);
        if let Some(ip) = self.half_open.validated.remove(&link) {
            self.half_open.counts.remove(Some(ip));
        }
    }

    pub(crate) fn enter(&mut self, ip: Option<IpAddr>) {
        self.inbound.add(ip);
    }

    pub(crate) fn leave(&mut self, ip: Option<IpAddr>) {
        self.inbound.remove(ip);
    }

    pub(crate) fn half_open(&self) -> usize {
        self.half_open.validated.len() + self.half_open.unvalidated.len()
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
            let slot = admission.crowded(&config, Some(ip(address))).is_none();
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
        assert!(try_enter("2001:db8:8000::1"));
        assert!(!try_enter("2001:db8:ffff::1"), "per /32");
        assert!(try_enter("2001:db9::1"));
        for _ in 0..10 {
            assert!(try_enter("127.0.0.1"), "loopback is exempt");
        }
        admission.leave(Some(ip("192.0.2.1")));
        assert!(admission.crowded(&config, Some(ip("192.0.2.9"))).is_none());
    }

    /// Fills places with validated handshakes from these addresses; which were given up for others.
    fn fill(admission: &mut Admission, config: &AdmissionConfig, first: u64, ips: &[IpAddr]) -> Vec<LinkId> {
        let mut replaced = Vec::new();
        for (link, ip) in (first..).map(LinkId).zip(ips) {
            match admission.first_packet(config, *ip, Source::Validated) {
                Verdict::Replace(victim) => {
                    admission.end(victim);
                    replaced.push(victim);
                }
                verdict => assert_eq!(verdict, Verdict::Accept),
            }
            admission.begin(link, *ip, Source::Validated);
            assert!(admission.half_open() <= usize::try_from(config.max_half_open).unwrap());
        }
        replaced
    }

    #[test]
    fn spoofed_first_packets_take_no_place_of_an_address_and_then_are_told_to_retry() {
        let config = AdmissionConfig::default();
        let mut admission = Admission::default();
        let spoofed = ip("198.51.100.7");
        for link in 0..16 {
            assert_eq!(admission.first_packet(&config, spoofed, Source::Unvalidated), Verdict::Accept);
            admission.begin(LinkId(link), spoofed, Source::Unvalidated);
        }
        for address in ["198.51.100.7", "203.0.113.1"] {
            assert_eq!(admission.first_packet(&config, ip(address), Source::Unvalidated), Verdict::Retry);
            assert_eq!(admission.first_packet(&config, ip(address), Source::Validated), Verdict::Accept);
        }
        admission.end(LinkId(3));
        assert_eq!(admission.first_packet(&config, spoofed, Source::Unvalidated), Verdict::Accept);
    }

    #[test]
    fn one_operator_does_not_keep_everybody_else_out() {
        let config = AdmissionConfig::default();
        let mut admission = Admission::default();
        // All of these addresses are really the attacker's.
        let address = |prefix: u16, host: u16| ip(&format!("2001:db8:0:{:x}::1", prefix << 8 | host));
        let attacker: Vec<IpAddr> =
            (0..4).flat_map(|prefix| (0..16).map(move |host| address(prefix, host))).collect();
        fill(&mut admission, &config, 0, &attacker);
        let honest = ["198.51.100.7", "203.0.113.9", "2a02:1::1"].map(ip);
        assert_eq!(fill(&mut admission, &config, 100, &honest).len(), 3, "the attacker's go");
        let replaced = fill(&mut admission, &config, 200, &attacker);
        assert!(replaced.iter().all(|link| !(100..200).contains(&link.0)), "and not the honest ones");
    }

    #[test]
    fn a_neighbour_in_a_crowded_prefix_takes_a_place_of_the_address_with_the_most() {
        let config = AdmissionConfig::default();
        let mut admission = Admission::default();
        let crowd = [[ip("192.0.2.1"); 8], [ip("192.0.2.2"); 8]].concat();
        assert_eq!(fill(&mut admission, &config, 0, &crowd), []);
        assert_eq!(fill(&mut admission, &config, 100, &[ip("192.0.2.1")]), [LinkId(0)], "per IP");
        assert_eq!(fill(&mut admission, &config, 101, &[ip("192.0.2.9")]), [LinkId(1)], "per /24");
        assert_eq!(fill(&mut admission, &config, 102, &[ip("192.0.3.9")]), []);
    }

    #[test]
    fn a_refusal_names_the_network_that_is_full() {
        let named = |config: &AdmissionConfig, address: &str| {
            let mut admission = Admission::default();
            admission.enter(Some(ip(address)));
            match admission.crowded(config, Some(ip(address))) {
                Some(Refusal::Crowded { count: 1, limit: 1, network }) => (network.address, network.bits),
                other => panic!("{other:?}"),
            }
        };
        let by = |inbound_per_ip, inbound_per_prefix, inbound_per_group| AdmissionConfig {
            inbound_per_ip,
            inbound_per_prefix,
            inbound_per_group,
            ..AdmissionConfig::default()
        };
        let (own, prefix, group) = (by(1, 9, 9), by(9, 1, 9), by(9, 9, 1));
        assert_eq!(named(&own, "192.0.2.77"), (ip("192.0.2.77"), 32));
        assert_eq!(named(&prefix, "192.0.2.77"), (ip("192.0.2.0"), 24));
        assert_eq!(named(&group, "192.0.2.77"), (ip("192.0.0.0"), 16));
        assert_eq!(named(&own, "2001:db8:1:2ff:9::1"), (ip("2001:db8:1:2ff::"), 64));
        assert_eq!(named(&prefix, "2001:db8:1:2ff:9::1"), (ip("2001:db8:1:200::"), 56));
        assert_eq!(named(&group, "2001:db8:1:2ff:9::1"), (ip("2001:db8::"), 32));
    }

    #[test]
    fn of_few_places_a_quarter_is_for_addresses_that_are_not_proven() {
        let config = AdmissionConfig { retry_after: 16, max_half_open: 8, ..AdmissionConfig::default() };
        let mut admission = Admission::default();
        for link in 0..2 {
            assert_eq!(
                admission.first_packet(&config, ip("192.0.2.1"), Source::Unvalidated),
                Verdict::Accept
            );
            admission.begin(LinkId(link), ip("192.0.2.1"), Source::Unvalidated);
        }
        assert_eq!(admission.first_packet(&config, ip("192.0.2.1"), Source::Unvalidated), Verdict::Retry);
        for link in 2..5 {
            admission.begin(LinkId(link), ip(&format!("10.{link}.0.1")), Source::Validated);
        }
        assert_eq!(admission.half_open(), 5);
        for link in 5..8 {
            assert_eq!(admission.first_packet(&config, ip("192.0.2.1"), Source::Validated), Verdict::Accept);
            admission.begin(LinkId(link), ip(&format!("10.{link}.0.1")), Source::Validated);
        }
        let full = admission.first_packet(&config, ip("192.0.2.1"), Source::Validated);
        assert_eq!(full, Verdict::Replace(LinkId(2)), "six of eight are the proven ones'");
    }

    #[test]
    fn so_many_pinned_peers_are_remembered() {
        let mut admission = Admission::default();
        let peer = |number: usize| {
            let mut seed = [0; 32];
            seed.iter_mut().zip(number.to_le_bytes()).for_each(|(to, from)| *to = from);
            weir_base::Keypair::ed25519_from_seed(seed).peer_id()
        };
        (0..=PINNED_MAX).for_each(|number| admission.pin(peer(number)));
        assert!(admission.is_pinned(&peer(PINNED_MAX - 1)) && !admission.is_pinned(&peer(PINNED_MAX)));
    }

    #[test]
    fn sixteen_refusals_a_second_are_told_and_how_many_were_not() {
        let mut admission = Admission::default();
        let begin = Instant::from_millis(5_000);
        assert!((0..16).all(|_| admission.tell_refusal(begin) == Some(0)));
        assert!((0..3).all(|_| admission.tell_refusal(Instant::from_millis(5_999)).is_none()));
        assert_eq!(admission.tell_refusal(Instant::from_millis(6_000)), Some(3));
        assert_eq!(admission.tell_refusal(Instant::from_millis(6_000)), Some(0));
    }
}
