//! A node whose wall clock was behind, as after a suspension, follows as soon as the clock is right: headers that were early
//! count then, without a new block.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use weir_chain::Wall;

use crate::rig::{Producer, Rig, Spec, WALL};

#[test]
fn a_wall_clock_that_was_behind_stops_nobody_for_good() {
    let mut rig = Rig::new(9);
    let right = Wall::from_origin(WALL);
    let producer =
        rig.start_as(0, &Spec { place: None, dials: &[], producer: Producer::Yes, wall: right.clone() });
    let behind = Arc::new(AtomicU64::new(60_000));
    let wall = {
        let behind = Arc::clone(&behind);
        Wall::by(move |now| right.now(now).saturating_sub(behind.load(Ordering::Relaxed)))
    };
    let follower = rig.start_as(1, &Spec { place: None, dials: &[0], producer: Producer::No, wall });
    rig.run(10_500);
    assert_eq!(follower.head().height, 0, "all of it is of the future");
    producer.stop_producing();
    rig.run(1_000);
    behind.store(0, Ordering::Relaxed);
    rig.run(2_000);
    assert_eq!(follower.head(), producer.head());
    assert!(rig.cluster.run_until(producer.shutdown(Duration::from_secs(1))).is_some());
}
