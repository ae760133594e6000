//! Scenario 9. Over QUIC the first datagrams of both sides after the handshake arrive in every order, with each of them lost or
//! doubled. Over TCP, which keeps the order of bytes, they arrive cut anywhere and at any pace; and all that a dialler sent is sent
//! again by somebody else. No fault, no link lost or replaced, and all that was for the other side reaches it.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use weir_pull::ChannelId;
use weir_stack::{Channel, Event, Role, Service, Shape, call, pool, tip};

use crate::net::{CALL, Carrier, Net, POOL, TIP, config};

/// Datagrams of each side whose arrival is chosen: its whole first flight.
const FIRST: usize = 3;
/// Between two arrivals: long enough that a flight overlaps the answers to it.
const STEP: Duration = Duration::from_millis(15);

/// What becomes of one datagram beside its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Lost,
    Doubled,
}

/// A hello of some three datagrams.
fn talkative() -> weir_stack::Config {
    let mut config = config();
    config.profile.services =
        (0..16).map(|id| Service { id, version: 1, payload: vec![7; 64].into() }).collect();
    config.profile.channels.extend((10..60).map(|id| Channel {
        id: ChannelId(id),
        name: format!("a-raw-channel-of-a-long-name-{id}"),
        version: 1,
        oldest: 1,
        shape: Shape::Raw,
    }));
    config
}

/// Every order of so many.
fn orders(count: usize) -> Vec<Vec<usize>> {
    let mut all = vec![Vec::new()];
    for next in 0..count {
        all = all
            .into_iter()
            .flat_map(|order: Vec<usize>| {
                (0..=order.len()).map(move |at| [&order[..at], &[next], &order[at..]].concat())
            })
            .collect();
    }
    all
}

/// Two nodes that have much to say to each other, and are not linked yet.
fn talkers(carrier: Carrier) -> Net {
    let mut net = Net::new(carrier, 1);
    for node in [0, 1] {
        net.add(talkative());
        let item = Bytes::from(vec![u8::try_from(node).unwrap(); 500]);
        net.pull(node, weir_pull::Command::Pool(POOL, pool::Command::Insert { bytes: item }));
    }
    let value = Bytes::from_static(b"height 1");
    let grounds = tip::Grounds { slot: tip::SlotKey([1; 32]), unvalidated: 0, begins: None };
    net.pull(0, weir_pull::Command::Tip(TIP, tip::Command::Publish { value, grounds }));
    net
}

/// The `k`-th datagram of both sides together arrives in place `order[k]`; one of them has a fate of its own.
fn run(order: &[usize], special: Option<(usize, Fate)>) {
    let what = format!("{order:?} {special:?}");
    let mut net = talkers(Carrier::Quic);
    for node in [0, 1] {
        let fates: VecDeque<Vec<Duration>> = (node * FIRST..(node + 1) * FIRST)
            .map(|index| {
                let late = STEP * u32::try_from(order[index]).unwrap();
                match special.filter(|(of, _)| *of == index) {
                    None => vec![late],
                    Some((_, Fate::Lost)) => Vec::new(),
                    Some((_, Fate::Doubled)) => vec![late, late + STEP * 3],
                }
            })
            .collect();
        net.fates.insert(node, fates);
    }
    net.know(0, 1, Role::Persistent);
    net.run_for(Duration::from_secs(4));
    assert!(net.fates.values().all(VecDeque::is_empty), "all that was chosen came: {what}");
    all_came(&mut net, &what);
}

/// All that the two nodes had for each other came, once, and a call; nobody is blamed.
fn all_came(net: &mut Net, what: &str) {
    assert!(
        net.are_peers(0, 1),
        "{what}: {:?}",
        net.nodes.iter().map(|node| &node.events).collect::<Vec<_>>()
    );
    let link = net.nodes[1].stack.peers().ready_link(&net.nodes[0].peer).unwrap();
    let call = call::Command::Call { link, request: Bytes::from_static(b"?"), deadline: None };
    net.pull(1, weir_pull::Command::Call(CALL, call));
    net.run_for(Duration::from_secs(1));
    let mut told = BTreeSet::new();
    for (index, node) in net.nodes.iter().enumerate() {
        assert_eq!(node.stack.stats().faults, 0, "{what}");
        for event in &node.events {
            let name = match event {
                Event::PeerUp { .. } => "up",
                Event::Pool(POOL, pool::Event::Candidate { .. }) => "item",
                Event::Tip(TIP, tip::Event::Received { .. }) => "tip",
                Event::Call(CALL, call::Event::Request { .. }) => "call",
                Event::PeerDown { .. } | Event::Fault { .. } => panic!("{event:?}: {what}"),
                _ => continue,
            };
            assert!(told.insert((index, name)), "{name} twice: {what}");
        }
    }
    let all = [(0, "call"), (0, "item"), (0, "up"), (1, "item"), (1, "tip"), (1, "up")];
    assert_eq!(told.into_iter().collect::<Vec<_>>(), all, "{what}");
}

#[test]
fn first_datagrams_arrive_in_every_order() {
    orders(2 * FIRST).iter().for_each(|order| run(order, None));
}

#[test]
fn each_of_the_first_datagrams_is_lost_or_doubled_in_every_order_of_its_flight() {
    let flights = orders(FIRST);
    for (one, other) in flights.iter().flat_map(|one| flights.iter().map(move |other| (one, other))) {
        let order: Vec<usize> = one.iter().chain(other).copied().collect();
        for index in 0..2 * FIRST {
            for fate in [Fate::Lost, Fate::Doubled] {
                run(&order, Some((index, fate)));
            }
        }
    }
}

#[test]
fn the_first_bytes_over_tcp_come_cut_anywhere_and_at_any_pace() {
    for piece in [1, 2, 3, 7, 31, 100, 333, 1000] {
        for pace in [0, 30, 300] {
            let mut net = talkers(Carrier::Tcp);
            (net.piece, net.pace) = (piece, Duration::from_micros(pace));
            net.know(0, 1, Role::Persistent);
            net.run_for(Duration::from_secs(30));
            all_came(&mut net, &format!("pieces of {piece} bytes, {pace} µs apart"));
        }
    }
}

#[test]
fn what_a_dialler_sent_over_tcp_is_sent_again_a_thousand_times_in_vain() {
    let mut net = talkers(Carrier::Tcp);
    net.logging = true;
    net.know(0, 1, Role::Persistent);
    net.run_for(Duration::from_secs(4));
    let (dialled, flight) = net.sent.iter().find(|(pipe, _)| pipe.0 % 2 == 0).unwrap();
    assert!(flight.len() > 2000, "{} bytes on {dialled:?}", flight.len());
    let flight = flight.clone();
    let (mut sent, mut back) = (0, 0);
    for number in 0..1000_u32 {
        let remote = SocketAddr::from(([198, 51, 100, u8::try_from(number % 250).unwrap()], 999));
        let pipe = net.connect_from(remote, 1, &flight);
        net.run_for(Duration::from_millis(50));
        sent += flight.len();
        back += net.sent.remove(&pipe).map_or(0, |bytes| bytes.len());
    }
    assert!(back > 0 && back <= 3 * sent, "{back} bytes back for {sent}");
    assert_eq!(net.nodes[1].stack.stats().link.links, 1);
    all_came(&mut net, "after the replays");
}
