//! Who delivers and leaves gains nothing by it: its items wait, cost it its time, and are its fault. Many that leave have one part
//! together.

use std::time::Duration;

use weir_base::stream::{Group, Side};

use super::super::*;
use super::fetching::config;
use super::mesh::{Mesh, id, item, ms, pool};
use super::stranger::Stranger;

/// Node 0, which checks one item at a time for as long as `time` says.
fn victim(config: &Config, time: impl Fn(&[u8]) -> u64 + 'static) -> Mesh {
    let mut mesh = Mesh::new(1);
    mesh.add(Some(pool(0, Config { checking: 1, ..config.clone() }, 1)));
    mesh.app = Box::new(move |_, bytes| {
        let verdict = if bytes[0] == 2 { Verdict::Reject } else { Verdict::Accept };
        (Duration::from_millis(time(bytes)), Some(verdict))
    });
    mesh
}

fn dial(mesh: &mut Mesh, group: u32) -> Stranger {
    let node = mesh.add(None);
    mesh.set_group(node, Side::Inbound, Group::Local(group));
    let stranger = Stranger::dial(mesh, node, 0);
    mesh.run_for(ms(200));
    stranger
}

/// Offers and delivers this many items of this priority.
fn deliver(mesh: &mut Mesh, stranger: &mut Stranger, priority: u8, items: u64) {
    let first = 1_000 * stranger.node as u64;
    (first..first + items).for_each(|number| stranger.offer(mesh, &item(priority, number, 100)));
    mesh.run_for(ms(120));
    stranger.serve(mesh);
    mesh.run_for(ms(60));
}

/// How many items were handed over before this one, of those after the first `before`.
fn place(mesh: &Mesh, before: usize, bytes: &[u8]) -> usize {
    let at = mesh.nodes[0].candidates.iter().position(|other| *other == id(bytes));
    at.expect("it is handed over").saturating_sub(before)
}

/// An inbound peer delivers 200 invalid items, then leaves or not; a peer that node 0 dialled delivers a good one. How many were
/// handed over before that since it came, and how many faults there were in the end.
fn behind_200(leaves: bool) -> (usize, usize) {
    let mut mesh = victim(&config(), |_| 10);
    let mut hostile = dial(&mut mesh, 1);
    mesh.add(None);
    let mut honest = Stranger::dialled(&mut mesh, 2, 0);
    mesh.run_for(ms(200));
    deliver(&mut mesh, &mut hostile, 2, 200);
    if leaves {
        mesh.unlink(hostile.link);
    }
    let good = item(5, 1, 100);
    honest.offer(&mut mesh, &good);
    mesh.run_for(ms(120));
    honest.serve(&mut mesh);
    let before = mesh.nodes[0].candidates.len();
    mesh.run_for(ms(5_000));
    (place(&mesh, before, &good), mesh.faults.iter().filter(|fault| fault.2 == REJECTED).count())
}

#[test]
fn who_leaves_is_not_served_first_and_is_blamed() {
    assert_eq!(behind_200(false).1, 200);
    let (place, faults) = behind_200(true);
    assert!(place <= 10, "{place} items of a peer that is gone went before an honest one");
    assert_eq!(faults, 200);
}

#[test]
fn who_delivers_again_and_again_and_leaves_pays_with_its_group() {
    // The hostile ones come one after another from one group, each under a new identity, and leave at once: all together they get
    // what one group gets.
    let mut mesh = victim(&config(), |_| 10);
    let mut honest = dial(&mut mesh, 1);
    for _ in 0..10 {
        let mut hostile = dial(&mut mesh, 2);
        deliver(&mut mesh, &mut hostile, 2, 30);
        mesh.unlink(hostile.link);
    }
    let before = mesh.nodes[0].candidates.len();
    deliver(&mut mesh, &mut honest, 5, 50);
    mesh.run_for(ms(1_000));
    let since = &mesh.nodes[0].candidates[before..];
    let honest: Vec<_> = (1_000..1_050).map(|number| id(&item(5, number, 100))).collect();
    let (good, all) = (since.iter().filter(|id| honest.contains(id)).count(), since.len());
    assert!(good * 10 >= all * 4 && all > 60, "{good} of {all}");
}

