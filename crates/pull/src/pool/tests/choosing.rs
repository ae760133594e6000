//! Whom a candidate is asked of: `docs/spec/pool.md`, "Where the client fetches", one test for each rule.

use super::super::*;
use super::fetching::{config, prove, with_strangers};
use super::mesh::{Mesh, id, item, ms};
use super::stranger::Stranger;

/// Makes a record where others have one, four gets at a time.
fn prove_too(mesh: &mut Mesh, stranger: &mut Stranger) {
    prove(mesh, stranger, 20);
    for _ in 0..4 {
        stranger.serve(mesh);
        mesh.run_for(ms(150));
    }
}

/// Answers late, once.
fn dawdle(mesh: &mut Mesh, stranger: &mut Stranger) {
    stranger.offer(mesh, &item(1, 9_000_000 + stranger.node as u64, 100));
    mesh.run_for(ms(500));
    stranger.serve(mesh);
    mesh.run_for(ms(120));
}

fn asked(mesh: &Mesh, strangers: &mut [Stranger]) -> Vec<usize> {
    strangers.iter_mut().map(|stranger| stranger.asked(mesh).len()).collect()
}

#[test]
fn the_announcer_with_the_best_expected_delivery_is_asked_not_the_earliest() {
    let (mut mesh, mut strangers) = with_strangers(&config(), 3);
    let [slow, good, without] = &mut strangers[..] else { panic!() };
    prove(&mut mesh, slow, 20);
    prove_too(&mut mesh, good);
    dawdle(&mut mesh, slow);
    // the third is asked at once, and has not got it: now both of the others are known
    let wanted = item(5, 2, 100);
    for stranger in [&mut *without, &mut *slow, &mut *good] {
        stranger.offer(&mut mesh, &wanted);
        mesh.run_for(ms(20));
    }
    mesh.run_for(ms(60));
    without.gone(&mut mesh);
    mesh.run_for(ms(120));
    assert_eq!(asked(&mesh, &mut strangers), [0, 1, 0]);
}

#[test]
fn beside_a_late_source_the_best_record_is_asked_even_if_it_has_more_to_answer() {
    let (mut mesh, mut strangers) = with_strangers(&config(), 3);
    let [worse, busy, first] = &mut strangers[..] else { panic!() };
    prove(&mut mesh, worse, 20);
    prove_too(&mut mesh, busy);
    dawdle(&mut mesh, worse);
    for stranger in [&mut *first, &mut *worse, &mut *busy] {
        stranger.offer(&mut mesh, &item(5, 2, 100));
        mesh.run_for(ms(10));
    }
    mesh.run_for(ms(150));
    busy.offer(&mut mesh, &item(5, 1, 60_000));
    mesh.run_for(ms(220));
    assert_eq!(asked(&mesh, &mut strangers), [0, 2, 1]);
}

#[test]
fn a_newcomer_that_owes_an_answer_is_not_asked_first() {
    let (mut mesh, mut strangers) = with_strangers(&config(), 2);
    let [proven, late] = &mut strangers[..] else { panic!() };
    prove(&mut mesh, proven, 20);
    late.offer(&mut mesh, &item(5, 1, 100));
    mesh.run_for(ms(500));
    late.offer(&mut mesh, &item(5, 2, 100));
    mesh.run_for(ms(200));
    assert_eq!(late.asked(&mesh).len(), 1);
    late.serve(&mut mesh);
    mesh.run_for(ms(120));
    assert_eq!(late.asked(&mesh).len(), 1, "it has answered");
}

#[test]
fn who_was_asked_less_often_comes_before_who_has_the_better_record() {
    let (mut mesh, mut strangers) = with_strangers(&config(), 4);
    let [best, second, third, last] = &mut strangers[..] else { panic!() };
    prove(&mut mesh, best, 40);
    for stranger in [&mut *best, &mut *second, &mut *third, &mut *last] {
        stranger.offer(&mut mesh, &item(5, 1, 100));
    }
    mesh.run_for(ms(700));
    best.gone(&mut mesh); // it was taken back
    mesh.run_for(ms(270));
    assert_eq!(best.cancelled(&mesh).len(), 1);
    assert_eq!(asked(&mesh, &mut strangers), [0, 1, 1, 1]);
}

#[test]
fn who_is_asked_again_has_twice_the_time() {
    let (mut mesh, mut strangers) = with_strangers(&config(), 3);
    strangers.iter_mut().for_each(|stranger| stranger.offer(&mut mesh, &item(5, 1, 100)));
    // asked at 50 ms, 300, 550, and again from 800 on
    let mut taken_back = Vec::new();
    let begun = mesh.now;
    let until = |mesh: &mut Mesh, at: u64| {
        let pause = (begun + ms(at)).since(mesh.now);
        mesh.run_for(pause);
    };
    until(&mut mesh, 900);
    taken_back.extend(strangers.iter_mut().map(|stranger| stranger.cancelled(&mesh).len()));
    assert_eq!(taken_back.iter().sum::<usize>(), 1, "{taken_back:?}");
    let first = taken_back.iter().position(|count| *count == 1).unwrap();
    strangers[first].gone(&mut mesh);
    until(&mut mesh, 1_050);
    assert_eq!(strangers[first].asked(&mesh).len(), 1, "it is asked again");
    let second = (0..3).find(|at| *at != first && !strangers[*at].cancelled(&mesh).is_empty()).unwrap();
    strangers[second].gone(&mut mesh);
    until(&mut mesh, 1_300);
    assert_eq!(strangers[second].asked(&mesh).len(), 0, "the first has twice the time");
    until(&mut mesh, 1_600);
    assert_eq!(strangers[second].asked(&mesh).len(), 1);
}

#[test]
fn of_many_announcers_those_with_the_best_record_are_kept() {
    let (mut mesh, mut strangers) = with_strangers(&config(), 10);
    let (proven, others) = strangers.split_last_mut().unwrap();
    prove(&mut mesh, proven, 20);
    let bytes = item(5, 1, 100);
    others.iter_mut().for_each(|stranger| stranger.offer(&mut mesh, &bytes));
    mesh.run_for(ms(60));
    proven.offer(&mut mesh, &bytes);
    mesh.run_for(ms(350));
    assert_eq!(proven.asked(&mesh).len(), 1);
    proven.serve(&mut mesh);
    mesh.run_for(ms(60));
    assert!(mesh.ids(0).contains(&id(&bytes)));
}

#[test]
fn gets_of_one_peer_are_limited_in_number() {
    let most = u32::try_from(codec::MAX_GETS).unwrap();
    let config = Config { entries: most + 100, max_entries: most + 100, ..config() };
    let (mut mesh, mut strangers) = with_strangers(&config, 1);
    for number in 0..u64::from(most) + 50 {
        strangers[0].offer(&mut mesh, &item(5, number, 9));
    }
    mesh.run_for(ms(120));
    assert_eq!(asked(&mesh, &mut strangers), [codec::MAX_GETS]);
    assert!(mesh.faults.is_empty(), "{:?}", mesh.faults);
}
