//! libp2p's identify as one more user of streams, over every transport: a peer is known by what it says.

use std::time::Duration;

use weir_base::codec::put_prefixed;
use weir_base::{Multiaddr, ProtocolId};
use weir_libp2p::identify::{self, Info};
use weir_stack::{Command, Event, Refused};

use crate::duo::Duo;
use crate::net::{Carrier, Net, WALL};

const PING: ProtocolId = ProtocolId(65_536);
const PUSH: ProtocolId = ProtocolId(65_538);

fn told(events: impl IntoIterator<Item = Event>) -> Vec<Info> {
    let info = |event| if let Event::Identified { info, .. } = event { Some(*info) } else { None };
    events.into_iter().filter_map(info).collect()
}

#[test]
fn a_node_answers_who_it_is_and_where_it_sees_the_reader() {
    for carrier in Carrier::ALL {
        let mut net = Net::line(carrier, 1, 2);
        let peer = net.nodes[1].peer;
        net.command(0, Command::Identify(peer));
        net.run_for(Duration::from_secs(1));
        let told = told(net.nodes[0].events.drain(..));
        let [info] = &told[..] else { panic!("{told:?}") };
        assert_eq!(info.key.as_ref().map(weir_base::PublicKey::peer_id), Some(peer));
        assert_eq!(info.agent.as_deref(), Some(concat!("weir/", env!("CARGO_PKG_VERSION"))));
        assert_eq!(info.protocol_version.as_deref(), Some("weir/1"));
        assert_eq!(info.protocols, SERVED);
        assert_eq!((&info.addresses[..], &info.record), (&[][..], &None), "nobody has said where it is");
        let seen = (carrier != Carrier::Frames).then(|| net.address(0));
        assert_eq!(info.observed, seen, "{carrier:?}");
        let linked = net.nodes[0].stack.peers().links().next().map(|(_, linked)| linked.heard.clone());
        assert_eq!(linked.flatten().and_then(|heard| heard.observed), seen, "it is kept with the link");
        assert!(net.nodes.iter().all(|node| node.stack.stats().faults == 0));
    }
}

/// What the nodes here serve, by name.
const SERVED: [&str; 9] = [
    "/ipfs/id/push/1.0.0",
    "/ipfs/id/1.0.0",
    "/ipfs/ping/1.0.0",
    "/weir/raw/0/1",
    "/weir/echo/0/1",
    "/weir/tip/0/1",
    "/weir/txs/1/1",
    "/weir/txs/0/1",
    "/weir/control/1",
];

fn announced(number: u8) -> Vec<Multiaddr> {
    ["udp/4001/quic-v1", "tcp/4001"]
        .map(|end| format!("/ip4/192.0.2.{number}/{end}").parse().unwrap())
        .to_vec()
}

#[test]
fn a_node_says_where_it_is_reached_with_a_signed_record_whose_number_grows() {
    for carrier in Carrier::ALL {
        let mut net = Net::line(carrier, 1, 2);
        let peer = net.nodes[1].peer;
        let mut numbers = Vec::new();
        for number in [1, 2] {
            net.command(1, Command::Announce(announced(number)));
            net.run_for(Duration::from_secs(2));
            net.nodes[0].events.clear();
            net.command(0, Command::Identify(peer));
            net.run_for(Duration::from_secs(1));
            let told = told(net.nodes[0].events.drain(..));
            let [Info { addresses, record: Some(record), .. }] = &told[..] else { panic!("{told:?}") };
            assert_eq!((addresses, &record.addresses), (&announced(number), &announced(number)));
            assert_eq!(record.peer, peer);
            numbers.push(record.seq);
        }
        assert!(numbers[0] >= WALL.as_millis() && numbers[1] > numbers[0], "{numbers:?}");
    }
}

#[test]
fn peers_on_libp2ps_connections_hear_at_once_where_a_node_is_reached_now() {
    for carrier in Carrier::ALL {
        let mut net = Net::line(carrier, 1, 2);
        net.run_for(Duration::from_secs(2));
        net.nodes[0].events.clear();
        net.command(1, Command::Announce(announced(1)));
        net.run_for(Duration::from_secs(1));
        let told = told(net.nodes[0].events.drain(..));
        if matches!(carrier, Carrier::Tcp | Carrier::QuicNamed) {
            let [Info { addresses, record: Some(_), .. }] = &told[..] else { panic!("{carrier:?} {told:?}") };
            assert_eq!(addresses, &announced(1));
        } else {
            assert_eq!(told, []);
        }
    }
}

#[test]
fn more_addresses_than_a_record_holds_are_refused() {
    let mut net = Net::line(Carrier::Frames, 1, 1);
    let many = |count| vec![announced(1)[0].clone(); count];
    assert!(net.try_command(0, Command::Announce(many(64))).is_ok());
    assert_eq!(net.try_command(0, Command::Announce(many(65))), Err(Refused::Addresses));
    let name = "x".repeat(63);
    let long: Multiaddr = format!("/dns4/{name}.{name}.{name}/tcp/1").parse().unwrap();
    assert_eq!(net.try_command(0, Command::Announce(vec![long; 20])), Err(Refused::Addresses));
}

/// A peer that only pushes who it is.
fn pushed(info: &Info) -> Duo {
    let mut duo = Duo::linked();
    let mut bytes = Vec::new();
    put_prefixed(&mut bytes, &identify::encode(info, None).concat());
    let stream = duo.open(PUSH);
    duo.write(stream, &bytes);
    duo.peer.link(duo.link).unwrap().finish(duo.now, stream);
    duo.settle();
    duo
}

fn foreign() -> Info {
    Info {
        agent: Some("foreign/1".to_owned()),
        protocols: ["/ipfs/ping/1.0.0", "/nobody/knows/1"].map(str::to_owned).to_vec(),
        ..Info::default()
    }
}

#[test]
fn a_peer_that_names_other_protocols_is_whole_at_once_and_no_hello_is_missed() {
    let mut duo = pushed(&foreign());
    let speaks = duo.up().expect("it is up");
    assert_eq!((speaks.hello, speaks.protocols, &speaks.agent[..]), (None, vec![PING], "foreign/1"));
    duo.run_for(Duration::from_secs(12));
    assert_eq!((duo.node.stats().peers, duo.node.stats().faults), (1, 0));
    let ups = duo.events.iter().filter(|event| matches!(event, Event::PeerUp { .. })).count();
    assert_eq!(ups, 1);
}

#[test]
fn a_peer_that_says_it_speaks_pull_is_waited_for() {
    let duo = pushed(&Info { protocol_version: Some("weir/1".to_owned()), ..foreign() });
    assert_eq!(duo.up(), None);
    let duo = pushed(&Info { protocols: Vec::new(), ..foreign() });
    assert_eq!(duo.up(), None, "it names nothing that it could be used for");
}

#[test]
fn what_a_later_push_leaves_out_is_as_before() {
    let mut duo = pushed(&foreign());
    duo.run_for(Duration::from_secs(2));
    let mut bytes = Vec::new();
    let later = Info { agent: Some("foreign/2".to_owned()), ..Info::default() };
    put_prefixed(&mut bytes, &identify::encode(&later, None).concat());
    let stream = duo.open(PUSH);
    duo.write(stream, &bytes);
    duo.peer.link(duo.link).unwrap().finish(duo.now, stream);
    duo.settle();
    let heard = duo.node.peers().links().find_map(|(_, linked)| linked.heard.clone()).unwrap();
    assert_eq!((&heard.agent[..], heard.protocols), ("foreign/2", vec![PING]));
    assert_eq!(told(duo.events).len(), 2);
}
