//! Standing: a peer's sum of faults, and what follows from it.
//!
//! Each fault adds points; points halve in every half-life. What a peer *did wrong* (misbehaved, invalid) and what it *did
//! not do* (unreliable) are summed apart: both make its share smaller, only the first disconnects and bans. A peer that
//! speaks something else is nobody's fault and adds nothing. A ban is not made longer by what was sent before it. Bans grow with each repetition, to a cap. Persistent peers are
//! not exempt; an operator overrules everything.
//!
//! Threat: identities cost nothing. At most [`Config::max_peers`] are remembered; the one with the fewest points goes first,
//! and a banned one only when all are banned. Points saturate.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use weir_base::identity::PeerId;
use weir_base::{Blame, Deadlines, Instant, LimitError, UnixTime, units};

/// Points in memory are thousandths, so that decay does not round small sums away.
pub(super) const MILLI: u64 = 1000;
/// Below this many thousandths a sum counts as forgotten.
pub(super) const FORGOTTEN: u64 = 100;

/// Weights and thresholds of standing. Points are whole numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Points for breaking the protocol. Default: 50.
    pub misbehaved: u32,
    /// Points for a wrong item, tip or body. Default: 10.
    pub invalid: u32,
    /// Points for not delivering; never a reason to ban. Default: 1.
    pub unreliable: u32,
    /// Time in which points halve. Default: 10 minutes.
    #[serde(with = "units::duration")]
    pub half_life: Duration,
    /// Points of either sum from which a peer's share is halved; quartered at twice as many. Default: 10.
    pub lower: u32,
    /// Points for wrongs at which the link is closed. Default: 50.
    pub disconnect: u32,
    /// Points for wrongs at which the peer is banned. Default: 100.
    pub ban: u32,
    /// Points for wrongs of all inbound peers of one address prefix (IPv4 /24, IPv6 /56) at which the prefix is banned; from `ban` on
    /// peers from there get half their share, from twice `ban` a quarter. Default: 400.
    pub ban_prefix: u32,
    /// Length of the first ban; each further one lasts twice as long. Default: 10 minutes.
    #[serde(with = "units::duration")]
    pub ban_time: Duration,
    /// The longest ban. Default: 24 hours.
    #[serde(with = "units::duration")]
    pub ban_time_max: Duration,
    /// Peers remembered. Default: 4,096.
    pub max_peers: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            misbehaved: 50,
            invalid: 10,
            unreliable: 1,
            half_life: Duration::from_secs(600),
            lower: 10,
            disconnect: 50,
            ban: 100,
            ban_prefix: 400,
            ban_time: Duration::from_secs(600),
            ban_time_max: Duration::from_secs(86_400),
            max_peers: 4096,
        }
    }
}

impl Config {
    /// Checks every field; names the first that does not hold, and the remedy.
    pub(crate) fn validate(&self) -> Result<(), LimitError> {
        if self.half_life.is_zero() {
            return Err(LimitError::new("half_life", "must be above 0; 10 min is usual"));
        }
        if self.lower == 0 || self.lower > self.disconnect {
            return Err(LimitError::new("lower", "must be at least 1 and at most ").field("disconnect"));
        }
        if self.disconnect > self.ban {
            return Err(LimitError::new("disconnect", "must be at most ").field("ban"));
        }
        if self.ban_prefix < self.ban {
            return Err(LimitError::new("ban_prefix", "must be at least ").field("ban"));
        }
        if self.ban_time.is_zero() || self.ban_time > self.ban_time_max {
            return Err(LimitError::new("ban_time", "must be above 0 and at most ").field("ban_time_max"));
        }
        if self.max_peers == 0 {
            return Err(LimitError::new("max_peers", "must be at least 1; 4096 is usual"));
        }
        Ok(())
    }

    /// How long a ban lasts after so many others.
    pub(super) fn ban_length(&self, bans: u32) -> Duration {
        let doubled = self.ban_time.saturating_mul(2_u32.checked_pow(bans).unwrap_or(u32::MAX));
        doubled.min(self.ban_time_max)
    }

