//! The checker's share of the time is measured where a clock is handed in, and measuring changes nothing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use weir_sim::{Options, Transport};

/// A clock that goes on by a microsecond each time it is read.
fn ticks() -> Duration {
    static READ: AtomicU64 = AtomicU64::new(0);
    Duration::from_micros(READ.fetch_add(1, Ordering::Relaxed))
}

#[test]
fn the_share_of_checking_is_told_with_a_clock_and_the_run_is_the_same_without() {
    // In windows over frames; step by step over TCP, where counters are compared instead of frames.
    for (name, transport) in [("tx-flood", Transport::Frames), ("flips", Transport::Tcp)] {
        let options = Options {
            nodes: Some(10),
            links: 4,
            seconds: 1,
            rate: Some(20),
            transport,
            ..Options::default()
        };
        let measured = weir_sim::run_measured(name, &options, Some(ticks)).unwrap();
        let share = measured.checker_share.unwrap();
        assert!(share > 0.0 && share < 1.0, "{name}: {share}");
        let plain = weir_sim::run(name, &options).unwrap();
        assert_eq!((plain.checker_share, &plain.trace_hash), (None, &measured.trace_hash), "{name}");
    }
}
