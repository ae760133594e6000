//! Scenario 6: two and three pools under random disconnects, eviction, defer, update, floor change, key rotation and restart.

use std::collections::BTreeSet;

use bytes::Bytes;
use proptest::prelude::*;

use super::super::*;
use super::mesh::{Mesh, RULES, id, item, ms, pool};

#[derive(Clone, Debug)]
enum Step {
    Insert { node: usize, priority: u8 },
    Update { node: usize, which: usize },
    Remove { which: usize },
    Cut { link: usize },
    Floor { node: usize, floor: u8 },
    Rotate { node: usize },
    Restart { node: usize },
    Reconsider { node: usize },
    Wait { millis: u64 },
}

fn step(nodes: usize) -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0..nodes, 0..10_u8).prop_map(|(node, priority)| Step::Insert { node, priority }),
        2 => (0..nodes, 0..100_usize).prop_map(|(node, which)| Step::Update { node, which }),
        1 => (0..100_usize).prop_map(|which| Step::Remove { which }),
        2 => (0..nodes).prop_map(|link| Step::Cut { link }),
        1 => (0..nodes, 0..5_u8).prop_map(|(node, floor)| Step::Floor { node, floor }),
        1 => (0..nodes).prop_map(|node| Step::Rotate { node }),
        1 => (0..nodes).prop_map(|node| Step::Restart { node }),
        1 => (0..nodes).prop_map(|node| Step::Reconsider { node }),
        8 => (1..300_u64).prop_map(|millis| Step::Wait { millis }),
    ]
}

/// The mesh, and what the test did to it.
struct World {
    mesh: Mesh,
    config: Config,
    nodes: usize,
    seed: u64,
    number: u64,
    items: Vec<Bytes>,
    floors: Vec<u8>,
    keys: Vec<u32>,
    removed: BTreeSet<[u8; 32]>,
    spare: Vec<u64>, // bodies that each node may get again: of what it lacked when its key changed
    disturbed: bool, // by what makes bodies come in vain, or again
}

impl World {
    fn new(nodes: usize, seed: u64, config: Config) -> Self {
        let mut mesh = Mesh::full(seed, nodes, &config);
        // One in seven is deferred when it first comes, by each node.
        let mut deferred = BTreeSet::new();
        mesh.app = Box::new(move |node, bytes| {
            let wait = ms(u64::from(bytes[1] % 5) * 10);
            let first = deferred.insert((node, Bytes::copy_from_slice(bytes)));
            let defer = first && bytes[1].is_multiple_of(7);
            (wait, Some(if defer { Verdict::Defer(ms(700)) } else { Verdict::Accept }))
        });
        let (floors, keys) = (vec![0; nodes], vec![1; nodes]);
        let (items, removed) = (Vec::new(), BTreeSet::new());
        let spare = vec![0; nodes];
        Self { mesh, config, nodes, seed, number: 0, items, floors, keys, removed, spare, disturbed: false }
    }

    fn insert(&mut self, node: usize, priority: u8) {
        self.number += 1;
        let size = 20 + usize::try_from(self.number * 97 % 2_000).unwrap();
        let bytes = item(priority, self.number, size);
        let now = self.mesh.now;
        if self.mesh.pool(node).command(now, Command::Insert { bytes: bytes.clone() }).is_ok() {
            self.items.push(bytes);
        }
        self.mesh.settle();
    }

    fn remove(&mut self, which: usize) {
        if let Some(bytes) = self.items.get(which % self.items.len().max(1)) {
            let id = id(bytes);
            self.removed.insert(id);
            // A body on its way to a node that is done with the item comes in vain.
            self.disturbed |= (0..self.nodes).any(|node| !self.mesh.ids(node).contains(&id));
            (0..self.nodes).for_each(|node| self.mesh.command(node, Command::Remove { id }));
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Insert { node, priority } => self.insert(node, priority),
            Step::Update { node, which } => {
                self.remove(which);
                self.insert(node, 9);
            }
            Step::Remove { which } => self.remove(which),
            Step::Cut { link } => {
                if let Some(link) = self.mesh.link_between(link, (link + 1) % self.nodes) {
                    self.mesh.unlink(link);
                }
            }
            Step::Floor { node, floor } => {
                self.floors[node] = floor;
                self.mesh.command(node, Command::Floor(u64::from(floor)));
            }
            Step::Rotate { node } => self.rotate(node),
            Step::Restart { node } => self.restart(node),
            Step::Reconsider { node } => self.mesh.command(node, Command::Reconsider),
            Step::Wait { millis } => self.mesh.run_for(ms(millis)),
        }
        self.relink();
    }

    /// What is offered under both keys before its first body is there stands as two candidates until then.
    fn rotate(&mut self, node: usize) {
        let held = self.mesh.ids(node);
        let others: BTreeSet<_> = (0..self.nodes).flat_map(|other| self.mesh.ids(other)).collect();
        self.spare[node] += others.iter().filter(|id| !held.contains(*id)).count() as u64;
        self.keys[node] += 1;
        self.mesh.rotate(node, self.keys[node], false);
    }

