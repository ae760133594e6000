use std::collections::BTreeMap;

use weir::Instant;

use super::*;
use crate::audit::AuditError;
use crate::mempool::{Limits, Mempool};

/// A wall clock that is past all times of blocks here.
const WALL: u64 = 1_000_000;

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

    fn produce(&self, chain: &mut Chain, transfers: &[Transfer], time: u64) -> Block {
        let select = |execution: &mut Execution<'_>| {
            transfers.iter().for_each(|transfer| execution.execute(transfer).unwrap());
            transfers.to_vec()
        };
        chain.produce(&self.producer, time, select).unwrap().0
    }

    fn check(&self, block: &Block) -> Checked {
        block.clone().check(&self.genesis.producer, &self.genesis.id(), |_| false).unwrap()
    }

    fn add(&self, chain: &mut Chain, block: &Block) -> Result<Added, AddError> {
        chain.add(&self.check(block), WALL)
    }

    /// A block of the producer on top of `blocks`, made in a store of its own.
    fn block_on(&self, name: &str, blocks: &[Block], transfers: &[Transfer], time: u64) -> Block {
        let mut chain = self.chain(name);
        for block in blocks {
            self.add(&mut chain, block).unwrap();
        }
        self.produce(&mut chain, transfers, time)
    }

    fn signed(&self, draft: Draft, block: &Block) -> Block {
        Block { header: Header::sign(draft, &self.producer, &self.genesis.id()), ..block.clone() }
    }
}

#[test]
fn a_second_node_that_adds_the_producers_blocks_ends_in_the_same_state() {
    let rig = Rig::new();
    let (mut producer, mut node) = (rig.chain("producer"), rig.chain("node"));
    for nonce in 0..3 {
        let block = rig.produce(&mut producer, &[rig.transfer(nonce, 10)], 10 + nonce);
        assert_eq!(rig.add(&mut node, &block).unwrap().executed.len(), 1);
    }
    let audits = [producer.store().audit().unwrap(), node.store().audit().unwrap()];
    assert_eq!(audits[0], audits[1]);
    assert_eq!((audits[0].head.height, audits[0].transfers.len()), (3, 3));
    assert_eq!(node.ledger().account(&AccountId([7; 32])).balance, 30);
}

#[test]
fn a_reopened_chain_goes_on_where_it_was_and_signs_the_next_height() {
    let rig = Rig::new();
    let block = rig.block_on("a", &[], &[rig.transfer(0, 5)], 1);
    let mut chain = rig.chain("a");
    assert_eq!(chain.head().hash, *block.header.hash());
    assert_eq!(chain.head_header().unwrap().unwrap(), block.header);
    assert_eq!(chain.store().signed().unwrap(), 1);
    assert_eq!(rig.produce(&mut chain, &[], 2).header.draft.height, 2);
}

#[test]
fn the_longer_branch_wins_and_transfers_of_the_other_wait_again() {
    let rig = Rig::new();
    let lonely = rig.block_on("lonely", &[], &[rig.transfer(0, 5)], 1);
    let first = rig.block_on("first", &[], &[], 2);
    let second = rig.block_on("second", std::slice::from_ref(&first), &[], 3);
    let mut chain = rig.chain("node");
    rig.add(&mut chain, &lonely).unwrap();
    assert!(rig.add(&mut chain, &first).unwrap().executed.is_empty(), "the first seen wins among equals");
    let added = rig.add(&mut chain, &second).unwrap();
    assert_eq!(added.executed.len(), 2);
    assert_eq!(chain.head().hash, *second.header.hash());
    assert_eq!(added.returned.iter().map(Transfer::id).collect::<Vec<_>>(), [rig.transfer(0, 5).id()]);
    assert_eq!(chain.store().audit().unwrap().head, chain.head());
}

