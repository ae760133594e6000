//! One test for each rule of `docs/spec/pool.md`, "Where the client fetches": it fails where the rule is removed.

use bytes::BytesMut;
use std::time::Duration;

use weir_base::stream::{Group, Side};

use super::super::*;
use super::mesh::{Mesh, RULES, id, item, ms, pool};
use super::stranger::Stranger;

pub(super) fn config() -> Config {
    Config { offer_delay: Duration::ZERO, ..Config::new(RULES) }
}

/// A node, and this many strangers that have dialled it.
pub(super) fn with_strangers(config: &Config, count: usize) -> (Mesh, Vec<Stranger>) {
    let mut mesh = Mesh::new(1);
    mesh.add(Some(pool(0, config.clone(), 1)));
    let strangers = (1..=count)
        .map(|node| {
            assert_eq!(mesh.add(None), node);
            mesh.set_group(node, Side::Inbound, Group::Local(u32::try_from(node).unwrap()));
            Stranger::dial(&mut mesh, node, 0)
        })
        .collect();
    mesh.run_for(ms(200));
    (mesh, strangers)
}

/// Makes a stranger's record: it offers and delivers this many items.
pub(super) fn prove(mesh: &mut Mesh, stranger: &mut Stranger, items: u64) {
    for number in 0..items {
        stranger.offer(mesh, &item(1, 1_000_000 + number + stranger.node as u64 * 1_000, 100));
    }
    mesh.run_for(ms(150));
    stranger.serve(mesh);
    mesh.run_for(ms(150));
}

#[test]
fn one_source_is_asked_at_a_time() {
    let (mut mesh, mut strangers) = with_strangers(&config(), 3);
    let bytes = item(5, 1, 200);
    for stranger in &mut strangers {
        stranger.offer(&mut mesh, &bytes);
    }
    mesh.run_for(ms(240));
    let asked: usize = strangers.iter_mut().map(|stranger| stranger.asked(&mesh).len()).sum();
    assert_eq!(asked, 1);
}

#[test]
fn without_progress_another_is_asked_the_one_with_the_best_record() {
    let (mut mesh, mut strangers) = with_strangers(&config(), 3);
    let [first, plain, proven] = &mut strangers[..] else { panic!() };
    prove(&mut mesh, proven, 12);
    let bytes = item(5, 1, 200);
    for stranger in [&mut *first, &mut *plain, &mut *proven] {
        stranger.offer(&mut mesh, &bytes);
        mesh.run_for(ms(20));
    }
    mesh.run_for(ms(200));
    assert_eq!((first.asked(&mesh).len(), plain.asked(&mesh).len(), proven.asked(&mesh).len()), (1, 0, 0));
    mesh.run_for(ms(250));
    assert_eq!((plain.asked(&mesh).len(), proven.asked(&mesh).len()), (0, 1));
    proven.serve(&mut mesh);
    mesh.run_for(ms(150));
    assert_eq!(mesh.ids(0).len(), 13);
    assert_eq!(first.cancelled(&mesh).len(), 1, "the loser is told");
    assert!(mesh.faults.is_empty());
}

#[test]
fn two_are_asked_at_most_and_the_earliest_is_taken_back() {
    let (mut mesh, mut strangers) = with_strangers(&config(), 4);
    let bytes = item(5, 1, 200);
    for stranger in &mut strangers {
        stranger.offer(&mut mesh, &bytes);
        mesh.run_for(ms(5));
    }
    mesh.run_for(ms(420));
    let open = |mesh: &Mesh, strangers: &mut [Stranger]| -> usize {
        strangers.iter_mut().map(|s| s.asked(mesh).len() - s.cancelled(mesh).len()).sum()
    };
    assert_eq!(open(&mesh, &mut strangers), 2);
    mesh.run_for(ms(300));
    assert_eq!(open(&mesh, &mut strangers), 2);
    let asked: usize = strangers.iter_mut().map(|s| s.asked(&mesh).len()).sum();
    assert_eq!(asked, 3);
}

