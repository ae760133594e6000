//! Scenario 7, without ground collisions: false summaries or sizes, malleated bodies, storms of *gone*: each honest item
//! reaches every honest pool within 8 s, and no honest peer is faulted.

use crate::common;

use weir_sim::flood::{Flood, TXS};
use weir_sim::misbehave::{GoneStormer, Liar, Lie};
use weir_sim::report::nearest_rank;
use weir_sim::{NodeId, Setup, Tamper, Transport, tamper};

/// 50 nodes with 20 links, 8 of them hostile, all in the same way.
fn run(make: impl Fn() -> Box<dyn Tamper>) -> Flood {
    run_on(common::setup(50, 20, 3), 8, make)
}

/// The same over TCP, where hostile nodes change what is inside Noise and yamux; 25 nodes unless all of it is asked for.
fn run_over_tcp(make: impl Fn() -> Box<dyn Tamper>) -> Flood {
    let (nodes, links, hostile) = if common::full() { (50, 20, 8) } else { (25, 10, 4) };
    let mut setup = common::setup(nodes, links, 3);
    setup.transport = Transport::Tcp;
    run_on(setup, hostile, make)
}

fn run_on(setup: Setup, hostile: u32, make: impl Fn() -> Box<dyn Tamper>) -> Flood {
    let mut flood = Flood::new(setup, common::load(100, 3, 60)).unwrap();
    for id in (0..hostile).map(NodeId) {
        flood.hostile.insert(id);
        tamper(&mut flood.net, id, make());
    }
    flood.run();
    let spread = flood.spread();
    assert!(spread.converged.is_some(), "missing, at first: {:?}", flood.missing(5));
    let slowest = f64::from(nearest_rank(&flood.latencies(|_, _| true), 100).unwrap()) / 1e6;
    println!(
        "slowest pair {slowest:.2} s, bodies {:?}, faults {}",
        spread.bodies_per_node,
        flood.net.faults.len()
    );
    assert!(slowest <= 8.0, "slowest pair {slowest} s");
    let hostile = flood.hostile.clone();
    let unjust: Vec<_> = flood.net.faults_between_honest(&hostile).take(3).collect();
    assert!(unjust.is_empty(), "{unjust:?}");
    flood
}

fn blamed(flood: &Flood) -> bool {
    flood.net.faults.iter().any(|seen| flood.hostile.contains(&seen.whom))
}

#[test]
fn false_summaries_hide_nothing() {
    assert!(blamed(&run(|| Box::new(Liar::new(TXS, Lie::Summary)))));
}

#[test]
fn false_sizes_hide_nothing() {
    assert!(blamed(&run(|| Box::new(Liar::new(TXS, Lie::Size)))));
}

#[test]
fn malleated_bodies_hide_nothing() {
    assert!(blamed(&run(|| Box::new(Liar::new(TXS, Lie::Body)))));
}

#[test]
fn storms_of_gone_hide_nothing() {
    run(|| Box::new(GoneStormer::new(TXS)));
}

#[test]
fn false_summaries_and_malleated_bodies_over_tcp_hide_nothing() {
    assert!(blamed(&run_over_tcp(|| Box::new(Liar::new(TXS, Lie::Summary)))));
    assert!(blamed(&run_over_tcp(|| Box::new(Liar::new(TXS, Lie::Body)))));
}

#[test]
fn storms_of_gone_over_tcp_hide_nothing() {
    run_over_tcp(|| Box::new(GoneStormer::new(TXS)));
}
