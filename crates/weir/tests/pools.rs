//! Pools and tips on a cluster: verdicts, priorities, pauses, removal, sharing, withdrawal.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)] // a test that fails says where

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use weir::testing::Cluster;
use weir::{
    Blame, Builder, Bytes, CommandError, Event, Keypair, Malformed, Message, Network, NetworkId, Pool,
    PoolHandle, PoolItem, PublishError, SlotKey, StartError, Stream, Summary, Tip, TipHandle, TipValue,
};

const NOTES: Pool<Note> = Pool::new(4, "notes").max_item(1000).offer_delay(Duration::ZERO);
const HEAD: Tip<Head> = Tip::new(2, "head");

/// A priority, 255 for none, and a text; decoding refuses an empty text.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Note(u8, String);

fn note(priority: u8, text: &str) -> Note {
    Note(priority, text.into())
}

impl Message for Note {
    fn encode(&self) -> Bytes {
        Bytes::from([&[self.0], self.1.as_bytes()].concat())
    }
    fn decode(bytes: Bytes) -> Result<Self, Malformed> {
        match bytes.split_first() {
            Some((priority, text)) if !text.is_empty() => {
                Ok(Self(*priority, str::from_utf8(text).map_err(|_| Malformed::new("not UTF-8"))?.into()))
            }
            _ => Err(Malformed::new("empty")),
        }
    }
}

impl PoolItem for Note {
    fn summary(&self) -> Summary {
        Summary::new(&[self.0]).unwrap_or_default()
    }
    fn priority(summary: &Summary) -> Option<u64> {
        summary
            .as_slice()
            .first()
            .filter(|priority| **priority < u8::MAX)
            .map(|priority| u64::from(*priority))
    }
    fn summary_of(bytes: &Bytes) -> Result<Summary, Malformed> {
        let first = bytes.get(..1).ok_or(Malformed::new("empty"))?;
        Summary::new(first).map_err(Malformed::from)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
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
    fn slot(&self) -> SlotKey {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&self.0.to_be_bytes());
        SlotKey::new(key)
    }
}

fn builder(number: u8) -> Builder {
    Network::builder(Keypair::ed25519_from_seed([number; 32]), NetworkId([1; 32]))
}

/// A node, and its handles.
type Running = (Network, weir::Node, (PoolHandle<Note>, TipHandle<Head>));

fn pair(seed: u64) -> (Cluster, Running, Running) {
    let cluster = Cluster::new(seed);
    let alice = cluster.add(builder(1).channels((NOTES, HEAD))).unwrap();
    let bob = cluster.add(builder(2).channels((NOTES, HEAD)).peers(alice.0.addresses())).unwrap();
    cluster.run_for(Duration::from_secs(2));
    (cluster, alice, bob)
}

/// Counts how often its summary is worked out of its bytes.
#[derive(Debug)]
struct Counted(u8);

static SUMMARIES: AtomicU32 = AtomicU32::new(0);
const COUNTED: Pool<Counted> = Pool::new(9, "counted");

impl Message for Counted {
    fn encode(&self) -> Bytes {
        Bytes::from(vec![self.0])
    }
    fn decode(bytes: Bytes) -> Result<Self, Malformed> {
        bytes.first().map(|number| Self(*number)).ok_or(Malformed::new("empty"))
    }
}

impl PoolItem for Counted {
    fn summary(&self) -> Summary {
        Summary::default()
    }
    fn summary_of(_: &Bytes) -> Result<Summary, Malformed> {
        SUMMARIES.fetch_add(1, Ordering::Relaxed);
        Ok(Summary::default())
    }
}

#[test]
fn what_is_published_is_summarized_once() {
    let cluster = Cluster::new(1);
    let (_net, _node, pool) = cluster.add(builder(1).channels(COUNTED)).unwrap();
    pool.publish(&Counted(1)).unwrap();
    pool.publish_many(&[Counted(2), Counted(3)]).unwrap();
    cluster.run_for(Duration::from_secs(1));
    assert_eq!(SUMMARIES.load(Ordering::Relaxed), 3);
}

