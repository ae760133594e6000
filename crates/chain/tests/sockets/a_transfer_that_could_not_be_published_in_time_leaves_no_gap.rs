//! A transfer whose publication timed out leaves the mempool with what follows it: its sender goes on from there.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use weir::{Config, PoolHandle, PublishError};
use weir_chain::node::SubmitError;
use weir_chain::{AccountId, ChainNode, Genesis, Transfer};

use crate::rig::{describe, key, run, transfer};

/// Transfers submitted at once.
const SUBMITTED: u64 = 300;
/// How often that is tried, at most.
const ROUNDS: u64 = 30;
/// Publications that wait for the network before them.
const BEFORE: u64 = 64;

#[test]
fn a_transfer_that_could_not_be_published_in_time_leaves_no_gap() {
    let (producer, user) = (key(1), key(2));
    let id = AccountId::of(&user);
    let genesis =
        Genesis::new("late", AccountId::of(&producer), 1_000, &BTreeMap::from([(id, 1_000_000)])).unwrap();
    let folder = tempfile::tempdir().unwrap();
    // one place for commands, and next to no time to wait for it
    let mut config = Config::default();
    (config.mailboxes.commands, config.mailboxes.publish_deadline) = (1, Duration::from_millis(1));
    let joined = weir::start(describe(&genesis, 10).config(config)).unwrap();
    let pool = joined.2.1.clone();
    let node = run(&genesis, &folder.path().join("node"), joined, None);
    let net = node.network().clone();

    // whether one is late is a race with the network's thread: it is tried until one is
    let late = (0..ROUNDS).map(|_| submit(&node, &pool, &genesis)).find(|late| *late > 0);
    assert!(late.is_some(), "all were in time");
    assert_eq!(node.gaps(), 0);

    // the next nonce is that of the first that is not there
    let waiting = node.waiting() as u64;
    let next = transfer(&genesis, &user, waiting);
    while let Err(error) = net.block_on(node.submit(&next)) {
        assert!(matches!(error, SubmitError::Publish(PublishError::Deadline)), "{error}");
    }
    assert_eq!(node.waiting() as u64, waiting + 1);
    net.block_on(node.shutdown(Duration::from_secs(2)));
}

/// Submits many at once, from the nonce that is next; returns how many were not published in time.
fn submit(node: &ChainNode, pool: &PoolHandle<Transfer>, genesis: &Genesis) -> u64 {
    let first = node.waiting() as u64;
    let others: Vec<_> = (0..BEFORE).map(|nonce| transfer(genesis, &key(3), nonce)).collect();
    let mut before: Vec<_> = others.iter().map(|one| Box::pin(pool.publish_wait(one))).collect();
    let transfers: Vec<_> =
        (first..first + SUBMITTED).map(|nonce| transfer(genesis, &key(2), nonce)).collect();
    let mut submissions: Vec<_> = transfers.iter().map(|one| Box::pin(node.submit(one))).collect();
    let mut late = 0;
    node.network().block_on(poll_fn(|cx| {
        before.retain_mut(|publication| publication.as_mut().poll(cx).is_pending());
        submissions.retain_mut(|submission| match submission.as_mut().poll(cx) {
            Poll::Pending => true,
            Poll::Ready(Ok(())) => false,
            Poll::Ready(Err(SubmitError::Publish(PublishError::Deadline))) => {
                late += 1;
                false
            }
            Poll::Ready(Err(error)) => panic!("{error}"),
        });
        if submissions.is_empty() && before.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    }));
    let came = node.waiting() as u64 - first;
    assert!(came + late <= SUBMITTED, "{came} came, {late} were late");
    late
}
