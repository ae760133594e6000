//! Two links of one peer: which of them stays, which side decides, and when the other may end.
//!
//! Both sides must end the same link, though they may see both come up in another order and at other times. So one side alone
//! decides, and it acts only when it knows that the other side uses the link that stays:
//! - links dialled from different sides: the side with the smaller id decides. The second within the set-up deadline of the
//!   first is *simultaneous*: the link that the larger id dialled stays, and the other is drained. Later the newer one stays;
//! - links dialled from the same side: the side that did not dial decides, for the dialler may have given one of them up. The
//!   newer one stays, and the other is cut.
//!
//! The side that does not decide waits for the set-up deadline and then acts as the other should have.
//!
//! Threat: a peer comes again and again to hold many places. It has at most two: a third link cuts the loser of the first two.
//! Source: `docs/spec/links.md`, "One link per peer".

use std::collections::BTreeMap;
use std::time::Duration;

use weir_base::identity::PeerId;
use weir_base::stream::Goodbye;
use weir_base::{Instant, LinkId};

use super::{Links, Timer};
use crate::event::DownReason;
use crate::{Event, Link};

/// How often this node's key may seem to be in use elsewhere within [`KEY_MEMORY`] before the operator is told. Once can be an
/// accident of two dials.
const KEY_ALARM: u32 = 2;

/// How long a sign that this node's key is in use elsewhere is remembered.
const KEY_MEMORY: Duration = Duration::from_secs(600);

/// Two links of one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) winner: LinkId,
    pub(super) loser: LinkId,
    /// How the loser ends: drained as a duplicate, or cut as replaced.
    pub(super) goodbye: Goodbye,
    /// Which side ends it.
    pub(super) decider: Decider,
    /// How far this is.
    pub(super) stage: Stage,
}

/// Which side ends the loser of two links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decider {
    Here,
    Peer,
}

/// How far the end of a loser is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It is not known that both sides use the winner.
    Waiting,
    /// The stack was asked to say goodbye on the loser.
    Draining,
}

/// A link that is up, as the rule sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) link: LinkId,
    pub(super) dialler: bool,
    pub(super) up: Instant,
}

impl Pair {
    /// Applies the rule. `newer` came up after `older`.
    pub(super) fn judge(
        local: PeerId,
        peer: PeerId,
        deadline: Duration,
        older: Candidate,
        newer: Candidate,
    ) -> Self {
        let opposite = older.dialler != newer.dialler;
        let simultaneous = opposite && newer.up.since(older.up) <= deadline;
        let here = if opposite { local < peer } else { !newer.dialler };
        let newer_stays = !simultaneous || newer.dialler == (local > peer);
        let (winner, loser) = if newer_stays { (newer, older) } else { (older, newer) };
        Self {
            winner: winner.link,
            loser: loser.link,
            goodbye: if simultaneous { Goodbye::Duplicate } else { Goodbye::Replaced },
            decider: if here { Decider::Here } else { Decider::Peer },
            stage: Stage::Waiting,
        }
    }
}

/// Pairs of links, by peer, and signs that this node's key is used twice.
#[derive(Debug, Default)]
pub(super) struct Duplicates {
    pairs: BTreeMap<PeerId, Pair>, // <= links / 2
    key: Option<(Instant, u32)>,   // the first sign that counts, and how many there were
}

impl Duplicates {
    pub(super) fn get(&self, peer: &PeerId) -> Option<Pair> {
        self.pairs.get(peer).copied()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    pub(super) fn insert(&mut self, peer: PeerId, pair: Pair) {
        self.pairs.insert(peer, pair);
    }

    pub(super) fn remove(&mut self, peer: &PeerId) -> Option<Pair> {
        self.pairs.remove(peer)
    }

    /// A peer ended the only link it has with this node in favour of another one. Whether the operator should be told: once for
    /// every [`KEY_MEMORY`].
    pub(super) fn key_seems_used_twice(&mut self, now: Instant) -> bool {
        let fresh = self.key.filter(|(first, _)| now.since(*first) < KEY_MEMORY);
        let (first, count) = fresh.unwrap_or((now, 0));
        self.key = Some((first, count.saturating_add(1)));
        count + 1 == KEY_ALARM
    }
}

impl Links {
    /// The link of a peer that is up, and would be the older one of a pair.
    pub(super) fn candidate(&self, peer: &PeerId) -> Option<Candidate> {
        let link = *self.peers.get(peer)?;
        let found = self.links.get(&link)?;
        let (dialler, up) = (found.info?.dialler, found.up_since()?);
        Some(Candidate { link, dialler, up })
    }