#[test]
fn an_item_is_relayed_once_it_was_accepted() {
    let (cluster, alice, bob) = pair(1);
    let (_carol, _node, at_carol) = cluster.add(builder(3).channels(NOTES).peers(bob.0.addresses())).unwrap();
    let id = alice.2.0.publish(&note(1, "hello")).unwrap();
    let candidate = bob.2.0.next_blocking().unwrap();
    assert_eq!(
        (candidate.item(), candidate.id(), candidate.peer()),
        (&note(1, "hello"), id, alice.0.peer_id())
    );
    assert_eq!(candidate.size(), 6);
    cluster.run_for(Duration::from_secs(5));
    assert!(at_carol.try_next().is_none(), "not before the verdict");
    candidate.accept();
    let candidate = at_carol.next_blocking().unwrap();
    assert_eq!((candidate.id(), candidate.peer()), (id, bob.0.peer_id()));
    let (item, verdict) = candidate.into_parts();
    verdict.accept();
    assert_eq!(item, note(1, "hello"));
    assert_eq!(
        at_carol.publish(&note(1, &"x".repeat(1000))),
        Err(PublishError::TooLarge { size: 1001, max: 1000 })
    );
}

#[test]
fn deferred_items_come_again_after_their_time_or_when_reconsidered() {
    let (cluster, alice, bob) = pair(2);
    let (from, to) = (alice.2.0, bob.2.0);
    from.publish(&note(1, "later")).unwrap();
    to.next_blocking().unwrap().defer(Duration::from_secs(30));
    let before = cluster.now();
    let again = to.next_blocking().unwrap();
    assert!(cluster.now() - before >= Duration::from_secs(30));
    again.defer(Duration::from_secs(600));
    let before = cluster.now();
    cluster.run_for(Duration::from_secs(1));
    to.reconsider().unwrap();
    let again = to.next_blocking().unwrap();
    assert!(cluster.now() - before < Duration::from_secs(10));
    drop(again); // as good as deferred for 10 s
    let again = to.next_blocking().unwrap();
    assert!(cluster.now() - before >= Duration::from_secs(10));
    again.ignore();
    cluster.run_for(Duration::from_secs(60));
    assert!(to.try_next().is_none());
}

#[test]
fn a_rejected_item_is_its_deliverers_fault_and_so_is_one_that_cannot_be_decoded() {
    let (cluster, alice, bob) = pair(3);
    let events = bob.0.events();
    let from = alice.2.0;
    let fault = || {
        cluster.run_until(bob.0.within(Duration::from_secs(30), async {
            loop {
                if let Event::Fault { peer, fault, .. } = events.next().await.unwrap() {
                    return (peer, fault.blame);
                }
            }
        }))
    };
    let blamed = Ok((alice.0.peer_id(), Blame::Invalid));
    from.publish(&note(1, "")).unwrap(); // its summary can be read, its text cannot
    assert!(bob.2.0.try_next().is_none());
    let to = bob.2.0;
    let taking = cluster.spawn(async move { to.next().await.map(weir::Candidate::reject) });
    assert_eq!(fault(), blamed);
    from.publish(&note(1, "forged")).unwrap();
    assert_eq!(fault(), blamed);
    cluster.run_until(taking);
}

#[test]
fn items_below_the_floor_and_during_a_pause_are_not_asked_for() {
    let (cluster, alice, bob) = pair(4);
    let (from, to) = (alice.2.0, bob.2.0);
    to.set_floor(10).unwrap();
    cluster.run_for(Duration::from_secs(2));
    from.publish(&note(5, "cheap")).unwrap();
    from.publish(&note(50, "dear")).unwrap();
    let candidate = to.next_blocking().unwrap();
    assert_eq!(candidate.item().1, "dear");
    candidate.accept();
    cluster.run_for(Duration::from_secs(10));
    assert!(to.try_next().is_none());

    to.pause().unwrap();
    // What was granted before may still come.
    for number in 0..600 {
        from.publish(&note(20, &number.to_string())).unwrap();
        cluster.run_for(Duration::from_millis(5));
    }
    cluster.run_for(Duration::from_secs(5));
    let mut paused = 0;
    while let Some(candidate) = to.try_next() {
        candidate.accept();
        paused += 1;
        cluster.run_for(Duration::from_millis(5));
    }
    assert!(paused < 600, "{paused} of 600 came during the pause");
    to.resume().unwrap();
    let mut resumed = paused;
    while resumed < 600 {
        to.next_blocking().unwrap().accept();
        resumed += 1;
    }
}

