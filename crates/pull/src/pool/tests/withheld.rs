//! Peers that announce and do not deliver: what that costs them, and that it costs nobody else.

use std::time::Duration;

use weir_base::stream::{Group, Side};

use super::super::*;
use super::fetching::{config, prove, with_strangers};
use super::mesh::{id, item, ms};
use super::stranger::Stranger;

/// Offers this many items that nobody else has, of 100 bytes.
fn flood(mesh: &mut super::mesh::Mesh, stranger: &mut Stranger, items: u64) {
    for number in 0..items {
        stranger.offer(mesh, &item(2, 5_000_000 + number + stranger.node as u64 * 1_000, 100));
    }
}

#[test]
fn silent_newcomers_do_not_keep_others_from_a_record() {
    let (mut mesh, mut strangers) = with_strangers(&config(), 4);
    let [proven, silent, mute, honest] = &mut strangers[..] else { panic!() };
    prove(&mut mesh, proven, 20);
    flood(&mut mesh, silent, 10);
    flood(&mut mesh, mute, 10);
    mesh.run_for(ms(100));
    honest.offer(&mut mesh, &item(5, 1, 100));
    mesh.run_for(ms(120));
    assert_eq!(honest.asked(&mesh).len(), 0, "the share is used up");
    mesh.run_for(ms(250));
    assert_eq!(honest.asked(&mesh).len(), 1, "those over their time use it no more");
    mesh.run_for(ms(1_000));
    assert_eq!(
        (silent.asked(&mesh).len(), mute.asked(&mesh).len()),
        (4, 4),
        "a peer with unanswered gets is not asked"
    );
}

#[test]
fn a_third_is_asked_where_two_are_over_their_time_when_it_announces() {
    let (mut mesh, mut strangers) = with_strangers(&config(), 3);
    let [first, second, third] = &mut strangers[..] else { panic!() };
    let bytes = item(5, 1, 200);
    first.offer(&mut mesh, &bytes);
    second.offer(&mut mesh, &bytes);
    mesh.run_for(ms(900));
    assert_eq!((first.asked(&mesh).len(), second.asked(&mesh).len()), (1, 1));
    third.offer(&mut mesh, &bytes);
    mesh.run_for(ms(120));
    assert_eq!((third.asked(&mesh).len(), first.cancelled(&mesh).len()), (1, 1));
}

#[test]
fn where_nobody_could_be_asked_besides_another_is_as_soon_as_it_may() {
    let config = Config { link_in_flight: 1_000, ..config() };
    let (mut mesh, mut strangers) = with_strangers(&config, 2);
    let [silent, busy] = &mut strangers[..] else { panic!() };
    busy.offer(&mut mesh, &item(5, 1, 500));
    busy.offer(&mut mesh, &item(5, 2, 500));
    let shared = item(5, 3, 400);
    silent.offer(&mut mesh, &shared);
    mesh.run_for(ms(60));
    busy.offer(&mut mesh, &shared);
    mesh.run_for(ms(600));
    assert_eq!((silent.asked(&mesh).len(), busy.asked(&mesh).len()), (1, 2));
    busy.serve(&mut mesh);
    mesh.run_for(ms(120));
    assert_eq!(busy.asked(&mesh), [2]);
}

#[test]
fn a_candidate_does_not_wait_behind_one_that_only_a_silent_peer_has() {
    let config = Config { link_in_flight: 1_000, ..config() };
    let (mut mesh, mut strangers) = with_strangers(&config, 2);
    let [proven, silent] = &mut strangers[..] else { panic!() };
    prove(&mut mesh, proven, 20);
    proven.serve(&mut mesh);
    mesh.run_for(ms(120));
    proven.offer(&mut mesh, &item(5, 1, 1_000));
    flood(&mut mesh, silent, 6);
    let shared = item(5, 2, 100);
    silent.offer(&mut mesh, &shared);
    mesh.run_for(ms(60));
    proven.offer(&mut mesh, &shared);
    mesh.run_for(ms(120));
    assert_eq!((silent.asked(&mesh).len(), proven.asked(&mesh).len()), (4, 1));
    proven.serve(&mut mesh);
    mesh.run_for(ms(120));
    assert_eq!(proven.asked(&mesh).len(), 1);
}

#[test]
fn what_was_taken_back_is_taken_when_it_comes() {
    let (mut mesh, mut strangers) = with_strangers(&config(), 3);
    let bytes = item(5, 1, 200);
    strangers.iter_mut().for_each(|stranger| stranger.offer(&mut mesh, &bytes));
    mesh.run_for(ms(800));
    let late = strangers.iter_mut().position(|stranger| !stranger.cancelled(&mesh).is_empty()).unwrap();
    strangers[late].serve(&mut mesh);
    mesh.run_for(ms(120));
    assert_eq!(mesh.ids(0), [id(&bytes)]);
    let cancelled: usize = strangers.iter_mut().map(|stranger| stranger.cancelled(&mesh).len()).sum();
    assert_eq!((cancelled, mesh.stats(0).duplicates), (3, 0), "the others are told");
}

