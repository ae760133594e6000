use super::*;
use crate::SigningKey;
use crate::block::Draft;

fn genesis() -> Genesis {
    let producer = AccountId::of(&SigningKey::from_bytes(&[1; 32]));
    Genesis::new("store", producer, 1000, &BTreeMap::from([(AccountId([2; 32]), 5)])).unwrap()
}

fn block(height: u64) -> Block {
    let draft = Draft {
        height,
        parent: [7; 32],
        time: height,
        state_root: [8; 32],
        items_root: crate::block::items_root(&[]),
    };
    Block { header: Header::sign(draft, &SigningKey::from_bytes(&[1; 32]), &[9; 32]), transfers: Vec::new() }
}

fn step(store: &Store, joined: &Block, signed: Option<u64>) -> Result<(), StoreError> {
    let joined = [(joined, Undo::new())];
    store.commit(&Step { left: &[], joined: &joined, accounts: &BTreeMap::new(), signed })
}

#[test]
fn a_height_is_signed_with_its_block_or_not_at_all_and_never_twice() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("s"), &genesis()).unwrap();
    step(&store, &block(1), Some(1)).unwrap();
    assert_eq!((store.signed().unwrap(), store.head().unwrap().height), (1, 1));
    for height in [0, 1] {
        assert!(matches!(step(&store, &block(2), Some(height)), Err(StoreError::Signed(1))));
    }
    assert_eq!(store.head().unwrap().height, 1, "nothing of a refused step stays");
    step(&store, &block(2), Some(2)).unwrap();
    assert_eq!((store.signed().unwrap(), store.head().unwrap().height), (2, 2));
}

#[test]
fn a_damaged_row_of_the_height_signed_is_refused_and_nothing_is_signed_over_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("s"), &genesis()).unwrap();
    for row in [&[][..], &[1, 0, 0, 0, 0, 0, 0], &[0; 9]] {
        let write = store.database.begin_write().unwrap();
        write.open_table(META).unwrap().insert("signed", row).unwrap();
        write.commit().unwrap();
        assert!(matches!(store.signed(), Err(StoreError::Damaged(_))));
        assert!(matches!(step(&store, &block(1), Some(9)), Err(StoreError::Damaged(_))));
    }
}

#[test]
fn blocks_beside_the_chain_are_counted_and_dropped_when_the_head_has_left_them() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("s"), &genesis()).unwrap();
    let side_block = block(3);
    store.put_side_block(&side_block).unwrap();
    step(&store, &block(3 + BRANCH_MAX), None).unwrap();
    assert!(store.block(side_block.header.hash()).unwrap().is_some());
    step(&store, &block(4 + BRANCH_MAX), None).unwrap();
    assert!(store.block(side_block.header.hash()).unwrap().is_none());
}

#[test]
fn a_range_that_begins_where_heights_end_is_empty() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("s"), &genesis()).unwrap();
    step(&store, &block(1), None).unwrap();
    assert_eq!(store.blocks_from(u64::MAX, 64, 1000).unwrap().len(), 0);
    assert_eq!(store.blocks_from(0, 64, 1000).unwrap().len(), 1);
    assert_eq!(store.blocks_from(1, 64, 180).unwrap().len(), 0, "the block has 181 bytes");
}

#[test]
fn an_answer_has_no_more_blocks_than_were_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("s"), &genesis()).unwrap();
    for height in 1..=5 {
        step(&store, &block(height), None).unwrap();
    }
    assert_eq!(store.blocks_from(2, 3, 10_000).unwrap().len(), 3);
    assert_eq!(store.blocks_from(2, 3, 2 * 181).unwrap().len(), 2, "a block has 181 bytes");
}

#[test]
fn blocks_beside_the_chain_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("s"), &genesis()).unwrap();
    let write = store.database.begin_write().unwrap();
    let mut side = write.open_table(SIDE).unwrap();
    for number in 1..SIDE_MAX {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&number.to_le_bytes());
        side.insert((9, hash), ()).unwrap();
    }
    drop(side);
    write.commit().unwrap();
    store.put_side_block(&block(3)).unwrap();
    store.put_side_block(&block(3)).unwrap(); // it is there already
    assert!(matches!(store.put_side_block(&block(4)), Err(StoreError::SideFull)));
    assert!(store.block(block(4).header.hash()).unwrap().is_none(), "nothing of it stays");
}

#[test]
fn a_block_under_another_name_is_found_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("s"), &genesis()).unwrap();
    let write = store.database.begin_write().unwrap();
    write.open_table(BLOCKS).unwrap().insert([5; 32], &block(1).encode()[..]).unwrap();
    write.commit().unwrap();
    assert!(matches!(store.header(&[5; 32]), Err(StoreError::Damaged(_))));
}

#[test]
fn an_undo_record_that_is_not_whole_rows_is_found_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("s"), &genesis()).unwrap();
    for (len, reads) in [(0, true), (47, false), (48, true), (49, false)] {
        let write = store.database.begin_write().unwrap();
        write.open_table(UNDO).unwrap().insert([5; 32], &vec![1; len][..]).unwrap();
        write.commit().unwrap();
        assert_eq!(store.undo(&[5; 32]).is_ok(), reads, "{len} bytes");
    }
}
