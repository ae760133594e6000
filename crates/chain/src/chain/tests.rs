use std::collections::BTreeMap;

use super::*;
use crate::AccountId;

struct Rig {
    producer: SigningKey,
    user: SigningKey,
    genesis: Genesis,
    folder: tempfile::TempDir,
}

impl Rig {
    fn new() -> Self {
        let (producer, user) = (SigningKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
        let balances = BTreeMap::from([(AccountId::of(&user), 1000)]);
        let genesis = Genesis::new("rig", AccountId::of(&producer), 1000, &balances).unwrap();
        Self { producer, user, genesis, folder: tempfile::tempdir().unwrap() }
    }

    fn chain(&self, name: &str) -> Chain {
        let store = Store::open(&self.folder.path().join(name), &self.genesis).unwrap();
        Chain::open(self.genesis.clone(), store).unwrap()
    }

    fn transfer(&self, nonce: u64, amount: u64) -> Transfer {
        let id = self.genesis.id();
        Transfer::sign(&self.user, &id, nonce, (AccountId([7; 32]), amount), 1, b"").unwrap()
    }

    /// A block of the producer on top of `chain`, which does not keep it.
    fn block_on(&self, name: &str, blocks: &[Block], transfers: &[Transfer], time: u64) -> Block {
        let mut chain = self.chain(name);
        for block in blocks {
            chain.add(block.clone()).unwrap();
        }
        transfers.iter().for_each(|transfer| chain.mempool.insert(transfer.clone()));
        chain.produce(&self.producer, time).unwrap().0
    }
}

#[test]
fn a_second_node_that_adds_the_producers_blocks_ends_in_the_same_state() {
    let rig = Rig::new();
    let (mut producer, mut node) = (rig.chain("producer"), rig.chain("node"));
    for nonce in 0..3 {
        let transfer = rig.transfer(nonce, 10);
        assert_eq!(producer.check_transfer(&transfer), TransferCheck::Accept);
        producer.mempool.insert(transfer);
        let (block, added) = producer.produce(&rig.producer, nonce).unwrap();
        assert_eq!(added.stale.len(), 1);
        assert_eq!(node.add(block).unwrap().executed.len(), 1);
    }
    let audits = [producer.store().audit().unwrap(), node.store().audit().unwrap()];
    assert_eq!(audits[0], audits[1]);
    assert_eq!((audits[0].head.height, audits[0].transfers.len()), (3, 3));
    assert_eq!(node.ledger().account(&AccountId([7; 32])).balance, 30);
}

#[test]
fn a_reopened_chain_goes_on_where_it_was_and_never_signs_a_height_twice() {
    let rig = Rig::new();
    let block = rig.block_on("a", &[], &[rig.transfer(0, 5)], 1);
    let mut chain = rig.chain("a");
    assert_eq!(chain.head().hash, *block.header.hash());
    assert_eq!(chain.head_header().unwrap().unwrap(), block.header);
    chain.store().set_signed(2).unwrap();
    assert!(matches!(chain.produce(&rig.producer, 2), Err(AddError::Height)));
}

#[test]
fn the_longer_branch_wins_and_transfers_of_the_other_wait_again() {
    let rig = Rig::new();
    let lonely = rig.block_on("lonely", &[], &[rig.transfer(0, 5)], 1);
    let first = rig.block_on("first", &[], &[], 2);
    let second = rig.block_on("second", std::slice::from_ref(&first), &[], 3);
    let mut chain = rig.chain("node");
    chain.add(lonely).unwrap();
    assert!(chain.add(first.clone()).unwrap().executed.is_empty(), "the first seen wins among equals");
    let added = chain.add(second.clone()).unwrap();
    assert_eq!(added.executed.len(), 2);
    assert_eq!(chain.head().hash, *second.header.hash());
    assert!(chain.mempool.contains(rig.transfer(0, 5).id()));
    assert_eq!(chain.store().audit().unwrap().head, chain.head());
}

#[test]
fn what_does_not_follow_is_refused_and_changes_nothing() {
    let rig = Rig::new();
    let mut chain = rig.chain("node");
    let good = rig.block_on("a", &[], &[rig.transfer(0, 5)], 1);
    let stranger = SigningKey::from_bytes(&[9; 32]);
    let forged = Header::sign(good.header.draft, &stranger, &rig.genesis.id());
    assert!(matches!(chain.add(Block { header: forged, ..good.clone() }), Err(AddError::Signature)));
    let draft = Draft { state_root: [0; 32], ..good.header.draft };
    let wrong = Header::sign(draft, &rig.producer, &rig.genesis.id());
    assert!(matches!(chain.add(Block { header: wrong, ..good.clone() }), Err(AddError::State)));
    let draft = Draft { parent: [3; 32], ..good.header.draft };
    let orphan = Header::sign(draft, &rig.producer, &rig.genesis.id());
    assert!(matches!(chain.add(Block { header: orphan, ..good.clone() }), Err(AddError::MissingParent(_))));
    assert_eq!(chain.head().height, 0);
    assert_eq!(chain.add(good).unwrap().executed.len(), 1);
}

#[test]
fn headers_and_transfers_are_judged() {
    let rig = Rig::new();
    let chain = rig.chain("node");
    let block = rig.block_on("a", &[], &[], 20_000);
    assert_eq!(chain.check_header(&block.header, 9_999), HeaderCheck::Early);
    assert_eq!(chain.check_header(&block.header, 10_000), HeaderCheck::Better);
    let forged = Header::sign(block.header.draft, &rig.user, &rig.genesis.id());
    assert_eq!(chain.check_header(&forged, 20_000), HeaderCheck::Invalid);
    assert_eq!(chain.check_transfer(&rig.transfer(1, 1)), TransferCheck::Defer);
    assert_eq!(chain.check_transfer(&rig.transfer(0, 1000)), TransferCheck::Ignore(Refused::Balance));
    let other = Transfer::sign(&rig.user, &[0; 32], 0, (AccountId([7; 32]), 1), 0, b"").unwrap();
    assert_eq!(chain.check_transfer(&other), TransferCheck::Invalid);
}

#[test]
fn a_store_of_another_chain_is_refused_by_name() {
    let rig = Rig::new();
    drop(rig.chain("node"));
    let other = Genesis::new("other", rig.genesis.producer, 1000, &BTreeMap::new()).unwrap();
    let error = Store::open(&rig.folder.path().join("node"), &other).unwrap_err();
    assert!(matches!(error, StoreError::Network { .. }), "{error}");
}
