//! Dials that were commanded while a link, or another dial, was on its way to the same place: they take part in what becomes of
//! that, and nothing is dialled twice.
//!
//! A join waits for a peer to be up, or for a dial to say which peer that is. Where neither is on its way any more, it is
//! *stranded*: then its own addresses are dialled, once. Each ends by its deadline.

use std::collections::BTreeMap;

use weir_base::identity::PeerId;
use weir_base::multiaddr::Multiaddr;
use weir_base::{Deadlines, Instant};
use weir_link::{Dial, DialFailure, DialId};
use weir_pull::Ticket;

use super::{Linked, Peers, Reach};
use crate::types::DialProblem;

/// Joins at once, at most; a further dial is refused.
pub(crate) const MAX_JOINS: usize = 1024;

/// What a join waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum On {
    /// This dial, until it is a link or has failed.
    Dial(DialId),
    /// This peer, until it is up.
    Peer(PeerId),
}

/// A commanded dial that takes part in something else.
#[derive(Clone, Debug)]
pub(crate) struct Join {
    pub(crate) on: On,
    /// What to dial where it is stranded; `None`: nothing more, it fails.
    pub(crate) dial: Option<Dial>,
    /// Why it fails then.
    pub(crate) reason: DialProblem,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Joins {
    waiting: BTreeMap<Ticket, Join>, // <= MAX_JOINS
    due: Deadlines<Ticket>,
}

impl Joins {
    /// Whether there is room for one more.
    pub(crate) fn has_room(&self) -> bool {
        self.waiting.len() < MAX_JOINS
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(crate) fn add(&mut self, ticket: Ticket, join: Join, due: Instant) {
        self.waiting.insert(ticket, join);
        self.due.set(ticket, Some(due));
    }

    /// A dial is a link to this peer: those that joined it wait for the peer.
    pub(crate) fn dial_is_up(&mut self, dial: DialId, peer: PeerId) {
        for join in self.waiting.values_mut().filter(|join| join.on == On::Dial(dial)) {
            join.on = On::Peer(peer);
        }
    }

    /// A dial has failed: so have those that joined it, but where it looked for one peer alone and another one is there.
    pub(crate) fn dial_failed(&mut self, dial: DialId, error: DialFailure) {
        for join in self.waiting.values_mut().filter(|join| join.on == On::Dial(dial)) {
            if error != DialFailure::OtherPeer {
                join.dial = None;
            }
            join.reason = error.into();
        }
    }

    /// Takes out those that fit.
    pub(crate) fn take(&mut self, fits: impl Fn(&On) -> bool) -> Vec<(Ticket, Join)> {
        let fitting: Vec<Ticket> =
            self.waiting.iter().filter(|(_, join)| fits(&join.on)).map(|(ticket, _)| *ticket).collect();
        let take = |ticket: Ticket| {
            self.due.set(ticket, None);
            self.waiting.remove(&ticket).map(|join| (ticket, join))
        };
        fitting.into_iter().filter_map(take).collect()
    }

    /// One whose deadline is over.
    pub(crate) fn pop_late(&mut self, now: Instant) -> Option<Ticket> {
        let ticket = self.due.pop_due(now)?;
        self.waiting.remove(&ticket);
        Some(ticket)
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.due.next().map(|(due, _)| due)
    }
}

/// What leads to the same peer already, or to the same addresses: a link, or a dial under way.
pub(crate) fn way_to(peers: &Peers, dial: &Dial) -> Option<On> {
    if let Some(peer) = dial.peer {
        return (peers.reach(&peer, false) != Reach::Nowhere).then_some(On::Peer(peer));
    }
    if let Some(peer) = linked_at(peers, &dial.addresses) {
        return Some(On::Peer(peer));
    }
    let own = peers.own_dials.iter().find(|(_, (_, other))| is_within(&dial.addresses, &other.addresses));
    let own = own.map(|(id, _)| *id);
    own.or_else(|| peers.book.dial_to(|known| is_within(&dial.addresses, &known.addresses))).map(On::Dial)
}

/// The peer whose link answers a commanded dial, after its own attempt has failed.
pub(crate) fn instead_of(peers: &Peers, dial: &Dial) -> Option<PeerId> {
    match dial.peer {
        Some(peer) => peers.any_link(&peer).map(|_| peer),
        None => linked_at(peers, &dial.addresses),
    }
}

/// Joins that are over: their peer is up.
pub(crate) fn take_connected(peers: &mut Peers) -> Vec<(Ticket, PeerId)> {
    let mut joins = std::mem::take(&mut peers.joins);
    let taken = joins.take(|on| matches!(on, On::Peer(peer) if peers.ready_link(peer).is_some()));
    peers.joins = joins;
    let connected = |(ticket, join): (Ticket, Join)| match join.on {
        On::Peer(peer) => Some((ticket, peer)),
        On::Dial(_) => None,
    };
    taken.into_iter().filter_map(connected).collect()
}

/// Joins that wait for nothing that is still on its way.
pub(crate) fn take_stranded(peers: &mut Peers) -> Vec<(Ticket, Join)> {
    let mut joins = std::mem::take(&mut peers.joins);
    let taken = joins.take(|on| match on {
        On::Peer(peer) => peers.reach(peer, false) == Reach::Nowhere,
        On::Dial(dial) => !peers.own_dials.contains_key(dial) && !peers.book.has_dial(*dial),
    });
    peers.joins = joins;
    taken
}

/// The peer that has a link at one of these addresses.
fn linked_at(peers: &Peers, addresses: &[Multiaddr]) -> Option<PeerId> {
    let at = |linked: &&Linked| linked.address.as_ref().is_some_and(|address| addresses.contains(address));
    peers.links.values().find(at).map(|linked| linked.info.peer)
}

/// Whether all of `addresses` are among `others`.
fn is_within(addresses: &[Multiaddr], others: &[Multiaddr]) -> bool {
    let bare: Vec<Multiaddr> = others.iter().cloned().map(Multiaddr::without_p2p).collect();
    !addresses.is_empty() && addresses.iter().all(|address| bare.contains(address))
}
