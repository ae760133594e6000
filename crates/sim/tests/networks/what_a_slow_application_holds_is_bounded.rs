//! An application that takes a second for each verdict has no more candidates at once than its pool may hand over, and where it
//! has one more that is seen.

use crate::common;

use std::time::Duration;

use weir_sim::flood::{Flood, pool_of};
use weir_sim::{Checking, Undecided};

#[test]
fn undecided_bodies_are_as_many_as_the_pool_may_hand_over_and_one_more_is_seen() {
    let run = |items: u64, bytes: Option<u64>| {
        let mut setup = common::setup(3, 2, 7);
        setup.checking = Checking::After(Duration::from_millis(200));
        pool_of(&mut setup.config).unwrap().checking = 16;
        let mut flood = Flood::new(setup, common::load(400, 1, 10)).unwrap();
        assert_eq!(flood.net.undecided.items, 16);
        let bytes = bytes.unwrap_or(flood.net.undecided.bytes);
        flood.net.undecided = Undecided { items, bytes };
        flood.run();
        (flood.net.found().peak_over, flood.spread().converged.is_some())
    };
    assert_eq!(run(16, None), (0, true));
    assert_eq!(run(15, None), (1, true), "the pool hands over 16");
    let (over, converged) = run(16, Some(1_000));
    assert!(converged && (500..65_536).contains(&over), "bytes of 16 items above 1,000: {over}");
}
