//! A node that missed events publishes again what waits: its mempool and the network's pool hold the same afterwards.

use weir::{Builder, Config};
use weir_chain::channels::{BLOCKS, BODY, HEAD, TRANSFERS};
use weir_chain::node::Handles;

use crate::rig::Rig;

/// Transfers that a pool of this test keeps.
const KEPT: u32 = 8;

/// A pool that is smaller than the mempool, and hardly any room for what it says.
fn small_pool(builder: Builder) -> Builder<Handles> {
    let mut config = Config::default();
    config.mailboxes.events = 4;
    builder.channels((HEAD, TRANSFERS.keep(KEPT, 1 << 20), BODY.serve(), BLOCKS.serve())).config(config)
}

#[test]
fn what_was_evicted_leaves_the_mempool_though_the_events_were_missed() {
    let mut rig = Rig::new(31);
    rig.declare = small_pool;
    let node = rig.start(1);
    let submissions: Vec<_> = (0..20)
        .map(|nonce| {
            let (node, transfer) = (node.clone(), rig.transfer(nonce, 0));
            rig.cluster.spawn(async move { node.submit(&transfer).await })
        })
        .collect();
    for submission in submissions {
        rig.cluster.run_until(submission).unwrap();
    }
    rig.run(1_000);
    assert_eq!(node.waiting(), KEPT as usize, "twelve found no room, four events told of it");
}
