//! Bounds and checks that nothing else would notice the loss of, one test each.

use bytes::BytesMut;
use std::time::Duration;

use weir_base::Fault;
use weir_base::stream::{Group, Side};

use super::super::codec::{Epoch, OfferHead};
use super::super::*;
use super::fetching::{config, with_strangers};
use super::mesh::{Mesh, id, item, ms, pool};
use super::stranger::Stranger;

fn faults(mesh: &Mesh) -> Vec<Fault> {
    mesh.faults.iter().map(|fault| fault.2).collect()
}

fn grant(mesh: &mut Mesh, link: LinkId) -> client::grant::Grant {
    let slot = mesh.pool(0).common.links.slot(link).unwrap();
    mesh.pool(0).common.links.get(slot).unwrap().intake.grant.clone()
}

#[test]
fn announcements_that_cost_nothing_count_as_charged_from_4096_on() {
    let config = Config { entries: 10_000, max_entries: 10_000, max_grants: 100_000, ..config() };
    let (mut mesh, mut strangers) = with_strangers(&config, 2);
    let [first, second] = &mut strangers[..] else { panic!() };
    let items: Vec<_> = (0..9_000).map(|number| item(5, number, 100)).collect();
    for part in items.chunks(1_000) {
        part.iter().for_each(|item| first.offer(&mut mesh, item));
        mesh.run_for(ms(60));
    }
    for part in items.chunks(1_000) {
        part.iter().for_each(|item| second.offer(&mut mesh, item));
        mesh.run_for(ms(60));
    }
    let grant = grant(&mut mesh, second.link);
    let open = grant.open();
    assert_eq!(grant.charged(), 0);
    assert!((1_000..=10_000 - (9_000 - 4_096)).contains(&open), "{open}");
}

#[test]
fn an_offer_without_entries_costs_one() {
    let (mut mesh, strangers) = with_strangers(&Config { entries: 4, max_entries: 4, ..config() }, 1);
    let key = mesh.nodes[0].key;
    let mut all = BytesMut::new();
    for number in 0..5_u64 {
        let first = (number == 0).then_some((0, Epoch([7; 8])));
        let head = OfferHead { first, key: key.number, from: number * 2_000, to: (number + 1) * 2_000 };
        let mut out = BytesMut::new();
        codec::encode_offer_head(&head, &mut out);
        let kind = if number == 0 { codec::FIRST } else { codec::OFFER };
        weir_base::codec::put_varint(&mut all, out.len() as u64 + 1);
        weir_base::codec::put_varint(&mut all, kind);
        all.extend_from_slice(&out);
    }
    let offers = mesh.nodes[1].opened.iter().find(|(_, lane)| *lane == 0).unwrap().0;
    assert_eq!(strangers[0].node, 1);
    mesh.send(1, offers, &all); // at once, before another permit can go out
    mesh.run_for(ms(100));
    assert_eq!(faults(&mesh), [BEYOND_PERMIT]);
}

#[test]
fn at_most_4096_answers_may_be_outstanding() {
    let (mut mesh, strangers) = with_strangers(&config(), 1);
    let key = mesh.open(1, strangers[0].link, 1).unwrap();
    mesh.stuck.insert(key);
    let mut get = |first: u64, count: u64| {
        let mut body = BytesMut::new();
        codec::encode_indices(first..first + count, &mut body);
        let mut out = BytesMut::new();
        weir_base::codec::put_varint(&mut out, body.len() as u64 + 1);
        out.extend_from_slice(&[0]);
        out.extend_from_slice(&body);
        mesh.send(1, key, &out);
        mesh.run_for(ms(60));
        faults(&mesh)
    };
    for part in 0..4 {
        assert_eq!(get(part * 1_024, 1_024), []);
    }
    assert_eq!(get(4_096, 1), [GREEDY]);
}

#[test]
fn of_an_entry_that_is_known_size_and_summary_are_compared() {
    let (mut mesh, mut strangers) = with_strangers(&config(), 2);
    let known = item(5, 1, 100);
    mesh.insert(0, &known);
    strangers[0].claim(&mut mesh, &known, &id(&known), 101, 5);
    strangers[1].claim(&mut mesh, &known, &id(&known), 100, 6);
    mesh.run_for(ms(120));
    let asked: Vec<_> = strangers.iter_mut().map(|stranger| stranger.asked(&mesh).len()).collect();
    assert_eq!(asked, [1, 1], "it may be another item");
}

#[test]
fn large_windows_are_given_only_while_a_quarter_of_the_half_is_left() {
    let config = Config { max_grants: 800, entries: 75, max_entries: 200, ..config() };
    let mut mesh = Mesh::new(1);
    mesh.add(Some(pool(0, config, 1)));
    let mut strangers: Vec<_> = (1..=5)
        .map(|node| {
            mesh.add(None);
            mesh.set_group(node, Side::Inbound, Group::Local(u32::from(node == 5)));
            let stranger = Stranger::dial(&mut mesh, node, 0);
            mesh.run_for(ms(120));
            stranger
        })
        .collect();
    let (fast, others) = strangers.split_last_mut().unwrap();
    for stranger in others {
        let first = 1_000 * stranger.node as u64;
        (first..first + 75).for_each(|number| stranger.offer(&mut mesh, &item(2, number, 100)));
    }
    let (mut most, mut number) = (0, 0);
    for _ in 0..30 {
        (0..grant(&mut mesh, fast.link).open()).for_each(|_| {
            number += 1;
            fast.offer(&mut mesh, &item(5, number, 100));
        });
        mesh.run_for(ms(110));
        fast.serve(&mut mesh);
        mesh.run_for(ms(60));
        most = most.max(grant(&mut mesh, fast.link).outstanding());
    }
    assert!((60..=76).contains(&most), "{most}");
    assert!(mesh.faults.is_empty(), "{:?}", mesh.faults);
}

