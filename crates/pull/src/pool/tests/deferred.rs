//! Deferred items: who fills their place loses, and what comes again belongs to who delivered it.

use std::time::Duration;

use super::super::*;
use super::fetching::{config, with_strangers};
use super::mesh::{id, item, ms, pool};

#[test]
fn who_fills_the_place_of_deferred_items_loses_its_own() {
    let (mut mesh, mut strangers) = with_strangers(&Config { deferred_items: 4, ..config() }, 2);
    mesh.app = Box::new(|_, _| (Duration::ZERO, Some(Verdict::Defer(ms(600_000)))));
    let [honest, hostile] = &mut strangers[..] else { panic!() };
    let items = [item(5, 1, 100), item(5, 2, 100)];
    items.iter().for_each(|item| honest.offer(&mut mesh, item));
    (10..20).for_each(|number| hostile.offer(&mut mesh, &item(5, number, 100)));
    mesh.run_for(ms(120));
    hostile.serve(&mut mesh);
    mesh.run_for(ms(120));
    honest.serve(&mut mesh); // its items are to come again last of all
    mesh.run_for(ms(120));
    let slots = [honest.link, hostile.link].map(|link| mesh.pool(0).common.links.slot(link).unwrap());
    assert_eq!(
        slots.map(|slot| mesh.pool(0).common.inventory.deferred.lost_at(slot)),
        [false, true],
        "who is asked again"
    );
    let before = mesh.nodes[0].candidates.len();
    mesh.command(0, Command::Reconsider);
    let again = &mesh.nodes[0].candidates[before..];
    assert!(again.len() == 4 && items.iter().all(|item| again.contains(&id(item))));
}

#[test]
fn what_was_lost_of_one_who_left_is_offered_again_when_it_returns() {
    let mut mesh = super::mesh::Mesh::full(1, 2, &Config { deferred_items: 2, ..config() });
    mesh.app = Box::new(|_, _| (Duration::ZERO, Some(Verdict::Defer(ms(600_000)))));
    (0..5).for_each(|number| mesh.insert(1, &item(5, number, 100)));
    mesh.run_for(ms(1_000));
    let link = mesh.link_between(0, 1).unwrap();
    mesh.unlink(link);
    mesh.app = Box::new(|_, _| (Duration::ZERO, Some(Verdict::Accept)));
    mesh.link(0, 1, 50);
    mesh.run_for(ms(1_000));
    mesh.command(0, Command::Reconsider);
    assert_eq!(mesh.ids(0).len(), 5);
}

#[test]
fn what_comes_again_waits_in_the_queue_of_who_delivered_it() {
    let (mut mesh, mut strangers) = with_strangers(&Config { checking: 1, ..config() }, 2);
    let mut times = 0;
    mesh.app = Box::new(move |_, bytes| {
        times += 1;
        let defer = bytes[0] == 2 && times <= 100;
        (
            if defer { ms(0) } else { ms(10) },
            Some(if defer { Verdict::Defer(ms(3_000)) } else { Verdict::Accept }),
        )
    });
    let [hostile, honest] = &mut strangers[..] else { panic!() };
    (0..100).for_each(|number| hostile.offer(&mut mesh, &item(2, number, 100)));
    mesh.run_for(ms(120));
    hostile.serve(&mut mesh);
    mesh.run_for(ms(120));
    mesh.unlink(hostile.link);
    let good = item(5, 1, 100);
    honest.offer(&mut mesh, &good);
    mesh.run_for(ms(120));
    mesh.command(0, Command::Reconsider);
    let before = mesh.nodes[0].candidates.len();
    honest.serve(&mut mesh);
    mesh.run_for(ms(2_000));
    let at = mesh.nodes[0].candidates.iter().position(|other| *other == id(&good)).unwrap();
    assert!(at - before <= 10, "{} went before it", at - before);
}

#[test]
fn a_newcomer_is_offered_what_another_in_its_place_had_announced() {
    let (mut mesh, mut strangers) = with_strangers(&config(), 2);
    let mut times = 0;
    mesh.app = Box::new(move |node, _| {
        times += 1;
        let first = node == 0 && times == 1;
        let verdict = if first { Verdict::Defer(Duration::from_secs(1)) } else { Verdict::Accept };
        (Duration::ZERO, (node > 0 || first).then_some(verdict))
    });
    let [first, second] = &mut strangers[..] else { panic!() };
    let bytes = item(5, 1, 200);
    first.offer(&mut mesh, &bytes);
    mesh.run_for(ms(20));
    second.offer(&mut mesh, &bytes);
    mesh.run_for(ms(100));
    first.serve(&mut mesh);
    mesh.run_for(ms(100)); // deferred
    assert_eq!(mesh.pool(0).checking_now().len(), 0);
    mesh.command(0, Command::Reconsider);
    let [(ticket, _)] = mesh.pool(0).checking_now()[..] else { panic!() };
    let slot = mesh.pool(0).common.links.slot(second.link);
    mesh.unlink(second.link); // while the application checks it
    mesh.nodes[second.node].pool = Some(pool(second.node, config(), 1)); // it has lost what it had
    let link = mesh.link(second.node, 0, 50);
    assert_eq!(mesh.pool(0).common.links.slot(link), slot, "it takes its place");
    mesh.run_for(ms(500));
    mesh.command(0, Command::Verdict { ticket, at: mesh.now, verdict: Verdict::Accept });
    mesh.run_for(ms(2_000));
    assert_eq!(mesh.ids(0), [id(&bytes)]);
    assert_eq!(mesh.ids(second.node), [id(&bytes)]);
}
