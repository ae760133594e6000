//! Links, dials and joins of [`Peers`], without a link.

use std::time::Duration;

use weir_base::identity::Keypair;
use weir_base::stream::Group;
use weir_link::DialFailure;

use super::joins::{Join, MAX_JOINS, On};
use super::ways::{instead_of, take_connected, take_stranded, way_to};
use super::*;
use crate::types::DialProblem;

fn peer(seed: u8) -> PeerId {
    PeerId::from_public_key(&Keypair::ed25519_from_seed([seed; 32]).public())
}

fn at(secs: u64) -> Instant {
    Instant::from_millis(secs * 1_000)
}

fn memory(endpoint: u64) -> Multiaddr {
    Multiaddr::from_memory(endpoint)
}

fn peers(config: Config) -> Peers {
    Peers::new(config, standing::Config::default(), vec![], UnixTime::default(), Rng::from_number(1))
}

fn info(seed: u8, side: Side) -> LinkInfo {
    LinkInfo { peer: peer(seed), side, dialler: side == Side::Dialled, group: Group::Local(0) }
}

/// A link of `seed` is up, the preferred one.
fn up(peers: &mut Peers, link: u64, seed: u8) -> Option<LinkInfo> {
    let (link, address) = (LinkId(link), Some(memory(seed.into())));
    peers.handle_up(at(1), link, info(seed, Side::Inbound), address, None, link)
}

fn dial(seed: Option<u8>, endpoints: &[u64]) -> Dial {
    let addresses = endpoints.iter().map(|endpoint| memory(*endpoint)).collect();
    Dial { peer: seed.map(peer), addresses, pinned: false }
}

fn join(on: On) -> Join {
    Join { on, dial: Some(dial(None, &[9])), reason: DialProblem::Link(DialFailure::Timeout) }
}

fn pinned(seed: u8) -> Known {
    Known { peer: Some(peer(seed)), addresses: vec![memory(seed.into())], role: Role::Pinned }
}

#[test]
fn of_two_links_the_preferred_one_is_used_and_one_that_is_up_before_both() {
    let mut peers = peers(Config::default());
    up(&mut peers, 1, 1).unwrap();
    up(&mut peers, 2, 2).unwrap();
    let second = peers.handle_up(at(1), LinkId(3), info(1, Side::Inbound), None, None, LinkId(1));
    assert!(second.is_some());
    assert_eq!((peers.any_link(&peer(1)), peers.any_link(&peer(2))), (Some(LinkId(1)), Some(LinkId(2))));
    up(&mut peers, 4, 1).unwrap();
    assert_eq!(peers.any_link(&peer(1)), Some(LinkId(4)), "it is preferred now");
    assert!(peers.links().all(|(link, linked)| linked.stays == [LinkId(2), LinkId(4)].contains(&link)));
    peers.handle_known(LinkId(3), Speaks::default());
    assert_eq!((peers.any_link(&peer(1)), peers.ready_link(&peer(1))), (Some(LinkId(3)), Some(LinkId(3))));
    assert_eq!((peers.ready_link(&peer(2)), peers.stats().peers), (None, 1));
    peers.handle_down(at(2), LinkId(3));
    assert_eq!(peers.any_link(&peer(1)), Some(LinkId(4)));
}

#[test]
fn above_the_bound_the_youngest_inbound_links_go_once_their_grace_is_over() {
    let trim = Trim { above: 3, to: 2, grace: Duration::from_secs(10) };
    let mut peers = peers(Config { trim: Some(trim), target: 2, ..Config::default() });
    assert!((1..=3).all(|seed| up(&mut peers, seed.into(), seed).is_some()));
    assert!(Surplus::of(&peers).is_none(), "as many as may be");
    let dialled = peers.handle_up(at(2), LinkId(4), info(4, Side::Dialled), None, None, LinkId(4));
    assert!(dialled.is_some());
    let gone = |now: Instant| Surplus::of(&peers).unwrap().links(now);
    let last = at(11) - Duration::from_nanos(1);
    assert_eq!((gone(last), gone(at(11))), (vec![], vec![LinkId(3), LinkId(2)]), "two remain");
    assert_eq!(gone(at(12)), [LinkId(3), LinkId(2)], "what was dialled goes last");
    assert_eq!(Surplus::of(&peers).unwrap().poll_timeout().map(|(due, _)| due), Some(at(11)));
}

