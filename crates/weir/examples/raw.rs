//! Raw streams: bytes of the application's own, with backpressure from end to end.
//!
//! `cargo run -p weir-net --example raw`
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::io::{Read as _, Write as _};

use weir::{Network, NetworkId, Raw};

const SNAPSHOT: Raw = Raw::new(9, "snapshot");

/// Runs the example.
pub fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let builder = || {
        let keypair = weir::random_keypair()?;
        Ok::<_, weir::StartError>(Network::builder(keypair, NetworkId([1; 32])).channels(SNAPSHOT))
    };
    let (server, _node, accepted) = weir::start(builder()?.listen("127.0.0.1:0"))?;
    let (client, _client_node, snapshots) = weir::start(builder()?.listen("127.0.0.1:0"))?;
    let peer = weir::block_on(client.connect(&server.addresses()[0]))?;

    // The server sends what it is asked for, in small writes: they gather on their way.
    let serving = std::thread::spawn(move || -> std::io::Result<()> {
        let Some(stream) = accepted.next_blocking() else { return Ok(()) };
        let mut stream = stream.blocking();
        let mut name = String::new();
        stream.read_to_string(&mut name)?;
        for line in 0..10_000 {
            writeln!(stream, "{name}, line {line}")?;
        }
        stream.finish();
        Ok(())
    });

    // The same stream implements futures-io's AsyncRead and AsyncWrite; here, for a thread, std's.
    let mut stream = weir::block_on(snapshots.open(peer))?.blocking();
    stream.write_all(b"block 7")?;
    stream.finish();
    let mut snapshot = String::new();
    stream.read_to_string(&mut snapshot)?;
    println!("{} bytes, {} lines", snapshot.len(), snapshot.lines().count());
    assert_eq!(snapshot.lines().last(), Some("block 7, line 9999"));
    serving.join().map_err(|_| "the server panicked")??;
    Ok(())
}
