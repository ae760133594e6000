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

use crate::endpoint::Context;
use crate::event::DownReason;
use crate::table::{Table, Timer};
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

/// The link of each peer, and of a peer with two links, which of them stays.
pub(super) struct Peers {
    local: PeerId,
    links: BTreeMap<PeerId, LinkId>, // that is up; of a pair the one that stays
    pairs: BTreeMap<PeerId, Pair>,   // <= links / 2
    key: KeyUse,
}

/// Signs that this node's key is in use elsewhere.
#[derive(Debug, Default)]
struct KeyUse(Option<(Instant, u32)>); // the first sign that counts, and how many there were

impl KeyUse {
    /// A peer ended the only link it has with this node in favour of another one. Whether the operator should be told: once for
    /// every [`KEY_MEMORY`].
    fn seems_double(&mut self, now: Instant) -> bool {
        let fresh = self.0.filter(|(first, _)| now.since(*first) < KEY_MEMORY);
        let (first, count) = fresh.unwrap_or((now, 0));
        self.0 = Some((first, count.saturating_add(1)));
        count + 1 == KEY_ALARM
    }
}

impl Peers {
    pub(super) fn new(local: PeerId) -> Self {
        Self { local, links: BTreeMap::new(), pairs: BTreeMap::new(), key: KeyUse::default() }
    }

    /// The id of this node itself.
    pub(super) fn local(&self) -> PeerId {
        self.local
    }

    /// Whether a peer has a link that is up.
    pub(super) fn contains(&self, peer: &PeerId) -> bool {
        self.links.contains_key(peer)
    }

    /// The link of a peer that is up, and would be the older one of a pair.
    pub(super) fn candidate(&self, table: &Table, peer: &PeerId) -> Option<Candidate> {
        let link = *self.links.get(peer)?;
        let found = table.get(link)?;
        let (dialler, up) = (found.info?.dialler, found.up_since()?);
        Some(Candidate { link, dialler, up })
    }

    /// The pair that a new link makes with one of the same peer.
    pub(super) fn pair(&self, deadline: Duration, peer: PeerId, older: Candidate, newer: Candidate) -> Pair {
        Pair::judge(self.local, peer, deadline, older, newer)
    }

    /// A link came up. Returns the link to use for its peer from now on.
    pub(super) fn link_up(
        &mut self,
        context: &mut Context<'_>,
        peer: PeerId,
        link: LinkId,
        pair: Option<Pair>,
    ) -> LinkId {
        let preferred = pair.map_or(link, |pair| pair.winner);
        self.links.insert(peer, preferred);
        if let Some(pair) = pair {
            self.pairs.insert(peer, pair);
            let due = context.now + context.config.dial.timeout;
            context.table.timers.set(Timer::Duplicate(peer), Some(due));
        }
        preferred
    }

    /// Of a peer that already has two links, the loser is cut: a third one comes. Returns the link that was cut; it must be
    /// settled at once, so that its place is free.
    #[must_use]
    pub(super) fn make_room_for_third(&mut self, context: &mut Context<'_>, peer: &PeerId) -> Option<LinkId> {
        let pair = self.pairs.get(peer).copied()?;
        Some(self.cut_one(context, peer, pair, pair.loser, Goodbye::Replaced))
    }

    /// Ends the loser of two links, where this side decides and the winner is proven. Returns as
    /// [`make_room_for_third`](Self::make_room_for_third).
    #[must_use]
    pub(super) fn settle(&mut self, context: &mut Context<'_>, peer: &PeerId) -> Option<LinkId> {
        if self.pairs.is_empty() {
            return None;
        }
        let pair = self.pairs.get(peer).copied()?;
        let decided = pair.decider == Decider::Here && pair.stage == Stage::Waiting;
        if decided && is_proven(context.table, pair.winner) {
            return self.end_loser(context, peer, pair);
        }
        None
    }

