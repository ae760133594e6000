//! A node that was restarted, producing or not, says what it has: peers that know less hear of it without a new block.

use std::time::Duration;

use weir_chain::Wall;

use crate::rig::{Producer, Rig, Spec, WALL};

#[test]
fn a_restarted_node_says_what_it_has() {
    let mut rig = Rig::new(4);
    let wall = Wall::from_origin(WALL);
    let spec = |dials, producer| Spec { place: None, dials, producer, wall: wall.clone() };
    let producer = rig.start_as(0, &spec(&[], Producer::Yes));
    rig.run(10_500);
    let height = producer.head().height;
    rig.cluster.run_until(producer.shutdown(Duration::from_secs(1)));
    rig.run(1_000);
    drop(producer);
    let restarted = rig.start_as(0, &spec(&[], Producer::No));
    let fresh = rig.start_as(1, &spec(&[0], Producer::No));
    rig.run(3_000);
    assert_eq!((restarted.head().height, fresh.head().height), (height, height));
    // and so does one that learnt it from others
    rig.cluster.run_until(fresh.shutdown(Duration::from_secs(1)));
    rig.cluster.run_until(restarted.shutdown(Duration::from_secs(1)));
    rig.run(1_000);
    drop((fresh, restarted));
    let second = rig.start_as(1, &spec(&[], Producer::No));
    let third = rig.start_as(2, &spec(&[1], Producer::No));
    rig.run(3_000);
    assert_eq!((second.head().height, third.head().height), (height, height));
}
