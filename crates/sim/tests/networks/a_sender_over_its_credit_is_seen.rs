//! A node that sends one byte more than the credit of its stream turns the checker red by that one byte, and is blamed.

use crate::common;

use weir_sim::NodeId;
use weir_sim::flood::{Flood, TXS};
use weir_sim::misbehave::Overdrawn;

#[test]
fn one_byte_over_its_credit_is_seen_by_the_checker_and_blamed() {
    let mut flood = Flood::new(common::setup(4, 3, 7), common::load(20, 1, 10)).unwrap();
    flood.hostile.insert(NodeId(0));
    flood.net.host.computer(NodeId(0)).tamper(Box::new(Overdrawn::new(TXS)));
    flood.run();
    let found = flood.net.found();
    assert_eq!(found.peak_over, 1, "{found:?}");
    assert!(flood.net.faults.iter().any(|seen| seen.whom == NodeId(0)), "{:?}", flood.net.faults);
    assert!(flood.net.faults.iter().all(|seen| seen.whom == NodeId(0)), "{:?}", flood.net.faults);
    assert!(flood.spread().converged.is_some());
}
