//! The limits of a pool, each at its bound.

use std::time::Duration;

use super::super::*;
use super::counts::want;
use super::fetching::{config, with_strangers};
use super::mesh::{Mesh, RULES, id, item, ms, pool};
use crate::machine::Refused;
use weir_base::pair::refused_field;

#[test]
fn each_field_is_checked_at_its_bound() {
    let field = |change: fn(&mut Config)| refused_field(Config::new(RULES), Config::validate, change);
    assert_eq!(field(|_| ()), None);
    assert_eq!(field(|config| config.max_item = 0), Some("max_item"));
    assert_eq!(field(|config| config.max_item = (1 << 26) + 1), Some("max_item"));
    let largest = |config: &mut Config| {
        (config.max_item, config.max_bytes, config.deferred_bytes) = (1 << 26, 1 << 26, 1 << 26);
    };
    assert_eq!(field(largest), None);
    assert_eq!(field(|config| config.max_items = 0), Some("max_items"));
    assert_eq!(field(|config| config.max_items = 1), None);
    assert_eq!(field(|config| config.max_bytes = 65_535), Some("max_bytes"));
    assert_eq!(field(|config| config.max_bytes = 65_536), None);
    assert_eq!(field(|config| config.entries = 0), Some("entries"));
    assert_eq!(field(|config| config.max_entries = 255), Some("max_entries"));
    assert_eq!(field(|config| config.max_entries = 256), None);
    assert_eq!(field(|config| config.max_entries = 65_537), Some("max_entries"));
    assert_eq!(field(|config| config.max_entries = 65_536), None);
    assert_eq!(field(|config| config.max_grants = 511), Some("max_grants"));
    assert_eq!(field(|config| config.max_grants = 512), None);
    assert_eq!(field(|config| config.offer_delay = Duration::from_secs(60)), None);
    assert_eq!(field(|config| config.offer_delay = Duration::from_secs(61)), Some("offer_delay"));
    assert_eq!(field(|config| config.deferred_bytes = 65_535), Some("deferred_bytes"));
    assert_eq!(field(|config| config.deferred_bytes = 65_536), None);
    assert_eq!(field(|config| config.checking = 0), Some("checking"));
    assert_eq!(field(|config| config.ahead = 0), Some("ahead"));
    assert_eq!(field(|config| config.verdict_time = Duration::ZERO), Some("verdict_time"));
}

#[test]
fn an_item_is_as_large_as_the_largest_at_most_and_not_empty() {
    let mut mesh = Mesh::new(1);
    mesh.add(Some(pool(0, Config { max_item: 100, ..config() }, 1)));
    let now = mesh.now;
    let mut insert = |bytes| mesh.pool(0).command(now, Command::Insert { bytes }).map(drop);
    assert_eq!(
        [99, 100, 101].map(|size| insert(item(5, size, usize::try_from(size).unwrap()))),
        [Ok(()), Ok(()), Err(Refused::TooLarge)]
    );
    let mut publish = |bytes: bytes::Bytes| {
        let item = Item::new(bytes, Summary::EMPTY, 1);
        mesh.pool(0).command(now, Command::Publish { item }).map(drop)
    };
    assert_eq!(
        [100, 101].map(|size| publish(item(6, size, usize::try_from(size).unwrap()))),
        [Ok(()), Err(Refused::TooLarge)]
    );
    assert_eq!(publish(bytes::Bytes::new()), Err(Refused::Invalid));
    assert_eq!(mesh.stats(0).items, 3);
}

#[test]
fn an_item_is_named_by_the_hash_of_its_bytes_and_a_summary_shown_in_hex() {
    let bytes = item(5, 1, 20);
    assert_eq!(Item::new(bytes.clone(), Summary::EMPTY, 1).id(), id(&bytes));
    assert_eq!(format!("{:?}", Summary::new(&[1, 0xab]).unwrap()), "01ab");
}

/// Fills a pool of 8 such items, and takes them out one by one: the lowest priority that it wants after each.
fn floors(config: Config) -> Vec<u64> {
    let mut mesh = Mesh::new(1);
    mesh.add(Some(pool(0, config, 1)));
    mesh.add(None);
    mesh.link(1, 0, 50);
    mesh.run_for(ms(200));
    let items: Vec<_> = (0..8).map(|number| item(5, number, 100)).collect();
    items.iter().for_each(|item| mesh.insert(0, item));
    mesh.run_for(ms(100));
    let wants = mesh.stats(0).wants_sent;
    let now = mesh.now;
    let lower = mesh.pool(0).command(now, Command::Insert { bytes: item(3, 9, 100) });
    assert_eq!(lower.map(drop), Err(Refused::Busy));
    let mut all = vec![mesh.pool(0).client.demand.least()];
    for item in &items[..4] {
        mesh.command(0, Command::Remove { id: id(item) });
        all.push(mesh.pool(0).client.demand.least());
    }
    assert_eq!(mesh.stats(0).wants_sent, wants + 1, "what was below the floor is asked for once");
    all
}

#[test]
fn a_pool_that_was_full_wants_low_items_again_below_three_quarters() {
    let of_items = Config { max_items: 8, max_bytes: 100_000, ..config() };
    assert_eq!(floors(of_items), [6, 6, 6, 0, 0], "below 6 items");
    let of_bytes = Config { max_items: 1_000, max_bytes: 800, ..config() };
    assert_eq!(floors(of_bytes), [6, 6, 6, 0, 0], "below 600 bytes");
}

#[test]
fn an_item_of_its_own_is_not_offered_to_who_had_offered_it() {
    for verdict in [None, Some(Verdict::Defer(Duration::from_secs(60)))] {
        let (mut mesh, mut strangers) = with_strangers(&config(), 2);
        mesh.app = Box::new(move |_, _| (ms(0), verdict));
        let bytes = item(5, 1, 200);
        strangers[0].offer(&mut mesh, &bytes);
        mesh.run_for(ms(120));
        if verdict.is_some() {
            strangers[0].serve(&mut mesh);
            mesh.run_for(ms(120));
        }
        mesh.insert(0, &bytes);
        for stranger in &strangers {
            let key = mesh.open(stranger.node, stranger.link, 0).unwrap();
            mesh.run_for(ms(60));
            mesh.send(stranger.node, key, &want());
        }
        mesh.run_for(ms(300));
        assert_eq!(mesh.stats(0).entries_sent, 1, "to the other one alone: {verdict:?}");
    }
}
