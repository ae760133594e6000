//! What checking costs those who deliver: the time that passes, shared by all that are being checked.

use std::time::Duration;

use super::super::*;
use super::fetching::{config, with_strangers};
use super::mesh::{Mesh, item, ms};
use super::stranger::Stranger;

/// An item with this number or a higher one takes 10 ms.
const ORDINARY: u64 = 100;
/// What is never decided by itself.
const NEVER: u64 = u64::MAX;

/// Three strangers of equal share, and an application that checks eight items at once: for item `number` of stranger `node` as
/// many milliseconds as `times[node - 1][number]` says. The third's take 200 ms.
fn scene(times: [Vec<u64>; 2]) -> (Mesh, Vec<Stranger>) {
    let (mut mesh, strangers) = with_strangers(&Config { checking: 8, ..config() }, 3);
    let times = times.into_iter().chain([vec![200; 8]]).collect::<Vec<_>>();
    mesh.app = Box::new(move |_, bytes| {
        let (node, number) = (usize::from(bytes[0]), usize::from(bytes[1]));
        let time = times[node - 1].get(number).copied().unwrap_or(10);
        (ms(if time == NEVER { 0 } else { time }), (time != NEVER).then_some(Verdict::Accept))
    });
    (mesh, strangers)
}

/// Each offers and delivers items with these numbers.
fn deliver(mesh: &mut Mesh, strangers: &mut [Stranger], numbers: std::ops::Range<u64>) {
    for stranger in &mut *strangers {
        let own = u8::try_from(stranger.node).unwrap();
        numbers.clone().for_each(|number| stranger.offer(mesh, &item(own, number, 100)));
    }
    mesh.run_for(ms(120));
    strangers.iter_mut().for_each(|stranger| stranger.serve(mesh));
}

/// While the third stranger's items are checked, the first two deliver 120 each: of the first 80 of these that are decided,
/// how many are the first's. 40 where both had cost the same before; the more one had cost, the fewer.
fn part_of_first(mesh: &mut Mesh, strangers: &mut [Stranger]) -> usize {
    deliver(mesh, &mut strangers[2..], 0..8);
    let before = mesh.pool(0).priorities().len() + 8;
    deliver(mesh, &mut strangers[..2], ORDINARY..ORDINARY + 120);
    mesh.run_for(ms(1_000));
    let decided = mesh.pool(0).priorities().split_off(before);
    assert_eq!(decided.len(), 240);
    decided.iter().take(80).filter(|priority| **priority == 1).count()
}

/// The same, after the first stranger's items were checked all at once, and then one of the second's.
fn part_after(times: Vec<u64>, other: u64) -> usize {
    let items = times.len() as u64;
    let (mut mesh, mut strangers) = scene([times, vec![other]]);
    deliver(&mut mesh, &mut strangers[..1], 0..items);
    mesh.run_for(Duration::from_secs(1));
    deliver(&mut mesh, &mut strangers[1..2], 0..1);
    mesh.run_for(Duration::from_secs(1));
    assert_eq!(mesh.pool(0).priorities().len() as u64, items + 1);
    part_of_first(&mut mesh, &mut strangers)
}

#[test]
fn a_burst_that_ends_together_costs_its_time_and_no_more() {
    let part = part_after(vec![100; 8], 100);
    assert!((35..=45).contains(&part), "{part} of 80");
}

#[test]
fn those_that_are_checked_at_the_same_time_share_it() {
    let part = part_after(vec![30, 60, 90, 120, 150, 180, 210, 240], 240);
    assert!((35..=45).contains(&part), "{part} of 80");
}

#[test]
fn who_takes_longer_pays_more() {
    let part = part_after(vec![200], 100);
    assert!(part <= 5, "{part} of 80");
}

#[test]
fn what_waits_to_be_taken_costs_nothing() {
    let (mut mesh, mut strangers) = scene([vec![NEVER], vec![100]]);
    deliver(&mut mesh, &mut strangers[..1], 0..1);
    mesh.run_for(ms(800));
    let (ticket, _) = mesh.pool(0).checking_now()[0];
    let at = mesh.now;
    mesh.run_for(ms(50)); // until the pool hears of it
    mesh.command(0, Command::Taken { ticket, at });
    mesh.run_for(ms(50));
    mesh.command(0, Command::Taken { ticket, at: mesh.now }); // only the first counts
    mesh.command(0, Command::Verdict { ticket, at: mesh.now, verdict: Verdict::Accept });
    deliver(&mut mesh, &mut strangers[1..2], 0..1);
    mesh.run_for(ms(200));
    let part = part_of_first(&mut mesh, &mut strangers);
    assert!((35..=45).contains(&part), "{part} of 80");
}

#[test]
fn an_item_costs_the_time_until_it_is_decided_and_not_until_the_pool_hears_of_it() {
    let (mut mesh, mut strangers) = scene([vec![NEVER], vec![100]]);
    deliver(&mut mesh, &mut strangers[..1], 0..1);
    mesh.run_for(ms(200));
    let (ticket, _) = mesh.pool(0).checking_now()[0];
    let taken = mesh.now;
    mesh.run_for(ms(100));
    let decided = mesh.now;
    mesh.run_for(ms(500));
    mesh.command(0, Command::Taken { ticket, at: taken });
    mesh.command(0, Command::Verdict { ticket, at: decided, verdict: Verdict::Accept });
    deliver(&mut mesh, &mut strangers[1..2], 0..1);
    mesh.run_for(ms(200));
    let part = part_of_first(&mut mesh, &mut strangers);
    assert!((35..=45).contains(&part), "{part} of 80");
}
