//! Two nodes with one pool over frames: the same seed gives the same trace hash, another seed another.

use crate::common;

use weir_sim::flood::Flood;

fn trace(seed: u64) -> String {
    let mut flood = Flood::new(common::setup(2, 1, seed), common::load(100, 2, 10)).unwrap();
    flood.run();
    common::assert_well(&mut flood);
    flood.net.host.trace_hash()
}

#[test]
fn the_same_seed_gives_the_same_trace_and_another_seed_another() {
    let first = trace(7);
    assert_eq!(first, trace(7));
    assert_ne!(first, trace(8));
}
