//! However many transfers that nobody can pay for a neighbour publishes, every block that is due is made, and honest transfers
//! are in them.

use std::collections::BTreeMap;
use std::time::Duration;

use weir_chain::hostile::{Hostile, HostileNode};
use weir_chain::store::Store;
use weir_chain::{AccountId, Genesis};

use crate::rig::{join, key, run, transfer};

/// Milliseconds between blocks.
const BLOCK_MS: u64 = 500;
/// Blocks that are waited for, at least.
const BLOCKS: u64 = 12;
/// Transfers that are published by the spammer in the meantime, at least.
const SPAMMED: u64 = 4_000;
/// Honest transfers, one each so many milliseconds.
const HONEST: u64 = 50;
const PAUSE: Duration = Duration::from_millis(100);

#[test]
fn every_block_that_is_due_is_made_whatever_a_neighbour_publishes() {
    let (producer, user, spammer) = (key(1), key(2), key(3));
    let balances = BTreeMap::from([(AccountId::of(&user), 1_000_000)]);
    let genesis = Genesis::new("due", AccountId::of(&producer), BLOCK_MS, &balances).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (joined, address) = join(&genesis, 10, &[]);
    let (spam, spam_address) = join(&genesis, 12, std::slice::from_ref(&address));
    let producer = run(&genesis, &folder.path().join("producer"), joined, Some(producer));
    let (joined, _) = join(&genesis, 11, &[address, spam_address]);
    let honest = run(&genesis, &folder.path().join("honest"), joined, None);
    let spam = HostileNode::new(spam, genesis.id(), spammer, 0);
    let runner = spam.clone();
    std::thread::spawn(move || runner.network().clone().block_on(runner.run(Hostile::Spam)));

    let net = honest.network().clone();
    for nonce in 0..HONEST {
        net.block_on(honest.submit(&transfer(&genesis, &user, nonce))).unwrap();
        net.block_on(net.sleep(PAUSE)).unwrap();
    }
    let spammed = || net.block_on(spam.network().stats()).unwrap().host.commands;
    while spammed() < SPAMMED
        || honest.head().height < BLOCKS
        || honest.account(&AccountId::of(&user)).nonce < HONEST
    {
        net.block_on(net.sleep(PAUSE)).unwrap();
    }
    producer.stop_producing();
    assert_eq!((producer.waiting(), producer.gaps()), (0, 0), "nothing of the spam waits");
    let last = producer.head().height;
    for node in [&producer, &honest] {
        net.block_on(node.shutdown(Duration::from_secs(2)));
    }
    spam.abort();
    drop((producer, honest));
    let store = Store::open(&folder.path().join("producer"), &genesis).unwrap();
    let time = |height| store.header(&store.hash_at(height).unwrap().unwrap()).unwrap().unwrap().draft.time;
    let due = (time(last) - time(1)) / BLOCK_MS + 1;
    assert!(last + 1 >= due, "{last} blocks were made of {due} that were due");
}
