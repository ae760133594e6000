//! `docs/spec/fairness.md` at each resource of a pool: sides, groups, links, true costs, and the shares that standing leaves.
use weir_base::stream::{Group, Side};

use super::super::*;
use super::fetching::config;
use super::mesh::{Mesh, item, ms, pool};
use super::stranger::Stranger;

/// Node 0, which dials the first stranger where `own`; the others dial it. Of those, each is in the group that is named.
fn scene(config: &Config, own: bool, groups: &[u32]) -> (Mesh, Vec<Stranger>) {
    let mut mesh = Mesh::new(1);
    mesh.add(Some(pool(0, config.clone(), 1)));
    let mut strangers = Vec::new();
    for group in groups {
        let node = mesh.add(None);
        mesh.set_group(node, Side::Inbound, Group::Local(*group));
        let dialled = own && node == 1;
        strangers.push(if dialled {
            Stranger::dialled(&mut mesh, node, 0)
        } else {
            Stranger::dial(&mut mesh, node, 0)
        });
    }
    mesh.run_for(ms(200));
    (mesh, strangers)
}

/// Each offers this many items of this size; their first byte is the stranger's node.
fn offer(mesh: &mut Mesh, stranger: &mut Stranger, items: u64, size: usize) {
    let own = u8::try_from(stranger.node).unwrap();
    (0..items).for_each(|number| stranger.offer(mesh, &item(own, number, size)));
}

/// All deliver what they are asked for, so many times.
fn serve(mesh: &mut Mesh, strangers: &mut [Stranger], rounds: usize) {
    for _ in 0..rounds {
        mesh.run_for(ms(120));
        strangers.iter_mut().for_each(|stranger| stranger.serve(mesh));
    }
    mesh.run_for(ms(120));
}

/// How many items of the first stranger came.
fn of_first(mesh: &mut Mesh) -> usize {
    mesh.pool(0).priorities().iter().filter(|priority| **priority == 1).count()
}

fn lower(mesh: &mut Mesh, stranger: &Stranger, quarters: u8) {
    let link: LinkId = stranger.link;
    mesh.pool(0).link_share(link, quarters);
}

/// Room for one fetch at a time.
fn one_at_a_time() -> Config {
    Config { in_flight: 1, ..config() }
}

#[test]
fn half_of_the_fetches_are_for_links_this_node_dialled() {
    let (mut mesh, mut strangers) = scene(&one_at_a_time(), true, &[1, 2, 3, 4, 5, 6]);
    strangers.iter_mut().for_each(|stranger| offer(&mut mesh, stranger, 12, 20_000));
    serve(&mut mesh, &mut strangers, 20);
    let first = of_first(&mut mesh);
    assert!((8..=12).contains(&first), "{first} of 20");
}

#[test]
fn fetches_are_dealt_by_bytes() {
    let (mut mesh, mut strangers) = scene(&one_at_a_time(), false, &[1, 1]);
    let [large, small] = &mut strangers[..] else { panic!() };
    offer(&mut mesh, large, 20, 40_000);
    offer(&mut mesh, small, 80, 10_000);
    serve(&mut mesh, &mut strangers, 40);
    let large = of_first(&mut mesh);
    assert!((6..=11).contains(&large), "{large} of 40 are four times as large");
}

#[test]
fn a_lowered_share_of_fetches_is_a_quarter_of_its_equals() {
    let (mut mesh, mut strangers) = scene(&one_at_a_time(), false, &[1, 1]);
    lower(&mut mesh, &strangers[0], 1);
    strangers.iter_mut().for_each(|stranger| offer(&mut mesh, stranger, 40, 20_000));
    serve(&mut mesh, &mut strangers, 40);
    let first = of_first(&mut mesh);
    assert!((6..=11).contains(&first), "{first} of 40");
}