#[test]
fn newcomers_hold_a_capped_share_where_links_have_a_record() {
    let (mut mesh, mut strangers) = with_strangers(&config(), 6);
    let (proven, newcomers) = strangers.split_first_mut().unwrap();
    prove(&mut mesh, proven, 20);
    for (number, stranger) in newcomers.iter_mut().enumerate() {
        for more in 0..20 {
            stranger.offer(&mut mesh, &item(5, 100 * number as u64 + more, 100));
        }
    }
    mesh.run_for(ms(200));
    let asked: Vec<usize> = newcomers.iter_mut().map(|s| s.asked(&mesh).len()).collect();
    assert!(asked.iter().sum::<usize>() <= 8 && asked.iter().all(|asked| *asked <= 4), "{asked:?}");
    for number in 0..20 {
        proven.offer(&mut mesh, &item(6, 5_000 + number, 100));
    }
    mesh.run_for(ms(120));
    assert_eq!(proven.asked(&mesh).len(), 20, "who has a record is not held up");
}

#[test]
fn bytes_asked_of_one_peer_are_limited_and_gets_go_in_log_order() {
    let config = Config { link_in_flight: 1_000, ..config() };
    let (mut mesh, mut strangers) = with_strangers(&config, 1);
    let stranger = &mut strangers[0];
    let items: Vec<_> = (0..10).map(|number| item(5, number, 400)).collect();
    for bytes in &items {
        stranger.offer(&mut mesh, bytes);
    }
    mesh.run_for(ms(200));
    assert_eq!(stranger.asked(&mesh), [0, 1]);
    stranger.serve(&mut mesh);
    mesh.run_for(ms(120));
    assert_eq!(stranger.asked(&mesh), [2, 3]);
}

#[test]
fn where_the_charged_peer_cannot_deliver_another_is_charged_even_past_its_window() {
    let config = Config { entries: 4, max_entries: 4, ..config() };
    let (mut mesh, mut strangers) = with_strangers(&config, 2);
    mesh.app = Box::new(|_, _| (Duration::ZERO, None));
    let [first, second] = &mut strangers[..] else { panic!() };
    let shared = item(5, 1, 200);
    first.offer(&mut mesh, &shared);
    mesh.run_for(ms(60));
    second.offer(&mut mesh, &shared);
    (10..14).for_each(|number| second.offer(&mut mesh, &item(5, number, 200)));
    mesh.run_for(ms(150));
    second.serve(&mut mesh);
    mesh.run_for(ms(60));
    let charged = |mesh: &mut Mesh, slot: u16| {
        mesh.pool(0).common.links.get(links::Slot(slot)).unwrap().intake.grant.outstanding()
    };
    let before = charged(&mut mesh, 1);
    first.gone(&mut mesh);
    mesh.run_for(ms(120));
    assert_eq!(second.asked(&mesh).len(), 1);
    assert_eq!(charged(&mut mesh, 1), before + 1);
    assert!(charged(&mut mesh, 0) <= 4);
    second.serve(&mut mesh);
    mesh.run_for(ms(60));
    assert!(mesh.pool(0).client.asking.candidates.delivered().iter().any(|(_, other)| *other == id(&shared)));
    assert!(mesh.faults.is_empty(), "{:?}", mesh.faults);
}

#[test]
fn a_withheld_item_is_unreliable_after_its_time_if_the_peer_was_heard() {
    let (mut mesh, mut strangers) = with_strangers(&config(), 2);
    let [quiet, talking] = &mut strangers[..] else { panic!() };
    quiet.offer(&mut mesh, &item(5, 1, 200));
    talking.offer(&mut mesh, &item(5, 2, 200));
    mesh.run_for(ms(5_000));
    let links = [quiet.link, talking.link];
    links.into_iter().for_each(|link| mesh.rtt(0, link, ms(50))); // both hear what is asked
    talking.offer(&mut mesh, &item(5, 3, 200));
    mesh.run_for(ms(6_000));
    let blamed: Vec<_> = mesh.faults.iter().map(|(_, link, fault)| (*link, *fault)).collect();
    assert_eq!(blamed, [(talking.link, WITHHELD)]);
}

