//! A transfer that the state refuses is ignored, and its signature is not looked at: whether it could be paid differs between
//! nodes, and checking signatures of what cannot be paid would be work for free.

use weir::Event;
use weir_chain::{AccountId, SigningKey, Transfer};

use crate::rig::Rig;

#[test]
fn what_the_state_refuses_is_nobodys_fault() {
    let mut rig = Rig::new(42);
    let node = rig.start(1);
    let events = node.network().events();
    let (net, _node, (_, pool, ..)) = rig.join(2, None, &[1]);
    rig.run(1_000);
    let poor = SigningKey::from_bytes(&[77; 32]);
    // signed for another chain
    let forged = Transfer::sign(&poor, &[1; 32], 0, (AccountId([7; 32]), 5), 1, b"").unwrap();
    rig.cluster.run_until(pool.publish_wait(&forged)).unwrap();
    rig.run(2_000);
    assert_eq!(node.waiting(), 0);
    let faults =
        std::iter::from_fn(|| events.try_next()).filter(|event| matches!(event, Event::Fault { .. }));
    assert_eq!(faults.count(), 0);
    let peers = rig.cluster.run_until(net.peers().list()).unwrap();
    assert_eq!(peers.len(), 1, "the link stays");
}
