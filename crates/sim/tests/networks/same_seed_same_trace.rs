//! Two nodes with one pool over frames, and over TCP with its encryption: the same seed gives the same trace hash, another seed another.

use crate::common;

use weir_sim::Transport;
use weir_sim::flood::Flood;

fn trace(transport: Transport, seed: u64) -> String {
    let mut setup = common::setup(2, 1, seed);
    setup.transport = transport;
    let mut flood = Flood::new(setup, common::load(100, 2, 10)).unwrap();
    flood.run();
    common::assert_well(&mut flood);
    flood.net.host.trace_hash()
}

#[test]
fn the_same_seed_gives_the_same_trace_and_another_seed_another() {
    for transport in [Transport::Frames, Transport::Tcp] {
        println!("{transport:?}");
        let first = trace(transport, 7);
        assert_eq!(first, trace(transport, 7));
        assert_ne!(first, trace(transport, 8));
    }
}
