//! More announcers of an item than are kept: it is given up only when all of them have failed.

use super::super::client::MAX_ANNOUNCERS;
use super::super::codec::FIRST;
use super::super::{Command, Config};
use super::fetching::{config, with_strangers};
use super::mesh::{Mesh, id, item, ms};
use super::stranger::Stranger;

/// Strangers that all offer the same item, one after another: nine that are kept, then so many that are not.
fn announced(further: usize) -> (Mesh, Vec<Stranger>) {
    let (mut mesh, mut strangers) = with_strangers(&config(), MAX_ANNOUNCERS + further);
    for stranger in &mut strangers {
        stranger.offer(&mut mesh, &item(5, 1, 200));
        mesh.run_for(ms(1));
    }
    mesh.run_for(ms(100));
    (mesh, strangers)
}

/// All of these say, whenever they are asked, that it is gone: for so many times 100 ms.
fn fail(mesh: &mut Mesh, strangers: &mut [Stranger], rounds: usize) {
    for _ in 0..rounds {
        strangers.iter_mut().for_each(|stranger| stranger.gone(mesh));
        mesh.run_for(ms(100));
    }
}

fn reserve(mesh: &mut Mesh) -> usize {
    mesh.pool(0).common.links.iter().map(|(_, link)| link.intake.reserve.len()).sum()
}

#[test]
fn the_tenth_is_asked_where_nine_have_not_got_it() {
    let (mut mesh, mut strangers) = announced(1);
    assert_eq!(reserve(&mut mesh), 1);
    let (tenth, nine) = strangers.split_last_mut().unwrap();
    fail(&mut mesh, nine, 20);
    assert_eq!((tenth.asked(&mesh).len(), nine.iter().map(Stranger::answers).sum::<usize>()), (1, 9));
    tenth.serve(&mut mesh);
    mesh.run_for(ms(60));
    assert_eq!((mesh.ids(0), mesh.faults.len()), (vec![id(&item(5, 1, 200))], 0));
}

#[test]
fn the_tenth_is_asked_soon_where_nine_are_silent() {
    let (mut mesh, mut strangers) = announced(1);
    mesh.run_for(ms(2_500)); // a quarter second for each
    let (tenth, nine) = strangers.split_last_mut().unwrap();
    assert!(nine.iter_mut().all(|stranger| stranger.asked(&mesh).len() == 1));
    assert_eq!(tenth.asked(&mesh).len(), 1);
    tenth.serve(&mut mesh);
    mesh.run_for(ms(60));
    assert_eq!((mesh.ids(0).len(), reserve(&mut mesh)), (1, 0));
}

#[test]
fn the_tenth_is_asked_where_nine_only_answer_what_was_taken_back() {
    let (mut mesh, mut strangers) = announced(1);
    let (tenth, nine) = strangers.split_last_mut().unwrap();
    for _ in 0..30 {
        for stranger in &mut *nine {
            if stranger.cancelled(&mesh).len() > stranger.answers() {
                stranger.gone(&mut mesh);
            }
        }
        mesh.run_for(ms(100));
    }
    assert!(nine.iter().map(Stranger::answers).sum::<usize>() >= 7);
    assert_eq!(tenth.asked(&mesh).len(), 1);
}

#[test]
fn who_announces_when_nine_are_over_their_time_is_asked_at_once_whatever_its_record() {
    let (mut mesh, mut strangers) = with_strangers(&config(), MAX_ANNOUNCERS + 1);
    let (tenth, nine) = strangers.split_last_mut().unwrap();
    for number in 0..3 {
        tenth.offer(&mut mesh, &item(1, number, 100));
        mesh.run_for(ms(600));
        tenth.serve(&mut mesh); // late
        mesh.run_for(ms(120));
    }
    nine.iter_mut().for_each(|stranger| stranger.offer(&mut mesh, &item(5, 1, 200)));
    mesh.run_for(ms(3_000));
    tenth.offer(&mut mesh, &item(5, 1, 200));
    mesh.run_for(ms(120));
    assert_eq!(tenth.asked(&mesh).len(), 1);
}

/// Nine strangers, each of which has as much to answer as it may and has offered one item more, the same; and a tenth.
fn busy(tenth_too: bool) -> (Mesh, Vec<Stranger>) {
    let config = Config { link_in_flight: 1_000, ..config() };
    let (mut mesh, mut strangers) = with_strangers(&config, MAX_ANNOUNCERS + 1);
    let busy = if tenth_too { &mut strangers[..] } else { &mut strangers[..MAX_ANNOUNCERS] };
    for (stranger, number) in busy.iter_mut().zip(0..) {
        stranger.offer(&mut mesh, &item(2, number, 1_000));
    }
    for stranger in &mut strangers {
        stranger.offer(&mut mesh, &item(5, 1, 200));
        mesh.run_for(ms(1));
    }
    mesh.run_for(ms(110));
    (mesh, strangers)
}

