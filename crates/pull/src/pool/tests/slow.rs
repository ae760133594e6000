//! Slow and honest: never blamed, and a stream that was closed for lateness is opened again.

use std::collections::VecDeque;

use super::super::links::Role;
use super::super::*;
use super::fetching::{config, prove, with_strangers};
use super::mesh::{Mesh, item, ms};
use super::stranger::Stranger;

/// Delivers one item of those asked for every 100 ms, in order, until `items` are in the pool.
fn serve_slowly(mesh: &mut Mesh, stranger: &mut Stranger, items: usize) {
    let (mut waiting, mut known) = (VecDeque::new(), 0);
    for _ in 0..10 * items {
        let all = stranger.asked(mesh);
        waiting.extend(all[known..].iter().copied());
        known = all.len();
        if let Some(index) = waiting.pop_front() {
            stranger.deliver(mesh, index);
        }
        mesh.run_for(ms(100));
        if mesh.ids(0).len() == items {
            return;
        }
    }
}

#[test]
fn an_honest_server_of_40_kb_per_second_is_not_blamed_and_delivers_everything() {
    let (mut mesh, mut strangers) = with_strangers(&config(), 1);
    for number in 0..250 {
        strangers[0].offer(&mut mesh, &item(5, number, 4_000));
    }
    mesh.run_for(ms(120));
    serve_slowly(&mut mesh, &mut strangers[0], 250);
    assert_eq!((mesh.faults.len(), mesh.ids(0).len()), (0, 250), "{:?}", mesh.stats(0));
}

#[test]
fn the_time_of_an_answer_counts_what_was_asked_before_it() {
    // It has been fast; now it answers 16 gets of 60,000 bytes in 40 s, from the first to the last.
    let (mut mesh, mut strangers) = with_strangers(&config(), 1);
    let stranger = &mut strangers[0];
    for round in 0..6 {
        (0..16).for_each(|number| stranger.offer(&mut mesh, &item(5, round * 100 + number, 50_000)));
        for _ in 0..4 {
            mesh.run_for(ms(120));
            stranger.serve(&mut mesh);
        }
        mesh.run_for(ms(120));
    }
    let before = mesh.ids(0).len();
    (0..16).for_each(|number| stranger.offer(&mut mesh, &item(5, 9_000 + number, 60_000)));
    mesh.run_for(ms(120));
    let asked = stranger.asked(&mesh);
    assert_eq!(asked.len(), 16, "{before} are there");
    for index in asked {
        mesh.run_for(ms(2_500));
        stranger.send(&mut mesh, 0, 1, &[]); // heard from all the time
        stranger.deliver(&mut mesh, index);
    }
    mesh.run_for(ms(120));
    assert_eq!((mesh.faults.len(), mesh.ids(0).len()), (0, before + 16));
}

#[test]
fn a_link_on_which_nothing_moved_for_21_s_is_asked_again_10_s_later() {
    let (mut mesh, mut strangers) = with_strangers(&config(), 1);
    let stranger = &mut strangers[0];
    let first = item(5, 1, 200);
    stranger.offer(&mut mesh, &first);
    mesh.run_for(ms(120));
    assert_eq!(stranger.asked(&mesh).len(), 1);
    mesh.run_for(ms(21_000)); // the path was down; the link lives on
    let gone = mesh.nodes[1].opened.len();
    stranger.offer(&mut mesh, &item(5, 2, 200));
    mesh.run_for(ms(8_000));
    assert_eq!((mesh.nodes[1].opened.len(), mesh.faults.len()), (gone, 0));
    mesh.run_for(ms(2_000));
    stranger.reopened();
    assert_eq!(stranger.asked(&mesh), [0, 1], "what was lost, and what was offered meanwhile");
    stranger.serve(&mut mesh);
    mesh.run_for(ms(200));
    assert_eq!(mesh.ids(0).len(), 2);
}