    /// Of a peer that already has two links, the loser is cut: a third one comes.
    pub(super) fn make_room_for_third(&mut self, now: Instant, peer: &PeerId) {
        if let Some(pair) = self.duplicates.get(peer) {
            self.cut_one(now, peer, pair, pair.loser, Goodbye::Replaced);
        }
    }

    /// A peer has two links from now on.
    pub(super) fn pair_up(&mut self, now: Instant, peer: PeerId, pair: Pair) {
        self.duplicates.insert(peer, pair);
        self.peers.insert(peer, pair.winner);
        self.work.timers.set(Timer::Duplicate(peer), Some(now + self.config.dial.timeout));
        self.settle_duplicate(now, &peer);
    }

    /// Ends the loser of two links, where this side decides and the winner is proven.
    pub(super) fn settle_duplicate(&mut self, now: Instant, peer: &PeerId) {
        let Some(pair) = self.duplicates.get(peer) else { return };
        if pair.decider == Decider::Here && pair.stage == Stage::Waiting && self.is_proven(pair.winner) {
            self.end_loser(now, peer, pair);
        }
    }

    /// The set-up deadline passed since a peer has two links, or the stack had its time to drain the loser.
    pub(super) fn duplicate_overdue(&mut self, now: Instant, peer: &PeerId) {
        let Some(pair) = self.duplicates.get(peer) else { return };
        match pair.stage {
            Stage::Draining => {
                if let Some(link) = self.links.get_mut(&pair.loser) {
                    link.close(now, pair.goodbye);
                    self.work.touched.mark(pair.loser);
                }
            }
            Stage::Waiting if self.is_proven(pair.winner) => self.end_loser(now, peer, pair),
            // Nothing was ever heard on it: the other one is the link that both sides use.
            Stage::Waiting => self.cut_one(now, peer, pair, pair.winner, Goodbye::Duplicate),
        }
    }

    fn end_loser(&mut self, now: Instant, peer: &PeerId, pair: Pair) {
        self.stats.replaced += 1;
        if pair.goodbye == Goodbye::Replaced {
            return self.cut_one(now, peer, pair, pair.loser, pair.goodbye);
        }
        self.duplicates.insert(*peer, Pair { stage: Stage::Draining, ..pair });
        self.work.timers.set(Timer::Duplicate(*peer), Some(now + self.config.dial.timeout));
        self.work.events.push_back(Event::Superseded { link: pair.loser, goodbye: pair.goodbye });
    }

    /// Ends one link of a pair at once; the other one is the peer's only link.
    fn cut_one(&mut self, now: Instant, peer: &PeerId, pair: Pair, link: LinkId, goodbye: Goodbye) {
        self.duplicates.remove(peer);
        self.work.timers.set(Timer::Duplicate(*peer), None);
        self.peers.insert(*peer, if pair.winner == link { pair.loser } else { pair.winner });
        if let Some(found) = self.links.get_mut(&link) {
            found.abort(now, goodbye, DownReason::Closed(goodbye));
            self.settle_link(now, link); // its place is free at once
        }
    }

    /// Whether a link is the one that its peer uses for sure: something came on one of its streams since it was up here, and
    /// the peer has no other link with this node. On any other link the peer owes nothing: it may have ended it, in favour of the
    /// other one or with its process, and this node does not know yet.
    pub fn is_in_use_by_peer(&self, link: LinkId) -> bool {
        let peer = self.links.get(&link).and_then(|link| Some(link.info?.peer));
        self.is_proven(link) && peer.is_some_and(|peer| self.duplicates.get(&peer).is_none())
    }