/// Each offers and delivers this many items of this priority, all at the same time.
fn deliver_all(mesh: &mut Mesh, strangers: &mut [Stranger], priority: u8, items: u64) {
    for stranger in &mut *strangers {
        let first = 1_000 * stranger.node as u64;
        (first..first + items).for_each(|number| stranger.offer(mesh, &item(priority, number, 100)));
    }
    mesh.run_for(ms(120));
    strangers.iter_mut().for_each(|stranger| stranger.serve(mesh));
    mesh.run_for(ms(60));
}

/// Of the `most` items that were handed over after the first `before`, and after the first of this peer: how many are its own.
fn part_of(mesh: &Mesh, stranger: &Stranger, priority: u8, before: usize, most: usize) -> usize {
    let first = 1_000 * stranger.node as u64;
    let own: Vec<_> = (first..first + 100).map(|number| id(&item(priority, number, 100))).collect();
    let since = mesh.nodes[0].candidates[before..].iter().map(|id| own.contains(id));
    let since: Vec<bool> = since.skip_while(|own| !own).take(most).collect();
    assert_eq!(since.len(), most);
    since.into_iter().filter(|own| *own).count()
}

/// 24 peers of these groups deliver what takes 3.6 s to check, and leave. Of the next 100 items, those of an inbound peer of group 1.
fn after_24_left(group: impl Fn(u32) -> u32) -> usize {
    let mut mesh = victim(&config(), |_| 5);
    let mut honest = dial(&mut mesh, 1);
    let mut others: Vec<_> = (0..24).map(|number| dial(&mut mesh, group(number))).collect();
    deliver_all(&mut mesh, &mut others, 2, 30);
    others.iter().for_each(|other| mesh.unlink(other.link));
    let before = mesh.nodes[0].candidates.len();
    deliver(&mut mesh, &mut honest, 5, 60);
    mesh.run_for(ms(600));
    part_of(&mesh, &honest, 5, before, 100)
}

#[test]
fn many_that_leave_at_once_take_one_groups_part_from_who_stays() {
    let part = after_24_left(|number| 2 + number);
    assert!((45..=55).contains(&part), "{part} of 100");
}

#[test]
fn many_that_leave_its_group_at_once_take_one_links_part_from_who_stays() {
    let part = after_24_left(|_| 1);
    assert!((45..=55).contains(&part), "{part} of 100");
}

#[test]
fn who_comes_back_finds_its_items_in_its_own_turns_again() {
    let mut mesh = victim(&config(), |_| 5);
    let mut all: Vec<_> = (1..=26).map(|group| dial(&mut mesh, group)).collect();
    deliver_all(&mut mesh, &mut all, 2, 80);
    all[1..].iter().for_each(|other| mesh.unlink(other.link));
    mesh.run_for(ms(200));
    let back = Stranger::dial(&mut mesh, all[1].node, 0);
    let before = mesh.nodes[0].candidates.len();
    mesh.run_for(ms(600));
    let part = part_of(&mesh, &back, 2, before, 90);
    assert!((27..=33).contains(&part), "{part} of 90: the third part");
}

#[test]
fn deferred_items_of_many_that_left_long_ago_are_checked_again_as_one_links() {
    let mut mesh = victim(&config(), |_| 0);
    mesh.app = Box::new(|_, _| (Duration::ZERO, Some(Verdict::Defer(Duration::from_secs(20)))));
    let mut others: Vec<_> = (2..26).map(|group| dial(&mut mesh, group)).collect();
    deliver_all(&mut mesh, &mut others, 2, 10);
    others.iter().for_each(|other| mesh.unlink(other.link));
    mesh.run_for(Duration::from_secs(15));
    mesh.app = Box::new(|_, _| (ms(5), Some(Verdict::Accept)));
    let mut honest = dial(&mut mesh, 1);
    assert_eq!(mesh.pool(0).common.links.all_departed().count(), 0, "they are forgotten");
    let before = mesh.nodes[0].candidates.len();
    mesh.run_for(Duration::from_secs(5));
    deliver(&mut mesh, &mut honest, 5, 60);
    mesh.run_for(ms(600));
    let part = part_of(&mesh, &honest, 5, before, 100);
    assert!((45..=55).contains(&part), "{part} of 100");
}

