//! Every node ends with the producer's chain and state, and each transfer is in it once.

use crate::rig;

#[test]
fn every_node_ends_with_the_producers_chain_and_state() {
    let mut rig = rig::Rig::new(1);
    let nodes: Vec<_> = (0..4).map(|index| rig.start(index)).collect();
    rig.run(2_000);
    for nonce in 0..30 {
        // All of one account, so at one node: nonces follow each other.
        rig.submit(&nodes[3], &rig.transfer(nonce, nonce % 7));
        rig.run(100);
    }
    rig.run(4_000);
    let waiting: Vec<_> = nodes.iter().map(weir_chain::ChainNode::waiting).collect();
    assert_eq!(waiting, [0; 4]);
    let audits = rig.finish(nodes);
    assert!(audits[0].head.height >= 7, "{:?}", audits[0].head);
    assert_eq!(audits[0].transfers.len(), 30);
    for audit in &audits[1..] {
        assert_eq!(audit, &audits[0]);
    }
}
