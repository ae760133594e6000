//! A tip: one current value per node, the newest wins.
//!
//! `cargo run -p weir-net --example tip`
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::time::Duration;

use weir::{Bytes, Malformed, Message, Network, NetworkId, SlotKey, Tip, TipValue};

const HEAD: Tip<Head> = Tip::new(2, "head");

/// The height of a chain's head.
#[derive(Debug)]
struct Head(u64);

impl Message for Head {
    fn encode(&self) -> Bytes {
        self.0.encode()
    }

    fn decode(bytes: Bytes) -> Result<Self, Malformed> {
        u64::decode(bytes).map(Self)
    }
}

impl TipValue for Head {
    /// One value per height; a second one for the same height would be evidence against its signer.
    fn slot(&self) -> SlotKey {
        SlotKey::of(&[&self.0.to_be_bytes()])
    }
}

/// Runs the example.
pub fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let builder = || {
        let keypair = weir::random_keypair()?;
        Ok::<_, weir::StartError>(Network::builder(keypair, NetworkId([1; 32])).channels(HEAD))
    };
    let (alice, _alice_node, head) = weir::start(builder()?.listen("127.0.0.1:0"))?;
    let (bob, _bob_node, seen) = weir::start(builder()?.listen("127.0.0.1:0").peers(alice.addresses()))?;

    // Whatever bob has not asked for in time he never sees: only the newest value counts.
    for height in 1..=3 {
        head.publish(&Head(height))?;
    }

    let heights = weir::block_on(bob.within(Duration::from_secs(10), async {
        let mut heights = Vec::new();
        while let Some(received) = seen.next().await {
            let height = received.value().0;
            println!("bob hears of height {height} from {}", received.peer());
            heights.push(height);
            received.accept(); // it is bob's tip now, and he relays it
            if height == 3 {
                break;
            }
        }
        heights
    }))?;
    assert!(heights.is_sorted() && heights.last() == Some(&3), "the newest is the last: {heights:?}");
    Ok(())
}
