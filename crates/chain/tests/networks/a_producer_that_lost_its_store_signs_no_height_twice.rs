//! A producer whose store was lost finds with its peers what it signed before, and goes on above that.

use std::collections::BTreeMap;
use std::time::Duration;

use weir_chain::{ChainNode, Hash, Wall};

use crate::rig::{Producer, Rig, Spec, WALL};

fn spec(dials: &[u8], producer: Producer) -> Spec<'_> {
    Spec { place: None, dials, producer, wall: Wall::from_origin(WALL) }
}

/// Notes the heads of these nodes every 100 ms: no height may have two blocks.
fn watch(rig: &Rig, millis: u64, seen: &mut BTreeMap<u64, Hash>, nodes: &[&ChainNode]) {
    for _ in 0..millis / 100 {
        rig.run(100);
        for head in nodes.iter().map(|node| node.head()) {
            let before = *seen.entry(head.height).or_insert(head.hash);
            assert_eq!(before, head.hash, "height {} was signed twice", head.height);
        }
    }
}

/// A chain of ten blocks at a producer, which then lost its store, and at a follower.
fn loss(rig: &mut Rig, seen: &mut BTreeMap<u64, Hash>) -> ChainNode {
    let producer = rig.start_as(0, &spec(&[], Producer::Yes));
    let follower = rig.start_as(1, &spec(&[0], Producer::No));
    watch(rig, 10_500, seen, &[&producer, &follower]);
    rig.cluster.run_until(producer.shutdown(Duration::from_secs(1)));
    rig.run(1_000);
    drop(producer);
    rig.lose_store(0);
    assert_eq!(follower.head().height, 10);
    follower
}

#[test]
fn what_its_peers_have_of_it_comes_first() {
    let (mut rig, mut seen) = (Rig::new(21), BTreeMap::new());
    let follower = loss(&mut rig, &mut seen);
    // it does not even listen: peers are there before the first block is due
    let producer = rig.start_as(0, &spec(&[1], Producer::Yes));
    watch(&rig, 10_000, &mut seen, &[&producer, &follower]);
    assert!(follower.head().height >= 15, "{:?}", follower.head());
    let audits = rig.finish(vec![producer, follower]);
    assert_eq!(audits[0], audits[1]);
}

#[test]
fn it_listens_before_it_signs_where_its_store_has_signed_nothing() {
    let (mut rig, mut seen) = (Rig::new(22), BTreeMap::new());
    let follower = loss(&mut rig, &mut seen);
    rig.cluster.run_until(follower.shutdown(Duration::from_secs(1)));
    rig.run(1_000);
    drop(follower);
    let producer = rig.start_as(0, &spec(&[], Producer::Listens));
    watch(&rig, 4_000, &mut seen, &[&producer]);
    assert_eq!(producer.head().height, 0, "nobody is there to tell");
    let follower = rig.start_as(1, &spec(&[0], Producer::No));
    watch(&rig, 10_000, &mut seen, &[&producer, &follower]);
    assert!(follower.head().height >= 15, "{:?}", follower.head());
    let audits = rig.finish(vec![producer, follower]);
    assert_eq!(audits[0], audits[1]);
}

#[test]
fn it_signs_nothing_while_a_header_of_its_own_is_above_its_head() {
    let mut rig = Rig::new(24);
    // a peer that has the header of a fifth block, and never the block
    let (_net, _node, (tip, ..)) = rig.join(1, None, &[]);
    tip.publish(&rig.header(5, [9; 32])).unwrap();
    let producer = rig.start_as(0, &spec(&[1], Producer::Yes));
    rig.run(5_500);
    assert_eq!(producer.head().height, 0, "blocks were due at 1 to 5 s");
}

#[test]
fn a_producer_that_nobody_tells_of_more_begins_when_it_has_listened() {
    let mut rig = Rig::new(23);
    let producer = rig.start_as(0, &spec(&[], Producer::Listens));
    rig.run(4_900);
    assert_eq!(producer.head().height, 0);
    rig.run(2_700);
    assert_eq!(producer.head().height, 3, "at 5, 6 and 7 s");
}