#[test]
fn an_item_that_a_silent_path_held_back_is_no_fault_and_one_withheld_after_it_is() {
    let (mut mesh, mut strangers) = with_strangers(&config(), 2);
    let [cut, withholding] = &mut strangers[..] else { panic!() };
    let links = [cut.link, withholding.link];
    cut.offer(&mut mesh, &item(5, 1, 200));
    withholding.offer(&mut mesh, &item(5, 2, 200));
    mesh.run_for(ms(9_500)); // nothing comes of either
    for number in 0..5 {
        cut.offer(&mut mesh, &item(5, 10 + number, 200));
        withholding.offer(&mut mesh, &item(5, 20 + number, 200));
        mesh.rtt(0, links[0], ms(50));
        mesh.rtt(0, links[1], ms(50));
        mesh.run_for(ms(1_000));
        if number == 0 {
            assert!(
                mesh.faults.is_empty(),
                "what was held back comes one after the other: {:?}",
                mesh.faults
            );
        }
        cut.serve(&mut mesh);
    }
    mesh.run_for(ms(4_000));
    withholding.offer(&mut mesh, &item(5, 30, 200));
    mesh.run_for(ms(3_000));
    assert_eq!(mesh.ids(0).len(), 6);
    let blamed: Vec<_> = mesh.faults.iter().map(|(_, link, fault)| (*link, *fault)).collect();
    assert!(blamed.contains(&(withholding.link, WITHHELD)), "{blamed:?}");
    assert!(blamed.iter().all(|(link, _)| *link == withholding.link), "{blamed:?}");
}

#[test]
fn who_does_not_hear_what_is_asked_of_it_withholds_nothing() {
    let (mut mesh, mut strangers) = with_strangers(&config(), 2);
    let [deaf, hearing] = &mut strangers[..] else { panic!() };
    let links = [deaf.link, hearing.link];
    for second in 0..22 {
        deaf.offer(&mut mesh, &item(5, second, 200));
        hearing.offer(&mut mesh, &item(5, 100 + second, 200));
        mesh.run_for(ms(1_000));
        if second == 14 {
            mesh.rtt(0, links[1], ms(50));
        }
    }
    let blamed: Vec<_> = mesh.faults.iter().map(|(_, link, fault)| (*link, *fault)).collect();
    assert!(blamed.contains(&(links[1], WITHHELD)), "it answers pings and no get: {blamed:?}");
    assert!(blamed.iter().all(|(link, _)| *link == links[1]), "{blamed:?}");
}

#[test]
fn what_is_offered_under_an_index_that_owes_an_answer_is_asked_for_after_it() {
    let (mut mesh, mut strangers) = with_strangers(&config(), 1);
    let stranger = &mut strangers[0];
    let (old, new) = (item(5, 1, 100), item(5, 2, 100));
    stranger.offer(&mut mesh, &old);
    mesh.run_for(ms(120));
    mesh.insert(0, &old); // nobody waits for it any more
    mesh.command(0, Command::Resync);
    mesh.run_for(ms(60));
    let key = mesh.nodes[0].key;
    let head = codec::OfferHead { first: Some((1, codec::Epoch([8; 8]))), key: key.number, from: 0, to: 1 };
    let summary = Summary::new(&new[..1]).unwrap();
    let entry = codec::Entry { index: 0, short: key.key.short(&id(&new)), size: 100, summary };
    let mut first = BytesMut::new();
    codec::encode_offer_head(&head, &mut first);
    codec::encode_entry(&entry, 0, &mut first);
    stranger.send(&mut mesh, 0, codec::FIRST, &first);
    mesh.run_for(ms(120));
    assert_eq!((stranger.asked(&mesh).len(), mesh.faults.len()), (1, 0), "its answer is still to come");
    stranger.gone(&mut mesh);
    mesh.run_for(ms(120));
    assert_eq!(stranger.asked(&mesh), [0]);
}