#[test]
fn several_tasks_share_a_pool_and_every_item_comes_once() {
    let (cluster, alice, bob) = pair(5);
    let workers: Vec<_> = (0..3)
        .map(|_| {
            let (pool, net) = (bob.2.0.clone(), bob.0.clone());
            cluster.spawn(async move {
                let mut seen = Vec::new();
                while let Some(candidate) = pool.next().await {
                    net.sleep(Duration::from_millis(20)).await.unwrap();
                    seen.push(candidate.item().1.clone());
                    candidate.accept();
                }
                seen
            })
        })
        .collect();
    let pool = alice.2.0;
    for number in 0..100 {
        cluster.run_until(pool.publish_wait(&note(1, &number.to_string()))).unwrap();
    }
    cluster.run_for(Duration::from_secs(20));
    cluster.run_until(bob.1.shutdown(Duration::from_secs(1)));
    let seen: Vec<_> = workers.into_iter().map(|worker| cluster.run_until(worker)).collect();
    let mut counts = BTreeMap::new();
    seen.iter().flatten().for_each(|text| *counts.entry(text).or_insert(0) += 1);
    assert_eq!(counts.len(), 100);
    assert!(counts.values().all(|count| *count == 1));
    assert!(seen.iter().all(|seen| seen.len() > 10), "all of them worked");
}

#[test]
fn a_full_mailbox_is_busy_and_recovers() {
    let cluster = Cluster::new(6);
    let mut config = weir::Config::default();
    config.mailboxes.commands = 3;
    let (_net, _node, pool) = cluster.add(builder(1).channels(NOTES).config(config)).unwrap();
    let published: Vec<_> =
        (0..5).map(|number| pool.publish(&note(1, &number.to_string())).is_ok()).collect();
    assert_eq!(published, [true, true, true, false, false]);
    assert_eq!(pool.publish(&note(1, "x")), Err(PublishError::Busy));
    cluster.run_until(pool.publish_wait(&note(1, "x"))).unwrap();
    assert!(pool.publish(&note(1, "y")).is_ok());
}

#[test]
fn a_full_mailbox_keeps_neither_tips_nor_blocks_out() {
    let cluster = Cluster::new(6);
    let mut config = weir::Config::default();
    (config.mailboxes.commands, config.mailboxes.batches) = (2, 1);
    let (net, _node, (pool, tip)) = cluster.add(builder(1).channels((NOTES, HEAD)).config(config)).unwrap();
    let ids = pool.publish_many(&[note(1, "a"), note(1, "b")]).unwrap();
    assert_eq!(pool.settle(ids.clone(), []), Err(PublishError::Busy), "one batch waits");
    assert!((0..2).all(|number| pool.publish(&note(1, &number.to_string())).is_ok()));
    assert_eq!(pool.remove(ids[0]), Err(CommandError::Busy));
    (0..100).for_each(|height| tip.publish(&Head(height)).unwrap());
    cluster.run_until(pool.settle_wait(ids, [])).unwrap();
    cluster.run_until(net.sleep(Duration::from_millis(1))).unwrap();
    let stats = cluster.run_until(net.stats()).unwrap();
    assert!(stats.host.commands < 20, "of the tips that waited only the newest was carried out");
}

#[test]
fn a_block_takes_out_what_it_holds_and_brings_back_what_it_replaced() {
    let (cluster, alice, bob) = pair(11);
    let (pool, other) = (alice.2.0, bob.2.0);
    let notes: Vec<_> = (0..3_000).map(|number| note(1, &number.to_string())).collect();
    let ids = pool.publish_many(&notes).unwrap();
    assert_eq!(ids.len(), notes.len());
    let taken = cluster.run_until(async {
        let mut taken = Vec::new();
        while taken.len() < notes.len() {
            let candidate = other.next().await.unwrap();
            taken.push(candidate.id());
            candidate.accept();
        }
        taken
    });
    assert_eq!(taken.iter().collect::<std::collections::BTreeSet<_>>().len(), notes.len());

    let in_pool = |cluster: &Cluster, net: &Network| {
        cluster.run_until(net.stats()).unwrap().stack.pools.iter().map(|(_, pool)| pool.items).sum::<u64>()
    };
    assert_eq!(in_pool(&cluster, &bob.0), 3_000);
    other.settle(ids[..2_000].iter().copied(), &[note(7, "came back")]).unwrap();
    assert_eq!(in_pool(&cluster, &bob.0), 1_001);
    pool.remove_many(ids[2_000..].iter().copied()).unwrap();
    assert_eq!(in_pool(&cluster, &alice.0), 2_000);
    assert_eq!(pool.next_blocking().map(|candidate| candidate.item().clone()), Some(note(7, "came back")));
}