    pub(super) const fn points(&self, blame: Blame) -> u32 {
        match blame {
            Blame::Misbehaved => self.misbehaved,
            Blame::Invalid => self.invalid,
            Blame::Unreliable => self.unreliable,
            Blame::Incompatible => 0,
        }
    }
}

/// How much of what a peer would get it still gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Share {
    /// A quarter.
    Quarter,
    /// A half.
    Half,
    /// All of it.
    Full,
}

impl Share {
    /// Quarters of a whole share.
    pub const fn quarters(self) -> u8 {
        match self {
            Self::Quarter => 1,
            Self::Half => 2,
            Self::Full => 4,
        }
    }
}

/// What follows from a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reaction {
    /// Nothing beyond the points.
    None,
    /// The link should be closed.
    Disconnect,
    /// The peer is banned until then; its link should be closed.
    Ban {
        /// When the ban ends.
        until: Instant,
    },
}

/// A peer's standing as it is kept between runs and shown to operators. `Display` of the peer is its text form.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Record {
    /// Whose it is.
    pub peer: PeerId,
    /// Thousandths of a point for wrongs (misbehaved, invalid), as of `at`.
    pub wrongs: u64,
    /// Thousandths of a point for what was not delivered, as of `at`.
    pub lapses: u64,
    /// Wall time of the sums.
    pub at: UnixTime,
    /// Bans so far, each of which doubles the next.
    pub bans: u32,
    /// End of the present ban by wall time.
    pub banned_until: Option<UnixTime>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    wrongs: u64, // thousandths of a point as of `at`
    lapses: u64,
    at: Instant,
    bans: u32,
    banned_until: Option<Instant>,
}

/// Everybody's standing. Pure bookkeeping: who calls `blame` carries the reaction out.
#[derive(Debug)]
pub struct Standing {
    config: Config,
    peers: BTreeMap<PeerId, Entry>, // <= config.max_peers
    bans: Deadlines<PeerId>,
    changed: BTreeSet<PeerId>, // not yet offered for keeping; may name forgotten ones, <= 2 * max_peers
    moved: BTreeSet<PeerId>,   // whose bans began or ended and links were not told; taken in each turn
}

impl Standing {
    pub(crate) fn new(config: Config) -> Self {
        let (changed, moved) = (BTreeSet::new(), BTreeSet::new());
        Self { config, peers: BTreeMap::new(), bans: Deadlines::default(), changed, moved }
    }

    /// Adds what a fault weighs and says what follows.
    pub(crate) fn blame(&mut self, now: Instant, peer: PeerId, blame: Blame) -> Reaction {
        let points = u64::from(self.config.points(blame)) * MILLI;
        if points == 0 {
            return Reaction::None;
        }
        let entry = self.entry(now, peer);
        if let Some(until) = entry.banned_until.filter(|until| *until > now) {
            return Reaction::Ban { until };
        }
        let lapse = blame == Blame::Unreliable;
        let sum = if lapse { &mut entry.lapses } else { &mut entry.wrongs };
        *sum = sum.saturating_add(points);
        let (wrongs, bans) = (entry.wrongs, entry.bans);
        self.note(peer);
        if lapse {
            Reaction::None
        } else if wrongs >= u64::from(self.config.ban) * MILLI {
            let until = now + self.config.ban_length(bans);
            self.ban(now, peer, until);
            Reaction::Ban { until }
        } else if wrongs >= u64::from(self.config.disconnect) * MILLI {
            Reaction::Disconnect
        } else {
            Reaction::None
        }
    }

    /// Bans `peer` until `until`, whatever its points.
    pub(crate) fn ban(&mut self, now: Instant, peer: PeerId, until: Instant) {
        let entry = self.entry(now, peer);
        entry.bans = entry.bans.saturating_add(1);
        entry.banned_until = Some(until);
        self.set_ban(peer, Some(until));
        self.note(peer);
    }