    fn restart(&mut self, node: usize) {
        self.disturbed = true;
        for (link, _) in self.mesh.links_of(node) {
            self.mesh.unlink(link);
        }
        self.seed += 1;
        let before = self.mesh.ids(node);
        self.mesh.nodes[node].key = super::mesh::key(node, 1);
        self.keys[node] = 1;
        self.mesh.nodes[node].pool = Some(pool(node, self.config.clone(), self.seed));
        self.mesh.command(node, Command::Floor(u64::from(self.floors[node])));
        // What only it held is put in again, as a node does from its store.
        for bytes in self.items.clone().iter().filter(|bytes| before.contains(&id(bytes))) {
            let now = self.mesh.now;
            let _ = self.mesh.pool(node).command(now, Command::Insert { bytes: bytes.clone() });
        }
        for id in self.removed.clone() {
            self.mesh.command(node, Command::Remove { id });
        }
    }

    fn relink(&mut self) {
        for node in 0..self.nodes {
            for other in 0..node {
                if self.mesh.link_between(node, other).is_none() {
                    self.mesh.link(node, other, 30);
                }
            }
        }
    }

    /// Lets all come to rest, and compares the pools above the common floor.
    fn compare(&mut self) {
        self.relink();
        (0..self.nodes).for_each(|node| self.mesh.command(node, Command::Reconsider));
        self.mesh.run_for(ms(90_000));
        assert!(self.mesh.faults.is_empty(), "{:?}", self.mesh.faults);
        let full = |node: usize| self.mesh.nodes[node].pool.as_ref().unwrap().client.demand.full;
        let floor = (0..self.nodes).map(|node| full(node).max(u64::from(self.floors[node]))).max().unwrap();
        let above = |node: usize| -> BTreeSet<[u8; 32]> {
            let log = &self.mesh.nodes[node].pool.as_ref().unwrap().common.inventory.log;
            let mut ids = BTreeSet::new();
            let mut next = 0;
            while let Some((index, item)) = log.next_from(next) {
                next = index + 1;
                if item.0.priority >= floor {
                    ids.insert(item.id());
                }
            }
            ids
        };
        let first = above(0);
        for node in 1..self.nodes {
            let other = above(node);
            let only = |a: &BTreeSet<_>, b: &BTreeSet<_>| a.difference(b).count();
            assert_eq!(
                (only(&first, &other), only(&other, &first)),
                (0, 0),
                "nodes 0 and {node}, floor {floor}"
            );
        }
        for node in 0..self.nodes {
            let stats = self.mesh.stats(node);
            assert_eq!(stats.in_flight, 0);
            assert_eq!(self.mesh.nodes[node].pool.as_ref().unwrap().client.asking.candidates.len(), 0);
            if !self.disturbed {
                assert!(
                    stats.duplicates <= self.spare[node],
                    "node {node}: {stats:?}, spare {:?}",
                    self.spare
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn two_pools_agree_at_rest(seed in 0..1_000_u64, steps in proptest::collection::vec(step(2), 1..80)) {
        let mut world = World::new(2, seed, Config::new(RULES));
        steps.iter().for_each(|step| world.step(step));
        world.compare();
    }

    #[test]
    fn three_pools_agree_at_rest(seed in 0..1_000_u64, steps in proptest::collection::vec(step(3), 1..80)) {
        let mut world = World::new(3, seed, Config::new(RULES));
        steps.iter().for_each(|step| world.step(step));
        world.compare();
    }

    #[test]
    fn limited_pools_agree_above_the_common_floor(seed in 0..1_000_u64, steps in proptest::collection::vec(step(3), 20..80)) {
        let config = Config { max_items: 12, entries: 8, max_entries: 8, deferred_items: 2, ..Config::new(RULES) };
        let mut world = World::new(3, seed, config);
        world.disturbed = true;
        steps.iter().for_each(|step| world.step(step));
        world.compare();
    }
}

#[test]
fn each_entry_is_offered_once_per_link_and_once_per_reconnect_that_lost_its_receipt() {
    let mut mesh = Mesh::full(4, 2, &Config::new(RULES));
    for number in 0..300 {
        mesh.insert(0, &item(5, number, 100));
    }
    mesh.run_for(ms(3_000));
    assert_eq!(mesh.stats(0).entries_sent, 300);
    let link = mesh.link_between(0, 1).unwrap();
    mesh.unlink(link);
    mesh.link(0, 1, 50);
    mesh.run_for(ms(3_000));
    assert_eq!(mesh.stats(0).entries_sent, 300, "the receipt survived");
    mesh.insert(0, &item(5, 300, 100));
    mesh.run_for(ms(3_000));
    assert_eq!((mesh.stats(0).entries_sent, mesh.ids(1).len()), (301, 301));
    mesh.command(1, Command::Resync);
    mesh.run_for(ms(3_000));
    assert_eq!(mesh.stats(0).entries_sent, 602);
    assert_eq!((mesh.stats(1).bodies, mesh.stats(1).duplicates), (301, 0));
    // A node that comes back empty begins anew, and so do those that knew it.
    let link = mesh.link_between(0, 1).unwrap();
    mesh.unlink(link);
    mesh.nodes[1].pool = Some(pool(1, Config::new(RULES), 99));
    mesh.link(0, 1, 50);
    mesh.run_for(ms(3_000));
    assert_eq!((mesh.stats(0).entries_sent, mesh.ids(1).len()), (903, 301));
    assert!(mesh.faults.is_empty(), "{:?}", mesh.faults);
}
