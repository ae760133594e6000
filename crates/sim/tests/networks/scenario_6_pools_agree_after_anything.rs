//! Scenario 6, a model test: under random disconnects, eviction, defer, update, floor changes, key rotation and restarts
//! pools are equal above the common floor at rest, each entry is offered once per link plus once per reconnect or move, and no
//! body is fetched twice while it is held.

use crate::common;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use weir_sim::flood::{TXS, pool_of, transaction};
use weir_sim::{Checking, Network, Node as _, NodeId, Note, Rng};
use weir_stack::{Command, Event, pool};

type Id = [u8; 32];

/// What a node's pool should hold, by what it told.
type Held = BTreeMap<Id, u8>;

struct Model {
    net: Network,
    rng: Rng,
    held: Vec<Held>,
    floors: Vec<u8>,
    bytes: BTreeMap<Id, Bytes>,
    made: u32,
    connects: BTreeMap<(NodeId, NodeId), u64>,
    offered: u64,
    again: u64,
    withdrawn: u64, // items taken out where they were not held, but perhaps on their way
}

const NODES: u32 = 12;
/// Items a pool holds: fewer than there are, so that it evicts.
const MAX_ITEMS: u32 = 150;

fn priority(bytes: &Bytes) -> u8 {
    bytes[8]
}

fn model(seed: u64) -> Model {
    let mut setup = common::setup(NODES, 4, seed);
    setup.checking = Checking::Deferring(Duration::from_millis(500));
    pool_of(&mut setup.config).unwrap().max_items = MAX_ITEMS;
    setup.config.control.key_life = Duration::from_secs(10);
    setup.config.control.key_grace = Duration::from_secs(2);
    let mut net = Network::new(setup).unwrap();
    net.host.count_offers();
    assert!(net.link_up());
    let nodes = NODES as usize;
    Model {
        net,
        rng: Rng::from_number(seed),
        held: vec![Held::new(); nodes],
        floors: vec![0; nodes],
        bytes: BTreeMap::new(),
        made: 0,
        connects: BTreeMap::new(),
        offered: 0,
        again: 0,
        withdrawn: 0,
    }
}

impl Model {
    fn any(&mut self) -> NodeId {
        NodeId(u32::try_from(self.rng.index(NODES as usize)).unwrap())
    }

    /// Whether the pool took the command: it refuses an item that finds no place.
    fn pool(&mut self, id: NodeId, command: pool::Command) -> bool {
        let command = Command::Pull(weir_pull::Command::Pool(TXS, command));
        self.net.host.with(id, |actor, now| actor.stack().command(now, command).is_ok()).unwrap()
    }

    fn run(&mut self, millis: u64) {
        let (held, bytes, connects) = (&mut self.held, &mut self.bytes, &mut self.connects);
        self.net.run(Duration::from_millis(millis), |net, id, note| match note {
            Note::Accepted { id: item, bytes: of } => {
                let before = held[id.0 as usize].insert(item, priority(&of));
                assert_eq!(before, None, "node {id:?} was given what it holds");
                bytes.insert(item, of);
            }
            Note::Evicted { id: item } => {
                held[id.0 as usize].remove(&item);
            }
            Note::Told(Event::PeerUp { info, .. }) => {
                if let Some(peer) = net.of_peer(&info.peer) {
                    *connects.entry((id, peer)).or_default() += 1;
                }
            }
            _ => {}
        });
    }

    fn submit(&mut self) {
        let id = self.any();
        let bytes = transaction(self.made, self.net.setup().seed);
        self.made += 1;
        let item: Id = sha(&bytes);
        self.bytes.insert(item, bytes.clone());
        self.held[id.0 as usize].insert(item, priority(&bytes));
        if !self.pool(id, pool::Command::Insert { bytes }) {
            self.held[id.0 as usize].remove(&item);
        }
    }

