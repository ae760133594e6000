//! Requests for bodies are held for accepted headers only: one peer that asks for what nobody has takes no place of others.

use std::time::Duration;

use weir::CallError;
use weir::testing::Region;
use weir_chain::Wall;
use weir_chain::channels::BlockId;
use weir_chain::hostile::Hostile;

use crate::rig::{Producer, Rig, Spec, WALL, identity, place};

#[test]
fn a_follower_behind_a_node_that_is_asked_for_nonsense_follows_as_before() {
    let mut rig = Rig::new(6);
    let near = place(Region::ALL[0]);
    let wall = Wall::from_origin(WALL);
    let spec = |dials, producer| Spec { place: Some(near), dials, producer, wall: wall.clone() };
    let producer = rig.start_as(0, &spec(&[], Producer::Yes));
    let relay = rig.start_as(1, &spec(&[0], Producer::No));
    rig.start_hostile(2, near, &[1], Hostile::Spam);
    rig.run(3_000);
    let follower = rig.start_as(3, &spec(&[1], Producer::No));
    rig.run(2_000);
    for _ in 0..20 {
        rig.run(1_000);
        assert!(follower.head().height + 2 >= producer.head().height);
    }
    assert_eq!(relay.waiting() + relay.gaps(), 0);
}

#[test]
fn a_block_of_no_accepted_header_is_refused_and_each_peer_has_its_share_of_the_rest() {
    let mut rig = Rig::new(7);
    let near = place(Region::ALL[0]);
    let wall = Wall::from_origin(WALL);
    let spec = |dials, producer| Spec { place: Some(near), dials, producer, wall: wall.clone() };
    let producer = rig.start_as(0, &spec(&[], Producer::Yes));
    let server = rig.start_as(1, &spec(&[0], Producer::No));
    let (_net, _node, (tip, _, bodies, _)) = rig.join(2, Some(near), &[1]);
    rig.run(2_200);
    let server_id = identity(1).peer_id();
    let short = Duration::from_millis(300);
    for number in 0..8 {
        let asked =
            rig.cluster.run_until(bodies.caller().call_within(server_id, BlockId([number; 32]), short));
        assert!(matches!(asked, Err(CallError::Refused { .. })), "{asked:?}");
    }
    // a header that the producer signed, of a block that never comes
    let header = rig.header(50, [9; 32]);
    let (_other, _other_node, (other_tip, _, other_bodies, _)) = rig.join(3, Some(near), &[1]);
    rig.run(1_000);
    let asks = [(tip, bodies, 6), (other_tip, other_bodies, 6)].map(|(tip, bodies, count)| {
        tip.publish(&header).unwrap();
        (bodies.caller(), count)
    });
    rig.run(500);
    let mut tasks = Vec::new();
    for (bodies, count) in asks {
        for _ in 0..count {
            let (bodies, hash) = (bodies.clone(), BlockId(*header.hash()));
            tasks.push(rig.cluster.spawn(async move { bodies.call_within(server_id, hash, short).await }));
        }
    }
    let ends: Vec<_> = tasks.into_iter().map(|task| rig.cluster.run_until(task)).collect();
    let refused =
        |ends: &[_]| ends.iter().filter(|end| matches!(end, Err(CallError::Refused { .. }))).count();
    assert_eq!((refused(&ends[..6]), refused(&ends[6..])), (2, 2), "four each are held: {ends:?}");
    assert!(server.head().height + 1 >= producer.head().height);
}

#[test]
fn of_all_peers_together_16_requests_are_held() {
    let mut rig = Rig::new(48);
    let _server = rig.start(1);
    let header = rig.header(50, [9; 32]);
    let mut peers = Vec::new();
    for index in 2..7 {
        let (net, node, (tip, _, bodies, _)) = rig.join(index, None, &[1]);
        tip.publish(&header).unwrap();
        peers.push((net, node, bodies));
    }
    rig.run(3_000);
    let server_id = identity(1).peer_id();
    let mut tasks = Vec::new();
    for (_, _, bodies) in &peers {
        for _ in 0..4 {
            let (bodies, hash) = (bodies.caller(), BlockId(*header.hash()));
            let asked = async move { bodies.call_within(server_id, hash, Duration::from_secs(3)).await };
            tasks.push(rig.cluster.spawn(asked));
        }
    }
    let ends: Vec<_> = tasks.into_iter().map(|task| rig.cluster.run_until(task)).collect();
    let refused = ends.iter().filter(|end| matches!(end, Err(CallError::Refused { .. }))).count();
    let held = ends.iter().filter(|end| matches!(end, Err(CallError::Deadline))).count();
    assert_eq!((held, refused), (16, 4), "{ends:?}");
}
