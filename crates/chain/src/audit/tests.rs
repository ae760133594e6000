use super::*;
use crate::block::{Draft, items_root};
use crate::chain::Chain;
use crate::{Header, SigningKey, Transfer};

/// Bytes of a page of the database.
const PAGE: usize = 4096;

fn keys() -> (SigningKey, SigningKey) {
    (SigningKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]))
}

fn genesis() -> Genesis {
    let (producer, user) = keys();
    let balances = BTreeMap::from([(AccountId::of(&user), 1 << 30)]);
    Genesis::new("audit", AccountId::of(&producer), 1000, &balances).unwrap()
}

/// A store with some blocks, transfers, accounts, undo records and a block beside the chain.
fn store(path: &Path) -> Audit {
    let ((producer, user), genesis) = (keys(), genesis());
    let make = |path: &Path| Chain::open(genesis.clone(), Store::open(path, &genesis).unwrap()).unwrap();
    let mut chain = make(path);
    let mut nonce = 0_u64;
    for time in 1..=12 {
        let block = chain.produce(&producer, time, |execution| {
            let transfers = (0..20_u8).map(|number| {
                let to = AccountId([number.wrapping_mul(11); 32]);
                let transfer =
                    Transfer::sign(&user, &genesis.id(), nonce, (to, 1), 1, &[number; 200]).unwrap();
                nonce += 1;
                execution.execute(&transfer).unwrap();
                transfer
            });
            transfers.collect()
        });
        block.unwrap();
    }
    let mut other = make(&path.with_extension("other"));
    let (side_block, _) = other.produce(&producer, 99, |_| Vec::new()).unwrap();
    let side_block = side_block.check(&genesis.producer, &genesis.id(), |_| false).unwrap();
    chain.add(&side_block, 1000).unwrap();
    chain.store().audit().unwrap()
}

/// The block beside the chain.
fn side_block(write: &redb::WriteTransaction) -> (u64, Hash) {
    write.open_table(SIDE).unwrap().first().unwrap().unwrap().0.value()
}

/// Any number, another one each time.
fn random(state: &mut u64) -> usize {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    usize::try_from(*state >> 33).unwrap()
}

#[test]
fn one_changed_byte_on_any_page_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let right = store(&path);
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(file(&path, folder.path()).unwrap(), Audited { audit: right, closed: true });
    let mut state = 7;
    let (mut rows, mut unused) = (0, 0);
    for page in 0..bytes.len() / PAGE {
        let mut changed = bytes.clone();
        changed[page * PAGE + random(&mut state) % PAGE] ^= 1 << (random(&mut state) % 8);
        std::fs::write(&path, changed).unwrap();
        match file(&path, folder.path()).unwrap_err() {
            AuditError::Changed => unused += 1,
            _ => rows += 1,
        }
    }
    assert!(rows >= 20 && unused >= 20, "{rows} where something is stored, {unused} where nothing is");
}

#[test]
fn a_changed_byte_of_the_seal_is_found_and_a_store_without_one_was_not_closed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let right = store(&path);
    let seal = seal::file_of(&path);
    let text = std::fs::read(&seal).unwrap();
    for at in 0..text.len() {
        let mut changed = text.clone();
        changed[at] ^= 1;
        std::fs::write(&seal, changed).unwrap();
        assert!(matches!(file(&path, folder.path()), Err(AuditError::Changed)), "byte {at}");
    }
    std::fs::remove_file(&seal).unwrap();
    assert_eq!(file(&path, folder.path()).unwrap(), Audited { audit: right, closed: false });
}

#[test]
fn a_store_has_a_seal_while_it_is_closed_and_none_while_it_is_open() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let right = store(&path);
    let opened = Store::open(&path, &genesis()).unwrap();
    assert_eq!(seal::read(&path).unwrap(), None);
    drop(opened);
    assert_eq!(seal::read(&path).unwrap(), Some(seal::text_of(&path).unwrap().into_bytes()));
    assert_eq!(file(&path, folder.path()).unwrap().audit, right);
}