#[test]
fn a_debt_outlives_the_link_that_made_it() {
    // Both groups are alike, but that the first peer's item took 400 ms before it left and came back.
    let mut mesh = victim(&config(), |bytes| if bytes[0] == 3 { 400 } else { 10 });
    let (mut first, mut second) = (dial(&mut mesh, 1), dial(&mut mesh, 2));
    deliver(&mut mesh, &mut first, 3, 1);
    mesh.run_for(ms(1_000));
    mesh.unlink(first.link);
    let mut first = Stranger::dial(&mut mesh, first.node, 0);
    mesh.run_for(ms(200));
    for number in 0..60 {
        first.offer(&mut mesh, &item(4, number, 100));
        second.offer(&mut mesh, &item(6, number, 100));
    }
    mesh.run_for(ms(120));
    second.serve(&mut mesh);
    mesh.run_for(ms(5));
    first.serve(&mut mesh);
    mesh.run_for(ms(560));
    let mut of = [0; 10];
    mesh.pool(0).priorities().iter().for_each(|priority| of[usize::try_from(*priority).unwrap()] += 1);
    assert!(of[6] >= 40 && of[4] <= 15, "{} and {}", of[4], of[6]);
}

#[test]
fn who_returns_finds_its_undecided_candidates_charged() {
    let config = Config { entries: 16, max_entries: 16, ..config() };
    let mut mesh = victim(&config, |_| 0);
    mesh.app = Box::new(|_, _| (Duration::ZERO, None));
    let mut stranger = dial(&mut mesh, 1);
    deliver(&mut mesh, &mut stranger, 5, 10);
    for _ in 0..3 {
        mesh.unlink(stranger.link);
        stranger = Stranger::dial(&mut mesh, stranger.node, 0);
        mesh.run_for(ms(200));
        let slot = mesh.pool(0).common.links.slot(stranger.link).unwrap();
        let grant = &mesh.pool(0).common.links.get(slot).unwrap().intake.grant;
        assert_eq!((grant.charged(), grant.open()), (10, 6));
    }
    let open = mesh.pool(0).checking_now();
    assert_eq!(open.len(), 1);
    mesh.command(0, Command::Verdict { ticket: open[0].0, at: mesh.now, verdict: Verdict::Accept });
    let slot = mesh.pool(0).common.links.slot(stranger.link).unwrap();
    assert_eq!(mesh.pool(0).common.links.get(slot).unwrap().intake.grant.charged(), 9);
}

#[test]
fn what_those_who_left_delivered_is_bounded_and_the_longest_queue_loses() {
    let config = Config { max_grants: 800, entries: 150, ..config() };
    let mut mesh = victim(&config, |_| 0);
    mesh.app = Box::new(|_, _| (Duration::ZERO, None));
    let (mut short, mut long) = (dial(&mut mesh, 1), dial(&mut mesh, 2));
    deliver(&mut mesh, &mut short, 5, 10);
    deliver(&mut mesh, &mut long, 5, 150);
    mesh.unlink(short.link);
    assert_eq!(mesh.pool(0).client.asking.candidates.len(), 160);
    mesh.unlink(long.link);
    let left = mesh.pool(0).client.asking.candidates.len();
    assert!((60..=101).contains(&left), "an eighth of all grants, and one that the application has: {left}");
    let held: Vec<_> =
        mesh.pool(0).client.asking.candidates.delivered().into_iter().map(|(_, id)| id).collect();
    let of_short = (1_000..1_010).filter(|number| held.contains(&id(&item(5, *number, 100)))).count();
    assert_eq!(of_short, 10, "the short queue loses nothing");
}

#[test]
fn what_is_dropped_of_one_who_left_is_fetched_from_others_that_announced_it() {
    let config = Config { max_grants: 512, entries: 100, ..config() };
    let mut mesh = victim(&config, |_| 0);
    mesh.app = Box::new(|_, _| (Duration::ZERO, None));
    let (mut gone, mut other) = (dial(&mut mesh, 1), dial(&mut mesh, 2));
    let items: Vec<_> = (0..100).map(|number| item(5, number, 100)).collect();
    items.iter().for_each(|item| gone.offer(&mut mesh, item));
    mesh.run_for(ms(10));
    items.iter().for_each(|item| other.offer(&mut mesh, item));
    mesh.run_for(ms(120));
    gone.serve(&mut mesh);
    mesh.run_for(ms(60));
    mesh.unlink(gone.link);
    mesh.run_for(ms(200));
    let asked = other.asked(&mesh).len();
    assert!(asked >= 36, "{asked}");
    other.serve(&mut mesh);
    mesh.run_for(ms(100));
    assert_eq!(mesh.pool(0).client.asking.candidates.delivered().len(), 100);
}

