//! Requests and responses of other people's protocols, by name: each message behind its length, unless the protocol says otherwise.
//!
//! `cargo run -p weir-net --features testing --example request`
#![allow(clippy::print_stdout)]

use std::time::Duration;

use weir::testing::Cluster;
use weir::{Bytes, Keypair, Network, NetworkId, RequestResponse};

/// Runs it.
pub fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    const BLOCKS: RequestResponse = RequestResponse::new(&["/my/blocks/2", "/my/blocks/1"])
        .max_request(64)
        .max_response(4 << 20)
        .deadline(Duration::from_secs(5))
        .concurrency(8, 64);

    let cluster = Cluster::new(1);
    let describe = |n| Network::builder(Keypair::ed25519_from_seed([n; 32]), NetworkId([1; 32]));
    let (server, _node, requests) = cluster.add(describe(1).channels(BLOCKS.serve()))?;
    let (client, _node, blocks) = cluster.add(describe(2).channels(BLOCKS))?;
    cluster.spawn(async move {
        while let Some(request) = requests.next().await {
            let block = [&b"block "[..], &request.body()[..]].concat();
            let _fits = request.respond(block.into());
        }
    });

    let peer = cluster.run_until(client.connect(&server.addresses()[0]))?;
    let response = cluster.run_until(blocks.request(peer, Bytes::from_static(b"7")))?;
    println!("{:?} by {}", response.body, response.protocol);
    assert_eq!((&response.body[..], response.protocol), (&b"block 7"[..], "/my/blocks/2"));
    Ok(())
}
