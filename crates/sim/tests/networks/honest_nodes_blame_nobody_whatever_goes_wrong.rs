//! Each scenario of `weir sim` in which something goes wrong with honest nodes, smaller than there: in the end all agree, and
//! nobody was blamed.

use crate::common;

use weir_sim::{Options, Transport};

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
    ["rebinding", "mappings"].into_iter().for_each(run);
}

#[test]
fn when_paths_are_silent_or_reset() {
    ["silence", "resets"].into_iter().for_each(run);
}

#[test]
fn when_nodes_stop_hang_or_are_replaced() {
    ["power", "crashes", "hangs", "strangers", "churn", "black-holes", "moves"].into_iter().for_each(run);
}

#[test]
fn when_clocks_are_wrong() {
    ["clocks", "steps"].into_iter().for_each(run);
}

#[test]
fn when_bits_of_byte_streams_are_turned() {
    run("flips");
}

#[test]
fn when_one_in_ten_damages_what_it_sends() {
    for transport in [Transport::Quic, Transport::Tcp] {
        let small =
            Options { nodes: Some(20), links: 8, seconds: 4, rate: Some(50), seed: 3, ..Options::default() };
        let report = weir_sim::run("garblers", &Options { transport, ..small }).unwrap();
        assert_eq!((report.problems, report.pairs_missing), (Vec::new(), 0), "{transport:?}");
        assert!(report.submitted > 100);
    }
}

#[test]
fn when_paths_and_processors_are_bad() {
    ["bursts", "slow-processors", "late-timers", "tails", "narrow-lines"].into_iter().for_each(run);
}

#[test]
fn when_datagrams_are_marked_too_long_or_come_otherwise() {
    ["datagrams", "mtu", "ecn"].into_iter().for_each(run);
}

#[test]
fn whatever_the_graph_and_the_load() {
    ["neighbours", "peaks", "hubs", "clusters"].into_iter().for_each(run);
}