#[test]
fn services_are_those_last_told_on_the_link_that_is_used() {
    let mut peers = peers(Config::default());
    up(&mut peers, 1, 1).unwrap();
    let service = |id| Service { id, version: 1, payload: Vec::new().into() };
    peers.set_services(LinkId(1), &[service(7)]);
    assert_eq!(peers.with_service(7).count(), 0, "it is not up");
    peers.handle_known(LinkId(1), Speaks::default());
    peers.set_services(LinkId(1), &[service(7), service(8)]);
    let with = |service| peers.with_service(service).map(|(link, _)| link).collect::<Vec<_>>();
    assert_eq!((with(7), with(9)), (vec![LinkId(1)], vec![]));
}

#[test]
fn nothing_goes_along_with_the_handshake_of_a_banned_peer_or_a_second_dial() {
    let mut peers = peers(Config::default());
    let ip = Some(IpAddr::from([192, 0, 2, 1]));
    peers.reputation.ban(at(0), peer(1), at(100));
    assert_eq!(peers.handle_early(at(1), LinkId(1), info(1, Side::Inbound), None), None);
    let network = Network { address: IpAddr::from([192, 0, 2, 0]), bits: 24 };
    peers.reputation.ban_network(at(0), network, at(100)).unwrap();
    assert_eq!(peers.handle_early(at(1), LinkId(1), info(2, Side::Inbound), ip), None);
    let dialled = info(2, Side::Dialled);
    assert_eq!(peers.handle_early(at(1), LinkId(1), dialled, None), Some(dialled));
    assert_eq!(peers.handle_early(at(1), LinkId(2), dialled, None), None, "another one runs");
    assert_eq!(
        peers.handle_early(at(1), LinkId(3), info(3, Side::Dialled), None).map(|info| info.peer),
        Some(peer(3))
    );
    assert!(peers.handle_early(at(1), LinkId(4), info(2, Side::Inbound), None).is_some(), "that is its own");
    peers.add(at(1), pinned(5)).unwrap();
    let seen = |peers: &mut Peers, link, seed| {
        peers.handle_early(at(1), LinkId(link), info(seed, Side::Inbound), None).map(|info| info.side)
    };
    assert_eq!((seen(&mut peers, 5, 5), seen(&mut peers, 6, 6)), (Some(Side::Pinned), Some(Side::Inbound)));
}

#[test]
fn the_first_fault_of_a_handshake_is_told_when_it_is_over() {
    let mut peers = peers(Config::default());
    peers.handle_early(at(1), LinkId(1), info(1, Side::Inbound), None).unwrap();
    let (first, second) = (Fault::misbehaved("first"), Fault::misbehaved("second"));
    for fault in [first, second] {
        peers.note_early_fault(LinkId(1), fault);
        peers.note_early_fault(LinkId(9), fault);
    }
    assert_eq!(
        (peers.early_over(LinkId(1)), peers.early_over(LinkId(1)), peers.early_over(LinkId(9))),
        (Some(first), None, None)
    );
}

#[test]
fn a_peer_is_reached_by_its_link_its_handshake_or_a_dial() {
    let mut peers = peers(Config::default());
    let reach = |peers: &Peers| (peers.reach(&peer(1), true), peers.reach(&peer(1), false));
    assert_eq!(reach(&peers), (Reach::Nowhere, Reach::Nowhere));
    peers.add(at(0), pinned(1)).unwrap();
    peers.handle_timeout(at(0));
    assert_eq!(reach(&peers), (Reach::Dialling, Reach::Dialling), "the book will dial it");
    peers.handle_early(at(1), LinkId(1), info(1, Side::Inbound), None).unwrap();
    assert_eq!(reach(&peers), (Reach::Dialling, Reach::Dialling), "nothing is opened on its own handshake");
    peers.handle_early(at(1), LinkId(2), info(1, Side::Dialled), None).unwrap();
    assert_eq!(reach(&peers), (Reach::Early(LinkId(2)), Reach::Dialling));
    up(&mut peers, 3, 1).unwrap();
    assert_eq!(reach(&peers), (Reach::Link(LinkId(3)), Reach::Link(LinkId(3))));
    peers.note_dial(DialId(5), Ticket(1), dial(Some(2), &[2]));
    assert_eq!((peers.reach(&peer(2), true), peers.reach(&peer(3), true)), (Reach::Dialling, Reach::Nowhere));
}

