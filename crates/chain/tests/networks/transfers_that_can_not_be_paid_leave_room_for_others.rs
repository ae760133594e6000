//! Transfers that pay much and cannot be paid leave the blocks to those that can.

use weir::testing::Region;
use weir_chain::Wall;
use weir_chain::hostile::Hostile;

use crate::rig::{Producer, Rig, Spec, WALL, place};

#[test]
fn transfers_that_can_not_be_paid_leave_room_for_others() {
    let mut rig = Rig::new(8);
    let near = place(Region::ALL[0]);
    let wall = Wall::from_origin(WALL);
    let spec = |dials, producer| Spec { place: Some(near), dials, producer, wall: wall.clone() };
    let producer = rig.start_as(0, &spec(&[], Producer::Yes));
    let honest = rig.start_as(1, &spec(&[0], Producer::No));
    rig.start_hostile(2, near, &[0, 1], Hostile::Unpayable);
    rig.run(1_000);
    for nonce in 0..40 {
        rig.submit(&honest, &rig.transfer(nonce, 1));
        rig.run(250);
    }
    rig.run(3_000);
    assert_eq!(producer.account(&rig.user_id()).nonce, 40);
    assert_eq!((producer.waiting(), honest.waiting()), (0, 0));
    assert_eq!(producer.head().height, 14, "every block that was due");
    assert!(honest.head().height + 1 >= producer.head().height);
}
