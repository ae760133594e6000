//! Nodes carried out one by one in the order of events, in windows on one thread, or in windows on two: the same run.

use crate::common;

use std::time::Duration;

use weir_sim::flood::Flood;
use weir_sim::{Network, Transport};

#[test]
fn a_flood_is_the_same_on_one_thread_and_on_two() {
    let run = |threads| {
        let mut setup = common::setup(30, 8, 7);
        setup.threads = threads;
        let mut flood = Flood::new(setup, common::load(50, 2, 10)).unwrap();
        flood.run_in_windows();
        common::assert_well(&mut flood);
        let found = flood.net.found();
        (flood.net.host.trace_hash(), flood.net.host.events(), found.peak_held, flood.latency(95).unwrap())
    };
    let one = run(1);
    assert!(one.1 > 10_000, "{one:?}");
    assert_eq!(one, run(2));
}

#[test]
fn windows_are_the_same_as_steps() {
    for transport in [Transport::Frames, Transport::Quic, Transport::Tcp] {
        let network = |threads| {
            let mut setup = common::setup(10, 4, 7);
            (setup.transport, setup.threads) = (transport, threads);
            let mut network = Network::new(setup).unwrap();
            network.dial_edges();
            network
        };
        let (mut steps, mut windows) = (network(1), network(2));
        let limit = steps.host.now() + Duration::from_secs(20);
        while steps.host.step(limit).is_some() {}
        while windows.window(limit).is_some() {}
        assert!(steps.host.events() > 500);
        assert_eq!(steps.host.events(), windows.host.events());
        if transport != Transport::Quic {
            assert_eq!(steps.host.trace_hash(), windows.host.trace_hash());
        }
    }
}
