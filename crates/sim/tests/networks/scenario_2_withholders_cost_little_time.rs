//! Scenario 2: 7 of 20 links offer everything first and deliver nothing, with new identities again and again: p95 is at
//! most 0.3 s × the graph's mean hops above the baseline, bodies at most 1.05 per node, and no honest link runs out of credit.

use crate::common::full;

use weir_sim::{Options, RunError, Transport};

fn options(transport: Transport) -> Options {
    let (nodes, seconds) = if full() { (50, 180) } else { (30, 3) };
    Options { nodes: Some(nodes), seed: 5, seconds, transport, ..Options::default() }
}

fn passes(transport: Transport) {
    let report = weir_sim::run("withholders", &options(transport)).unwrap();
    let bodies = report.bodies_per_node.unwrap();
    println!("over {}: {:?}, bodies {bodies:.4}", transport.as_str(), report.figures);
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    assert!(bodies >= 1.0, "{bodies}: every node got every item from somebody");
    let late = report.figures["p95_ms"] - report.figures["p95_ms_without_them"];
    assert!(late > 5.0, "{late:.1} ms: nothing was withheld");
}

#[test]
fn withholders_that_offer_first_cost_little_time_and_no_copies() {
    passes(Transport::Frames);
}

#[test]
fn over_tcp_withholders_inside_noise_and_yamux_cost_as_little() {
    passes(Transport::Tcp);
}

#[test]
fn over_quic_nobody_can_withhold_so_and_the_run_says_so() {
    let refused = weir_sim::run("withholders", &options(Transport::Quic));
    assert!(matches!(refused, Err(RunError::Sealed { scenario: "withholders", transport: "quic" })));
}
