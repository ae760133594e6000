//! Peers that lie, withhold, flood: each is blamed where the specification says so, and no honest item is lost.

use std::time::Duration;

use bytes::Bytes;
use weir_base::Fault;
use weir_base::stream::{Group, Side};

use super::super::*;
use super::mesh::{Mesh, RULES, id, item, ms, pool};
use super::stranger::Stranger;

fn config() -> Config {
    Config { offer_delay: Duration::ZERO, ..Config::new(RULES) }
}

/// Node 0 under test, node 1 honest and linked to it, node 2 a stranger that has dialled node 0.
fn scene(config: &Config) -> (Mesh, Stranger) {
    let mut mesh = Mesh::full(1, 2, config);
    assert_eq!(mesh.add(None), 2);
    mesh.set_group(2, Side::Inbound, Group::Local(2));
    let stranger = Stranger::dial(&mut mesh, 2, 0);
    mesh.run_for(ms(200));
    (mesh, stranger)
}

fn faults(mesh: &Mesh) -> Vec<Fault> {
    mesh.faults.iter().map(|(_, _, fault)| *fault).collect()
}

#[test]
fn a_malleated_body_is_its_deliverers_fault_and_the_honest_one_arrives() {
    let (mut mesh, mut stranger) = scene(&config());
    let honest = item(5, 1, 200);
    let mut bent = honest.to_vec();
    bent[150] ^= 1;
    stranger.claim(&mut mesh, &Bytes::from(bent), &id(&honest), 200, 5);
    mesh.run_for(ms(80));
    mesh.insert(1, &honest);
    mesh.run_for(ms(30));
    stranger.serve(&mut mesh);
    mesh.run_for(ms(1_000));
    assert_eq!(faults(&mesh), [FALSE_ITEM]);
    assert_eq!(mesh.faults[0].1, stranger.link);
    assert_eq!(mesh.ids(0), [id(&honest)]);
}

#[test]
fn false_sizes_and_summaries_do_not_hide_the_honest_item() {
    let (mut mesh, mut stranger) = scene(&config());
    let honest = item(5, 1, 200);
    for (size, summary) in [(100, 5), (300, 5), (200, 9), (200, 200)] {
        stranger.claim(&mut mesh, &honest, &id(&honest), size, summary);
    }
    mesh.run_for(ms(80));
    mesh.insert(1, &honest);
    mesh.run_for(ms(500));
    assert_eq!(mesh.ids(0), [id(&honest)], "nobody waits for the liar");
    stranger.serve(&mut mesh);
    mesh.run_for(ms(500));
    assert!(faults(&mesh).contains(&FALSE_ITEM));
    assert!(mesh.faults.iter().all(|fault| fault.1 == stranger.link));
}

#[test]
fn a_body_of_another_length_than_offered_is_not_stored() {
    let (mut mesh, mut stranger) = scene(&config());
    let honest = item(5, 1, 200);
    stranger.claim(&mut mesh, &item(5, 1, 60_000), &id(&honest), 200, 5);
    mesh.run_for(ms(150));
    stranger.serve(&mut mesh);
    mesh.run_for(ms(150));
    assert_eq!((faults(&mesh), mesh.stats(0).bodies), (vec![FALSE_ITEM], 0));
}

#[test]
fn offers_beyond_the_permit_are_a_fault() {
    let config = Config { entries: 4, max_entries: 4, ..config() };
    let (mut mesh, mut stranger) = scene(&config);
    mesh.app = Box::new(|_, _| (Duration::ZERO, None));
    (0..4).for_each(|number| stranger.offer(&mut mesh, &item(5, number, 100)));
    mesh.run_for(ms(150));
    assert!(mesh.faults.is_empty());
    stranger.serve(&mut mesh);
    mesh.run_for(ms(150));
    stranger.offer(&mut mesh, &item(5, 9, 100));
    mesh.run_for(ms(150));
    assert_eq!(faults(&mesh), [BEYOND_PERMIT]);
}

#[test]
fn an_item_nobody_asked_for_is_a_fault_before_a_byte_of_it_is_kept() {
    let (mut mesh, mut stranger) = scene(&config());
    stranger.offer(&mut mesh, &item(5, 1, 100));
    mesh.run_for(ms(150));
    stranger.serve(&mut mesh);
    mesh.run_for(ms(150));
    stranger.send(&mut mesh, 1, codec::ITEM, &[0, 1, 2, 3]);
    mesh.run_for(ms(150));
    assert_eq!((faults(&mesh), mesh.stats(0).bodies), (vec![UNASKED], 1));
}

