use super::*;
use crate::chain::Chain;
use crate::{SigningKey, Transfer};

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
    let (aside, _) = other.produce(&producer, 99, |_| Vec::new()).unwrap();
    let aside = aside.check(&genesis.producer, &genesis.id(), |_| false).unwrap();
    chain.add(&aside, 1000).unwrap();
    chain.store().audit().unwrap()
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
fn a_changed_byte_of_the_seal_is_found_and_a_store_without_one_is_known_not_to_be_closed() {
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
    let changes: [(&str, Change); 8] = [
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