#[test]
fn what_cannot_be_published_is_said_and_nothing_happens() {
    let cluster = Cluster::new(12);
    let (net, _node, pool) = cluster.add(builder(1).channels(NOTES)).unwrap();
    assert_eq!(pool.publish(&note(u8::MAX, "x")), Err(PublishError::Unwanted));
    let notes = vec![note(1, "x"); weir::pool::MAX_BATCH + 1];
    assert_eq!(pool.publish_many(&notes), Err(PublishError::TooMany { max: weir::pool::MAX_BATCH }));
    let large = note(1, &"x".repeat(1000));
    let error = cluster.run_until(pool.publish_many_wait([&note(1, "y"), &large]));
    assert_eq!(error, Err(PublishError::TooLarge { size: 1001, max: 1000 }));
    assert!(cluster.run_until(net.stats()).unwrap().stack.pools.iter().all(|(_, pool)| pool.items == 0));
}

#[test]
fn an_item_that_finds_no_place_is_reported() {
    const FULL: Pool<Note> = NOTES.keep(2, 10_000);
    let cluster = Cluster::new(13);
    let (net, _node, pool) = cluster.add(builder(1).channels(FULL)).unwrap();
    let events = net.events();
    pool.publish_many(&[note(5, "a"), note(5, "b")]).unwrap();
    let evicted = |id| {
        let event = cluster.run_until(events.next());
        assert!(matches!(event, Some(Event::Evicted { id: of, .. }) if of == id), "{event:?}");
    };
    evicted(pool.publish(&note(5, "an equal stays out")).unwrap());
    evicted(pool.publish_many([&note(4, "less wanted")]).unwrap()[0]);
    pool.publish(&note(6, "more wanted")).unwrap();
    let event = cluster.run_until(events.next());
    assert!(matches!(event, Some(Event::Evicted { .. })), "an older one left for it: {event:?}");
}

#[test]
fn as_many_candidates_are_handed_out_ahead_as_the_pool_says() {
    const FEW: Pool<Note> = NOTES.candidates(3);
    let cluster = Cluster::new(14);
    let (alice, _alice_node, notes) = cluster.add(builder(1).channels(NOTES)).unwrap();
    let (_bob, _bob_node, pool) = cluster.add(builder(2).channels(FEW).peers(alice.addresses())).unwrap();
    let twenty: Vec<_> = (0..20).map(|number| note(1, &number.to_string())).collect();
    notes.publish_many(&twenty).unwrap();
    cluster.run_for(Duration::from_secs(5));
    assert_eq!(pool.waiting(), 3);
    pool.try_next().unwrap().accept();
    cluster.run_for(Duration::from_secs(1));
    assert_eq!(pool.waiting(), 3, "a verdict made room for one more");
}

#[test]
fn tips_skip_to_the_newest_and_can_be_withdrawn() {
    let (cluster, alice, bob) = pair(7);
    let (from, to) = (alice.2.1, bob.2.1);
    from.publish(&Head(1)).unwrap();
    let received = to.next_blocking().unwrap();
    assert_eq!((received.value(), received.peer()), (&Head(1), alice.0.peer_id()));
    for height in 2..50 {
        from.publish(&Head(height)).unwrap();
    }
    cluster.run_for(Duration::from_secs(5));
    assert!(to.try_next().is_none(), "the peer waits for the verdict");
    received.accept();
    let received = to.next_blocking().unwrap();
    assert_eq!(received.value(), &Head(49), "the ones between were never sent");
    received.accept();
    from.withdraw().unwrap();
    let withdrawn = cluster.run_until(to.next_withdrawn());
    assert_eq!(withdrawn, Some((alice.0.peer_id(), Head(49))));
}

