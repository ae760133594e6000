//! A chain of several nodes in virtual time.

use std::collections::BTreeMap;
use std::time::Duration;

use weir::testing::{Cluster, Line, Place, Region};
use weir::{Builder, Keypair, Network, NetworkId, Node};
use weir_chain::audit::Audit;
use weir_chain::block::{Draft, items_root};
use weir_chain::chain::Chain;
use weir_chain::hostile::{Hostile, HostileNode};
use weir_chain::node::{Handles, declare};
use weir_chain::store::Store;
use weir_chain::{AccountId, ChainNode, Genesis, Hash, Header, Options, SigningKey, Transfer, Wall};

/// Unix milliseconds at the zero of virtual time.
pub(crate) const WALL: u64 = 1_790_000_000_000;

pub(crate) fn identity(index: u8) -> Keypair {
    Keypair::ed25519_from_seed([index + 10; 32])
}

fn hostile_key() -> SigningKey {
    SigningKey::from_bytes(&[3; 32])
}

/// The account of hostile nodes.
pub(crate) fn hostile_id() -> AccountId {
    AccountId::of(&hostile_key())
}

pub(crate) struct Rig {
    pub(crate) cluster: Cluster,
    genesis: Genesis,
    user: SigningKey,
    producer: SigningKey,
    folder: tempfile::TempDir,
    dials: Vec<(u8, String)>,
    /// What every node that is started from now on declares.
    pub(crate) declare: fn(Builder) -> Builder<Handles>,
}

/// What a node is, beside what all are.
pub(crate) struct Spec<'a> {
    /// Where it is; `None`: anywhere.
    pub(crate) place: Option<Place>,
    /// The nodes it keeps links to.
    pub(crate) dials: &'a [u8],
    /// Whether it has the producer's key, or never produces.
    pub(crate) producer: Producer,
    pub(crate) wall: Wall,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Producer {
    /// It signs its first block when that is due: the chain is known to be new.
    Yes,
    /// It listens first, as producers do by default.
    Listens,
    No,
}

/// The middle of a region: those of one region are near each other.
pub(crate) fn place(region: Region) -> Place {
    Place { region, line: Line::CENTRE, site: None }
}

/// What a hostile node's account owns.
pub(crate) const HOSTILE_BALANCE: u64 = 1_000_000;

impl Rig {
    pub(crate) fn new(seed: u64) -> Self {
        let (producer, user) = (SigningKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
        let balances = BTreeMap::from([
            (AccountId::of(&user), 1_000_000),
            (AccountId::of(&hostile_key()), HOSTILE_BALANCE),
        ]);
        let genesis = Genesis::new("rig", AccountId::of(&producer), 1000, &balances).unwrap();
        let folder = tempfile::tempdir().unwrap();
        Self { cluster: Cluster::new(seed), genesis, producer, user, folder, dials: Vec::new(), declare }
    }

    /// Starts node `index` (node 0 produces), or starts it again; it keeps links to all that were started before it.
    pub(crate) fn start(&mut self, index: u8) -> ChainNode {
        let dials: Vec<u8> =
            self.dials.iter().map(|(other, _)| *other).filter(|other| *other != index).collect();
        let producer = if index == 0 { Producer::Yes } else { Producer::No };
        self.start_as(index, &Spec { place: None, dials: &dials, producer, wall: Wall::from_origin(WALL) })
    }

    /// As [`start`](Self::start), with everything chosen.
    pub(crate) fn start_as(&mut self, index: u8, spec: &Spec<'_>) -> ChainNode {
        let chain = Chain::open(self.genesis.clone(), self.store(index)).unwrap();
        let options = Options {
            producer: (spec.producer != Producer::No).then(|| self.producer.clone()),
            wall: spec.wall.clone(),
            ..Options::default()
        };
        let options = match spec.producer {
            Producer::Yes => Options { listen_first: Duration::ZERO, ..options },
            Producer::Listens | Producer::No => options,
        };
        let joined = self.join(index, spec.place, spec.dials);
        let node = ChainNode::new(joined, chain, options);
        let runner = node.clone();
        self.cluster.spawn(async move { runner.run().await.unwrap() });
        node
    }

    /// Starts a hostile node.
    pub(crate) fn start_hostile(&mut self, index: u8, place: Place, dials: &[u8], what: Hostile) -> Network {
        let joined = self.join(index, Some(place), dials);
        let net = joined.0.clone();
        let node = HostileNode::new(joined, self.genesis.id(), hostile_key(), HOSTILE_BALANCE);
        self.cluster.spawn(async move { node.run(what).await });
        net
    }

    /// A node on the chain's channels, without a chain.
    pub(crate) fn join(&mut self, index: u8, place: Option<Place>, dials: &[u8]) -> (Network, Node, Handles) {
        let mut builder = (self.declare)(Network::builder(identity(index), NetworkId(self.genesis.id())));
        for (_, address) in self.dials.iter().filter(|(other, _)| dials.contains(other)) {
            builder = builder.peer(address.as_str());
        }
        let (net, node, handles) = match place {
            Some(place) => self.cluster.add_at(place, builder).unwrap(),
            None => self.cluster.add(builder).unwrap(),
        };
        self.dials.retain(|(other, _)| *other != index);
        self.dials.push((index, net.addresses()[0].to_string()));
        (net, node, handles)
    }

    pub(crate) fn transfer(&self, nonce: u64, fee: u64) -> Transfer {
        Transfer::sign(&self.user, &self.genesis.id(), nonce, (AccountId([7; 32]), 10), fee + 1, b"hello")
            .unwrap()
    }

    /// A header that the producer signed.
    pub(crate) fn header(&self, height: u64, parent: Hash) -> Header {
        let draft = Draft { height, parent, time: WALL, state_root: [0; 32], items_root: items_root(&[]) };
        Header::sign(draft, &self.producer, &self.genesis.id())
    }

    pub(crate) fn user_id(&self) -> AccountId {
        AccountId::of(&self.user)
    }

    /// Removes the store of a node that is not running.
    pub(crate) fn lose_store(&self, index: u8) {
        std::fs::remove_file(self.folder.path().join(index.to_string())).unwrap();
    }

    pub(crate) fn run(&self, millis: u64) {
        self.cluster.run_for(Duration::from_millis(millis));
    }

    pub(crate) fn submit(&self, node: &ChainNode, transfer: &Transfer) {
        self.cluster.run_until(node.submit(transfer)).unwrap();
    }

    /// Stops the producer's blocks, lets the rest catch up, stops all nodes and reads their stores back.
    pub(crate) fn finish(self, nodes: Vec<ChainNode>) -> Vec<Audit> {
        nodes.iter().for_each(ChainNode::stop_producing);
        self.run(3_000);
        for node in &nodes {
            self.cluster.run_until(node.shutdown(Duration::from_secs(1)));
        }
        self.run(1_000);
        let count = nodes.len();
        drop(nodes);
        (0..count).map(|index| self.store(u8::try_from(index).unwrap()).audit().unwrap()).collect()
    }

    fn store(&self, index: u8) -> Store {
        Store::open(&self.folder.path().join(index.to_string()), &self.genesis).unwrap()
    }
}