    pub(super) fn is_proven(&self, link: LinkId) -> bool {
        self.links.get(&link).is_some_and(Link::is_proven)
    }

    /// A link with this peer is gone: the other one, if there is one, is its only link.
    pub(super) fn forget_duplicate(&mut self, now: Instant, link: LinkId, peer: PeerId, why: DownReason) {
        if let Some(pair) =
            self.duplicates.get(&peer).filter(|pair| [pair.winner, pair.loser].contains(&link))
        {
            self.duplicates.remove(&peer);
            self.work.timers.set(Timer::Duplicate(peer), None);
            let left = if pair.winner == link { pair.loser } else { pair.winner };
            self.peers.insert(peer, left);
        } else if self.peers.get(&peer) == Some(&link) {
            self.peers.remove(&peer);
            let superseded = matches!(why, DownReason::ByPeer(Goodbye::Replaced | Goodbye::Duplicate));
            if superseded && self.duplicates.key_seems_used_twice(now) {
                tracing::warn!(%peer, "a peer prefers other links of this node's key: another process uses the same key");
                self.work.events.push_back(Event::KeyUsedTwice { peer });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use weir_base::identity::Keypair;

    use super::*;

    fn ids() -> (PeerId, PeerId) {
        let [one, other] = [1, 2].map(|seed| Keypair::ed25519_from_seed([seed; 32]).peer_id());
        (one.min(other), one.max(other))
    }

    fn candidate(link: u64, dialler: bool, up: u64) -> Candidate {
        Candidate { link: LinkId(link), dialler, up: Instant::from_millis(up) }
    }

    /// What both sides make of a link `a` and a link `b`; `a_by_small`: the smaller id dialled `a`. Times are when each comes up at
    /// the smaller and at the larger id. Links are 1 and 2 on both sides.
    fn both(a_by_small: bool, b_by_small: bool, small: (u64, u64), large: (u64, u64)) -> [Pair; 2] {
        let (smaller, larger) = ids();
        let side = |local, peer, a_dialler: bool, b_dialler: bool, (a, b): (u64, u64)| {
            let (a, b) = (candidate(1, a_dialler, a), candidate(2, b_dialler, b));
            let (older, newer) = if a.up <= b.up { (a, b) } else { (b, a) };
            Pair::judge(local, peer, Duration::from_secs(10), older, newer)
        };
        [
            side(smaller, larger, a_by_small, b_by_small, small),
            side(larger, smaller, !a_by_small, !b_by_small, large),
        ]
    }

    #[test]
    fn exactly_one_side_decides_whatever_the_order_and_the_time() {
        for (a, b) in [(true, true), (true, false), (false, true), (false, false)] {
            for later in [1, 9_999, 10_000, 10_001, 60_000] {
                for large in [(0, later), (later, 0), (0, later + 2), (2, later)] {
                    let pairs = both(a, b, (0, later), large);
                    let here = pairs.iter().filter(|pair| pair.decider == Decider::Here).count();
                    assert_eq!(here, 1, "{a} {b} {later} {large:?}");
                }
            }
        }
    }

    #[test]
    fn of_simultaneous_links_the_one_of_the_larger_id_stays_on_both_sides() {
        for order in [(0, 3), (3, 0)] {
            let pairs = both(true, false, order, (order.1, order.0));
            for pair in pairs {
                assert_eq!((pair.winner, pair.goodbye), (LinkId(2), Goodbye::Duplicate), "{pair:?}");
            }
        }
    }

    #[test]
    fn a_later_link_replaces_the_one_before() {
        let pairs = both(false, true, (0, 10_001), (0, 10_001));
        for pair in pairs {
            assert_eq!((pair.winner, pair.goodbye), (LinkId(2), Goodbye::Replaced));
        }
    }

    #[test]
    fn a_key_used_twice_is_told_once_for_ten_minutes() {
        let mut duplicates = Duplicates::default();
        let told: Vec<bool> = [0, 10, 20, 30, 700, 710, 720]
            .map(|at| duplicates.key_seems_used_twice(Instant::from_millis(at * 1000)))
            .into();
        assert_eq!(told, [false, true, false, false, false, true, false]);
    }
}
