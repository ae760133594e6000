//! A rule of one's own about connections: this node talks to validators alone, and says whom it turned away and why.
//!
//! `cargo run -p weir-net --features testing --example gate`
#![allow(clippy::print_stdout)]

use weir::testing::Cluster;
use weir::{Attempt, Event, Keypair, Network, NetworkId};

/// Runs it.
pub fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let cluster = Cluster::new(1);
    let key = |n| Keypair::ed25519_from_seed([n; 32]);
    let describe = |n| Network::builder(key(n), NetworkId([1; 32]));

    let validators = [key(2).peer_id()];
    let rule = move |attempt: &Attempt<'_>| match attempt {
        Attempt::Secured { peer, .. } if !validators.contains(peer) => Err("not a validator".into()),
        _ => Ok(()),
    };
    let (closed, _node, ()) = cluster.add(describe(1).gate(rule))?;
    let events = closed.events();
    let (validator, _node, ()) = cluster.add(describe(2).peers(closed.addresses()))?;
    let (_stranger, _node, ()) = cluster.add(describe(3).peers(closed.addresses()))?;

    cluster.run_until(validator.wait_for_peers(1))?;
    let refused = cluster.run_until(async {
        while let Some(event) = events.next().await {
            if let Event::ConnectionRefused { peer: Some(peer), reason, .. } = event {
                return Some((peer, reason));
            }
        }
        None
    });
    let (peer, reason) = refused.ok_or("nobody was refused")?;
    println!("{peer} was {reason}");
    assert_eq!((peer, reason.as_str()), (key(3).peer_id(), "refused: not a validator"));
    Ok(())
}