#[test]
fn a_branch_that_does_not_execute_changes_nothing() {
    let rig = Rig::new();
    let kept = rig.block_on("kept", &[], &[rig.transfer(0, 5)], 1);
    let first = rig.block_on("first", &[], &[], 2);
    let second = rig.block_on("second", std::slice::from_ref(&first), &[], 3);
    let wrong = rig.signed(Draft { state_root: [0; 32], ..second.header.draft }, &second);
    let mut chain = rig.chain("node");
    rig.add(&mut chain, &kept).unwrap();
    rig.add(&mut chain, &first).unwrap();
    assert!(matches!(rig.add(&mut chain, &wrong), Err(AddError::State)));
    assert_eq!(chain.head().hash, *kept.header.hash());
    assert_eq!(chain.ledger().account(&AccountId([7; 32])).balance, 5);
    assert_eq!(rig.add(&mut chain, &second).unwrap().executed.len(), 2);
}

#[test]
fn what_does_not_follow_is_refused_and_changes_nothing() {
    let rig = Rig::new();
    let mut chain = rig.chain("node");
    let good = rig.block_on("a", &[], &[rig.transfer(0, 5)], 1);
    let stranger = SigningKey::from_bytes(&[9; 32]);
    let forged = Header::sign(good.header.draft, &stranger, &rig.genesis.id());
    let forged = Block { header: forged, ..good.clone() };
    assert!(forged.check(&rig.genesis.producer, &rig.genesis.id(), |_| false).is_none());
    let wrong = rig.signed(Draft { state_root: [0; 32], ..good.header.draft }, &good);
    assert!(matches!(rig.add(&mut chain, &wrong), Err(AddError::State)));
    let orphan = rig.signed(Draft { parent: [3; 32], ..good.header.draft }, &good);
    assert!(matches!(rig.add(&mut chain, &orphan), Err(AddError::MissingParent(_))));
    assert_eq!(chain.head().height, 0);
    assert_eq!(rig.add(&mut chain, &good).unwrap().executed.len(), 1);
}

#[test]
fn an_unsigned_transfer_fails_the_block_unless_it_was_checked_before() {
    let rig = Rig::new();
    let other = Transfer::sign(&rig.user, &[0; 32], 0, (AccountId([7; 32]), 1), 1, b"").unwrap();
    let block = rig.block_on("a", &[], &[rig.transfer(0, 1)], 1);
    let draft = Draft { items_root: items_root(std::slice::from_ref(&other)), ..block.header.draft };
    let block = Block { transfers: vec![other.clone()], ..rig.signed(draft, &block) };
    let (producer, network) = (rig.genesis.producer, rig.genesis.id());
    assert!(block.clone().check(&producer, &network, |_| false).is_none());
    assert!(block.check(&producer, &network, |id| id == other.id()).is_some());
}

#[test]
fn blocks_of_another_time_are_refused_wherever_they_come_from() {
    let rig = Rig::new();
    let mut chain = rig.chain("node");
    let first = rig.block_on("a", &[], &[], 500);
    rig.add(&mut chain, &first).unwrap();
    let next = rig.block_on("b", std::slice::from_ref(&first), &[], 600);
    let at = |time| rig.signed(Draft { time, ..next.header.draft }, &next);
    assert!(matches!(rig.add(&mut chain, &at(500)), Err(AddError::Rule(RuleError::NotLater))));
    assert!(matches!(rig.add(&mut chain, &at(u64::MAX)), Err(AddError::Rule(RuleError::Early))));
    assert!(matches!(rig.add(&mut chain, &at(WALL + 10_001)), Err(AddError::Rule(RuleError::Early))));
    assert_eq!(rig.add(&mut chain, &at(WALL + 10_000)).unwrap().executed.len(), 1);
}

#[test]
fn a_producer_whose_clock_was_set_back_still_makes_later_blocks() {
    let rig = Rig::new();
    let mut chain = rig.chain("node");
    rig.produce(&mut chain, &[], 5_000);
    assert_eq!(rig.produce(&mut chain, &[], 7).header.draft.time, 5_001);
}

#[test]
fn a_chain_that_has_no_later_time_or_higher_block_ends_with_an_error() {
    let rig = Rig::new();
    let mut chain = rig.chain("node");
    rig.produce(&mut chain, &[], u64::MAX);
    assert!(matches!(chain.produce(&rig.producer, 1, |_| Vec::new()), Err(AddError::End)));
}

