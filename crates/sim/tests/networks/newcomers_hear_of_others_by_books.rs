//! Nodes that know a seed and nobody else hear of others by their peers' books, and need no seed any more.

use crate::common;

use weir_sim::{Options, Transport};

#[test]
fn who_knows_a_seed_only_hears_of_others_and_all_agree_without_seeds() {
    for transport in [Transport::Frames, Transport::Quic] {
        let options = if common::full() {
            Options { transport, ..Options::default() }
        } else {
            let rate = Some(50);
            Options { nodes: Some(20), links: 8, seconds: 4, rate, seed: 3, transport, ..Options::default() }
        };
        let report = weir_sim::run("discovery", &options).unwrap();
        assert_eq!(report.problems, [""; 0], "{transport:?}");
        assert_eq!((report.pairs_missing, report.faults), (0, 0), "{transport:?}: {:?}", report.faults_for);
        let figure = |name: &str| report.figures[name];
        assert!(
            figure("links_by_seeds_p50") < 2.0,
            "one seed, before anybody is asked: {:?}",
            report.figures
        );
        let enough = f64::from(options.links / 2);
        assert!(figure("links_p50") >= enough && figure("links_least") >= 1.0, "{:?}", report.figures);
        assert!(report.submitted > 100 && report.checks > 0);
    }
}