    /// Ends a ban; the points that led to it are halved below the threshold, so that the next fault does not ban at once.
    pub(crate) fn unban(&mut self, now: Instant, peer: PeerId) {
        let limit = u64::from(self.config.disconnect) * MILLI / 2;
        self.set_ban(peer, None);
        if let Some(entry) = self.peers.get_mut(&peer) {
            entry.decay(now, &self.config);
            entry.banned_until = None;
            entry.wrongs = entry.wrongs.min(limit);
            self.note(peer);
        }
    }

    /// Forgets everything against `peer`.
    pub(crate) fn forgive(&mut self, peer: PeerId) {
        self.set_ban(peer, None);
        if self.peers.remove(&peer).is_some() {
            self.note(peer);
        }
    }

    /// Whether `peer` is banned, and until when.
    pub fn banned(&self, now: Instant, peer: &PeerId) -> Option<Instant> {
        self.peers.get(peer)?.banned_until.filter(|until| *until > now)
    }

    /// Who is banned, and until when, by peer id.
    pub fn bans(&self, now: Instant) -> impl Iterator<Item = (PeerId, Instant)> + '_ {
        let bans = self.peers.iter().filter_map(|(peer, entry)| Some((*peer, entry.banned_until?)));
        bans.filter(move |(_, until)| *until > now)
    }

    /// Points against `peer`, in thousandths: of both sums together.
    pub(crate) fn points_against(&self, now: Instant, peer: &PeerId) -> u64 {
        let Some(entry) = self.peers.get(peer) else { return 0 };
        let mut entry = *entry;
        entry.decay(now, &self.config);
        entry.wrongs.saturating_add(entry.lapses)
    }

    /// How much of its share `peer` still gets.
    pub fn share(&self, now: Instant, peer: &PeerId) -> Share {
        let Some(entry) = self.peers.get(peer) else { return Share::Full };
        let mut entry = *entry;
        entry.decay(now, &self.config);
        let (worse, lower) = (entry.wrongs.max(entry.lapses), u64::from(self.config.lower) * MILLI);
        match worse {
            _ if worse >= lower.saturating_mul(2) => Share::Quarter,
            _ if worse >= lower => Share::Half,
            _ => Share::Full,
        }
    }

    /// Ends the bans that are over; returns one such peer per call.
    pub(crate) fn pop_released(&mut self, now: Instant) -> Option<PeerId> {
        let peer = self.bans.pop_due(now)?;
        self.moved.insert(peer);
        self.unban(now, peer);
        Some(peer)
    }

    /// When the next ban ends.
    pub(crate) fn next_release(&self) -> Option<Instant> {
        self.bans.next().map(|(due, _)| due)
    }

    /// A peer whose record should be kept anew, or (`None` inside) dropped.
    pub(crate) fn pop_changed(&mut self, now: Instant, wall: UnixTime) -> Option<(PeerId, Option<Record>)> {
        let peer = self.changed.pop_first()?;
        Some((peer, self.record(now, wall, &peer)))
    }

    /// Whether a record should be kept anew.
    pub(crate) fn has_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// What there is against `peer`, as of now.
    pub fn record(&self, now: Instant, wall: UnixTime, peer: &PeerId) -> Option<Record> {
        self.peers.get(peer).map(|entry| entry.record(*peer, now, wall, &self.config))
    }

    /// Everybody's record, by peer id.
    pub fn records(&self, now: Instant, wall: UnixTime) -> impl Iterator<Item = Record> + '_ {
        self.peers.iter().map(move |(peer, entry)| entry.record(*peer, now, wall, &self.config))
    }

    /// Takes a record kept earlier. A wall clock that went back since then forgets nothing; a ban never grows.
    pub(crate) fn restore(&mut self, now: Instant, wall: UnixTime, record: &Record) {
        let longest = self.config.ban_time_max;
        let past = Duration::from_millis(wall.as_millis().saturating_sub(record.at.as_millis()));
        let left = |until: UnixTime| {
            Duration::from_millis(until.as_millis().saturating_sub(wall.as_millis())).min(longest)
        };
        let half_life = self.config.half_life;
        let entry = self.entry(now, record.peer);
        entry.wrongs = entry.wrongs.max(halved(record.wrongs, past, half_life));
        entry.lapses = entry.lapses.max(halved(record.lapses, past, half_life));
        entry.bans = entry.bans.max(record.bans);
        entry.banned_until =
            record.banned_until.map(left).filter(|left| !left.is_zero()).map(|left| now + left);
        let until = entry.banned_until;
        self.set_ban(record.peer, until);
    }

    fn set_ban(&mut self, peer: PeerId, until: Option<Instant>) {
        if until.is_some() || self.bans.get(peer).is_some() {
            self.moved.insert(peer);
        }
        self.bans.set(peer, until);
    }

    /// A peer whose ban began or ended, and until when it is banned.
    pub(crate) fn pop_moved(&mut self) -> Option<(PeerId, Option<Instant>)> {
        let peer = self.moved.pop_first()?;
        Some((peer, self.bans.get(peer)))
    }

    fn note(&mut self, peer: PeerId) {
        if self.changed.len() < 2 * self.config.max_peers as usize {
            self.changed.insert(peer);
        }
    }

    /// The entry of `peer`, decayed to `now`; room is made where the table is full.
    fn entry(&mut self, now: Instant, peer: PeerId) -> &mut Entry {
        if !self.peers.contains_key(&peer) && self.peers.len() >= self.config.max_peers as usize {
            self.evict(now);
        }
        let fresh = Entry { wrongs: 0, lapses: 0, at: now, bans: 0, banned_until: None };
        let entry = self.peers.entry(peer).or_insert(fresh);
        entry.decay(now, &self.config);
        entry
    }

    /// Drops what is forgotten; where nothing is, the entry with the fewest points.
    fn evict(&mut self, now: Instant) {
        let config = &self.config;
        self.peers.retain(|_, entry| {
            entry.decay(now, config);
            !entry.is_forgotten()
        });
        if self.peers.len() < config.max_peers as usize {
            return;
        }
        let rank = |entry: &Entry| (entry.banned_until, entry.wrongs, entry.lapses);
        let least = self.peers.iter().min_by_key(|(_, entry)| rank(entry)).map(|(peer, _)| *peer);
        if let Some(peer) = least {
            self.forgive(peer);
        }
    }
}