#[test]
fn an_item_is_deferred_for_an_hour_at_most() {
    let (mut mesh, mut strangers) = with_strangers(&config(), 1);
    mesh.app = Box::new(|_, _| (Duration::ZERO, Some(Verdict::Defer(Duration::from_secs(86_400)))));
    strangers[0].offer(&mut mesh, &item(5, 1, 100));
    mesh.run_for(ms(120));
    strangers[0].serve(&mut mesh);
    mesh.run_for(Duration::from_secs(3_599));
    assert_eq!(mesh.nodes[0].candidates.len(), 1);
    mesh.run_for(Duration::from_secs(2));
    assert_eq!(mesh.nodes[0].candidates.len(), 2);
}

#[test]
fn who_has_what_is_forgotten_where_every_cursor_has_passed() {
    let mut mesh = Mesh::full(1, 2, &config());
    for number in 0..1_000 {
        mesh.insert(0, &item(5, number, 100));
        if number % 50 == 0 {
            mesh.run_for(ms(300));
        }
    }
    let known = mesh.pool(0).common.inventory.known.len();
    assert!(known <= 128, "{known}");
}

#[test]
fn a_first_offer_begins_where_it_was_asked_to() {
    for (from, epoch, blamed) in
        [(5, [7; 8], false), (0, [9; 8], false), (3, [7; 8], true), (5, [9; 8], true)]
    {
        let (mut mesh, mut strangers) = with_strangers(&config(), 1);
        let stranger = &mut strangers[0];
        (0..5).for_each(|number| stranger.offer(&mut mesh, &item(5, number, 100)));
        mesh.run_for(ms(120));
        stranger.serve(&mut mesh);
        mesh.run_for(ms(120));
        mesh.unlink(stranger.link);
        let stranger = Stranger::dial(&mut mesh, 1, 0); // is asked to go on at 5
        mesh.run_for(ms(120));
        let head = OfferHead { first: Some((1, Epoch(epoch))), key: 1, from, to: from + 1 };
        let mut out = BytesMut::new();
        codec::encode_offer_head(&head, &mut out);
        stranger.send(&mut mesh, 0, codec::FIRST, &out);
        mesh.run_for(ms(120));
        assert_eq!(faults(&mesh) == [OUT_OF_PLACE], blamed, "{from} {epoch:?}: {:?}", mesh.faults);
        assert_eq!(mesh.faults.len(), usize::from(blamed));
    }
}

#[test]
fn without_a_move_a_first_offer_begins_at_0() {
    let (mut mesh, strangers) = with_strangers(&config(), 1);
    let head = OfferHead { first: Some((0, Epoch([7; 8]))), key: 1, from: 3, to: 4 };
    let mut out = BytesMut::new();
    codec::encode_offer_head(&head, &mut out);
    strangers[0].send(&mut mesh, 0, codec::FIRST, &out);
    mesh.run_for(ms(120));
    assert_eq!(faults(&mesh), [OUT_OF_PLACE]);
}

#[test]
fn gone_before_it_could_be_asked_for_is_a_fault() {
    let (mut mesh, mut strangers) = with_strangers(&config(), 1);
    let stranger = &mut strangers[0];
    stranger.offer(&mut mesh, &item(5, 1, 100));
    mesh.run_for(ms(120));
    stranger.serve(&mut mesh);
    mesh.run_for(ms(120));
    let gets = mesh.nodes[1].opened.iter().find(|(_, lane)| *lane == 1).unwrap().0;
    mesh.stuck.insert(gets);
    stranger.offer(&mut mesh, &item(5, 2, 100));
    mesh.run_for(ms(120));
    assert_eq!(mesh.stats(0).in_flight, 100, "it is to be asked for");
    stranger.send(&mut mesh, 1, codec::GONE, &[1]);
    mesh.run_for(ms(120));
    assert_eq!(faults(&mesh), [UNASKED]);
}

#[test]
fn a_newcomer_is_offered_what_one_before_it_had_announced() {
    let (mut mesh, mut strangers) = with_strangers(&config(), 2);
    mesh.app = Box::new(|node, _| (Duration::ZERO, (node > 0).then_some(Verdict::Accept)));
    let [first, second] = &mut strangers[..] else { panic!() };
    let bytes = item(5, 1, 200);
    first.offer(&mut mesh, &bytes);
    mesh.run_for(ms(20));
    second.offer(&mut mesh, &bytes);
    mesh.run_for(ms(100));
    first.serve(&mut mesh);
    mesh.run_for(ms(100));
    let [(ticket, _)] = mesh.pool(0).checking_now()[..] else { panic!() };
    let slot = mesh.pool(0).common.links.slot(second.link);
    mesh.unlink(second.link);
    mesh.nodes[second.node].pool = Some(pool(second.node, config(), 1)); // it has lost what it had
    let link = mesh.link(second.node, 0, 50);
    assert_eq!(mesh.pool(0).common.links.slot(link), slot, "it takes its place");
    mesh.command(0, Command::Verdict { ticket, at: mesh.now, verdict: Verdict::Accept });
    mesh.run_for(ms(2_000));
    assert_eq!(mesh.ids(second.node), [id(&bytes)]);
}

#[test]
fn an_epoch_is_another_for_each_peer() {
    let [one, other] = [1, 2].map(|node| server::epoch_for(&[5; 32], &super::mesh::peer(node)));
    assert_ne!(one, other);
}
