//! What is held against whom, by peer and by address, and what the host keeps of it for the next run.

use std::net::IpAddr;
use std::time::Duration;

use weir_base::identity::PeerId;
use weir_base::{Blame, Instant, UnixTime};
use weir_link::{Ban, Network};

use super::origins::{BannedBy, Inbound, NetworkBan, Origins, TooManyBans};
use super::standing::{self, Reaction, Record, Share, Standing};

/// Who pays for a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Blamed {
    pub(crate) peer: PeerId,
    /// The address that it came from, where it dialled and is not pinned: addresses are judged by those alone.
    pub(crate) inbound_from: Option<IpAddr>,
}

/// Changed standings are offered to the host so long after the first change: one write for a burst of faults.
const PERSIST_AFTER: Duration = Duration::from_secs(1);

/// See the module. Who calls `blame` carries the reaction out.
#[derive(Debug)]
pub(crate) struct Reputation {
    standing: Standing,
    origins: Origins,
    wall: (Instant, UnixTime),
    persist_at: Option<Instant>,
    faults: u64,
    bans: u64,
}

impl Reputation {
    /// `exempt`: networks whose addresses are not judged.
    pub(crate) fn new(config: standing::Config, exempt: Vec<Network>, wall: UnixTime) -> Self {
        Self {
            origins: Origins::new(config.clone(), exempt),
            standing: Standing::new(config),
            wall: (Instant::ZERO, wall),
            persist_at: None,
            faults: 0,
            bans: 0,
        }
    }

