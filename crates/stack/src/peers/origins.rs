//! Where peers come from: faults that count against an address prefix, and bans of networks.
//!
//! Identities cost nothing, addresses do. What inbound peers do wrong counts against their prefix (IPv4 /24, IPv6 /56) too, under
//! whichever identity: newcomers from there get a smaller share, and where many identities were thrown away the prefix is
//! banned for a time. Peers that this node dialled, or the operator pinned, are not judged by their neighbours; networks that
//! admission exempts are not judged at all. An operator bans whole networks, whoever dialled.
//!
//! Threat: addresses can be had by the thousand, too. At most [`Config::max_peers`] prefixes are remembered, those with the
//! fewest points forgotten first, and at most [`MAX_BANS`] bans.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use weir_base::{Blame, Deadlines, Instant, UnixTime};
use weir_link::Network;

use super::standing::{Config, FORGOTTEN, MILLI, Share, halved};

/// Bans of networks at once.
pub const MAX_BANS: usize = 1024;

/// Why a network cannot be banned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{MAX_BANS} networks are banned already")]
pub struct TooManyBans;

#[derive(Clone, Copy, Debug)]
struct Score {
    points: u64, // thousandths as of `at`
    at: Instant,
    bans: u32,
}

/// Why a network is banned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BannedBy {
    /// The operator: it holds for every link.
    Operator,
    /// Faults of its inbound peers: it holds for links that peers dial.
    Faults,
}

/// The ban of a network as it is kept between runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkBan {
    /// Which addresses.
    pub network: Network,
    /// When it ends, by wall time.
    pub until: UnixTime,
    /// Why.
    pub by: BannedBy,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Origins {
    config: Config,
    exempt: Vec<Network>,
    prefixes: BTreeMap<Network, Score>,           // <= config.max_peers
    bans: BTreeMap<Network, (Instant, BannedBy)>, // <= MAX_BANS
    ends: Deadlines<Network>,                     // of bans
    changed: BTreeSet<Network>, // bans not yet offered for keeping, or ended; <= 2 * MAX_BANS
    moved: BTreeSet<Network>,   // whose bans began or ended and links were not told; taken in each turn
}

impl Origins {
    pub(crate) fn new(config: Config, exempt: Vec<Network>) -> Self {
        Self {
            config,
            exempt,
            prefixes: BTreeMap::new(),
            bans: BTreeMap::new(),
            ends: Deadlines::default(),
            changed: BTreeSet::new(),
            moved: BTreeSet::new(),
        }
    }

    /// An inbound peer at `ip` did something wrong. The ban of its prefix, where one follows.
    pub(crate) fn blame(&mut self, now: Instant, ip: IpAddr, blame: Blame) -> Option<(Network, Instant)> {
        let points = match blame {
            Blame::Misbehaved | Blame::Invalid => u64::from(self.config.points(blame)) * MILLI,
            Blame::Unreliable | Blame::Incompatible => 0,
        };
        if points == 0 || self.exempt.iter().any(|network| network.contains(ip)) {
            return None;
        }
        let prefix = prefix_of(ip);
        self.make_room(now, prefix);
        let half_life = self.config.half_life;
        let score = self.prefixes.entry(prefix).or_insert(Score { points: 0, at: now, bans: 0 });
        score.decay(now, half_life);
        score.points = score.points.saturating_add(points);
        if score.points < u64::from(self.config.ban_prefix) * MILLI || self.bans.contains_key(&prefix) {
            return None;
        }
        let until = now + self.config.ban_length(score.bans);
        score.bans = score.bans.saturating_add(1);
        score.points = 0; // the next ban needs as many again
        self.set(prefix, until, BannedBy::Faults).ok()?;
        Some((prefix, until))
    }

    /// Bans a network until `until`, by the operator.
    pub(crate) fn ban(&mut self, network: Network, until: Instant) -> Result<(), TooManyBans> {
        self.set(masked(network), until, BannedBy::Operator)
    }

    /// Ends the ban of a network, and forgets what counts against its prefixes.
    pub(crate) fn unban(&mut self, network: Network) {
        let network = masked(network);
        if self.bans.remove(&network).is_some() {
            self.note(network);
        }
        self.ends.set(network, None);
        self.prefixes.retain(|prefix, _| !network.contains(prefix.address));
    }