#[test]
fn a_row_that_is_not_what_the_blocks_lead_to_is_named() {
    type Change = fn(&redb::WriteTransaction, Hash);
    let changes: [(&str, Change); 15] = [
        ("undo record", |write, head| _ = write.open_table(UNDO).unwrap().remove(head).unwrap()),
        ("undo record", |write, head| {
            _ = write.open_table(UNDO).unwrap().insert(head, &[0; 48][..]).unwrap();
        }),
        ("belongs nowhere", |write, _| {
            _ = write.open_table(BLOCKS).unwrap().insert([4; 32], &[1][..]).unwrap();
        }),
        ("is missing", |write, head| _ = write.open_table(BLOCKS).unwrap().remove(head).unwrap()),
        ("block 12", |write, _| _ = write.open_table(CHAIN).unwrap().insert(12, [4; 32]).unwrap()),
        ("gap", |write, head| _ = write.open_table(CHAIN).unwrap().insert(14, head).unwrap()),
        ("accounts", |write, _| _ = write.open_table(ACCOUNTS).unwrap().insert([4; 32], (1, 1)).unwrap()),
        ("signed", |write, _| {
            write.open_table(META).unwrap().insert("signed", &13_u64.to_le_bytes()[..]).unwrap();
        }),
        ("which chain", |write, _| {
            write.open_table(META).unwrap().insert("network", &[4; 32][..]).unwrap();
        }),
        ("which chain", |write, _| _ = write.open_table(META).unwrap().insert("more", &[1][..]).unwrap()),
        ("which chain", |write, _| _ = write.open_table(META).unwrap().remove("network").unwrap()),
        ("account", |write, _| _ = write.open_table(ACCOUNTS).unwrap().insert([4; 32], (0, 0)).unwrap()),
        ("beside the chain is missing", |write, _| {
            let (_, side_block) = side_block(write);
            write.open_table(BLOCKS).unwrap().remove(side_block).unwrap();
        }),
        ("beside the chain is another one", |write, _| {
            let (height, side_block) = side_block(write);
            let mut side = write.open_table(SIDE).unwrap();
            side.remove((height, side_block)).unwrap();
            side.insert((height + 1, side_block), ()).unwrap();
        }),
        ("signature of a block beside", |write, _| {
            let (height, side_block) = side_block(write);
            let mut blocks = write.open_table(BLOCKS).unwrap();
            let bytes = bytes::Bytes::copy_from_slice(blocks.remove(side_block).unwrap().unwrap().value());
            let block = Block::decode(&bytes).unwrap();
            let header = Header::sign(block.header.draft, &keys().1, &genesis().id());
            let (forged, hash) = (Block { header: header.clone(), ..block }, *header.hash());
            blocks.insert(hash, &forged.encode()[..]).unwrap();
            let mut side = write.open_table(SIDE).unwrap();
            side.remove((height, side_block)).unwrap();
            side.insert((height, hash), ()).unwrap();
        }),
    ];
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (folder.path().join("store"), folder.path().join("copy"));
    let head = store(&path).head.hash;
    for (named, change) in changes {
        std::fs::copy(&path, &copy).unwrap();
        let database = Database::open(&copy).unwrap();
        let write = database.begin_write().unwrap();
        change(&write, head);
        write.commit().unwrap();
        drop(database);
        let error = file(&copy, folder.path()).unwrap_err().to_string();
        assert!(error.contains(named), "`{named}`: {error}");
    }
}

/// A first block with these transfers, as its producer makes it.
fn first(transfers: Vec<Transfer>) -> Block {
    let (producer, _) = keys();
    let ledger = Replay::new(&genesis()).ledger;
    let mut execution = ledger.execution(genesis().producer);
    transfers.iter().for_each(|transfer| _ = execution.execute(transfer));
    let draft = Draft {
        height: 1,
        parent: genesis().id(),
        time: 7,
        state_root: execution.seal().1,
        items_root: items_root(&transfers),
    };
    Block { header: Header::sign(draft, &producer, &genesis().id()), transfers }
}

/// What a replay says of this block in the first row.
fn replayed(block: &Block) -> Result<(), String> {
    let mut replay = Replay::new(&genesis());
    replay.execute(0, genesis().id(), None)?;
    replay.execute(1, *block.header.hash(), Some(&block.encode())).map(|_| ())
}

#[test]
fn a_replay_judges_each_block_by_every_rule() {
    let ((producer, user), id) = (keys(), genesis().id());
    let to = |nonce, amount| Transfer::sign(&user, &id, nonce, (AccountId([7; 32]), amount), 1, b"").unwrap();
    let right = first(vec![to(0, 5)]);
    assert_eq!(replayed(&right), Ok(()));
    let draft = right.header.draft;
    let signed =
        |draft, key| Block { header: Header::sign(draft, key, &id), transfers: right.transfers.clone() };
    let other_chain = Transfer::sign(&user, &[1; 32], 0, (AccountId([7; 32]), 5), 1, b"").unwrap();
    for (block, said) in [
        (signed(Draft { parent: [4; 32], ..draft }, &producer), "does not follow"),
        (signed(Draft { height: 2, ..draft }, &producer), "height"),
        (signed(Draft { time: 0, ..draft }, &producer), "time"),
        (signed(Draft { state_root: [4; 32], ..draft }, &producer), "the state"),
        (signed(draft, &user), "signature"),
        (first(vec![other_chain]), "signature"),
        (first(vec![to(1, 5)]), "does not execute"),
    ] {
        let error = replayed(&block).unwrap_err();
        assert!(error.contains(said), "`{said}`: {error}");
    }
}

#[test]
fn a_replay_judges_each_row_by_its_block() {
    let block = first(Vec::new());
    let mut replay = Replay::new(&genesis());
    assert_eq!(replay.execute(0, [4; 32], None), Err("is not the genesis".into()));
    assert_eq!(replay.execute(0, genesis().id(), None), Ok(None));
    assert_eq!(replay.execute(1, *block.header.hash(), None), Err("is missing".into()));
    assert_eq!(replay.execute(1, [4; 32], Some(&block.encode())), Err("is another block".into()));
    assert!(replay.execute(1, *block.header.hash(), Some(&block.encode())).is_ok());
}
