//! A neighbour that announces every header first and answers nothing costs a follower next to nothing.

use weir::testing::Region;
use weir_chain::Wall;
use weir_chain::hostile::Hostile;

use crate::rig::{Producer, Rig, Spec, WALL, place};

#[test]
fn a_mute_neighbour_costs_a_follower_next_to_nothing() {
    let mut rig = Rig::new(3);
    let (near, far) = (place(Region::ALL[0]), place(Region::ALL[4]));
    let wall = Wall::from_origin(WALL);
    let spec = |place, dials, producer| Spec { place: Some(place), dials, producer, wall: wall.clone() };
    let producer = rig.start_as(0, &spec(near, &[], Producer::Yes));
    let honest = rig.start_as(1, &spec(far, &[0], Producer::No));
    rig.run(10_000);
    rig.start_hostile(2, near, &[0], Hostile::Mute);
    rig.run(3_000);
    // the victim hears everything from the mute one first, and from the honest one over two long lines
    let victim = rig.start_as(3, &spec(near, &[2, 1], Producer::No));
    rig.run(2_500);
    assert!(victim.head().height + 2 >= producer.head().height, "{:?} {:?}", victim.head(), producer.head());
    for _ in 0..60 {
        rig.run(1_000);
        assert!(
            victim.head().height + 2 >= producer.head().height,
            "{:?} {:?}",
            victim.head(),
            producer.head()
        );
    }
    assert!(honest.head().height >= 70);
}
