//! Peers that deliver what everybody rejects, leave, and come again as somebody else from the same network delay nobody, are banned,
//! and bring no honest node to blame another.

use weir_sim::{Options, Report, Transport};

fn run(transport: Transport) -> Report {
    let report = weir_sim::run("hit-and-run", &Options { transport, ..Options::default() }).unwrap();
    println!("over {}: {:?}", transport.as_str(), report.figures);
    assert_eq!(report.problems, [""; 0], "{transport:?}");
    assert!(report.figures["identities"] >= 20.0, "each of the four comes again and again");
    report
}

#[test]
fn over_frames_each_of_their_identities_is_banned_and_items_are_in_time() {
    let report = run(Transport::Frames);
    assert!(report.figures["identities_banned"] > 100.0, "by most of the nodes each time");
}

#[test]
fn over_quic_their_network_is_banned_after_a_few_identities() {
    let report = run(Transport::Quic);
    assert!(report.figures["nodes_that_banned_their_network"] > 11.5, "all of them");
}

#[test]
fn over_tcp_their_network_is_banned_after_a_few_identities() {
    let report = run(Transport::Tcp);
    assert!(report.figures["nodes_that_banned_their_network"] > 11.5, "all of them");
}