#[test]
fn an_item_for_which_all_have_too_much_in_flight_keeps_its_place_in_the_queue() {
    let (mut mesh, mut strangers) = with_strangers(&Config { in_flight: 1_000, ..config() }, 2);
    let [first, second] = &mut strangers[..] else { panic!() };
    first.offer(&mut mesh, &item(5, 1, 600));
    mesh.run_for(ms(10));
    first.offer(&mut mesh, &item(5, 2, 600));
    second.offer(&mut mesh, &item(5, 3, 300));
    mesh.run_for(ms(110));
    assert_eq!((first.asked(&mesh).len(), second.asked(&mesh).len()), (1, 1), "600 and 300 of 1,000 bytes");
    first.serve(&mut mesh);
    second.serve(&mut mesh);
    mesh.run_for(ms(120));
    assert_eq!(first.asked(&mesh), [1]);
}

#[test]
fn newcomers_that_wait_for_a_share_have_their_turn_when_one_of_them_has_answered() {
    let (mut mesh, mut strangers) = with_strangers(&config(), 4);
    let (proven, newcomers) = strangers.split_first_mut().unwrap();
    prove(&mut mesh, proven, 20);
    for (newcomer, first) in newcomers.iter_mut().zip([0, 100, 200]) {
        (first..first + 20).for_each(|number| newcomer.offer(&mut mesh, &item(5, number, 100)));
        mesh.run_for(ms(1));
    }
    mesh.run_for(ms(110));
    let asked: Vec<usize> = newcomers.iter_mut().map(|newcomer| newcomer.asked(&mesh).len()).collect();
    assert_eq!(asked, [4, 4, 0]);
    newcomers[0].serve(&mut mesh);
    mesh.run_for(ms(110));
    assert!(!newcomers[2].asked(&mesh).is_empty());
}

#[test]
fn a_newcomer_in_line_for_whom_nothing_waits_any_more_holds_nobody_up() {
    let (mut mesh, mut strangers) = with_strangers(&config(), 5);
    let [proven, first, second, idle, last] = &mut strangers[..] else { panic!() };
    prove(&mut mesh, proven, 20);
    for (newcomer, from) in [(&mut *first, 0), (&mut *second, 100)] {
        (from..from + 4).for_each(|number| newcomer.offer(&mut mesh, &item(5, number, 100)));
    }
    mesh.run_for(ms(110));
    let asked = first.asked(&mesh);
    assert_eq!((asked.len(), second.asked(&mesh).len()), (4, 4), "all that newcomers may have");
    let pool = mesh.pool(0);
    let slot = pool.common.links.slot(idle.link).unwrap();
    pool.client.asking.fetch.wait_in_line(&mut pool.common.links, slot);
    last.offer(&mut mesh, &item(5, 200, 100));
    mesh.run_for(ms(110));
    assert_eq!(last.asked(&mesh).len(), 0, "it waits in line");
    first.deliver(&mut mesh, asked[0]);
    mesh.run_for(ms(110));
    assert_eq!(last.asked(&mesh).len(), 1);
}

#[test]
fn an_item_that_is_offered_again_while_it_is_asked_for_is_not_asked_for_twice() {
    let (mut mesh, mut strangers) = with_strangers(&config(), 1);
    let bytes = item(5, 1, 200);
    strangers[0].offer(&mut mesh, &bytes);
    mesh.run_for(ms(120));
    strangers[0].offer(&mut mesh, &bytes);
    mesh.run_for(ms(1_000));
    assert_eq!(strangers[0].asked(&mesh), [0]);
}