#[test]
fn two_channels_with_one_id_or_one_name_are_refused_at_start() {
    const OTHER_NAME: Pool<Note> = Pool::new(4, "other");
    const OTHER_ID: Tip<Head> = Tip::new(5, "notes");
    let cluster = Cluster::new(8);
    for error in [
        cluster.add(builder(1).channels((NOTES, NOTES))).map(|_| ()).unwrap_err(),
        cluster.add(builder(1).channels((NOTES, OTHER_NAME))).map(|_| ()).unwrap_err(),
        cluster.add(builder(1).channels(NOTES).also(OTHER_ID)).map(|_| ()).unwrap_err(),
    ] {
        assert!(
            matches!(error, StartError::DuplicateChannel { other: 4, other_name: "notes", .. }),
            "{error}"
        );
    }
}

#[test]
fn channels_come_back_in_the_shape_in_which_they_were_given() {
    const MANY: [Pool<Note>; 2] = [Pool::new(11, "one"), Pool::new(12, "two")];
    let cluster = Cluster::new(9);
    let given = (NOTES, (Some(HEAD), None::<Tip<Head>>), MANY.to_vec());
    let (_net, _node, (notes, (head, none), many)) = cluster.add(builder(1).channels(given)).unwrap();
    assert_eq!((head.is_some(), none.is_none(), many.len()), (true, true, 2));
    notes.publish(&note(1, "x")).unwrap();
    many[1].publish(&note(2, "y")).unwrap();
}

/// Polls once; a wake is forgotten.
fn poll_once<S: Stream + Unpin>(stream: &mut S) -> Poll<Option<S::Item>> {
    Pin::new(stream).poll_next(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn handles_are_streams() {
    let (cluster, alice, bob) = pair(15);
    let ((mut notes, mut heads), mut events) = (bob.2.clone(), bob.0.events());
    assert!(poll_once(&mut notes).is_pending() && poll_once(&mut heads).is_pending());
    let waiting = cluster.spawn(async move {
        let candidate = poll_fn(|cx| Pin::new(&mut notes).poll_next(cx)).await.unwrap();
        let received = poll_fn(|cx| Pin::new(&mut heads).poll_next(cx)).await.unwrap();
        (candidate.item().clone(), received.value().0)
    });
    cluster.run_for(Duration::from_secs(1));
    alice.2.0.publish(&note(1, "streamed")).unwrap();
    alice.2.1.publish(&Head(7)).unwrap();
    assert_eq!(cluster.run_until(waiting), (note(1, "streamed"), 7));
    cluster.run_until(alice.1.shutdown(Duration::from_secs(1)));
    cluster.run_for(Duration::from_secs(1));
    assert!(matches!(poll_once(&mut events), Poll::Ready(Some(Event::PeerDown { .. } | Event::Rtt { .. }))));
}

#[test]
fn a_handle_that_is_dropped_while_it_waits_passes_its_wake_on() {
    let (cluster, alice, bob) = pair(16);
    let (mut first, second) = (bob.2.0.clone(), bob.2.0.clone());
    assert!(poll_once(&mut first).is_pending(), "the first in line");
    let waiting = cluster.spawn(async move { second.next().await.map(|candidate| candidate.item().clone()) });
    cluster.run_for(Duration::from_secs(1));
    alice.2.0.publish(&note(1, "for whoever is left")).unwrap();
    cluster.run_for(Duration::from_secs(5));
    drop(first); // it was woken, and never came
    assert_eq!(cluster.run_until(waiting), Some(note(1, "for whoever is left")));
}

#[test]
fn a_stopped_node_says_so_whatever_is_asked_of_its_pool_and_tip() {
    let (cluster, alice, _bob) = pair(17);
    let (pool, tip) = alice.2;
    cluster.run_until(alice.1.shutdown(Duration::from_secs(1)));
    for told in [pool.pause(), pool.resume(), pool.reconsider(), pool.resync(), pool.set_floor(1)] {
        assert_eq!(told, Err(CommandError::Stopped));
    }
    assert_eq!(pool.publish(&note(1, "x")), Err(PublishError::Stopped));
    assert_eq!((tip.publish(&Head(1)), tip.withdraw()), (Err(PublishError::Stopped), Err(weir::Stopped)));
}
