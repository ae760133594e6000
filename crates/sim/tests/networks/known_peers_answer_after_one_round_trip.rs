//! Set-up to first response over QUIC (`docs/figures.md`): two round trips to a peer met for the first time, one to a known one
//! (0-RTT).

use std::time::Duration;

use weir_sim::Network;

use crate::early::{CLIENT, SAFE, SERVER, UNSAFE, acquainted, call, strangers, watch};

/// Dials and calls at once; round trips until the response, rounded down.
fn round_trips(net: &mut Network, channel: weir_pull::ChannelId) -> u128 {
    let (begun, trip) = (net.host.now(), net.host.world().round_trip(CLIENT, SERVER));
    net.dial(CLIENT, SERVER);
    assert!(call(net, channel));
    let seen = watch(net, Duration::from_secs(3));
    let [answered] = seen.answers[..] else { panic!("one answer: {seen:?}") };
    (answered - begun).as_nanos() / trip.as_nanos()
}

#[test]
fn the_second_link_to_a_peer_brings_its_first_response_after_one_round_trip() {
    assert_eq!(round_trips(&mut strangers(3, true), SAFE), 2);
    assert_eq!(round_trips(&mut acquainted(3, true), SAFE), 1);
    assert_eq!(round_trips(&mut acquainted(3, true), UNSAFE), 2, "what may not be replayed waits");
    assert_eq!(round_trips(&mut acquainted(3, false), SAFE), 2, "switched off");
}