    pub(crate) fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Networks that are banned, and until when.
    pub(crate) fn networks(&self) -> impl Iterator<Item = (Network, Instant)> + '_ {
        self.origins.bans()
    }

    /// Faults and bans so far.
    pub(crate) fn counters(&self) -> (u64, u64) {
        (self.faults, self.bans)
    }

    /// The wall clock read `wall` at `now`.
    pub(crate) fn set_wall(&mut self, now: Instant, wall: UnixTime) {
        self.wall = (now, wall);
    }

    fn wall(&self, now: Instant) -> UnixTime {
        self.wall.1 + now.since(self.wall.0)
    }

    /// Everybody's standing as it should be kept for the next run, by peer id.
    pub(crate) fn records(&self, now: Instant) -> impl Iterator<Item = Record> + '_ {
        self.standing.records(now, self.wall(now))
    }

    /// Until when an address is banned.
    pub(crate) fn banned_address(&self, now: Instant, ip: IpAddr, inbound: Inbound) -> Option<Instant> {
        self.origins.banned(now, ip, inbound)
    }

    /// How much of its share a peer still gets.
    pub(crate) fn share(&self, now: Instant, blamed: &Blamed) -> Share {
        let own = self.standing.share(now, &blamed.peer);
        blamed.inbound_from.map_or(own, |ip| own.min(self.origins.share(now, ip)))
    }

    /// Notes a fault, and says what follows for the peer, and for the addresses that it came from.
    pub(crate) fn blame(
        &mut self,
        now: Instant,
        blamed: Blamed,
        blame: Blame,
    ) -> (Reaction, Option<(Network, Instant)>) {
        let banned = self.standing.banned(now, &blamed.peer).is_some();
        let reaction = self.standing.blame(now, blamed.peer, blame);
        let from = blamed.inbound_from.filter(|_| !banned); // what was sent before a ban counts no more, here too
        let network = from.and_then(|ip| self.origins.blame(now, ip, blame));
        self.faults += 1;
        let ban = !banned && matches!(reaction, Reaction::Ban { .. });
        self.bans += u64::from(ban) + u64::from(network.is_some());
        self.touched(now);
        (reaction, network)
    }

    /// Bans a peer, by the operator.
    pub(crate) fn ban(&mut self, now: Instant, peer: PeerId, until: Instant) {
        self.standing.ban(now, peer, until);
        self.bans += 1;
        self.touched(now);
    }

    /// Bans a network, by the operator.
    pub(crate) fn ban_network(
        &mut self,
        now: Instant,
        network: Network,
        until: Instant,
    ) -> Result<(), TooManyBans> {
        self.origins.ban(network, until)?;
        self.bans += 1;
        self.touched(now);
        Ok(())
    }

    pub(crate) fn unban(&mut self, now: Instant, peer: PeerId) {
        self.standing.unban(now, peer);
        self.touched(now);
    }

    pub(crate) fn unban_network(&mut self, now: Instant, network: Network) {
        self.origins.unban(network);
        self.touched(now);
    }

    pub(crate) fn forgive(&mut self, now: Instant, peer: PeerId) {
        self.standing.forgive(peer);
        self.touched(now);
    }

    pub(crate) fn restore(&mut self, now: Instant, record: &Record) {
        let wall = self.wall(now);
        self.standing.restore(now, wall, record);
    }

    /// Takes the ban of a network kept earlier.
    pub(crate) fn restore_network(&mut self, now: Instant, ban: &NetworkBan) -> Result<(), TooManyBans> {
        let wall = self.wall(now);
        self.origins.restore(now, wall, ban)
    }

    fn has_changed(&self) -> bool {
        self.standing.has_changed() || self.origins.has_changed()
    }

    fn touched(&mut self, now: Instant) {
        if self.has_changed() {
            self.persist_at.get_or_insert(now + PERSIST_AFTER);
        }
    }

    /// The next standing to keep, once it is time.
    pub(crate) fn pop_changed(&mut self, now: Instant) -> Option<(PeerId, Option<Record>)> {
        self.persist_at.filter(|due| *due <= now)?;
        let changed = self.standing.pop_changed(now, self.wall(now));
        if !self.has_changed() {
            self.persist_at = None;
        }
        changed
    }

    /// The next ban of a network to keep or to drop, once it is time. Before [`pop_changed`](Self::pop_changed).
    pub(crate) fn pop_changed_network(&mut self, now: Instant) -> Option<(Network, Option<NetworkBan>)> {
        self.persist_at.filter(|due| *due <= now)?;
        self.origins.pop_changed(now, self.wall(now))
    }

    /// What changed is to be kept now: the node ends.
    pub(crate) fn persist_now(&mut self, now: Instant) {
        if self.has_changed() {
            self.persist_at = Some(now);
        }
    }

    /// The next ban that began or ended, as links are asked about it, and until when it holds.
    pub(crate) fn pop_ban(&mut self) -> Option<(Ban, Option<Instant>)> {
        if let Some((peer, until)) = self.standing.pop_moved() {
            return Some((Ban::Peer(peer), until));
        }
        let (network, ban) = self.origins.pop_moved()?;
        let until = ban.map(|(until, _)| until);
        match ban {
            Some((_, BannedBy::Faults)) => Some((Ban::Inbound(network), until)),
            _ => Some((Ban::Network(network), until)),
        }
    }

    /// A peer whose ban is over.
    pub(crate) fn pop_released(&mut self, now: Instant) -> Option<PeerId> {
        let peer = self.standing.pop_released(now)?;
        self.touched(now);
        Some(peer)
    }

    /// A network whose ban is over.
    pub(crate) fn pop_released_network(&mut self, now: Instant) -> Option<Network> {
        let network = self.origins.pop_released(now)?;
        self.touched(now);
        Some(network)
    }

    pub(crate) fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let due = [
            self.standing.next_release().map(|due| (due, "end a ban")),
            self.origins.next_release().map(|due| (due, "end a ban")),
            self.persist_at.map(|due| (due, "keep standings")),
        ];
        due.into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use weir_base::identity::Keypair;

    use super::*;

    const WALL: UnixTime = UnixTime::from_secs(1_000);

    fn blamed(seed: u8) -> Blamed {
        let peer = PeerId::from_public_key(&Keypair::ed25519_from_seed([seed; 32]).public());
        Blamed { peer, inbound_from: Some(IpAddr::from([192, 0, 2, seed])) }
    }

    fn reputation() -> Reputation {
        Reputation::new(standing::Config::default(), vec![], WALL)
    }

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    #[test]
    fn each_fault_and_each_ban_is_counted_once() {
        let mut reputation = reputation();
        for count in 1..=4 {
            reputation.blame(at(0), blamed(1), Blame::Misbehaved);
            assert_eq!(reputation.counters(), (count, u64::from(count >= 2)), "100 points ban");
        }
        for seed in 2..=7 {
            reputation.blame(at(0), blamed(seed), Blame::Misbehaved);
        }
        assert_eq!(
            reputation.counters(),
            (10, 2),
            "eight faults from one prefix ban it, those of the banned left out"
        );
        reputation.ban(at(0), blamed(9).peer, at(5));
        let network = Network { address: IpAddr::from([10, 0, 0, 0]), bits: 8 };
        reputation.ban_network(at(0), network, at(5)).unwrap();
        assert_eq!(reputation.counters(), (10, 4));
    }

    #[test]
    fn what_changed_is_kept_a_second_after_the_first_change_or_at_the_end() {
        let mut reputation = reputation();
        reputation.persist_now(at(0));
        assert_eq!(reputation.poll_timeout(), None, "nothing changed");
        reputation.blame(at(5_000), blamed(1), Blame::Invalid);
        reputation.blame(at(5_900), blamed(2), Blame::Invalid);
        assert_eq!(reputation.poll_timeout(), Some((at(6_000), "keep standings")));
        assert!(reputation.pop_changed(at(5_999)).is_none());
        let (_, record) = reputation.pop_changed(at(6_000)).unwrap();
        assert_eq!(record.unwrap().at, UnixTime::from_secs(1_006), "by wall time");
        assert!(reputation.poll_timeout().is_some(), "the other one is still to be kept");
        assert!(reputation.pop_changed(at(6_000)).is_some() && reputation.pop_changed(at(6_000)).is_none());
        assert_eq!(reputation.poll_timeout(), None);
        reputation.blame(at(7_000), blamed(1), Blame::Invalid);
        reputation.persist_now(at(7_100));
        assert!(reputation.pop_changed(at(7_100)).is_some());
    }

    #[test]
    fn times_are_kept_by_the_wall_clock_as_it_was_last_read() {
        let mut reputation = reputation();
        reputation.set_wall(at(4_000), UnixTime::from_secs(9_000));
        let network = Network { address: IpAddr::from([10, 0, 0, 0]), bits: 8 };
        reputation.ban_network(at(5_000), network, at(65_000)).unwrap();
        let (_, ban) = reputation.pop_changed_network(at(6_000)).unwrap();
        assert_eq!(ban.unwrap().until, UnixTime::from_secs(9_061));
        assert_eq!(reputation.records(at(5_000)).count(), 0);
    }

    #[test]
    fn a_peer_gets_the_smaller_share_of_its_own_and_its_prefix() {
        let mut reputation = reputation();
        for seed in 1..=2 {
            reputation.blame(at(0), blamed(seed), Blame::Misbehaved);
        }
        assert_eq!(reputation.share(at(0), &blamed(3)), Share::Half, "by its neighbours");
        assert_eq!(reputation.share(at(0), &Blamed { inbound_from: None, ..blamed(3) }), Share::Full);
        assert_eq!(reputation.share(at(0), &blamed(1)), Share::Quarter, "by itself");
    }
}
