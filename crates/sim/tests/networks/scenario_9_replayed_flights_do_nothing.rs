//! Protocol §10, 9, replay over QUIC: the first flight of a known peer, replayed 1,000 times from elsewhere, brings no loss, no
//! fault, no link replaced, at most three times its bytes back, and runs no call that is not replay-safe again.
//!
//! A stack does not write before a link is confirmed, so this flight is the handshake's; links do, and the same replay with
//! early data is `a_replayed_first_flight_…` in `weir-link`.

use std::time::Duration;

use bytes::Bytes;
use weir_base::ChannelId;
use weir_sim::flood::pool_channel;
use weir_sim::{Model, Network, Node as _, NodeId, Note, Setup, Transport};
use weir_stack::{Channel, Command, Event, Shape, Target, call};

const SAFE: ChannelId = ChannelId(5);
const UNSAFE: ChannelId = ChannelId(6);
const CLIENT: NodeId = NodeId(0);
const SERVER: NodeId = NodeId(1);

fn method(id: ChannelId, name: &str, replay_safe: bool) -> Channel {
    let config = call::Config { replay_safe, ..call::Config::default() };
    Channel { id, name: name.into(), version: 1, shape: Shape::Call(config) }
}

/// What a while brought: requests at the server, links that went down anywhere.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    requests: Vec<ChannelId>,
    up: usize,
    down: usize,
}

fn watch(net: &mut Network, pause: Duration) -> Seen {
    let mut seen = Seen::default();
    net.run(pause, |_, _, note| match note {
        Note::Told(Event::Call(channel, call::Event::Request { .. })) => seen.requests.push(channel),
        Note::Told(Event::PeerUp { .. }) => seen.up += 1,
        Note::Told(Event::PeerDown { .. }) => seen.down += 1,
        _ => {}
    });
    seen
}

fn call(net: &mut Network, channel: ChannelId) {
    let server = net.host.peer(SERVER).unwrap();
    net.host.with(CLIENT, |actor, now| {
        let request = Bytes::from_static(b"request");
        let target = Target::Peer(server);
        drop(actor.stack().command(now, Command::CallTarget { channel, target, request, deadline: None }));
    });
}

#[test]
fn a_replayed_first_flight_brings_nothing_but_its_price() {
    let channels = vec![pool_channel(), method(SAFE, "safe", true), method(UNSAFE, "unsafe", false)];
    let mut setup = Setup::new(2, 1, 7, channels);
    (setup.transport, setup.model) = (Transport::Quic, Model::calm());
    let mut net = Network::new(setup).unwrap();
    // acquainted: a session is kept
    net.edges = vec![(CLIENT, SERVER)];
    assert!(net.link_up());
    let second = Duration::from_secs(1);
    watch(&mut net, second);
    let target = net.host.peer(SERVER).unwrap();
    net.host.with(CLIENT, |actor, now| actor.stack().command(now, Command::Disconnect(target)).unwrap());
    assert_eq!(watch(&mut net, second * 8).down, 2);

    // the flight: what the client sends before anything comes back
    net.host.capture();
    net.dial(CLIENT, SERVER);
    call(&mut net, SAFE);
    call(&mut net, UNSAFE);
    let begun = net.host.now();
    let mut first = watch(&mut net, second * 2);
    let way = net.host.round_trip(CLIENT, SERVER);
    let all = net.host.capture();
    let flight: Vec<_> = all.iter().filter(|sent| sent.to == SERVER && sent.at < begun + way / 2).collect();
    assert!(flight.iter().map(|sent| sent.bytes.len()).sum::<usize>() >= 1200);
    let accepted = net.host.node(SERVER).unwrap().stack().stats().link.early_accepted;
    println!("flight of {} datagrams, 0-RTT accepted {accepted}, first {first:?}", flight.len());
    assert_eq!(first.up, 2);
    call(&mut net, UNSAFE);
    first.requests.extend(watch(&mut net, second).requests);

    // replayed
    let (before, mut sent) = (net.host.traffic(SERVER).bytes_out, 0);
    let elsewhere = "198.51.100.7:999".parse().unwrap();
    let mut later = Seen::default();
    for _ in 0..1000 {
        for datagram in &flight {
            sent += datagram.bytes.len() as u64;
            net.host.inject(elsewhere, SERVER, &datagram.bytes);
        }
        let seen = watch(&mut net, Duration::from_millis(20));
        later.requests.extend(seen.requests);
        later.up += seen.up;
        later.down += seen.down;
    }
    let seen = watch(&mut net, second * 15);
    let (up, down) = (later.up + seen.up, later.down + seen.down);
    let back = net.host.traffic(SERVER).bytes_out - before;
    println!("replayed {sent} bytes, {back} came back; requests {:?}", later.requests);
    assert_eq!((up, down), (0, 0), "no link comes, goes or is replaced");
    assert!(!later.requests.contains(&UNSAFE), "{:?}", later.requests);
    assert!(net.faults.is_empty(), "{:?}", net.faults);
    assert!(back <= 3 * sent, "{back} bytes back for {sent}");
    // and the link works as before
    call(&mut net, UNSAFE);
    assert_eq!(watch(&mut net, second).requests, vec![UNSAFE]);
    assert_eq!(net.found().peak_over, 0);
}
