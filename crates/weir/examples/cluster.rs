//! A whole network in one thread and in virtual time: thirty nodes, a pool, a crash, the same run for the same seed.
//!
//! `cargo run -p weir-net --features testing --example cluster`
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use weir::testing::Cluster;
use weir::{Builder, Keypair, Network, NetworkId, Pool, PoolHandle};

const TXS: Pool<String> = Pool::new(4, "tx");
const NODES: u8 = 30;

fn describe(number: u8) -> Builder<PoolHandle<String>> {
    Network::builder(Keypair::ed25519_from_seed([number; 32]), NetworkId([1; 32])).channels(TXS)
}

/// Runs the network; its trace hash, and how many nodes have the transaction.
fn run(seed: u64) -> Result<(String, usize), Box<dyn Error + Send + Sync>> {
    let cluster = Cluster::new(seed);
    let have = Arc::new(AtomicUsize::new(0));
    let (mut nets, mut pools) = (Vec::<Network>::new(), Vec::new());
    for number in 0..NODES {
        // Each node keeps links to up to three that came before it.
        let known = nets.iter().rev().step_by(2).take(3).flat_map(|net| net.addresses().to_vec());
        let (net, node, pool) = cluster.add(describe(number).peers(known))?;
        pools.push(pool.clone());
        let have = Arc::clone(&have);
        cluster.spawn(async move {
            while let Some(candidate) = pool.next().await {
                candidate.accept();
                have.fetch_add(1, Ordering::Relaxed);
            }
            drop(node);
        });
        nets.push(net);
    }
    cluster.run_for(Duration::from_secs(5));
    cluster.crash(nets[7].peer_id());
    pools[0].publish(&"pay".to_owned())?;
    cluster.run_for(Duration::from_secs(10));
    Ok((cluster.trace_hash(), have.load(Ordering::Relaxed)))
}

/// Runs the example.
pub fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let (hash, have) = run(7)?;
    println!("{have} nodes got the transaction; trace {hash}");
    assert_eq!(have, usize::from(NODES) - 2, "all but its origin and the one that crashed");
    assert_eq!(run(7)?, (hash, have), "the same seed, the same run");
    Ok(())
}
