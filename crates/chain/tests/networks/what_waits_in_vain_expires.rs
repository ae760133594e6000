//! What a node keeps for others ends by itself: transfers beyond gaps, requests for a block that does not come, and the claim of
//! a peer that has gone.

use std::time::Duration;

use weir::CallError;
use weir_chain::channels::BlockId;

use crate::rig::{Rig, identity};

#[test]
fn a_transfer_beyond_a_gap_leaves_after_30_s() {
    let mut rig = Rig::new(43);
    let node = rig.start(1);
    let (_net, _node, (_, pool, ..)) = rig.join(2, None, &[1]);
    rig.run(1_000);
    rig.cluster.run_until(pool.publish_wait(&rig.transfer(3, 1))).unwrap();
    rig.run(2_000);
    assert_eq!(node.gaps(), 1);
    rig.run(26_000);
    assert_eq!(node.gaps(), 1);
    rig.run(5_000);
    assert_eq!(node.gaps(), 0);
}

#[test]
fn a_request_is_held_for_5_s_and_refused_then() {
    let mut rig = Rig::new(44);
    let _server = rig.start(1);
    let (_net, _node, (tip, _, bodies, _)) = rig.join(2, None, &[1]);
    rig.run(1_000);
    let header = rig.header(50, [9; 32]);
    tip.publish(&header).unwrap();
    rig.run(1_000);
    let (caller, peer, block) = (bodies.caller(), identity(1).peer_id(), BlockId(*header.hash()));
    let begun = rig.cluster.now();
    let ended = rig.cluster.run_until(caller.call_within(peer, block, Duration::from_secs(10)));
    let took = rig.cluster.now().since(begun);
    assert!(matches!(ended, Err(CallError::Refused { .. })), "{ended:?}");
    assert!(took >= Duration::from_secs(5) && took < Duration::from_secs(7), "{took:?}");
}

#[test]
fn what_a_peer_announced_is_not_waited_for_when_it_has_gone() {
    let mut rig = Rig::new(45);
    let _server = rig.start(1);
    let (_net, announcer, (tip, ..)) = rig.join(2, None, &[1]);
    let (_other_net, _other, (_, _, bodies, _)) = rig.join(3, None, &[1]);
    rig.run(1_000);
    let header = rig.header(50, [9; 32]);
    tip.publish(&header).unwrap();
    rig.run(1_000);
    let (caller, peer, block) = (bodies.caller(), identity(1).peer_id(), BlockId(*header.hash()));
    let ask = || rig.cluster.run_until(caller.call_within(peer, block, Duration::from_secs(2)));
    let ended = ask();
    assert!(matches!(ended, Err(CallError::Deadline)), "it is held: {ended:?}");
    rig.cluster.run_until(announcer.shutdown(Duration::from_secs(1)));
    rig.run(1_000);
    let ended = ask();
    assert!(matches!(ended, Err(CallError::Refused { .. })), "{ended:?}");
}

#[test]
fn requests_that_their_peer_gave_up_leave_room_for_others_of_it() {
    let mut rig = Rig::new(47);
    let _server = rig.start(1);
    let (_net, _node, (tip, _, bodies, _)) = rig.join(2, None, &[1]);
    rig.run(1_000);
    let header = rig.header(50, [9; 32]);
    tip.publish(&header).unwrap();
    rig.run(1_000);
    let (caller, peer, block) = (bodies.caller(), identity(1).peer_id(), BlockId(*header.hash()));
    for round in 0..6 {
        let ended = rig.cluster.run_until(caller.call_within(peer, block, Duration::from_millis(400)));
        assert!(matches!(ended, Err(CallError::Deadline)), "{round}: {ended:?}");
    }
}
