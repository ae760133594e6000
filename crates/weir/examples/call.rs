//! Calls: a request, a response, and what to do without one.
//!
//! `cargo run -p weir-net --example call`
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::time::Duration;

use weir::{CallError, Method, Network, NetworkId, Retry, Target};

const SQUARE: Method<u64, u64> = Method::new(5, "square").deadline(Duration::from_secs(5));

/// Runs the example.
pub fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let builder = || Ok::<_, weir::StartError>(Network::builder(weir::random_keypair()?, NetworkId([1; 32])));
    let (server, node, requests) = weir::start(builder()?.channels(SQUARE.serve()).listen("127.0.0.1:0"))?;
    let (client, _client_node, square) = weir::start(builder()?.channels(SQUARE).listen("127.0.0.1:0"))?;

    // A server in a thread; in a task it would be `while let Some(request) = requests.next().await`.
    let here = requests.caller();
    let serving = std::thread::spawn(move || {
        while let Some(request) = requests.next_blocking() {
            match request.query().checked_mul(*request.query()) {
                Some(square) => request.answer(square),
                None => request.refuse(Duration::from_secs(3600)), // not in this world
            }
        }
    });

    let peer = weir::block_on(client.connect(&server.addresses()[0]))?;
    let answer = weir::block_on(square.call(peer, 7))?;
    println!("7 * 7 = {answer}");
    assert_eq!(answer, 49);

    match weir::block_on(square.call(peer, u64::MAX)) {
        Err(error @ CallError::Refused { .. }) => println!("{error}: {:?}", error.retry()),
        other => return Err(format!("expected a refusal, not {other:?}").into()),
    }
    // The server asks itself: no encoding, no wire.
    println!("8 * 8 = {}", weir::block_on(here.call(Target::Local, 8))?);

    weir::block_on(node.shutdown(Duration::from_secs(1)));
    let gone = weir::block_on(square.call(peer, 9)).map_err(|error| error.retry());
    assert_eq!(gone, Err(Retry::Elsewhere));
    serving.join().map_err(|_| "the server panicked")?;
    Ok(())
}