#[test]
fn the_pause_doubles_up_to_5_minutes_and_an_item_makes_it_short_again() {
    let (mut mesh, mut strangers) = with_strangers(&config(), 1);
    let stranger = &mut strangers[0];
    stranger.offer(&mut mesh, &item(5, 1, 200));
    let mut opened = Vec::new();
    for _ in 0..200 {
        let before = mesh.nodes[1].opened.len();
        mesh.run_for(ms(10_000));
        (before..mesh.nodes[1].opened.len()).for_each(|_| opened.push(mesh.now.as_nanos() / 1_000_000_000));
    }
    let pauses: Vec<u64> = opened.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(
        pauses.len() >= 6 && pauses[0] <= 40 && pauses.windows(2).all(|pair| pair[1] + 10 >= pair[0]),
        "{pauses:?}"
    );
    let longest = *pauses.iter().max().unwrap();
    assert!((310..=330).contains(&longest), "20 s until it is late, and five minutes: {pauses:?}");
    assert!(mesh.faults.is_empty(), "nothing was heard of it");
}

#[test]
fn credit_returns_where_a_link_can_not_be_asked_any_more() {
    let config = Config { entries: 8, max_entries: 8, ..config() };
    let (mut mesh, mut strangers) = with_strangers(&config, 1);
    let stranger = &mut strangers[0];
    (0..4).for_each(|number| stranger.offer(&mut mesh, &item(5, number, 200)));
    mesh.run_for(ms(120));
    stranger.send(&mut mesh, 1, codec::ITEM, &[99, 1, 2, 3]); // nobody asked for it
    mesh.run_for(ms(120));
    assert_eq!(mesh.faults.len(), 1);
    let charged = |mesh: &mut Mesh| {
        let slot = mesh.pool(0).common.links.slot(LinkId(1)).unwrap();
        mesh.pool(0).common.links.get(slot).unwrap().intake.grant.charged()
    };
    assert_eq!((charged(&mut mesh), mesh.pool(0).client.asking.candidates.len()), (0, 0));
    (10..14).for_each(|number| stranger.offer(&mut mesh, &item(5, number, 200)));
    mesh.run_for(ms(120));
    assert_eq!(
        (charged(&mut mesh), mesh.pool(0).client.asking.candidates.len()),
        (0, 0),
        "nor is what it offers then charged"
    );
}

#[test]
fn streams_that_ended_early_are_opened_again_and_nothing_is_lost() {
    let mut mesh = Mesh::full(1, 2, &config());
    let link = mesh.link_between(0, 1).unwrap();
    let mut items = 0;
    for round in 0..4 {
        for number in 0..10 {
            mesh.insert(1, &item(5, round * 10 + number, 3_000));
            items += 1;
        }
        mesh.run_for(ms(60));
        // The server's side of one of both streams ends, as where the peer took it for stalled.
        let role = if round % 2 == 0 { Role::Outlet } else { Role::Serving };
        let (now, pool) = (mesh.now, mesh.pool(1));
        let slot = pool.common.links.slot(link).unwrap();
        pool.common.close_lane(slot, role, crate::framing::code::TIMEOUT);
        pool.pause_lane(now, slot, role);
        mesh.settle();
        mesh.run_for(ms(60_000));
        assert_eq!(mesh.ids(0).len(), items, "round {round}");
    }
    assert!(mesh.faults.is_empty(), "{:?}", mesh.faults);
    assert_eq!(mesh.stats(0).duplicates, 0);
}

#[test]
fn a_message_that_does_not_end_in_time_is_blamed_and_its_stream_is_opened_again() {
    let (mut mesh, mut strangers) = with_strangers(&config(), 1);
    let stranger = &mut strangers[0];
    prove(&mut mesh, stranger, 3);
    let key = mesh.nodes[1].opened.iter().find(|(_, lane)| *lane == 0).unwrap().0;
    mesh.send(1, key, &[200]); // half a length
    mesh.run_for(ms(9_900));
    assert!(mesh.faults.is_empty());
    mesh.run_for(ms(200));
    let faults: Vec<_> = mesh.faults.iter().map(|fault| fault.2).collect();
    assert_eq!(faults, [crate::framing::STALLED]);
    let opened = mesh.nodes[1].opened.len();
    mesh.run_for(ms(10_000));
    assert_eq!(mesh.nodes[1].opened.len(), opened + 1);
}