#[test]
fn accounts_that_are_not_the_heads_state_are_found_when_the_chain_is_opened() {
    let rig = Rig::new();
    let chain = rig.chain("node");
    let producer = rig.block_on("a", &[], &[rig.transfer(0, 5)], 1);
    let mut node = chain;
    rig.add(&mut node, &producer).unwrap();
    {
        let write = node.store().database.begin_write().unwrap();
        write.open_table(crate::store::ACCOUNTS).unwrap().insert([7; 32], (0, 6)).unwrap();
        write.commit().unwrap();
    }
    assert!(matches!(node.store().audit(), Err(AuditError::Row(_))));
    drop(node);
    let store = Store::open(&rig.folder.path().join("node"), &rig.genesis).unwrap();
    assert!(matches!(Chain::open(rig.genesis.clone(), store), Err(StoreError::Damaged(_))));
}

#[test]
fn a_store_of_another_chain_is_refused_by_name() {
    let rig = Rig::new();
    drop(rig.chain("node"));
    let other = Genesis::new("other", rig.genesis.producer, 1000, &BTreeMap::new()).unwrap();
    let error = Store::open(&rig.folder.path().join("node"), &other).unwrap_err();
    assert!(matches!(error, StoreError::Network { .. }), "{error}");
}

#[test]
fn a_fork_of_any_depth_that_is_kept_can_be_followed() {
    let rig = Rig::new();
    let (mut ours, mut theirs) = (rig.chain("ours"), rig.chain("theirs"));
    for time in 1..=100 {
        rig.produce(&mut ours, &[], time);
    }
    let blocks: Vec<Block> = (1..=101).map(|time| rig.produce(&mut theirs, &[], 1000 + time)).collect();
    let added: Vec<Added> = blocks.iter().map(|block| rig.add(&mut ours, block).unwrap()).collect();
    assert_eq!(added.last().unwrap().executed.len(), 101);
    assert_eq!(ours.head(), theirs.head());
    assert_eq!(ours.store().audit().unwrap(), theirs.store().audit().unwrap());
}

#[test]
fn transfers_that_can_not_be_paid_leave_the_blocks_to_others() {
    let rig = Rig::new();
    let (rich, honest) = (SigningKey::from_bytes(&[3; 32]), rig.user.clone());
    let balances = BTreeMap::from([(AccountId::of(&rich), 10_000), (AccountId::of(&honest), 1000)]);
    let genesis = Genesis::new("rig2", rig.genesis.producer, 1000, &balances).unwrap();
    let store = Store::open(&rig.folder.path().join("x"), &genesis).unwrap();
    let mut chain = Chain::open(genesis.clone(), store).unwrap();
    let mut mempool = Mempool::new(chain.ledger().accounts().clone(), Limits::default());
    let (id, now) = (genesis.id(), Instant::from_nanos(0));
    let sign = |key: &SigningKey, nonce, amount, fee, payload: &[u8]| {
        Transfer::sign(key, &id, nonce, (AccountId([7; 32]), amount), fee, payload).unwrap()
    };
    // 70 large ones of a high fee wait behind a first one, in whose place a block brings one that takes everything
    mempool.insert(now, sign(&rich, 0, 0, 1, b""));
    for nonce in 1..=70 {
        mempool.insert(now, sign(&rich, nonce, 0, 100, &[0; 16_384]));
    }
    let greedy = sign(&rich, 0, 9_999, 1, b"");
    let select = |execution: &mut Execution<'_>| {
        execution.execute(&greedy).unwrap();
        vec![greedy.clone()]
    };
    chain.produce(&rig.producer, 1, select).unwrap();
    mempool.insert(now, sign(&honest, 0, 1, 50, b""));
    let mut dropped = Vec::new();
    let (block, _) = chain
        .produce(&rig.producer, 2, |execution| {
            let (chosen, gone) = mempool.select(execution);
            dropped = gone;
            chosen
        })
        .unwrap();
    assert_eq!((block.transfers.len(), block.transfers[0].fee), (1, 50));
    assert_eq!((dropped.len(), mempool.len()), (71, 1), "what can not be paid is gone");
}

/// Changes the store of a chain as damage would.
fn damage(chain: &Chain, change: impl FnOnce(&redb::WriteTransaction)) {
    let write = chain.store().database.begin_write().unwrap();
    change(&write);
    write.commit().unwrap();
}

