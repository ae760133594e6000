//! Streams of other people's protocols, by name: an echo in two versions, of which the better that both sides have is spoken.
//!
//! `cargo run -p weir-net --features testing --example protocol`
#![allow(clippy::print_stdout)]

use weir::testing::Cluster;
use weir::{Bytes, Keypair, Network, NetworkId, Protocol};

/// Runs it.
pub fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    const ECHO: Protocol = Protocol::new(&["/my/echo/1.1.0", "/my/echo/1.0.0"]);
    const OLD: Protocol = Protocol::new(&["/my/echo/1.0.0"]);

    let cluster = Cluster::new(1);
    let describe = |n| Network::builder(Keypair::ed25519_from_seed([n; 32]), NetworkId([1; 32]));
    let (server, _node, accepted) = cluster.add(describe(1).channels(OLD))?;
    let (client, _node, echo) = cluster.add(describe(2).channels(ECHO))?;
    cluster.spawn(async move {
        while let Some(mut stream) = accepted.next().await {
            while let Ok(Some(bytes)) = stream.read_chunk().await {
                let _gone_meanwhile = stream.write_bytes(bytes).await;
            }
        }
    });

    let peer = cluster.run_until(client.connect(&server.addresses()[0]))?;
    let mut stream = cluster.run_until(echo.open(peer))?;
    cluster.run_until(stream.write_bytes(Bytes::from_static(b"hello")))?;
    let answer = cluster.run_until(stream.read_chunk())?;
    println!("{:?} by {}", answer, stream.protocol());
    assert_eq!((answer, stream.protocol()), (Some(Bytes::from_static(b"hello")), "/my/echo/1.0.0"));
    Ok(())
}
