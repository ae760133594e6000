//! Who may come in: limits on half-open handshakes and inbound links, per address, prefix, group and in all, in number and in rate.
//!
//! Threat: one operator with many addresses fills the slots, starts handshakes and leaves, or completes one after the other. Each limit is
//! counted by what an address costs its owner: one IP (IPv6 /64), a prefix (/24, /56), a group (`Group`: /16, /32).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use weir_base::identity::PeerId;
use weir_base::stream::Group;
use weir_base::{Instant, LinkId};

use crate::Network;
use crate::bans::{Ban, Bans, End};
use crate::config::AdmissionConfig;
use crate::gate::{Attempt, Gate, Refusal};
use crate::link::Source;
use crate::origins::{Prefix, prefixes};
use crate::rates::{Cost, Rates};
use crate::table::Table;

/// Refusals that the user is told of in a second: peers cause them.
const REFUSALS_TOLD: u32 = 16;
/// Peers that are remembered as pinned: far more than an operator names.
const PINNED_MAX: usize = 1024;
/// A handshake from an address that has all its links takes so much from its buckets: it leads to a link only where a peer comes
/// back to its place.
const AT_LIMIT: u32 = 2;
/// Steps in which it is told apart who began more handshakes lately: a quarter of what may begin at once, by default four of an IP, so
/// that a peer that tries again is no worse than one that tries once.
const PACES: u128 = 4;

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
    /// Go on with it, and give this one up for it: of those under way the oldest from where most come.
    Replace(LinkId),
    /// Too many began lately from there.
    TooFast(Network),
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
    rates: Rates,
    inbound: Counts,
    bans: Bans,
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
    /// taken, or when they come too fast. A validated one that does not come too fast always finds a place.
    pub(crate) fn first_packet(
        &mut self,
        now: Instant,
        config: &AdmissionConfig,
        ip: IpAddr,
        source: Source,
    ) -> Verdict {
        let reserved = config.retry_after.min(config.max_half_open / 4);
        let exempt = is_exempt(config, ip);
        let costs = self.costs(config, ip);
        if source == Source::Unvalidated {
            let free = self.half_open.unvalidated.len() < usize::try_from(reserved).unwrap_or(usize::MAX);
            let in_time = exempt || self.rates.check(now, costs, config.handshake_bucket()).is_ok();
            let goes_on = free && in_time && (exempt || self.rates.take_unproven(now, reserved));
            return if goes_on { Verdict::Accept } else { Verdict::Retry };
        }
        if !exempt && let Err(prefix) = self.rates.take(now, costs, config.handshake_bucket()) {
            return Verdict::TooFast(prefix.network());
        }
        let limits = [config.half_open_per_ip, config.half_open_per_prefix, u32::MAX];
        let counts = &self.half_open.counts;
        let full = counts.all >= config.max_half_open.saturating_sub(reserved).max(1);
        let crowded = !exempt && !counts.has_room(ip, limits);
        let victim = match (crowded, full) {
            (true, _) => self.oldest_near(ip, limits),
            (false, true) => self.oldest_of_the_fastest(now, config.handshake_bucket()),
            (false, false) => None,
        };
        victim.map_or(Verdict::Accept, Verdict::Replace)
    }

    /// A handshake is complete whose address was not proven when it began: now it counts for the address.
    pub(crate) fn note_proven(&mut self, now: Instant, config: &AdmissionConfig, ip: IpAddr) {
        if !is_exempt(config, ip) {
            let costs = self.costs(config, ip);
            self.rates.charge(now, costs, config.handshake_bucket());
        }
    }

    /// What one more handshake from `ip` costs it.
    fn costs(&self, config: &AdmissionConfig, ip: IpAddr) -> [Cost; 3] {
        let [own, prefix, group] = prefixes(ip);
        let cost = |prefix: Prefix, limit: u32| {
            let times = if self.inbound.of(&prefix) >= limit { AT_LIMIT } else { 1 };
            (prefix, config.handshake_interval.saturating_mul(times) / limit.max(1))
        };
        [
            cost(own, config.inbound_per_ip),
            cost(prefix, config.inbound_per_prefix),
            cost(group, config.inbound_per_group),
        ]
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

    /// The oldest handshake from where most began lately, its address, prefix and group taken together; of those that are equal in this
    /// the oldest of the most crowded group. So one that takes long is not given up because others come fast.
    fn oldest_of_the_fastest(&self, now: Instant, bucket: Duration) -> Option<LinkId> {
        let counts = &self.half_open.counts;
        let pace =
            |prefix: Prefix| self.rates.used(now, prefix).as_nanos() * PACES / bucket.as_nanos().max(1);
        let paces = |ip: IpAddr| prefixes(ip).into_iter().map(pace).sum::<u128>();
        let all = self.half_open.validated.iter();
        all.max_by_key(|(link, ip)| (paces(**ip), counts.crowd(**ip), std::cmp::Reverse(**link)))
            .map(|(link, _)| *link)
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

    /// A ban holds until then; `None`: it has ended.
    pub(crate) fn set_ban(&mut self, ban: Ban, until: Option<Instant>) {
        self.bans.set(ban, until);
    }

    /// Whether bans let anybody connect, or be dialled, at an address.
    pub(crate) fn check_address(&self, now: Instant, ip: IpAddr, dialler: bool) -> Result<(), Refusal> {
        let end = if dialler || !self.pinned.is_empty() { End::Other } else { End::Comer };
        self.bans.check_address(now, ip, end)
    }

    /// Whether bans let a peer that has proven who it is have a link.
    pub(crate) fn check_peer(
        &self,
        now: Instant,
        peer: &PeerId,
        ip: Option<IpAddr>,
        dialler: bool,
    ) -> Result<(), Refusal> {
        self.bans.check_peer(now, peer)?;
        let end = if dialler || self.is_pinned(peer) { End::Other } else { End::Comer };
        ip.map_or(Ok(()), |ip| self.bans.check_address(now, ip, end))
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
        Some(Refusal::Crowded { count: self.inbound.of(&prefix), limit, network: prefix.network() })
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
mod tests;