/// All deliver 40 items at once, which are checked one at a time, for as long as `time` says of each stranger; the first
/// stranger's items among those checked within `total` milliseconds.
fn checked(own: bool, groups: &[u32], quarters: u8, time: fn(u8) -> u64, total: u64) -> (usize, usize) {
    let (mut mesh, mut strangers) = scene(&Config { checking: 1, ..config() }, own, groups);
    lower(&mut mesh, &strangers[0], quarters);
    mesh.app = Box::new(move |_, bytes| (ms(time(bytes[0])), Some(Verdict::Accept)));
    strangers.iter_mut().for_each(|stranger| offer(&mut mesh, stranger, 40, 100));
    mesh.run_for(ms(120));
    strangers.iter_mut().for_each(|stranger| stranger.serve(&mut mesh));
    mesh.run_for(ms(60 + total));
    (of_first(&mut mesh), mesh.pool(0).priorities().len())
}

#[test]
fn half_of_the_checking_time_is_for_links_this_node_dialled() {
    let (first, all) = checked(true, &[1, 2, 3, 4, 5, 6], 4, |_| 10, 400);
    assert!((18..=22).contains(&first), "{first} of {all}");
}

#[test]
fn checking_is_dealt_by_the_time_it_took() {
    let (slow, all) = checked(false, &[1, 1], 4, |of| if of == 1 { 40 } else { 10 }, 400);
    assert!((3..=7).contains(&slow) && all - slow >= 15, "{slow} of {all} take four times as long");
}

#[test]
fn a_lowered_share_of_checking_time_is_a_quarter_of_its_equals() {
    let (first, all) = checked(false, &[1, 1], 1, |_| 10, 400);
    assert!((6..=11).contains(&first), "{first} of {all}");
}

#[test]
fn a_window_is_at_most_its_part_of_all_grants_once_what_was_granted_before_is_used() {
    let config = Config { max_grants: 512, entries: 256, max_entries: 256, ..config() };
    let (mut mesh, mut strangers) = scene(&config, false, &[1, 2]);
    for _ in 0..2 {
        offer(&mut mesh, &mut strangers[0], 128, 100);
        serve(&mut mesh, &mut strangers, 3);
        mesh.run_for(ms(2_000));
    }
    let windows: Vec<u64> =
        mesh.pool(0).common.links.iter().map(|(_, link)| link.intake.grant.outstanding()).collect();
    assert_eq!(windows, [128, 128]);
}

/// The first stranger asks for large items, the others for smaller ones: of the 12 MB after the first 5 how much is for it, in
/// percent. It is dialled (`own`) or not, in these groups, its share so many quarters of its equals'.
fn uploaded(own: bool, groups: &[u32], quarters: u8) -> u64 {
    let (mut mesh, strangers) = scene(&config(), own, groups);
    (mesh.window, mesh.piece) = (0, 20_000);
    lower(&mut mesh, &strangers[0], quarters);
    (0..400).for_each(|number| mesh.insert(0, &item(5, number, if number < 200 { 60_000 } else { 40_000 })));
    let mut first = vec![201, 1, 0]; // length, type, and 200 gaps of which the first is 0
    first.extend([0; 200]);
    let mut others = vec![202, 1, 0, 200, 1]; // the first is 200
    others.extend([0; 199]);
    for stranger in &strangers {
        let key = mesh.open(stranger.node, stranger.link, 1).unwrap();
        mesh.send(stranger.node, key, if stranger.node == 1 { &first } else { &others });
    }
    mesh.run_for(ms(51)); // all have asked, nothing could be written
    mesh.open_windows();
    let (mut of_first, mut all) = (0, 0);
    for (link, bytes) in mesh.under_way(0) {
        all += bytes as u64;
        let counts = (5_000_000..17_000_000).contains(&all) && link == strangers[0].link;
        of_first += if counts { bytes as u64 } else { 0 };
    }
    assert!(all > 17_000_000, "{all}");
    of_first * 100 / 12_000_000
}

#[test]
fn a_lowered_share_of_upload_is_a_part_of_what_its_equals_get() {
    let (whole, quarter) = (uploaded(false, &[1; 20], 4), uploaded(false, &[1; 20], 1));
    assert!((4..=7).contains(&whole) && quarter <= 2, "{whole} and {quarter} %");
}

#[test]
fn half_of_upload_is_for_links_this_node_dialled_and_groups_get_equal_parts() {
    let group: Vec<u32> = (0..20).map(|node| u32::from(node > 0)).collect();
    let (side, group) = (uploaded(true, &[1; 20], 4), uploaded(false, &group, 4));
    assert!((40..=60).contains(&side) && (40..=60).contains(&group), "{side} and {group} %");
}