#[test]
fn the_tenth_is_asked_at_once_where_nine_have_as_much_to_answer_as_they_may() {
    let (mesh, mut strangers) = busy(false);
    let asked: Vec<usize> = strangers.iter_mut().map(|stranger| stranger.asked(&mesh).len()).collect();
    assert_eq!(asked, [1; MAX_ANNOUNCERS + 1]);
}

#[test]
fn the_tenth_is_asked_as_soon_as_it_may_where_it_is_the_first_that_may() {
    let (mut mesh, mut strangers) = busy(true);
    let tenth = strangers.last_mut().unwrap();
    assert_eq!(tenth.asked(&mesh).len(), 1);
    tenth.serve(&mut mesh);
    mesh.run_for(ms(110));
    assert_eq!(tenth.asked(&mesh).len(), 1, "for what all of them have");
}

#[test]
fn it_is_given_up_when_all_have_failed_and_nothing_is_kept_of_it() {
    let (mut mesh, mut strangers) = announced(12);
    assert_eq!(reserve(&mut mesh), 12);
    fail(&mut mesh, &mut strangers, 50);
    let asked: Vec<usize> = strangers.iter().map(Stranger::answers).collect();
    assert_eq!(asked, vec![1; MAX_ANNOUNCERS + 12], "each was asked once");
    assert_eq!((mesh.pool(0).client.asking.candidates.len(), reserve(&mut mesh)), (0, 0));
    let mut grants = mesh.pool(0).common.links.iter().map(|(_, link)| &link.intake.grant);
    assert!(grants.all(|grant| grant.outstanding() == grant.open()), "nobody is charged for it");
}

#[test]
fn an_announcer_in_the_reserve_that_is_gone_is_forgotten() {
    let (mut mesh, mut strangers) = announced(2);
    let left = strangers.pop().unwrap();
    mesh.unlink(left.link);
    assert_eq!(reserve(&mut mesh), 1);
    fail(&mut mesh, &mut strangers, 30);
    assert!(strangers.iter().all(|stranger| stranger.answers() == 1));
    assert_eq!((mesh.pool(0).client.asking.candidates.len(), reserve(&mut mesh)), (0, 0));
}

#[test]
fn who_begins_anew_is_not_asked_for_what_it_had_offered_before() {
    let (mut mesh, mut strangers) = announced(1);
    mesh.command(0, Command::Resync);
    mesh.run_for(ms(60));
    let (tenth, nine) = strangers.split_last_mut().unwrap();
    let mut first = vec![1]; // the move
    first.extend([7; 8]); // the epoch
    first.extend([1, 0, 0]); // the key; nothing from 0 on
    tenth.send(&mut mesh, 0, FIRST, &first);
    mesh.run_for(ms(60));
    assert_eq!((reserve(&mut mesh), mesh.faults.len()), (0, 0));
    fail(&mut mesh, nine, 20);
    assert_eq!((tenth.asked(&mesh).len(), mesh.pool(0).client.asking.candidates.len()), (0, 0));
}

#[test]
fn an_item_whose_source_failed_waits_at_busy_sources_of_the_reserve_too() {
    let config = Config { link_in_flight: 1_000, ..config() };
    let (mut mesh, mut strangers) = with_strangers(&config, MAX_ANNOUNCERS + 2);
    for stranger in &mut strangers {
        stranger.offer(&mut mesh, &item(5, 1, 200)); // asked of the first
        mesh.run_for(ms(1));
    }
    for (stranger, number) in strangers[1..].iter_mut().zip(0..) {
        stranger.offer(&mut mesh, &item(2, number, 1_000));
    }
    mesh.run_for(ms(110));
    let asked: Vec<usize> = strangers.iter_mut().map(|stranger| stranger.asked(&mesh).len()).collect();
    assert_eq!(asked, [1; MAX_ANNOUNCERS + 2]);
    strangers[0].gone(&mut mesh); // one of the reserve takes its place, the last one stays
    mesh.run_for(ms(60));
    assert_eq!(reserve(&mut mesh), 1);
    let last = strangers.last_mut().unwrap();
    last.serve(&mut mesh);
    mesh.run_for(ms(110));
    assert_eq!(last.asked(&mesh).len(), 1, "the first that may be asked is in the reserve");
}