    /// Until when a link with `ip` is banned; `inbound`: the peer dialled it and is not pinned.
    pub(crate) fn banned(&self, now: Instant, ip: IpAddr, inbound: Inbound) -> Option<Instant> {
        let holds = |by: BannedBy| by == BannedBy::Operator || inbound == Inbound::Yes;
        let bans = self
            .bans
            .iter()
            .filter(|(network, (until, by))| *until > now && holds(*by) && network.contains(ip));
        bans.map(|(_, (until, _))| *until).max()
    }

    /// What the prefix of an inbound peer leaves of its share: a half once as much counts against it as bans one peer, a
    /// quarter at twice as much.
    pub(crate) fn share(&self, now: Instant, ip: IpAddr) -> Share {
        let Some(score) = self.prefixes.get(&prefix_of(ip)) else { return Share::Full };
        let mut score = *score;
        score.decay(now, self.config.half_life);
        let ban = u64::from(self.config.ban) * MILLI;
        match score.points {
            points if points >= ban.saturating_mul(2) => Share::Quarter,
            points if points >= ban => Share::Half,
            _ => Share::Full,
        }
    }

    /// Bans of networks, and when each ends.
    pub(crate) fn bans(&self) -> impl Iterator<Item = (Network, Instant)> + '_ {
        self.bans.iter().map(|(network, (until, _))| (*network, *until))
    }

    /// Ends the bans that are over; returns one such network per call.
    pub(crate) fn pop_released(&mut self, now: Instant) -> Option<Network> {
        let network = self.ends.pop_due(now)?;
        self.bans.remove(&network);
        self.note(network);
        Some(network)
    }

    /// When the next ban ends.
    pub(crate) fn next_release(&self) -> Option<Instant> {
        self.ends.next().map(|(due, _)| due)
    }

    /// A network whose ban should be kept anew, or (`None` inside) dropped.
    pub(crate) fn pop_changed(
        &mut self,
        now: Instant,
        wall: UnixTime,
    ) -> Option<(Network, Option<NetworkBan>)> {
        let network = self.changed.pop_first()?;
        let ban = self.bans.get(&network).map(|(until, by)| (wall + until.since(now), *by));
        Some((network, ban.map(|(until, by)| NetworkBan { network, until, by })))
    }

    /// Whether a ban should be kept anew, or dropped.
    pub(crate) fn has_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// Takes a ban kept earlier; one that is over changes nothing. A wall clock that went back makes a ban by faults no longer than
    /// the longest.
    pub(crate) fn restore(
        &mut self,
        now: Instant,
        wall: UnixTime,
        ban: &NetworkBan,
    ) -> Result<(), TooManyBans> {
        let left = Duration::from_millis(ban.until.as_millis().saturating_sub(wall.as_millis()));
        let left = match ban.by {
            BannedBy::Operator => left,
            BannedBy::Faults => left.min(self.config.ban_time_max),
        };
        let network = masked(ban.network);
        let until = self.bans.get(&network).map_or(Instant::ZERO, |(until, _)| *until).max(now + left);
        if left.is_zero() {
            return Ok(());
        }
        self.set(network, until, ban.by)
    }

    /// A network whose ban began or ended, and its ban.
    pub(crate) fn pop_moved(&mut self) -> Option<(Network, Option<(Instant, BannedBy)>)> {
        let network = self.moved.pop_first()?;
        Some((network, self.bans.get(&network).copied()))
    }

    fn note(&mut self, network: Network) {
        self.moved.insert(network);
        if self.changed.len() < 2 * MAX_BANS {
            self.changed.insert(network);
        }
    }

    fn set(&mut self, network: Network, until: Instant, by: BannedBy) -> Result<(), TooManyBans> {
        if self.bans.len() >= MAX_BANS && !self.bans.contains_key(&network) {
            return Err(TooManyBans);
        }
        self.bans.insert(network, (until, by));
        self.ends.set(network, Some(until));
        self.note(network);
        Ok(())
    }

    /// Drops what is forgotten; where nothing is, the prefix with the fewest points.
    fn make_room(&mut self, now: Instant, newcomer: Network) {
        let most = self.config.max_peers as usize;
        if self.prefixes.len() < most || self.prefixes.contains_key(&newcomer) {
            return;
        }
        let half_life = self.config.half_life;
        self.prefixes.retain(|_, score| {
            score.decay(now, half_life);
            score.points >= FORGOTTEN
        });
        if self.prefixes.len() < most {
            return;
        }
        let least = self.prefixes.iter().min_by_key(|(_, score)| score.points).map(|(prefix, _)| *prefix);
        if let Some(prefix) = least {
            self.prefixes.remove(&prefix);
        }
    }
}

