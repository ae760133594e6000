//! Transfers of accounts that hold nothing take no place, are never looked at again, and cost no honest transfer anything.

use weir::testing::Region;
use weir_chain::Wall;
use weir_chain::hostile::Hostile;

use crate::rig::{Producer, Rig, Spec, WALL, place};

#[test]
fn spam_of_accounts_that_hold_nothing_costs_next_to_nothing() {
    let mut rig = Rig::new(5);
    let near = place(Region::ALL[0]);
    let wall = Wall::from_origin(WALL);
    let spec = |dials, producer| Spec { place: Some(near), dials, producer, wall: wall.clone() };
    let producer = rig.start_as(0, &spec(&[], Producer::Yes));
    let honest = rig.start_as(1, &spec(&[0], Producer::No));
    rig.start_hostile(2, near, &[0], Hostile::Spam);
    rig.run(10_000);
    for nonce in 0..50 {
        rig.submit(&honest, &rig.transfer(nonce, 1));
        rig.run(200);
    }
    rig.run(2_001);
    // neither submitting nor spam takes time: this is 1 ms after the last block was due
    assert_eq!(rig.cluster.now().as_nanos(), 22_001_000_000);
    assert_eq!(producer.head().height, 22, "every block that was due, in time");
    assert_eq!(producer.account(&rig.user_id()).nonce, 50);
    assert_eq!((producer.waiting(), producer.gaps()), (0, 0));
}