#[test]
fn who_was_late_is_asked_again_where_nobody_else_is_left() {
    let (mut mesh, mut strangers) = with_strangers(&config(), 3);
    let bytes = item(5, 1, 200);
    strangers.iter_mut().for_each(|stranger| stranger.offer(&mut mesh, &bytes));
    mesh.run_for(ms(800));
    let late = strangers.iter_mut().position(|stranger| !stranger.cancelled(&mesh).is_empty()).unwrap();
    strangers[late].gone(&mut mesh); // as a get that was taken back is answered
    mesh.run_for(ms(1_500));
    assert_eq!(strangers[late].asked(&mesh).len(), 1);
    strangers[late].serve(&mut mesh);
    mesh.run_for(ms(120));
    assert_eq!(mesh.ids(0), [id(&bytes)]);
}

#[test]
fn a_third_is_asked_at_once_where_the_second_has_not_got_it_and_the_first_is_late() {
    let (mut mesh, mut strangers) = with_strangers(&config(), 3);
    let bytes = item(5, 1, 200);
    strangers.iter_mut().for_each(|stranger| stranger.offer(&mut mesh, &bytes));
    mesh.run_for(ms(420));
    assert_eq!([0, 1, 2].map(|at: usize| strangers[at].asked(&mesh).len()), [1, 1, 0]);
    strangers[1].gone(&mut mesh);
    mesh.run_for(ms(110));
    assert!(strangers.iter_mut().all(|stranger| stranger.asked(&mesh).len() + stranger.answers() == 1));
}

#[test]
fn who_never_answers_is_blamed_then_loses_its_stream_and_what_was_reserved_for_it() {
    let (mut mesh, mut strangers) = with_strangers(&config(), 1);
    let silent = &mut strangers[0];
    flood(&mut mesh, silent, 3);
    mesh.run_for(ms(5_000));
    flood(&mut mesh, silent, 0);
    silent.send(&mut mesh, 0, 1, &[]); // heard from, with a message of an unknown odd type
    mesh.rtt(0, silent.link, ms(50)); // and it hears what is asked of it
    mesh.run_for(ms(7_000));
    assert_eq!(mesh.faults.len(), 3);
    assert_eq!(mesh.stats(0).in_flight, 300, "its answers may still come");
    mesh.run_for(ms(10_000));
    assert_eq!((mesh.faults.len(), mesh.stats(0).in_flight), (3, 0));
    silent.offer(&mut mesh, &item(5, 9, 100));
    mesh.run_for(ms(200));
    assert_eq!(silent.asked(&mesh).len(), 3, "it is not asked again");
}

#[test]
fn newcomers_hold_a_quarter_of_the_bytes_in_flight_whether_they_answer_or_not() {
    let config = Config { in_flight: 40_000, ..config() };
    let (mut mesh, mut strangers) = with_strangers(&config, 8);
    let (proven, newcomers) = strangers.split_first_mut().unwrap();
    prove(&mut mesh, proven, 20);
    for (number, stranger) in (0..).zip(newcomers.iter_mut()) {
        stranger.offer(&mut mesh, &item(5, number, 4_000));
    }
    mesh.run_for(ms(2_000));
    let asked: usize = newcomers.iter_mut().map(|stranger| stranger.asked(&mesh).len()).sum();
    assert_eq!(asked, 2);
    newcomers.iter_mut().for_each(|stranger| stranger.serve(&mut mesh));
    mesh.run_for(ms(120));
    let asked: usize = newcomers.iter_mut().map(|stranger| stranger.asked(&mesh).len()).sum();
    assert_eq!(asked, 2, "who answers makes room for the next");
}

#[test]
fn a_link_is_not_asked_for_what_another_in_its_place_had_announced() {
    let (mut mesh, mut strangers) = with_strangers(&config(), 2);
    mesh.command(0, Command::Pause(false));
    let [gone, other] = &mut strangers[..] else { panic!() };
    let bytes = item(5, 1, 200);
    other.offer(&mut mesh, &bytes);
    mesh.run_for(ms(20));
    gone.offer(&mut mesh, &bytes);
    mesh.run_for(ms(60));
    mesh.command(0, Command::Resync);
    mesh.run_for(ms(60));
    // it begins anew, and has nothing now
    let mut first = vec![1];
    first.extend([7; 8]);
    first.extend([1, 0, 0]);
    gone.send(&mut mesh, 0, codec::FIRST, &first);
    mesh.run_for(ms(60));
    assert!(mesh.faults.is_empty(), "{:?}", mesh.faults);
    mesh.unlink(gone.link);
    let node = mesh.add(None);
    mesh.set_group(node, Side::Inbound, Group::Local(9));
    let mut next = Stranger::dial(&mut mesh, node, 0);
    mesh.run_for(Duration::from_secs(1));
    other.gone(&mut mesh);
    mesh.run_for(ms(300));
    assert_eq!(next.asked(&mesh).len(), 0);
}
