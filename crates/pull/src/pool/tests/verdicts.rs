//! Credit, verdicts, floors, keys: what returns when, and what comes again.

use std::time::Duration;

use weir_base::stream::{Group, Side};

use super::super::*;
use super::mesh::{Mesh, RULES, id, item, ms};
use super::stranger::Stranger;

fn config() -> Config {
    Config { offer_delay: Duration::ZERO, ..Config::new(RULES) }
}

fn scene(config: &Config) -> (Mesh, Stranger) {
    let mut mesh = Mesh::full(1, 1, config);
    assert_eq!(mesh.add(None), 1);
    mesh.set_group(1, Side::Inbound, Group::Local(1));
    let stranger = Stranger::dial(&mut mesh, 1, 0);
    mesh.run_for(ms(200));
    (mesh, stranger)
}

/// Entries that the stranger may still offer, and that are charged to it.
fn outstanding(mesh: &mut Mesh) -> (u64, u64) {
    let grant = &mesh.pool(0).common.links.get(links::Slot(0)).unwrap().intake.grant;
    (grant.open(), grant.outstanding() - grant.open())
}

fn deliver(mesh: &mut Mesh, stranger: &mut Stranger, number: u64) -> [u8; 32] {
    let bytes = item(5, number, 100);
    stranger.offer(mesh, &bytes);
    mesh.run_for(ms(120));
    stranger.serve(mesh);
    mesh.run_for(ms(120));
    id(&bytes)
}

#[test]
fn an_item_not_taken_keeps_its_credit_and_one_taken_is_deferred_after_10_s() {
    let (mut mesh, mut stranger) = scene(&config());
    mesh.app = Box::new(|_, _| (Duration::ZERO, None));
    deliver(&mut mesh, &mut stranger, 1);
    mesh.run_for(ms(60_000));
    assert_eq!(outstanding(&mut mesh), (255, 1));
    let (ticket, _) = mesh.pool(0).checking_now()[0];
    let at = mesh.now;
    mesh.run_for(ms(1_000)); // until the pool hears of it
    mesh.command(0, Command::Taken { ticket, at });
    mesh.run_for(ms(8_900));
    assert_eq!(outstanding(&mut mesh).1, 1);
    mesh.run_for(ms(200));
    assert_eq!(outstanding(&mut mesh).1, 0);
    let now = mesh.now;
    let late = mesh.pool(0).command(now, Command::Verdict { ticket, at: now, verdict: Verdict::Accept });
    assert_eq!(late.err(), Some(Refused::UnknownTicket));
    mesh.run_for(ms(10_000));
    assert_eq!(mesh.nodes[0].candidates.len(), 2, "it comes again, without another fetch");
    assert_eq!((mesh.stats(0).bodies, mesh.faults.len()), (1, 0));
}

#[test]
fn a_deferred_item_comes_again_after_its_time_or_on_reconsider() {
    let (mut mesh, mut stranger) = scene(&config());
    let mut times = 0;
    mesh.app = Box::new(move |_, _| {
        times += 1;
        let verdict = if times < 3 { Verdict::Defer(ms(5_000)) } else { Verdict::Accept };
        (Duration::ZERO, Some(verdict))
    });
    let id = deliver(&mut mesh, &mut stranger, 1);
    assert_eq!((mesh.nodes[0].candidates.len(), outstanding(&mut mesh).1), (1, 0));
    mesh.run_for(ms(5_000));
    assert_eq!(mesh.nodes[0].candidates.len(), 2);
    mesh.command(0, Command::Reconsider);
    assert_eq!((mesh.nodes[0].candidates.len(), mesh.ids(0)), (3, vec![id]));
    assert_eq!(mesh.stats(0).bodies, 1);
}

#[test]
fn the_pen_is_bounded_and_what_it_lost_is_asked_for_again() {
    let config = Config { deferred_items: 2, ..config() };
    let mut mesh = Mesh::full(1, 2, &config);
    mesh.app = Box::new(|_, _| (Duration::ZERO, Some(Verdict::Defer(ms(600_000)))));
    for number in 0..5 {
        mesh.insert(1, &item(5, number, 100));
    }
    mesh.run_for(ms(1_000));
    assert_eq!(mesh.nodes[0].candidates.len(), 5);
    mesh.app = Box::new(|_, _| (Duration::ZERO, Some(Verdict::Accept)));
    mesh.command(0, Command::Reconsider);
    assert_eq!(mesh.ids(0).len(), 2);
    mesh.run_for(ms(62_000));
    assert_eq!(mesh.ids(0).len(), 5);
}

#[test]
fn ignored_and_removed_items_are_not_fetched_again() {
    let mut mesh = Mesh::full(1, 2, &config());
    mesh.app = Box::new(|_, _| (Duration::ZERO, Some(Verdict::Ignore)));
    let (ignored, removed, before) = (item(5, 1, 100), item(5, 2, 100), item(5, 3, 100));
    mesh.insert(1, &ignored);
    mesh.run_for(ms(500));
    mesh.insert(0, &removed);
    mesh.command(0, Command::Remove { id: id(&removed) });
    mesh.command(0, Command::Remove { id: id(&before) }); // a block brought it first
    mesh.insert(1, &removed);
    mesh.insert(1, &before);
    mesh.command(0, Command::Resync);
    mesh.run_for(ms(20_000));
    assert_eq!((mesh.stats(0).bodies, mesh.stats(0).items, mesh.faults.len()), (1, 0, 0));
}