#[test]
fn candidates_are_dialled_while_links_and_dials_are_fewer_than_wanted() {
    let mut peers = peers(Config { target: 4, ..Config::default() });
    assert!(peers.wants_more());
    for (link, side) in [(1, Side::Dialled), (2, Side::Dialled), (3, Side::Inbound)] {
        let info = info(u8::try_from(link).unwrap(), side);
        peers.handle_up(at(1), LinkId(link), info, None, None, LinkId(link)).unwrap();
        assert!(peers.wants_more());
    }
    peers.note_dial(DialId(1), Ticket(1), dial(None, &[9]));
    assert!(!peers.wants_more(), "three links and a dial");
    assert!(peers.handle_failed(at(1), DialId(1)).is_ok());
    up(&mut peers, 4, 4).unwrap();
    assert!(!peers.wants_more(), "four links");
    peers.handle_down(at(2), LinkId(2));
    assert!(peers.wants_more(), "three");
    up(&mut peers, 5, 5).unwrap();
    assert!(peers.wants_more(), "four, of which one is its own");
    peers.note_dial(DialId(2), Ticket(2), dial(None, &[9]));
    assert!(!peers.wants_more());
    let mut both = self::peers(Config { target: 4, ..Config::default() });
    both.book_dials = 2;
    both.note_dial(DialId(1), Ticket(1), dial(None, &[9]));
    assert!(both.wants_more(), "three dials");
    both.note_dial(DialId(2), Ticket(1), dial(None, &[9]));
    assert!(!both.wants_more(), "four");
}

#[test]
fn a_removed_peer_gives_its_dial_back() {
    let mut peers = peers(Config { max_dials: 1, ..Config::default() });
    peers.add(at(0), pinned(1)).unwrap();
    peers.add(at(0), pinned(2)).unwrap();
    peers.handle_timeout(at(0));
    let (id, first) = peers.next_dial(at(0)).unwrap();
    assert_eq!((first.peer, first.pinned), (Some(peer(1)), true));
    peers.dialled(at(0), id, Some(DialId(3)));
    assert!(peers.next_dial(at(0)).is_none(), "one at a time");
    assert_eq!(peers.dials(), [DialId(3)]);
    assert_eq!(peers.remove(&peer(1)), Some(DialId(3)));
    assert_eq!(peers.next_dial(at(0)).map(|(_, dial)| dial.peer), Some(Some(peer(2))));
}

#[test]
fn a_share_is_told_when_it_changes() {
    let mut peers = peers(Config::default());
    up(&mut peers, 1, 1).unwrap();
    assert_eq!(peers.changed_share(at(1), LinkId(1)), None);
    peers.reputation.blame(at(1), peers.blamed(LinkId(1)).unwrap(), Blame::Invalid);
    assert_eq!(peers.changed_share(at(1), LinkId(1)), Some(Share::Half));
    assert_eq!(peers.changed_share(at(1), LinkId(1)), None);
    assert_eq!(peers.stats().faults, 1);
    peers.reputation.ban(at(1), peer(1), at(9));
    assert_eq!(peers.stats().bans, 1);
}

#[test]
fn who_paid_for_the_last_4096_links_that_ended_is_known() {
    let mut peers = peers(Config::default());
    for link in 1..=4_097 {
        up(&mut peers, link, 1).unwrap();
        peers.handle_down(at(1), LinkId(link));
    }
    assert_eq!((peers.ended.len(), peers.blamed(LinkId(1))), (MAX_ENDED, None));
    assert!(peers.blamed(LinkId(2)).is_some());
}