#[test]
fn beyond_1024_accounts_what_the_first_delivered_joins_its_group() {
    let mut mesh = victim(&config(), |_| 0);
    mesh.app = Box::new(|_, _| (Duration::ZERO, None));
    let mut holder = dial(&mut mesh, 7);
    deliver(&mut mesh, &mut holder, 5, 3);
    mesh.unlink(holder.link);
    let info = |number: u32| LinkInfo {
        peer: weir_base::identity::Keypair::ed25519_from_seed([7; 32].map(|byte: u8| byte)).peer_id(),
        side: Side::Inbound,
        dialler: false,
        group: Group::Local(number),
    };
    for number in 0..1_100_u32 {
        let (now, link) = (mesh.now, LinkId(100_000 + u64::from(number)));
        let group = if number == 500 { 7 } else { 1_000 + number };
        mesh.pool(0).link_up(now, link, &info(group));
        mesh.pool(0).link_down(now, link);
    }
    assert_eq!(mesh.pool(0).common.links.all_departed().count(), 1_024);
    assert_eq!(mesh.pool(0).client.asking.candidates.delivered().len(), 3, "nothing is lost");
    let all = mesh.pool(0).common.links.all_departed().map(|(_, slot)| slot).collect::<Vec<_>>();
    let heirs = all.into_iter().filter(|slot| mesh.pool(0).checking.has_work(*slot));
    let heirs: Vec<_> = heirs.collect();
    assert_eq!(heirs.len(), 1);
    let heir = *mesh.pool(0).common.links.departed(heirs[0]).unwrap();
    assert_eq!((heir.account.group(), heir.charged), (Group::Local(7), 3));
    mesh.run_for(ms(11_000));
    let (now, link) = (mesh.now, LinkId(200_000));
    mesh.pool(0).link_up(now, link, &info(1));
    assert_eq!(mesh.pool(0).common.links.all_departed().count(), 1, "the others are forgotten after 10 s");
}

/// A peer delivers this many items of 100 bytes, of which the application has the first, and leaves: those that wait then.
fn kept_of(config: &Config, items: u64) -> usize {
    let mut mesh = victim(config, |_| 0);
    mesh.app = Box::new(|_, _| (Duration::ZERO, None));
    let mut stranger = dial(&mut mesh, 1);
    deliver(&mut mesh, &mut stranger, 5, items);
    mesh.unlink(stranger.link);
    mesh.pool(0).client.asking.candidates.len() - 1
}

#[test]
fn what_one_who_left_delivered_is_kept_up_to_an_eighth_of_the_bytes_in_flight() {
    let config = Config { in_flight: 16_000, ..config() };
    assert_eq!(kept_of(&config, 21), 20, "2,000 bytes");
    assert_eq!(kept_of(&config, 22), 10, "of more the last half goes");
}

#[test]
fn what_one_who_left_delivered_is_kept_up_to_an_eighth_of_all_grants() {
    let config = Config { max_grants: 640, ..config() };
    assert_eq!(kept_of(&config, 81), 80);
    assert_eq!(kept_of(&config, 82), 40);
}

#[test]
fn an_account_is_kept_as_long_as_the_application_has_an_item_of_it() {
    let mut mesh = victim(&config(), |_| 0);
    mesh.app = Box::new(|_, _| (Duration::ZERO, None));
    let mut stranger = dial(&mut mesh, 1);
    deliver(&mut mesh, &mut stranger, 5, 1);
    mesh.unlink(stranger.link);
    mesh.run_for(ms(11_000));
    dial(&mut mesh, 2); // accounts are looked at when a link comes or ends
    assert_eq!(mesh.pool(0).common.links.all_departed().count(), 1);
    let (ticket, _) = mesh.pool(0).checking_now()[0];
    mesh.command(0, Command::Verdict { ticket, at: mesh.now, verdict: Verdict::Reject });
    mesh.run_for(ms(11_000));
    dial(&mut mesh, 3);
    assert_eq!(mesh.pool(0).common.links.all_departed().count(), 0);
}

#[test]
fn a_link_that_ended_has_no_timers() {
    let mut mesh = victim(&config(), |_| 0);
    let stranger = dial(&mut mesh, 1);
    mesh.command(0, Command::Resync);
    mesh.command(0, Command::Resync); // the second is for later
    assert!(mesh.pool(0).poll_timeout().is_some());
    mesh.unlink(stranger.link);
    assert_eq!(mesh.pool(0).poll_timeout(), None);
}
