//! How much is handed over ahead of what the application took: a few milliseconds of checking, all else waits by deliverer.

use std::time::Duration;

use weir_base::stream::{Group, Side};

use super::super::*;
use super::fetching::config;
use super::mesh::{Mesh, id, item, ms, pool};
use super::stranger::Stranger;

/// Node 0, whose application takes nothing by itself; so many strangers that dial it from groups of their own have delivered
/// 1,000 items together.
fn crowd(config: Config, count: usize) -> Mesh {
    let mut mesh = Mesh::new(1);
    mesh.add(Some(pool(0, config, 1)));
    mesh.app = Box::new(|_, _| (Duration::ZERO, None));
    let mut hostile = Vec::new();
    for node in 1..=count {
        mesh.add(None);
        mesh.set_group(node, Side::Inbound, Group::Local(u32::try_from(node).unwrap()));
        hostile.push(Stranger::dial(&mut mesh, node, 0));
    }
    mesh.run_for(ms(200));
    for (at, stranger) in (0..).zip(&mut hostile) {
        let numbers = 0..1_000 / count as u64;
        numbers.for_each(|number| stranger.offer(&mut mesh, &item(2, at * 1_000 + number, 100)));
    }
    for _ in 0..20 {
        mesh.run_for(ms(120));
        hostile.iter_mut().for_each(|stranger| stranger.serve(&mut mesh));
    }
    mesh.run_for(ms(120));
    mesh
}

/// The application takes the candidate that it was handed first, decides after `time`, and so on, until it has decided on
/// `wanted`, or on `most`. How many it decided on before.
fn decide(mesh: &mut Mesh, time: Duration, wanted: Option<[u8; 32]>, most: usize) -> usize {
    let mut decided = 0;
    while decided < most {
        let mut open = mesh.pool(0).checking_now();
        open.sort_unstable_by_key(|(ticket, _)| *ticket);
        let Some((ticket, id)) = open.first().copied() else { break };
        if Some(id) == wanted {
            break;
        }
        let at = mesh.now;
        mesh.command(0, Command::Taken { ticket, at });
        mesh.run_for(time);
        mesh.command(0, Command::Verdict { ticket, at: mesh.now, verdict: Verdict::Accept });
        decided += 1;
    }
    decided
}

/// A stranger offers and delivers item `number`: its id.
fn delivered(mesh: &mut Mesh, stranger: &mut Stranger, number: u64) -> [u8; 32] {
    let bytes = item(5, number, 100);
    stranger.offer(mesh, &bytes);
    mesh.run_for(ms(120));
    stranger.serve(mesh);
    mesh.run_for(ms(120));
    id(&bytes)
}

/// One more stranger, which dials it from a group of its own.
fn inbound(mesh: &mut Mesh) -> Stranger {
    let node = mesh.add(None);
    mesh.set_group(node, Side::Inbound, Group::Local(u32::try_from(node).unwrap()));
    let stranger = Stranger::dial(mesh, node, 0);
    mesh.run_for(ms(200));
    stranger
}

#[test]
fn an_item_of_a_link_this_node_dialled_waits_for_few_others() {
    let mut mesh = crowd(config(), 4);
    let node = mesh.add(None);
    let mut honest = Stranger::dialled(&mut mesh, node, 0);
    mesh.run_for(ms(200));
    let good = delivered(&mut mesh, &mut honest, 1);
    let before = decide(&mut mesh, ms(5), Some(good), 1_000);
    assert!(before <= 5, "{before} of one other side went before it");
}

#[test]
fn an_inbound_links_only_item_waits_for_what_was_handed_over_and_for_no_turns() {
    let mut mesh = crowd(config(), 8);
    let time = Duration::from_micros(50);
    decide(&mut mesh, time, None, 40); // of each 5
    let mut honest = inbound(&mut mesh);
    let good = delivered(&mut mesh, &mut honest, 1);
    let before = decide(&mut mesh, time, Some(good), 500);
    assert!(before <= 33, "{before} of others went before it");
}

#[test]
fn one_slow_item_of_a_link_that_delivers_little_does_not_put_it_behind_the_others() {
    let mut mesh = crowd(config(), 8);
    let time = Duration::from_micros(50);
    let mut honest = inbound(&mut mesh);
    decide(&mut mesh, time, None, 200); // a millisecond and more of each
    for number in 1..3 {
        let good = delivered(&mut mesh, &mut honest, number);
        let before = decide(&mut mesh, time, Some(good), 500);
        assert!(before <= 33, "{before} of others went before item {number}");
        decide(&mut mesh, Duration::from_micros(900), None, 1);
    }
}

#[test]
fn who_owes_much_does_not_wait_behind_others_while_the_application_has_time_left() {
    let mut mesh = crowd(config(), 8);
    let node = mesh.add(None);
    let mut honest = Stranger::dialled(&mut mesh, node, 0);
    mesh.run_for(ms(200));
    let time = Duration::from_micros(10);
    let good = delivered(&mut mesh, &mut honest, 1);
    decide(&mut mesh, time, Some(good), 500);
    decide(&mut mesh, ms(20), None, 1);
    let good = delivered(&mut mesh, &mut honest, 2); // meanwhile the application takes nothing
    let before = decide(&mut mesh, time, Some(good), 1_000);
    assert!((100..200).contains(&before), "{before} of others went before it, with more than a millisecond");
}

#[test]
fn the_longer_items_take_the_fewer_are_handed_over() {
    let mut mesh = crowd(config(), 4);
    let handed = |mesh: &mut Mesh| mesh.pool(0).checking_now().len();
    assert_eq!(handed(&mut mesh), 4, "of those of whom none was checked, a millisecond each is expected");
    let now = mesh.now;
    for _ in 0..3 {
        for (ticket, _) in mesh.pool(0).checking_now() {
            mesh.pool(0).command(now, Command::Taken { ticket, at: now }).unwrap();
            mesh.pool(0)
                .command(now, Command::Verdict { ticket, at: now, verdict: Verdict::Accept })
                .unwrap();
        }
    }
    assert_eq!(handed(&mut mesh), 32, "never more, whatever they took before");
    decide(&mut mesh, ms(5), None, 40);
    assert_eq!(handed(&mut mesh), 1, "one of 5 ms is enough");
}

#[test]
fn an_application_that_checks_many_at_once_is_handed_as_many() {
    let mut mesh = crowd(Config { ahead: 200, ahead_time: Duration::from_secs(60), ..config() }, 4);
    assert_eq!(mesh.pool(0).checking_now().len(), 200);
    let all = mesh.pool(0).checking_now();
    for (ticket, _) in all {
        mesh.command(0, Command::Taken { ticket, at: mesh.now });
    }
    assert_eq!(mesh.pool(0).checking_now().len(), 400, "what is taken makes room");
}