    /// The set-up deadline passed since a peer has two links, or the stack had its time to drain the loser. Returns as
    /// [`make_room_for_third`](Self::make_room_for_third).
    #[must_use]
    pub(super) fn overdue(&mut self, context: &mut Context<'_>, peer: &PeerId) -> Option<LinkId> {
        let pair = self.pairs.get(peer).copied()?;
        match pair.stage {
            Stage::Draining => {
                if let Some(link) = context.table.get_mut(pair.loser) {
                    link.close(context.now, pair.goodbye);
                    context.table.touch(pair.loser);
                }
                None
            }
            Stage::Waiting if is_proven(context.table, pair.winner) => self.end_loser(context, peer, pair),
            // Nothing was ever heard on it: the other one is the link that both sides use.
            Stage::Waiting => Some(self.cut_one(context, peer, pair, pair.winner, Goodbye::Duplicate)),
        }
    }

    fn end_loser(&mut self, context: &mut Context<'_>, peer: &PeerId, pair: Pair) -> Option<LinkId> {
        context.stats.replaced += 1;
        if pair.goodbye == Goodbye::Replaced {
            return Some(self.cut_one(context, peer, pair, pair.loser, pair.goodbye));
        }
        self.pairs.insert(*peer, Pair { stage: Stage::Draining, ..pair });
        let due = context.now + context.config.dial.timeout;
        context.table.timers.set(Timer::Duplicate(*peer), Some(due));
        context.events.push_back(Event::Superseded { link: pair.loser, goodbye: pair.goodbye });
        None
    }

    /// Ends one link of a pair at once; the other one is the peer's only link.
    fn cut_one(
        &mut self,
        context: &mut Context<'_>,
        peer: &PeerId,
        pair: Pair,
        link: LinkId,
        goodbye: Goodbye,
    ) -> LinkId {
        self.pairs.remove(peer);
        context.table.timers.set(Timer::Duplicate(*peer), None);
        self.links.insert(*peer, if pair.winner == link { pair.loser } else { pair.winner });
        if let Some(found) = context.table.get_mut(link) {
            found.abort(context.now, goodbye, DownReason::Closed(goodbye));
        }
        link
    }

    /// Whether a new link may be refused at once, because the other one of its pair stays and is proven.
    pub(super) fn has_lost(table: &Table, id: LinkId, pair: Option<Pair>) -> bool {
        pair.is_some_and(|pair| {
            pair.loser == id && pair.decider == Decider::Here && is_proven(table, pair.winner)
        })
    }

    /// As [`Links::is_in_use_by_peer`](crate::Links::is_in_use_by_peer).
    pub(super) fn uses(&self, table: &Table, link: LinkId) -> bool {
        let peer = table.get(link).and_then(|link| Some(link.info?.peer));
        is_proven(table, link) && peer.is_some_and(|peer| !self.pairs.contains_key(&peer))
    }

    /// A link with this peer is gone: the other one, if there is one, is its only link.
    pub(super) fn link_down(
        &mut self,
        context: &mut Context<'_>,
        link: LinkId,
        peer: PeerId,
        reason: DownReason,
    ) {
        if let Some(pair) = self.pairs.get(&peer).filter(|pair| [pair.winner, pair.loser].contains(&link)) {
            let left = if pair.winner == link { pair.loser } else { pair.winner };
            self.pairs.remove(&peer);
            context.table.timers.set(Timer::Duplicate(peer), None);
            self.links.insert(peer, left);
        } else if self.links.get(&peer) == Some(&link) {
            self.links.remove(&peer);
            let superseded = matches!(reason, DownReason::ByPeer(Goodbye::Replaced | Goodbye::Duplicate));
            if superseded && self.key.seems_double(context.now) {
                tracing::warn!(%peer, "a peer prefers other links of this node's key: another process uses the same key");
                context.events.push_back(Event::KeyUsedTwice { peer });
            }
        }
    }
}

fn is_proven(table: &Table, link: LinkId) -> bool {
    table.get(link).is_some_and(Link::is_proven)
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
        let mut key = KeyUse::default();
        let told: Vec<bool> =
            [0, 10, 20, 30, 700, 710, 720].map(|at| key.seems_double(Instant::from_millis(at * 1000))).into();
        assert_eq!(told, [false, true, false, false, false, true, false]);
    }
}