#[test]
fn an_entry_costs_nothing_where_it_is_known_refused_or_charged_already() {
    let (mut mesh, mut stranger) = scene(&Config { entries: 8, max_entries: 8, ..config() });
    mesh.command(0, Command::Floor(3));
    let known = item(5, 1, 100);
    mesh.insert(0, &known);
    for _ in 0..20 {
        stranger.offer(&mut mesh, &known);
        stranger.offer(&mut mesh, &item(1, 7, 100));
        mesh.run_for(ms(250));
    }
    assert_eq!(outstanding(&mut mesh).1, 0);
    let wanted = item(5, 2, 100);
    for _ in 0..20 {
        stranger.offer(&mut mesh, &wanted);
        mesh.run_for(ms(250));
    }
    assert_eq!(outstanding(&mut mesh).1, 1);
    assert!(mesh.faults.is_empty(), "{:?}", mesh.faults);
}

#[test]
fn a_paused_node_grants_nothing_and_goes_on_afterwards() {
    let mut mesh = Mesh::full(1, 1, &config());
    mesh.command(0, Command::Pause(true));
    mesh.add(Some(super::mesh::pool(1, config(), 1)));
    mesh.link(1, 0, 50);
    let bytes = item(5, 1, 100);
    mesh.insert(1, &bytes);
    mesh.run_for(ms(5_000));
    assert_eq!((mesh.stats(0).entries_granted, mesh.stats(0).items), (0, 0));
    mesh.command(0, Command::Pause(false));
    mesh.run_for(ms(500));
    assert_eq!(mesh.ids(0), [id(&bytes)]);
}

#[test]
fn a_floor_keeps_lower_items_away_until_it_falls() {
    let mut mesh = Mesh::full(1, 2, &config());
    mesh.command(0, Command::Floor(5));
    mesh.run_for(ms(200));
    let (low, high) = (item(4, 1, 100), item(5, 2, 100));
    mesh.insert(1, &low);
    mesh.insert(1, &high);
    mesh.run_for(ms(500));
    assert_eq!((mesh.ids(0), mesh.stats(1).entries_sent), (vec![id(&high)], 1));
    mesh.command(0, Command::Floor(0));
    mesh.run_for(ms(15_000));
    assert_eq!((mesh.ids(0).len(), mesh.stats(0).bodies), (2, 2));
}

#[test]
fn a_full_pool_keeps_the_highest() {
    let mut mesh = Mesh::full(1, 2, &Config { max_items: 10, ..config() });
    let mut full = 0;
    for number in 0..30 {
        let (now, bytes) = (mesh.now, item(u8::try_from(number % 15).unwrap(), number, 100));
        full += u32::from(mesh.pool(1).command(now, Command::Insert { bytes }) == Err(Refused::Busy));
        mesh.run_for(ms(120));
    }
    assert!(full > 0, "a lower item finds no place");
    mesh.run_for(ms(1_000));
    assert_eq!(mesh.ids(0), mesh.ids(1));
    assert_eq!(mesh.ids(0).len(), 10);
    assert!(mesh.nodes[0].candidates.len() < 30 && !mesh.nodes[0].evicted.is_empty());
}

#[test]
fn an_offer_under_an_expired_key_is_dropped_without_blame_and_asked_for_again() {
    let mut mesh = Mesh::full(1, 2, &config());
    mesh.insert(1, &item(5, 1, 100));
    mesh.run_for(ms(300));
    let bytes = item(5, 2, 100);
    mesh.insert(1, &bytes);
    mesh.run_for(ms(20)); // the offer is under way
    mesh.rotate(0, 2, true);
    mesh.run_for(ms(12_000));
    assert_eq!((mesh.ids(0).len(), mesh.faults.len()), (2, 0));
    assert_eq!(mesh.stats(0).bodies, 2);
}

#[test]
fn an_offer_under_the_key_before_is_taken() {
    let mut mesh = Mesh::full(1, 2, &config());
    mesh.insert(1, &item(5, 1, 100));
    mesh.run_for(ms(20));
    mesh.rotate(0, 2, false);
    mesh.run_for(ms(300));
    assert_eq!((mesh.ids(0).len(), mesh.stats(1).entries_sent), (1, 1));
}

#[test]
fn a_slow_verdict_delays_nobody_else() {
    // Scenario 1 in the small: one item in 20 takes 2 s; no link runs out of credit, all others pass at once.
    let mut mesh = Mesh::full(1, 4, &config());
    mesh.app = Box::new(|_, bytes| {
        let slow = bytes[1].is_multiple_of(20);
        (ms(if slow { 2_000 } else { 1 }), Some(Verdict::Accept))
    });
    for number in 0..400 {
        mesh.insert(1 + usize::try_from(number % 3).unwrap(), &item(5, number, 100));
        mesh.run_for(ms(2));
    }
    mesh.run_for(ms(300));
    let slow = (0..400_u64).filter(|number| number.to_le_bytes()[0].is_multiple_of(20)).count();
    assert!(mesh.ids(0).len() >= 400 - slow, "{}", mesh.ids(0).len());
    mesh.run_for(ms(3_000));
    assert_eq!(mesh.ids(0).len(), 400);
}

#[test]
fn a_link_that_ends_before_its_cursor_moved_back_begins_where_it_should_have() {
    let mut mesh = Mesh::full(1, 2, &config());
    mesh.command(0, Command::Floor(4));
    mesh.run_for(ms(300));
    let bytes = item(3, 1, 100);
    mesh.insert(1, &bytes);
    mesh.insert(1, &item(7, 2, 100));
    mesh.run_for(ms(300));
    assert_eq!(mesh.ids(0).len(), 1);
    mesh.command(0, Command::Floor(3));
    let link = mesh.link_between(0, 1).unwrap();
    mesh.unlink(link);
    mesh.link(0, 1, 50);
    mesh.run_for(ms(500));
    assert!(mesh.ids(0).contains(&id(&bytes)));
}
