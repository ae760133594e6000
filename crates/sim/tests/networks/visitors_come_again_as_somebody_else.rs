//! A misbehaving peer that dials, leaves and comes again at times of its own: as who it was, or as somebody else, from where it was or from
//! another address of the same network; over frames, QUIC and TCP.

use crate::pair::{A, millis, pair};

use std::collections::BTreeSet;
use std::net::IpAddr;

use weir_base::Instant;
use weir_base::stream::Group;
use weir_sim::misbehave::{Again, Leave, Visit, Visitors, Visits};
use weir_sim::{Network, Note, Place, Step, Transport};
use weir_stack::Event;

/// What one node saw of a visitor within ten seconds.
#[derive(Default)]
struct Seen {
    came: Vec<Instant>,
    peers: Vec<String>,
    addresses: BTreeSet<IpAddr>,
    groups: BTreeSet<Group>,
    ups: usize,
    downs: usize,
}

fn visit(transport: Transport, leaves: Leave, again: Again) -> Seen {
    let mut net = pair(|setup| setup.transport = transport);
    let mut visitors = Visitors::default();
    let visits = Visits { whom: vec![A], stays: millis(1_000), away: millis(500), leaves, again };
    let id = visitors.add(&mut net, Place::NEAR, None, visits).unwrap();
    let (mut seen, limit) = (Seen::default(), net.host.now() + millis(10_000));
    while let Some(step) = net.host.step(limit) {
        if let Step::Timer(number) = step
            && let Some(Visit::Came { id, .. }) = visitors.timer(&mut net, number).unwrap()
        {
            seen.came.push(net.host.now());
            seen.peers.push(net.host.world().peer(id).unwrap().to_string());
            seen.addresses.insert(net.host.world().udp_of(id).ip());
            visitors.dial(&mut net, id);
        }
        hear(&mut net, step, &mut seen);
    }
    assert_eq!(visitors.ids().collect::<Vec<_>>(), [id]);
    assert!(net.faults.is_empty(), "{:?}", net.faults);
    seen
}

fn hear(net: &mut Network, step: Step, seen: &mut Seen) {
    for (id, note) in net.notes(step) {
        match note {
            Note::Told(Event::PeerUp { info, .. }) if id == A => {
                seen.ups += 1;
                seen.groups.insert(info.group);
            }
            Note::Told(Event::PeerDown { .. }) if id == A => seen.downs += 1,
            _ => {}
        }
    }
}

const ALL: [Transport; 3] = [Transport::Frames, Transport::Quic, Transport::Tcp];

#[test]
fn a_visitor_comes_again_as_somebody_else_from_another_address_of_one_network() {
    for transport in ALL {
        let seen = visit(transport, Leave::Disconnect, Again::SomebodyElseNearby);
        let who: BTreeSet<&String> = seen.peers.iter().collect();
        assert!(seen.ups >= 6 && seen.ups == seen.came.len(), "{transport:?}: {} of {}", seen.ups, who.len());
        assert_eq!(who.len(), seen.came.len(), "{transport:?}: each time another key");
        assert!(seen.downs + 1 >= seen.ups, "{transport:?}: {} of {} links ended", seen.downs, seen.ups);
        let addresses: BTreeSet<String> = seen.addresses.iter().map(IpAddr::to_string).collect();
        assert!(addresses.len() >= 2, "{transport:?}: {addresses:?}");
        let slash_24 = addresses.iter().map(|ip| ip.rsplit_once('.').unwrap().0.to_owned());
        assert_eq!(slash_24.collect::<BTreeSet<_>>().len(), 1, "{transport:?}: {addresses:?}");
        assert_eq!(seen.groups.len(), 1, "{transport:?}: {:?}", seen.groups);
    }
}

#[test]
fn a_visitor_may_come_again_as_who_it_was_or_from_where_it_was() {
    for transport in ALL {
        // over QUIC nobody hears of a crash, and links that nobody has ended keep the places of their address
        let leaves = if transport == Transport::Quic { Leave::Disconnect } else { Leave::Crash };
        let same = visit(transport, leaves, Again::Same);
        let other = visit(transport, leaves, Again::SomebodyElse);
        let who = |seen: &Seen| seen.peers.iter().collect::<BTreeSet<_>>().len();
        assert_eq!((who(&same), who(&other)), (1, other.came.len()), "{transport:?}");
        assert_eq!((same.addresses.len(), other.addresses.len()), (1, 1), "{transport:?}");
        assert!(same.ups >= 6 && other.ups >= 6, "{transport:?}: {} and {}", same.ups, other.ups);
    }
}

#[test]
fn of_a_visitor_that_loses_its_power_nobody_is_told() {
    let told = visit(Transport::Frames, Leave::Disconnect, Again::SomebodyElse);
    let silent = visit(Transport::Frames, Leave::PowerOff, Again::SomebodyElse);
    assert!(told.downs >= 5 && silent.downs == 0, "{} and {}", told.downs, silent.downs);
}

#[test]
fn visitors_of_one_network_have_times_of_their_own_and_are_one_group() {
    let mut net = pair(|_| {});
    let mut visitors = Visitors::default();
    let visits = Visits {
        whom: vec![A],
        stays: millis(1_000),
        away: millis(500),
        leaves: Leave::Disconnect,
        again: Again::SomebodyElseNearby,
    };
    let first = visitors.add(&mut net, Place::NEAR, None, visits.clone()).unwrap();
    visitors.add(&mut net, Place::NEAR, Some(first), visits).unwrap();
    let mut times: [Vec<Instant>; 2] = Default::default();
    let mut seen = Seen::default();
    let limit = net.host.now() + millis(10_000);
    while let Some(step) = net.host.step(limit) {
        if let Step::Timer(number) = step
            && let Some(visit) = visitors.timer(&mut net, number).unwrap()
        {
            let (Visit::Came { id, .. } | Visit::Left { id }) = visit;
            times[usize::from(id != first)].push(net.host.now());
            if visit != (Visit::Left { id }) {
                visitors.dial(&mut net, id);
            }
        }
        hear(&mut net, step, &mut seen);
    }
    assert_eq!((seen.ups > 10, seen.groups.len()), (true, 1), "both are of one network: {:?}", seen.groups);
    let [first, second] = times;
    assert!(first.len() >= 10 && second.len() >= 10, "{} and {}", first.len(), second.len());
    assert!(first.iter().all(|at| !second.contains(at)), "{first:?} {second:?}");
    for times in [&first, &second] {
        let pauses: Vec<_> = times.windows(2).map(|pair| pair[1].since(pair[0])).collect();
        let stays = pauses.iter().step_by(2).all(|pause| (millis(750)..=millis(1_250)).contains(pause));
        let away = pauses.iter().skip(1).step_by(2).all(|pause| (millis(375)..=millis(625)).contains(pause));
        assert!(stays && away, "{pauses:?}");
    }
}