impl Entry {
    fn decay(&mut self, now: Instant, config: &Config) {
        let past = now.since(self.at);
        self.wrongs = halved(self.wrongs, past, config.half_life);
        self.lapses = halved(self.lapses, past, config.half_life);
        self.at = self.at.max(now);
    }

    const fn is_forgotten(&self) -> bool {
        self.wrongs < FORGOTTEN && self.lapses < FORGOTTEN && self.banned_until.is_none()
    }

    fn record(&self, peer: PeerId, now: Instant, wall: UnixTime, config: &Config) -> Record {
        let mut entry = *self;
        entry.decay(now, config);
        let banned_until =
            entry.banned_until.filter(|until| *until > now).map(|until| wall + until.since(now));
        Record { peer, wrongs: entry.wrongs, lapses: entry.lapses, at: wall, bans: entry.bans, banned_until }
    }
}

/// `sum` after `past`: halved for each whole half-life, and by a straight line within one.
pub(super) fn halved(sum: u64, past: Duration, half_life: Duration) -> u64 {
    let half_life = half_life.as_nanos().max(1);
    let whole = past.as_nanos() / half_life;
    let part = past.as_nanos() % half_life;
    let Some(left) = u32::try_from(whole).ok().and_then(|whole| sum.checked_shr(whole)) else { return 0 };
    let lost = u128::from(left) * part / (2 * half_life);
    left - u64::try_from(lost).unwrap_or(left).min(left)
}

#[cfg(test)]
mod tests;