#[test]
fn an_offer_out_of_place_or_too_large_is_a_fault() {
    let (mut mesh, mut stranger) = scene(&config());
    stranger.claim(&mut mesh, &item(5, 1, 100), &[1; 32], 70_000, 5);
    mesh.run_for(ms(150));
    assert_eq!(faults(&mesh), [OVERSIZED]);
    let (mut mesh, stranger) = scene(&config());
    stranger.send(&mut mesh, 0, codec::OFFER, &[1, 0, 1]);
    mesh.run_for(ms(150));
    assert_eq!(faults(&mesh), [OUT_OF_PLACE]);
}

#[test]
fn gone_is_blamed_only_where_others_had_what_was_gone() {
    let (mut mesh, mut stranger) = scene(&config());
    for number in 0..100 {
        stranger.offer(&mut mesh, &item(5, number, 100));
    }
    mesh.run_for(ms(120));
    for _ in 0..30 {
        stranger.gone(&mut mesh);
        mesh.run_for(ms(120));
    }
    assert!(mesh.faults.is_empty(), "what nobody has may well be gone");
    for number in 200..300 {
        let bytes = item(5, number, 100);
        stranger.offer(&mut mesh, &bytes);
        mesh.run_for(ms(55));
        mesh.insert(1, &bytes);
        mesh.run_for(ms(20));
        stranger.gone(&mut mesh);
        mesh.run_for(ms(150));
    }
    mesh.run_for(ms(1_000));
    assert!(faults(&mesh).contains(&MOSTLY_GONE), "{:?}", mesh.stats(0));
    assert!(mesh.faults.iter().all(|fault| fault.1 == stranger.link));
    assert_eq!(mesh.ids(0).len(), 100);
}

#[test]
fn a_rejected_item_is_its_deliverers_fault_and_is_not_fetched_again() {
    let (mut mesh, mut stranger) = scene(&config());
    mesh.app = Box::new(|_, bytes| {
        (Duration::ZERO, Some(if bytes[0] == 9 { Verdict::Reject } else { Verdict::Accept }))
    });
    let bad = item(9, 1, 100);
    stranger.offer(&mut mesh, &bad);
    mesh.run_for(ms(120));
    stranger.serve(&mut mesh);
    mesh.run_for(ms(120));
    assert_eq!(faults(&mesh), [REJECTED]);
    mesh.insert(1, &bad);
    mesh.run_for(ms(500));
    assert_eq!((mesh.stats(0).bodies, mesh.faults.len()), (1, 1));
}

#[test]
fn gets_of_what_is_under_way_and_restless_cursors_are_faults() {
    let (mut mesh, stranger) = scene(&config());
    mesh.insert(0, &item(5, 1, 100));
    let key = mesh.open(2, stranger.link, 1).unwrap();
    mesh.send(2, key, &[2, 0, 0, 2, 0, 0]);
    mesh.run_for(ms(100));
    assert_eq!(faults(&mesh), [GREEDY]);
    let (mut mesh, stranger) = scene(&config());
    let key = mesh.open(2, stranger.link, 0).unwrap();
    for number in 1..=17_u8 {
        let mut want = vec![15, 0, 10, 10, 0, 0, number];
        want.extend([0; 8]);
        want.push(0);
        mesh.send(2, key, &want);
    }
    mesh.run_for(ms(100));
    assert_eq!(faults(&mesh), [RESTLESS]);
}

#[test]
fn permits_are_read_while_writing_is_blocked() {
    let mut mesh = Mesh::new(3);
    mesh.add(Some(pool(0, config(), 1)));
    mesh.add(None);
    let link = mesh.link(1, 0, 50);
    mesh.window = 0;
    (0..10).for_each(|number| mesh.insert(0, &item(5, number, 100)));
    let key = mesh.open(1, link, 0).unwrap();
    mesh.send(1, key, &[6, 0, 1, 200, 1, 0, 0]);
    mesh.run_for(ms(100));
    mesh.send(1, key, &[7, 0, 128, 2, 200, 62, 0, 0]);
    mesh.run_for(ms(100));
    let permit = mesh.pool(0).common.links.get(links::Slot(0)).unwrap().outlet.granted();
    assert_eq!(permit, 256);
    assert!(mesh.faults.is_empty());
}
