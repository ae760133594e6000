//! A chain of several nodes in virtual time.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc)] // a harness for tests

use std::collections::BTreeMap;
use std::time::Duration;

use weir::testing::Cluster;
use weir::{Keypair, Network, NetworkId};
use weir_chain::chain::Chain;
use weir_chain::node::declare;
use weir_chain::audit::Audit;
use weir_chain::store::Store;
use weir_chain::{AccountId, ChainNode, Genesis, Options, SigningKey, Transfer, Wall};

/// Unix milliseconds at the zero of virtual time.
const WALL: u64 = 1_790_000_000_000;

pub(crate) struct Rig {
    pub(crate) cluster: Cluster,
    pub(crate) genesis: Genesis,
    producer: SigningKey,
    pub(crate) user: SigningKey,
    folder: tempfile::TempDir,
    dials: Vec<(u8, String)>,
}

impl Rig {
    pub(crate) fn new(seed: u64) -> Self {
        let (producer, user) = (SigningKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
        let balances = BTreeMap::from([(AccountId::of(&user), 1_000_000)]);
        let genesis = Genesis::new("rig", AccountId::of(&producer), 1000, &balances).unwrap();
        let folder = tempfile::tempdir().unwrap();
        Self { cluster: Cluster::new(seed), genesis, producer, user, folder, dials: Vec::new() }
    }

    /// Starts node `index` (node 0 produces), or starts it again; it keeps links to all that were started before it.
    pub(crate) fn start(&mut self, index: u8) -> ChainNode {
        let key = Keypair::ed25519_from_seed([index + 10; 32]);
        let mut builder = declare(Network::builder(key, NetworkId(self.genesis.id())));
        for (_, address) in self.dials.iter().filter(|(other, _)| *other != index) {
            builder = builder.peer(address.as_str());
        }
        let chain = Chain::open(self.genesis.clone(), self.store(index)).unwrap();
        let (net, node) = self.cluster.add(builder).unwrap();
        self.dials.push((index, net.addresses()[0].to_string()));
        let options = Options {
            producer: (index == 0).then(|| self.producer.clone()),
            wall: Wall::from_origin(WALL),
            ..Options::default()
        };
        let node = ChainNode::new((net, node), chain, options).unwrap();
        let runner = node.clone();
        self.cluster.spawn(async move { runner.run().await.unwrap() });
        node
    }

    pub(crate) fn transfer(&self, nonce: u64, fee: u64) -> Transfer {
        Transfer::sign(&self.user, &self.genesis.id(), nonce, (AccountId([7; 32]), 10), fee + 1, b"hello")
            .unwrap()
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
