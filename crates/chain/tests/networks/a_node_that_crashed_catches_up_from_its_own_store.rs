//! A node that crashed catches up from its own store, blocks it missed included.

use crate::rig;

use weir::Keypair;

#[test]
fn a_node_that_crashed_catches_up_from_its_own_store() {
    let mut rig = rig::Rig::new(2);
    let mut nodes: Vec<_> = (0..3).map(|index| rig.start(index)).collect();
    rig.run(5_000);
    let before = nodes[2].head().height;
    assert!(before >= 2);
    assert!(rig.cluster.crash(Keypair::ed25519_from_seed([12; 32]).peer_id()));
    rig.run(1);
    drop(nodes.pop());
    for nonce in 0..5 {
        rig.submit(&nodes[1], &rig.transfer(nonce, 1));
        rig.run(1_000);
    }
    let node = rig.start(2);
    assert_eq!(node.head().height, before);
    nodes.push(node);
    rig.run(8_000);
    let audits = rig.finish(nodes);
    assert!(audits[0].head.height >= before + 10);
    assert_eq!((&audits[2], audits[2].transfers.len()), (&audits[0], 5));
}
