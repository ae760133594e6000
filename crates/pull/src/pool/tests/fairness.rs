//! `docs/spec/fairness.md` where it is used: checking time, fetch slots, upload bytes, permits. The levels themselves are
//! tested at the dealer.

use std::time::Duration;

use weir_base::stream::{Group, Side};

use super::super::*;
use super::fetching::with_strangers;
use super::mesh::{Mesh, RULES, item, ms, pool};
use super::stranger::Stranger;

fn config() -> Config {
    Config { offer_delay: Duration::ZERO, ..Config::new(RULES) }
}

/// Node 0; strangers 1 to `count` dial it, the first from a group of its own, the others from one group.
fn crowd(config: &Config, count: usize) -> (Mesh, Vec<Stranger>) {
    let mut mesh = Mesh::new(1);
    mesh.add(Some(pool(0, config.clone(), 1)));
    let strangers = (1..=count)
        .map(|node| {
            mesh.add(None);
            mesh.set_group(node, Side::Inbound, Group::Local(if node == 1 { 1 } else { 2 }));
            Stranger::dial(&mut mesh, node, 0)
        })
        .collect();
    mesh.run_for(ms(200));
    (mesh, strangers)
}

#[test]
fn checking_time_is_dealt_among_groups_of_deliverers() {
    // One item at a time is checked, 10 ms each. Stranger 1 delivers 20, nine others of one group 20 each.
    let (mut mesh, mut strangers) = crowd(&Config { checking: 1, ..config() }, 10);
    mesh.app = Box::new(|_, _| (ms(10), Some(Verdict::Accept)));
    for (node, stranger) in strangers.iter_mut().enumerate() {
        for number in 0..20 {
            stranger.offer(&mut mesh, &item(u8::try_from(node).unwrap(), number, 100));
        }
    }
    mesh.run_for(ms(120));
    strangers.iter_mut().for_each(|stranger| stranger.serve(&mut mesh));
    mesh.run_for(ms(60 + 10 * 40));
    let first = mesh.pool(0).priorities().iter().filter(|priority| **priority == 0).count();
    assert!((16..=20).contains(&first), "{first} of 20 in the time of 40");
}

#[test]
fn fetch_slots_are_dealt_among_groups() {
    // Room for one item at a time. Stranger 1 offers 10, nine others of one group 10 each.
    let (mut mesh, mut strangers) = crowd(&Config { in_flight: 1, ..config() }, 10);
    for (node, stranger) in strangers.iter_mut().enumerate() {
        for number in 0..10 {
            stranger.offer(&mut mesh, &item(u8::try_from(node).unwrap(), number, 20_000));
        }
    }
    for _ in 0..20 {
        mesh.run_for(ms(120));
        strangers.iter_mut().for_each(|stranger| stranger.serve(&mut mesh));
    }
    mesh.run_for(ms(120));
    let first = mesh.pool(0).priorities().iter().filter(|priority| **priority == 0).count();
    assert!((8..=10).contains(&first), "{first} of 20");
}

#[test]
fn who_offers_less_than_its_share_is_asked_next() {
    // Room for one item at a time, of 1,000 bytes each. Eight strangers, of a group each, have more than can be asked for.
    let (mut mesh, mut strangers) = with_strangers(&Config { in_flight: 1, ..config() }, 9);
    for (node, stranger) in (0..).zip(&mut strangers[..8]) {
        (0..20).for_each(|number| stranger.offer(&mut mesh, &item(node, number, 1_000)));
    }
    let serve = |mesh: &mut Mesh, strangers: &mut [Stranger]| {
        mesh.run_for(ms(120));
        strangers.iter_mut().for_each(|stranger| stranger.serve(mesh));
    };
    (0..20).for_each(|_| serve(&mut mesh, &mut strangers));
    assert_eq!(strangers.iter().map(Stranger::answers).sum::<usize>(), 20);
    strangers[8].offer(&mut mesh, &item(9, 1, 1_000));
    (0..3).for_each(|_| serve(&mut mesh, &mut strangers));
    assert_eq!(strangers[8].answers(), 1, "those that were asked before have more to offer");
}

#[test]
fn upload_is_dealt_in_bytes_among_groups() {
    // 40 items of 60,000 bytes; all ask for all; windows let 64 KiB go at once. Turns go round by group.
    let (mut mesh, _) = crowd(&config(), 10);
    for number in 0..20 {
        mesh.insert(0, &item(5, number, 60_000));
    }
    let links: Vec<_> = (1..=10).map(|node| (node, mesh.link_between(0, node).unwrap())).collect();
    let mut get = vec![21, 0];
    get.extend([0; 20]);
    let keys: Vec<_> =
        links.iter().map(|(node, link)| (*node, mesh.open(*node, *link, 1).unwrap())).collect();
    for (node, key) in &keys {
        mesh.send(*node, *key, &get);
    }
    mesh.run_for(ms(10_000));
    let heard = |node: usize, key| mesh.nodes[node].heard.get(&key).map_or(0, Vec::len);
    assert!(keys.iter().all(|(node, key)| heard(*node, *key) > 20 * 60_000), "each get is answered");
    assert_eq!(mesh.stats(0).items_sent, 200);
    assert_eq!(mesh.pool(0).uploads.open_turns(), 0);
}

#[test]
fn a_blocked_link_does_not_hold_the_others_turns() {
    let (mut mesh, _) = crowd(&config(), 10);
    for number in 0..4 {
        mesh.insert(0, &item(5, number, 60_000));
    }
    let keys: Vec<_> = (1..=10)
        .map(|node| {
            let link = mesh.link_between(0, node).unwrap();
            (node, mesh.open(node, link, 1).unwrap())
        })
        .collect();
    mesh.stuck = keys.iter().filter(|(node, _)| *node <= 9).map(|(_, key)| *key).collect();
    for (node, key) in &keys {
        mesh.send(*node, *key, &[5, 0, 0, 0, 0, 0]);
    }
    mesh.run_for(ms(1_000));
    assert_eq!(mesh.stats(0).items_sent, 4);
}

#[test]
fn windows_are_parts_of_all_grants_by_side_and_group() {
    let config = Config { max_grants: 512, entries: 64, max_entries: 64, ..config() };
    let (mut mesh, _) = crowd(&config, 9);
    let own = mesh.add(None);
    mesh.link(0, own, 50);
    mesh.run_for(ms(500));
    let open: Vec<u64> =
        mesh.pool(0).common.links.iter().map(|(_, link)| link.intake.grant.outstanding()).collect();
    assert!(open[..9].iter().sum::<u64>() <= 256, "{open:?}");
    assert_eq!(open.last(), Some(&64), "the link this node dialled gets its window: {open:?}");
}

#[test]
fn who_found_nothing_left_to_be_granted_gets_a_permit_when_others_have_given_back() {
    let config = Config { max_grants: 16, entries: 8, max_entries: 8, ..config() };
    let (mut mesh, mut strangers) = crowd(&config, 2);
    mesh.app = Box::new(|_, _| (ms(100), Some(Verdict::Accept)));
    let granted = |mesh: &mut Mesh, slot: u16| {
        mesh.pool(0).common.links.get(links::Slot(slot)).unwrap().intake.grant.totals().0
    };
    assert_eq!((granted(&mut mesh, 0), granted(&mut mesh, 1)), (8, 0));
    for number in 0..8 {
        strangers[0].offer(&mut mesh, &item(5, number, 100));
    }
    mesh.run_for(ms(120));
    strangers[0].serve(&mut mesh);
    mesh.run_for(ms(3_000));
    assert!(granted(&mut mesh, 1) > 0);
}
