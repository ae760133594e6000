//! Ways to a peer that exist already: what a commanded dial joins instead of dialling again.

use weir_base::identity::PeerId;
use weir_base::multiaddr::Multiaddr;
use weir_link::Dial;
use weir_pull::Ticket;

use super::joins::{Join, On};
use super::{Linked, Peers, Reach};

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
    let at = |linked: &Linked| linked.address.as_ref().is_some_and(|address| addresses.contains(address));
    peers.links().find(|(_, linked)| at(linked)).map(|(_, linked)| linked.info.peer)
}

/// Whether all of `addresses` are among `others`.
fn is_within(addresses: &[Multiaddr], others: &[Multiaddr]) -> bool {
    let bare: Vec<Multiaddr> = others.iter().cloned().map(Multiaddr::without_p2p).collect();
    !addresses.is_empty() && addresses.iter().all(|address| bare.contains(address))
}