fn reopened(rig: &Rig) -> Result<Chain, StoreError> {
    let store = Store::open(&rig.folder.path().join("node"), &rig.genesis).unwrap();
    Chain::open(rig.genesis.clone(), store)
}

#[test]
fn nothing_is_chosen_for_a_height_that_was_signed() {
    let rig = Rig::new();
    let mut chain = rig.chain("node");
    damage(&chain, |write| {
        _ = write.open_table(crate::store::META).unwrap().insert("signed", &5_u64.to_le_bytes()[..]).unwrap();
    });
    let made = chain.produce(&rig.producer, 1, |_| panic!("height 1 was signed"));
    assert!(matches!(made, Err(AddError::Store(StoreError::Signed(5)))));
}

#[test]
fn an_unreadable_row_of_the_height_signed_is_found_when_the_chain_is_opened() {
    let rig = Rig::new();
    damage(&rig.chain("node"), |write| {
        _ = write.open_table(crate::store::META).unwrap().insert("signed", &[1, 2][..]).unwrap();
    });
    assert!(matches!(reopened(&rig), Err(StoreError::Damaged(_))));
}

#[test]
fn a_head_at_another_height_than_its_header_says_is_found_when_the_chain_is_opened() {
    let rig = Rig::new();
    let mut chain = rig.chain("node");
    let block = rig.produce(&mut chain, &[], 1);
    damage(&chain, |write| {
        let mut rows = write.open_table(crate::store::CHAIN).unwrap();
        rows.insert(2, *block.header.hash()).unwrap();
    });
    drop(chain);
    assert!(matches!(reopened(&rig), Err(StoreError::Damaged(_))));
}

#[test]
fn blocks_beside_the_chain_follow_the_same_rules() {
    let rig = Rig::new();
    let mut chain = rig.chain("node");
    for time in 1..=3 {
        rig.produce(&mut chain, &[], time * 100);
    }
    let first = rig.block_on("other", &[], &[], 50);
    let at = |draft| rig.signed(draft, &first);
    let draft = first.header.draft;
    let refused = |chain: &mut Chain, block: &Block, rule| match rig.add(chain, block) {
        Err(AddError::Rule(found)) => assert_eq!(found, rule),
        other => panic!("{other:?}"),
    };
    refused(&mut chain, &at(Draft { time: 0, ..draft }), RuleError::NotLater);
    refused(&mut chain, &at(Draft { time: WALL + 10_001, ..draft }), RuleError::Early);
    refused(&mut chain, &at(Draft { height: 2, ..draft }), RuleError::Height);
    assert!(rig.add(&mut chain, &first).unwrap().executed.is_empty());
}

#[test]
fn a_block_with_a_transfer_that_fails_is_refused_even_with_the_right_state() {
    let rig = Rig::new();
    let mut chain = rig.chain("node");
    let block = rig.block_on("a", &[], &[rig.transfer(0, 5)], 1);
    let transfers = vec![block.transfers[0].clone(), rig.transfer(1, 1_000_000)];
    let draft = Draft { items_root: items_root(&transfers), ..block.header.draft };
    let more = Block { transfers, ..rig.signed(draft, &block) };
    assert!(matches!(rig.add(&mut chain, &more), Err(AddError::State)));
}

#[test]
fn a_transfer_that_both_branches_hold_does_not_wait_again() {
    let rig = Rig::new();
    let (shared, lost) = (rig.transfer(0, 5), rig.transfer(1, 6));
    let lonely = rig.block_on("lonely", &[], &[shared.clone(), lost.clone()], 1);
    let first = rig.block_on("first", &[], &[shared], 2);
    let second = rig.block_on("second", std::slice::from_ref(&first), &[], 3);
    let mut chain = rig.chain("node");
    rig.add(&mut chain, &lonely).unwrap();
    rig.add(&mut chain, &first).unwrap();
    let added = rig.add(&mut chain, &second).unwrap();
    assert_eq!(added.returned.iter().map(Transfer::id).collect::<Vec<_>>(), [lost.id()]);
}