#[test]
fn a_dial_joins_what_leads_to_the_same_place() {
    let mut peers = peers(Config::default());
    assert_eq!(way_to(&peers, &dial(Some(1), &[1])), None);
    up(&mut peers, 1, 1).unwrap();
    assert_eq!(way_to(&peers, &dial(Some(1), &[5])), Some(On::Peer(peer(1))));
    assert_eq!(way_to(&peers, &dial(None, &[5, 1])), Some(On::Peer(peer(1))), "by the address of its link");
    assert_eq!(
        (instead_of(&peers, &dial(None, &[1])), instead_of(&peers, &dial(None, &[2]))),
        (Some(peer(1)), None)
    );
    assert_eq!(
        (instead_of(&peers, &dial(Some(1), &[2])), instead_of(&peers, &dial(Some(2), &[1]))),
        (Some(peer(1)), None)
    );
    peers.note_dial(DialId(4), Ticket(1), dial(None, &[6, 7]));
    assert_eq!(way_to(&peers, &dial(None, &[7])), Some(On::Dial(DialId(4))));
    assert_eq!(way_to(&peers, &dial(None, &[7, 8])), None, "one of them is looked for nowhere");
    assert_eq!(way_to(&peers, &dial(None, &[])), None);
}

#[test]
fn joins_end_with_their_peer_their_dial_or_their_time() {
    let mut peers = peers(Config::default());
    peers.joins.add(Ticket(1), join(On::Peer(peer(1))), at(10));
    assert!(!peers.joins.is_empty());
    peers.joins.add(Ticket(2), join(On::Dial(DialId(2))), at(5));
    peers.joins.add(Ticket(3), join(On::Dial(DialId(3))), at(20));
    peers.note_dial(DialId(2), Ticket(9), dial(None, &[1]));
    peers.note_dial(DialId(3), Ticket(8), dial(None, &[2]));
    let tickets =
        |joins: Vec<(Ticket, Join)>| joins.into_iter().map(|(ticket, _)| ticket).collect::<Vec<_>>();
    assert_eq!(tickets(take_stranded(&mut peers)), [Ticket(1)], "nothing leads to its peer");
    assert_eq!(peers.poll_timeout(), Some((at(5), "a commanded dial takes too long")));
    peers.joins.dial_is_up(DialId(2), peer(2));
    assert_eq!(take_connected(&mut peers), []);
    up(&mut peers, 1, 2).unwrap();
    assert_eq!(
        (take_connected(&mut peers), take_stranded(&mut peers).len()),
        (vec![], 0),
        "it is not up yet"
    );
    peers.handle_known(LinkId(1), Speaks::default());
    assert_eq!(take_connected(&mut peers), [(Ticket(2), peer(2))]);
    assert_eq!((peers.joins.pop_late(at(19)), peers.joins.pop_late(at(20))), (None, Some(Ticket(3))));
    assert!(peers.joins.is_empty());
}

#[test]
fn a_join_of_a_dial_that_failed_is_dialled_itself_only_where_another_peer_was_there() {
    for (error, again) in [(DialFailure::OtherPeer, true), (DialFailure::Timeout, false)] {
        let mut peers = peers(Config::default());
        peers.joins.add(Ticket(1), join(On::Dial(DialId(1))), at(5));
        peers.joins.add(Ticket(2), join(On::Dial(DialId(2))), at(5));
        peers.note_dial(DialId(2), Ticket(9), dial(None, &[1]));
        peers.joins.dial_failed(DialId(1), error);
        let [(Ticket(1), left)] = &take_stranded(&mut peers)[..] else { panic!("{error:?}") };
        assert_eq!((left.dial.is_some(), &left.reason), (again, &DialProblem::Link(error)));
    }
}

#[test]
fn so_many_joins_find_room() {
    let mut peers = peers(Config::default());
    for ticket in 0..MAX_JOINS as u64 {
        assert!(peers.joins.has_room());
        peers.joins.add(Ticket(ticket), join(On::Peer(peer(1))), at(5));
    }
    assert!(!peers.joins.has_room());
}
