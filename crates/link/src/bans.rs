//! Bans, as connections are asked about them. Who is banned, and for how long, is decided above; here it is looked up.

use std::collections::BTreeMap;
use std::net::IpAddr;

use weir_base::Instant;
use weir_base::identity::PeerId;

use crate::Network;
use crate::gate::Refusal;

/// Whom a ban is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ban {
    /// A peer, whoever dials and from wherever.
    Peer(PeerId),
    /// A network, for every link.
    Network(Network),
    /// A network, for links that peers dial from there; not for pinned peers.
    Inbound(Network),
}

/// Who is at the other end, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// A peer that dials, and is not pinned.
    Comer,
    /// One that this side dials or that is pinned, or may be.
    Other,
}

/// Whether a ban of a network holds for every link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    Always,
    ForComers,
}

/// All bans. Who makes them bounds their number.
#[derive(Debug, Default)]
pub(crate) struct Bans {
    peers: BTreeMap<PeerId, Instant>, // until when
    networks: BTreeMap<Network, (Holds, Instant)>,
}

impl Bans {
    /// A ban holds until then, instead of what was said of the same peer or network before; `None`: there is none.
    pub(crate) fn set(&mut self, ban: Ban, until: Option<Instant>) {
        let (network, holds) = match ban {
            Ban::Peer(peer) => {
                match until {
                    Some(until) => self.peers.insert(peer, until),
                    None => self.peers.remove(&peer),
                };
                return;
            }
            Ban::Network(network) => (network, Holds::Always),
            Ban::Inbound(network) => (network, Holds::ForComers),
        };
        match until {
            Some(until) => self.networks.insert(network, (holds, until)),
            None => self.networks.remove(&network),
        };
    }

    /// Whether a peer is not banned.
    pub(crate) fn check_peer(&self, now: Instant, peer: &PeerId) -> Result<(), Refusal> {
        match self.peers.get(peer) {
            Some(until) if *until > now => Err(Refusal::BannedPeer { left: until.since(now) }),
            _ => Ok(()),
        }
    }

    /// Whether an address lies in no network that is banned for such a connection.
    pub(crate) fn check_address(&self, now: Instant, ip: IpAddr, end: End) -> Result<(), Refusal> {
        let holds = |holds: Holds| holds == Holds::Always || end == End::Comer;
        let banned = self
            .networks
            .iter()
            .filter(|(network, (of, until))| *until > now && holds(*of) && network.contains(ip));
        match banned.max_by_key(|(_, (_, until))| *until) {
            Some((network, (_, until))) => {
                Err(Refusal::BannedNetwork { network: *network, left: until.since(now) })
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use weir_base::identity::Keypair;

    use super::*;

    const NOW: Instant = Instant::from_millis(1_000);
    const THEN: Instant = Instant::from_millis(61_000);
    const LEFT: Duration = Duration::from_secs(60);

    fn network(text: &str) -> Network {
        text.parse().unwrap()
    }

    #[test]
    fn a_peer_is_banned_until_its_ban_ends_or_is_lifted() {
        let mut bans = Bans::default();
        let [peer, other] = [1, 2].map(|seed| Keypair::ed25519_from_seed([seed; 32]).peer_id());
        bans.set(Ban::Peer(peer), Some(THEN));
        assert_eq!(bans.check_peer(NOW, &peer), Err(Refusal::BannedPeer { left: LEFT }));
        assert_eq!((bans.check_peer(NOW, &other), bans.check_peer(THEN, &peer)), (Ok(()), Ok(())));
        bans.set(Ban::Peer(peer), None);
        assert_eq!(bans.check_peer(NOW, &peer), Ok(()));
        assert!(bans.peers.is_empty());
    }

    #[test]
    fn a_network_is_banned_for_all_or_for_those_that_come_from_there() {
        let mut bans = Bans::default();
        let (all, comers) = (network("10.7.0.0/16"), network("192.0.2.0/24"));
        bans.set(Ban::Network(all), Some(THEN));
        bans.set(Ban::Inbound(comers), Some(THEN));
        let refused = |network| Err(Refusal::BannedNetwork { network, left: LEFT });
        let (far, near) = ("::ffff:10.7.9.9".parse().unwrap(), "192.0.2.9".parse().unwrap());
        for end in [End::Comer, End::Other] {
            assert_eq!(bans.check_address(NOW, far, end), refused(all));
            let comer = if end == End::Comer { refused(comers) } else { Ok(()) };
            assert_eq!(bans.check_address(NOW, near, end), comer);
            assert_eq!(bans.check_address(THEN, far, end), Ok(()));
            assert_eq!(bans.check_address(NOW, "10.8.0.1".parse().unwrap(), end), Ok(()));
        }
        bans.set(Ban::Network(comers), Some(THEN));
        assert_eq!(
            bans.check_address(NOW, near, End::Other),
            refused(comers),
            "of one network the last counts"
        );
        bans.set(Ban::Inbound(comers), None);
        assert_eq!(bans.check_address(NOW, near, End::Comer), Ok(()));
    }
}
