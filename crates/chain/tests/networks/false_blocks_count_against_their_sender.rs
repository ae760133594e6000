//! A neighbour that announces what is true and answers with what is no block is blamed for it, and its link ends.

use weir::testing::Region;
use weir::{Blame, Bytes, Event};
use weir_chain::Wall;
use weir_chain::channels::Blocks;

use crate::rig::{Producer, Rig, Spec, WALL, identity, place};

#[test]
fn false_blocks_count_against_their_sender() {
    let mut rig = Rig::new(17);
    let near = Some(place(Region::ALL[0]));
    let (_liar, _node, (tip, _, bodies, blocks)) = rig.join(0, near, &[]);
    rig.cluster.spawn(async move {
        while let Some(request) = blocks.next().await {
            request.answer(Blocks(vec![Bytes::from_static(b"no block")]));
        }
    });
    rig.cluster.spawn(async move {
        while let Some(request) = bodies.next().await {
            request.answer(Bytes::from_static(b"no block"));
        }
    });
    let wall = Wall::from_origin(WALL);
    let follower = rig.start_as(1, &Spec { place: near, dials: &[0], producer: Producer::No, wall });
    let events = follower.network().events();
    rig.run(1_000);
    tip.publish(&rig.header(50, [9; 32])).unwrap();
    rig.run(3_000);
    let (mut blamed, mut left) = (0, false);
    for event in std::iter::from_fn(|| events.try_next()) {
        match event {
            Event::Fault { peer, fault, .. } => {
                assert_eq!(peer, identity(0).peer_id());
                blamed += usize::from(fault.blame == Blame::Invalid);
            }
            Event::PeerDown { .. } => left = true,
            _ => {}
        }
    }
    assert!(blamed > 0, "the answer counts against it");
    assert!(left, "its link ends");
}