/// Whether a link counts as one that its peer chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inbound {
    Yes,
    No,
}

impl Score {
    fn decay(&mut self, now: Instant, half_life: Duration) {
        self.points = halved(self.points, now.since(self.at), half_life);
        self.at = self.at.max(now);
    }
}

/// The prefix that an address counts for: as many addresses as one owner usually has.
fn prefix_of(ip: IpAddr) -> Network {
    let ip = ip.to_canonical();
    masked(Network { address: ip, bits: if ip.is_ipv4() { 24 } else { 56 } })
}

/// The network with nothing but its leading bits, so that it has one name.
fn masked(network: Network) -> Network {
    let keep = |width: u8| u32::from(width - network.bits.min(width));
    match network.address.to_canonical() {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(keep(32)).unwrap_or(0);
            Network { address: IpAddr::V4((u32::from(ip) & mask).into()), bits: network.bits.min(32) }
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(keep(128)).unwrap_or(0);
            Network { address: IpAddr::V6((u128::from(ip) & mask).into()), bits: network.bits.min(128) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant::ZERO;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn network(address: &str, bits: u8) -> Network {
        Network { address: ip(address), bits }
    }

    fn origins() -> Origins {
        Origins::new(Config::default(), vec![network("127.0.0.0", 8)])
    }

    #[test]
    fn identities_that_are_thrown_away_cost_their_prefix_its_share_and_then_a_ban() {
        let mut origins = origins();
        let mut shares = Vec::new();
        let mut banned = None;
        for identity in 0..8_u8 {
            shares.push(origins.share(NOW, ip("192.0.2.200")));
            let from = IpAddr::from([192, 0, 2, identity]);
            banned = banned.or(origins.blame(NOW, from, Blame::Misbehaved));
        }
        assert_eq!(shares[..2], [Share::Full; 2]);
        assert_eq!((shares[2], shares[4]), (Share::Half, Share::Quarter));
        let (prefix, until) = banned.expect("400 points ban it");
        assert_eq!((prefix, until), (network("192.0.2.0", 24), Instant::from_millis(600_000)));
        assert_eq!(origins.banned(NOW, ip("::ffff:192.0.2.77"), Inbound::Yes), Some(until));
        assert_eq!(
            origins.banned(NOW, ip("192.0.2.77"), Inbound::No),
            None,
            "who was dialled is not judged by neighbours"
        );
        assert_eq!(origins.banned(NOW, ip("192.0.3.77"), Inbound::Yes), None);
        assert_eq!(
            origins.banned(until, ip("192.0.2.77"), Inbound::Yes),
            None,
            "it is over, if not released yet"
        );
        assert_eq!(origins.pop_released(until), Some(prefix));
        assert_eq!(origins.banned(until, ip("192.0.2.77"), Inbound::Yes), None);
    }

    #[test]
    fn a_prefix_is_forgotten_below_a_tenth_of_a_point() {
        let mut origins = Origins::new(Config { max_peers: 2, ..Config::default() }, vec![]);
        let [kept, forgotten, new] = [1, 2, 3].map(|third| prefix_of(IpAddr::from([192, 0, third, 1])));
        for (prefix, points) in [(kept, FORGOTTEN), (forgotten, FORGOTTEN - 1)] {
            origins.prefixes.insert(prefix, Score { points, at: NOW, bans: 0 });
        }
        origins.make_room(NOW, new);
        assert_eq!(origins.prefixes.into_keys().collect::<Vec<_>>(), [kept]);
    }

    #[test]
    fn exempt_networks_and_what_was_only_late_do_not_count() {
        let mut origins = origins();
        for _ in 0..1_000 {
            assert_eq!(origins.blame(NOW, ip("127.0.0.1"), Blame::Misbehaved), None);
            assert_eq!(origins.blame(NOW, ip("192.0.2.1"), Blame::Unreliable), None);
        }
        assert_eq!(origins.prefixes.len(), 0);
    }

    #[test]
    fn bans_of_a_prefix_double_and_its_points_decay() {
        let mut origins = origins();
        let mut now = NOW;
        let mut lengths = Vec::new();
        for _ in 0..16 {
            if let Some((_, until)) = origins.blame(now, ip("2001:db8:1:2ff::1"), Blame::Misbehaved) {
                lengths.push(until.since(now).as_secs());
                now = until;
                origins.pop_released(now);
            }
        }
        assert_eq!(lengths, [600, 1_200]);
        origins.blame(now, ip("2001:db8:1:200::9"), Blame::Misbehaved);
        origins.blame(now, ip("2001:db8:1:200::9"), Blame::Misbehaved);
        assert_eq!(origins.share(now, ip("2001:db8:1:2aa::3")), Share::Half);
        assert_eq!(origins.share(now + Duration::from_secs(600), ip("2001:db8:1:2aa::3")), Share::Full);
    }

    #[test]
    fn an_operators_ban_holds_for_every_link_and_has_one_name() {
        let mut origins = origins();
        let until = Instant::from_millis(1_000);
        origins.ban(network("10.7.3.9", 16), until).unwrap();
        assert_eq!(origins.banned(NOW, ip("10.7.200.1"), Inbound::No), Some(until));
        assert_eq!(origins.bans().collect::<Vec<_>>(), [(network("10.7.0.0", 16), until)]);
        assert_eq!(origins.next_release(), Some(until));
        origins.unban(network("10.7.0.0", 16));
        assert_eq!(origins.banned(NOW, ip("10.7.200.1"), Inbound::Yes), None);
        assert_eq!(origins.next_release(), None);
    }

    #[test]
    fn bans_are_kept_for_the_next_run_and_end_there_at_the_same_time() {
        let wall = UnixTime::from_secs(1_000_000);
        let mut before = origins();
        before.ban(network("10.7.0.0", 16), Instant::from_millis(3_600_000)).unwrap();
        for _ in 0..8 {
            before.blame(NOW, ip("192.0.2.1"), Blame::Misbehaved);
        }
        let mut kept = Vec::new();
        while let Some((_, ban)) = before.pop_changed(NOW, wall) {
            kept.push(ban.expect("both hold"));
        }
        assert!(!before.has_changed());
        assert_eq!(kept.iter().map(|ban| ban.by).collect::<Vec<_>>(), [BannedBy::Operator, BannedBy::Faults]);

        let mut after = origins();
        let later = UnixTime::from_secs(1_000_100);
        kept.iter().for_each(|ban| after.restore(NOW, later, ban).unwrap());
        let secs = |secs: u64| Some(Instant::from_millis(secs * 1_000));
        assert_eq!(
            after.banned(NOW, ip("10.7.1.1"), Inbound::No),
            secs(3_500),
            "the operator's holds for all"
        );
        assert_eq!(after.banned(NOW, ip("192.0.2.9"), Inbound::Yes), secs(500));
        assert_eq!(after.banned(NOW, ip("192.0.2.9"), Inbound::No), None);

        let over = UnixTime::from_secs(2_000_000);
        let mut much_later = origins();
        kept.iter().for_each(|ban| much_later.restore(NOW, over, ban).unwrap());
        assert_eq!((much_later.bans().count(), much_later.has_changed()), (0, false));
        let back = UnixTime::from_secs(0);
        much_later.restore(NOW, back, &kept[1]).unwrap();
        assert_eq!(
            much_later.banned(NOW, ip("192.0.2.9"), Inbound::Yes),
            secs(86_400),
            "never longer than a ban"
        );
    }

    #[test]
    fn a_ban_that_ends_is_told_to_who_keeps_it() {
        let mut origins = origins();
        let until = Instant::from_millis(1_000);
        origins.ban(network("10.7.0.0", 16), until).unwrap();
        origins.ban(network("10.8.0.0", 16), until).unwrap();
        while origins.pop_changed(NOW, UnixTime::default()).is_some() {}
        origins.unban(network("10.7.0.0", 16));
        assert_eq!(origins.pop_changed(NOW, UnixTime::default()), Some((network("10.7.0.0", 16), None)));
        assert_eq!(origins.pop_released(until), Some(network("10.8.0.0", 16)));
        assert_eq!(origins.pop_changed(until, UnixTime::default()), Some((network("10.8.0.0", 16), None)));
    }

    #[test]
    fn both_tables_are_bounded() {
        let mut origins = Origins::new(Config { max_peers: 2, ..Config::default() }, vec![]);
        origins.blame(NOW, ip("10.0.0.1"), Blame::Misbehaved);
        origins.blame(NOW, ip("10.0.1.1"), Blame::Invalid);
        origins.blame(NOW, ip("10.0.2.1"), Blame::Misbehaved);
        let left: Vec<IpAddr> = origins.prefixes.keys().map(|prefix| prefix.address).collect();
        assert_eq!(left, [ip("10.0.0.0"), ip("10.0.2.0")], "the one with the fewest points went");
        for count in 0..=MAX_BANS {
            let address = IpAddr::from(u32::try_from(count << 8).unwrap().to_be_bytes());
            let banned = origins.ban(Network { address, bits: 24 }, Instant::FAR);
            assert_eq!(banned.is_ok(), count < MAX_BANS);
        }
    }

    #[test]
    fn a_ban_ends_to_the_instant_and_the_longest_counts() {
        let mut origins = origins();
        let (short, long) = (Instant::from_millis(1_000), Instant::from_millis(2_000));
        origins.ban(network("10.7.0.0", 16), short).unwrap();
        origins.ban(network("10.0.0.0", 8), long).unwrap();
        let banned = |now: u64| origins.banned(Instant::from_millis(now), ip("10.7.1.1"), Inbound::No);
        assert_eq!((banned(0), banned(1_999), banned(2_000)), (Some(long), Some(long), None));
    }

    #[test]
    fn an_operator_who_ends_a_ban_forgives_the_prefixes_in_it_and_no_others() {
        let mut origins = origins();
        for address in ["10.7.0.1", "10.7.9.1", "10.8.0.1"] {
            origins.blame(NOW, ip(address), Blame::Misbehaved);
            origins.blame(NOW, ip(address), Blame::Misbehaved);
        }
        origins.unban(network("10.7.0.0", 16));
        let shares = ["10.7.0.1", "10.7.9.1", "10.8.0.1"].map(|address| origins.share(NOW, ip(address)));
        assert_eq!(shares, [Share::Full, Share::Full, Share::Half]);
        assert!(!origins.has_changed(), "nothing was banned");
    }

    #[test]
    fn a_known_prefix_needs_no_room_and_what_decayed_makes_some() {
        let mut origins = Origins::new(Config { max_peers: 2, ..Config::default() }, vec![]);
        origins.blame(NOW, ip("10.0.0.1"), Blame::Invalid);
        origins.blame(NOW, ip("10.0.1.1"), Blame::Misbehaved);
        origins.blame(NOW, ip("10.0.1.2"), Blame::Misbehaved);
        assert_eq!(origins.prefixes.len(), 2, "the first stays");
        let later = NOW + Duration::from_secs(600 * 8);
        origins.blame(later, ip("10.0.2.1"), Blame::Invalid);
        let left: Vec<IpAddr> = origins.prefixes.keys().map(|prefix| prefix.address).collect();
        assert_eq!(left, [ip("10.0.1.0"), ip("10.0.2.0")], "of 10 points less than a tenth is left");
    }

    #[test]
    fn changes_of_twice_as_many_networks_as_can_be_banned_are_kept() {
        let mut origins = origins();
        let nth = |number: usize| IpAddr::from(u32::try_from(number << 8).unwrap().to_be_bytes());
        for number in 0..=2 * MAX_BANS {
            let network = Network { address: nth(number), bits: 24 };
            origins.ban(network, Instant::FAR).unwrap();
            origins.unban(network);
        }
        assert_eq!(origins.changed.len(), 2 * MAX_BANS);
    }
}
