//! Scenario 9, replay over QUIC: the first flight of a known peer (hello, a permit, a call that is replay-safe, and one that
//! is not, which therefore waits) is replayed 1,000 times from elsewhere. It brings no loss, no fault, no link replaced, at most
//! three times its bytes back, and runs no call that is not replay-safe; the one that is runs at most once.

use std::time::Duration;

use weir_sim::{Captured, Network, Node as _, NodeId};

use crate::early::{CLIENT, SAFE, SERVER, UNSAFE, acquainted, call, watch};

const SECOND: Duration = Duration::from_secs(1);

/// The client dials and calls both methods; what it sends before anything comes back.
fn first_flight(net: &mut Network) -> Vec<Captured> {
    net.host.capture();
    net.dial(CLIENT, SERVER);
    assert!(call(net, SAFE) && call(net, UNSAFE));
    let (begun, way) = (net.host.now(), net.host.world().round_trip(CLIENT, SERVER));
    watch(net, way / 2);
    let sent = net.host.capture().into_iter();
    let flight: Vec<Captured> = sent.filter(|sent| sent.to == SERVER && sent.at <= begun).collect();
    assert!(flight.iter().map(|sent| sent.bytes.len()).sum::<usize>() >= 1200);
    flight
}

/// What 1,000 replays from another address bring: the bytes sent and those that came back, and what was seen.
fn replay(net: &mut Network, flight: &[Captured]) -> (u64, u64, crate::early::Seen) {
    let (before, mut sent) = (net.host.traffic(SERVER).bytes_out, 0);
    let elsewhere = "198.51.100.7:999".parse().unwrap();
    let mut seen = crate::early::Seen::default();
    for _ in 0..1000 {
        for datagram in flight {
            sent += datagram.bytes.len() as u64;
            net.host.inject(elsewhere, SERVER, &datagram.bytes);
        }
        seen.add(watch(net, Duration::from_millis(20)));
    }
    seen.add(watch(net, SECOND * 15));
    (sent, net.host.traffic(SERVER).bytes_out - before, seen)
}

fn early_accepted(net: &mut Network, node: NodeId) -> u64 {
    net.host.node(node).unwrap().stack().stats().link.early_accepted
}

#[test]
fn a_replayed_first_flight_brings_nothing_but_its_price() {
    let mut net = acquainted(7, true);
    let flight = first_flight(&mut net);
    let first = watch(&mut net, SECOND * 2);
    assert_eq!((first.up, first.answers.len()), (2, 2));
    assert_eq!(early_accepted(&mut net, SERVER), 1, "the flight carried data, and it was taken");

    let (sent, back, seen) = replay(&mut net, &flight);
    println!("replayed {sent} bytes, {back} came back; requests {:?}", seen.requests);
    assert_eq!((seen.up, seen.down), (0, 0), "no link comes, goes or is replaced");
    assert!(seen.requests.is_empty(), "its session is used: {:?}", seen.requests);
    assert!(net.faults.is_empty(), "{:?}", net.faults);
    assert!(back <= 3 * sent, "{back} bytes back for {sent}");
    // and the link works as before
    assert!(call(&mut net, UNSAFE));
    assert_eq!(watch(&mut net, SECOND).requests, vec![UNSAFE]);
    assert_eq!(net.found().peak_over, 0);
}

#[test]
fn a_flight_that_only_the_attacker_delivers_runs_what_is_replay_safe_once() {
    let mut net = acquainted(8, true);
    net.host.block(CLIENT, SERVER);
    let flight = first_flight(&mut net);
    let (sent, back, seen) = replay(&mut net, &flight);
    println!("replayed {sent} bytes, {back} came back; requests {:?}", seen.requests);
    assert_eq!((seen.up, seen.down), (0, 0), "it is never a link");
    assert_eq!(seen.requests, vec![SAFE]);
    assert_eq!(early_accepted(&mut net, SERVER), 0);
    assert!(net.faults.is_empty(), "{:?}", net.faults);
    assert!(back <= 3 * sent, "{back} bytes back for {sent}");
    // and the honest peer is served once its datagrams arrive again
    net.host.heal(CLIENT, SERVER);
    net.dial(CLIENT, SERVER);
    assert!(call(&mut net, UNSAFE));
    let seen = watch(&mut net, SECOND * 2);
    assert_eq!((seen.up, seen.requests), (2, vec![UNSAFE]));
}
