//! A neighbour that answers with forged blocks and announces forged headers changes nothing, and is cut off.

use weir::testing::Region;
use weir_chain::Wall;
use weir_chain::hostile::Hostile;

use crate::rig::{Producer, Rig, Spec, WALL, hostile_id, identity, place};

#[test]
fn forged_blocks_and_transfers_change_nothing() {
    let mut rig = Rig::new(12);
    let near = place(Region::ALL[0]);
    let wall = Wall::from_origin(WALL);
    let spec = |dials, producer| Spec { place: Some(near), dials, producer, wall: wall.clone() };
    let producer = rig.start_as(0, &spec(&[], Producer::Yes));
    rig.start_hostile(1, near, &[0], Hostile::Forge);
    rig.run(2_000);
    let follower = rig.start_as(2, &spec(&[0, 1], Producer::No));
    for nonce in 0..20 {
        rig.submit(&follower, &rig.transfer(nonce, 1));
        rig.run(1_000);
        assert!(follower.head().height + 2 >= producer.head().height);
    }
    rig.run(3_000);
    assert_eq!(producer.account(&rig.user_id()).nonce, 20);
    assert_eq!(producer.account(&hostile_id()).nonce, 0, "what it did not sign is in no block");
    let peers = rig.cluster.run_until(producer.network().peers().list()).unwrap();
    assert!(peers.iter().all(|peer| peer.peer != identity(1).peer_id()), "the forger is cut off");
}
