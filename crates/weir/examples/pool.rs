//! A pool: what one node publishes, another checks and accepts.
//!
//! `cargo run -p weir-net --example pool`
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::time::Duration;

use weir::{Bytes, Malformed, Message, Network, NetworkId, Pool, PoolItem, PublishError, Summary};

const TXS: Pool<Tx> = Pool::new(4, "tx").max_item(1024).offer_delay(Duration::ZERO);

/// A payment: a fee and a text.
struct Tx {
    fee: u64,
    text: String,
}

impl Message for Tx {
    fn encode(&self) -> Bytes {
        [&self.fee.to_be_bytes(), self.text.as_bytes()].concat().into()
    }

    fn decode(bytes: Bytes) -> Result<Self, Malformed> {
        let (fee, text) =
            bytes.split_first_chunk().ok_or(Malformed::new("a transaction begins with a fee"))?;
        let text = str::from_utf8(text).map_err(|error| Malformed::because("not UTF-8", error))?.to_owned();
        Ok(Self { fee: u64::from_be_bytes(*fee), text })
    }
}

impl PoolItem for Tx {
    /// Peers hear of the fee before they ask for the whole.
    fn summary(&self) -> Summary {
        Summary::new(&self.fee.to_be_bytes()).unwrap_or_default()
    }

    /// Higher fees first; less than 10 is not wanted at all.
    fn priority(summary: &Summary) -> Option<u64> {
        let fee = summary.as_slice().try_into().map(u64::from_be_bytes).ok()?;
        (fee >= 10).then_some(fee)
    }
}

/// Runs the example.
pub fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let builder = || {
        let keypair = weir::random_keypair()?;
        Ok::<_, weir::StartError>(Network::builder(keypair, NetworkId([1; 32])).channels(TXS))
    };
    let (alice, _alice_node, hers) = weir::start(builder()?.listen("127.0.0.1:0"))?;
    let (bob, _bob_node, his) = weir::start(builder()?.listen("127.0.0.1:0").peers(alice.addresses()))?;

    for (fee, text) in [(5, "too cheap"), (30, "alice pays bob"), (20, "forged")] {
        match hers.publish(&Tx { fee, text: text.into() }) {
            Ok(id) => println!("alice has {id:?}, fee {fee}"),
            Err(PublishError::Unwanted) => println!("a fee of {fee} is wanted nowhere"),
            Err(error) => return Err(error.into()),
        }
    }

    let mut got = Vec::new();
    for _ in 0..2 {
        let next = bob.within(Duration::from_secs(10), his.next());
        let candidate = weir::block_on(next)?.ok_or("the node has stopped")?;
        let tx = candidate.item();
        println!("bob got `{}`, fee {}, from {}", tx.text, tx.fee, candidate.peer());
        got.push(tx.text.clone());
        if tx.text == "forged" {
            candidate.reject(); // alice's fault
        } else {
            candidate.accept(); // bob offers it on
        }
    }
    got.sort_unstable();
    assert_eq!(got, ["alice pays bob", "forged"], "what is too cheap was not sent");
    Ok(())
}
