//! The chain in virtual time is deterministic: the same seed gives the same run, store and all.

use crate::rig;

fn run(seed: u64) -> (String, Vec<weir_chain::audit::Audit>) {
    let mut rig = rig::Rig::new(seed);
    let nodes: Vec<_> = (0..3).map(|index| rig.start(index)).collect();
    rig.run(1_500);
    rig.submit(&nodes[2], &rig.transfer(0, 3));
    rig.run(3_000);
    (rig.cluster.trace_hash(), rig.finish(nodes))
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let (first, second, other) = (run(5), run(5), run(6));
    assert_eq!(first, second);
    assert_ne!(first.0, other.0);
}
