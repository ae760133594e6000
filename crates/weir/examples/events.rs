//! What happens at a node: peers, events, counters.
//!
//! `cargo run -p weir-net --example events`
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::time::Duration;

use weir::{Bytes, Event, Network, NetworkId, Service};

/// This network's number for "keeps everything since genesis".
const ARCHIVE: u32 = 1;

/// Runs the example.
pub fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let builder = || Ok::<_, weir::StartError>(Network::builder(weir::random_keypair()?, NetworkId([1; 32])));
    let archive = Service { id: ARCHIVE, version: 1, payload: Bytes::from_static(b"from genesis") };
    let (alice, alice_node, ()) =
        weir::start(builder()?.agent("alice/1.0").service(archive).listen("127.0.0.1:0"))?;
    let (bob, _bob_node, ()) = weir::start(builder()?.listen("127.0.0.1:0"))?;

    let events = bob.events();
    weir::block_on(bob.connect(&alice.addresses()[0]))?;
    for peer in weir::block_on(bob.peers().list())? {
        println!("{} runs {}, offers {:?}", peer.peer, peer.agent, peer.services);
        assert_eq!((peer.agent.as_str(), peer.services.len()), ("alice/1.0", 1));
    }
    weir::block_on(alice_node.shutdown(Duration::from_secs(1)));

    let lost = weir::block_on(bob.within(Duration::from_secs(10), async {
        while let Some(event) = events.next().await {
            println!("{event:?}");
            if let Event::PeerDown { peer, .. } = event {
                return Some(peer);
            }
        }
        None
    }))?;
    assert_eq!(lost, Some(alice.peer_id()));
    let stats = weir::block_on(bob.stats())?;
    println!("{} datagrams in, {} out", stats.host.datagrams_in, stats.host.datagrams_out);
    println!("windows hold: {}", stats.stack.windows_hold());
    assert!(stats.host.datagrams_in >= 2 && stats.stack.windows_hold(), "a handshake at least");
    Ok(())
}
