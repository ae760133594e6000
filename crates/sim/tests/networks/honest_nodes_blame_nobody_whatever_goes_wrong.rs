//! Each scenario of `weir sim` in which something goes wrong with honest nodes, smaller than there: in the end all agree, and
//! nobody was blamed.

use crate::common;

use weir_sim::{Options, SCENARIOS};

fn run(name: &str) {
    let options = if common::full() {
        Options::default()
    } else {
        Options { nodes: Some(20), links: 8, seconds: 4, rate: Some(50), seed: 3, ..Options::default() }
    };
    let report = weir_sim::run(name, &options).unwrap();
    assert_eq!(report.problems, [""; 0], "{name}");
    assert_eq!((report.pairs_missing, report.faults), (0, 0), "{name}: {:?}", report.faults_for);
    assert!(report.checks > 0 && report.submitted > 100, "{name}");
}

#[test]
fn when_half_of_the_nodes_hears_nothing_of_the_others() {
    run("one-way");
}

#[test]
fn when_ports_change_behind_nat_devices() {
    run("rebinding");
}

#[test]
fn in_all_other_scenarios() {
    let elsewhere = ["tx-flood", "tips", "mesh", "one-way", "rebinding"];
    SCENARIOS
        .iter()
        .filter(|scenario| !elsewhere.contains(&scenario.name))
        .for_each(|scenario| run(scenario.name));
}
