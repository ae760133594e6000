//! A node whose chain left the others' more than 64 blocks ago comes back to the longest one,
//! and what only its own blocks held waits for a block again.

use std::time::Duration;

use weir_chain::Wall;

use crate::rig::{Producer, Rig, Spec, WALL};

#[test]
fn a_node_far_behind_on_a_fork_comes_back() {
    let mut rig = Rig::new(11);
    let wall = Wall::from_origin(WALL);
    let spec = |dials, producer| Spec { place: None, dials, producer, wall: wall.clone() };
    // two that both have the key, and do not know each other
    let (ours, theirs) =
        (rig.start_as(0, &spec(&[], Producer::Yes)), rig.start_as(1, &spec(&[], Producer::Yes)));
    rig.submit(&ours, &rig.transfer(0, 1));
    rig.run(100_500);
    assert_eq!((ours.account(&rig.user_id()).nonce, theirs.account(&rig.user_id()).nonce), (1, 0));
    rig.cluster.run_until(ours.shutdown(Duration::from_secs(1)));
    rig.run(10_000);
    assert!(ours.head().height >= 99 && theirs.head().height > ours.head().height);
    drop(ours);
    let ours = rig.start_as(0, &spec(&[1], Producer::No));
    rig.run(10_000);
    theirs.stop_producing();
    rig.run(2_000);
    assert_eq!(ours.head(), theirs.head());
    assert_eq!(theirs.account(&rig.user_id()).nonce, 1, "a transfer of the blocks that left waits again");
    let audits = rig.finish(vec![ours, theirs]);
    assert_eq!(audits[0], audits[1]);
}