    /// One thing that may happen.
    fn act(&mut self) {
        match self.rng.below(40) {
            0..30 => self.submit(),
            30..33 => {
                let (one, other) = self.net.edges[self.rng.index(self.net.edges.len())];
                let peer = self.net.host.world().peer(other).unwrap();
                let asked =
                    |actor: &mut weir_sim::Actor, now| actor.stack().command(now, Command::Disconnect(peer));
                // they may be apart already
                self.net.host.with(one, asked);
                self.run(1_000);
                self.net.dial(one, other);
            }
            33..35 => {
                let (id, floor) = (self.any(), u8::try_from(self.rng.below(100)).unwrap());
                self.floors[id.0 as usize] = floor;
                self.pool(id, pool::Command::Floor(floor.into()));
            }
            35..38 => {
                // an update: one item is taken out everywhere, and another put in
                let known: Vec<Id> = self.bytes.keys().copied().collect();
                if let Some(item) = known.get(self.rng.index(known.len())).copied() {
                    self.bytes.remove(&item);
                    for id in (0..NODES).map(NodeId) {
                        self.withdrawn += u64::from(self.held[id.0 as usize].remove(&item).is_none());
                        self.pool(id, pool::Command::Remove { id: item });
                    }
                }
                self.submit();
            }
            _ => {
                self.audit();
                let id = self.any();
                self.net.host.computer(id).crash();
                self.run(500);
                self.held[id.0 as usize].clear();
                self.floors[id.0 as usize] = 0;
                self.net.restart(id).unwrap();
                self.relink();
            }
        }
        let pause = self.rng.below(100);
        self.run(pause);
        if self.made.is_multiple_of(64) {
            self.relink();
        }
    }

    /// Links that are down are dialled; those that are up stay.
    fn relink(&mut self) {
        for (one, other) in self.net.edges.clone() {
            let peer = self.net.host.world().peer(other).unwrap();
            let up = self
                .net
                .host
                .node(one)
                .is_some_and(|actor| actor.stack().peers().ready_link(&peer).is_some());
            if !up {
                self.net.dial(one, other);
            }
        }
        self.run(1_000);
    }

    /// Each entry was offered once per link, plus once for each reconnect and each move of the cursor.
    fn audit(&mut self) {
        let offers = self.net.host.take_offers();
        for ((from, to, index), count) in offers.entries {
            let connects = self.connects.get(&(from, to)).copied().unwrap_or(0);
            let moves = offers.moves.get(&(from, to)).copied().unwrap_or(0);
            assert!(u64::from(count) <= 1 + connects + moves, "{from:?} to {to:?}, {index}: {count} times");
            self.offered += 1;
            self.again += u64::from(count) - 1;
        }
        self.connects.clear();
    }
}

fn sha(bytes: &[u8]) -> Id {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes).into()
}

fn check(seed: u64, actions: usize) {
    let mut model = model(seed);
    for _ in 0..actions {
        model.act();
    }
    model.relink();
    model.run(40_000);
    model.audit();

    // at rest: equal above the highest of all floors, those of full pools included
    let full = |held: &Held| {
        if held.len() >= MAX_ITEMS as usize { held.values().min().copied().unwrap_or(0) } else { 0 }
    };
    let common = model.held.iter().map(full).chain(model.floors.iter().copied()).max().unwrap();
    let above =
        |held: &Held| held.iter().filter(|(_, priority)| **priority > common).map(|(id, _)| *id).collect();
    let pools: Vec<BTreeSet<Id>> = model.held.iter().map(above).collect();
    let union: BTreeSet<Id> = pools.iter().flatten().copied().collect();
    let (mut duplicates, mut late) = (0, 0);
    for (node, pool) in pools.iter().enumerate() {
        let id = NodeId(u32::try_from(node).unwrap());
        let stats = model.net.host.node(id).unwrap().stack().stats();
        duplicates += stats.pools[0].1.duplicates;
        late += stats.pools[0].1.late;
        assert_eq!(
            stats.pools[0].1.items as usize,
            model.held[node].len(),
            "node {node}: what it told it holds"
        );
        let missing = union.difference(pool).count();
        assert_eq!(missing, 0, "seed {seed}: node {node} lacks {missing} of {} above {common}", union.len());
    }
    println!(
        "seed {seed}: {} items above {common}, {} offers, {} again; {duplicates} duplicates, {late} late; {:.1} s",
        union.len(),
        model.offered,
        model.again,
        model.net.host.now().since(weir_base::Instant::ZERO).as_secs_f64()
    );
    // bodies in vain: of late fetches that both came, and of items that were taken out meanwhile
    let vain = late + model.withdrawn;
    assert!(duplicates <= vain, "{duplicates} bodies in vain, though only {late} fetches were late");
    assert!(union.len() > 20 && model.offered > 1000);
    assert!(model.net.faults.is_empty(), "{:?}", model.net.faults);
    let found = model.net.found();
    assert_eq!((found.peak_over, found.unread), (0, 0), "{found:?}");
}

#[test]
fn pools_agree_at_rest_whatever_happened_before() {
    let (seeds, actions) = if common::full() { (50, 2000) } else { (2, 250) };
    for seed in 1..=seeds {
        check(seed, actions);
    }
}
