//! What several of the tests need.

use std::collections::BTreeSet;
use std::time::Duration;

use weir_sim::flood::{Flood, Load, pool_channel};
use weir_sim::{NodeId, Setup};

/// The full sizes of the scenarios, with `WEIR_FULL=1`; without it the same scenarios, smaller, so that all of
/// them run in a minute or two.
pub(crate) fn full() -> bool {
    std::env::var_os("WEIR_FULL").is_some_and(|value| value == "1")
}

/// A load of `rate` transactions a second for `short` seconds, or as long as the scenario says.
pub(crate) fn load(rate: u32, short: u32, whole: u32) -> Load {
    Load {
        rate,
        seconds: if full() { whole } else { short },
        deadline: Duration::from_secs(60),
        ..Load::default()
    }
}

/// The network of a flood.
pub(crate) fn setup(nodes: u32, links: u32, seed: u64) -> Setup {
    Setup::new(nodes, links, seed, vec![pool_channel()])
}

/// Every pool holds everything, nothing was sent that was not granted, and honest nodes do not blame each other.
pub(crate) fn assert_well(flood: &mut Flood) {
    let missing = flood.missing(5);
    assert!(flood.spread().converged.is_some(), "missing, at first: {missing:?}");
    let problems = flood.problems();
    assert!(problems.is_empty(), "{problems:?}");
    assert_granted(flood);
    let hostile: BTreeSet<NodeId> = flood.hostile.clone();
    let faults: Vec<_> = flood.net.faults_between_honest(&hostile).take(3).collect();
    assert!(faults.is_empty(), "{faults:?}");
}

/// Among honest nodes nothing was sent that was not granted.
pub(crate) fn assert_granted(flood: &Flood) {
    let found = flood.net.found();
    assert_eq!((found.peak_over, found.unread), (0, 0), "{found:?}");
    assert!(found.checks > 0 && found.peak_held > 0 && found.peak_granted > 0, "{found:?}");
}

/// A named scenario comes out; its figures are printed.
pub(crate) fn passes(name: &str, transport: weir_sim::Transport) {
    passes_for(name, transport, weir_sim::Options::default().seconds);
}

/// As [`passes`], with so many seconds of load.
pub(crate) fn passes_for(name: &str, transport: weir_sim::Transport, seconds: u32) {
    let options = weir_sim::Options { transport, seconds, ..weir_sim::Options::default() };
    let report = weir_sim::run(name, &options).unwrap();
    println!("{name} over {}: {:?}, {:.1} s", transport.as_str(), report.figures, report.wall_s);
    assert!(report.problems.is_empty(), "{:?}", report.problems);
}
